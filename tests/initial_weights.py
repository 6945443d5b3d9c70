"""Initial weights drawn by one compiled program for all shapes, with the same numbers to the bit.

JAX compiles its random draws for each shape, which takes 0.3 s, and every single operation on them,
10 ms. A number depends only on the key and on its place in the flat array
(``jax_threefry_partitionable``), so that a small array is the beginning of a larger one; what
follows is NumPy's. Draws inside compiled programs are left as they are.
"""

from collections.abc import Callable
from functools import wraps
from math import prod
from typing import Any

import jax
import keras
import numpy as np
from scipy.linalg import qr

SIZE = 4096  # of the array that is drawn; a larger one is drawn by itself


def draw_with_one_program() -> None:
    """Replace the functions of ``jax.random`` that Keras's initializers call, and three of them."""
    for name in ("normal", "truncated_normal", "uniform"):
        setattr(jax.random, name, _beginning(getattr(jax.random, name)))
    for kind, make in (
        (keras.initializers.Zeros, np.zeros),
        (keras.initializers.Ones, np.ones),
    ):
        kind.__call__ = _without_jax(kind.__call__, lambda _, shape, make=make: make(shape))
    kind = keras.initializers.Orthogonal
    kind.__call__ = _without_jax(kind.__call__, _orthogonal)


def _beginning(draw: Callable) -> Callable:
    """A function that returns the beginning of what ``draw`` returns for ``SIZE`` numbers."""

    @wraps(draw)
    def drawn(key, *arguments, shape=None, dtype=None, **options):
        if arguments or shape is None or dtype != "float32" or prod(shape) > SIZE:
            options |= {} if shape is None else {"shape": shape}
            options |= {} if dtype is None else {"dtype": dtype}
            return draw(key, *arguments, **options)
        values = draw(key, shape=(SIZE,), dtype=dtype, **options)
        if isinstance(values, jax.core.Tracer):
            return draw(key, shape=shape, dtype=dtype, **options)
        return jax.device_put(np.array(np.asarray(values)[: prod(shape)].reshape(shape)))

    return drawn


def _without_jax(call: Callable, values: Callable) -> Callable:
    """An initializer's ``__call__`` whose arrays NumPy makes, outside of traced programs."""

    @wraps(call)
    def made(self, shape, dtype=None):
        dtype = keras.backend.standardize_dtype(dtype)
        is_traced = isinstance(jax.numpy.zeros(()), jax.core.Tracer)
        if is_traced or dtype != "float32" or not 0 < prod(shape) <= SIZE or len(shape) < 1:
            return call(self, shape, dtype)
        return jax.device_put(np.asarray(values(self, shape), dtype))

    return made


def _orthogonal(initializer, shape) -> np.ndarray:
    """The factor Q of a normal matrix, as ``keras.initializers.Orthogonal`` has it."""
    rows, columns = prod(shape[:-1]), shape[-1]
    # Keras scales what it draws, which is a program for each shape: this is the beginning of one.
    normal = keras.random.normal((SIZE,), dtype="float32", seed=initializer.seed)
    normal = np.asarray(normal)[: rows * columns]
    normal = normal.reshape(max(rows, columns), min(rows, columns))
    factors: Any = qr(normal, mode="economic")
    q, r = factors
    q = q * np.sign(np.diag(r))
    return np.float32(initializer.gain) * (q.T if rows < columns else q).reshape(shape)
