"""The programs of a model: the pure step of each verb, compiled for the shapes that come.

The step is Keras's own ``train_step``, ``test_step`` or ``predict_step``, or the user's. Programs
are kept where Keras keeps its compiled functions, so that ``compile`` drops both.
"""

from collections.abc import Callable
from contextlib import contextmanager
from typing import NamedTuple

import jax
import numpy as np

from legato._errors import UnsupportedError
from legato._execution.batches import Block
from legato._execution.compiled_loop import (
    CompiledLoop,
    LoopInputs,
    LoopPlan,
    LoopValues,
    Verb,
)
from legato._platform import keras_private
from legato._recurrent.model_state import ModelState
from legato._recurrent.reset_rules import Reset

_CHANGED: dict[Verb, tuple[str, ...]] = {
    "train": LoopValues._fields,
    "test": ("non_trainable", "metrics"),
    "predict": ("non_trainable",),
}


class Ready(NamedTuple):
    """A program for the shapes of some samples.

    Attributes:
        variables: the variables whose values it takes. They are found once: as Keras documents,
            which of them are trained is settled by ``compile``, which drops all programs.
        run: the compiled loop, or the compiled single batch where outputs of one are wanted; plain
            Python where ``run_eagerly`` or ``jit_compile=False`` ask for it.
    """

    variables: LoopValues
    run: Callable


class Check(NamedTuple):
    """A validation that is a part of the training's program.

    Attributes:
        piece: the validation data.
        fresh: whether it starts from the initial state, or goes on from the epoch's end.
    """

    piece: Block
    fresh: bool

    @property
    def feed(self) -> LoopInputs:
        """What it runs over: all of the piece."""
        samples, span = self.piece.samples, np.array((0, self.piece.end, 0), np.int32)
        return LoopInputs(samples.packed, samples.starts, [], self.piece.order, span)


class ProgramCache:
    """What runs the verbs of a model.

    Args:
        engine: the model's engine.
    """

    def __init__(self, engine: ModelState):
        self._engine, self._model = engine, engine.model

    def variables(self, verb: Verb) -> LoopValues:
        """The variables a verb uses, without the memory's."""
        model = self._model
        non_trainable = model.non_trainable_variables
        remembered = sum(len(each.variables) for each in self._engine.memories)
        return LoopValues(
            model.trainable_variables,
            non_trainable[: len(non_trainable) - remembered],
            model.optimizer.variables if verb == "train" else [],
            [] if verb == "predict" else model.metrics_variables,
        )

    def of(self, verb: Verb) -> CompiledLoop:
        """The compiled loop of a verb; ``compile`` drops it, as it drops Keras's own functions."""
        name = f"{verb}_function"
        if not isinstance(getattr(self._model, name), CompiledLoop):
            step = {"train": self._train, "test": self._test, "predict": self._predict}[verb]
            program = CompiledLoop(step, self._engine.memories, _CHANGED[verb])
            setattr(self._model, name, program)
        return getattr(self._model, name)

    def ready(
        self,
        verb: Verb,
        piece: Block,
        rows: int,
        reset: Reset,
        program: CompiledLoop | None = None,
        check: Check | None = None,
    ) -> Ready:
        """What runs a piece; made when its shapes are first met."""
        program = program or self.of(verb)
        checked = check and (check.fresh, *check.piece[2:], check.piece.samples.shapes)
        key = (rows, reset, *piece[4:], len(piece.order), piece.samples.shapes, checked)
        if key not in program.ready:
            variables = self.variables(verb)
            if key not in program.runs:
                plan = _plan(verb, piece, rows, reset)
                program.runs[key] = self._prepare(program, verb, plan, variables, check)
            program.ready[key] = Ready(variables, program.runs[key])
        return program.ready[key]

    def share(self, other: "ProgramCache") -> None:
        """Run every verb by what another model compiles, and it by what this one does.

        The models must be made the same way, so that they differ in nothing but their variables'
        values: what is compiled holds no variables.
        """
        verbs: tuple[Verb, ...] = ("train", "test", "predict")
        for verb in verbs:
            self.of(verb).runs = other.of(verb).runs

    def _prepare(
        self,
        program: CompiledLoop,
        verb: Verb,
        plan: LoopPlan,
        variables: LoopValues,
        check: Check | None,
    ) -> Callable:
        eagerly = self.runs_eagerly
        if verb == "predict" and plan.steps == 1:
            return program.once(plan, compiled=not eagerly)
        values = LoopValues(*[[each.value for each in part] for part in variables])
        empty = self._empty_metrics(variables.metrics)
        if eagerly:
            return program.step_by_step(plan, empty)
        validate = check and self._validation(check, empty)
        return program.compiled(plan, values, empty, validate)

    def _validation(self, check: Check, empty_metrics: list) -> Callable:
        """A validation to be traced inside the training's program."""
        program, piece = self.of("test"), check.piece
        plan = _plan("test", piece, piece.batch, "never")

        def validate(values: LoopValues, memory: list, feed: LoopInputs):
            if check.fresh:
                memory = self._engine.memory_values(piece.batch, fresh=True)
            values = values._replace(optimizer=[])
            logs, changed, _ = program.loop(plan, empty_metrics, values, memory, feed)
            return jax.tree.map(lambda each: each[0], logs), changed

        return validate

    def _empty_metrics(self, variables: list) -> list:
        """Values of the metrics' variables at an epoch's beginning; None for one that runs on.

        What a metric of the user's own does not reset stays what it was, so each is given another
        value first, to see which.
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

    def of_call(self, training: bool | None, on_losses: Callable[[], None]) -> CompiledLoop:
        """The compiled forward pass, as calling the model is; says if the call added losses."""
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

        return CompiledLoop(step, self._engine.memories, _CHANGED["predict"])

    def _train(self, values: LoopValues, batch):
        with self._metrics_outside():
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
        """Refuse metrics that layers update in their ``call``, which Keras's steps do not carry.

        As in Keras's trainer, metrics have no values but those a step is given.

        Raises:
            UnsupportedError: a layer updates one.
        """
        try:
            with keras_private.without_values(self._model.metrics_variables):
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


def _plan(verb: Verb, piece: Block, rows: int, reset: Reset) -> LoopPlan:
    every = 1 if verb == "predict" else piece.steps
    return LoopPlan(rows, piece.batch, piece.last, piece.steps, reset, every, piece.slots)


def _scalars(logs):
    """Logs as arrays, whatever a custom step returned."""
    return jax.tree.map(jax.numpy.asarray, logs)
