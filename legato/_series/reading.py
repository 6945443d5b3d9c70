"""Reads a file, a frame or arrays as sequences; errors name the row and the column.

Nothing is filled or left out silently, and gaps are filled from earlier values only. Columns are
read one at a time, in order of sequence and time, so that memory stays near the file's size.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from legato._errors import InputError
from legato._platform.checks import check_choice
from legato._platform.input_files import refusing_damage
from legato._series.columns import check_spread, list_names, read_column
from legato._series.file_formats import find_format, open_data
from legato._series.future_rows import FutureRows, find_future_rows, target_places
from legato._series.gap_filling import insert_missing_rows
from legato._series.missing_values import (
    MissingPolicy,
    fill_values,
    handle_missing,
    mark_missing,
)
from legato._series.resampling import Resampling, resample
from legato._series.row_order import group_rows, sort_by_time
from legato._series.sequences import Column, Sequences
from legato._series.tables import (
    ColumnRequest,
    Table,
    build_table,
    check_present,
    check_table,
)
from legato._series.target_labels import are_labels, note_of_labels
from legato._series.text import read_text
from legato._series.time_column import check_no_duplicates, describe_gaps
from legato._series.time_options import DateOrder, EveryRule, FillPolicy
from legato._series.time_zones import NamedZone
from legato._series.wide_tables import lengthen

if TYPE_CHECKING:
    import polars


@dataclass(frozen=True)
class ReadingOptions:
    """How values and times are read: see ``read`` and ``read_with_future``."""

    targets: Sequence[str] | None
    missing: MissingPolicy = "error"
    dates: DateOrder | None = None
    zone: NamedZone | None = None
    fill: FillPolicy | None = None
    every: Resampling | None = None
    classifies: bool | None = False


def read(
    source: Any,
    *,
    group: str | None = None,
    time: str | None = None,
    columns: str | Iterable[str] | None = None,
    categorical: str | Iterable[str] = (),
    missing: MissingPolicy = "error",
    dates: DateOrder | None = None,
    zone: str | None = None,
    fill: FillPolicy | None = None,
    every: str | None = None,
    every_by: EveryRule = "mean",
    wide: bool = False,
) -> Sequences:
    """Read sequences.

    Args:
        source: the path of a CSV or TSV file (``.csv``, ``.tsv``, ``.tab``, ``.psv``; UTF-8, with a
            header), of JSON (``.jsonl``, ``.ndjson``, ``.json``), Parquet (``.parquet``, ``.pq``),
            NumPy (``.npy``, ``.npz``) or sequences of aeon and sktime (``.ts``), or of any other
            text, which is one sequence of characters; all but Parquet and NumPy also packed
            (``.gz``, ``.bz2``, ``.xz``, ``.zip``). The path of a pipe, or ``"-"`` for standard
            input, whose content says what it is. Or a frame of Polars or pandas, columns by name,
            an array (time steps,), (time steps, columns) or (sequences, time steps, columns), or a
            list of arrays, a sequence each.
        group: the column with the sequence's identifier; default: all rows are one sequence.
        time: the column of times: numbers, dates, or text in ISO 8601 or in other common writings,
            such as 31/01/2020, Jul 1991 or 1970 Q1. Rows are sorted by it within each sequence.
            Default: the index of a pandas frame if it holds dates or periods, as ``"time"`` unless
            it has a name; else the rows' own order.
        columns: the columns of values; default: all others.
        categorical: columns of numbers that are labels, such as a weekday; text always is, and so
            are the categories of Polars and pandas.
        missing: how to handle missing values (empty, NA, N/A, NaN, null, None, masked):
            ``"error"``; ``"drop"`` leaves their rows out; ``"forward"`` fills in the last known
            value of the same sequence and leaves out rows before the first.
        dates: ``"day-first"`` or ``"month-first"``, for dates such as 01/02/2020 if no row has a
            number above 12 that tells.
        zone: the time zone of times without one, such as ``"Europe/Berlin"``: of an hour that comes
            twice where summer time ends, the second is the later one. Times that have an offset
            from UTC are shown in the zone.
        fill: puts in the rows that equal steps of times leave out, and fills all missing values:
            ``"forward"`` with the last known value of the same sequence, ``"interpolate"`` with
            what is between the known ones before and after, ``"zero"`` with 0; labels with the last
            known. In place of ``missing``.
        every: resamples to steps of a length such as ``"15min"``, ``"1h"``, ``"1d"``, ``"1w"`` or
            ``"1mo"``, named by their beginnings.
        every_by: what a step is given of its values: their ``"mean"``, ``"sum"`` or the ``"last"``
            of them; of labels always the last.
        wide: each row of the table is a sequence: its label, then its values, without a line of
            names or with one. Its columns are then ``"value"`` and ``"label"``.

    Returns:
        The sequences in order of first appearance, values float64 (of characters int32); its
        ``notes`` say what was found and changed.

    Raises:
        InputError: the source cannot be read as asked; the message names the row and the reason.

    Examples:
        >>> import legato
        >>> shops = {"shop": ["b", "a", "b"], "day": [2, 1, 1], "sold": [5.0, 7.0, 4.0]}
        >>> sales = legato.read(shops, group="shop", time="day")
        >>> sales.names, sales.lengths.tolist(), sales.values.ravel().tolist()
        (('b', 'a'), [2, 1], [4.0, 5.0, 7.0])
    """
    return read_with_future(
        source,
        None,
        group=group,
        time=time,
        columns=columns,
        categorical=categorical,
        missing=missing,
        dates=dates,
        zone=zone,
        fill=fill,
        every=every,
        every_by=every_by,
        wide=wide,
    )[0]


def read_with_future(
    source: Any,
    targets: Sequence[str] | None = (),
    *,
    group: str | None = None,
    time: str | None = None,
    columns: str | Iterable[str] | None = None,
    categorical: str | Iterable[str] = (),
    missing: MissingPolicy = "error",
    dates: DateOrder | None = None,
    zone: str | None = None,
    fill: FillPolicy | None = None,
    every: str | None = None,
    every_by: EveryRule = "mean",
    wide: bool = False,
    classifies: bool | None = False,
) -> tuple[Sequences, FutureRows | None]:
    """Read sequences, and the rows after their ends, whose targets are empty.

    Args:
        targets: names of the targets; none: the last column. None: there are no future rows, and
            an empty target is a missing value like any other.
        classifies: whether whole numbers and booleans of a target are labels; None: if they never
            change within a sequence, and two sequences have the same.
        others: as for ``read``.

    Returns:
        The sequences, and the future rows; None if there are none.
    """
    check_choice("missing", missing, get_args(MissingPolicy))
    if dates is not None:
        check_choice("dates", dates, get_args(DateOrder))
    check_choice("every_by", every_by, get_args(EveryRule))
    if fill is not None:
        check_choice("fill", fill, get_args(FillPolicy))
        if missing != "error":
            raise InputError(
                f"fill={fill!r} says what missing values become, and missing={missing!r} came with "
                "it. Leave one of the two out."
            )
    options = ReadingOptions(
        targets,
        missing,
        dates,
        None if zone is None else NamedZone(zone),
        fill,
        None if every is None else Resampling.of(every, every_by),
        classifies,
    )
    request = ColumnRequest(
        group,
        time,
        None if columns is None else list_names(columns, "columns"),
        list_names(categorical, "categorical"),
    )
    every_column = ColumnRequest(wide=True) if wide else request  # of which ``lengthen`` makes two
    if isinstance(source, (str, os.PathLike)):
        file = open_data(source)
        with refusing_damage(file.name, "file of data", "write it again."):
            file_format = find_format(file, is_table=wide)
            if file_format.read_table is None:
                _check_no_columns(request, file.name)
                return read_text(file, file_format.may_look_like_table), None
            table = file_format.read_table(file, every_column)
    else:
        table = build_table(source, every_column)
    table = lengthen(table) if wide and table.lengths is None else table
    return _sequences_from_table(table, request, options)


def _check_no_columns(request: ColumnRequest, source: str) -> None:
    """Check that no column of a text is asked for.

    Raises:
        InputError: one is.
    """
    if request.group or request.time or request.values or request.labels:
        raise InputError(
            f"{source} is read as plain text, which has no columns to name. If it is a table, let "
            "its name end in .csv."
        )


def _sequences_from_table(
    table: Table, request: ColumnRequest, options: ReadingOptions
) -> tuple[Sequences, FutureRows | None]:
    """Sort a table's rows into sequences, read its columns and check them."""
    check_table(table, request)
    if table.index_time is not None:
        request = replace(request, time=table.index_time)
    group, time = request.group, request.time
    used, left_out = _choose_value_columns(table, request, options.targets)
    order, lengths, names = group_rows(table, group)
    clock, order = sort_by_time(table, time, order, lengths, options.dates, options.zone)
    notes = () if clock is None else clock.notes
    if table.index_time is not None:
        notes = (f"Times are those of the frame's index, as {time!r}.", *notes)
    columns, values, found = _read_values(table, used, request, order, lengths, options)
    notes = (*notes, *found)
    sequences = Sequences(
        values,
        lengths,
        columns,
        names,
        None if clock is None else clock.times,
        group,
        time,
        table.source,
        table.notes + left_out + notes,
        table.rows if order is None else table.rows[order],
        table.layout,
        None if clock is None else clock.writing,
        None if clock is None else clock.zone,
        clock is not None and clock.is_local,
    )
    if options.every is not None:
        sequences = resample(sequences, options.every)
    if options.fill is not None:
        check_no_duplicates(table, sequences)
        sequences, is_new = insert_missing_rows(sequences)
        sequences = _with_filled_future(sequences, is_new, options)
    sequences, future = _split_future(table, sequences, options.targets)
    sequences = _without_missing(table, sequences, options.fill or options.missing)
    for at, column in enumerate(columns):
        if column.is_numeric:
            check_spread(column.name, sequences.values[:, at], table.source)
    check_no_duplicates(table, sequences)
    return replace(sequences, notes=sequences.notes + describe_gaps(sequences)), future


