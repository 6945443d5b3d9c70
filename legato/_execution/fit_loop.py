"""``fit``: epochs cut into calls of the program as coarse as the watchers allow, and validated.

Host work only: callbacks are called here, logs are collected here. What is told to whom, and when,
is what Keras does.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import jax
import keras
import numpy as np

from legato._errors import StateError
from legato._execution.backup import BackupAndRestore
from legato._execution.batches import Block, DataSource, WholeData
from legato._execution.callbacks import (
    CallLength,
    flatten_callbacks,
    has_batch_callbacks,
    has_epoch_callbacks,
    has_test_callbacks,
)
from legato._execution.evaluate_predict import Execution, run_evaluate
from legato._execution.program_cache import Check, ProgramCache
from legato._execution.progress import Progress
from legato._execution.run import Run, fetch, logs_of
from legato._platform import keras_private
from legato._platform.random_state import global_random_state
from legato._recurrent.layer_memory import StateVariable, row_count_message
from legato._recurrent.model_state import ModelState
from legato._recurrent.reset_rules import Reset


@dataclass
class Validation:
    """The evaluation after an epoch, which leaves the training's state alone.

    Attributes:
        engine: the model's engine.
        feeding: the validation data.
        fresh: whether it starts from the initial state, or goes on from the epoch's end.
        due: whether it is done after an epoch.
    """

    engine: ModelState
    feeding: DataSource
    fresh: bool
    due: Callable[[int], bool]

    def check_rows(self, rows: int, training_rows: int) -> None:
        """Refuse validation data of other rows than the training's state that they go on from.

        Raises:
            StateError: naming both counts and the remedies.
        """
        if not self.fresh and self.engine.stateful_layers and rows != training_rows:
            raise StateError(row_count_message(training_rows, rows))

    def check_feeding(self, training: DataSource) -> None:
        """The same, where both are known before anything runs."""
        if isinstance(self.feeding, WholeData) and isinstance(training, WholeData):
            self.check_rows(self.feeding.rows, training.rows)

    @property
    def check(self) -> Check | None:
        """It as a part of the training's program; None where its data come in blocks."""
        if not isinstance(self.feeding, WholeData):
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
        return validated(
            run_evaluate(run, self.feeding, callbacks, Progress(0, 1, 1), advance=False)
        )


def validated(logs: dict) -> dict:
    """Logs under the names of a validation's."""
    return {f"val_{name}": value for name, value in logs.items()}


class FitLoop:
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
        feeding: DataSource,
        reset: Reset,
        callbacks: keras.callbacks.Callback,
        progress: Progress,
        validation: Validation | None,
    ):
        self._model, self._feeding, self._callbacks = model, feeding, callbacks
        self._progress, self._validation = progress, validation
        self._by_epoch = (
            has_batch_callbacks(callbacks, "train")
            or has_epoch_callbacks(callbacks)
            or not isinstance(feeding, WholeData)
        )
        check = None
        if validation is not None:
            alone = (
                self._by_epoch
                or has_test_callbacks(callbacks)
                or ProgramCache(model._engine).runs_eagerly
            )
            check = None if alone else validation.check
            self._by_epoch |= check is None
        self._check = check
        self.run = Run(model._engine, "train", reset, check=check)
        self._execution = Execution(self.run, "train", callbacks)
        self._call_length = CallLength()
        self._logs: dict = {}
        self._skip = 0  # steps of the first epoch that were made before the run was stopped
        self._random: dict = {}  # what an epoch began with
        self._backups = [
            each for each in flatten_callbacks(callbacks) if isinstance(each, BackupAndRestore)
        ]
        for backup in self._backups:
            backup.training = self

    def __call__(self, first: int, epochs: int) -> None:
        """Train from epoch ``first`` up to ``epochs``."""
        model, callbacks = self._model, self._callbacks
        model.stop_training = False
        callbacks.on_train_begin()
        for backup in self._backups:
            others = [each for each in flatten_callbacks(callbacks) if each is not backup]
            self._skip = backup.begun(others)
        if model._initial_epoch:
            first, model._initial_epoch = model._initial_epoch, None
        self._progress.begin(first)
        if self._execution.size or epochs - first > 1:  # several calls
            self._feeding.keep_on_device()
        finished = False
        try:
            while first < epochs and not model.stop_training:
                first += self._epochs(first, epochs - first)
            finished = True
        finally:
            self.run.hold()  # what was reached stays, if somebody or something breaks in, too
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
            self._random = global_random_state()
        ended, skip, self._skip = 0, self._skip, 0
        pieces = self._feeding.training(left, self._execution.size)
        for piece, begin, end in self._execution.calls(pieces, lambda _: self._call_length.steps):
            if begin < skip:
                self.run.prepare(piece)
                continue
            ended += self._call(piece, begin, end, epoch)
            if self._model.stop_training:
                break
        if not ended:  # its end was not known beforehand, or somebody stopped it
            self._end_execution()
            self._end(epoch, self._logs)
            ended = 1
        return ended

    # What a stopped run needs in order to go on (``backup``).

    def content(self, now: dict, by_batch: bool) -> dict:
        """What the run depends on.

        Args:
            now: the random numbers still to be drawn.
            by_batch: whether it is kept in the middle of an epoch, whose order was drawn already.
        """
        return {
            "variables": keras_private.values_of(self._variables()),
            "first": self.run.first_memory,
            "random": self._random if by_batch else now,
            "logs": self._logs,
        }

    def take_up(self, content: dict) -> bool:
        """Go on with what ``content`` gave; False if it does not fit the model."""
        variables, values = self._variables(), content["variables"]
        if len(values) != len(variables) or not all(map(_fits, variables, values)):
            return False
        keras_private.set_values(variables, map(jax.numpy.asarray, values))
        for variable, value in zip(variables, values, strict=True):
            keras_private.resize(variable, value.shape)
        self.run.first_memory = list(map(jax.numpy.asarray, content["first"]))
        self._logs = content["logs"]
        return True

    def _variables(self) -> list:
        engine = self.run.engine
        parts = [
            *ProgramCache(engine).variables("train"),
            *[memory.variables for memory in engine.memories],
        ]
        return [each for part in parts for each in part]

    def _call(self, piece: Block, begin: int, end: int, epoch: int) -> int:
        """One call of the program; returns how many epochs have ended with it."""
        self._execution.begin(begin)
        began = time.perf_counter()
        due = self._due(piece, begin, epoch)
        emitted = fetch(self.run.call(piece, begin, end, due))
        checked = None
        if due is not None:
            emitted, checked = emitted
        self._call_length.measure(end - begin, time.perf_counter() - began)
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

    def _due(self, piece: Block, begin: int, epoch: int) -> np.ndarray | None:
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
