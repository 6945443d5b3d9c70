"""Initial weights drawn by one compiled program for all shapes, with the same numbers to the bit.

JAX compiles its random draws for each shape, which takes 0.3 s. A number depends only on the key
and on its place in the flat array (``jax_threefry_partitionable``), so that a small array is the
beginning of a larger one. Draws inside compiled programs are left as they are.
"""

from collections.abc import Callable
from functools import wraps
from math import prod

import jax
import jax.numpy as jnp
import numpy as np

SIZE = 4096  # of the array that is drawn; a larger one is drawn by itself


def draw_with_one_program() -> None:
    """Replace the functions of ``jax.random`` that Keras's initializers call."""
    for name in ("normal", "truncated_normal", "uniform"):
        setattr(jax.random, name, _beginning(getattr(jax.random, name)))


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
        return jnp.asarray(np.asarray(values)[: prod(shape)].reshape(shape))

    return drawn
