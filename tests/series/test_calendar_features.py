"""Calendar features, beside Python's own calendar and the package of holidays."""

import datetime
import sys

import numpy as np
import pytest

from legato import InputError
from legato._errors import MissingError
from legato._series import calendar_features
from legato._series.calendar_features import (
    COUNT,
    FEATURES,
    HOLIDAYS,
    automatic_features,
    calendar_columns,
    holiday_features,
    open_holidays,
)

HOURS = np.arange(np.datetime64("1999-12-20T00"), np.datetime64("2005-01-12T00"), 5)
OF_DATETIME = {
    "hour": lambda each: str(each.hour),
    "weekday": lambda each: each.strftime("%A"),
    "day": lambda each: str(each.day),
    "week": lambda each: str(each.isocalendar().week),
    "month": lambda each: each.strftime("%B"),
    "quarter": lambda each: f"Q{(each.month + 2) // 3}",
}


@pytest.mark.parametrize("feature", FEATURES)
def test_a_feature_is_what_the_calendar_says(feature):
    times = HOURS.astype("M8[us]")
    (column,), values = calendar_columns(times, times + 1, [feature], None)
    found = [column.categories[int(number)] for number in values[:, 0]]
    assert found == [OF_DATETIME[feature](each) for each in times.tolist()]
    assert column.is_fixed
    assert column.numbers == tuple(range(len(column.categories)))


@pytest.mark.parametrize("country", ["US", "DE-BY"])
def test_holidays_of_days_and_of_months(country):
    holidays = pytest.importorskip("holidays")
    name, _, part = country.partition("-")
    calendar = holidays.country_holidays(name, subdiv=part or None, years=range(1999, 2006))
    days = np.arange(np.datetime64("2000-01-01"), np.datetime64("2005-01-01")).astype("M8[us]")
    _, values = calendar_columns(days, days + np.timedelta64(1, "D"), HOLIDAYS, country)
    one = datetime.timedelta(days=1)
    dates = days.astype("M8[D]").tolist()
    for at, shift in enumerate((0 * one, one, -one)):
        assert values[:, at].tolist() == [float(each + shift in calendar) for each in dates]
    months = np.arange("2000-01", "2004-12", dtype="M8[M]")
    _, counts = calendar_columns(
        months.astype("M8[us]"), (months + 1).astype("M8[us]"), [COUNT], country
    )
    for month, count in zip(months.astype(str), counts[:, 0], strict=True):
        assert count == sum(str(day).startswith(month) for day in calendar)


def test_features_that_suit_the_times():
    def suit(step: str, count: int) -> tuple[str, ...]:
        size, unit = int(step[:-1]), step[-1]
        times = np.datetime64("2020-01-01", "s") + np.arange(count) * np.timedelta64(size, unit)
        return automatic_features(times, times[1] - times[0])

    assert suit("1h", 24 * 7) == ("hour",)
    assert suit("1h", 24 * 800) == ("hour", "weekday", "month")
    assert suit("1D", 100) == ("weekday",)
    assert suit("7D", 150) == ("month",)
    assert suit("91D", 20) == ("quarter",)
    assert suit("366D", 20) == ()
    assert automatic_features(HOURS[:1], None) == ()


def test_longer_steps_count_holidays():
    assert holiday_features(np.timedelta64(7, "D")) == (COUNT,)
    assert holiday_features(np.timedelta64(24, "h")) == HOLIDAYS
    assert holiday_features(None) == HOLIDAYS


def test_countries_that_there_are_not():
    pytest.importorskip("holidays")
    for country in ("XX", "US-ZZ"):
        with pytest.raises(InputError, match=f"'{country}' is no country"):
            open_holidays(country)


def test_without_the_package_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "holidays", None)
    with pytest.raises(MissingError, match=r'pip install "legato\[holidays\]"'):
        calendar_features.open_holidays("US")
