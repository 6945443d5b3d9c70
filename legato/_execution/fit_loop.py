"""``fit``: trains epoch by epoch, with validations, callbacks in Keras's order, logs and backups.

This part runs in Python. It splits the epochs into calls of the program of ``compiled_loop``, each
as long as the callbacks allow.
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
from legato._execution.evaluate_predict import BatchCallbacks, run_evaluate
from legato._execution.program_cache import InlineValidation, ProgramCache
from legato._execution.progress import Progress
from legato._execution.run import Run, fetch, logs_of
from legato._execution.run_ahead import RunAhead
from legato._platform import keras_private
from legato._platform.random_state import global_random_state
from legato._recurrent.layer_memory import StateVariable, row_count_message
from legato._recurrent.model_state import ModelState
from legato._recurrent.reset_rules import Reset


@dataclass
class Validation:
    """The evaluation after an epoch, which leaves the training's state alone.

    Attributes:
        model_state: the state of the model.
        source: the validation data.
        fresh: whether it starts from the initial state, or continues from the epoch's end.
        due: a function from an epoch to whether a validation follows it.
    """

    model_state: ModelState
    source: DataSource
    fresh: bool
    due: Callable[[int], bool]

    def check_rows(self, rows: int, training_rows: int) -> None:
        """Refuse validation data with other rows than the training state that they continue.

        Raises:
            StateError: the numbers differ; the message has both and the remedies.
        """
        if not self.fresh and self.model_state.stateful_layers and rows != training_rows:
            raise StateError(row_count_message(training_rows, rows))

    def check_source(self, training: DataSource) -> None:
        """Check the rows before the run, if they are known."""
        if isinstance(self.source, WholeData) and isinstance(training, WholeData):
            self.check_rows(self.source.rows, training.rows)

    @property
    def inline(self) -> InlineValidation | None:
        """The validation as part of the training program; None if its data come in blocks."""
        if not isinstance(self.source, WholeData):
            return None
        self.source.keep_on_device()
        (block,) = self.source.single_pass(1)
        return InlineValidation(block, self.fresh)

    def __call__(self, training: Run, callbacks: keras.callbacks.Callback) -> dict:
        """Run the validation; returns its logs, with ``val_`` before each name."""

        def memory(rows: int) -> list:
            if self.fresh:
                return self.model_state.memory_values(rows, fresh=True)
            self.check_rows(rows, training.rows)
            return training.memory

        run = Run(self.model_state, "test", memory=memory)
        return add_val_prefix(
            run_evaluate(run, self.source, callbacks, Progress(0, 1, 1), advance=False)
        )


def add_val_prefix(logs: dict) -> dict:
    """Logs with ``val_`` before each name."""
    return {f"val_{name}": value for name, value in logs.items()}


class FitLoop:
    """A training run with its callbacks.

    Args:
        model: the model, compiled and built as far as possible.
        source: the data.
        reset: when state is reset; see ``reset_rules``.
        callbacks: a ``CallbackList`` or one callback.
        progress: shows the progress.
        validation: the validation after epochs; or None.
    """

    def __init__(
        self,
        model,
        source: DataSource,
        reset: Reset,
        callbacks: keras.callbacks.Callback,
        progress: Progress,
        validation: Validation | None,
    ):
        self._model, self._source, self._callbacks = model, source, callbacks
        self._progress, self._validation = progress, validation
        self._by_epoch = (
            has_batch_callbacks(callbacks, "train")
            or has_epoch_callbacks(callbacks)
            or not isinstance(source, WholeData)
        )
        inline = None
        if validation is not None:
            separate = (
                self._by_epoch
                or has_test_callbacks(callbacks)
                or ProgramCache(model._model_state).runs_eagerly
            )
            inline = None if separate else validation.inline
            self._by_epoch |= inline is None
        self._inline = inline
        self.run = Run(model._model_state, "train", reset, validation=inline)
        self._batch_callbacks = BatchCallbacks(self.run, "train", callbacks)
        by_batch = self._batch_callbacks.size == 1 and isinstance(source, WholeData)
        if by_batch and keras_private.CAN_HIDE_VALUES:
            self._batch_callbacks.ahead = RunAhead(self.run)
        self._call_length = CallLength()
        self._logs: dict = {}
        self._skip = 0  # steps of the first epoch that the interrupted run had done
        self._random: dict = {}  # random state at the beginning of the epoch
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
            self._skip = backup.restore_callbacks(others)
        if model._initial_epoch:
            first, model._initial_epoch = model._initial_epoch, None
        self._progress.begin(first)
        if self._batch_callbacks.size or epochs - first > 1:  # several calls
            self._source.keep_on_device()
        finished = False
        try:
            while first < epochs and not model.stop_training:
                first += self._epochs(first, epochs - first)
            finished = True
        finally:
            self._write_back()  # also after an interruption or an error
            if model.optimizer is not None and finished:
                self.run.finalize(model.optimizer)
        self._progress.end()
        callbacks.on_train_end(self._logs)

    def _epochs(self, epoch: int, left: int) -> int:
        """Run one epoch, or several if no callback has epoch methods; returns how many."""
        if self._by_epoch:
            left = 1
            self._callbacks.on_epoch_begin(epoch)
            self.run.read_back()
        if self._backups:
            self._random = global_random_state()
        ended, skip, self._skip = 0, self._skip, 0
        blocks = self._source.training(left, self._batch_callbacks.size)
        for block, begin, end in self._batch_callbacks.split_into_calls(
            blocks, lambda _: self._call_length.steps
        ):
            if begin < skip:
                self.run.prepare(block)
                continue
            ended += self._call(block, begin, end, epoch)
            if self._model.stop_training:
                break
        if not ended:  # its length was unknown, or a callback stopped it
            self._end_execution()
            self._end(epoch, self._logs)
            ended = 1
        return ended

    # For backups, from which an interrupted run continues.

    def backup_content(self, now: dict, by_batch: bool) -> dict:
        """Everything that the run depends on, except epoch, step and callbacks.

        Args:
            now: the present random state.
            by_batch: whether the backup is made inside an epoch. It then has the random state of
                the epoch's beginning, from which the epoch's order was drawn.
        """
        return {
            "variables": keras_private.values_of(self._variables()),
            "first": self.run.first_memory,
            "random": self._random if by_batch else now,
            "logs": self._logs,
        }

    def restore(self, content: dict) -> bool:
        """Continue from what ``backup_content`` gave; returns False if it does not fit."""
        variables, values = self._variables(), content["variables"]
        first = content["first"]  # empty unless epochs are replayed
        carried = [each for each in variables if isinstance(each, StateVariable)]
        if not _fit(variables, values) or (first and not _fit(carried, first)):
            return False
        keras_private.set_values(variables, map(jax.numpy.asarray, values))
        for variable, value in zip(variables, values, strict=True):
            keras_private.resize(variable, value.shape)
        self.run.first_memory = list(map(jax.numpy.asarray, first))
        self._logs = content["logs"]
        return True

    def _variables(self) -> list:
        model_state = self.run.model_state
        parts = [
            *ProgramCache(model_state).variables("train"),
            *[memory.variables for memory in model_state.memories],
        ]
        return [each for part in parts for each in part]

    def _call(self, block: Block, begin: int, end: int, epoch: int) -> int:
        """Call the program once; returns the number of epochs that have ended."""
        self._batch_callbacks.begin(begin)
        began = time.perf_counter()
        due = self._due(block, begin, epoch)
        ahead, from_step, checked = self._batch_callbacks.ahead, begin, None
        if ahead is not None:
            emitted, from_step = ahead.logs(block, begin)
        else:
            emitted = fetch(self.run.call(block, begin, end, due))
        if due is not None:
            emitted, checked = emitted
        self._call_length.measure(end - begin, time.perf_counter() - began)
        first = begin // block.steps
        ended = range(first, end // block.steps)
        if self._batch_callbacks.size or not ended:
            self._logs = logs_of(emitted, self.run.slot(from_step, end - 1))
        if ended or self._batch_callbacks.ends_at(end):
            self._end_execution()
        self._progress.steps(epoch, end)
        for at in ended:
            last = (at + 1) * block.steps - 1
            logs = logs_of(emitted, self.run.slot(from_step, last))
            if due is not None and due[at - first]:
                logs |= add_val_prefix(logs_of(checked, at - first))
                logs = dict(sorted(logs.items()))  # as Keras hands them out
            self._end(epoch + at, logs)
        return len(ended)

    def _end_execution(self) -> None:
        if self._batch_callbacks.end(self._logs):
            self._write_backups()

    def _due(self, block: Block, begin: int, epoch: int) -> np.ndarray | None:
        """Whether the inline validation follows each epoch from that of step ``begin`` on."""
        if self._inline is None:
            return None
        assert self._validation is not None
        first = epoch + begin // block.steps
        return np.array([self._validation.due(first + at) for at in range(block.slots)])

    def _end(self, epoch: int, logs: dict) -> None:
        """Finish an epoch: validate, call the callbacks, write backups, show the progress."""
        if self._by_epoch:
            self._write_back()
            if self._validation is not None and self._validation.due(epoch):
                logs = logs | self._validation(self.run, self._callbacks)
                logs = dict(sorted(logs.items()))
        else:
            self._callbacks.on_epoch_begin(epoch)
        self._logs = logs
        self._callbacks.on_epoch_end(epoch, logs)
        self._write_backups()
        self._progress.epoch(epoch, logs)

    def _write_back(self) -> None:
        if self._batch_callbacks.ahead is not None:
            self._batch_callbacks.ahead.end()
        self.run.write_back()

    def _write_backups(self) -> None:
        for backup in self._backups:
            backup.write_if_due()


def _fit(variables: list, values: list[np.ndarray]) -> bool:
    """Whether variables can take values; state variables take any number of rows."""
    return len(variables) == len(values) and all(map(_fits, variables, values))


def _fits(variable, value: np.ndarray) -> bool:
    """Whether a variable can take a value."""
    rows = isinstance(variable, StateVariable)
    fits = tuple(variable.shape[rows:]) == value.shape[rows:]
    return fits and variable.dtype == str(value.dtype)
