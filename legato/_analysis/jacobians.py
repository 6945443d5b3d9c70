"""Computes the Jacobians of every batch of ``predict``, by automatic differentiation.

**What is computed.** A batch is the function of ``differentiated_step``, taken at the state that
``predict`` reaches there. Its Jacobian has four blocks: transition, input gain, output gain (see
``propagation``), and the direct one of outputs by inputs, of which only the norms are kept.

**Algorithm.** One pass over the data records the state before each batch. Then batches of one size
are differentiated in blocks, ``vmap`` over both batches and directions: by forward mode (``jvp``)
along each number of state and inputs, or by reverse mode (``vjp``) along each number of state and
outputs, whichever is fewer (Griewank and Walther, "Evaluating derivatives", 2nd edition, SIAM 2008,
chapter 3). If no row depends on another the Jacobian is block diagonal, and one direction serves
all rows at once (Curtis, Powell and Reid, "On the estimation of sparse Jacobian matrices", IMA
Journal of Applied Mathematics 13, 1974): each row is a *lane*. Where rows mix, a batch is one lane.

**Cost.** A lane has n numbers of state, p of inputs and q of outputs. Per batch that is about
min(n + p, n + q) evaluations' worth of derivatives (without n, if no state is carried), plus
2 log2(rows) for the test of mixing; where rows mix, n, p and q are those of all rows together.
Memory: the states before all batches, on the host, and ``BLOCK_BYTES`` of derivatives at a time, or
one batch's if they are more (``batch_bytes``).

**Limits.** Derivatives are float32, so that within a batch less than 1e-45 is zero. Integer
inputs and states are held constant. Only recurrent state is followed: if ``predict`` changes other
variables, that is an error.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from legato._analysis.differentiated_step import (
    DifferentiatedStep,
    floating,
    is_floating,
    step_of,
)
from legato._analysis.propagation import InfluenceAxis, influence_axes
from legato._errors import InputError, UnsupportedError
from legato._execution.compiled_loop import CompiledLoop
from legato._execution.program_cache import ProgramCache
from legato._execution.samples import SampleArrays
from legato._platform import keras_variables
from legato._platform.padding import pad_with_zeros
from legato._recurrent.model_state import ModelState

BLOCK_BYTES = 64 * 2**20  # of derivatives computed at once, about
BLOCK_BATCHES = 256


class BlockJacobians(NamedTuple):
    """The Jacobians of consecutive batches; all float64.

    Attributes:
        begin, end: numbers of the first batch, and of the one after the last.
        transition: (batches, lanes, state, state), of the state after by the state before a batch.
        input_gain: (batches, lanes, state, inputs), of the state after a batch by its inputs.
        output_gain: (batches, lanes, outputs, state), of the outputs by the state before.
        direct: (batches, lanes, output entries, input entries), norms of outputs by inputs.
    """

    begin: int
    end: int
    transition: np.ndarray
    input_gain: np.ndarray
    output_gain: np.ndarray
    direct: np.ndarray


class DifferentiatedRun:
    """A run of ``predict`` that can be differentiated batch by batch.

    Args:
        model_state: state of the model, which must be built.
        samples: the data.
        rows: samples in a full batch.
        memory: initial values of the memory variables.
        output: index on the last axis of the outputs; None for all of them.
        by_step: whether the influence matrix has an entry per time step.

    Attributes:
        state: floating point numbers of state in a row.
        input_axis, output_axis: entries of a sample's inputs and outputs in the influence matrix.
        batches: number of batches.
        lanes: number of lanes in a batch: its rows, or 1 if rows mix.
        lane_samples: samples of a batch in one lane: 1, or all rows if they mix.

    Raises:
        InputError: ``by_step`` without time steps, or no such output.
        UnsupportedError: ``predict`` changes other variables than recurrent state.
    """

    def __init__(
        self,
        model_state: ModelState,
        samples: SampleArrays,
        rows: int,
        memory: list,
        output: int | None,
        by_step: bool,
    ):
        self._samples, self._rows = samples, rows
        self._variables = ProgramCache(model_state).variables("predict")
        self._values = type(self._variables)(*map(keras_variables.values_of, self._variables))
        self._full, self._last = divmod(samples.count, rows)
        self.batches = self._full + (self._last > 0)
        self.state = sum(int(np.prod(each.shape[1:])) for each in floating(memory))
        loop = ProgramCache(model_state).loop_of("predict")
        self.input_axis, self.output_axis = self._axes(loop, memory, output, by_step)
        self._step = DifferentiatedStep.of(loop, self.state, output)
        self._memories, mixes = self._memory_before_batches(memory)
        self.lanes, self.lane_samples = (1, rows) if mixes else (rows, 1)

    @property
    def carries(self) -> bool:
        """Whether there is a state, and a second batch that it is carried to."""
        return self.state > 0 and self.batches > 1

    @property
    def batch_bytes(self) -> int:
        """The memory that the Jacobian of one batch takes."""
        _, _, columns, rows = self._lane_sizes(0)
        return 8 * self.lanes * columns * rows

    def blocks(self, backward: bool) -> Iterator[BlockJacobians]:
        """The Jacobians of all batches in blocks, in order or, ``backward``, in reverse order."""
        most = BLOCK_BYTES // self.batch_bytes
        spans = list(self._spans(max(1, min(BLOCK_BATCHES, most))))
        for begin, end in reversed(spans) if backward else spans:
            yield self.jacobians(begin, end)

    def jacobians(self, begin: int, end: int) -> BlockJacobians:
        """The Jacobians of the batches from ``begin`` to ``end``, which have one size."""
        batch_rows, samples, columns, rows = self._lane_sizes(begin)
        forward_mode, directions = columns <= rows, min(columns, rows)
        number_bytes = 4 * batch_rows // samples * max(columns, rows) * (end - begin)
        most = max(1, BLOCK_BYTES // number_bytes)
        memory = [each[begin:end, :batch_rows] for each in self._memories]
        batch = self._batch(begin, end)
        block = self._zeros(begin, end)
        skipped = 0 if self.carries else samples * self.state  # directions of state
        for first in range(skipped, directions, most):
            at = np.arange(first, first + min(most, directions)) % directions  # one shape for all
            along = np.eye(directions, dtype="float32")[at]
            derivatives = self._step.derivatives(
                forward_mode, self.lanes == 1, self._values, along, memory, *batch
            )
            derivatives = np.asarray(derivatives, "float64")[:, : directions - first]
            self._check_finite(derivatives, begin, end)
            derivatives = derivatives.swapaxes(1, 2)  # (batches, lanes, directions, numbers)
            if forward_mode:
                self._store(block, derivatives.swapaxes(2, 3), 0, first, samples)
            else:
                self._store(block, derivatives, first, 0, samples)
        return block._replace(direct=np.sqrt(block.direct))

    def _lane_sizes(self, begin: int) -> tuple[int, int, int, int]:
        """Of batch ``begin``: rows, samples in a lane, and a lane's Jacobian's columns and rows."""
        rows = self._rows if begin < self._full else self._last
        samples = rows if self.lanes == 1 else 1
        sizes = [self.state + len(each.entry) for each in (self.input_axis, self.output_axis)]
        return rows, samples, samples * sizes[0], samples * sizes[1]

    def _zeros(self, begin: int, end: int) -> BlockJacobians:
        """Arrays for the Jacobians of some batches, zero in the rows that a last one lacks."""
        axes, samples = (self.input_axis, self.output_axis), self.lane_samples
        state = samples * self.state
        inputs, outputs = (samples * len(each.entry) for each in axes)
        input_entries, output_entries = (samples * each.entries for each in axes)
        shapes = [
            (state, state),
            (state, inputs),
            (outputs, state),
            (output_entries, input_entries),
        ]
        leading = end - begin, self.lanes
        return BlockJacobians(begin, end, *[np.zeros((*leading, *shape)) for shape in shapes])

    def _store(
        self, block: BlockJacobians, part: np.ndarray, row: int, column: int, samples: int
    ) -> None:
        """Write a part of the Jacobians into the four blocks that it overlaps.

        Args:
            block: the Jacobians; ``direct`` collects sums of squares.
            part: (batches, lanes, rows, columns), consecutive rows and columns.
            row, column: indices of the first of these.
            samples: samples in a lane.
        """
        state, (_, lanes, rows, columns) = samples * self.state, part.shape
        state_rows = int(np.clip(state - row, 0, rows))
        state_columns = int(np.clip(state - column, 0, columns))
        output, input_ = max(row - state, 0), max(column - state, 0)  # first of each in the part
        to_state, to_output = (
            slice(row, row + state_rows),
            slice(output, output + rows - state_rows),
        )
        by_state = slice(column, column + state_columns)
        by_input = slice(input_, input_ + columns - state_columns)
        upper, lower = part[:, :, :state_rows], part[:, :, state_rows:]
        block.transition[:, :lanes, to_state, by_state] = upper[..., :state_columns]
        block.input_gain[:, :lanes, to_state, by_input] = upper[..., state_columns:]
        block.output_gain[:, :lanes, to_output, by_state] = lower[..., :state_columns]
        squares = np.square(lower[..., state_columns:])
        squares = self.output_axis.repeated(self.lane_samples).sum_entries(squares, 2, output)
        squares = self.input_axis.repeated(self.lane_samples).sum_entries(squares, 3, input_)
        block.direct[:, :lanes] += squares

    def _check_finite(self, derivatives: np.ndarray, begin: int, end: int) -> None:
        if not np.isfinite(derivatives).all():
            raise InputError(
                f"The derivative of the model's outputs for samples {begin * self._rows} to "
                f"{min(end * self._rows, self._samples.count) - 1} is not finite. Look at the "
                "outputs of predict for them, and at the model's weights."
            )

    # Batches and their shapes.

    def _axes(
        self, loop: CompiledLoop, memory: list, output: int | None, by_step: bool
    ) -> tuple[InfluenceAxis, InfluenceAxis]:
        x, _ = self._batch(0, 1)
        x = jax.tree.map(lambda each: each[0], x)
        rows = len(jax.tree.leaves(x)[0])
        outputs, *_ = jax.eval_shape(step_of(loop, rows), self._values, memory, (x,), None)
        input_shapes, output_shapes = (
            [each.shape[1:] for each in jax.tree.leaves(side)] for side in (x, outputs)
        )
        return influence_axes(input_shapes, output_shapes, output, by_step)

    def _batch(self, begin: int, end: int) -> tuple[Any, Any]:
        """Inputs and start flags of batches of one size, (batches, rows, …)."""
        rows = self._rows if begin < self._full else self._last
        taken = slice(begin * self._rows, begin * self._rows + (end - begin) * rows)

        def cut(each):
            return each[taken].reshape(end - begin, rows, *each.shape[1:])

        return jax.tree.map(cut, (self._samples.x, self._samples.starts))

    def _spans(self, most: int) -> Iterator[tuple[int, int]]:
        for begin in range(0, self._full, most):
            yield begin, min(begin + most, self._full)
        if self._last:
            yield self._full, self.batches

    # The pass over the data.

    def _memory_before_batches(self, memory: list) -> tuple[list, bool]:
        """The memory before each batch, (batches, rows, …), and whether rows ever mix."""
        memories, mixes = [], False
        variables = self._values.non_trainable
        for begin, end in self._spans(BLOCK_BATCHES):
            batches = self._batch(begin, end)
            if begin == self._full:  # rows that the last batch lacks are not needed any more
                memory = [each[: self._last] for each in memory]
            (memory, variables), before, mixed = self._step.scan(
                self._values, memory, variables, *batches
            )
            mixes |= bool(mixed)
            memories.append(
                [pad_with_zeros(np.asarray(each), self._rows, axis=1) for each in before]
            )
        self._check_unchanged(variables)
        return [np.concatenate(each) for each in zip(*memories, strict=True)], mixes

    def _check_unchanged(self, variables: list) -> None:
        for variable, before, after in zip(
            self._variables.non_trainable, self._values.non_trainable, variables, strict=True
        ):
            # A random generator's seed changes too, but integers have no derivative.
            if is_floating(before) and not np.array_equal(np.asarray(before), np.asarray(after)):
                raise UnsupportedError(
                    f"predict changes the variable {variable.path!r}, which is no recurrent "
                    "state: influence from sample to sample through it is not followed. Keep it in "
                    "the state of a cell, in legato.layers.RNN(cell, stateful=True)."
                )
