"""The compiled programs of a model, by verb and by the shapes of the data.

A program loops over Keras's own pure ``train_step``, ``test_step`` or ``predict_step``, or over the
user's. It is kept in the model's attribute of Keras's compiled function, so that ``compile`` drops
both. Of each verb, ``RecentPrograms`` keeps those that were used last.
"""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from legato._errors import UnsupportedError
from legato._execution.batches import Block
from legato._execution.compiled_loop import (
    CompiledLoop,
    LoopInputs,
    LoopPlan,
    LoopValues,
    Verb,
)
from legato._platform import keras_private, keras_variables
from legato._platform.jax_arrays import copy_to_jax
from legato._platform.locks import TRACING
from legato._platform.row_devices import own_part, process_count
from legato._recurrent.model_state import ModelState
from legato._recurrent.recomputation import recomputing
from legato._recurrent.reset_rules import Reset

STEP_LOGS = 2**15  # most steps whose logs a program keeps: each call fills the room with zeros

_CHANGED: dict[Verb, tuple[str, ...]] = {
    "train": LoopValues._fields,
    "test": ("non_trainable", "metrics"),
    "predict": ("non_trainable",),
}


class PreparedProgram(NamedTuple):
    """A program for the shapes of some samples.

    Attributes:
        variables: the variables whose values it takes. They are found once: as Keras documents,
            ``compile`` settles which of them are trained, and it drops all programs.
        run: the compiled loop; for a prediction of one batch the compiled batch; plain Python if
            ``run_eagerly=True`` or ``jit_compile=False``.
        every: steps that share a slot for their output.
        key: of the program among those of its loop.
    """

    variables: LoopValues
    run: Callable
    every: int
    key: tuple


class InlineValidation(NamedTuple):
    """A validation that is part of the training program.

    Attributes:
        block: the validation data.
        fresh: whether it starts from the initial state, or goes on from the epoch's end.
    """

    block: Block
    fresh: bool

    @property
    def inputs(self) -> LoopInputs:
        """The inputs of a loop over the whole block."""
        samples, span = self.block.samples, np.array((0, self.block.end, 0), np.int32)
        return LoopInputs(samples.packed, samples.starts, [], self.block.order, span)


