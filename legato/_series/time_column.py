"""The column of times: reads it, and checks order, duplicates and gaps.

A gap is a step longer than the most frequent one (``frequency`` measures steps). Where less than
half of the steps are alike, times count as irregular and have no gaps.
"""

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from legato._errors import InputError
from legato._platform.wording import counted
from legato._series.column_types import as_integers
from legato._series.frequency import Spacing, format_step, format_time, same_sequence
from legato._series.gap_filling import count_missing
from legato._series.missing_values import check_no_missing, mark_missing
from legato._series.sequences import Sequences
from legato._series.tables import Table
from legato._series.time_formats import parse_compact_dates, parse_times
from legato._series.time_options import DateOrder
from legato._series.time_writings import (
    Undecided,
    Writing,
    find_writing,
    number_writing,
)
from legato._series.time_zones import NamedZone, ObservedOffsets, Zone

if TYPE_CHECKING:
    import polars

_OFFSET = r"[-+]\d\d(?::?\d\d)?$"  # behind a time of day
_TWO_DIGITS = (  # of a year
    r"\d{1,2}([-/. ])\d{1,2}\1\d\d(?!\d).*|(?!.*\d{4}).*[^\W\d]\d?\.?[-/., ']*\d\d"
)
_ADVICE = (
    "Write dates as ISO 8601 has them, 2001-03-31 or 2001-03-31 18:30:00, or write numbers; take "
    "out rows that are no time steps, such as totals."
)


class TimeColumn(NamedTuple):
    """A column of times.

    Attributes:
        times: (rows,): int64 or float64, or datetime64 in microseconds, in nanoseconds if they
            matter; times with a zone are in UTC.
        writing: how they are written, if they are texts or numbers that are dates.
        zone: the time zone, if they have one.
        notes: sentences on what was found.
        is_local: whether they have no zone by themselves, and ``zone`` was named for them.
    """

    times: np.ndarray
    writing: Writing | None = None
    zone: Zone | None = None
    notes: tuple[str, ...] = ()
    is_local: bool = False


def read_times(table: Table, name: str, order: DateOrder | None = None) -> TimeColumn:
    """Read the column of times.

    Args:
        table: the table; the column is taken out of it.
        name: the column's name.
        order: whether days or months come first in dates such as 01/02/2020.

    Raises:
        InputError: a time is missing, a value is not a time, or days and months cannot be told
            apart.
    """
    import polars

    series = mark_missing(table.pop(name))
    check_no_missing(table, series)
    texts = table.time_texts
    writing, zone = None, None
    if series.dtype == polars.String:
        texts = series
        series, writing = _parse_texts(table, series, order)
    elif texts is not None:
        found = find_writing(texts, order)
        writing = found if isinstance(found, Writing) else None
    if series.dtype == polars.Date:
        series = series.cast(polars.Datetime("us"))
    if isinstance(series.dtype, polars.Datetime):
        if series.dtype.time_zone is not None:
            zone = NamedZone(series.dtype.time_zone)
            series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        times = _as_array(series)
        if writing is not None and writing.has_offset and zone is None and texts is not None:
            zone = ObservedOffsets.of(times[: len(texts)], _read_offsets(texts))
        return TimeColumn(times, writing, zone)
    return _read_numbers(table, series)


def _as_array(series: "polars.Series") -> np.ndarray:
    """Dates as an array, in nanoseconds if they matter."""
    import polars

    fine = series.dtype == polars.Datetime("ns") and (series.to_physical() % 1000 != 0).any()
    return (series if fine else series.cast(polars.Datetime("us"))).to_numpy()


