"""Who goes where: sequences onto the rows of a batch, and how many rows and steps are worth having.

The sequences with the most chunks go first, each onto the row with the least load (LPT; R. L.
Graham, *Bounds on Multiprocessing Timing Anomalies*, SIAM J. Appl. Math. 17, 1969): at most a
third longer than the best packing there is, and next to it where sequences are many.
"""

import heapq

import numpy as np

MOST_ROWS = 32
STEPS = (8, 64)  # the shortest and the longest truncation length that is chosen
IDLE_PERCENT = 3  # of the time that chosen rows may be without a sequence
PADDING_PERCENT = 5  # of all steps that may be padding at a chosen truncation length


def count_chunks(lengths: np.ndarray, steps: int) -> np.ndarray:
    """Chunks of each sequence."""
    return -(-lengths // steps)


def pack_chunks(chunks: np.ndarray, rows: int) -> tuple[np.ndarray, int]:
    """Most chunks first, each onto the row with the least load; the first of several goes first.

    Args:
        chunks: of each sequence, (sequences,).
        rows: positions of the batch.

    Returns:
        (sequences,) the sample that is each one's first chunk, ``batch * rows + row``, and the
        number of batches.
    """
    first = np.empty(len(chunks), int)
    free = list(range(rows))  # each row's next sample; the least is of the row with the least load
    longest_first = np.argsort(-chunks, kind="stable")
    for at, ahead in zip(
        longest_first.tolist(), (chunks * rows)[longest_first].tolist(), strict=True
    ):
        first[at] = free[0]
        heapq.heapreplace(free, free[0] + ahead)
    return first, max(free) // rows


def _least_batches(chunks: np.ndarray, rows: int) -> int:
    """What no packing can do with less than."""
    return max(-(-int(chunks.sum()) // rows), int(chunks.max()))


def _fits(chunks: np.ndarray, rows: int, batches: int) -> bool:
    """Whether so many batches do."""
    return _least_batches(chunks, rows) <= batches and pack_chunks(chunks, rows)[1] <= batches


def choose_rows(chunks: np.ndarray) -> int:
    """The most rows that are hardly ever without a sequence."""
    filled = 100 * int(chunks.sum()) // (100 - IDLE_PERCENT)
    most = min(MOST_ROWS, len(chunks))
    return next(rows for rows in range(most, 0, -1) if _fits(chunks, rows, filled // rows))


def choose_steps(lengths: np.ndarray, rows: int) -> int:
    """The longest truncation length with little padding, shortened to what its batches need."""
    filled, longest = 100 * int(lengths.sum()) // (100 - PADDING_PERCENT), int(lengths.max())
    least = min(STEPS[0], longest)
    for steps in range(min(STEPS[1], longest), least - 1, -1):
        if _fits(count_chunks(lengths, steps), rows, filled // (rows * steps)):
            break
    else:
        steps = _least_padded_steps(lengths, rows, range(least, min(STEPS[1], longest) + 1))
    batches = pack_chunks(count_chunks(lengths, steps), rows)[1]
    return next(
        fewer
        for fewer in range(least, steps + 1)
        if _fits(count_chunks(lengths, fewer), rows, batches)
    )


def _least_padded_steps(lengths: np.ndarray, rows: int, lengths_of_chunk: range) -> int:
    """The truncation length with the fewest steps in all, the longest of several."""
    bounds = {
        steps: steps * _least_batches(count_chunks(lengths, steps), rows)
        for steps in lengths_of_chunk
    }
    best = (np.inf, 0)  # steps in a row, and the truncation length, negative
    for steps in sorted(bounds, key=bounds.__getitem__):
        if bounds[steps] > best[0]:
            break
        best = min(best, (steps * pack_chunks(count_chunks(lengths, steps), rows)[1], -steps))
    return -best[1]
