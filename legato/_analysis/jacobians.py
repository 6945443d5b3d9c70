"""The derivative of every batch of ``predict``: of what a row answers and hands on, by what it got.

A batch is run by the very program step that ``predict`` runs, from the state that ``predict`` would
have reached. It is opened here as a function of numbers, memory and inputs in, memory and outputs
out, and differentiated forward or in reverse, whichever takes fewer directions, in blocks of
batches. Rows that do not mix are *lanes* with small derivatives of their own, all found at once;
whether they mix is asked of the derivative too, and a batch whose rows do is one lane.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from legato._analysis.numbers import InfluenceAxes, influence_axes
from legato._errors import InputError, UnsupportedError
from legato._execution.compiled_loop import LoopPlan
from legato._execution.program_cache import ProgramCache
from legato._execution.samples import SampleArrays
from legato._platform import keras_private
from legato._platform.padding import pad_with_zeros
from legato._recurrent.model_state import ModelState

BLOCK_BYTES = 64 * 2**20  # of derivatives at once, about
BLOCK_BATCHES = 256


class Derivatives(NamedTuple):
    """Of some batches; all float64.

    Attributes:
        begin, end: which.
        carried: (batches, lanes, state, state), of the state handed on by the state it began with.
        written: (batches, lanes, state, inputs), of the state handed on by the inputs.
        read: (batches, lanes, outputs, state), of the outputs by the state it began with.
        own: (batches, lanes, leaving parts, entering parts), the size of that of outputs by inputs.
    """

    begin: int
    end: int
    carried: np.ndarray
    written: np.ndarray
    read: np.ndarray
    own: np.ndarray


class DifferentiatedRun:
    """The way of a state through the batches of ``predict``.

    Args:
        engine: the model's engine; the model is built.
        samples: the data.
        rows: samples in a full batch.
        memory: values of the memory variables to begin with.
        output: index on the last axis of the outputs; None for all of them.
        by_step: whether the time steps of samples are told apart.

    Attributes:
        state: numbers carried by a row; floating point only.
        entering, leaving: what is summed up in a column of the map, and in a row.
        batches: how many.
        lanes: rows, or 1 if they mix.
        together: samples of a batch in one lane: 1, or all rows if they mix.

    Raises:
        InputError: steps are to be told apart, and there are none; or no such output.
        UnsupportedError: ``predict`` changes something else than recurrent state.
    """

    def __init__(
        self,
        engine: ModelState,
        samples: SampleArrays,
        rows: int,
        memory: list,
        output: int | None,
        by_step: bool,
    ):
        self._samples, self._rows, self._output = samples, rows, output
        self._program = ProgramCache(engine).of("predict")
        self._variables = ProgramCache(engine).variables("predict")
        self._values = type(self._variables)(*map(keras_private.values_of, self._variables))
        self._full, self._last = divmod(samples.count, rows)
        self.batches = self._full + (self._last > 0)
        self.state = sum(int(np.prod(each.shape[1:])) for each in _moving(memory))
        self.entering, self.leaving = self._counted(memory, by_step)
        self._memories, mixes = self._walked(memory)
        self.lanes, self.together = (1, rows) if mixes else (rows, 1)
        self._slopes = {
            of_inputs: jax.jit(
                jax.vmap(partial(self._slope, of_inputs), in_axes=(None, None, 0, 0, 0))
            )
            for of_inputs in (True, False)
        }

    @property
    def carries(self) -> bool:
        """Whether there is a state, and a batch that it could be carried to."""
        return self.state > 0 and self.batches > 1

    def blocks(self, backward: bool) -> Iterator[Derivatives]:
        """All batches in order, or from the last to the first."""
        _, _, given, made = self._sizes(0)
        most = BLOCK_BYTES // (8 * self.lanes * given * made)
        spans = list(self._spans(max(1, min(BLOCK_BATCHES, most))))
        for begin, end in reversed(spans) if backward else spans:
            yield self.derivatives(begin, end)

    def derivatives(self, begin: int, end: int) -> Derivatives:
        """Of the batches of one size from ``begin`` to ``end``."""
        rows, together, given, made = self._sizes(begin)
        of_inputs, directions = given <= made, min(given, made)
        most = max(1, BLOCK_BYTES // (4 * rows // together * max(given, made) * (end - begin)))
        memory = [each[begin:end, :rows] for each in self._memories]
        batch = self._batch(begin, end)
        found = self._empty(begin, end)
        unseen = 0 if self.carries else together * self.state  # directions of state
        for first in range(unseen, directions, most):
            at = np.arange(first, first + min(most, directions)) % directions  # one program for all
            along = np.eye(directions, dtype="float32")[at]
            slopes = self._slopes[of_inputs](self._values, along, memory, *batch)
            slopes = np.asarray(slopes, "float64")[:, : directions - first]
            self._check_finite(slopes, begin, end)
            slopes = slopes.swapaxes(1, 2)  # (batches, lanes, directions, numbers)
            if of_inputs:
                self._file(found, slopes.swapaxes(2, 3), 0, first, together)
            else:
                self._file(found, slopes, first, 0, together)
        return found._replace(own=np.sqrt(found.own))

    def _sizes(self, begin: int) -> tuple[int, int, int, int]:
        """Of a batch: its rows, those of a lane, numbers a lane is given, and those it makes."""
        rows = self._rows if begin < self._full else self._last
        together = rows if self.lanes == 1 else 1
        sides = [self.state + len(each.part) for each in (self.entering, self.leaving)]
        return rows, together, together * sides[0], together * sides[1]

    def _empty(self, begin: int, end: int) -> Derivatives:
        """Room for the derivatives of some batches, zero where a last one has no rows."""
        many = end - begin, self.lanes
        state = self.together * self.state
        inputs, outputs = (self.together * len(each.part) for each in (self.entering, self.leaving))
        parts = [self.together * each.parts for each in (self.leaving, self.entering)]
        shapes = [(state, state), (state, inputs), (outputs, state), parts]
        return Derivatives(begin, end, *[np.zeros((*many, *shape)) for shape in shapes])

    def _file(self, found: Derivatives, slopes, out: int, into: int, together: int) -> None:
        """Put some slopes where they belong.

        Args:
            found: where.
            slopes: (batches, lanes, numbers made, numbers given), consecutive ones.
            out, into: which is the first of these.
            together: samples in a lane.
        """
        state, (_, lanes, rows, columns) = together * self.state, slopes.shape
        high, left = (
            int(np.clip(state - each, 0, n)) for each, n in ((out, rows), (into, columns))
        )
        below, beside = max(out - state, 0), max(into - state, 0)
        upper, lower = slice(out, out + high), slice(below, below + rows - high)
        before, after = slice(into, into + left), slice(beside, beside + columns - left)
        found.carried[:, :lanes, upper, before] = slopes[:, :, :high, :left]
        found.written[:, :lanes, upper, after] = slopes[:, :, :high, left:]
        found.read[:, :lanes, lower, before] = slopes[:, :, high:, :left]
        squares = np.square(slopes[:, :, high:, left:])
        squares = self.leaving.times(self.together).summed(squares, 2, below)
        found.own[:, :lanes] += self.entering.times(self.together).summed(squares, 3, beside)

    def _check_finite(self, slopes: np.ndarray, begin: int, end: int) -> None:
        if not np.isfinite(slopes).all():
            raise InputError(
                f"The derivative of what the model answers to samples {begin * self._rows} to "
                f"{min(end * self._rows, self._samples.count) - 1} is not finite. Look at what "
                "predict gives for them, and at the model's weights."
            )

    # What a batch is.

    def _counted(self, memory: list, by_step: bool) -> tuple[InfluenceAxes, InfluenceAxes]:
        x, _ = self._batch(0, 1)
        x = jax.tree.map(lambda each: each[0], x)
        rows = len(jax.tree.leaves(x)[0])
        outputs, *_ = jax.eval_shape(self._step(rows), self._values, memory, (x,), None)
        came, made = ([each.shape[1:] for each in jax.tree.leaves(side)] for side in (x, outputs))
        return influence_axes(came, made, self._output, by_step)

    def _step(self, rows: int) -> Callable:
        """``step(values, memory, data, starts)`` → outputs, changed values, memory: predict's."""
        return self._program.once(LoopPlan(rows, rows, rows, 1, "never", 1, 1), compiled=False)

    def _batch(self, begin: int, end: int) -> tuple[Any, Any]:
        """Inputs and flags of batches of one size, (batches, rows, …)."""
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

    # The way through.

    def _walked(self, memory: list) -> tuple[list, bool]:
        """The memory before each batch, (batches, rows, …), and whether rows ever mix."""
        walk, found, mixes = jax.jit(self._walk), [], False
        own = self._values.non_trainable
        for begin, end in self._spans(BLOCK_BATCHES):
            batches = self._batch(begin, end)
            if begin == self._full:  # those that a last batch lacks are not looked at again
                memory = [each[: self._last] for each in memory]
            (memory, own), before, mixed = walk(self._values, memory, own, *batches)
            mixes |= bool(mixed)
            found.append([pad_with_zeros(np.asarray(each), self._rows, axis=1) for each in before])
        self._check_unchanged(own)
        return [np.concatenate(each) for each in zip(*found, strict=True)], mixes

    def _walk(self, values, memory, own, x, starts):
        """Through some batches: what is carried then, what was before each, whether any mixes."""

        def body(carry, batch):
            memory, own = carry
            now, (x, starts) = values._replace(non_trainable=own), batch
            step = self._step(len(jax.tree.leaves(x)[0]))
            _, changed, after = step(now, memory, (x,), starts)
            mixed = self._mixes(now, memory, x, starts)
            return (after, changed.non_trainable), (memory, mixed)

        carry, (before, mixed) = jax.lax.scan(body, (memory, own), (x, starts))
        return carry, before, mixed.any()

    def _mixes(self, values, memory, x, starts):
        """Whether any row depends on another: each two are told apart by a bit of their number."""
        function, at = self._opened(values, memory, x, starts, 1)
        rows = np.arange(len(at))
        bits = [rows >> bit & 1 == 1 for bit in range((len(rows) - 1).bit_length())]
        if not bits:
            return jnp.array(False)
        groups = np.array([*bits, *[~each for each in bits]])
        drawn = np.random.default_rng(0).normal(size=at.shape).astype("float32")

        def reach_others(group):
            moved = jax.jvp(function, (at,), (jnp.where(group[:, None], drawn, 0),))[1]
            return jnp.any(jnp.where(group[:, None], 0, moved) != 0)

        return jax.vmap(reach_others)(groups).any()

    def _check_unchanged(self, own: list) -> None:
        for variable, before, after in zip(
            self._variables.non_trainable, self._values.non_trainable, own, strict=True
        ):
            # A random number generator's seed moves on, too; nothing flows through whole numbers.
            if _moves(before) and not np.array_equal(np.asarray(before), np.asarray(after)):
                raise UnsupportedError(
                    f"predict changes the variable {variable.path!r}, which is no recurrent "
                    "state: what one sample leaves there for the next is not followed. Keep it in "
                    "the state of a cell, in legato.layers.RNN(cell, stateful=True)."
                )

    # Its slopes.

    def _opened(self, values, memory, x, starts, together: int) -> tuple[Callable, jax.Array]:
        """A batch as a function of (lanes, numbers), state first, and where it is taken."""
        leaves, structure = jax.tree.flatten((memory, x))
        moving = [at for at, each in enumerate(leaves) if _moves(each)]
        rows = len(jax.tree.leaves(x)[0])
        lanes, state = rows // together, self.state

        def joined(carried: list, others: list):
            sides = [_flat(each, rows) for each in (carried, others)]
            return jnp.concatenate([each.reshape(lanes, -1) for each in sides], axis=1)

        def function(flat):
            sides = jnp.split(flat, [together * state], axis=1)
            flat = jnp.concatenate([each.reshape(rows, -1) for each in sides], axis=1)
            given, begin = list(leaves), 0
            for at in moving:
                size = leaves[at].size // rows
                part = flat[:, begin : begin + size].reshape(leaves[at].shape)
                given[at], begin = part.astype(leaves[at].dtype), begin + size
            held, inputs = jax.tree.unflatten(structure, given)
            outputs, _, after = self._step(rows)(values, held, (inputs,), starts)
            outputs = jax.tree.leaves(outputs)
            if self._output is not None:
                outputs = [each[..., self._output] for each in outputs]
            return joined(_moving(after), outputs)

        return function, joined(_moving(memory), _moving(jax.tree.leaves(x)))

    def _slope(self, of_inputs: bool, values, directions, memory, x, starts):
        """Along each direction, the same in every lane: (directions, lanes, numbers)."""
        together = len(jax.tree.leaves(x)[0]) if self.lanes == 1 else 1
        function, at = self._opened(values, memory, x, starts, together)

        def forward(direction):
            return jax.jvp(function, (at,), (jnp.broadcast_to(direction, at.shape),))[1]

        if of_inputs:
            return jax.vmap(forward)(directions)
        made, pull = jax.vjp(function, at)
        return jax.vmap(lambda each: pull(jnp.broadcast_to(each, made.shape))[0])(directions)


def _moves(array) -> bool:
    return jnp.issubdtype(array.dtype, jnp.floating)


def _moving(arrays: list) -> list:
    """Those that a derivative can be taken by."""
    return [each for each in arrays if _moves(each)]


def _flat(arrays: list, rows: int) -> jax.Array:
    """Numbers of each row side by side, (rows, numbers)."""
    flat = [each.reshape(rows, -1).astype("float32") for each in arrays]
    return jnp.concatenate([jnp.zeros((rows, 0), "float32"), *flat], axis=1)
