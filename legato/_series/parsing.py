"""Words → what they say: that a value is missing, numbers, times."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "None")
_NEEDS_CLEANING = rf"^\s|\s$|^({'|'.join(MISSING)})$"
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


def mark_missing(series: "polars.Series") -> "polars.Series":
    """The same, None for all that says that a value is missing, and no spaces around words."""
    import polars

    if series.dtype in (polars.Categorical, polars.Enum, polars.Null):
        series = series.cast(polars.String)
    if series.dtype.is_float():
        return series.fill_nan(None)
    if series.dtype != polars.String:
        return series
    if not series.str.contains(_NEEDS_CLEANING).any():
        return series
    words = series.str.strip_chars()
    return words.set(words.is_in(MISSING).fill_null(False), None)


def parse_numbers(words: "polars.Series") -> tuple["polars.Series", "polars.Series"]:
    """Words as numbers, None where they are none; and where that is."""
    import polars

    numbers = words.cast(polars.Float64, strict=False)
    return numbers, numbers.is_null() & words.is_not_null()


def parse_times(words: "polars.Series") -> "polars.Series":
    """Words as times: whole numbers, numbers, or dates without a zone, None where they are none."""
    import polars

    for kind in (polars.Int64, polars.Float64):
        numbers = words.cast(kind, strict=False)
        if numbers.null_count() == words.null_count():
            return numbers
    first = words.drop_nulls().head(1)
    times = None
    for form in sorted(_TIME_FORMATS, key=lambda each: _parse_dates(first, each).null_count()):
        more = _parse_dates(words, form)
        times = more if times is None else times.zip_with(times.is_not_null(), more)
        if times.null_count() == words.null_count():
            break
    assert times is not None
    return times


def _parse_dates(words: "polars.Series", form: str) -> "polars.Series":
    dates = words.str.to_datetime(form, strict=False, time_unit="us", ambiguous="null")
    if getattr(dates.dtype, "time_zone", None) is None:
        return dates
    return dates.dt.convert_time_zone("UTC").dt.replace_time_zone(None)


def narrow_type(words: "polars.Series", are_times: bool = False) -> "polars.Series":
    """Words as numbers, or times, if all of them are; else without spaces around."""
    known = mark_missing(words)
    numbers = parse_times(known) if are_times else parse_numbers(known)[0]
    return numbers if numbers.null_count() == known.null_count() else known


def concat_parts(parts: list["polars.Series"]) -> "polars.Series | None":
    """One column of its parts, whose own list is emptied; None if they are of several kinds."""
    import polars

    kinds = {part.dtype for part in parts if part.null_count() < len(part)} or {parts[0].dtype}
    if len(kinds) > 1:
        return None
    whole = polars.concat([part.cast(*kinds) for part in parts], rechunk=False)
    parts.clear()
    return whole
