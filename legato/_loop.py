"""Runs: the steps of a verb, cut into calls of its program as coarse as the watchers allow.

Host work only: data come in pieces (``_feeding``), callbacks are called here, logs are collected
here. What is told to whom, and when, is what Keras does.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import keras
import numpy as np

from legato import _keras
from legato._data import Samples
from legato._engine import Check, Engine
from legato._errors import StateError
from legato._feeding import OUTPUT_SLOTS, Feeding, Held, Piece
from legato._memory import StateVariable, other_rows
from legato._program import Feed, Program, Reset, Values, Verb
from legato._resume import BackupAndRestore, random_state
from legato._watch import (
    Pace,
    Progress,
    told_by,
    watches_batches,
    watches_epochs,
    watches_tests,
)


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
        engine: Engine,
        verb: Verb,
        reset: Reset = "never",
        memory: Callable[[int], list] | None = None,
        program: Program | None = None,
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
        self._prepared: Samples | None = None
        self._values: Any = None
        self._changed: Values | None = None  # what is not held yet

    def prepare(self, piece: Piece) -> None:
        """Get ready for a piece: the memory for its rows, the program for its shapes.

        Raises:
            StateError: another number of rows is remembered.
        """
        if self._prepared is piece.samples:
            return
        if self.memory is None:
            self.rows = piece.batch
            self.memory = self._memory_of(self.rows)
            if self._reset == "epoch":
                self.first_memory = self.first_memory or self.memory
        rows = self.engine.check_batch(piece.batch, self.rows)
        self._variables, self._run = self.engine.ready(
            self._verb, piece, rows, self._reset, self._program, self._check
        )
        self._prepared = piece.samples
        if self._values is None:
            self._values = self._read()

    def call(self, piece: Piece, begin: int, end: int, due: np.ndarray | None = None):
        """Run steps ``begin`` to ``end`` of a piece; returns what they emitted."""
        self.prepare(piece)
        span = np.array((begin, end, piece.first), np.int32)
        samples = piece.samples
        feed = Feed(samples.packed, samples.starts, self.first_memory, piece.order, span)
        if self._check is not None:
            feed = feed._replace(due=due, validation=self._check.feed)
        emitted, changed, self.memory = self._run(self._values, self.memory, feed)
        pairs = zip(changed, self._values, strict=True)
        self._values = Values(*(new or old for new, old in pairs))
        self._changed = changed
        return emitted

    def call_once(self, piece: Piece):
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
            for variable, value in zip(variables, values, strict=False):  # unchanged: no values
                _keras.set_value(variable, value)
        if memory:
            self.engine.hold_memory(self.memory)
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

    def _read(self) -> Values:
        return Values(*[list(map(_keras.value_of, part)) for part in self._variables])


class Again:
    """A prediction of one whole batch, prepared: all that `predict` of the same shape has to do.

    Making the objects of a ``Run`` costs more than a small network's answer.

    Args:
        engine: the model's engine.
        rows: samples in the batch.
        variables, run: what is ready for it.
        x: the batch, as read.
    """

    def __init__(self, engine: Engine, rows: int, variables: Values, run: Callable, x: np.ndarray):
        self._engine, self.rows, self._dtype = engine, rows, x.dtype
        self._variables, self._run = variables, run
        self._memories = engine.memories
        self._memory = [each for memory in self._memories for each in memory.variables]

    def __call__(self, x: np.ndarray, advance: bool):
        """The outputs of a batch of that shape; None if it wants a closer look."""
        if any(memory.rows != self.rows for memory in self._memories):
            return None
        x = x.astype(self._dtype, copy=False)
        if not np.isfinite(x).all():
            return None
        values = Values(*[list(map(_keras.value_of, part)) for part in self._variables])
        memory = list(map(_keras.value_of, self._memory))
        outputs, changed, memory = self._run(values, memory, (x,), None)
        for variable, value in zip(self._variables.non_trainable, changed[1], strict=True):
            _keras.set_value(variable, value)
        if advance and memory:
            self._engine.hold_memory(memory)
        return np.array(outputs)


class Execution:
    """The batches between two calls of the callbacks that look at batches.

    ``steps_per_execution`` of them, however many calls of the program those take: batches of
    several shapes take several, and so do more than a program has room for.

    Args:
        run: whose values the callbacks may look at and change.
        verb: what they are told of.
        callbacks: who is told.
        memory: whether the model's memory is theirs to see, too.

    Attributes:
        size: batches; 0 if nobody looks at any.
    """

    def __init__(self, run: Run, verb: Verb, callbacks, memory: bool = True):
        self._run, self._verb, self._callbacks, self._memory = run, verb, callbacks, memory
        watched = watches_batches(callbacks, verb)
        self.size: int = run.engine.model.steps_per_execution if watched else 0
        self._first: int | None = None  # the step it began with; None between two of them

    def cut(self, begin: int, end: int) -> int:
        """Where a call of the program that begins at a step ends, ``end`` at the latest."""
        return min(end, begin - begin % self.size + self.size) if self.size else end

    def calls(self, piece: Piece, most: int) -> Iterator[tuple[int, int]]:
        """First step and step after the last of each call, ``most`` steps at most."""
        begin = piece.begin
        while begin < piece.end:
            end = self.cut(begin, min(begin + most, piece.end))
            yield begin, end
            begin = end

    def begin(self, step: int) -> None:
        """A call begins."""
        if self.size and self._first is None:
            self._first = step
            getattr(self._callbacks, f"on_{self._verb}_batch_begin")(step)
            self._run.read_back(self._memory)

    def is_over(self, step: int) -> bool:
        """Whether a call that ends before this step is its last, whatever comes."""
        return self._first is not None and step % self.size == 0

    def end(self, logs: dict) -> bool:
        """Tell of its end, if it has begun; returns whether it had."""
        if self._first is None:
            return False
        last, self._first = self._first + self.size - 1, None
        self._run.hold(self._memory)
        getattr(self._callbacks, f"on_{self._verb}_batch_end")(last, logs)
        return True


@dataclass
class Validation:
    """The evaluation after an epoch, which leaves the training's state alone.

    Attributes:
        engine: the model's engine.
        feeding: the validation data.
        fresh: whether it starts from the initial state, or goes on from the epoch's end.
        due: whether it is done after an epoch.
    """

    engine: Engine
    feeding: Feeding
    fresh: bool
    due: Callable[[int], bool]

    def check_rows(self, rows: int, training_rows: int) -> None:
        """Refuse validation data of other rows than the training's state that they go on from.

        Raises:
            StateError: naming both counts and the remedies.
        """
        if not self.fresh and self.engine.stateful_layers and rows != training_rows:
            raise StateError(other_rows(training_rows, rows))

    @property
    def check(self) -> Check | None:
        """It as a part of the training's program; None where its data come in blocks."""
        if not isinstance(self.feeding, Held):
            return None
        self.feeding.keep_on_device()
        (piece,) = self.feeding.once(1)
        return Check(piece, self.fresh)

    def __call__(self, training: Run, callbacks: keras.callbacks.Callback) -> dict:
        """Logs of the validation data, each name with ``val_`` before it."""

        def memory(rows: int) -> list:
            if self.fresh:
                return self.engine.memory_values(rows, fresh=True)
            self.check_rows(rows, training.rows)
            return training.memory

        run = Run(self.engine, "test", memory=memory)
        return validated(test(run, self.feeding, callbacks, Progress(0, 1, 1), advance=False))


