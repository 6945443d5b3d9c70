"""Encodes the values of a single record as numbers, as ``columns`` encodes whole columns.

Whether a column holds quantities or which labels is known from training, so that a value is encoded
as it would be in a whole file, whatever the other values of the stream are.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from legato._errors import InputError
from legato._series.columns import BOOLEANS, FLOAT32, format_label
from legato._series.missing_values import MISSING_TOKENS
from legato._series.sequences import Column, suggest_columns


def encode_value(record: Mapping[str, Any], column: Column) -> float:
    """Encode a record's value in a column as a number.

    Args:
        record: values by column name: numbers, booleans or strings; further columns are ignored.
        column: the column's description.

    Raises:
        InputError: the record lacks the column, or its value is not a number or not a known label.
    """
    if column.name not in record:
        raise InputError(
            f"There is no column {column.name!r}, which the model was trained on."
            f"{suggest_columns(column.name, [str(each) for each in record])}"
        )
    value = record[column.name]
    number = (
        _parse_number(value) if column.categories is None else _find_label_number(value, column)
    )
    if number is not None and abs(number) <= float(FLOAT32.max):
        return number
    holds = f"The column {column.name!r} holds {_format_value(value)}"
    if value is None or (isinstance(value, str) and value.strip() in MISSING_TOKENS):
        raise InputError(f"{holds}: the value is missing. Fill it in, or leave the row out.")
    if column.categories is not None:
        raise InputError(
            f"{holds}, which the model was not trained on. {describe_known_labels(column)}"
        )
    raise InputError(
        f"{holds}; a number up to {FLOAT32.max:.2g} was expected. Mend it, or leave the row out."
    )


def describe_known_labels(column: Column) -> str:
    """A sentence on the labels of a column, and what to do with others."""
    known = column.categories or ()
    more = f" and {len(known) - 8} more" if len(known) > 8 else ""
    return (
        f"Its labels are {', '.join(map(repr, known[:8]))}{more}. Leave those steps out, or train "
        "on data that have them."
    )


def _parse_number(value: Any) -> float | None:
    """A value as a number; None if it is NaN or not a number."""
    if isinstance(value, str):
        value = value.strip()
        if value.lower() in BOOLEANS:
            return BOOLEANS[value.lower()]
        if "_" in value or not value.isascii():  # valid in Python's float(), not meant in files
            return None
    elif not isinstance(value, (int, float, np.number, np.bool_)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return None if np.isnan(number) else number


def _find_label_number(value: Any, column: Column) -> float | None:
    """The number of a label; None if the label is not known."""
    known, numbers = column.categories or (), column.numbers or ()
    return next(
        (numbers[known.index(each)] for each in _possible_labels(value) if each in known), None
    )


def _possible_labels(value: Any) -> Iterator[str]:
    """The labels that a value may match, the most literal first."""
    if isinstance(value, str):
        yield value
        yield value.strip()
    is_boolean = isinstance(value, (bool, np.bool_))
    if is_boolean or (isinstance(value, str) and value.strip().lower() in BOOLEANS):
        yield str(value).strip().lower()
    elif (number := _parse_number(value)) is not None:
        yield format_label(number)


def _format_value(value: Any) -> str:
    shown = "nothing" if value is None or (isinstance(value, str) and not value) else repr(value)
    return shown if len(shown) <= 60 else f"{shown[:40]} …"
