"""Parses columns of strings: numbers and times."""

from typing import TYPE_CHECKING

from legato._series.missing_values import mark_missing

if TYPE_CHECKING:
    import polars

_TIME_FORMATS = (
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


def parse_numbers(strings: "polars.Series") -> tuple["polars.Series", "polars.Series"]:
    """Strings as numbers, null where one is not a number; and a mask of those."""
    import polars

    numbers = strings.cast(polars.Float64, strict=False)
    return numbers, numbers.is_null() & strings.is_not_null()


def parse_times(strings: "polars.Series") -> "polars.Series":
    """Strings as times: integers, numbers or UTC dates; null where one is not a time."""
    import polars

    for kind in (polars.Int64, polars.Float64):
        numbers = strings.cast(kind, strict=False)
        if numbers.null_count() == strings.null_count():
            return numbers
    first = strings.drop_nulls().head(1)
    times = None
    formats = sorted(_TIME_FORMATS, key=lambda each: _parse_dates(first, each).null_count())
    for time_format in formats:
        more = _parse_dates(strings, time_format)
        times = more if times is None else times.zip_with(times.is_not_null(), more)
        if times.null_count() == strings.null_count():
            break
    assert times is not None
    return times


def _parse_dates(strings: "polars.Series", time_format: str) -> "polars.Series":
    dates = strings.str.to_datetime(time_format, strict=False, time_unit="us", ambiguous="null")
    if getattr(dates.dtype, "time_zone", None) is None:
        return dates
    return dates.dt.convert_time_zone("UTC").dt.replace_time_zone(None)


def narrow_type(strings: "polars.Series", is_time: bool = False) -> "polars.Series":
    """Convert to numbers or times if every value parses; else strip surrounding spaces."""
    known = mark_missing(strings)
    numbers = parse_times(known) if is_time else parse_numbers(known)[0]
    return numbers if numbers.null_count() == known.null_count() else known


def concat_parts(parts: list["polars.Series"]) -> "polars.Series | None":
    """Concatenate the parts of a column and clear the list, to free memory.

    Returns:
        The column; None if the types of its parts differ.
    """
    import polars

    types = {part.dtype for part in parts if part.null_count() < len(part)} or {parts[0].dtype}
    if len(types) > 1:
        return None
    whole = polars.concat([part.cast(*types) for part in parts], rechunk=False)
    parts.clear()
    return whole
