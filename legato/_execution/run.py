"""One verb over data that come in pieces: values out of the variables, and through the program.

Values and memory stay here between two calls; the model's variables get them when somebody looks.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from legato._execution.batches import Block
from legato._execution.compiled_loop import CompiledLoop, LoopInputs, LoopValues, Verb
from legato._execution.program_cache import Check, ProgramCache
from legato._execution.samples import SampleArrays
from legato._platform import keras_private
from legato._recurrent.model_state import ModelState
from legato._recurrent.reset_rules import Reset, replays_epochs


class Run:
    """One verb over data that come in pieces, with the values it has reached.

    Args:
        engine: the model's engine.
        verb: which of Keras's steps is run.
        reset: when the memory goes back to what it was at the beginning of the run.
        memory: gives the memory variables' values for a number of rows. Default: what the model
            remembers.
        program: another program than the verb's own.
        check: a validation that is a part of the program.

    Attributes:
        engine: as given.
        memory: the memory's values as reached; None until it is known how many rows there are.
        rows: rows of the memory; 0 until then.
        first_memory: what every epoch begins with, for ``reset="epoch"``; else empty.
    """

    def __init__(
        self,
        engine: ModelState,
        verb: Verb,
        reset: Reset = "never",
        memory: Callable[[int], list] | None = None,
        program: CompiledLoop | None = None,
        check: Check | None = None,
    ):
        self.engine = engine
        self._verb: Verb = verb
        self._reset: Reset = reset
        self._memory_of = memory or engine.memory_values
        self._program, self._check = program, check
        self.memory: Any = None
        self.first_memory: list = []
        self.rows = 0
        self._prepared: SampleArrays | None = None
        self._values: Any = None
        self._changed: LoopValues | None = None  # what is not held yet

    def prepare(self, piece: Block) -> None:
        """Get ready for a piece: the memory for its rows, the program for its shapes.

        Raises:
            StateError: another number of rows is remembered.
        """
        if self._prepared is piece.samples:
            return
        if self.memory is None:
            self.rows = piece.batch
            self.memory = self._memory_of(self.rows)
            if replays_epochs(self._reset):
                self.first_memory = self.first_memory or self.memory
        rows = self.engine.check_batch(piece.batch, self.rows)
        self._variables, self._run = ProgramCache(self.engine).ready(
            self._verb, piece, rows, self._reset, self._program, self._check
        )
        self._prepared = piece.samples
        if self._values is None:
            self._values = self._read()

    def call(self, piece: Block, begin: int, end: int, due: np.ndarray | None = None):
        """Run steps ``begin`` to ``end`` of a piece; returns what they emitted."""
        self.prepare(piece)
        span = np.array((begin, end, piece.first), np.int32)
        samples = piece.samples
        feed = LoopInputs(samples.packed, samples.starts, self.first_memory, piece.order, span)
        if self._check is not None:
            feed = feed._replace(due=due, validation=self._check.feed)
        emitted, changed, memory = self._run(self._values, self.memory, feed)
        pairs = zip(changed, self._values, strict=True)
        values = LoopValues(*(new or old for new, old in pairs))
        self._values, self._changed, self.memory = values, changed, memory  # all, or none
        return emitted

    def call_once(self, piece: Block):
        """Run all samples of a piece as one batch; returns its outputs."""
        self.prepare(piece)
        samples = piece.samples
        outputs, self._changed, self.memory = self._run(
            self._values, self.memory, samples.packed, samples.starts
        )
        return outputs

    def hold(self, memory: bool = True) -> None:
        """Put the values reached into the model's variables, and the memory into its layers.

        Once: what callbacks put there afterwards stays.
        """
        if self._changed is None:
            return
        for variables, values in zip(self._variables, self._changed, strict=True):
            if values:  # they changed
                keras_private.set_values(variables, values)
        if memory:
            self.engine.set_memory_values(self.memory)
        self._changed = None

    def read_back(self, memory: bool = True) -> None:
        """Take up what callbacks did to the model's variables and memory."""
        if self.memory is None:
            return
        self._values = self._read()
        if memory:
            self.memory = self.engine.memory_values(self.rows)

    def finalize(self, optimizer) -> None:
        """Let the optimizer put averages in the place of weights, if it keeps any."""
        if self.memory is not None:
            optimizer.finalize_variable_values(self._variables.trainable)

    def again(self, x: np.ndarray) -> "Again":
        """What predicts another batch like the one that was just run."""
        return Again(self.engine, self.rows, self._variables, self._run, x)

    def _read(self) -> LoopValues:
        return LoopValues(*map(keras_private.values_of, self._variables))


class Again:
    """A prediction of one whole batch, prepared: all that `predict` of the same shape has to do.

    Making the objects of a ``Run`` costs more than a small network's answer.

    Args:
        engine: the model's engine.
        rows: samples in the batch.
        variables, run: what is ready for it.
        x: the batch, as read.
    """

    def __init__(
        self, engine: ModelState, rows: int, variables: LoopValues, run: Callable, x: np.ndarray
    ):
        self._engine, self._rows, self._dtype = engine, rows, x.dtype
        self._variables, self._run = variables, run
        self._memories = engine.memories
        self._memory = [each for memory in self._memories for each in memory.variables]

    def __call__(self, x: np.ndarray, advance: bool):
        """The outputs of a batch of that shape; None if it wants a closer look."""
        if any(memory.rows != self._rows for memory in self._memories):
            return None
        x = x.astype(self._dtype, copy=False)
        if not np.isfinite(x).all():
            return None
        values = LoopValues(*map(keras_private.values_of, self._variables))
        memory = keras_private.values_of(self._memory)
        outputs, changed, memory = self._run(values, memory, (x,), None)
        keras_private.set_values(self._variables.non_trainable, changed[1])
        if advance and memory:
            self._engine.set_memory_values(memory)
        return np.array(outputs)


def fetch(tree):
    """Arrays on the host; ``jax.device_get`` does the same in three times the time."""
    return jax.tree.map(np.asarray, tree)


def logs_of(emitted, slot: int) -> dict:
    """A step's logs as Python numbers, in Keras's order; those that have names of their own too."""
    if not isinstance(emitted, dict):
        emitted = {"loss": emitted}
    logs = {}
    for name, value in sorted(emitted.items()):
        if isinstance(value, dict):  # of several metrics together, as ``compile`` makes them
            logs |= logs_of(value, slot)
        else:
            logs[name] = value[slot].item() if value[slot].ndim == 0 else value[slot]
    return logs
