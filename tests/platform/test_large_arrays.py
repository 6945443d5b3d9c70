"""Large arrays come to JAX with their values, and JAX computes in their memory."""

import jax
import numpy as np
import pytest

from legato._platform.large_arrays import empty_for_jax, finite_for_jax, for_jax

LARGE = (1100, 1000)  # of float32: 4.4 MB
on_cpu = pytest.mark.skipif(jax.default_backend() != "cpu", reason="JAX copies to the device")


def is_shared(array: np.ndarray) -> bool:
    return jax.device_put(array).unsafe_buffer_pointer() == array.ctypes.data


@on_cpu
@pytest.mark.parametrize("dtype", [np.float32, np.int32, bool, np.float16])
@pytest.mark.parametrize("shape", [(3, 5), (0, 4), (1,)])
def test_jax_computes_in_an_empty_array(shape, dtype):
    array = empty_for_jax(shape, dtype)
    assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
    assert array.size == 0 or is_shared(array)


@on_cpu
@pytest.mark.parametrize("view", ["whole", "transposed", "every other row", "big-endian"])
def test_large_arrays_keep_their_values_and_are_shared(view):
    whole = np.arange(2 * LARGE[0] * LARGE[1], dtype=np.float32).reshape(-1, LARGE[1])
    array = {
        "whole": whole,
        "transposed": whole.T,
        "every other row": whole[::2],
        "big-endian": whole.astype(">f4"),
    }[view]
    part = whole[:2]
    (copy, small), nothing = for_jax(((array, part), None))
    np.testing.assert_array_equal(copy, array)
    assert copy.dtype == array.dtype
    assert small is part
    assert nothing is None
    if view != "big-endian":
        assert is_shared(copy)
    array[0, 0] = 7
    assert copy[0, 0] == 0 or copy is array


def test_an_array_that_jax_shares_already_is_not_copied():
    array = empty_for_jax(LARGE, np.float32)
    assert for_jax(array) is array


@pytest.mark.parametrize("shape", [(3, 5), LARGE, (2, LARGE[0] * LARGE[1])])
def test_floats_are_checked_while_they_are_copied(shape):
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    np.testing.assert_array_equal(finite_for_jax(array), array)
    for at in (0, array.size // 3, -1):
        bad = array.copy()
        bad.flat[at] = np.nan if at else -np.inf
        assert finite_for_jax(bad) is None
