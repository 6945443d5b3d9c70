"""Some rows of a table of streams, led a step or several on together.

They go in batches, rounded up to powers of two so that few programs are compiled; what fills a
batch up is thrown away. Streams that are fed different numbers of steps go with others of about as
many, so that little is padding.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from legato._platform.padding import pad_with_zeros
from legato._streams.compiled_steps import CompiledSteps
from legato._streams.slots import SlotTable

BATCH = 1024  # streams in a call of a program, at most


def one_step(
    stepper: CompiledSteps, table: SlotTable, slots: np.ndarray, xs: tuple[np.ndarray, ...]
) -> np.ndarray:
    """One step of each.

    Args:
        stepper: of the streams.
        table: what they carry.
        slots: (streams,), their rows; -1 for one that begins.
        xs: for each input, (streams, *its shape).

    Returns:
        (streams, all words): what each carries on, and its answer.
    """
    parts = []
    for begin in range(0, len(slots), BATCH):
        part = slice(begin, begin + BATCH)
        size = _rounded(len(slots[part]))
        given = tuple(pad_with_zeros(x[part], size) for x in xs)
        moved = stepper.step(table.gather(slots[part], size), given)
        parts.append(np.asarray(moved)[: len(slots[part])])
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts or [stepper.one.blank[:0]])


def several(
    stepper: CompiledSteps,
    table: SlotTable,
    slots: np.ndarray,
    each: list[tuple[tuple[np.ndarray, ...], int | None]],
) -> tuple[np.ndarray, list[Any]]:
    """Different numbers of steps.

    Args:
        stepper, table, slots: as for ``one_step``.
        each: for each stream, an array for each input, and how many steps; None for one as such.

    Returns:
        (streams, words): what each carries on; and its answers, or its answer.
    """
    one = stepper.one
    counts = np.array([1 if steps is None else steps for _, steps in each])
    rows = np.empty((len(slots), one.words), one.blank.dtype)
    answers: list[Any] = [None] * len(slots)
    for members in _alike(counts):
        size = _rounded(len(members))
        xs = _stacked(stepper, [each[at] for at in members], size, counts[members].max())
        came = table.gather(slots[members], size)
        moved, emitted = stepper.walk(came, xs, pad_with_zeros(counts[members], size))
        rows[members] = np.asarray(moved)[: len(members), : one.words]
        for row, at in enumerate(members):
            own = emitted[: counts[at], row]
            answers[at] = one.answers(own[0] if each[at][1] is None else own)
    return rows, answers


def _alike(counts: np.ndarray) -> Iterator[np.ndarray]:
    """Indices in batches, of counts of which none is twice another."""
    sizes = np.ceil(np.log2(np.maximum(counts, 1)))
    for size in np.unique(sizes):
        members = np.flatnonzero(sizes == size)
        for begin in range(0, len(members), BATCH):
            yield members[begin : begin + BATCH]


def _stacked(stepper: CompiledSteps, each: list, size: int, steps: int) -> tuple[np.ndarray, ...]:
    """For each input, (size, steps, …) or (size, …), zeros where there is nothing."""
    columns = []
    for at, given in enumerate(stepper.one.feed.inputs):
        parts = [xs[at] for xs, _ in each]
        if given.by_step:
            lone = [count is None for _, count in each]
            parts = [
                pad_with_zeros(part[None] if alone else part, steps)
                for part, alone in zip(parts, lone, strict=True)
            ]
        columns.append(pad_with_zeros(np.stack(parts), size))
    return tuple(columns)


def _rounded(count: int) -> int:
    """Rows of the program that leads so many."""
    return 1 << (count - 1).bit_length()
