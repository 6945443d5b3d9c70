"""One row of a table by itself → the numbers a model knows its values by.

What ``columns`` tells of a whole column is known here beforehand: whether it holds quantities or
which labels. So a value is read as it would be among others, and a word never becomes something
else for the company it is in.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from legato._errors import InputError
from legato._series.columns import BOOLEANS, FLOAT32, label_of
from legato._series.parsing import MISSING
from legato._series.sequences import Column, instead_of


def number_in(row: Mapping[str, Any], column: Column) -> float:
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
            f"{instead_of(column.name, [str(each) for each in row])}"
        )
    value = row[column.name]
    number = _quantity(value) if column.categories is None else _place(value, column)
    if number is not None and abs(number) <= float(FLOAT32.max):
        return number
    holds = f"The column {column.name!r} holds {_shown(value)}"
    if value is None or (isinstance(value, str) and value.strip() in MISSING):
        raise InputError(f"{holds}: the value is missing. Fill it in, or leave the row out.")
    if column.categories is not None:
        raise InputError(f"{holds}, which the model was not trained on. {known_to(column)}")
    raise InputError(
        f"{holds}; a number up to {FLOAT32.max:.2g} was expected. Mend it, or leave the row out."
    )


def known_to(column: Column) -> str:
    """Which labels are known, and what to do with others."""
    known = column.categories or ()
    more = f" and {len(known) - 8} more" if len(known) > 8 else ""
    return (
        f"It knows {', '.join(map(repr, known[:8]))}{more}. Leave those steps out, or train on "
        "data that have them."
    )


def _quantity(value: Any) -> float | None:
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


def _place(value: Any, column: Column) -> float | None:
    """The number that stands for a label; None if it is not known."""
    known, numbers = column.categories or (), column.numbers or ()
    return next((numbers[known.index(each)] for each in _labels(value) if each in known), None)


def _labels(value: Any) -> Iterator[str]:
    """What a value may be called, most literally first."""
    if isinstance(value, str):
        yield value
        yield value.strip()
    is_boolean = isinstance(value, (bool, np.bool_))
    if is_boolean or (isinstance(value, str) and value.strip().lower() in BOOLEANS):
        yield str(value).strip().lower()
    elif (number := _quantity(value)) is not None:
        yield label_of(number)


def _shown(value: Any) -> str:
    told = "nothing" if value is None or (isinstance(value, str) and not value) else repr(value)
    return told if len(told) <= 60 else f"{told[:40]} …"