def _with_filled_future(
    sequences: Sequences, is_new: np.ndarray, options: ReadingOptions
) -> Sequences:
    """Fill rows that were put in between the end of the targets and the rows of the future.

    With "zero" there was nothing, and they are no future. Else their targets are still to come, and
    the other columns, which may have to be known ahead, are filled as all are.
    """
    assert options.fill is not None
    values, lengths = sequences.values.copy(), sequences.lengths
    is_future = find_future_rows(sequences.columns, values, lengths, options.targets)
    if is_future is None or not (is_new & is_future).any():
        return sequences
    fill_values(sequences.columns, values, lengths, options.fill, sequences.times)
    if options.fill != "zero":
        values[:, target_places(sequences.columns, options.targets or ())] = np.nan
    filled = np.where((is_new & is_future)[:, None], values, sequences.values)
    return replace(sequences, values=filled)


def _split_future(
    table: Table, sequences: Sequences, targets: Sequence[str] | None
) -> tuple[Sequences, FutureRows | None]:
    """Take the future rows out of sequences, whose values may be NaN and which may then be empty.

    Returns:
        The sequences; and the future rows, None if there are none.
    """
    values, lengths = sequences.values, sequences.lengths
    is_future = find_future_rows(sequences.columns, values, lengths, targets)
    if is_future is None:
        return sequences, None
    check_no_duplicates(table, sequences)
    counts = np.add.reduceat(is_future.astype(int), np.cumsum(lengths) - lengths)
    future = FutureRows.of(_kept_rows(sequences, is_future, counts))
    known = _kept_rows(sequences, ~is_future, lengths - counts)
    return replace(known, notes=(*known.notes, future.note)), future