def validated(logs: dict) -> dict:
    """Logs under the names of a validation's."""
    return {f"val_{name}": value for name, value in logs.items()}


class Training:
    """A training run, and what the callbacks are told of it: what Keras would tell them.

    Args:
        model: the model, compiled and built as far as it can be.
        feeding: the data.
        reset: when the state goes back.
        callbacks: who is told: a ``CallbackList`` or a single callback.
        progress: what is shown.
        validation: the validation after an epoch.
    """

    def __init__(
        self,
        model,
        feeding: Feeding,
        reset: Reset,
        callbacks: keras.callbacks.Callback,
        progress: Progress,
        validation: Validation | None,
    ):
        self._model, self._feeding, self._callbacks = model, feeding, callbacks
        self._progress, self._validation = progress, validation
        self._by_epoch = (
            watches_batches(callbacks, "train")
            or watches_epochs(callbacks)
            or not isinstance(feeding, Held)
        )
        check = None
        if validation is not None:
            alone = self._by_epoch or watches_tests(callbacks) or model._engine.runs_eagerly
            check = None if alone else validation.check
            self._by_epoch |= check is None
        self._check = check
        self.run = Run(model._engine, "train", reset, check=check)
        self._execution = Execution(self.run, "train", callbacks)
        self._pace = Pace()
        self._logs: dict = {}
        self._skip = 0  # steps of the first epoch that were made before the run was stopped
        self._random: dict = {}  # what an epoch began with
        self._backups = [each for each in told_by(callbacks) if isinstance(each, BackupAndRestore)]
        for backup in self._backups:
            backup.training = self

    def __call__(self, first: int, epochs: int) -> None:
        """Train from epoch ``first`` up to ``epochs``."""
        model, callbacks = self._model, self._callbacks
        model.stop_training = False
        callbacks.on_train_begin()
        for backup in self._backups:
            others = [each for each in told_by(callbacks) if each is not backup]
            self._skip = backup.begun(others)
        if model._initial_epoch:
            first, model._initial_epoch = model._initial_epoch, None
        self._progress.begin(first)
        if self._batches or epochs - first > 1:  # several calls
            self._feeding.keep_on_device()
        finished = False
        try:
            while first < epochs and not model.stop_training:
                first += self._epochs(first, epochs - first)
            finished = True
        finally:
            if not self._by_epoch:
                self.run.hold()
            if model.optimizer is not None and finished:
                self.run.finalize(model.optimizer)
        self._progress.end()
        callbacks.on_train_end(self._logs)

    def _epochs(self, epoch: int, left: int) -> int:
        """One epoch, or several if nobody looks into them; returns how many."""
        if self._by_epoch:
            left = 1
            self._callbacks.on_epoch_begin(epoch)
            self.run.read_back()
        if self._backups:
            self._random = random_state()
        ended, skip, self._skip = 0, self._skip, 0
        for piece in self._feeding.training(left, self._execution.size):
            for begin, end in self._calls(piece):
                if begin < skip:
                    self.run.prepare(piece)
                    continue
                ended += self._call(piece, begin, end, epoch)
                if self._model.stop_training:
                    break
            if self._model.stop_training:
                break
        if not ended:  # its end was not known beforehand, or somebody stopped it
            self._end_execution()
            self._end(epoch, self._logs)
            ended = 1
        return ended

    # What a stopped run needs in order to go on (``_resume``).

    def content(self, now: dict, by_batch: bool) -> dict:
        """What the run depends on.

        Args:
            now: the random numbers still to be drawn.
            by_batch: whether it is kept in the middle of an epoch, whose order was drawn already.
        """
        return {
            "variables": list(map(_keras.value_of, self._variables())),
            "first": self.run.first_memory,
            "random": self._random if by_batch else now,
            "logs": self._logs,
        }

    def take_up(self, content: dict) -> bool:
        """Go on with what ``content`` gave; False if it does not fit the model."""
        variables, values = self._variables(), content["variables"]
        if len(values) != len(variables) or not all(map(_fits, variables, values)):
            return False
        for variable, value in zip(variables, values, strict=True):
            _keras.set_value(variable, jax.numpy.asarray(value))
            _keras.resize(variable, value.shape)
        self.run.first_memory = list(map(jax.numpy.asarray, content["first"]))
        self._logs = content["logs"]
        return True

    def _variables(self) -> list:
        engine = self.run.engine
        parts = [*engine.variables("train"), *[memory.variables for memory in engine.memories]]
        return [each for part in parts for each in part]

    def _calls(self, piece: Piece) -> Iterator[tuple[int, int]]:
        """First step and step after the last of each call of the program."""
        begin = piece.begin
        while begin < piece.end:
            end = min(begin + self._pace.steps, piece.end)
            if self._execution.size:
                end = self._execution.cut(begin, piece.end)
            yield begin, end
            begin = end

    def _call(self, piece: Piece, begin: int, end: int, epoch: int) -> int:
        """One call of the program; returns how many epochs have ended with it."""
        self._execution.begin(begin)
        began = time.perf_counter()
        due = self._due(piece, begin, epoch)
        emitted = fetch(self.run.call(piece, begin, end, due))
        checked = None
        if due is not None:
            emitted, checked = emitted
        self._pace.took(end - begin, time.perf_counter() - began)
        first = begin // piece.steps
        ended = range(first, end // piece.steps)
        if self._execution.size or not ended:
            self._logs = logs_of(emitted, 0)
        if ended or self._execution.is_over(end):
            self._end_execution()
        self._progress.steps(epoch, end)
        for at in ended:
            logs = logs_of(emitted, at - first)
            if due is not None and due[at - first]:
                logs |= validated(logs_of(checked, at - first))
                logs = dict(sorted(logs.items()))  # as Keras hands them out
            self._end(epoch + at, logs)
        return len(ended)

    def _end_execution(self) -> None:
        if self._execution.end(self._logs):
            self._keep()

    def _due(self, piece: Piece, begin: int, epoch: int) -> np.ndarray | None:
        """Which epochs, from that of step ``begin`` on, a validation inside the program follows."""
        if self._check is None:
            return None
        assert self._validation is not None
        first = epoch + begin // piece.steps
        return np.array([self._validation.due(first + at) for at in range(piece.slots)])

    def _end(self, epoch: int, logs: dict) -> None:
        """An epoch has ended with these logs."""
        if self._by_epoch:
            self.run.hold()
            if self._validation is not None and self._validation.due(epoch):
                logs = logs | self._validation(self.run, self._callbacks)
                logs = dict(sorted(logs.items()))
        else:
            self._callbacks.on_epoch_begin(epoch)
        self._logs = logs
        self._callbacks.on_epoch_end(epoch, logs)
        self._keep()
        self._progress.epoch(epoch, logs)

    def _keep(self) -> None:
        for backup in self._backups:
            backup.keep()


def _fits(variable, value: np.ndarray) -> bool:
    """Whether a variable can take a value; of what layers remember any number of rows."""
    rows = isinstance(variable, StateVariable)
    fits = tuple(variable.shape[rows:]) == value.shape[rows:]
    return fits and variable.dtype == str(value.dtype)


def test(run: Run, feeding: Feeding, callbacks, progress: Progress, advance: bool) -> dict:
    """Evaluate; returns the logs of the whole data.

    ``advance`` says whether the model remembers what it saw, here and in ``predict``.
    """
    model = run.engine.model
    execution = Execution(run, "test", callbacks, advance)
    model.stop_evaluating = False
    callbacks.on_test_begin()
    logs: dict = {}
    for piece in feeding.once(1, execution.size):
        for begin, end in execution.calls(piece, piece.end):
            execution.begin(begin)
            logs = logs_of(fetch(run.call(piece, begin, end)), 0)
            if execution.is_over(end):
                execution.end(logs)
            progress.steps(0, end)
            if model.stop_evaluating:
                break
        if model.stop_evaluating:
            break
    execution.end(logs)
    run.hold(advance)
    progress.epoch(0, logs)
    callbacks.on_test_end(logs)
    return logs


def predict(run: Run, feeding: Feeding, callbacks, progress: Progress, advance: bool):
    """Predict; returns the outputs of all samples, as NumPy arrays of the caller's own."""
    model = run.engine.model
    execution = Execution(run, "predict", callbacks, advance)
    model.stop_predicting = False
    callbacks.on_predict_begin()
    parts: list = []
    told = 0  # parts that callbacks have seen
    for piece in feeding.once(OUTPUT_SLOTS, execution.size):
        for begin, end in execution.calls(piece, piece.slots):
            execution.begin(begin)
            parts.append(_outputs(run, piece, begin, end))
            if execution.is_over(end):
                execution.end({"outputs": _joined(parts[told:])})
                told = len(parts)
            progress.steps(0, end)
            if model.stop_predicting:
                break
        if model.stop_predicting:
            break
    if told < len(parts) and execution.size:
        execution.end({"outputs": _joined(parts[told:])})
    run.hold(advance)
    callbacks.on_predict_end()
    return _joined(parts)


def _joined(parts: list):
    """Outputs one after the other."""
    if len(parts) == 1:
        return parts[0]
    return jax.tree.map(lambda *each: np.concatenate(each), *parts)


def _outputs(run: Run, piece: Piece, begin: int, end: int):
    """The outputs of some steps, (samples, …)."""
    if piece.steps == 1:
        return jax.tree.map(np.array, run.call_once(piece))
    count = (end - begin) * piece.batch
    if end == piece.steps:  # its last batch may be smaller
        count += piece.last - piece.batch

    def joined(array: np.ndarray) -> np.ndarray:
        return array.reshape(-1, *array.shape[2:])[:count].copy()

    return jax.tree.map(joined, fetch(run.call(piece, begin, end)))


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
