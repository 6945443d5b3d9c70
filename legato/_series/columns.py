"""Columns of values: a column of a table as checked numbers, quantities or encoded labels.

A string is a number if it parses as one. A column of text that is no labels by its looks, such as
numbers with units, is refused by ``label_checks``: it never silently becomes labels.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

import numpy as np

from legato._errors import InputError
from legato._series.column_types import as_integers, parse_numbers
from legato._series.label_checks import check_holds_labels
from legato._series.missing_values import mark_missing
from legato._series.sequences import Column
from legato._series.tables import Table
from legato._series.time_formats import parse_compact_dates

if TYPE_CHECKING:
    import polars

FLOAT32 = np.finfo(np.float32)
_FEWEST_DATES = 8  # that differ; fewer numbers may look like dates by chance
_MOST_EXACT = 2**53  # float64 has whole numbers up to here
BOOLEANS = {"false": 0.0, "true": 1.0}


def list_names(names: str | Iterable[str], argument: str) -> list[str]:
    """The names of columns as a list, each once.

    Raises:
        InputError: one is no text.
    """
    several = [names] if isinstance(names, str) or not isinstance(names, Iterable) else list(names)
    if not all(isinstance(name, str) for name in several):
        raise InputError(f"{argument} is {names!r}; the name of a column or several was expected.")
    return list(dict.fromkeys(several))


def read_column(
    table: Table, name: str, is_labels: bool, is_asked: bool = False
) -> tuple[Column, np.ndarray]:
    """Read one column of values.

    Args:
        table: the table; the column is taken out of it.
        name: the column's name.
        is_labels: whether numbers in it are labels.
        is_asked: whether it was asked for by name, so that its numbers are quantities even if all
            of them are dates such as 20240331.

    Returns:
        The column's description, and its numbers, float64 or integer, (rows,); NaN where one is
        missing.

    Raises:
        InputError: it holds dates, values that are not numbers among numbers, infinity, or nothing.
    """
    import polars

    series = mark_missing(table.pop(name))
    if series.null_count() == len(series):
        raise InputError(
            f"{table.source}: column {name!r} holds no value at all. Leave it out with columns=."
        )
    if series.dtype == polars.String:
        series = _infer_type(series, table, is_labels)
    elif is_labels and series.dtype.is_integer() and _is_inexact(series):
        series = series.cast(polars.String)
    if series.dtype in (polars.Date, polars.Datetime):
        raise InputError(
            f"{table.source}: column {name!r} holds dates. Name it with time={name!r}, or leave it "
            "out with columns=."
        )
    if series.dtype == polars.String:
        labels = sorted(series.drop_nulls().unique().to_list())
        places = series.cast(polars.Enum(labels)).to_physical()
        return Column(name, tuple(labels), tuple(map(float, range(len(labels))))), places.to_numpy()
    if not (series.dtype.is_numeric() or series.dtype == polars.Boolean):
        raise type_error(table.source, name, series.dtype)
    if not (is_labels or is_asked):
        _check_are_no_dates(series, table)
    if not is_labels and series.dtype.is_integer() and _is_inexact(series):
        _check_range(name, *_find_range(series), table.source)
    values = _to_floats(series)
    _check_finite(table, name, values)
    if not is_labels:
        return Column(name), values
    if series.dtype == polars.Boolean:
        return Column(name, tuple(BOOLEANS), tuple(BOOLEANS.values())), values
    numbers = np.unique(values[~np.isnan(values)]).tolist()
    return Column(name, tuple(map(format_label, numbers)), tuple(numbers)), values


def type_error(source: str, name: str, dtype: "polars.DataType") -> InputError:
    """The error on a column of a type that is not read."""
    return InputError(
        f"{source}: column {name!r} holds {dtype}; numbers, text or booleans were expected. Leave "
        "it out with columns=."
    )


def _infer_type(series: "polars.Series", table: Table, is_labels: bool) -> "polars.Series":
    """Convert strings to numbers or booleans if all of them are; else check they are labels."""
    numbers, bad = parse_numbers(series)
    if not bad.any():
        if not is_labels:
            return numbers
        padded = series.str.contains(r"^[-+]?0\d").any()
        return series if padded or (numbers.abs() > _MOST_EXACT).any() else numbers
    if int(bad.sum()) == len(series) - series.null_count():
        kinds = series.drop_nulls().unique().str.to_lowercase()
        if kinds.is_in(list(BOOLEANS)).all():
            return series.str.to_lowercase() == "true"
    if not is_labels:
        check_holds_labels(series, bad, table)
    return series


def _is_inexact(numbers: "polars.Series") -> bool:
    """Whether float64 does not tell whole numbers of such a size apart."""
    return max(map(abs, _find_range(numbers))) > _MOST_EXACT


def _find_range(numbers: "polars.Series") -> tuple[int, int]:
    """The smallest and the largest of whole numbers."""
    low, high = numbers.min(), numbers.max()
    return int(cast(int, low)), int(cast(int, high))


def _check_are_no_dates(series: "polars.Series", table: Table) -> None:
    """Raise an InputError if numbers are compact dates, of which several differ."""
    whole = as_integers(series)
    if whole is None:
        return
    whole = whole.drop_nulls()
    dates = parse_compact_dates(whole, has_days_of_years=False)
    if dates is not None and whole.n_unique() >= _FEWEST_DATES:
        raise InputError(
            f"{table.source}: column {series.name!r} holds numbers that are dates, {whole[0]} "
            f"first. Name it with time={series.name!r}; if they are quantities, name the columns "
            "of values with columns=."
        )


def _to_floats(series: "polars.Series") -> np.ndarray:
    import polars

    return series.cast(polars.Float64).to_numpy()


def format_label(number: float) -> str:
    """The label of a number in a column of labels."""
    return str(int(number)) if number.is_integer() else repr(number)


def _check_finite(table: Table, name: str, values: np.ndarray) -> None:
    """Check that float32 can represent every value.

    Raises:
        InputError: one is infinite or too large.
    """
    bad = np.flatnonzero(np.abs(values) > FLOAT32.max)
    if len(bad):
        raise InputError(
            f"{table.describe_cell(int(bad[0]), name)}: the value is {values[bad[0]]:g}, the first "
            f"of {len(bad):,} that are infinite or beyond {FLOAT32.max:.1g}. Mend it, or leave the "
            "field empty if the value is missing."
        )


def check_spread(name: str, values: np.ndarray, source: str) -> None:
    """Check that float32, in which networks compute, can tell a column's values apart.

    Raises:
        InputError: it cannot.
    """
    _check_range(name, values.min(), values.max(), source)


def _check_range(name: str, low: float, high: float, source: str) -> None:
    if 0 < high - low < 1e-6 * max(abs(low), abs(high)):
        raise InputError(
            f"{source}: column {name!r} lies between {float(low)!r} and {float(high)!r}, a spread "
            "of less than a millionth of its size, which float32 cannot tell apart. Subtract a "
            "constant from it."
        )
