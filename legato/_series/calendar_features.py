"""Calendar features: columns that follow from the times alone, so that they are known ahead.

The hour, weekday, day, week, month and quarter are labels, so that each has an effect of its own: a
Sunday need not lie between a Saturday and a Monday, as it would by sine and cosine. All of them are
known in advance, including those that training lacks. Holidays are those of the package
``holidays``.

Times are those of the clock in their zone. Limit: a step is taken to begin at its time.
"""

from collections.abc import Callable, Sequence

import numpy as np

from legato._errors import InputError, MissingError
from legato._platform.wording import listed
from legato._series.frequency import same_sequence
from legato._series.sequences import Column

DAY, YEAR = np.timedelta64(1, "D"), np.timedelta64(366, "D")
WEEKDAYS = tuple("Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split())
MONTHS = tuple(
    "January February March April May June July August September October November December".split()
)


def _numbered(first: int, last: int) -> tuple[str, ...]:
    return tuple(map(str, range(first, last + 1)))


def _month(times: np.ndarray) -> np.ndarray:
    return times.astype("M8[M]").astype(int) % 12


def _days_into(times: np.ndarray, unit: str) -> np.ndarray:
    days = times.astype("M8[D]")
    return (days - days.astype(f"M8[{unit}]").astype("M8[D]")).astype(int)


def _weekday(times: np.ndarray) -> np.ndarray:
    return (times.astype("M8[D]").astype(int) + 3) % 7  # 1 January 1970 was a Thursday


def _iso_week(times: np.ndarray) -> np.ndarray:
    """The week of its Thursday's year, counted from 0."""
    thursday = times.astype("M8[D]") + (3 - _weekday(times)).astype("m8[D]")
    return _days_into(thursday, "Y") // 7


FEATURES: dict[str, tuple[tuple[str, ...], Callable[[np.ndarray], np.ndarray]]] = {
    "hour": (_numbered(0, 23), lambda times: times.astype("M8[h]").astype(int) % 24),
    "weekday": (WEEKDAYS, _weekday),
    "day": (_numbered(1, 31), lambda times: _days_into(times, "M")),
    "week": (_numbered(1, 53), _iso_week),
    "month": (MONTHS, _month),
    "quarter": (("Q1", "Q2", "Q3", "Q4"), lambda times: _month(times) // 3),
}
HOLIDAYS = ("holiday", "day before a holiday", "day after a holiday")  # of steps up to a day
COUNT = "holidays"  # in a longer step


def column_name(feature: str) -> str:
    """The name of a feature's column."""
    return f"{feature} (calendar)"


def automatic_features(times: np.ndarray, step: np.timedelta64 | None) -> tuple[str, ...]:
    """The features that steps of such a length can tell apart, and were seen twice.

    The month or quarter of steps up to that length over two years, the weekday of steps up to a
    day over two weeks, and the hour of shorter steps.
    """
    if step is None:
        return ()
    span, found = times.max() - times.min(), []
    if step < DAY and span >= 2 * DAY:
        found.append("hour")
    if step <= DAY and span >= 14 * DAY:
        found.append("weekday")
    if span >= 2 * YEAR and step < 360 * DAY:
        found.append("month" if step <= 31 * DAY else "quarter")
    return tuple(found)


def typical_step(times: np.ndarray, lengths: np.ndarray) -> np.timedelta64 | None:
    """The length of a step, half of all are longer; None if no sequence has two times."""
    steps = np.diff(times)[same_sequence(lengths)]
    return np.sort(steps)[len(steps) // 2] if len(steps) else None


def holiday_features(step: np.timedelta64 | None) -> tuple[str, ...]:
    """What is told of holidays: of the day and its neighbours, or how many are in a longer step."""
    return HOLIDAYS if step is None or step <= DAY else (COUNT,)


def calendar_columns(
    times: np.ndarray, ends: np.ndarray, features: Sequence[str], country: str | None
) -> tuple[tuple[Column, ...], np.ndarray]:
    """The columns of some features, and their values (time steps, features).

    Args:
        times: (time steps,), ``datetime64``.
        ends: (time steps,), the time after each, where its step ends.
        features: names from ``FEATURES``, ``HOLIDAYS`` and ``COUNT``.
        country: of the holidays, such as ``"US"`` or ``"US-CA"``.
    """
    columns, values = [], np.empty((len(times), len(features)))
    for at, feature in enumerate(features):
        name = column_name(feature)
        if feature in FEATURES:
            labels, number_of = FEATURES[feature]
            columns.append(Column(name, labels, tuple(map(float, range(len(labels)))), True))
            values[:, at] = number_of(times)
        else:
            columns.append(Column(name))
            values[:, at] = _count_holidays(times, ends, feature, open_holidays(country or ""))
    return tuple(columns), values


def _count_holidays(times: np.ndarray, ends: np.ndarray, feature: str, calendar) -> np.ndarray:
    """The number of holidays in each step; or 1 for a holiday, and 0 for another day."""
    days = times.astype("M8[D]")
    if feature == COUNT:
        stops = np.maximum(ends.astype("M8[D]"), days + DAY)
        every = np.arange(days.min(), stops.max())
        total = np.cumsum([0, *(day in calendar for day in every.tolist())])
        return (total[(stops - every[0]).astype(int)] - total[(days - every[0]).astype(int)]) * 1.0
    shift = {"day before a holiday": 1, "day after a holiday": -1}.get(feature, 0)
    distinct, where = np.unique(days + np.timedelta64(shift, "D"), return_inverse=True)
    return np.array([day in calendar for day in distinct.tolist()], float)[where]


def open_holidays(country: str):
    """The holidays of a country or a part of it.

    Raises:
        InputError: there is no such country or part.
        MissingError: the package ``holidays`` is not installed.
    """
    try:
        import holidays
    except ImportError as error:
        raise MissingError(
            'Holidays need the package holidays: pip install "legato[holidays]".'
        ) from error
    name, _, part = country.partition("-")
    try:
        return holidays.country_holidays(name, subdiv=part or None)
    except NotImplementedError as error:
        raise InputError(
            f"{country!r} is no country of the package holidays, or no part of one: a code such as "
            "'US', 'DE' or 'US-CA' was expected."
        ) from error


def check_features(names: Sequence[str]) -> None:
    """Check the names of calendar features.

    Raises:
        InputError: one is unknown.
    """
    unknown = [name for name in names if name not in FEATURES]
    if unknown:
        raise InputError(
            f"{unknown[0]!r} is no calendar feature; {listed(FEATURES)} are, or 'auto' for those "
            "that suit the times."
        )
