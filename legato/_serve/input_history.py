"""The inputs that a stream was fed last, kept so that another version can be fed them again.

A feed is one chunk of a history. An input without an axis of steps has one value a feed, so feeds
are joined only where such values are equal.
"""

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from legato._errors import StateError
from legato._streams.step_inputs import Input

Arrays = tuple[np.ndarray, ...]


class Chunk(NamedTuple):
    """What one feed fed.

    Attributes:
        after: how many steps the stream was fed up to its end.
        steps: how many of them are kept here: the last ones of the feed.
        content: an array for each input, by ``encode_inputs``.
    """

    after: int
    steps: int
    content: bytes


def make_chunk(
    inputs: Sequence[Input], xs: Arrays, steps: int | None, after: int, most: int
) -> Chunk:
    """The last steps of a feed.

    Args:
        inputs: of the model.
        xs: an array for each input, (steps, *its shape), or without steps if bare.
        steps: how many; None for a bare step.
        after: how many steps the stream was fed up to there.
        most: steps that are kept.
    """
    if steps is None:
        return Chunk(after, 1, encode_inputs(xs))
    pairs = zip(inputs, xs, strict=True)
    return Chunk(
        after,
        min(steps, most),
        encode_inputs(tuple(x[-most:] if each.by_step else x for each, x in pairs)),
    )


def encode_inputs(xs: Arrays) -> bytes:
    """Arrays with their shapes as bytes."""
    parts = []
    for x in xs:
        parts += [struct.pack(f"<B{x.ndim}I", x.ndim, *x.shape), x.tobytes()]
    return b"".join(parts)


def _decode(inputs: Sequence[Input], chunk: Chunk) -> Arrays:
    """The arrays of a chunk; those of inputs by step have an axis of steps."""
    arrays, at = [], 0
    for each in inputs:
        axes = chunk.content[at]
        shape = struct.unpack_from(f"<{axes}I", chunk.content, at + 1)
        dtype, begin = jnp.dtype(each.dtype), at + 1 + 4 * axes
        count = int(np.prod(shape, dtype=int))
        x = np.frombuffer(chunk.content, dtype, count, begin).reshape(shape)
        arrays.append(x[None] if each.by_step and each.is_step(shape) else x)
        at = begin + count * dtype.itemsize
    return tuple(arrays)


def replayed_feeds(
    inputs: Sequence[Input], chunks: Sequence[Chunk], steps: int
) -> list[tuple[Arrays, int]]:
    """The last steps of a history as few feeds: arrays for each input, and the number of steps.

    Args:
        inputs: of the model that is fed them.
        chunks: in order.
        steps: how many of the last ones.

    Raises:
        StateError: the chunks hold fewer, or are none of these inputs.
    """
    over = sum(each.steps for each in chunks) - steps
    feeds: list[tuple[Arrays, int]] = []
    try:
        for chunk in chunks:
            cut = min(max(over, 0), chunk.steps)
            over -= cut
            if cut == chunk.steps:
                continue
            pairs = zip(inputs, _decode(inputs, chunk), strict=True)
            feeds.append(
                (tuple(x[cut:] if given.by_step else x for given, x in pairs), chunk.steps - cut)
            )
    except (ValueError, IndexError, struct.error):
        over = -1
    if over < 0:
        raise StateError("The history of a stream is damaged: the store was altered.")
    return _joined(inputs, feeds)


def _joined(
    inputs: Sequence[Input], feeds: Sequence[tuple[Arrays, int]]
) -> list[tuple[Arrays, int]]:
    """Neighbours that are as one feed, joined."""
    groups: list[list[tuple[Arrays, int]]] = []
    for feed in feeds:
        if groups and _go_on(inputs, groups[-1][-1][0], feed[0]):
            groups[-1].append(feed)
        else:
            groups.append([feed])
    joined = []
    for group in groups:
        columns: list[Any] = list(zip(*[xs for xs, _ in group], strict=True))
        xs = tuple(
            np.concatenate(column) if given.by_step else column[0]
            for given, column in zip(inputs, columns, strict=True)
        )
        joined.append((xs, sum(steps for _, steps in group)))
    return joined


def _go_on(inputs: Sequence[Input], before: Arrays, xs: Arrays) -> bool:
    """Whether a feed may be joined with the one before."""
    return all(
        old.shape[1:] == new.shape[1:] if given.by_step else np.array_equal(old, new)
        for given, old, new in zip(inputs, before, xs, strict=True)
    )