def _parse_texts(
    table: Table, texts: "polars.Series", order: DateOrder | None
) -> tuple["polars.Series", Writing | None]:
    """Texts as times or numbers, and how they are written.

    Raises:
        InputError: one is not a time, or days and months cannot be told apart.
    """
    is_iso = not parse_times(texts.head(1)).null_count()
    found = find_writing(texts, order)
    if isinstance(found, Undecided):
        raise InputError(
            f"{table.describe_cell(0, texts.name)}: {found.text!r} is no time until it is known "
            "whether its day or its month comes first, which no row shows: give "
            "dates='day-first' or dates='month-first', or write dates as ISO 8601 has them, "
            "2001-03-31."
        )
    times = parse_times(texts) if is_iso or found is None else found.parse(texts)
    if count := times.null_count():
        raise InputError(
            _describe_no_time(table, texts, int(times.is_null().arg_max() or 0), count)
        )
    return times, found


def _describe_no_time(table: Table, texts: "polars.Series", at: int, count: int) -> str:
    """The message on the first text that is not a time."""
    text, reason = str(texts[at]), ""
    if re.fullmatch(_TWO_DIGITS, text):
        reason = "Its year has two digits, and four are needed. "
    elif at:
        reason = f"All are to be written as {str(texts[0])!r} is in {table.describe_row(0)}. "
    cell = table.describe_cell(at, texts.name)
    return f"{cell}: {text!r} is no time, the first of {count:,}. {reason}{_ADVICE}"


def _read_offsets(texts: "polars.Series") -> np.ndarray:
    """The minutes from UTC that are written at the end of each text."""
    import polars

    parts = texts.str.extract(f"({_OFFSET})", 1).str.replace(":", "", literal=True)
    parts = parts.fill_null("+0000").str.pad_end(5, "0")
    minutes = 60 * parts.str.slice(1, 2).cast(polars.Int64) + parts.str.slice(3).cast(polars.Int64)
    return (minutes.to_numpy() * np.where(parts.str.starts_with("-").to_numpy(), -1, 1)).astype(int)


def _read_numbers(table: Table, series: "polars.Series") -> TimeColumn:
    """Numbers as times, or as the dates that they are.

    Raises:
        InputError: they are no numbers, or one is not finite.
    """
    import polars

    name = series.name
    whole = as_integers(series)
    if whole is not None and not whole.null_count():
        dates = parse_compact_dates(whole)
        if dates is not None:
            first = format_time(dates.to_numpy()[0])
            note = f"Numbers in {name!r} are dates: {whole[0]} is {first}."
            return TimeColumn(dates.to_numpy(), number_writing(whole[0]), None, (note,))
        if series.dtype.is_integer():
            return TimeColumn(whole.to_numpy())
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
    return TimeColumn(times)


def to_instants(
    table: Table,
    name: str,
    times: np.ndarray,
    sequence: np.ndarray,
    rows: np.ndarray,
    zone: NamedZone,
) -> np.ndarray:
    """Times of clocks in a zone as instants, in UTC.

    Args:
        table, name: the table and the name of the column, for messages.
        times: (rows,) sorted by sequence, and in the order of the file within each.
        sequence: (rows,) the index of the sequence of each.
        rows: (rows,) the line of each.
        zone: the zone.

    Raises:
        InputError: they are no dates, or the clocks of the zone never show one.
    """
    if times.dtype.kind != "M":
        raise InputError(
            f"{table.source}: column {name!r} holds numbers, and zone= is that of dates: leave it "
            "out."
        )
    found = zone.instants_in_order(times, sequence)
    skipped = np.flatnonzero(np.isnat(found))
    if len(skipped):
        at = skipped[rows[skipped].argmin()]
        cell = table.describe_cell(int(np.searchsorted(table.rows, rows[at])), name)
        raise InputError(
            f"{cell}: clocks in {zone.name} never show {format_time(times[at])}, the first of "
            f"{len(skipped):,}: summer time begins there. Mend it, or name the zone that is meant."
        )
    return found


def is_sorted(times: np.ndarray, lengths: np.ndarray) -> bool:
    """Whether times are ascending within every sequence."""
    return not ((times[1:] < times[:-1]) & same_sequence(lengths)).any()