def _kept_rows(sequences: Sequences, kept: np.ndarray, lengths: np.ndarray) -> Sequences:
    """Some of the rows, (rows,), of sequences, of which as many are left in each as ``lengths``."""
    times, lines, filled = sequences.times, sequences.lines, sequences.filled
    return replace(
        sequences,
        values=sequences.values[kept],
        lengths=lengths,
        times=None if times is None else times[kept],
        lines=None if lines is None else lines[kept],
        filled=None if filled is None else filled[kept],
    )


def _without_missing(
    table: Table, sequences: Sequences, policy: MissingPolicy | FillPolicy
) -> Sequences:
    """Sequences without missing values, by a policy, with notes on what was done."""
    values, lengths, rows = sequences.values, sequences.lengths, sequences.lines
    assert rows is not None
    filled = np.isnan(values)
    kept, notes = handle_missing(
        table, sequences.columns, values, rows, lengths, policy, sequences.times
    )
    if kept is None:
        return sequences
    sequences = replace(sequences, filled=filled)
    lengths = np.add.reduceat(kept.astype(int), np.cumsum(lengths) - lengths)
    names = sequences.names
    sequences = _kept_rows(sequences, kept, lengths[lengths > 0])
    return replace(
        sequences,
        names=tuple(name for name, length in zip(names, lengths, strict=True) if length),
        notes=sequences.notes + notes + _note_emptied_sequences(names, lengths),
        filled=None if sequences.filled is None or not sequences.filled.any() else sequences.filled,
    )


