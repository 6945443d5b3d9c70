"""Whatever holds a table → one frame whose columns have names, and which rows they came from.

Files of separated fields, Parquet and NumPy; frames of Polars and pandas; arrays. Nothing is
unpickled. A pandas frame goes over column by column, so that pyarrow is not needed.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from legato._errors import InputError
from legato._series.csv import check_names, read_csv

if TYPE_CHECKING:
    import polars

DELIMITED = (".csv", ".tsv", ".tab")
PARQUET = (".parquet", ".pq")
NUMPY = (".npy", ".npz")
_WORKBOOKS = (".xlsx", ".xls", ".ods")

# Polars' allocator keeps what was freed for ten seconds, while training takes memory of its own.
# This has it give freed memory back at once; it is read when Polars is loaded first. There is no
# public way.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0")


@dataclass
class Table:
    """A frame, whose columns are taken out one by one, and how to speak of its rows.

    Attributes:
        frame: a Polars frame.
        source: what it is called.
        lines: (rows,) the line of the file each row begins on, the header's being 1; None where
            rows are counted from 0.
        lengths: (sequences,) the rows of each, if the source is several sequences by itself.
        height: how many rows there are.
    """

    frame: "polars.DataFrame"
    source: str
    lines: np.ndarray | None = None
    lengths: np.ndarray | None = None

    def __post_init__(self):
        self.height = self.frame.height

    def take(self, name: str) -> "polars.Series":
        """A column, which the table has no more."""
        column = self.frame[name]
        self.frame = self.frame.drop(name)
        return column

    @property
    def rows(self) -> np.ndarray:
        """(rows,): the line of each row, or its number counted from 0."""
        return np.arange(self.height) if self.lines is None else self.lines

    def row(self, at: int) -> str:
        """What a row is called."""
        if self.lines is not None:
            return f"line {self.lines[at]}"
        if self.lengths is not None:
            ends = np.cumsum(self.lengths)
            sequence = int(np.searchsorted(ends, at, side="right"))
            step = at - ends[sequence] + self.lengths[sequence]
            return f"step {step} of sequence {sequence} (counted from 0)"
        return f"row {at} (counted from 0)"

    def cell(self, at: int, column: str) -> str:
        """What a cell is called, with the source before it."""
        return f"{self.source}, {self.row(at)}, column {column!r}"


def read_table(
    source: Any,
    group: str | None = None,
    time: str | None = None,
    columns: Sequence[str] | None = None,
    labels: Sequence[str] = (),
) -> Table:
    """Read a table.

    Args:
        source: the path of a file, a frame, an array, a list of arrays, or columns by name.
        group, time: the columns that tell sequences and times, if any; of a pandas frame, levels
            of its index will do.
        columns: the columns of values that are wanted; default: all. Others may come empty.
        labels: columns that hold labels, whatever they look like.

    Raises:
        InputError: there is no such file, it is damaged, or it is no table.
    """
    module = type(source).__module__.partition(".")[0]
    if isinstance(source, (str, Path)):
        table = _read_file(Path(source), group, time, columns, labels)
    elif module == "polars":
        frame = source.collect() if hasattr(source, "collect") else source
        table = Table(frame.to_frame() if hasattr(frame, "to_frame") else frame, "the frame")
    elif module == "pandas":
        table = _from_pandas(source, (group, time))
    elif isinstance(source, Mapping):
        table = Table(_from_columns(source, "the dictionary"), "the dictionary")
    else:
        table = _from_arrays(source)
    check_names(table.frame.columns, table.source)
    if not table.frame.width or not table.frame.height:
        raise InputError(f"{table.source} has no rows; at least one is needed.")
    return table


def kind_of(path: Path) -> str:
    """The ending that says what a file is, a last ``.gz`` left out.

    Raises:
        InputError: it is no file that can be read, or a workbook.
    """
    if not os.path.exists(path):  # which takes any text for a path
        raise InputError(f"There is no file {str(path)[:200]}.")
    if path.is_dir():
        raise InputError(f"{path} is a folder; a file was expected.")
    if not path.stat().st_size:
        raise InputError(f"{path.name} is empty; a header and rows below it were expected.")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} cannot be read: you have no right to.")
    packed = path.suffix.lower() == ".gz"
    kind = Path(path.stem).suffix.lower() if packed else path.suffix.lower()
    if kind in _WORKBOOKS:
        raise InputError(f"{path.name} is a workbook: save the sheet that is meant as CSV.")
    if packed and kind in (*PARQUET, *NUMPY):
        raise InputError(f"{path.name} is packed: unpack it first, with gunzip.")
    return kind


def _read_file(
    path: Path,
    group: str | None,
    time: str | None,
    columns: Sequence[str] | None,
    labels: Sequence[str],
) -> Table:
    import polars

    kind = kind_of(path)
    if kind in DELIMITED:
        words = {*labels, *([] if group is None else [group])}
        used = None if columns is None else {*columns, *words, time}
        frame, lines = read_csv(path, words, time, used)
        return Table(frame, path.name, lines)
    if kind in PARQUET:
        damage = (polars.exceptions.PolarsError, polars.exceptions.PanicException, OSError)
        try:
            with path.open("rb") as file:
                return Table(polars.read_parquet(file), path.name)
        except damage as error:
            raise _damaged(path, "Parquet", error) from error
    loaded = _load(path)
    if isinstance(loaded, dict):
        return Table(_from_columns(loaded, path.name), path.name)
    return _from_arrays(loaded, path.name)


def _load(path: Path) -> np.ndarray | dict[str, np.ndarray]:
    """What a NumPy file holds.

    Raises:
        InputError: it is damaged, or would have to be unpickled.
    """
    with path.open("rb") as file:
        is_pickle = file.read(1) == b"\x80"
        file.seek(0)
        try:
            loaded = np.load(file, allow_pickle=False)
            return loaded if isinstance(loaded, np.ndarray) else dict(loaded)
        except Exception as error:  # zipfile's, zlib's and NumPy's own, and a parser's
            if is_pickle or "Object arrays" in str(error):
                raise InputError(
                    f"{path.name} holds pickled Python objects, which could run code: they are not "
                    "loaded. Save plain numbers or text: array.astype(float)."
                ) from error
            raise _damaged(path, "NumPy", error) from error


def _damaged(path: Path, kind: str, error: BaseException) -> InputError:
    reason = " ".join(str(error).split())[:200]
    return InputError(
        f"{path.name} is not a whole {kind} file ({reason}). It was cut short, altered, or is "
        "something else: write it again."
    )


def _from_pandas(source: Any, levels: Sequence[str | None]) -> Table:
    frame = source.to_frame() if hasattr(source, "to_frame") else source
    if not hasattr(frame, "columns"):
        raise InputError(f"A pandas {type(source).__name__} is no table; give a DataFrame.")
    wanted = [
        name
        for name in frame.index.names
        if name is not None and name in levels and name not in frame.columns
    ]
    frame = frame.reset_index(level=wanted) if wanted else frame
    names = [str(name) for name in frame.columns]
    check_names(names, "the frame")
    columns = {name: _plain_values(frame.iloc[:, at]) for at, name in enumerate(names)}
    return Table(_from_columns(columns, "the frame"), "the frame")


def _plain_values(column: Any) -> Any:
    """A pandas column as an array, or as a list with None where a value is missing."""
    if getattr(column.dtype, "tz", None) is not None:
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biufM":
        return column.to_numpy()
    values = column.to_numpy(object, copy=True)
    values[column.isna().to_numpy()] = None
    return values.tolist()


def _from_columns(columns: Mapping, source: str) -> "polars.DataFrame":
    """A frame of columns by name."""
    import polars

    series = [_build_series(str(name), values, source) for name, values in columns.items()]
    if len({len(each) for each in series}) > 1:
        lengths = ", ".join(f"{each.name!r} {len(each)}" for each in series)
        raise InputError(
            f"{source}: the columns differ in length: {lengths}. One value a row was expected."
        )
    return polars.DataFrame(series)


def _build_series(name: str, values: Any, source: str) -> "polars.Series":
    import polars

    if type(values).__module__.partition(".")[0] == "polars":
        return values.alias(name)
    array = values if isinstance(values, list) else np.asarray(values)
    if isinstance(array, np.ndarray):
        if array.ndim != 1:
            raise InputError(
                f"{source}: {name!r} has shape {array.shape}; a column is an array of one axis."
            )
        if array.dtype.kind == "M" and np.datetime_data(array.dtype)[0] not in ("D", "ns"):
            array = array.astype("datetime64[us]")
        if array.dtype.kind == "O":
            array = array.tolist()
    try:
        series = polars.Series(name, array)
        if series.dtype == polars.Object:
            raise TypeError(f"{type(series[0]).__name__}, say")
        return series
    except (TypeError, ValueError, OverflowError, polars.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{source}: {name!r} holds values of several kinds, or of one that no column has "
            f"({reason}). Make them all numbers, or all text."
        ) from error


def _from_arrays(source: Any, name: str = "the array") -> Table:
    """An array (rows,), (rows, columns) or (sequences, rows, columns), or a list of the first two.

    One column is called ``"value"``, several ``"0"``, ``"1"`` and so on.
    """
    several = isinstance(source, (list, tuple)) and any(hasattr(each, "ndim") for each in source)
    try:
        arrays = [np.asarray(each) for each in source] if several else [np.asarray(source)]
    except ValueError as error:
        raise InputError(
            f"{name} is a list of lists that differ in length ({error}). Many sequences are a list "
            "of arrays."
        ) from error
    if not several and arrays[0].ndim == 3:
        several, arrays = True, list(arrays[0])
    bad = next((each for each in arrays if each.ndim not in (1, 2)), None)
    if bad is not None or not arrays:
        came = "an empty list" if bad is None else f"{type(source).__name__} of shape {bad.shape}"
        raise InputError(
            f"{name} is {came}; a path, a frame, columns by name, or an array of shape (rows,), "
            "(rows, columns) or (sequences, rows, columns) was expected."
        )
    arrays = [each[:, None] if each.ndim == 1 else each for each in arrays]
    widths = sorted({each.shape[1] for each in arrays})
    lengths = np.array([len(each) for each in arrays])
    if len(widths) > 1 or not lengths.all():
        what = f"{' and '.join(map(str, widths))} columns" if len(widths) > 1 else "no rows"
        raise InputError(
            f"{name}: there are sequences of {what}. All need the same columns, and a row."
        )
    values = np.concatenate(arrays) if several else arrays[0]
    names = ["value"] if widths == [1] else [str(at) for at in range(widths[0])]
    columns = {each: values[:, at] for at, each in enumerate(names)}
    return Table(_from_columns(columns, name), name, lengths=lengths if several else None)
