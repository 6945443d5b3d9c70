"""Encoding of one record's values: numbers, labels, and the error for any other value."""

import numpy as np
import pytest

import legato
from legato._series.record_encoding import encode_value
from legato._series.sequences import Column

QUANTITY = Column("load")
WORDS = Column("mode", ("007", "1.50", "a b", "true"), (0.0, 1.0, 2.0, 3.0))
NUMBERS = Column("day", ("-1", "0", "2.5", "3"), (-1.0, 0.0, 2.5, 3.0))
BOOLEANS = Column("open", ("false", "true"), (0.0, 1.0))


@pytest.mark.parametrize(
    ("column", "value", "number"),
    [
        (QUANTITY, 3, 3),
        (QUANTITY, " 1e-3 ", 0.001),
        (QUANTITY, np.float32(0.5), 0.5),
        (QUANTITY, True, 1),
        (QUANTITY, "False", 0),
        (WORDS, "007", 0),
        (WORDS, "1.50", 1),
        (WORDS, " a b ", 2),
        (WORDS, True, 3),
        (NUMBERS, 3, 3),
        (NUMBERS, 3.0, 3),
        (NUMBERS, "3.0", 3),
        (NUMBERS, " -1", -1),
        (NUMBERS, "2.50", 2.5),
        (BOOLEANS, False, 0),
        (BOOLEANS, " TRUE", 1),
    ],
)
def test_a_value_is_encoded_as_its_number(column, value, number):
    assert encode_value({"other": "x", column.name: value}, column) == number


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (QUANTITY, "abc", "The column 'load' holds 'abc'; a number up to 3.4"),
        (QUANTITY, "1_000", "holds '1_000'; a number"),
        (QUANTITY, "inf", "holds 'inf'; a number"),
        (QUANTITY, 1e300, "holds 1e[+]300; a number"),
        (QUANTITY, 10**400, "holds 1000000.* …; a number"),
        (QUANTITY, [1], r"holds \[1\]; a number"),
        (QUANTITY, float("nan"), "holds nan; a number"),
        (QUANTITY, None, "holds nothing: the value is missing. Fill it in, or leave the row out."),
        (QUANTITY, "", "holds nothing: the value is missing"),
        (QUANTITY, " NA ", "holds ' NA ': the value is missing"),
        (WORDS, None, "'mode' holds nothing: the value is missing"),
        (WORDS, "zoe", "'zoe', which the model was not trained on. Its labels are '007', '1.50', "),
        (WORDS, "7", "holds '7', which the model was not trained on"),
        (WORDS, {"a": 1}, "which the model was not trained on"),
        (NUMBERS, 4, "4, which the model was not trained on. Its labels are '-1', '0', '2.5', '3'"),
        (NUMBERS, True, "holds True, which the model was not trained on"),
        (BOOLEANS, 1, "holds 1, which the model was not trained on"),
    ],
)
def test_a_value_that_is_no_number_or_known_label_is_refused(column, value, message):
    with pytest.raises(legato.InputError, match=message):
        encode_value({column.name: value}, column)


def test_a_missing_column_is_named():
    with pytest.raises(legato.InputError, match=r"no column 'load', which .* Did you mean 'Load'"):
        encode_value({"Load": 1}, QUANTITY)