class ProgramCache:
    """The programs of a model, each compiled at the first call with its shapes.

    Args:
        model_state: the state of the model.
    """

    def __init__(self, model_state: ModelState):
        self._model_state, self._model = model_state, model_state.model

    def variables(self, verb: Verb) -> LoopValues:
        """The variables that a verb uses, without those of the recurrent state."""
        model = self._model
        non_trainable = model.non_trainable_variables
        remembered = sum(len(each.variables) for each in self._model_state.memories)
        found = LoopValues(
            model.trainable_variables,
            non_trainable[: len(non_trainable) - remembered],
            model.optimizer.variables if verb == "train" else [],
            [] if verb == "predict" else model.metrics_variables,
        )
        if jax.process_count() > 1:
            for part in found:
                keras_variables.keep_in_process(part, own_part)
        return found

    def loop_of(self, verb: Verb) -> CompiledLoop:
        """The compiled loop of a verb; the model's ``compile`` drops it."""
        name = f"{verb}_function"
        known = getattr(self._model, name)
        if isinstance(known, CompiledLoop):
            return known
        with TRACING:
            known = getattr(self._model, name)
            if not isinstance(known, CompiledLoop):
                step = {"train": self._train, "test": self._test, "predict": self._predict}[verb]
                known = CompiledLoop(step, self._model_state.memories, _CHANGED[verb])
                setattr(self._model, name, known)
            return known

    def prepare(
        self,
        verb: Verb,
        block: Block,
        rows: int,
        reset: Reset,
        program: CompiledLoop | None = None,
        validation: InlineValidation | None = None,
        mesh: Mesh | None = None,
    ) -> PreparedProgram:
        """The program for a block, compiled if its shapes are new.

        Args:
            verb: which of Keras's steps is run.
            block: the data; only shapes are read.
            rows: rows of state.
            reset: when state is reset.
            program: the loop. Default: that of the verb.
            validation: a validation that is part of the program.
            mesh: the devices that share the rows; None for a single one.
        """
        program = program or self.loop_of(verb)
        validation_key = validation and (
            validation.fresh,
            *validation.block[2:],
            validation.block.samples.shapes,
        )
        key = (
            *(rows, reset, *block[4:], len(block.order)),
            *(block.samples.shapes, validation_key, mesh),
        )
        prepared, run = program.prepared.get(key), program.runs.get(key)
        if prepared is None:
            with TRACING:
                variables, run = self.variables(verb), run or program.runs.get(key)
                plan = self._plan(verb, block, rows, reset, validation is not None)
                plan = replace(plan, mesh=mesh)
                if run is None:
                    run = self._compile(program, verb, plan, variables, validation)
                    program.runs[key] = run
                prepared = program.prepared[key] = PreparedProgram(variables, run, plan.every, key)
        return prepared

    def share(self, other: "ProgramCache") -> None:
        """Share all compiled programs with another model.

        The models must be built alike, so that they differ only in the values of their variables:
        a compiled program has no variables inside.
        """
        verbs: tuple[Verb, ...] = ("train", "test", "predict")
        for verb in verbs:
            mine, its = self.loop_of(verb), other.loop_of(verb)
            mine.runs, mine.updates = its.runs, its.updates

    def _plan(
        self, verb: Verb, block: Block, rows: int, reset: Reset, validated: bool = False
    ) -> LoopPlan:
        """The static arguments of the program for a block.

        The logs of every training step are kept, for callbacks with batch methods, if they are
        Keras's, which are numbers; those of a user's ``train_step`` may be large. A program with a
        validation in it is never run for such callbacks.
        """
        every, slots = 1 if verb == "predict" else block.steps, block.slots
        by_step = verb == "train" and not validated and slots * block.steps <= STEP_LOGS
        if by_step and keras_private.trains_as_keras(self._model):
            every, slots = 1, slots * block.steps
        return LoopPlan(
            rows, block.batch, block.last, block.steps, reset, every, slots, verb != "predict"
        )

    def _compile(
        self,
        program: CompiledLoop,
        verb: Verb,
        plan: LoopPlan,
        variables: LoopValues,
        validation: InlineValidation | None,
    ) -> Callable:
        eagerly = self.runs_eagerly
        if verb == "predict" and plan.steps == 1:
            run = program.single_batch(plan, compiled=not eagerly)
            return _with_copied_data(run) if eagerly else run
        values = LoopValues(*[[each.value for each in part] for part in variables])
        empty = self._empty_metrics(variables.metrics)
        if eagerly:
            return program.step_by_step(plan, empty)
        validate = None
        if validation is not None:
            validate = self._validation_step(validation, empty, plan.mesh)
        return program.compiled(plan, values, empty, validate)

    def _validation_step(
        self, validation: InlineValidation, empty_metrics: list, mesh: Mesh | None
    ) -> Callable:
        """A function that runs a validation, to be traced inside the training program."""
        program, block = self.loop_of("test"), validation.block
        plan = replace(self._plan("test", block, block.batch, "never"), mesh=mesh)

        def validate(values: LoopValues, memory: list, inputs: LoopInputs):
            if validation.fresh:
                rows = block.batch * process_count(mesh)
                memory = self._model_state.memory_values(rows, fresh=True)
            values = values._replace(optimizer=[])
            logs, changed, _ = program.loop(plan, empty_metrics, values, memory, inputs)
            return jax.tree.map(lambda each: each[0], logs), changed

        return validate

    def _empty_metrics(self, variables: list) -> list:
        """The values of the metrics' variables at the beginning of an epoch.

        A variable that the user's metric does not reset has None. Each variable is set to another
        value first, to find out which are reset.
        """
        before = [each.value for each in variables]
        marks = [np.full(each.shape, 17, each.dtype) for each in before]
        for variable, mark in zip(variables, marks, strict=True):
            variable.assign(mark)
        self._model.reset_metrics()
        after = [np.asarray(each.value) for each in variables]
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        return [
            None if np.array_equal(value, mark) else value
            for value, mark in zip(after, marks, strict=True)
        ]

    @property
    def runs_eagerly(self) -> bool:
        """Whether steps are run one by one, as ``run_eagerly`` and ``jit_compile=False`` ask."""
        model = self._model
        return model.compiled and (model.run_eagerly or not model.jit_compile)

    def call_loop(self, training: bool | None, on_losses: Callable[[], None]) -> CompiledLoop:
        """The compiled call of the model.

        Args:
            training: as in the model's call.
            on_losses: called while tracing, if layers add losses in the call.
        """
        kwargs = {} if training is None else {"training": training}

        def step(values: LoopValues, batch):
            keras_private.check_inputs(self._model, batch[0])
            outputs, non_trainable, losses = self._model.stateless_call(
                values.trainable, values.non_trainable, batch[0], return_losses=True, **kwargs
            )
            weights = self._model.trainable_weights
            if len(losses) > sum(each.regularizer is not None for each in weights):
                on_losses()
            return outputs, values._replace(non_trainable=non_trainable)

        return CompiledLoop(step, self._model_state.memories, _CHANGED["predict"])

    def _train(self, values: LoopValues, batch):
        with self._metrics_outside(), recomputing(self._model.remat):
            emitted, state = self._model.train_step(tuple(values), batch)
        return _scalars(emitted), LoopValues(*map(list, state))

    def _test(self, values: LoopValues, batch):
        trainable, non_trainable, _, metrics = values
        with self._metrics_outside():
            emitted, state = self._model.test_step((trainable, non_trainable, metrics), batch)
        trainable, non_trainable, metrics = map(list, state)
        return _scalars(emitted), LoopValues(trainable, non_trainable, [], metrics)

    @contextmanager
    def _metrics_outside(self):
        """A context that refuses metrics that layers update in ``call``.

        Keras's steps do not carry those. As in Keras's trainer, the metrics' variables have no
        values except those that a step is given.

        Raises:
            UnsupportedError: a layer updates one.
        """
        try:
            with keras_variables.without_values(self._model.metrics_variables):
                yield
        except TypeError as error:
            owners = [
                each for each in keras_private.sublayers(self._model) if each.metrics_variables
            ]
            if not owners or "NoneType" not in str(error):
                raise
            raise UnsupportedError(
                f"Layer {owners[0].name!r} updates a metric in its call, and Keras's training step "
                "on JAX carries no metric through the layers. Let the layer return the number as "
                "an output, or update the metric in the model's compute_metrics."
            ) from error

    def _predict(self, values: LoopValues, batch):
        state = (values.trainable, values.non_trainable)
        outputs, non_trainable = self._model.predict_step(state, batch)
        return outputs, values._replace(non_trainable=list(non_trainable))


def _with_copied_data(run: Callable) -> Callable:
    """A run of one eager batch on a copy of its data.

    A layer may keep what it is given, whose memory JAX may share with the user's array.
    """
    return lambda values, memory, data, starts: run(
        values, memory, jax.tree.map(copy_to_jax, data), starts
    )


def _scalars(logs):
    """The logs of a step as arrays, also if a custom step returned Python numbers."""
    return jax.tree.map(jax.numpy.asarray, logs)
