"""The layout of a frame of pandas or Polars, so that answers come back in the same kind.

A table is made into a frame with the types that the columns of the user's frame had, with the
levels of its index, its labels and its zones. An index of pandas that counts rows goes on counting.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from legato._errors import MissingError
from legato._series.frequency import format_time


@dataclass(frozen=True, eq=False)
class FrameLayout:
    """How a frame was laid out.

    Attributes:
        library: ``"pandas"`` or ``"polars"``.
        is_series: whether it was a series.
        types: the type of each column and level of the index, the library's own, by its name.
        labels: names that differ in the frame, such as numbers or None, by the column's name.
        index: columns that are levels of a pandas index, in order.
        counter: the first number and the step, of an index that counts rows; or None.
        freq: the frequency of an index of dates, as pandas has it; or None.
    """

    library: str
    is_series: bool = False
    types: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, Any] = field(default_factory=dict)
    index: tuple[str, ...] = ()
    counter: tuple[int, int] | None = None
    freq: Any = None


def polars_layout(source: Any) -> FrameLayout:
    """The layout of a frame or a series of Polars."""
    if hasattr(source, "to_frame"):
        return FrameLayout("polars", True, {source.name: source.dtype})
    return FrameLayout("polars", False, dict(source.schema))


def pandas_layout(source: Any, levels: Mapping[str, int]) -> FrameLayout:
    """The layout of a frame or a series of pandas.

    Args:
        source: the frame or series.
        levels: which level of its index is read, by the column's name.
    """
    is_series = not hasattr(source, "columns")
    own = [source.name] if is_series else list(source.columns)
    dtypes = [source.dtype] if is_series else list(source.dtypes)
    names = ["0" if is_series and name is None else str(name) for name in own]
    types = dict(zip(names, dtypes, strict=True))
    labels: dict[str, Any] = dict(zip(names, own, strict=True))
    for name, level in levels.items():
        types[name] = source.index.get_level_values(level).dtype
        labels[name] = source.index.names[level]
    return FrameLayout(
        "pandas",
        is_series,
        types,
        {name: label for name, label in labels.items() if label != name},
        tuple(levels),
        None if levels else _row_counter(source.index),
        getattr(source.index, "freq", None) if levels else None,
    )


def _row_counter(index: Any) -> tuple[int, int] | None:
    """The first number and the step, of an index of equally spaced whole numbers."""
    if index.nlevels > 1 or index.dtype.kind not in "iu":
        return None
    steps = np.unique(np.diff(index.to_numpy().astype(np.int64)))
    if len(steps) > 1 or not len(index):
        return None
    step = int(steps[0]) if len(steps) else 1
    return int(index[0]), step


def as_polars(table: Mapping[str, Any], layout: FrameLayout | None = None) -> Any:
    """A table as a frame of Polars.

    Args:
        table: arrays or lists by the column's name; datetime64 with a zone are in UTC.
        layout: of the user's frame, whose types the columns of the same names get.
    """
    import polars

    types = layout.types if layout is not None and layout.library == "polars" else {}
    series = []
    for name, values in table.items():
        own = polars.Series(name, _nanoless(values))
        series.append(_cast_polars(own, types[name]) if name in types else own)
    return polars.DataFrame(series)


def _cast_polars(series: Any, dtype: Any) -> Any:
    """A column with the user's type, as far as it has room for the values."""
    import polars

    temporal, is_float = series.dtype.is_temporal(), series.dtype.is_float()
    if is_float and not dtype.is_float():
        return series  # a forecast of whole numbers is none
    if dtype == polars.String and temporal:
        return polars.Series(series.name, [format_time(each) for each in series.to_numpy()])
    if isinstance(dtype, polars.Datetime) and dtype.time_zone and temporal:
        series = series.dt.replace_time_zone("UTC").dt.convert_time_zone(dtype.time_zone)
    return series.cast(dtype, strict=False) if series.dtype != dtype else series


def as_pandas(
    table: Mapping[str, Any], layout: FrameLayout | None = None, row: int | None = None
) -> Any:
    """A table as a frame of pandas, with the index of the user's.

    Args:
        table, layout: as for ``as_polars``.
        row: the row of the user's frame that its first one is, counted from 0, where the index
            goes on; None: it does not.

    Raises:
        MissingError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise MissingError(
            "A frame of pandas takes pandas, which is not installed: pip install pandas."
        ) from error
    if layout is None or layout.library != "pandas":
        return pandas.DataFrame({name: _as_pandas_values(each) for name, each in table.items()})
    frame = pandas.DataFrame(
        {
            name: _cast_pandas(pandas.Series(_as_pandas_values(each)), layout.types.get(name))
            for name, each in table.items()
        }
    )
    index = [name for name in layout.index if name in frame.columns]
    if index:
        frame = frame.set_index(index)
        frame.index.names = [layout.labels.get(name, name) for name in index]
        if layout.freq is not None and frame.index.nlevels == 1:
            frame.index = _with_freq(frame.index, layout.freq)
    elif row is not None and layout.counter is not None:
        first, step = layout.counter
        begin = first + row * step
        frame.index = pandas.RangeIndex(begin, begin + step * len(frame), step)
    return frame.rename(columns=dict(layout.labels))


def _cast_pandas(series: Any, dtype: Any) -> Any:
    """A column with the user's type, as far as it has room for the values."""
    kind = getattr(series.dtype, "kind", "")
    if dtype is None or (kind == "f" and dtype.kind != "f"):
        return series  # a forecast of whole numbers is none
    if kind == "M":
        return _cast_pandas_times(series, dtype)
    if dtype.name == "category":
        known = {str(each): each for each in dtype.categories}
        return series.map(lambda each: known.get(each, each)).astype(dtype)
    try:
        return series.astype(dtype)
    except (TypeError, ValueError):  # names that the user's type does not take
        return series


def _cast_pandas_times(series: Any, dtype: Any) -> Any:
    """Times with the user's type: dates, with a zone or not, periods, or text."""
    if dtype.name.startswith("period"):
        return series.dt.to_period(dtype.freq)
    if getattr(dtype, "tz", None) is not None:
        return series.dt.tz_localize("UTC").astype(dtype)
    if dtype.kind == "M":
        return series.astype(dtype)
    return series.map(lambda each: format_time(each.to_datetime64()))


def _with_freq(index: Any, freq: Any) -> Any:
    """An index of dates with its frequency, where the dates keep it."""
    try:
        return type(index)(index, freq=freq)
    except ValueError:
        return index


def _as_pandas_values(values: Any) -> Any:
    return list(values) if isinstance(values, tuple) else values


def _nanoless(values: Any) -> Any:
    """Floats with None for NaN, which Polars tells from missing values."""
    array = np.asarray(values)
    if array.dtype.kind != "f" or not np.isnan(array).any():
        return values
    return [None if np.isnan(each) else float(each) for each in array]