def check_no_duplicates(table: Table, sequences: Sequences) -> None:
    """Check that no time is there twice in a sequence.

    Raises:
        InputError: one does; both rows are named.
    """
    times, rows, lengths = sequences.times, sequences.lines, sequences.lengths
    if times is None or rows is None:
        return
    places = np.flatnonzero((times[1:] == times[:-1]) & same_sequence(lengths))
    if not len(places):
        return
    at = places[rows[places + 1].argmin()]
    one, other = sorted(rows[at : at + 2].tolist())
    unit = "lines" if table.lines is not None else "rows (counted from 0)"
    advice = (
        "Take one out."
        if sequences.group is not None
        else "Take one out, or name the column that tells sequences apart with group=."
    )
    if may_be_summer_time(times[places]):
        advice = (
            "If it is the hour that comes twice where summer time ends, name the time zone, such "
            "as zone='Europe/Berlin'; else take one out."
        )
    raise InputError(
        f"{table.source}: the time {format_time(times[at])} comes twice"
        f"{_in_sequence(sequences.names, lengths, at)}, in {unit} {one} and {other}. {advice}"
    )


def may_be_summer_time(times: np.ndarray) -> bool:
    """Whether all times are in the early hours of a Sunday of a month in which clocks change."""
    if times.dtype.kind != "M":
        return False
    days, months = times.astype("M8[D]"), times.astype("M8[M]").astype(int) % 12 + 1
    is_sunday = (days - np.datetime64("1970-01-04")).astype(int) % 7 == 0
    hours = (times - days) // np.timedelta64(1, "h")
    return bool((is_sunday & (hours >= 1) & (hours < 4) & np.isin(months, [3, 4, 9, 10, 11])).all())


def _in_sequence(names: tuple[str, ...], lengths: np.ndarray, at: int) -> str:
    """The sequence of a row, as " in 'name'"; empty if there is one sequence."""
    sequence = np.searchsorted(np.cumsum(lengths), at, side="right")
    return f" in {names[sequence]!r}" if len(names) > 1 else ""


def describe_gaps(sequences: Sequences) -> tuple[str, ...]:
    """A note on the gaps between times: one sentence, or none if all steps are equal."""
    spacing = sequences.spacing
    if spacing is None or (spacing.steps == spacing.steps[0]).all():
        return ()
    steps, unit = spacing.steps, spacing.unit
    shortest, longest = format_step(steps.min(), unit), format_step(steps.max(), unit)
    if not spacing.is_regular:
        return (f"Times are irregular: steps of {shortest} to {longest}.",)
    many = int(spacing.gaps.sum())
    if not many:
        return (f"Steps are of {spacing}, and some shorter, from {shortest}.",)
    times, lengths = sequences.clock_times, sequences.lengths
    assert times is not None
    at = np.flatnonzero(same_sequence(lengths))[steps.argmax()]
    shown = times[at].astype("datetime64[M]") if unit == "month" else times[at]
    gaps = f"{many:,} gaps: the longest, " if many > 1 else "1 gap: "
    advice = ""
    if sequences.zone is None and not spacing.is_of_days:
        before = times[np.flatnonzero(same_sequence(lengths))[spacing.gaps]]
        if may_be_summer_time(before):
            advice = (
                " If that is where summer time begins, name the time zone with zone= (--zone), and "
                "there is no gap."
            )
    return (
        f"Steps are of {spacing}, with {gaps}{longest}, after {format_time(shown)}"
        f"{_in_sequence(sequences.names, lengths, at)}{_describe_missing(spacing)}.{advice}",
    )


def _describe_missing(spacing: Spacing) -> str:
    """How many rows the gaps lack, and what to do about it; empty if they are no whole steps."""
    count = int(count_missing(spacing).sum())
    if not count:
        return ""
    return f": {counted(count, 'row')} missing, which fill= (--fill) puts in"
