"""Times: read from a column, put in order, and looked through for gaps.

Months and years have no constant length: where no step is shorter than 28 days and no month comes
twice in a sequence, steps are counted in calendar months. A gap is a step longer than the most
common one; where no step is common there are no gaps, and the note says that.
"""

from typing import TYPE_CHECKING

import numpy as np

from legato._errors import InputError
from legato._tables import Table
from legato._words import tidy, times_in

if TYPE_CHECKING:
    import polars

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

    series = tidy(table.take(name))
    check_filled(table, series)
    if series.dtype == polars.String:
        words, series = series, times_in(series)
        if count := series.null_count():
            at = int(series.is_null().arg_max() or 0)
            raise InputError(
                f"{table.cell(at, name)}: {words[at]!r} is no time, the first of {count:,}. Write "
                "dates as ISO 8601 has them, 2001-03-31 or 2001-03-31 18:30:00, or write numbers."
            )
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


def _inner(lengths: np.ndarray) -> np.ndarray:
    """Which steps from a row to the next stay within a sequence."""
    inner = np.ones(lengths.sum() - 1, bool)
    inner[np.cumsum(lengths)[:-1] - 1] = False
    return inner


def is_in_order(times: np.ndarray, lengths: np.ndarray) -> bool:
    """Whether no time comes before the one above it in the same sequence."""
    return not ((times[1:] < times[:-1]) & _inner(lengths)).any()


def check_once(
    table: Table,
    times: np.ndarray,
    lengths: np.ndarray,
    names: tuple[str, ...],
    rows: np.ndarray,
    group: str | None,
) -> None:
    """See that no time comes twice in a sequence.

    Raises:
        InputError: one does; both rows are named.
    """
    places = np.flatnonzero((times[1:] == times[:-1]) & _inner(lengths))
    if not len(places):
        return
    at = places[rows[places + 1].argmin()]
    one, other = sorted(rows[at : at + 2].tolist())
    what = "lines" if table.lines is not None else "rows (counted from 0)"
    advice = (
        "Take one out."
        if group is not None
        else "Take one out, or name the column that tells sequences apart with group=."
    )
    raise InputError(
        f"{table.source}: the time {moment(times[at])} comes twice"
        f"{_within(names, lengths, at)}, in {what} {one} and {other}. {advice}"
    )


def _within(names: tuple[str, ...], lengths: np.ndarray, at: int) -> str:
    """In which sequence a row is, if there are several."""
    sequence = np.searchsorted(np.cumsum(lengths), at, side="right")
    return f" in {names[sequence]!r}" if len(names) > 1 else ""


def moment(time) -> str:
    """A time for people: no more of it than it says."""
    if not isinstance(time, np.datetime64):
        return f"{time:.15g}"
    is_month = np.datetime_data(time.dtype)[0] == "M"
    return str(time if is_month else np.datetime_as_string(time, unit="auto"))


def gaps(times: np.ndarray, lengths: np.ndarray, names: tuple[str, ...]) -> tuple[str, ...]:
    """A note on the gaps between times.

    Args:
        times: (time steps of all sequences,), ascending within each.
        lengths: (sequences,): the time steps of each.
        names: what each is called.

    Returns:
        One sentence, or none where every step is alike.
    """
    inner = _inner(lengths)
    steps, unit = _steps(times, inner)
    if not len(steps) or (steps == steps[0]).all():
        return ()
    kinds, counts = np.unique(steps, return_counts=True)
    common = kinds[counts.argmax()]
    shortest, longest = _duration(kinds[0], unit), _duration(kinds[-1], unit)
    if 2 * counts.max() < len(steps):
        return (f"Times are irregular: steps of {shortest} to {longest}.",)
    many = int(counts[kinds > common].sum())
    if not many:
        return (f"Steps are of {_duration(common, unit)}, and some shorter, from {shortest}.",)
    at = np.flatnonzero(inner)[steps.argmax()]
    shown = times[at].astype("datetime64[M]") if unit == "month" else times[at]
    told = f"{many:,} gaps: the longest, " if many > 1 else "1 gap: "
    return (
        f"Steps are of {_duration(common, unit)}, with {told}{longest}, after {moment(shown)}"
        f"{_within(names, lengths, at)}.",
    )


def _steps(times: np.ndarray, inner: np.ndarray) -> tuple[np.ndarray, str]:
    """The steps from one time to the next in the same sequence, and what they are counted in.

    Calendar months, ticks of the times' own unit, or plain numbers, of which six digits count.
    """
    steps = np.diff(times)[inner]
    if times.dtype.kind != "M":
        size = float(np.median(steps)) if len(steps) else 1.0
        return np.round(steps, 6 - int(np.floor(np.log10(size)))), ""
    unit = np.datetime_data(times.dtype)[0]
    if len(steps) and steps.min() >= np.timedelta64(28, "D"):
        months = np.diff(times.astype("datetime64[M]").astype(int))[inner]
        if months.min() > 0:
            return months, "month"
    return steps.view(np.int64), unit


def _duration(step: float, unit: str) -> str:
    """How long a step is, in the largest unit that counts it whole."""
    if not unit:
        return f"{step:.6g}"
    if unit == "month":
        name, size = ("year", 12) if step % 12 == 0 else ("month", 1)
    else:
        second = 10**6 if unit == "us" else 10**9
        step = step / second
        name, size = next((each for each in _UNITS if step % each[1] == 0), _UNITS[-1])
    return f"{step / size:.6g} {name}{'' if step == size else 's'}"
