"""Numbers as JSON read back to the bit."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from legato._serve.tensors import encode_json


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", jnp.bfloat16])
def test_numbers_read_back_to_the_bit(rng, dtype):
    size = np.dtype(dtype).itemsize
    numbers = np.frombuffer(rng.bytes(5000 * size), dtype)
    with np.errstate(invalid="ignore"):  # of signalling NaN
        numbers = numbers[np.isfinite(numbers.astype("float64"))]
    assert len(numbers) > 4000
    back = np.array(json.loads(encode_json(numbers)), dtype)
    assert back.tobytes() == numbers.tobytes()


def test_nan_and_infinity_are_null_at_any_depth():
    value = {"y": [np.array([np.nan, 1, -np.inf], "float32"), (np.array([[np.inf]]),)], "n": 1}
    assert json.loads(encode_json(value)) == {"y": [[None, 1.0, None], [[[None]]]], "n": 1}


def test_booleans_and_whole_numbers_stay_what_they_are():
    value = [np.array([True, False]), np.array([2**63], "uint64"), np.array([-1], "int8")]
    assert encode_json(value) == b"[[true,false],[9223372036854775808],[-1]]"
