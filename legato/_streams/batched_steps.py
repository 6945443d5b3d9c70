"""One or several steps of many streams, computed in batches.

A batch has a power of two of rows, so that few programs are compiled; rows that only fill it up are
discarded. Streams that are fed different numbers of steps are batched by length: less than half of
what is computed for a stream is padding.
"""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from legato._platform.padding import pad_with_zeros
from legato._streams.compiled_steps import CompiledSteps

MAX_BATCH = 1024  # most streams in one call of a program


class States(Protocol):
    """Where carried states are; see ``SlotTable.gather``."""

    def gather(self, slots: np.ndarray, size: int) -> np.ndarray:
        """Copy states into a batch."""
        ...


def feed_one_step(
    compiled: CompiledSteps, table: States, slots: np.ndarray, xs: tuple[np.ndarray, ...]
) -> np.ndarray:
    """Feed one step to each stream.

    Args:
        compiled: the compiled steps of the streams' model.
        table: the carried states.
        slots: (streams,), -1 for a stream that begins.
        xs: for each input, (streams, *its shape).

    Returns:
        (streams, width and answers): the new carried states, then the answers.
    """
    parts = []
    for begin in range(0, len(slots), MAX_BATCH):
        part = slice(begin, begin + MAX_BATCH)
        size = len(slots[part])
        if not compiled.takes_any_batch:
            size = _batch_size(size)
        given = tuple(pad_with_zeros(x[part], size) for x in xs)
        moved = compiled.step(table.gather(slots[part], size), given)
        parts.append(np.asarray(moved)[: len(slots[part])])
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts or [compiled.model_step.blank[:0]])


def feed_several_steps(
    compiled: CompiledSteps,
    table: States,
    slots: np.ndarray,
    each: list[tuple[tuple[np.ndarray, ...], int | None]],
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Feed a number of steps of its own to each stream.

    Args:
        compiled, table, slots: as for ``feed_one_step``.
        each: for each stream, an array for each input, and the number of steps; None for a bare
            step, without an axis of steps.

    Returns:
        The new carried states, (streams, width); and for each stream vectors of answers, (steps,
        width of the answers), or one, without an axis of steps, of a bare step.
    """
    model_step = compiled.model_step
    counts = np.array([1 if steps is None else steps for _, steps in each])
    rows = np.empty((len(slots), model_step.width), model_step.blank.dtype)
    answers: list[Any] = [None] * len(slots)
    for members in _group_by_length(counts):
        size = _batch_size(len(members))
        xs = _stack_inputs(compiled, [each[at] for at in members], size, counts[members].max())
        before = table.gather(slots[members], size)
        moved, emitted = compiled.advance(before, xs, pad_with_zeros(counts[members], size))
        rows[members] = np.asarray(moved)[: len(members), : model_step.width]
        for row, at in enumerate(members):
            own = emitted[: counts[at], row]
            answers[at] = own[0] if each[at][1] is None else own
    return rows, answers


def _group_by_length(counts: np.ndarray) -> Iterator[np.ndarray]:
    """Yield indices of streams in batches whose counts round up to the same power of two."""
    sizes = np.ceil(np.log2(np.maximum(counts, 1)))
    for size in np.unique(sizes):
        members = np.flatnonzero(sizes == size)
        for begin in range(0, len(members), MAX_BATCH):
            yield members[begin : begin + MAX_BATCH]


def _stack_inputs(
    compiled: CompiledSteps, each: list, size: int, steps: int
) -> tuple[np.ndarray, ...]:
    """For each input, (size, steps, …) or (size, …), padded with zeros."""
    columns = []
    for at, given in enumerate(compiled.model_step.step_inputs.inputs):
        parts = [xs[at] for xs, _ in each]
        if given.by_step:
            bare = [count is None for _, count in each]
            parts = [
                pad_with_zeros(part[None] if is_bare else part, steps)
                for part, is_bare in zip(parts, bare, strict=True)
            ]
        columns.append(pad_with_zeros(np.stack(parts), size))
    return tuple(columns)


def _batch_size(count: int) -> int:
    """The number of streams rounded up to a power of two."""
    return 1 << (count - 1).bit_length()
