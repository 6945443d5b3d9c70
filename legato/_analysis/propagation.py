"""Propagates the influence of inputs through the state of a lane, from one batch to the next.

**What is computed.** Linearized, a lane is a time-varying state-space system. With ``A[i]`` the
derivative of the state after batch i by the state before it (transition), ``B[i]`` that of the
state by the batch's inputs (input gain) and ``C[i]`` that of the outputs by the state (output
gain), the derivative of the outputs of batch i by the inputs of an earlier batch j is
``C[i] · A[i-1] ⋯ A[j+1] · B[j]``. Its Frobenius norms are the entries of the influence matrix.

**Recurrence.** A matrix S of (state, inputs of all batches so far) holds the derivative of the
current state by every earlier input. Batch i reads ``C[i] · S``, replaces S by ``A[i] · S``, and
appends ``B[i]`` as new columns; one product of ``[C[i]; A[i]]`` and S does the first two. This is
the forward sensitivity recurrence of real-time recurrent learning (Williams and Zipser, "A learning
algorithm for continually running fully recurrent neural networks", Neural Computation 1, 1989),
with inputs in the place of weights. From the last batch to the first, with every matrix transposed
(B and C exchanged), it is backpropagation through time (Werbos, "Backpropagation through time: what
it does and how to do it", Proceedings of the IEEE 78, 1990); that takes less where a sample has
fewer outputs than inputs.

**Cost.** Of N batches, n numbers of state, p of inputs and q of outputs in a lane:
N² / 2 · n · (n + q) · p multiplications in float64, and 2 · (n + q) · N · p numbers of memory;
transposed, with p and q exchanged. Columns at the beginning that have become exactly zero are
dropped.

**Range.** Products over thousands of batches leave the range of floating point, so the columns of
each batch share an exponent, which is renewed every ``RESCALED_EVERY`` batches: a zero here means
that nothing flows. Norms beyond float64 are given as ``SMALLEST`` or ``LARGEST``. Limits: the cost
is quadratic in the number of batches; the Jacobians are those of float32 (``jacobians``), and their
relative errors add up over the product.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from legato._errors import InputError
from legato._platform.checks import is_count

RESCALED_EVERY = 8  # batches: a float32 factor is at most 1e38 or, if not zero, at least 1e-45
ON_ONE_CORE = 2**18  # multiplications: products up to this size OpenBLAS does not share among cores
WORTHWHILE = 16  # columns at once, at least
SMALLEST, LARGEST = np.nextafter(0.0, 1.0), np.finfo(float).max


class BatchJacobians(NamedTuple):
    """The Jacobians of one batch, each (lanes, …).

    Attributes:
        transition: (state, state), of the state after the batch by the state before it.
        input_gain: (state, inputs), of the state after the batch by its inputs.
        output_gain: (outputs, state), of the outputs by the state before the batch.
    """

    transition: np.ndarray
    input_gain: np.ndarray
    output_gain: np.ndarray


@dataclass(frozen=True)
class InfluenceAxis:
    """An axis of an influence matrix: one entry per sample, or one per time step of a sample.

    Attributes:
        entries: entries per sample, 1 or the number of time steps.
        entry: (numbers,), the entry that each number of a sample's inputs, or outputs, belongs to.
    """

    entries: int
    entry: np.ndarray

    def repeated(self, samples: int) -> "InfluenceAxis":
        """The axis of so many samples side by side."""
        entry = np.arange(samples)[:, None] * self.entries + self.entry
        return InfluenceAxis(samples * self.entries, entry.reshape(-1))

    def sum_entries(self, values: np.ndarray, axis: int, first: int = 0) -> np.ndarray:
        """Sum the numbers of each entry.

        Args:
            values: consecutive numbers along ``axis``.
            axis: the axis of the numbers, which becomes that of the entries.
            first: index of the first of these numbers.
        """
        if self.entries == 1:
            return values.sum(axis, keepdims=True)
        values = np.moveaxis(values, axis, 0)
        entry = self.entry[first : first + len(values)]
        begins = np.flatnonzero(np.diff(entry, prepend=-1))
        sums = np.zeros((self.entries, *values.shape[1:]))
        if len(entry):
            np.add.at(sums, entry[begins], np.add.reduceat(values, begins, axis=0))
        return np.moveaxis(sums, 0, axis)


class Propagation:
    """The derivative of the lanes' current state by the inputs of all earlier batches.

    Args:
        lanes: number of lanes.
        state, inputs, outputs: numbers of state, and of inputs and outputs per batch, in a lane.
        batches: number of batches that will follow.
    """

    def __init__(self, lanes: int, state: int, inputs: int, outputs: int, batches: int):
        self._inputs, self._outputs = inputs, outputs
        # Rows: the outputs' derivatives, then the state's, so that one product gives both.
        self._current, self._next = np.zeros((2, lanes, outputs + state, batches * inputs))
        self._exponents = np.zeros((lanes, batches), int)  # powers of 2, of each batch's columns
        self._begin = self._end = 0  # batches whose columns are not dropped, and are there yet

    def advance(
        self, batch: BatchJacobians, output_axis: InfluenceAxis, input_axis: InfluenceAxis
    ) -> tuple[int, np.ndarray]:
        """Multiply by the Jacobians of the next batch, and append its inputs.

        Args:
            batch: the Jacobians.
            output_axis, input_axis: the entries of a lane's outputs and inputs.

        Returns:
            The number of the first batch whose influence is not zero; and the norms of the
            derivatives by it and the later ones, (lanes, output entries, batches, input entries).
        """
        live = slice(self._begin * self._inputs, self._end * self._inputs)
        both = np.concatenate([batch.output_gain, batch.transition], axis=1)
        state = self._current[:, self._outputs :, live]
        derivatives = _product(both, state, self._next[:, :, live])[:, : self._outputs]
        first, norms = self._begin, self._norms(derivatives, output_axis, input_axis)
        self._current, self._next = self._next, self._current
        appended = slice(live.stop, live.stop + self._inputs)
        self._current[:, self._outputs :, appended] = batch.input_gain
        self._end += 1
        if self._end % RESCALED_EVERY == 0:
            self._rescale()
        return first, norms

    def _norms(
        self, derivatives: np.ndarray, output_axis: InfluenceAxis, input_axis: InfluenceAxis
    ) -> np.ndarray:
        """Frobenius norms of derivatives (lanes, outputs, batches · inputs), entry by entry."""
        shape = (*derivatives.shape[:2], self._end - self._begin, self._inputs)
        derivatives = derivatives.reshape(shape)
        largest = np.abs(derivatives).max(axis=(1, 3), keepdims=True, initial=0.0)
        squares = np.square(derivatives / np.where(largest > 0, largest, 1))
        sums = input_axis.sum_entries(output_axis.sum_entries(squares, 1), 3)
        scaled = np.sqrt(sums) * largest
        exponents = self._exponents[:, None, self._begin : self._end, None]
        with np.errstate(over="ignore"):
            norms = np.minimum(np.ldexp(scaled, exponents), LARGEST)
        return np.where((norms == 0) & (scaled > 0), SMALLEST, norms)

    def _rescale(self) -> None:
        """Scale the columns of each batch to about 1, and drop leading batches that are zero."""
        begin, end = self._begin * self._inputs, self._end * self._inputs
        live = self._current[:, self._outputs :, begin:end]
        live = live.reshape(*live.shape[:2], self._end - self._begin, self._inputs)
        largest = np.abs(live).max(axis=(1, 3), initial=0.0)
        exponents = np.frexp(largest)[1]
        scale = np.repeat(np.ldexp(1.0, -exponents), self._inputs, axis=1)
        self._current[:, self._outputs :, begin:end] *= scale[:, None]
        self._exponents[:, self._begin : self._end] += exponents
        nonzero = largest.any(axis=0)
        self._begin += int(nonzero.argmax()) if nonzero.any() else len(nonzero)


def _product(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> np.ndarray:
    """``left @ right``; small matrices by groups of columns, each group's product on one core.

    A product that is shared among cores ends when the last core has finished, here thousands of
    times. Beside another process a map took up to twenty times as long; one core takes half as long
    again as several.
    """
    width = ON_ONE_CORE // max(left[0].size, 1)
    if width < WORTHWHILE:
        return np.matmul(left, right, out=out)
    whole = right.shape[2] - right.shape[2] % width
    columns, products = (
        each[:, :, :whole].reshape(*each.shape[:2], -1, width).swapaxes(1, 2)
        for each in (right, out)
    )
    np.matmul(left[:, None], columns, out=products)
    np.matmul(left, right[:, :, whole:], out=out[:, :, whole:])
    return out


# The axes of a model.


def influence_axes(
    input_shapes: list[tuple], output_shapes: list[tuple], output: int | None, by_step: bool
) -> tuple[InfluenceAxis, InfluenceAxis]:
    """The axes of an influence matrix: of the inputs, and of the outputs.

    Args:
        input_shapes, output_shapes: shapes of a sample's inputs and outputs.
        output: index on the last axis of the outputs; None for all of them.
        by_step: whether each time step has an entry; the outputs' if they have as many steps as the
            inputs.

    Raises:
        InputError: there are no time steps, or no such output.
    """
    steps = _time_steps(input_shapes) if by_step else None
    in_time = steps is not None and all(
        len(each) > 1 and each[0] == steps for each in output_shapes
    )
    if output is not None:
        output_shapes = [_shape_of_one(output, shape) for shape in output_shapes]
    return _axis(input_shapes, steps), _axis(output_shapes, steps if in_time else None)


def _time_steps(shapes: list[tuple]) -> int:
    """The number of time steps, which all inputs share."""
    counts = {shape[0] if len(shape) > 1 else None for shape in shapes}
    steps = counts.pop()
    if counts or steps is None:
        raise InputError(
            f"steps=True needs inputs in time, and a sample's inputs have the shapes {shapes}; "
            "(time steps, features) was expected, with as many steps each. Leave steps out."
        )
    return steps


def _shape_of_one(output: int, shape: tuple) -> tuple:
    """The shape of one output on the last axis."""
    if not shape or not is_count(output, -shape[-1]) or output >= shape[-1]:
        raise InputError(
            f"outputs={output!r} was asked for, and the last axis of the model's outputs, "
            f"{('samples', *shape)}, has no such place."
        )
    return shape[:-1]


def _axis(shapes: list[tuple], steps: int | None) -> InfluenceAxis:
    """The axis of arrays of these shapes, with an entry per time step if ``steps`` is given."""
    sizes = [int(np.prod(shape)) for shape in shapes]
    if steps is None:
        return InfluenceAxis(1, np.zeros(sum(sizes), int))
    return InfluenceAxis(steps, np.concatenate([np.arange(size) * steps // size for size in sizes]))
