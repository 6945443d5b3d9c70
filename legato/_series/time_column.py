"""The column of times: reads it, and checks order, duplicates and gaps.

A gap is a step longer than the most frequent one (``frequency`` measures steps). Where less than
half of the steps are alike, times count as irregular and have no gaps.
"""

import numpy as np

from legato._errors import InputError
from legato._series.column_types import as_integers
from legato._series.frequency import format_step, format_time, infer_spacing, same_sequence
from legato._series.missing_values import check_no_missing, mark_missing
from legato._series.tables import Table
from legato._series.time_formats import parse_compact_dates, parse_times


def read_times(table: Table, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read the column of times as numbers or datetime64.

    Returns:
        (rows,): int64 or float64, or datetime64 in microseconds, in nanoseconds if they matter;
        times with a zone are in UTC. And a note if whole numbers such as 20240331 are dates.

    Raises:
        InputError: a time is missing, or a value is not a time.
    """
    import polars

    series = mark_missing(table.pop(name))
    check_no_missing(table, series)
    if series.dtype == polars.String:
        strings, series = series, parse_times(series)
        if count := series.null_count():
            at = int(series.is_null().arg_max() or 0)
            raise InputError(
                f"{table.describe_cell(at, name)}: {strings[at]!r} is no time, the first of "
                f"{count:,}. Write dates as ISO 8601 has them, 2001-03-31 or 2001-03-31 18:30:00, "
                "or write numbers; take out rows that are no time steps, such as totals."
            )
    if series.dtype == polars.Date:
        series = series.cast(polars.Datetime("us"))
    if isinstance(series.dtype, polars.Datetime):
        if series.dtype.time_zone is not None:
            series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        needs_fine = (
            series.dtype == polars.Datetime("ns") and (series.to_physical() % 1000 != 0).any()
        )
        return (series if needs_fine else series.cast(polars.Datetime("us"))).to_numpy(), ()
    whole = as_integers(series)
    if whole is not None and not whole.null_count():
        dates = parse_compact_dates(whole)
        if dates is not None:
            first = format_time(dates.to_numpy()[0])
            return dates.to_numpy(), (f"Numbers in {name!r} are dates: {whole[0]} is {first}.",)
        if series.dtype.is_integer():
            return whole.to_numpy(), ()
    if not series.dtype.is_numeric():
        raise InputError(
            f"{table.source}: column {name!r} holds {series.dtype}; times are numbers or dates."
        )
    times = series.cast(polars.Float64).to_numpy()
    if not np.isfinite(times).all():
        at = int(np.flatnonzero(~np.isfinite(times))[0])
        raise InputError(
            f"{table.describe_cell(at, name)}: the time is {times[at]}, and a finite number was "
            "expected."
        )
    return times, ()


def is_sorted(times: np.ndarray, lengths: np.ndarray) -> bool:
    """Whether times are ascending within every sequence."""
    return not ((times[1:] < times[:-1]) & same_sequence(lengths)).any()


def check_no_duplicates(
    table: Table,
    times: np.ndarray,
    lengths: np.ndarray,
    names: tuple[str, ...],
    rows: np.ndarray,
    group: str | None,
) -> None:
    """Check that no time is there twice in a sequence.

    Raises:
        InputError: one does; both rows are named.
    """
    places = np.flatnonzero((times[1:] == times[:-1]) & same_sequence(lengths))
    if not len(places):
        return
    at = places[rows[places + 1].argmin()]
    one, other = sorted(rows[at : at + 2].tolist())
    unit = "lines" if table.lines is not None else "rows (counted from 0)"
    advice = (
        "Take one out."
        if group is not None
        else "Take one out, or name the column that tells sequences apart with group=."
    )
    raise InputError(
        f"{table.source}: the time {format_time(times[at])} comes twice"
        f"{_in_sequence(names, lengths, at)}, in {unit} {one} and {other}. {advice}"
    )


def _in_sequence(names: tuple[str, ...], lengths: np.ndarray, at: int) -> str:
    """The sequence of a row, as " in 'name'"; empty if there is one sequence."""
    sequence = np.searchsorted(np.cumsum(lengths), at, side="right")
    return f" in {names[sequence]!r}" if len(names) > 1 else ""


def describe_gaps(
    times: np.ndarray, lengths: np.ndarray, names: tuple[str, ...]
) -> tuple[str, ...]:
    """A note on the gaps between times.

    Args:
        times: (time steps of all sequences,), ascending within each.
        lengths: (sequences,): the time steps of each.
        names: the name of each.

    Returns:
        One sentence, or none if all steps are equal.
    """
    spacing = infer_spacing(times, lengths)
    if spacing is None or (spacing.steps == spacing.steps[0]).all():
        return ()
    steps, unit, common = spacing.steps, spacing.unit, spacing.common
    shortest, longest = format_step(steps.min(), unit), format_step(steps.max(), unit)
    if 2 * (steps == common).sum() < len(steps):
        return (f"Times are irregular: steps of {shortest} to {longest}.",)
    many = int((steps > common).sum())
    if not many:
        return (f"Steps are of {spacing}, and some shorter, from {shortest}.",)
    at = np.flatnonzero(same_sequence(lengths))[steps.argmax()]
    shown = times[at].astype("datetime64[M]") if unit == "month" else times[at]
    gaps = f"{many:,} gaps: the longest, " if many > 1 else "1 gap: "
    return (
        f"Steps are of {spacing}, with {gaps}{longest}, after {format_time(shown)}"
        f"{_in_sequence(names, lengths, at)}.",
    )
