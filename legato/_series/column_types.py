"""The types of columns that come as strings, or in parts, and of numbers that are whole."""

from typing import TYPE_CHECKING

from legato._series.missing_values import mark_missing
from legato._series.time_formats import parse_times

if TYPE_CHECKING:
    import polars

_WITH_OFFSET = r"[T ]\d\d.*[-+]\d\d(?::?\d\d)?$"  # of a time of day


def parse_numbers(strings: "polars.Series") -> tuple["polars.Series", "polars.Series"]:
    """Strings as numbers, null where one is not a number; and a mask of those."""
    import polars

    numbers = strings.cast(polars.Float64, strict=False)
    return numbers, numbers.is_null() & strings.is_not_null()


def as_integers(series: "polars.Series") -> "polars.Series | None":
    """Whole numbers as 64-bit integers, null beyond their range; None for any other column."""
    import polars

    dtype = series.dtype
    if dtype.is_integer() or (dtype.is_float() and (series % 1 == 0).all()):
        return series.cast(polars.Int64, strict=False)
    return None


def narrow_type(strings: "polars.Series", is_time: bool = False) -> "polars.Series":
    """Convert to numbers or times if every value parses; else strip surrounding spaces.

    Times that are not written as ISO 8601 has them, or with offsets from UTC, stay strings: all of
    them are needed to tell how they are written.
    """
    known = mark_missing(strings)
    if is_time:
        first = known.drop_nulls().head(1)
        if parse_times(first).null_count() or known.str.contains(_WITH_OFFSET).any():
            return known
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
