"""Calendars against pandas: the times that follow are those of the offset that made the others."""

import pickle

import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legato._series.calendars import Months, Slots, reproduces
from legato._series.frequency import infer_spacing

thorough = settings(max_examples=100, deadline=None, derandomize=True, database=None)
BEGINS = ["2019-01-01", "2020-02-27", "2021-12-30"]
OFFSETS = {
    # pandas' offset → how the step is described
    "s": "1 second",
    "15min": "15 minutes",
    "h": "1 hour",
    "3h": "3 hours",
    "D": "1 day",
    "2D": "2 days",
    "10D": "10 days",
    "30D": "30 days",
    "B": "1 weekday",
    "W-SUN": "7 days",
    "W-WED": "7 days",
    "2W-FRI": "14 days",
    "MS": "1 month",
    "ME": "1 month",
    "2MS": "2 months",
    "BMS": "1 month",
    "BME": "1 month",
    "QS": "3 months",
    "QE": "3 months",
    "QS-FEB": "3 months",
    "BQE": "3 months",
    "BQS": "3 months",
    "YS": "1 year",
    "YE": "1 year",
    "YE-JUN": "1 year",
    "BYE": "1 year",
    "WOM-3FRI": "1 month",
    "WOM-1TUE": "1 month",
    "LWOM-SUN": "1 month",
    "SMS": "1 of 2 days of the month, 1, 15",
    "SME": "1 of 2 days of the month, 15, the last",
    "C Mon Tue Wed Thu Fri Sat": "1 of 6 days of the week, Monday to Saturday",
    "C Mon Wed Fri": "1 of 3 days of the week, Monday, Wednesday, Friday",
    "C Sun Mon Tue Thu": "1 of 4 days of the week, Monday, Tuesday, Thursday, Sunday",
    "bh": "1 of 40 times of the week, Monday to Friday",
}


def offset_of(name: str):
    if name.startswith("C "):
        return pandas.offsets.CustomBusinessDay(weekmask=name[2:])
    if name == "LWOM-SUN":
        return pandas.offsets.LastWeekOfMonth(weekday=6)
    return pandas.tseries.frequencies.to_offset(name)


@pytest.mark.parametrize("clock", ["00:00", "09:30"])
@pytest.mark.parametrize("name", OFFSETS)
def test_times_go_on_as_by_the_offset_of_pandas(name, clock):
    if name == "bh" and clock != "00:00":
        return
    for begin in BEGINS:
        known, ahead = (400, 40) if name == "bh" else (60, 30)
        start = pandas.Timestamp(begin) + pandas.Timedelta(f"{clock}:00")
        whole = pandas.date_range(start, periods=known + ahead, freq=offset_of(name))
        times = whole.to_numpy().astype("M8[us]")
        spacing = infer_spacing(times[:known], np.array([known]))
        assert spacing is not None
        assert str(spacing) == OFFSETS[name]
        found = spacing.after(times[known - 1 : known], ahead)
        np.testing.assert_array_equal(found[0], times[known:], strict=True)


FEWEST = {"B": 15, "W-SUN": 3, "MS": 2, "ME": 2, "QE": 2, "YE": 2, "BME": 4, "WOM-3FRI": 4,
          "C Mon Tue Wed Thu Fri Sat": 25, "SME": 6}  # fmt: skip


@pytest.mark.parametrize("name", FEWEST)
def test_few_times_are_enough(name):
    whole = pandas.date_range("2023-10-02", periods=FEWEST[name] + 12, freq=offset_of(name))
    times = whole.to_numpy().astype("M8[us]")
    known = FEWEST[name]
    spacing = infer_spacing(times[:known], np.array([known]))
    assert spacing is not None
    np.testing.assert_array_equal(spacing.after(times[known - 1 : known], 12)[0], times[known:])


@pytest.mark.parametrize("name", ["B", "C Mon Tue Wed Thu Fri Sat", "bh", "ME", "BMS", "D", "h"])
def test_holidays_and_gaps_do_not_hide_the_offset(name):
    whole = pandas.date_range("2020-01-01", periods=300, freq=offset_of(name))
    times = whole.to_numpy().astype("M8[us]")
    kept = np.delete(times[:260], [17, 18, 60, 131, 200])
    spacing = infer_spacing(kept, np.array([len(kept)]))
    assert spacing is not None
    np.testing.assert_array_equal(spacing.after(kept[-1:], 40)[0], times[260:])
    assert int((spacing.steps - spacing.common).sum() // spacing.common) == 5


def test_each_sequence_goes_on_by_its_own_rule():
    parts = [
        pandas.date_range("2020-01-31", periods=20, freq=freq).to_numpy().astype("M8[us]")
        for freq in ("ME", "MS", "BME", "WOM-2TUE")
    ]
    known = [part[: 9 + at] for at, part in enumerate(parts)]
    lengths = np.array([len(each) for each in known])
    spacing = infer_spacing(np.concatenate(known), lengths)
    assert spacing is not None
    found = spacing.after(np.array([each[-1] for each in known]), 5)
    for at, part in enumerate(parts):
        np.testing.assert_array_equal(found[at], part[lengths[at] : lengths[at] + 5])


@pytest.mark.parametrize(
    ("times", "described"),
    [
        (
            ["2020-01-01T08:00", "2020-01-01T08:07", "2020-01-02T11:30", "2020-01-05T01:00"],
            None,
        ),
        (pandas.date_range("2020-01-01", periods=40).delete([5, 12, 19]), "1 day"),  # no Mondays
        (pandas.date_range("2020-01-01", periods=7, freq="B"), "1 day"),  # a weekend may be a gap
    ],
)
def test_chance_makes_no_calendar(times, described):
    found = np.array(times, "M8[us]")
    spacing = infer_spacing(found, np.array([len(found)]))
    assert spacing is not None
    assert spacing.unit == "us"
    assert described in (None, str(spacing))


@thorough
@given(
    st.lists(st.datetimes(pandas.Timestamp("1700-01-01").to_pydatetime()), min_size=2, max_size=30)
)
def test_any_times_go_on_later_and_alike(dates):
    times = np.unique(np.array(dates, "M8[us]"))
    if len(times) < 2 or times[-1] > np.datetime64("9000-01-01"):
        return
    spacing = infer_spacing(times, np.array([len(times)]))
    assert spacing is not None
    assert (spacing.steps >= 0).all()
    if spacing.common * 3 < 10**17:
        ahead = spacing.after(times[-1:], 3)[0]
        assert (np.diff(ahead) > np.timedelta64(0)).all()


def test_calendars_number_times_and_give_them_back():
    hours = pandas.date_range("2021-01-01", periods=300, freq="bh").to_numpy().astype("M8[us]")
    slots = Slots.find(hours, np.ones(299, bool))
    assert slots is not None
    assert (np.diff(slots.positions(hours)) == 1).all()
    assert slots.seasons == (8, 40)
    one = np.zeros(300, int)
    assert reproduces(slots, hours, one).all()
    assert not reproduces(slots, hours + np.timedelta64(1, "s"), one).any()
    assert pickle.loads(pickle.dumps(slots)).seasons == (8, 40)
    months = Months.of(np.array(["2020-01-03", "2020-02-03"], "M8[us]"), one[:2])
    same = pickle.loads(pickle.dumps(months))
    assert same.times_at(np.array([600]), np.array([0])) == np.datetime64("2020-01-03")
    assert not Months.of(np.array(["2020-01-03", "2020-02-17"], "M8[us]"), one[:2]).is_exact
