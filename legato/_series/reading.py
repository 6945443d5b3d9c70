"""A file, a frame or arrays → sequences, checked: what is wrong is told by row and column.

Nothing is filled or left out silently, and nothing is filled from the future. Columns are read one
at a time, into their places in order of sequence and time, so that memory stays near the file's.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from legato._errors import InputError
from legato._platform.wording import counted
from legato._series.columns import check_spread, read_column
from legato._series.csv import check_beginning, check_text, read_bytes
from legato._series.parsing import mark_missing
from legato._series.sequences import Column, Sequences, suggest_columns
from legato._series.tables import DELIMITED, NUMPY, PARQUET, Table, kind_of, read_table
from legato._series.time_column import (
    check_no_duplicates,
    check_no_missing,
    describe_gaps,
    is_sorted,
    read_times,
)

Missing = Literal["error", "drop", "forward"]


def read(
    source: Any,
    *,
    group: str | None = None,
    time: str | None = None,
    columns: str | Iterable[str] | None = None,
    categorical: str | Iterable[str] = (),
    missing: Missing = "error",
) -> Sequences:
    """Read sequences.

    Args:
        source: the path of a CSV or TSV file (``.csv``, ``.tsv``, ``.tab``, also ``.gz``; UTF-8,
            with a header), of Parquet (``.parquet``, ``.pq``) or NumPy (``.npy``, ``.npz``), or of
            any other text, which is one sequence of characters. Or a frame of Polars or pandas,
            columns by name, an array (time steps,), (time steps, columns) or (sequences, time
            steps, columns), or a list of arrays, a sequence each.
        group: the column that tells sequences apart; default: all rows are one sequence.
        time: the column of times: numbers, dates, or text as ISO 8601 has it. Rows are sorted by
            it within each sequence. Default: the rows' own order.
        columns: the columns of values; default: all others.
        categorical: columns of numbers that are labels, such as a weekday. Text is so by itself.
        missing: what becomes of values that are missing (empty, NA, N/A, NaN, null, None):
            ``"error"``; ``"drop"``, their rows are left out; ``"forward"``, the last value known in
            the same sequence stands for them, and rows before the first are left out.

    Returns:
        The sequences in order of first appearance, values float64 (of characters int32); its
        ``notes`` say what was noticed and done.

    Raises:
        InputError: the source is not what it was taken for; the message says where and why.

    Example:
        >>> import legato
        >>> shops = {"shop": ["b", "a", "b"], "day": [2, 1, 1], "sold": [5.0, 7.0, 4.0]}
        >>> sales = legato.read(shops, group="shop", time="day")
        >>> sales.names, sales.lengths.tolist(), sales.values.ravel().tolist()
        (('b', 'a'), [2, 1], [4.0, 5.0, 7.0])
    """
    if missing not in ("error", "drop", "forward"):
        raise InputError(f"missing is {missing!r}; 'error', 'drop' or 'forward' was expected.")
    source = Path(source) if isinstance(source, (str, os.PathLike)) else source
    chosen = None if columns is None else _column_names(columns, "columns")
    labels = _column_names(categorical, "categorical")
    if isinstance(source, Path) and kind_of(source) not in (*DELIMITED, *PARQUET, *NUMPY):
        if group or time or chosen or labels:
            raise InputError(
                f"{source.name} is read as plain text, which has no columns to name. If it is a "
                "table, let its name end in .csv."
            )
        return _read_text(source)
    table = read_table(source, group, time, chosen, labels)
    return _sequences_from_table(table, group, time, chosen, labels, missing)


def _sequences_from_table(
    table: Table,
    group: str | None,
    time: str | None,
    chosen: list[str] | None,
    labels: list[str],
    missing: Missing,
) -> Sequences:
    """A table as sequences; the arguments are those of ``read``."""
    used = _value_columns(table, group, time, chosen, labels)
    order, lengths, names = _group_rows(table, group)
    times, order, notes = _sort_by_time(table, time, order, lengths)
    kinds, values = _read_values(table, used, labels, order)
    rows = table.rows if order is None else table.rows[order]
    kept, more = _handle_missing(table, kinds, values, rows, lengths, missing)
    if kept is not None:
        lengths = np.add.reduceat(kept.astype(int), np.cumsum(lengths) - lengths)
        values, rows = values[kept], rows[kept]
        times = None if times is None else times[kept]
        more += _note_emptied_sequences(names, lengths)
        names = tuple(name for name, length in zip(names, lengths, strict=True) if length)
        lengths = lengths[lengths > 0]
    for at, column in enumerate(kinds):
        if column.is_numeric:
            check_spread(column.name, values[:, at], table.source)
    if times is not None:
        check_no_duplicates(table, times, lengths, names, rows, group)
        more += describe_gaps(times, lengths, names)
    return Sequences(
        values, lengths, kinds, names, times, group, time, table.source, notes + more, rows
    )


def _column_names(names: str | Iterable[str], argument: str) -> list[str]:
    """Names of columns, each once."""
    several = [names] if isinstance(names, str) or not isinstance(names, Iterable) else list(names)
    if not all(isinstance(name, str) for name in several):
        raise InputError(f"{argument} is {names!r}; the name of a column or several was expected.")
    return list(dict.fromkeys(several))


def _value_columns(
    table: Table, group: str | None, time: str | None, chosen: list[str] | None, labels: list[str]
) -> list[str]:
    """The columns of values, every name seen to be there.

    Raises:
        InputError: a name is not, or is used for two things.
    """
    present = table.frame.columns
    for name in (group, time, *(chosen or ()), *labels):
        if name is not None and name not in present:
            raise InputError(
                f"{table.source} has no column {name!r}.{suggest_columns(name, present)}"
            )
    if group is not None and group == time:
        raise InputError(f"Column {group!r} cannot be both group= and time=.")
    for name in (*(chosen or ()), *labels):
        if name in (group, time):
            what = "group" if name == group else "time"
            raise InputError(f"Column {name!r} is named as {what}=, and is no column of values.")
    used = chosen if chosen is not None else [each for each in present if each not in (group, time)]
    if not used:
        raise InputError(f"{table.source}: no column of values is left beside group= and time=.")
    for name in labels:
        if name not in used:
            raise InputError(f"categorical names {name!r}, which columns= leaves out.")
    return used


def _group_rows(
    table: Table, group: str | None
) -> tuple[np.ndarray | None, np.ndarray, tuple[str, ...]]:
    """The rows in order of sequence, None if they are; how many each has; what each is called."""
    import polars

    height = table.height
    if group is None:
        lengths = np.array([height]) if table.lengths is None else table.lengths
        numbered = tuple(map(str, range(len(lengths))))
        return None, lengths, numbered if len(lengths) > 1 else (table.source,)
    if table.lengths is not None:
        raise InputError(
            "group= tells sequences of one table apart; these arrays are many by themselves."
        )
    series = mark_missing(table.take(group))
    check_no_missing(table, series)
    if series.dtype.is_nested():
        raise InputError(
            f"{table.source}: column {group!r} holds {series.dtype}, which tells no sequences "
            "apart."
        )
    if series.dtype.is_float() and (series == series.round()).all():
        series = series.cast(polars.Int64)
    words = series.cast(polars.String)
    names = words.unique(maintain_order=True)
    places = words.cast(polars.Enum(names)).to_physical().to_numpy()
    in_order = bool((places[1:] >= places[:-1]).all())
    order = None if in_order else np.argsort(places, kind="stable")
    return order, np.bincount(places), tuple(names.to_list())


def _sort_by_time(
    table: Table, time: str | None, order: np.ndarray | None, lengths: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None, tuple[str, ...]]:
    """The times, ascending within each sequence; the order of rows that makes them so; a note."""
    if time is None:
        return None, order, ()
    times = read_times(table, time)
    times = times if order is None else times[order]
    if is_sorted(times, lengths):
        return times, order, ()
    by_time = np.lexsort((times, np.repeat(np.arange(len(lengths)), lengths)))
    order = by_time if order is None else order[by_time]
    return times[by_time], order, (f"Rows were not in order of {time!r}; sorted.",)


def _read_values(
    table: Table, used: list[str], labels: list[str], order: np.ndarray | None
) -> tuple[tuple[Column, ...], np.ndarray]:
    """Every column of values, its rows in some order; NaN where one is missing."""
    values = np.empty((table.height, len(used)))
    columns = []
    for at, name in enumerate(used):
        column, numbers = read_column(table, name, name in labels)
        values[:, at] = numbers if order is None else numbers[order]
        columns.append(column)
    return tuple(columns), values


def _handle_missing(
    table: Table,
    columns: tuple[Column, ...],
    values: np.ndarray,
    rows: np.ndarray,
    lengths: np.ndarray,
    policy: Missing,
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Which rows stay, None if all do, and what was done; values are filled in their places.

    Raises:
        InputError: a value is missing and nothing was said about it, or nothing would be left.
    """
    gone = np.isnan(values)
    count = int(gone.sum())
    if not count:
        return None, ()
    many = f"{count:,} value{'s were' if count > 1 else ' was'} missing"
    if policy == "error":
        places = np.flatnonzero(gone.any(axis=1))
        place = places[rows[places].argmin()]
        name = columns[int(gone[place].argmax())].name
        others = f", the first of {count:,} such" if count > 1 else ""
        cell = table.cell(int(np.searchsorted(table.rows, rows[place])), name)
        raise InputError(
            f"{cell}: the value is missing{others}. Leave such rows "
            "out with missing='drop', or let the last known value of the same sequence stand for "
            "them with missing='forward'."
        )
    drop = policy == "drop"
    kept = np.logical_not(gone.any(axis=1)) if drop else _fill_forward(values, gone, lengths)
    left = counted(int((~kept).sum()), "row")
    told = f"{many}: {left} left out."
    if not drop:
        told = f"{many}: {gone[kept].sum():,} filled with the last known of the same sequence"
        told += "." if kept.all() else f", {left} before the first known left out."
    if not kept.any():
        raise InputError(
            f"{table.source}: {many}, and no row would be left with missing={policy!r}."
        )
    return kept, (told,)


