"""Tables: a frame with named columns, and the line of the file of each row, for error messages.

Built from frames of Polars and pandas, columns by name and arrays; files are read by
``file_formats``. A pandas frame is converted column by column, so that pyarrow is not needed.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from legato._errors import InputError
from legato._platform.input_files import read_limit
from legato._platform.plain_arrays import check_keeps_meaning, to_native, with_missing
from legato._series.frame_layout import FrameLayout, pandas_layout, polars_layout
from legato._series.sequences import suggest_columns

if TYPE_CHECKING:
    import polars

# Polars' allocator keeps freed memory for ten seconds, while training allocates its own. These
# settings make it return freed memory at once; it reads them when Polars is first loaded. There is
# no public way.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0")

_FINE_UNITS = ("ns", "ps", "fs", "as")  # of datetime64; Polars has none below nanoseconds
_COLUMNS = 5_000  # that are read at most, if the environment does not say otherwise
_COLUMNS_VARIABLE = "LEGATO_COLUMN_LIMIT"
_INDEX_TIMES = ("time", "index")  # names of the column made from an index of dates without a name


@dataclass(frozen=True)
class ColumnRequest:
    """The columns that a user asks for.

    Attributes:
        group, time: the columns that tell sequences apart and hold times, or None.
        values: the columns of values; None: all others.
        labels: columns that hold labels, whatever they look like.
        wide: whether each row is a sequence, so that a first line of numbers is one, too.
    """

    group: str | None = None
    time: str | None = None
    values: Sequence[str] | None = None
    labels: Sequence[str] = ()
    wide: bool = False

    def needs(self, name: str) -> bool:
        """Whether a column has to be read; a reader may leave others empty."""
        if self.values is None:
            return True
        return name in (self.group, self.time, *self.values, *self.labels)


@dataclass
class Table:
    """A frame whose columns are popped one by one, to save memory, and the names of its rows.

    Attributes:
        frame: a Polars frame.
        source: its name in messages: the file's, or "the frame".
        lines: (rows,) the line of the file each row begins on, the header's being 1; None where
            rows are counted from 0.
        lengths: (sequences,) the rows of each, if the source is several sequences by itself.
        index_time: the column made from the dates that index a pandas frame, if no column of times
            was asked for; else None.
        labels: columns that hold labels by their type, as pandas' categories do.
        time_texts: the first of the texts that the column of times was read from, if they are no
            longer in the frame: they show how times are written.
        notes: what was left out or changed when it was read, a sentence each.
        layout: that of the frame of pandas or Polars; None for any other source.
        height: the number of rows.
    """

    frame: "polars.DataFrame"
    source: str
    lines: np.ndarray | None = None
    lengths: np.ndarray | None = None
    index_time: str | None = None
    labels: Sequence[str] = ()
    notes: tuple[str, ...] = ()
    layout: FrameLayout | None = None
    time_texts: "polars.Series | None" = None

    def __post_init__(self):
        self.frame = self.frame.clone()  # ``pop`` changes it in place
        self.height = self.frame.height

    def pop(self, name: str) -> "polars.Series":
        """Take a column out of the table."""
        return self.frame.drop_in_place(name)

    @property
    def rows(self) -> np.ndarray:
        """(rows,): the line of each row, or its number counted from 0."""
        return np.arange(self.height) if self.lines is None else self.lines

    def describe_row(self, at: int) -> str:
        """The name of a row in messages."""
        if self.lines is not None:
            return f"line {self.lines[at]}"
        if self.lengths is not None:
            ends = np.cumsum(self.lengths)
            sequence = int(np.searchsorted(ends, at, side="right"))
            step = at - ends[sequence] + self.lengths[sequence]
            return f"step {step} of sequence {sequence} (counted from 0)"
        return f"row {at} (counted from 0)"

    def describe_cell(self, at: int, column: str) -> str:
        """The name of a cell in messages, after that of the source."""
        return f"{self.source}, {self.describe_row(at)}, column {column!r}"


def build_table(source: Any, request: ColumnRequest) -> Table:
    """Build a table from a frame, columns by name, an array or a list of arrays.

    Args:
        source: the data.
        request: the columns that are asked for; its group and time may be levels of the index of a
            pandas frame.

    Raises:
        InputError: it is no table.
    """
    module = type(source).__module__.partition(".")[0]
    if module == "polars":
        frame = source.collect() if hasattr(source, "collect") else source
        layout = polars_layout(frame)
        frame = frame.to_frame() if layout.is_series else frame
        return Table(frame, "the frame", layout=layout)
    if module == "pandas":
        return _build_pandas_table(source, request)
    if isinstance(source, Mapping):
        return Table(build_frame(source, "the dictionary"), "the dictionary")
    return build_array_table(source, request)


def column_limit() -> int:
    """The number of columns that are read at most: ``$LEGATO_COLUMN_LIMIT``.

    Raises:
        InputError: the variable is no whole number.
    """
    return read_limit(_COLUMNS_VARIABLE, _COLUMNS, "the number of columns that are read at most")


def choose_columns(names: Sequence[str], request: ColumnRequest, source: str) -> list[str]:
    """The columns to read of all that a source has: those that are asked for.

    Raises:
        InputError: one that is asked for is absent, or they are more than the limit.
    """
    check_present(names, request, source)
    chosen, limit = [name for name in names if request.needs(name)], column_limit()
    if len(chosen) > limit:
        raise InputError(
            f"{source} has {len(names):,} columns, and at most {limit:,} are read. Name those that "
            f"are meant with columns=, or set the environment variable {_COLUMNS_VARIABLE} to a "
            "larger number."
        )
    return chosen


def check_present(names: Sequence[str], request: ColumnRequest, source: str) -> None:
    """Check that a source has every column that is asked for.

    Raises:
        InputError: one is absent.
    """
    known = set(names)
    for name in (request.group, request.time, *(request.values or ()), *request.labels):
        if name is not None and name not in known:
            raise InputError(
                f"{source} has no column {name!r}.{suggest_columns(name, list(names))}"
            )


def check_table(table: Table, request: ColumnRequest) -> None:
    """Check that a table has rows, and not too many columns, with names of their own.

    Raises:
        InputError: it does not.
    """
    if table.frame.width > column_limit():
        chosen = choose_columns(table.frame.columns, request, table.source)
        table.frame = table.frame.select(chosen)
    check_names(table.frame.columns, table.source)
    if not table.frame.width or not table.frame.height:
        raise InputError(f"{table.source} has no rows; at least one is needed.")


def check_names(names: list[str], source: str) -> None:
    """Check that every column has a name of its own.

    Raises:
        InputError: one has none, or two have the same.
    """
    if "" in names:
        raise InputError(
            f"{source}: column {names.index('') + 1} of {len(names)} has no name. Name it in the "
            "header; pandas writes such a column for its index unless told index=False."
        )
    places: dict[str, int] = {}
    for at, name in enumerate(names, 1):
        if name in places:
            raise InputError(
                f"{source}: the columns {places[name]} and {at} are both called {name!r}. Give "
                "each a name of its own."
            )
        places[name] = at


def _build_pandas_table(source: Any, request: ColumnRequest) -> Table:
    """A pandas frame or series as a table.

    A level of its index is a column if it is asked for by name. If no column of times is asked for,
    an index of dates is that column, called ``"time"`` unless it has a name.
    """
    frame = source.to_frame() if hasattr(source, "to_frame") else source
    if not hasattr(frame, "columns"):
        raise InputError(f"A pandas {type(source).__name__} is no table; give a DataFrame.")
    if hasattr(frame.index, "to_timestamp"):  # periods
        frame = frame.to_timestamp()
    has_dates = frame.index.nlevels == 1 and getattr(frame.index.dtype, "kind", "") == "M"
    if has_dates and frame.index.name is None:
        free = [name for name in _INDEX_TIMES if name not in frame.columns]
        frame = frame.rename_axis(index=free[0] if free else None)
    index_time = None
    if has_dates and request.time is None and frame.index.name not in (None, request.group):
        index_time = str(frame.index.name)
    levels = (request.group, request.time, index_time)
    wanted = [
        name
        for name in frame.index.names
        if name is not None and name in levels and name not in frame.columns
    ]
    index_time = index_time if index_time in wanted else None
    notes = ()
    if frame.index.nlevels > 1 and not wanted:
        levels = ", ".join(repr(each) for each in frame.index.names)
        raise InputError(
            f"The frame's index has {frame.index.nlevels} levels ({levels}), and which of them "
            "tells sequences apart, and which has the times, is not said: name them with group= "
            "and time=, or leave them out with frame.reset_index(drop=True)."
        )
    if not wanted and _says_something(frame.index):
        notes = (
            "The frame's index is left out: if it is meant, name it, and then its name as time= or "
            "group=.",
        )
    layout = pandas_layout(source, {str(name): frame.index.names.index(name) for name in wanted})
    frame = frame.reset_index(level=wanted) if wanted else frame
    names = [str(name) for name in frame.columns]
    check_names(names, "the frame")
    if len(names) > column_limit():
        asked = replace(request, time=request.time or index_time)
        wanted = set(choose_columns(names, asked, "the frame"))
        frame = frame.loc[:, [name in wanted for name in names]]
        names = [name for name in names if name in wanted]
    columns = {name: _plain_values(frame.iloc[:, at]) for at, name in enumerate(names)}
    labels = [
        name for name, dtype in zip(names, frame.dtypes, strict=True) if dtype.name == "category"
    ]
    table = build_frame(columns, "the frame")
    return Table(
        table, "the frame", index_time=index_time, labels=labels, notes=notes, layout=layout
    )


def _says_something(index: Any) -> bool:
    """Whether an index is neither of dates nor just counts the rows from 0."""
    if index.dtype.kind in "iuf":
        return index.name is not None or not np.array_equal(index, np.arange(len(index)))
    return index.dtype.kind in "mOT"


def _plain_values(column: Any) -> Any:
    """A pandas column as an array, or as a list with None for missing values."""
    if getattr(column.dtype, "tz", None) is not None:
        return _zoned_values(column)
    if hasattr(column.dtype, "freq"):  # periods
        column = column.dt.to_timestamp()
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biufM":
        return column.to_numpy()
    if column.dtype.name == "category" and column.cat.categories.dtype.kind == "O":
        column = column.map(str, na_action="ignore").astype(object)  # intervals of pandas.cut, too
    values = column.to_numpy(object, copy=True)
    values[column.isna().to_numpy()] = None
    return values.tolist()


def _zoned_values(column: Any) -> "polars.Series":
    """A pandas column of times with a zone, in that zone if Polars has it, else in UTC."""
    import polars

    name = str(column.dt.tz)
    times = column.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
    unit = "ns" if np.datetime_data(times.dtype)[0] in _FINE_UNITS else "us"
    series = polars.Series(times.astype(f"M8[{unit}]")).dt.replace_time_zone("UTC")
    if found := re.fullmatch(r"UTC([-+])(\d\d):00", name):  # the database has the signs reversed
        name = f"Etc/GMT{'-' if found[1] == '+' else '+'}{int(found[2])}"
    try:
        return series.dt.convert_time_zone(name)
    except polars.exceptions.PolarsError:
        return series


def build_frame(columns: Mapping, source: str) -> "polars.DataFrame":
    """Build a frame from columns by name.

    Raises:
        InputError: a name is empty or comes twice, columns differ in length, or one is of no type.
    """
    import polars

    check_names([str(name) for name in columns], source)
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
    array = _plain_column(f"{source}, column {name!r}", values)
    if isinstance(array, np.ndarray):
        if array.ndim != 1:
            raise InputError(
                f"{source}: {name!r} has shape {array.shape}; a column is an array of one axis."
            )
        if array.dtype.kind == "M" and (unit := np.datetime_data(array.dtype)[0]) != "D":
            array = array.astype(f"datetime64[{'ns' if unit in _FINE_UNITS else 'us'}]")
        if array.dtype.kind == "O":
            array = array.tolist()
    try:
        if isinstance(array, list) and _mixes_numbers(array):
            array = [None if each is None else float(each) for each in array]
        if isinstance(array, list) and any(getattr(each, "nanosecond", 0) for each in array):
            array = np.array([getattr(each, "asm8", each) for each in array], "datetime64[ns]")
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


def _plain_column(name: str, values: Any) -> Any:
    """Values as a list or a NumPy array that Polars reads; NaN or None where one is masked.

    Raises:
        InputError: they have a unit.
    """
    values = with_missing(values)
    if isinstance(values, list):
        return [None if each is np.ma.masked else each for each in values]
    check_keeps_meaning(name, values)
    array = to_native(np.asarray(values))
    return array.astype(float) if array.dtype.kind == "f" and array.dtype.itemsize > 8 else array


def _mixes_numbers(values: list) -> bool:
    """Whether values are integers and decimals, which Polars takes for two types; None may be too.

    Booleans are no numbers.
    """
    kinds = {type(each) for each in values} - {type(None)}
    numbers = all(issubclass(kind, (int, float, np.integer, np.floating)) for kind in kinds)
    return numbers and len(kinds) > 1 and bool not in kinds


def build_array_table(source: Any, request: ColumnRequest, name: str = "the array") -> Table:
    """Build a table from an array, or from a list of arrays, a sequence each.

    An array is (rows,), (rows, columns) or (sequences, rows, columns); those in a list are of the
    first two shapes. One column is called ``"value"``, several ``"0"``, ``"1"`` and so on; of more
    than the limit, only those that are asked for are in the table.
    """
    several = isinstance(source, (list, tuple)) and any(getattr(each, "ndim", 0) for each in source)
    try:
        sources = source if several else [source]
        arrays = [np.asarray(_plain_column(name, each)) for each in sources]
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
    columns = {each: at for at, each in enumerate(names)}
    if len(names) > column_limit():
        columns = {each: columns[each] for each in choose_columns(names, request, name)}
    columns = {each: values[:, at] for each, at in columns.items()}
    return Table(build_frame(columns, name), name, lengths=lengths if several else None)
