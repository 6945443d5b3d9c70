"""One row of a table by itself → the numbers a model knows its values by.

What ``columns`` tells of a whole column is known here beforehand: whether it holds quantities or
which labels. So a value is read as it would be among others, and a word never becomes something
else for the company it is in.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from legato._errors import InputError
from legato._series.columns import BOOLEANS, FLOAT32, format_label
from legato._series.parsing import MISSING
from legato._series.sequences import Column, suggest_columns


def encode_value(row: Mapping[str, Any], column: Column) -> float:
    """The number that stands for a row's value in a column.

    Args:
        row: values by column name: numbers, booleans or words; other columns may be there.
        column: what is known of it.

    Raises:
        InputError: the row lacks it, or holds what is no number or a label that is not known.
    """
    if column.name not in row:
        raise InputError(
            f"There is no column {column.name!r}, which the model was trained on."
            f"{suggest_columns(column.name, [str(each) for each in row])}"
        )
    value = row[column.name]
    number = (
        _parse_number(value) if column.categories is None else _find_label_number(value, column)
    )
    if number is not None and abs(number) <= float(FLOAT32.max):
        return number
    holds = f"The column {column.name!r} holds {_format_value(value)}"
    if value is None or (isinstance(value, str) and value.strip() in MISSING):
        raise InputError(f"{holds}: the value is missing. Fill it in, or leave the row out.")
    if column.categories is not None:
        raise InputError(
            f"{holds}, which the model was not trained on. {describe_known_labels(column)}"
        )
    raise InputError(
        f"{holds}; a number up to {FLOAT32.max:.2g} was expected. Mend it, or leave the row out."
    )


def describe_known_labels(column: Column) -> str:
    """Which labels are known, and what to do with others."""
    known = column.categories or ()
    more = f" and {len(known) - 8} more" if len(known) > 8 else ""
    return (
        f"It knows {', '.join(map(repr, known[:8]))}{more}. Leave those steps out, or train on "
        "data that have them."
    )


def _parse_number(value: Any) -> float | None:
    """A number; NaN where it is none that counts; None where it is none."""
    if isinstance(value, str):
        word = value.strip()
        if word.lower() in BOOLEANS:
            return BOOLEANS[word.lower()]
        if "_" in word or not word.isascii():  # which Python takes and no file means
            return None
        value = word
    elif not isinstance(value, (int, float, np.number, np.bool_)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return None if np.isnan(number) else number


def _find_label_number(value: Any, column: Column) -> float | None:
    """The number that stands for a label; None if it is not known."""
    known, numbers = column.categories or (), column.numbers or ()
    return next(
        (numbers[known.index(each)] for each in _possible_labels(value) if each in known), None
    )


def _possible_labels(value: Any) -> Iterator[str]:
    """What a value may be called, most literally first."""
    if isinstance(value, str):
        yield value
        yield value.strip()
    is_boolean = isinstance(value, (bool, np.bool_))
    if is_boolean or (isinstance(value, str) and value.strip().lower() in BOOLEANS):
        yield str(value).strip().lower()
    elif (number := _parse_number(value)) is not None:
        yield format_label(number)


def _format_value(value: Any) -> str:
    told = "nothing" if value is None or (isinstance(value, str) and not value) else repr(value)
    return told if len(told) <= 60 else f"{told[:40]} …"
