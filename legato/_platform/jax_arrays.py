"""Converts a user's arrays to those that JAX keeps as they are.

JAX refuses big-endian arrays and ``long double``, and wraps integers beyond 32 bits unless 64-bit
types are enabled.
"""

from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from legato._errors import InputError
from legato._platform.plain_arrays import check_keeps_meaning, to_native

_DOUBLE_BYTES = np.dtype(np.float64).itemsize


def as_jax_keeps(name: str, array: np.ndarray, float_type: str) -> np.ndarray:
    """An array in native byte order whose numbers JAX keeps as they are.

    Args:
        name: for the message.
        array: numbers.
        float_type: of the layers, to which integers are cast that JAX would wrap, and to which
            ``long double`` is rounded.

    Raises:
        InputError: an integer is beyond 32 bits, and the float type does not have it.
    """
    array = to_native(array)
    kind, size = array.dtype.kind, array.dtype.itemsize
    if size < _DOUBLE_BYTES or kind not in "fiu":
        return array
    if kind == "f":
        if size == _DOUBLE_BYTES:
            return array
        with np.errstate(over="ignore"):  # overflow gives infinity, which is reported later
            return array.astype(float_type)
    narrow = jax.dtypes.canonicalize_dtype(array.dtype)
    if narrow == array.dtype or not array.size:
        return array
    limits = np.iinfo(narrow)
    if limits.min <= array.min() and array.max() <= limits.max:
        return array
    floats = array.astype(float_type)
    inexact = _differs(floats, array)
    if inexact.any():
        where = tuple(map(int, np.argwhere(inexact)[0]))
        place = f"{name}[{', '.join(map(str, where))}]" if where else name
        raise InputError(
            f"{place} is {array[where]}, an integer beyond 32 bits that {float_type} cannot "
            f"represent (the nearest is {int(floats[where])}). Subtract a constant or divide: of "
            "times, for example, give seconds since the first one."
        )
    return floats


def check_is_numeric(name: str, array: np.ndarray) -> None:
    """Check that an array holds real numbers or booleans, bfloat16 among them.

    Raises:
        InputError: it holds text, dates or other objects.
    """
    if array.dtype.kind not in "iub" and not jnp.issubdtype(array.dtype, np.floating):
        raise InputError(
            f"{name} holds {array.dtype} values; numbers or booleans were expected. Encode text as "
            "integers first, and one-hot with keras.utils.to_categorical if need be."
        )


def to_jax(name: str, value: Any) -> jax.Array:
    """A value as a JAX array, without loss as in ``as_jax_keeps``; double precision is rounded.

    Raises:
        InputError: it is no array of numbers, or has masked values, a unit, or integers beyond 32
            bits that are not exact.
    """
    if isinstance(value, jax.Array):
        return value
    check_keeps_meaning(name, value)
    if hasattr(value, "__jax_array__"):  # a Keras variable
        return jnp.asarray(value)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(f"{name} cannot be made into one array ({error}).") from error
    if array.dtype.kind != "c":  # the state of some cells is complex
        check_is_numeric(name, array)
    return copy_to_jax(as_jax_keeps(name, array, keras.config.floatx()))


def copy_to_jax(array: np.ndarray) -> jax.Array:
    """A copy of an array of NumPy, for which nothing is compiled.

    ``jnp.asarray`` compiles a program for every shape, in 10 ms, and ``jax.device_put`` shares the
    memory of what it is given.
    """
    return jax.device_put(np.array(array))


def _differs(floats: np.ndarray, integers: np.ndarray) -> np.ndarray:
    """Where floats made from integers are not these; exact also at the end of their range."""
    limit = float(np.iinfo(integers.dtype).max)  # rounded up to a power of two
    outside = floats.astype(np.float64) >= limit
    back = np.where(outside, 0, floats).astype(integers.dtype)
    return outside | (back != integers)