def _fill_forward(values: np.ndarray, gone: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Fill in the last known value of the same sequence; where there is one for every column."""
    begins = np.repeat(np.cumsum(lengths) - lengths, lengths)
    kept = np.ones(len(values), bool)
    for at in np.flatnonzero(gone.any(axis=0)):
        last = np.maximum.accumulate(np.where(gone[:, at], -1, np.arange(len(values))))
        kept &= last >= begins
        values[:, at] = values[last, at]
    return kept


def _note_emptied_sequences(names: tuple[str, ...], lengths: np.ndarray) -> tuple[str, ...]:
    """A note on sequences of which no row is left."""
    gone = [name for name, length in zip(names, lengths, strict=True) if not length]
    if not gone:
        return ()
    many = "1 sequence has" if len(gone) == 1 else f"{len(gone):,} sequences have"
    return (f"{many} no row left, {gone[0]!r}{' first' * (len(gone) > 1)}.",)


def _read_text(path: Path) -> Sequences:
    """A text as one sequence of characters, each its code point; lines end with ``\\n``."""
    content = b"".join(read_bytes(path))
    content = check_beginning(content, path.name)
    check_text(content, 1, path.name)
    text = content.replace(b"\r\n", b"\n").decode()
    if not text:
        raise InputError(f"{path.name} is empty; a text was expected.")
    codes = np.frombuffer(text.encode("utf-32-le"), np.int32)
    characters = tuple(sorted(set(text)))
    column = Column("character", characters, tuple(map(float, map(ord, characters))))
    notes = ("Line ends of Windows were read as one character.",) if b"\r\n" in content else ()
    newlines = codes == ord("\n")
    lines = np.cumsum(newlines, dtype=np.int32)
    lines += ~newlines
    lengths = np.array([len(codes)])
    return Sequences(
        codes[:, None], lengths, (column,), (path.name,), source=path.name, notes=notes, lines=lines
    )
