"""Packing: which row and batch each sequence begins in, and how many rows and steps to use.

Sequences with the most chunks are placed first, each on the row with the least load (LPT; R. L.
Graham, *Bounds on Multiprocessing Timing Anomalies*, SIAM J. Appl. Math. 17, 1969): at most a third
longer than the best packing, and close to it for many sequences. Where sequences are read from
files as they are needed, each row takes consecutive ones instead, so that it reads files in order;
only long sequences, which would leave rows uneven, are placed as above.
"""

import heapq
from collections.abc import Callable

import numpy as np

from legato._errors import InputError
from legato._platform.checks import check_count
from legato._platform.wording import counted

MAX_ROWS = 32
MAX_IDLE_ROWS = 2**16  # a batch with more rows than sequences takes memory for nothing
STEPS = (8, 64)  # the shortest and the longest truncation length that is chosen
IDLE_PERCENT = 3  # of the time that chosen rows may be without a sequence
PADDING_PERCENT = 5  # of all steps that may be padding at a chosen truncation length
LONG_SHARE = 50  # a sequence of more than this part of a row's steps is placed before the others

Packing = Callable[[np.ndarray, int], tuple[np.ndarray, int]]


def count_chunks(lengths: np.ndarray, steps: int) -> np.ndarray:
    """The number of chunks of each sequence, (sequences,)."""
    return -(-lengths // steps)


def pack_longest_first(chunks: np.ndarray, rows: int) -> tuple[np.ndarray, int]:
    """Assign sequences to batch rows: longest first, to the least loaded row; stable.

    Args:
        chunks: the number of chunks of each sequence, (sequences,).
        rows: positions of the batch.

    Returns:
        The sample that is the first chunk of each sequence, ``batch * rows + row``, (sequences,);
        and the number of batches.
    """
    first = np.empty(len(chunks), int)
    free = list(range(rows))  # each row's next sample: the smallest is of the least loaded row
    longest_first = np.argsort(-chunks, kind="stable")
    for at, ahead in zip(
        longest_first.tolist(), (chunks * rows)[longest_first].tolist(), strict=True
    ):
        first[at] = free[0]
        heapq.heapreplace(free, free[0] + ahead)
    return first, max(free) // rows


def pack_consecutive(chunks: np.ndarray, rows: int) -> tuple[np.ndarray, int]:
    """Assign consecutive sequences to each batch row, after the long ones, longest first.

    The others fill one row after the other, each up to the least number of batches at which all
    have room.

    Args, returns:
        As for ``pack_longest_first``.
    """
    is_long = chunks * rows * LONG_SHARE > chunks.sum()
    first = np.empty(len(chunks), int)
    first[is_long], batches = pack_longest_first(chunks[is_long], rows)
    taken = np.zeros(rows, int)  # of each row by long sequences
    np.maximum.at(taken, first[is_long] % rows, first[is_long] // rows + chunks[is_long])
    if is_long.all():
        return first, batches
    ends = np.concatenate([[0], np.cumsum(chunks[~is_long])])
    least = max(batches, _least_batches(chunks, rows))
    most = least + int(chunks[~is_long].max())  # at which greedy filling always succeeds
    while least < most:
        middle = (least + most) // 2
        if _fill_rows(ends, middle - taken)[-1] == len(ends) - 1:
            most = middle
        else:
            least = middle + 1
    cuts = _fill_rows(ends, least - taken)
    row = np.repeat(np.arange(rows), np.diff(cuts))
    first[~is_long] = (taken[row] + ends[:-1] - ends[cuts[row]]) * rows + row
    return first, least


def _fill_rows(ends: np.ndarray, rooms: np.ndarray) -> np.ndarray:
    """The first sequence of each row, and the end, (rows + 1,), where rows are filled in turn.

    Args:
        ends: 0, and the chunks up to the end of each sequence, (sequences + 1,).
        rooms: the chunks that each row has room for, (rows,).
    """
    cuts = [0]
    for room in rooms.tolist():
        cuts.append(int(np.searchsorted(ends, ends[cuts[-1]] + room, side="right")) - 1)
    return np.array(cuts)


def choose_sizes(
    lengths: np.ndarray, rows: int | None, steps: int | None, pack: Packing, parts: int = 1
) -> tuple[int, int]:
    """Rows of a batch and time steps of a chunk, as given or chosen by the rules of ``Lanes``.

    Args:
        lengths, rows, steps: as ``Lanes`` takes them, the lengths checked.
        pack: how sequences are packed.
        parts: what chosen rows are a multiple of.

    Raises:
        InputError: a number is below 1, or far more rows are wanted than there are sequences.
    """
    rows, steps = _check_count("rows", rows), _check_count("steps", steps)
    if rows is not None and rows > max(len(lengths), MAX_IDLE_ROWS):
        raise InputError(
            f"rows is {rows}, and the data have {counted(len(lengths), 'sequence')}, each of which "
            f"is in one row: give rows={len(lengths)} or fewer."
        )
    if rows is None:
        rows = _choose_rows(count_chunks(lengths, steps or 1), pack)
        rows = max(rows - rows % parts, parts)
    return rows, steps or _choose_steps(lengths, rows, pack)


def _least_batches(chunks: np.ndarray, rows: int) -> int:
    """A lower bound of the number of batches of any packing."""
    return max(-(-int(chunks.sum()) // rows), int(chunks.max()))


def _fits(chunks: np.ndarray, rows: int, batches: int, pack: Packing) -> bool:
    """Whether the chunks fit into a number of batches."""
    return _least_batches(chunks, rows) <= batches and pack(chunks, rows)[1] <= batches


def _choose_rows(chunks: np.ndarray, pack: Packing) -> int:
    """The largest number of rows that are idle for at most ``IDLE_PERCENT`` of the time."""
    filled = 100 * int(chunks.sum()) // (100 - IDLE_PERCENT)
    most = min(MAX_ROWS, len(chunks))
    return next(rows for rows in range(most, 0, -1) if _fits(chunks, rows, filled // rows, pack))


def _choose_steps(lengths: np.ndarray, rows: int, pack: Packing) -> int:
    """The longest truncation length with little padding, then as short as its batches allow."""
    filled, longest = 100 * int(lengths.sum()) // (100 - PADDING_PERCENT), int(lengths.max())
    least = min(STEPS[0], longest)
    for steps in range(min(STEPS[1], longest), least - 1, -1):
        if _fits(count_chunks(lengths, steps), rows, filled // (rows * steps), pack):
            break
    else:
        candidates = range(least, min(STEPS[1], longest) + 1)
        steps = _least_padded_steps(lengths, rows, candidates, pack)
    batches = pack(count_chunks(lengths, steps), rows)[1]
    return next(
        fewer
        for fewer in range(least, steps + 1)
        if _fits(count_chunks(lengths, fewer), rows, batches, pack)
    )


def _least_padded_steps(
    lengths: np.ndarray, rows: int, lengths_of_chunk: range, pack: Packing
) -> int:
    """The truncation length with the fewest steps in all, the longest of equal ones."""
    bounds = {
        steps: steps * _least_batches(count_chunks(lengths, steps), rows)
        for steps in lengths_of_chunk
    }
    best = (np.inf, 0)  # steps in a row, and the truncation length, negative
    for steps in sorted(bounds, key=bounds.__getitem__):
        if bounds[steps] > best[0]:
            break
        best = min(best, (steps * pack(count_chunks(lengths, steps), rows)[1], -steps))
    return -best[1]


def _check_count(name: str, count) -> int | None:
    """A number of rows or steps, checked."""
    if count is None:
        return None
    return check_count(name, count, remedy="None has legato choose it.")
