"""How what enters a lane goes on in its state: products of derivatives, one batch after another.

The derivative of prediction i by input j is ``read[i] · carried[i-1] ⋯ carried[j+1] · written[j]``.
All past inputs are taken along at once, as a matrix of state numbers by inputs that each batch
multiplies. From the last batch to the first with everything transposed, it is the predictions that
are taken along: that is less where a sample has fewer outputs than inputs. Products over thousands
of steps leave the range of floating point, so each batch's share of the matrix has an exponent of
its own: what is zero here is zero because nothing flows.
"""

from collections.abc import Callable

import numpy as np

RESCALED_EVERY = 8  # batches: a float32 factor is at most 1e38 or, if not zero, at least 1e-45
SMALLEST = np.nextafter(0.0, 1.0)

Summed = Callable[[np.ndarray, int], np.ndarray]


class Flow:
    """What entered the lanes, in the state that they carry now.

    Args:
        lanes, state, entries: numbers of lanes, and in each of numbers carried and of numbers that
            enter with a batch.
        batches: how many will enter.
    """

    def __init__(self, lanes: int, state: int, entries: int, batches: int):
        room = lanes, state, batches * entries
        self._entries = entries
        self._now, self._next = np.zeros(room), np.zeros(room)
        self._powers = np.zeros((lanes, batches), int)
        self._begin = self._end = 0

    def read(self, read: np.ndarray, left: Summed, entered: Summed) -> tuple[int, np.ndarray]:
        """How much each batch that entered is in what is read of the state.

        Args:
            read: (lanes, outputs, state).
            left, entered: sums of an axis of outputs, or of entries, over what is told apart.

        Returns:
            The first batch that is still felt, and for it and those after it (lanes, parts of
            outputs, batches, parts of entries).
        """
        lanes, outputs, _ = read.shape
        live = slice(self._begin * self._entries, self._end * self._entries)
        felt = read @ self._now[:, :, live]
        felt = felt.reshape(lanes, outputs, self._end - self._begin, self._entries)
        largest = np.abs(felt).max(axis=(1, 3), keepdims=True, initial=0.0)
        felt /= np.where(largest > 0, largest, 1)
        sizes = np.sqrt(entered(left(np.square(felt), 1), 3)) * largest
        powers = self._powers[:, None, self._begin : self._end, None]
        with np.errstate(over="ignore"):
            told = np.ldexp(sizes, powers)
        return self._begin, np.where((told == 0) & (sizes > 0), SMALLEST, told)

    def move(self, carried: np.ndarray, written: np.ndarray) -> None:
        """A batch goes by: (lanes, state, state), and what enters, (lanes, state, entries)."""
        begin, end = self._begin * self._entries, self._end * self._entries
        np.matmul(carried, self._now[:, :, begin:end], out=self._next[:, :, begin:end])
        self._now, self._next = self._next, self._now
        self._now[:, :, end : end + self._entries] = written
        self._end += 1
        if self._end % RESCALED_EVERY == 0:
            self._rescale()

    def _rescale(self) -> None:
        """Let every batch's largest number be about 1, and leave out those that are forgotten."""
        live = self._now[:, :, self._begin * self._entries : self._end * self._entries]
        lanes, state, _ = live.shape
        live = live.reshape(lanes, state, self._end - self._begin, self._entries)
        largest = np.abs(live).max(axis=(1, 3), initial=0.0)
        powers = np.frexp(largest)[1]
        live *= np.ldexp(1.0, -powers)[:, None, :, None]
        self._powers[:, self._begin : self._end] += powers
        felt = largest.any(axis=0)
        self._begin += int(felt.argmax()) if felt.any() else len(felt)
