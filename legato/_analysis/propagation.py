"""How what enters a lane goes on in its state: products of derivatives, one batch after another.

The derivative of prediction i by input j is ``read[i] · carried[i-1] ⋯ carried[j+1] · written[j]``.
All past inputs are taken along at once, as a matrix of state numbers by inputs that each batch
multiplies. From the last batch to the first with everything transposed, it is the predictions that
are taken along: that is less where a sample has fewer outputs than inputs. Products over thousands
of steps leave the range of floating point, so each batch's share of the matrix has an exponent of
its own: what is zero here is zero because nothing flows.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

RESCALED_EVERY = 8  # batches: a float32 factor is at most 1e38 or, if not zero, at least 1e-45
ON_ONE_CORE = 2**18  # multiplications: what OpenBLAS does not share between cores
WORTHWHILE = 16  # columns at once, at least
SMALLEST, LARGEST = np.nextafter(0.0, 1.0), np.finfo(float).max


class BatchJacobians(NamedTuple):
    """The derivatives of a batch, each (lanes, …).

    Attributes:
        carried: (state, state), of the state handed on by the state it began with.
        written: (state, entries), of the state handed on by what enters.
        read: (outputs, state), of the outputs by the state it began with.
    """

    carried: np.ndarray
    written: np.ndarray
    read: np.ndarray


Summed = Callable[[np.ndarray, int], np.ndarray]


class Propagation:
    """What entered the lanes, in the state that they carry now.

    Args:
        lanes, state, entries: numbers of lanes, and in each of numbers carried and of numbers that
            enter with a batch.
        outputs: of a lane, read off its state in each batch.
        batches: how many will enter.
    """

    def __init__(self, lanes: int, state: int, entries: int, outputs: int, batches: int):
        self._entries, self._outputs = entries, outputs
        # What a batch read off the state, and the state it left, one below the other: one product.
        self._now, self._next = np.zeros((2, lanes, outputs + state, batches * entries))
        self._powers = np.zeros((lanes, batches), int)
        self._begin = self._end = 0

    def go_by(
        self, batch: BatchJacobians, sum_outputs: Summed, sum_entries: Summed
    ) -> tuple[int, np.ndarray]:
        """A batch goes by.

        Args:
            batch: its derivatives.
            sum_outputs, sum_entries: sums of an axis of them over what is told apart.

        Returns:
            The first batch that was still felt, and of it and each after it how much was in what
            this one read: (lanes, parts of outputs, batches, parts of entries).
        """
        live = slice(self._begin * self._entries, self._end * self._entries)
        both = np.concatenate([batch.read, batch.carried], axis=1)
        state = self._now[:, self._outputs :, live]
        felt = _product(both, state, self._next[:, :, live])[:, : self._outputs]
        first, sizes = self._begin, self._sizes(felt, sum_outputs, sum_entries)
        self._now, self._next = self._next, self._now
        self._now[:, self._outputs :, live.stop : live.stop + self._entries] = batch.written
        self._end += 1
        if self._end % RESCALED_EVERY == 0:
            self._rescale()
        return first, sizes

    def _sizes(self, felt: np.ndarray, sum_outputs: Summed, sum_entries: Summed) -> np.ndarray:
        """Of (lanes, outputs, batches × entries) the norms of what is summed up."""
        felt = felt.reshape(*felt.shape[:2], self._end - self._begin, self._entries)
        largest = np.abs(felt).max(axis=(1, 3), keepdims=True, initial=0.0)
        squares = np.square(felt / np.where(largest > 0, largest, 1))
        sizes = np.sqrt(sum_entries(sum_outputs(squares, 1), 3)) * largest
        powers = self._powers[:, None, self._begin : self._end, None]
        with np.errstate(over="ignore"):
            told = np.minimum(np.ldexp(sizes, powers), LARGEST)
        return np.where((told == 0) & (sizes > 0), SMALLEST, told)

    def _rescale(self) -> None:
        """Let every batch's largest number be about 1, and leave out those that are forgotten."""
        begin, end = self._begin * self._entries, self._end * self._entries
        live = self._now[:, self._outputs :, begin:end]
        live = live.reshape(*live.shape[:2], self._end - self._begin, self._entries)
        largest = np.abs(live).max(axis=(1, 3), initial=0.0)
        powers = np.frexp(largest)[1]
        scale = np.repeat(np.ldexp(1.0, -powers), self._entries, axis=1)
        self._now[:, self._outputs :, begin:end] *= scale[:, None]
        self._powers[:, self._begin : self._end] += powers
        felt = largest.any(axis=0)
        self._begin += int(felt.argmax()) if felt.any() else len(felt)


def _product(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> np.ndarray:
    """``left @ right``; of small matrices some columns at a time, each product on one core.

    A product on several cores ends when the last of them has come to it, thousands of times here.
    Beside another process a map took up to twenty times as long; one core takes half as long again.
    """
    width = ON_ONE_CORE // max(left[0].size, 1)
    if width < WORTHWHILE:
        return np.matmul(left, right, out=out)
    whole = right.shape[2] - right.shape[2] % width
    columns, told = (
        each[:, :, :whole].reshape(*each.shape[:2], -1, width).swapaxes(1, 2)
        for each in (right, out)
    )
    np.matmul(left[:, None], columns, out=told)
    np.matmul(left, right[:, :, whole:], out=out[:, :, whole:])
    return out
