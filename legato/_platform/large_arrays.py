"""Large arrays on their way to JAX, which computes in a NumPy array's own memory where it can.

On a CPU it can if the memory begins on a cache line. NumPy's large arrays begin 16 bytes after one,
and JAX then copies them to small pages, each of which the system has to provide and to clear. A
copy by NumPy is in large pages, where the system has them, and takes about a third of the time.
"""

import math
from typing import Any

import jax
import numpy as np

_CACHE_LINE = 64  # bytes
_LARGE = 4 * 2**20  # bytes from which on NumPy asks for large pages
_CACHED = 2**18  # bytes that a core's own cache has room for


def empty_for_jax(shape: tuple[int, ...], dtype) -> np.ndarray:
    """An array for values to come, in memory that JAX computes in."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + _CACHE_LINE, np.uint8)
    begin = -memory.ctypes.data % _CACHE_LINE
    return memory[begin : begin + size].view(dtype).reshape(shape)


def for_jax(tree: Any) -> Any:
    """The same arrays, of which large ones of NumPy are copied to where JAX computes in them."""
    return jax.tree.map(_for_jax, tree)


def finite_for_jax(array: np.ndarray) -> np.ndarray | None:
    """The same floats, or a copy that JAX computes in; None if there are NaN or infinite ones.

    What is copied is checked while it is in the cache.
    """
    if not _is_copied(array):
        return array if np.isfinite(array).all() else None
    copy = empty_for_jax(array.shape, array.dtype)
    rows = max(1, _CACHED * len(array) // array.nbytes)
    for begin in range(0, len(array), rows):
        part = copy[begin : begin + rows]
        np.copyto(part, array[begin : begin + rows])
        if not np.isfinite(part).all():
            return None
    return copy


def _for_jax(array):
    if type(array) is not np.ndarray or not _is_copied(array):
        return array
    copy = empty_for_jax(array.shape, array.dtype)
    np.copyto(copy, array)
    return copy


def _is_copied(array: np.ndarray) -> bool:
    if array.nbytes < _LARGE or jax.default_backend() != "cpu":
        return False
    return not array.flags.c_contiguous or array.ctypes.data % _CACHE_LINE != 0
