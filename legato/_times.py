"""Times: read from a column, put in order, and looked through for gaps.

Months and years have no constant length: where no step is shorter than 28 days and no month comes
twice in a sequence, steps are counted in calendar months. A gap is a step longer than the most
common one; where no step is common there are no gaps, and the note says that.
"""

from typing import TYPE_CHECKING

import numpy as np

from legato._columns import tidy
from legato._errors import InputError
from legato._tables import Table

if TYPE_CHECKING:
    import polars

_FORMATS = (
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M:%S%.f%#z",
    "%Y-%m-%dT%H:%M:%S%.f%#z",
    "%Y/%m/%d",
    "%Y/%m/%d %H:%M:%S%.f",
    "%Y/%m/%d %H:%M",
)
_DAY_SECONDS = 86_400
_UNITS = (("day", _DAY_SECONDS), ("hour", 3_600), ("minute", 60), ("second", 1))


def read_times(table: Table, name: str) -> np.ndarray:
    """The column of times, as numbers or datetime64.

    Returns:
        (rows,): int64 or float64, or datetime64 in microseconds, in nanoseconds if they matter;
        times with a zone are in UTC.

    Raises:
        InputError: a time is missing, or it is none.
    """
    import polars

    series = tidy(table.frame[name])
    check_filled(table, series)
    if series.dtype == polars.String:
        series = _from_words(table, series)
    if series.dtype == polars.Date:
        series = series.cast(polars.Datetime("us"))
    if isinstance(series.dtype, polars.Datetime):
        if series.dtype.time_zone is not None:
            series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        coarse = series.cast(polars.Datetime("us"))
        return (coarse if (coarse == series).all() else series).to_numpy()
    if series.dtype.is_integer():
        return series.cast(polars.Int64).to_numpy()
    if not series.dtype.is_numeric():
        raise InputError(
            f"{table.source}: column {name!r} holds {series.dtype}; times are numbers or dates."
        )
    times = series.cast(polars.Float64).to_numpy()
    if not np.isfinite(times).all():
        at = int(np.flatnonzero(~np.isfinite(times))[0])
        raise InputError(f"{table.cell(at, name)}: the time is {times[at]}, which is never.")
    return times


def check_filled(table: Table, series: "polars.Series") -> None:
    """See that a column that tells rows apart has a value in each.

    Raises:
        InputError: one is missing.
    """
    if count := series.null_count():
        at = int(series.is_null().arg_max() or 0)
        raise InputError(
            f"{table.cell(at, series.name)}: the value is missing, the first of {count:,}. A "
            "column named as group= or time= must have one in every row: fill it in, or take the "
            "row out."
        )


def _from_words(table: Table, series: "polars.Series") -> "polars.Series":
    import polars

    for kind in (polars.Int64, polars.Float64):
        numbers = series.cast(kind, strict=False)
        if not numbers.null_count():
            return numbers
    first = series.head(1)
    found = sorted(_FORMATS, key=lambda each: _parsed(first, each).null_count())
    times = _parsed(series, found[0])
    for each in found[1:]:
        missing = times.is_null()
        if not missing.any():
            break
        times = times.set(missing, None).zip_with(~missing, _parsed(series, each))
    if count := times.null_count():
        at = int(times.is_null().arg_max() or 0)
        raise InputError(
            f"{table.cell(at, series.name)}: {series[at]!r} is no time, the first of {count:,}. "
            "Write dates as ISO 8601 has them, 2001-03-31 or 2001-03-31 18:30:00, or write numbers."
        )
    return times


def _parsed(words: "polars.Series", form: str) -> "polars.Series":
    times = words.str.to_datetime(form, strict=False, time_unit="us", ambiguous="null")
    if times.dtype.time_zone is not None:  # pyright: ignore[reportAttributeAccessIssue]
        times = times.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return times


def is_in_order(times: np.ndarray, offsets: np.ndarray) -> bool:
    """Whether no time comes before the one above it in the same sequence."""
    falls = times[1:] < times[:-1]
    falls[offsets[1:-1] - 1] = False
    return not falls.any()


def moment(time) -> str:
    """A time for people: no more of it than it says."""
    if not isinstance(time, np.datetime64):
        return f"{time:.15g}"
    return str(np.datetime_as_string(time, unit="auto"))


def gaps(times: np.ndarray, offsets: np.ndarray, names: tuple[str, ...]) -> tuple[str, ...]:
    """A note on the gaps between times.

    Args:
        times: (time steps of all sequences,), ascending within each.
        offsets: (sequences + 1,): where each begins.
        names: what each is called.

    Returns:
        One sentence, or none where every step is alike.
    """
    inner = np.ones(max(len(times) - 1, 0), bool)
    inner[offsets[1:-1] - 1] = False
    before = np.flatnonzero(inner)
    steps, unit = _steps(times, before)
    if not len(steps) or (steps == steps[0]).all():
        return ()
    kinds, counts = np.unique(steps, return_counts=True)
    common = kinds[counts.argmax()]
    shortest, longest = _duration(kinds[0], unit), _duration(kinds[-1], unit)
    if 2 * counts.max() < len(steps):
        return (f"Times are irregular: steps of {shortest} to {longest}.",)
    long = np.flatnonzero(steps > common)
    if not len(long):
        return (f"Steps are of {_duration(common, unit)}, and some shorter, from {shortest}.",)
    at = before[long[steps[long].argmax()]]
    shown = times[at].astype("datetime64[M]") if unit == "month" else times[at]
    where = f" in {names[np.searchsorted(offsets, at, side='right') - 1]!r}" * (len(names) > 1)
    many = f"{len(long):,} gap{'s' * (len(long) > 1)}"
    which = "the longest, " if len(long) > 1 else ""
    return (
        f"Steps are of {_duration(common, unit)}, with {many}: {which}{longest}, "
        f"after {moment(shown)}{where}.",
    )


def _steps(times: np.ndarray, before: np.ndarray) -> tuple[np.ndarray, str]:
    """The steps from some places to the next: in calendar months, seconds, or plain numbers."""
    steps = times[before + 1] - times[before]
    if times.dtype.kind != "M":
        size = float(np.median(steps)) if len(steps) else 1.0
        return np.round(steps / size, 6) * size, ""
    seconds = steps / np.timedelta64(1, "s")
    months = times.astype("datetime64[M]").astype(int)
    calendar = months[before + 1] - months[before]
    if len(steps) and seconds.min() >= 28 * _DAY_SECONDS and calendar.min() > 0:
        return calendar, "month"
    return seconds, "second"


def _duration(step: float, unit: str) -> str:
    """How long a step is, in the largest unit that counts it whole."""
    if not unit:
        return f"{step:.6g}"
    if unit == "month":
        name, size = ("year", 12) if step % 12 == 0 else ("month", 1)
    else:
        name, size = next((each for each in _UNITS if step % each[1] == 0), _UNITS[-1])
    return f"{step / size:.6g} {name}{'s' * (step != size)}"
