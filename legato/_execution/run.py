"""A run of ``train``, ``test`` or ``predict`` over the blocks of some data.

The values of the model's variables and of its recurrent state stay here between two calls of the
program; they are written back to the model for callbacks and at the end.
"""

from collections.abc import Callable
from itertools import chain
from typing import Any

import jax
import numpy as np

from legato._execution.agreement import Agreement, described
from legato._execution.batches import Block, WholeData
from legato._execution.compiled_loop import CompiledLoop, LoopInputs, LoopValues, Verb
from legato._execution.program_cache import InlineValidation, ProgramCache
from legato._execution.repeated_prediction import RepeatedPrediction
from legato._execution.samples import SampleArrays
from legato._platform import keras_variables
from legato._platform.large_arrays import for_jax
from legato._platform.processes import process_group
from legato._platform.row_devices import (
    CALLS,
    mesh_of,
    on_each,
    on_first,
    own_devices,
    own_part,
    rows_on_each,
    spans_processes,
)
from legato._platform.single_function import SingleFunctionProgram
from legato._recurrent.model_state import ModelState
from legato._recurrent.reset_rules import Reset, replays_epochs


class Run:
    """A run of one verb, with the values that it has reached.

    Args:
        model_state: the state of the model.
        verb: which of Keras's steps is run.
        reset: when state is reset; see ``reset_rules``.
        memory: a function from the number of rows to the values of the memory variables. Default:
            the model's.
        program: the compiled loop. Default: the verb's own.
        devices: how many devices share the rows of a batch. Default: those of the
            ``keras.distribution.DataParallel`` that is set, if the rows can be shared.

    Attributes:
        model_state, verb, devices: as given.
        spans_processes: whether the rows are shared with other processes, who make the same calls.
        agreement: with these.
        validation: a validation that is part of the training program; or None. It is set before the
            first block.
        memory: the values of the memory variables; None until the first block.
        rows: rows of the memory; 0 until then.
        first_memory: the memory that the run began with, for ``reset="epoch"``; else empty.
    """

    def __init__(
        self,
        model_state: ModelState,
        verb: Verb,
        reset: Reset = "never",
        memory: Callable[[int], list] | None = None,
        program: CompiledLoop | None = None,
        devices: int | None = None,
    ):
        self.model_state = model_state
        self.devices, mesh = devices, mesh_of(devices)
        self._mesh = own_devices(mesh) if verb == "predict" else mesh
        self.spans_processes = spans_processes(self._mesh)
        self.agreement = Agreement(process_group() if self.spans_processes else None, verb)
        self.verb: Verb = verb
        self._reset: Reset = reset
        self._memory_of = memory or model_state.memory_values
        self._program = program
        self.validation: InlineValidation | None = None
        self.memory: Any = None
        self.first_memory: list = []
        self.rows = 0
        self._prepared: SampleArrays | None = None
        self._agreed: SampleArrays | None = None
        self._data: Any = None  # of those samples
        self._starts: Any = None
        self._values: Any = None
        self._changed: LoopValues | None = None  # values that are not written back yet

    def prepare(self, block: Block) -> None:
        """Prepare the memory for a block's rows and the program for its shapes.

        Raises:
            StateError: another number of rows is remembered.
        """
        if self._prepared is block.samples:
            return
        self.agree_on(block)
        if self.memory is None:
            if not self.spans_processes and self._mesh is not None and self.verb != "train":
                self._mesh = self._mesh if block.batch % self._mesh.size == 0 else None
            self.rows = block.batch
            self.memory = self._placed_rows(self._memory_of(self.rows))
            if replays_epochs(self._reset):
                self.first_memory = self._placed_rows(self.first_memory) or self.memory
        rows = self.model_state.check_batch(block.batch, self.rows)
        programs = ProgramCache(self.model_state)
        self._loop = self._program or programs.loop_of(self.verb)
        self._variables, self._run, self._every, self._key = programs.prepare(
            self.verb, block, rows, self._reset, self._loop, self.validation, self._mesh
        )
        self._prepared = block.samples
        samples = block.samples.packed, block.samples.starts
        samples = for_jax(samples) if self._mesh is None else samples
        self._data, self._starts = self._placed_rows(samples)
        if self._values is None:
            self._values = self._read()

    def call(self, block: Block, begin: int, end: int, due: np.ndarray | None = None):
        """Run steps ``begin`` to ``end`` of a block; returns what they emitted."""
        self.prepare(block)
        span = np.array((begin, end, block.first), np.int32)
        order = np.asarray(block.order) if self.spans_processes else block.order
        inputs = LoopInputs(self._data, self._starts, self.first_memory, order, span)
        if self.validation is not None:
            inputs = inputs._replace(due=due, validation=self._validation_inputs())
        emitted, changed, memory = self._call(self._values, self.memory, inputs)
        pairs = zip(changed, self._values, strict=True)
        values = LoopValues(*(new or old for new, old in pairs))
        self._values, self._changed, self.memory = values, changed, memory  # all, or none
        return emitted

    def call_once(self, block: Block):
        """Run all samples of a block as one batch; returns its outputs."""
        self.prepare(block)
        outputs, self._changed, self.memory = self._call(
            self._values, self.memory, self._data, self._starts
        )
        return outputs

    def _call(self, *arguments):
        if self._mesh is None:
            return self._run(*arguments)
        with CALLS, self.agreement.program():
            return jax.block_until_ready(self._run(*arguments))

    def agree_on(self, block: Block) -> None:
        """Compare a block, and before the first one the model, with those of other processes.

        Raises:
            InputError: a process has another.
            ProcessError: one has gone, or failed.
        """
        if not self.spans_processes or self._agreed is block.samples:
            return
        if self.memory is None:
            self.agreement.share_sums()
            variables = ProgramCache(self.model_state).variables(self.verb)
            self.agreement.check_model(self.model_state.model, [*chain(*variables)])
            validation = self.validation and described(self.validation.block.samples.shapes)
            self.agreement.check(reset=self._reset, the_validation_data=validation)
        self.agreement.check_block(block)
        self._agreed = block.samples

    def _placed_rows(self, tree):
        """Arrays (rows, …) of this process on its devices of the run."""
        return own_part(tree) if self._mesh is None else rows_on_each(tree, self._mesh)

    def _validation_inputs(self) -> LoopInputs:
        assert self.validation is not None
        inputs = self.validation.inputs
        if not self.spans_processes:
            return inputs
        data, starts = self._placed_rows((inputs.data, inputs.starts))
        return inputs._replace(data=data, starts=starts, order=np.asarray(inputs.order))

    def write_back(self, memory: bool = True) -> None:
        """Set the model's variables and, with ``memory``, its recurrent state to the run's values.

        A second call does nothing, so that changes that callbacks made in between stay. A
        prediction sets only the variables that it changes: others may be trained meanwhile.

        Raises:
            UnsupportedError: a prediction changes variables, and ``fit`` runs in another thread.
        """
        if self._changed is None:
            return
        reached = self._changed, self.memory
        if self._mesh is not None:
            reached = on_first(reached, self._mesh)
        changed, states = reached
        pairs = zip(self._variables, changed, strict=True)
        if self.verb == "predict":
            pairs = self._prediction_updates(changed)
        with self.model_state.lock.values:
            for variables, values in pairs:
                if values:  # they changed
                    keras_variables.set_values(variables, values)
            if memory:
                self.model_state.set_memory_values(states)
        self._changed = None

    def _prediction_updates(self, changed: LoopValues) -> list[tuple[list, list]]:
        """The variables that the prediction changes, if any, and their values."""
        positions = self._loop.updates.positions
        if not positions:
            return []
        self.model_state.lock.refuse_beside_fit(self.verb)
        variables = [self._variables.non_trainable[at] for at in positions]
        return [(variables, [changed.non_trainable[at] for at in positions])]

    def read_back(self, memory: bool = True) -> None:
        """Read the model's variables and recurrent state, which callbacks may have changed."""
        if self.memory is None:
            return
        self._values = self._read()
        if memory:
            self.memory = self._placed_rows(self.model_state.memory_values(self.rows))

    def finalize(self, optimizer) -> None:
        """Let the optimizer replace the weights by averages, if it keeps any."""
        if self.memory is not None:
            with self.model_state.lock.values:
                optimizer.finalize_variable_values(self._variables.trainable)

    @property
    def variables(self) -> list:
        """All variables whose values the run has, those of the recurrent state at the end."""
        memories = [memory.variables for memory in self.model_state.memories]
        return [each for part in (*self._variables, *memories) for each in part]

    @property
    def constants(self) -> list:
        """The optimizer's variables that a training step leaves as they are: a learning rate."""
        positions = self._loop.updates.constants
        return [self._variables.optimizer[at] for at in positions]

    def can_run_ahead(self, unit: int) -> bool:
        """Whether a call gives the logs after every ``unit`` steps, and steps may be run again.

        They may if they have the same results each time, and no effects but these.
        """
        if self._prepared is None or unit % self._every:
            return False
        return isinstance(self._run, SingleFunctionProgram) and self._run.is_one_function

    @property
    def progress(self) -> tuple:
        """The values that the run has reached; set, it goes on from there."""
        return self._values, self._changed, self.memory

    @progress.setter
    def progress(self, reached: tuple) -> None:
        self._values, self._changed, self.memory = reached

    def slot(self, begin: int, step: int) -> int:
        """The slot of the output of a step, in a call that began with step ``begin``."""
        return step // self._every - begin // self._every

    def repeated(self, source: WholeData) -> RepeatedPrediction:
        """A function that predicts other samples of the shape of those that were just predicted."""
        return RepeatedPrediction(self.model_state, source, self._loop, self._key)

    def _read(self) -> LoopValues:
        with self.model_state.lock.values:
            values = LoopValues(*map(keras_variables.values_of, self._variables))
        return own_part(values) if self._mesh is None else on_each(values, self._mesh)


def fetch(tree):
    """Arrays on the host; ``jax.device_get`` does the same in three times the time.

    Every process has logs as a whole, and of predictions those of its rows.
    """
    if type(tree) is dict and not any(isinstance(each, dict) for each in tree.values()):
        return {name: np.asarray(each) for name, each in tree.items()}  # logs: faster again
    return jax.tree.map(np.asarray, tree)


def logs_of(emitted, slot: int) -> dict:
    """A slot's logs as Python floats, by name in Keras's order; nested dictionaries are joined.

    Args:
        emitted: arrays on the host, (slots, …), by name; or the loss alone.
        slot: the slot.
    """
    if not isinstance(emitted, dict):
        emitted = {"loss": emitted}
    logs = {}
    for name, value in sorted(emitted.items()):
        if isinstance(value, dict):  # of several metrics together, as ``compile`` makes them
            logs |= logs_of(value, slot)
        else:
            one = value.size == len(value) and value.dtype.kind != "c"
            logs[name] = float(value.item(slot)) if one else value[slot]
    return logs
