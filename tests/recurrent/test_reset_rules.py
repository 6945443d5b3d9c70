"""The reset rules give the same answer for Python, NumPy, JAX and traced values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from legato._errors import InputError
from legato._recurrent.reset_rules import (
    check_reset,
    check_validation_state,
    fresh_before_batch,
    memory_before_batch,
    start_of_rows,
)

FIRST, CARRIED = np.array([[1.0], [2.0], [3.0]]), np.array([[4.0], [5.0], [6.0]])
FRESH, STARTS = np.array([True, False, False]), np.array([False, True, False])


@pytest.mark.parametrize(
    ("reset", "begins_epoch", "expected"),
    [
        ("epoch", True, FIRST),
        ("epoch", False, CARRIED),
        ("never", True, CARRIED),
        ("never", False, CARRIED),
        ("batch", True, CARRIED),
        ("batch", False, CARRIED),
    ],
)
def test_only_epoch_restores_the_initial_state_of_the_run(reset, begins_epoch, expected):
    def before(begins):
        return memory_before_batch(reset, begins, [FIRST], [CARRIED])[0]

    np.testing.assert_array_equal(before(begins_epoch), expected)
    np.testing.assert_array_equal(jax.jit(before)(begins_epoch), expected)


@pytest.mark.parametrize("to_array", [np.asarray, jnp.asarray])
def test_batch_makes_every_row_fresh_and_starts_those_that_it_flags(to_array):
    fresh, starts = to_array(FRESH), to_array(STARTS)
    for reset in ("epoch", "never"):
        assert fresh_before_batch(reset, fresh, None).tolist() == [True, False, False]
        assert fresh_before_batch(reset, fresh, starts).tolist() == [True, True, False]
    for flags in (None, starts):
        assert fresh_before_batch("batch", fresh, flags).tolist() == [True, True, True]


@pytest.mark.parametrize("to_array", [np.asarray, jnp.asarray])
def test_fresh_rows_start_from_the_initial_state(to_array):
    start = start_of_rows(to_array(FRESH), to_array(FIRST), to_array(CARRIED.astype("float16")))
    assert start.tolist() == [[1.0], [5.0], [6.0]]
    assert start.dtype == "float16"
    assert type(start) is type(to_array(FIRST))


def test_an_unknown_rule_is_an_error_that_lists_the_rules():
    with pytest.raises(InputError, match="reset is 'typo'; one of 'epoch', 'batch', 'never' was"):
        check_reset("typo")
    with pytest.raises(InputError, match="validation_state is 'old'; one of 'fresh', 'continue'"):
        check_validation_state("old")
