"""The formats of times that are read, in strings and as whole numbers such as 20240331.

A new format is a line in ``_TIME_FORMATS`` or ``_COMPACT_DATES``. What looks like a date, and is
not taken for a label, is in ``date_patterns``.
"""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import polars

_YEARS = range(1800, 2200)  # of dates that are recognized as such
_CENTURIES = r"(?:1[89]|2[01])"  # of these years
_WEEK = "%G-W%V"
_DAY_OF_YEAR = "%Y-%j"  # of three digits: 2024-13 may be a week
_CLOCKS = ("%H:%M:%S%.f", "%H:%M", "%H:%M:%S%.f%#z", "%H:%M%#z")
_TIME_FORMATS = (
    "%Y-%m-%d",
    *(f"%Y-%m-%d{between}{clock}" for between in (" ", "T") for clock in _CLOCKS),
    "%Y-%m",
    "%Y/%m/%d",
    *(f"%Y/%m/%d {clock}" for clock in _CLOCKS),
    *(f"%Y%m%dT{clock}" for clock in ("%H%M%S%.f", "%H%M", "%H%M%S%.f%#z", "%H%M%#z")),
    _WEEK,
    f"{_WEEK}-%u",
    _DAY_OF_YEAR,
)
_FINE = r"[.,]\d{6}\d*[1-9]"  # digits of a second that microseconds do not hold
_FOUR_DIGITS = r"^\s*\d{4}"  # of a year; Polars reads 01-03-24 as a day of the year 1
_MONTHS_WITH_POINT = (  # 03.2024 and 2024.03, which are no numbers
    rf"^(?:0?[1-9]|1[0-2])\.{_CENTURIES}\d\d$",
    rf"^{_CENTURIES}\d\d\.(?:0[1-9]|1[0-2])$",
)
_MIDNIGHT = r"([T ])24:?00(?::?00)?(?:\.0+)?(Z|[-+].*|)$"  # the end of a day
_DAY_OF_YEAR_DIGITS = 7
_COMPACT_DATES = {  # digits → what is added to them, and the format of both
    6: ("01", "%Y%m%d"),
    _DAY_OF_YEAR_DIGITS: ("", "%Y%j"),
    8: ("", "%Y%m%d"),
    10: ("00", "%Y%m%d%H%M"),
    12: ("", "%Y%m%d%H%M"),
    14: ("", "%Y%m%d%H%M%S"),
}


def parse_times(strings: "polars.Series", is_usual: bool = False) -> "polars.Series":
    """Strings as times: integers, numbers or UTC dates; null where one is not a time.

    Dates are in microseconds, in nanoseconds if they matter; a week is its Monday, a month its
    first day. Unless ``is_usual``, small letters, decimal commas, hours without minutes, 24:00 and
    weeks without hyphens are read too.
    """
    import polars

    for kind in (polars.Int64, polars.Float64):
        numbers = strings.cast(kind, strict=False)
        if numbers.null_count() == strings.null_count():
            return numbers.clear(len(numbers)) if _are_months(strings) else numbers
    strings = strings.set(~strings.str.contains(_FOUR_DIGITS).fill_null(True), None)
    missing = strings.null_count()
    first = strings.drop_nulls().head(1)
    times = None
    unit = "ns" if strings.str.contains(_FINE).any() else "us"
    formats = sorted(_TIME_FORMATS, key=lambda each: _parse_dates(first, each, unit).null_count())
    for time_format in formats:
        more = _parse_dates(strings, time_format, unit)
        times = more if times is None else times.zip_with(times.is_not_null(), more)
        if times.null_count() == missing:
            break
    assert times is not None
    if times.null_count() == missing or is_usual:
        return times
    is_end = strings.str.contains(_MIDNIGHT)
    usual = strings.str.to_uppercase().str.replace(",", ".", literal=True)
    usual = usual.str.replace(_MIDNIGHT, "${1}00:00${2}")
    usual = usual.str.replace(r"(\d[T ]\d\d)(Z|[-+].*|)$", "${1}:00${2}")
    usual = usual.str.replace(r"^(\d{4})W(\d\d)", "${1}-W${2}")
    usual = usual.str.replace(r"(-W\d\d)(\d)$", "${1}-${2}")
    more = parse_times(usual, is_usual=True)
    if more.dtype != times.dtype:
        return times  # numbers with commas
    more = more.zip_with(~is_end.fill_null(False), more.dt.offset_by("1d"))
    return times.zip_with(times.is_not_null(), more)


def _are_months(strings: "polars.Series") -> bool:
    """Whether strings are months with a point, 03.2024 or 2024.03, which numbers would disorder."""
    known = strings.drop_nulls()
    return bool(len(known)) and any(known.str.contains(each).all() for each in _MONTHS_WITH_POINT)


def _parse_dates(
    strings: "polars.Series", time_format: str, unit: Literal["us", "ns"]
) -> "polars.Series":
    if time_format == _WEEK:
        strings, time_format = strings + "-1", f"{_WEEK}-%u"
    if time_format == _DAY_OF_YEAR:
        strings = strings.set(~strings.str.contains(r"-\d{3}$").fill_null(True), None)
    dates = strings.str.to_datetime(time_format, strict=False, time_unit=unit, ambiguous="null")
    if getattr(dates.dtype, "time_zone", None) is None:
        return dates
    return dates.dt.convert_time_zone("UTC").dt.replace_time_zone(None)


def parse_compact_dates(
    numbers: "polars.Series", has_days_of_years: bool = True
) -> "polars.Series | None":
    """Whole numbers such as 20240331, 202403 or 20240331235959 as dates, in microseconds.

    Args:
        numbers: the numbers.
        has_days_of_years: whether 2024366, the last day of a year, is one too.

    Returns:
        The dates; None unless all have the same number of digits and are dates of 1800 to 2199.
    """
    import polars

    if not numbers.is_between(_YEARS[0] * 100, _YEARS[-1] * 10**10 + 10**10).all():
        return None  # before anything that is slow
    strings = numbers.drop_nulls().cast(polars.String)
    digits = strings.str.len_bytes().unique().to_list()
    if len(digits) != 1 or digits[0] not in _COMPACT_DATES:
        return None
    if digits[0] == _DAY_OF_YEAR_DIGITS and not has_days_of_years:
        return None
    added, time_format = _COMPACT_DATES[digits[0]]
    years = strings.str.slice(0, 4).cast(polars.Int64, strict=False)
    if years.null_count() or not years.is_between(_YEARS[0], _YEARS[-1]).all():
        return None
    dates = _parse_dates(numbers.cast(polars.String) + added, time_format, "us")
    return dates if dates.null_count() == numbers.null_count() else None
