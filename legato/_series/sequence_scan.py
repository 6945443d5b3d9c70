"""Finds the sequences in a table of files, in one pass over the columns that tell them apart.

The rows of a sequence are together and in order, within a file or from one file to the next; what
is not so is refused, since nothing is sorted. Memory is that of a million rows of these columns,
and of a name and a length of each sequence.
"""

from typing import TYPE_CHECKING

import numpy as np

from legato._errors import InputError
from legato._series.file_table import FileTable

if TYPE_CHECKING:
    import polars

SCAN_ROWS = 2**20


def find_sequences(
    table: FileTable, group: str | None, time: str | None
) -> tuple["polars.Series", np.ndarray]:
    """The names of the sequences, and their lengths, (sequences,), in the order of the files.

    Args:
        table: the files.
        group: the column of the sequences' identifiers; None: each file is a sequence.
        time: the column of times, which must ascend within each sequence; None: nothing is checked.

    Raises:
        InputError: a sequence is in two places, an identifier or a time is missing, or times do not
            ascend.
    """
    import polars

    if group is None and time is None:
        return _file_names(table), np.diff(table.offsets)
    if time is not None:
        _check_is_time(table, time)
    names, lengths = [], []
    last_time = None
    for begin, end, frame in _read_parts(table, [each for each in (group, time) if each]):
        if group is None:
            runs, counts = polars.Series([begin in table.offsets]), np.array([end - begin])
            goes_on = begin not in table.offsets
        else:
            runs, counts = _runs(table, frame[group], begin)
            goes_on = bool(names) and runs[0] == names[-1][-1]
        if time is not None:
            before = last_time if goes_on else None
            last_time = _check_times(table, frame[time], begin, counts, before, group)
        if goes_on:
            lengths[-1][-1] += counts[0]
            runs, counts = runs[1:], counts[1:]
        if len(counts):
            names.append(runs)
            lengths.append(counts)
    all_lengths = np.concatenate(lengths)
    if group is None:
        return _file_names(table), all_lengths
    all_names = polars.concat(names).alias(group)
    _check_each_is_together(table, all_names, all_lengths, time)
    return all_names, all_lengths


def _read_parts(table: FileTable, columns: list[str]):
    """Ranges of rows, none of which is in two files: begin, end and frame of each."""
    for first, stop in zip(table.offsets[:-1].tolist(), table.offsets[1:].tolist(), strict=True):
        for begin in range(first, stop, SCAN_ROWS):
            end = min(begin + SCAN_ROWS, stop)
            yield begin, end, table.read(begin, end, columns)


def _file_names(table: FileTable) -> "polars.Series":
    import polars

    return polars.Series("file", table.names)


def _runs(
    table: FileTable, identifiers: "polars.Series", begin: int
) -> tuple["polars.Series", np.ndarray]:
    """The identifiers of consecutive rows with the same one, and how many rows each has.

    Raises:
        InputError: one is missing, or the column holds lists or the like.
    """
    import polars

    if identifiers.dtype.is_nested():
        raise InputError(
            f"Column {identifiers.name!r} is of type {identifiers.dtype}; identifiers of sequences "
            "are numbers, texts, dates or times."
        )
    if identifiers.null_count():
        row = begin + int(identifiers.is_null().arg_max() or 0)
        raise InputError(
            f"{table.describe_row(row)}: column {identifiers.name!r} is empty. Every row needs "
            "the identifier of its sequence."
        )
    if isinstance(identifiers.dtype, (polars.Categorical, polars.Enum)):
        identifiers = identifiers.cast(polars.String)
    runs = identifiers.rle()
    return runs.struct.field("value"), runs.struct.field("len").to_numpy().astype(np.int64)


def _check_is_time(table: FileTable, time: str) -> None:
    """Check that a column can be compared with itself as times are.

    Raises:
        InputError: it holds text or the like.
    """
    kind = table.types[time]
    if not (kind.is_numeric() or kind.is_temporal()):
        raise InputError(
            f"Column {time!r} is of type {kind}; time= takes numbers, dates or times. Without it "
            "the rows' order is taken as it is."
        )


def _check_times(table: FileTable, times: "polars.Series", begin: int, counts, last, group):
    """Check that times ascend within each of consecutive sequences; returns the last as a series.

    Args:
        table: the files.
        times: of the rows.
        begin: the first row.
        counts: the rows of each sequence.
        last: the time before the first row, if it is of the same sequence; else None.
        group: the column of identifiers, or None.

    Raises:
        InputError: they do not.
    """
    if times.null_count():
        row = begin + int(times.is_null().arg_max() or 0)
        raise InputError(f"{table.describe_row(row)}: column {times.name!r} is empty.")
    if times.dtype.is_float() and times.is_nan().any():
        row = begin + int(times.is_nan().arg_max() or 0)
        raise InputError(f"{table.describe_row(row)}: the time in column {times.name!r} is NaN.")
    # Polars compares them, since NumPy has no decimals and no integers of 128 bits.
    ascends = np.empty(len(times), bool)
    ascends[1:] = (times[1:] > times[:-1]).to_numpy()
    ascends[(np.cumsum(counts) - counts)[1:]] = True
    ascends[0] = last is None or (times[:1] > last).item()
    if not ascends.all():
        at = int(np.flatnonzero(~ascends)[0])
        raise InputError(
            f"{table.describe_row(begin + at)}: the time in column {times.name!r} is {times[at]}, "
            "not after that of the row before, which is of the same sequence. "
            f"{_sorting(group, times.name)}"
        )
    return times[-1:]


def _check_each_is_together(
    table: FileTable, names: "polars.Series", lengths: np.ndarray, time: str | None
) -> None:
    """Check that no sequence is in two places.

    Raises:
        InputError: one is.
    """
    if names.n_unique() == len(names):
        return
    again = int((~names.is_first_distinct()).arg_max() or 0)
    name = names[again]
    before = int((names == name).arg_max() or 0)
    ends = np.cumsum(lengths)
    raise InputError(
        f"Sequence {name!r} is in two places: up to {table.describe_row(int(ends[before]) - 1)}, "
        f"and again from {table.describe_row(int(ends[again] - lengths[again]))}. "
        f"{_sorting(names.name, time)}"
    )


def _sorting(group: str | None, time: str | None) -> str:
    """What to do about rows in another order."""
    columns = ", ".join(repr(each) for each in (group, time) if each is not None)
    return (
        "The rows of a sequence must be together and in order. Sort them, for instance with "
        f"polars.scan_parquet(…).sort({columns}, maintain_order=True).sink_parquet(…)."
    )
