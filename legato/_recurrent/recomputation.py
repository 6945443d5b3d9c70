"""Recomputation: a training step that keeps the states of a recurrent layer at few steps only.

The steps are cut into segments. Kept are the states before each; the backward pass runs a segment
forward again before it walks back through it (Chen et al., "Training Deep Nets with Sublinear
Memory Cost", 2016, arXiv:1604.06174). With segments as long as the square root of the number of
steps, what a layer keeps grows with that square root, for one more forward pass. The inputs and,
of a layer that returns sequences, the outputs of all steps are needed as before. Layers that are
unrolled (``unroll=True``) are not cut: Keras's loop for them treats a mask at the first step apart.
"""

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from legato._errors import InputError
from legato._platform.checks import is_count

Remat = int | bool | None
_remat: ContextVar[Remat] = ContextVar("remat", default=None)


def check_remat(remat: Remat) -> None:
    """Check the argument.

    Raises:
        InputError: it is neither a number of steps, nor True, False or None.
    """
    if remat is None or isinstance(remat, bool) or is_count(remat):
        return
    raise InputError(
        f"remat is {remat!r}; the steps of a segment, a whole number of at least 1, were expected, "
        "or True for the square root of the number of steps."
    )


@contextmanager
def recomputing(remat: Remat) -> Generator[None]:
    """A context in which layers that are traced recompute, as ``model.remat`` asks."""
    token = _remat.set(remat)
    try:
        yield
    finally:
        _remat.reset(token)


def segment_steps(steps) -> int | None:
    """The steps of a segment; None if nothing is recomputed."""
    remat = _remat.get()
    if not remat or not isinstance(steps, int):
        return None
    length = math.isqrt(steps - 1) + 1 if remat is True else int(remat)
    return length if 0 < length < steps else None


def run_in_segments(
    run: Callable, length: int, layer: Any, sequences, states: list, mask
) -> tuple[Any, Any, list]:
    """Run a layer over segments of its steps.

    Args:
        run: from the inputs, states and mask of a segment, what ``run_over_time`` returns.
        length: steps of a segment; the last may have fewer.
        layer: of it, the order in which it reads, and whether it returns sequences, are read.
        sequences: inputs, (rows, steps, …).
        states: initial states.
        mask: booleans (rows, steps), or None.

    Returns:
        As ``run_over_time`` does.
    """

    def as_read(array):
        return jnp.flip(array, 1) if layer.go_backwards else array

    def run_segment(states, segment):
        _, outputs, states = run(as_read(segment[0]), states, _map(as_read, segment[1]))
        return list(states), outputs if layer.return_sequences else outputs[:, -1:]

    rows, steps = sequences.shape[:2]
    whole = steps // length

    def segments(array):
        cut = array[:, : whole * length].reshape(rows, whole, length, *array.shape[2:])
        return jnp.moveaxis(cut, 1, 0)

    run_segment = jax.checkpoint(run_segment, prevent_cse=False)
    read = (as_read(sequences), _map(as_read, mask))
    states, parts = lax.scan(run_segment, list(states), jax.tree.map(segments, read))
    outputs = jnp.moveaxis(parts, 0, 1).reshape(rows, -1, *parts.shape[3:])
    if steps % length:
        rest = jax.tree.map(lambda each: each[:, whole * length :], read)
        states, last = run_segment(states, rest)
        outputs = jnp.concatenate([outputs, last], 1)
    return outputs[:, -1], outputs, states


def _map(function: Callable, array):
    return None if array is None else function(array)
