"""Checks of arguments name the argument, the value that came and the values allowed."""

import re

import numpy as np
import pytest

from legato._errors import InputError
from legato._platform.checks import check_choice, check_count, check_seed, check_share


@pytest.mark.parametrize("value", [2, 7, np.int32(2), np.uint64(2**40)])
def test_an_integer_that_is_large_enough_comes_back_as_int(value):
    checked = check_count("n", value, 2)
    assert type(checked) is int
    assert checked == value


@pytest.mark.parametrize("value", [1, -1, 2.0, True, None, "3", np.float32(3)])
def test_anything_else_is_an_input_error(value):
    expected = f"n is {value!r}; a number of streams of at least 2 was expected. Take more."
    with pytest.raises(InputError, match=f"^{re.escape(expected)}$"):
        check_count("n", value, 2, noun="a number of streams", remedy="Take more.")


def test_seeds_reach_from_0_to_the_largest_that_numpy_takes():
    assert check_seed(0) == 0
    assert check_seed(np.uint32(2**32 - 1)) == 2**32 - 1
    np.random.RandomState(2**32 - 1)
    for wrong in (-1, 2**32, 1.0, True, None):
        with pytest.raises(InputError, match=r"seed is .*; a whole number from 0 to 2\*\*32 - 1"):
            check_seed(wrong)


@pytest.mark.parametrize("value", [None, True, "batch", np.str_("batch"), np.bool_(False)])
def test_a_choice_may_be_of_a_numpy_type(value):
    check_choice("shuffle", value, (None, False, True, "batch"))


@pytest.mark.parametrize("value", ["typo", 2, np.array([True, False]), np.ones(1), ["batch"], {}])
def test_anything_else_is_no_choice(value):
    expected = f"shuffle is {value!r}; one of None, False, True, 'batch' was expected."
    with pytest.raises(InputError, match=f"^{re.escape(expected)}$"):
        check_choice("shuffle", value, (None, False, True, "batch"))


@pytest.mark.parametrize("value", [1.0, -0.1, np.nan, "0.5", None, np.array([0.1, 0.2])])
def test_a_share_is_a_number_below_1(value):
    check_share("validation_split", np.float32(0.5))
    check_share("validation_split", 0)
    expected = f"validation_split is {value!r}; a number from 0 to below 1 was expected."
    with pytest.raises(InputError, match=f"^{re.escape(expected)}$"):
        check_share("validation_split", value)