def _choose_value_columns(
    table: Table, request: ColumnRequest, targets: Sequence[str] | None
) -> tuple[list[str], tuple[str, ...]]:
    """The names of the columns of values, and notes; every name that is asked for is checked.

    Columns without a value are left out, but for the last one, targets and those asked for.

    Raises:
        InputError: a column is absent, or is named for two uses.
    """
    present, group, time = table.frame.columns, request.group, request.time
    check_present(present, request, table.source)
    if group is not None and group == time:
        raise InputError(f"Column {group!r} cannot be both group= and time=.")
    for name in (*(request.values or ()), *request.labels):
        if name in (group, time):
            use = "group" if name == group else "time"
            raise InputError(f"Column {name!r} is named as {use}=, and is no column of values.")
    used = request.values
    notes: tuple[str, ...] = ()
    if used is None:
        used = [each for each in present if each not in (group, time)]
        wanted = {*used[-1:], *(targets or ()), *request.labels}
        empty = [name for name in used if name not in wanted and _is_empty(table.frame[name])]
        used = [name for name in used if name not in empty]
        notes = tuple(f"Column {name!r} holds no value; left out." for name in empty)
    if not used:
        raise InputError(f"{table.source}: no column of values is left beside group= and time=.")
    for name in request.labels:
        if name not in used:
            raise InputError(f"categorical names {name!r}, which columns= leaves out.")
    return list(used), notes


def _is_empty(series: "polars.Series") -> bool:
    """Whether every value of a column is missing."""
    begins_so = mark_missing(series.head(1)).null_count() > 0  # most columns are told by it
    return begins_so and mark_missing(series).null_count() == len(series)


def _read_values(
    table: Table,
    used: list[str],
    request: ColumnRequest,
    order: np.ndarray | None,
    lengths: np.ndarray,
    options: ReadingOptions,
) -> tuple[tuple[Column, ...], np.ndarray, list[str]]:
    """Read the columns of values, their rows in a given order; NaN where one is missing.

    Returns:
        The columns, the values, and notes.
    """
    import polars

    values = np.empty((table.height, len(used)))
    columns, notes = [], []
    types = (polars.Categorical, polars.Enum)
    labels = {name for name in used if table.frame[name].dtype in types}
    labels.update(request.labels, table.labels)
    targets = [] if options.classifies is False else list(options.targets or used[-1:])
    for at, name in enumerate(used):
        kept = table.frame[name] if name in targets else None
        column, numbers = read_column(table, name, name in labels, request.values is not None)
        values[:, at] = numbers if order is None else numbers[order]
        if (
            kept is not None
            and column.is_numeric
            and are_labels(values[:, at], lengths, options.classifies)
        ):
            table.frame = table.frame.with_columns(kept)
            column, numbers = read_column(table, name, True)
            values[:, at] = numbers if order is None else numbers[order]
            notes += [] if options.classifies else [note_of_labels(name)]
        columns.append(column)
    return tuple(columns), values, notes


def _note_emptied_sequences(names: tuple[str, ...], lengths: np.ndarray) -> tuple[str, ...]:
    """A note on sequences that have no row left."""
    empty = [name for name, length in zip(names, lengths, strict=True) if not length]
    if not empty:
        return ()
    many = "1 sequence has" if len(empty) == 1 else f"{len(empty):,} sequences have"
    return (f"{many} no row left, {empty[0]!r}{' first' * (len(empty) > 1)}.",)
