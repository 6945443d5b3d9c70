"""``fit``: trains epoch by epoch, with validations, callbacks in Keras's order, logs and backups.

This part runs in Python. It splits the epochs into calls of the program of ``compiled_loop``, each
as long as the callbacks allow.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import chain

import keras
import numpy as np

from legato._errors import StateError
from legato._execution.agreement import shortened
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
from legato._platform import keras_variables
from legato._platform.jax_arrays import copy_to_jax
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

        run = Run(self.model_state, "test", memory=memory, devices=training.devices)
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
        devices: how many devices share the rows of a batch; None: see ``Run``.
    """

    def __init__(
        self,
        model,
        source: DataSource,
        reset: Reset,
        callbacks: keras.callbacks.Callback,
        progress: Progress,
        validation: Validation | None,
        devices: int | None = None,
    ):
        self._model, self._source, self._callbacks = model, source, callbacks
        self._progress, self._validation = progress, validation
        self._backups = [
            each for each in flatten_callbacks(callbacks) if isinstance(each, BackupAndRestore)
        ]
        self.run = Run(model._model_state, "train", reset, devices=devices)
        separate = validation is not None and (
            bool(self._backups)  # which read all after every epoch; their runs agree to the bit
            or has_test_callbacks(callbacks)
            or ProgramCache(model._model_state).runs_eagerly
        )
        in_parts = has_batch_callbacks(callbacks, "train") or not isinstance(source, WholeData)
        in_parts, by_epoch, separate = map(
            bool,
            self.run.agreement.most(
                "the callbacks of fit", in_parts, has_epoch_callbacks(callbacks), separate
            ),
        )
        self._by_epoch = in_parts or by_epoch
        inline = None
        if validation is not None:
            inline = None if in_parts or separate else validation.inline
            self._by_epoch |= inline is None
        self._inline = self.run.validation = inline
        self._batch_callbacks = BatchCallbacks(self.run, "train", callbacks)
        self._epochs_ahead: RunAhead | None = None
        if keras_variables.CAN_HIDE_VALUES and isinstance(source, WholeData):
            if self._batch_callbacks.size == 1:
                self._batch_callbacks.ahead = RunAhead(self.run)
            elif not in_parts and self._by_epoch and (validation is None or inline):
                self._epochs_ahead = RunAhead(self.run, source.steps)
        self._call_length = CallLength()
        self._logs: dict = {}
        self._skip = 0  # steps of the first epoch that the interrupted run had done
        self._random: dict = {}  # random state at the beginning of the epoch
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
        self._check_agreed(first, epochs)
        self._progress.begin(first)
        if self._batch_callbacks.size or epochs - first > 1:  # several calls
            self._source.keep_on_device()
        finished = False
        try:
            while first < epochs and not model.stop_training:
                first += self._epochs(first, epochs - first)
            self.run.agreement.tell_end()
            finished = True
        finally:  # also after an interruption or an error
            try:
                self._write_back()
            except KeyboardInterrupt:
                self._write_back()  # which may be repeated
                raise
            if model.optimizer is not None and finished:
                self.run.finalize(model.optimizer)
        self._progress.end()
        callbacks.on_train_end(self._logs)

    def _epochs(self, epoch: int, left: int) -> int:
        """Run an epoch, or several: no callback has epoch methods, or they are run ahead of.

        Returns:
            How many epochs have ended.
        """
        if self._epochs_ahead is not None and self._are_epochs_short(self._epochs_ahead):
            return self._run_epochs_ahead(self._epochs_ahead, epoch, left)
        if self._by_epoch:
            left = 1
            self._callbacks.on_epoch_begin(epoch)
            self.run.read_back()
        if self._backups:
            self._random = global_random_state()
        ended, skip, self._skip = 0, self._skip, 0
        begun = skip > 0  # whether steps of an epoch were run that has not ended
        blocks = self._source.training(left, self._batch_callbacks.size, first=epoch)
        for block, begin, end in self._batch_callbacks.split_into_calls(
            blocks, lambda _: self._call_length.steps, done=skip
        ):
            if begin < skip:
                self.run.prepare(block)
                continue
            begun = end % block.steps != 0
            ended += self._call(block, begin, end, epoch)
            if self._model.stop_training:
                self.run.agreement.tell_stop()
                break
        if self.run.agreement.was_stopped and not self._model.stop_training:
            self._model.stop_training = True  # by a callback of another process
            if not begun:
                return ended
        if not ended:  # its length was unknown, or a callback stopped it
            self._end_execution()
            self._end(epoch, self._logs)
            ended = 1
        return ended

    def _check_agreed(self, first: int, epochs: int) -> None:
        """Refuse to begin if another process trains otherwise."""
        if not self.run.spans_processes:
            return
        due = self._validation and [self._validation.due(at) for at in range(first, epochs)]
        self.run.agreement.check(
            the_epochs=f"{first} to {epochs}",
            the_steps_that_a_backup_has_of_the_first_epoch=self._skip,
            the_callbacks_BackupAndRestore=len(self._backups),
            the_epochs_with_a_validation=due and shortened(str(due)),
        )

    def _are_epochs_short(self, ahead: RunAhead) -> bool:
        """Whether several epochs may run before the callbacks of the first one are called."""
        return ahead.is_possible and 2 * self._call_length.seconds(ahead.unit) < ahead.limit_s

    def _run_epochs_ahead(self, ahead: RunAhead, epoch: int, left: int) -> int:
        """Run several epochs, ahead of callbacks with epoch methods; returns how many."""
        self._callbacks.on_epoch_begin(epoch)
        assert isinstance(self._source, WholeData)
        (block,) = self._source.training(left, ahead=True)
        due = partial(self._due, block, epoch)
        at = 0
        while True:
            if ahead.is_settled():
                self.run.read_back()
            emitted, begin = ahead.logs(block, at * block.steps, due)
            end = (at + 1) * block.steps
            ahead.reach(end)
            self._progress.steps(epoch, end, ahead.step_s)
            self._finish_epoch(epoch + at, self._epoch_logs(emitted, block, begin, epoch, at))
            at += 1
            if end == block.end or self._model.stop_training:
                return at
            self._callbacks.on_epoch_begin(epoch + at)
            if not self._source.begin_epoch(at):
                ahead.read()

    # For backups, from which an interrupted run continues.

    def backup_content(self, now: dict, by_batch: bool) -> dict:
        """Everything that the run depends on, except epoch, step and callbacks.

        Args:
            now: the present random state.
            by_batch: whether the backup is made inside an epoch. It then has the random state of
                the epoch's beginning, from which the epoch's order was drawn.
        """
        own, carried = self._variables()
        rows_of_all = self.run.agreement.rows_of_all
        values = keras_variables.values_of(own) + rows_of_all(keras_variables.values_of(carried))
        return {
            "variables": values,
            "first": rows_of_all(self.run.first_memory),
            "random": self._random if by_batch else now,
            "logs": self._logs,
        }

    def restore(self, content: dict) -> bool:
        """Continue from what ``backup_content`` gave; returns False if it does not fit.

        Raises:
            StateError: it has rows that the processes cannot share equally.
        """
        own, carried = self._variables()
        variables, values = own + carried, content["variables"]
        first = content["first"]  # empty unless epochs are replayed
        if not _fit(variables, values) or (first and not _fit(carried, first)):
            return False
        own_rows = self.run.agreement.own_rows
        values, first = values[: len(own)] + own_rows(values[len(own) :]), own_rows(first)
        keras_variables.set_values(variables, map(copy_to_jax, values))
        for variable, value in zip(variables, values, strict=True):
            keras_variables.resize(variable, value.shape)
        self.run.first_memory = list(map(copy_to_jax, first))
        self._logs = content["logs"]
        return True

    @property
    def writes_backups(self) -> bool:
        """Whether this process writes and deletes the file."""
        return self.run.agreement.writes

    def _variables(self) -> tuple[list, list]:
        """The variables of the model, its optimizer and metrics, and those of states."""
        model_state = self.run.model_state
        own = ProgramCache(model_state).variables("train")
        carried = [memory.variables for memory in model_state.memories]
        return [*chain(*own)], [*chain(*carried)]

    def _call(self, block: Block, begin: int, end: int, epoch: int) -> int:
        """Call the program once; returns the number of epochs that have ended."""
        self._batch_callbacks.begin(begin)
        began = time.perf_counter()
        ahead, from_step = self._batch_callbacks.ahead, begin
        if ahead is not None:
            emitted, from_step = ahead.logs(block, begin)
        else:
            emitted = fetch(self.run.call(block, begin, end, self._due(block, epoch, begin)))
        if not self.run.spans_processes:  # whose clocks differ
            self._call_length.measure(end - begin, time.perf_counter() - began)
        ended = range(begin // block.steps, end // block.steps)
        if self._batch_callbacks.size or not ended:
            own = emitted if self._inline is None else emitted[0]
            self._logs = logs_of(own, self.run.slot(from_step, end - 1))
        if ended or self._batch_callbacks.ends_at(end):
            self._end_execution()
        self._progress.steps(epoch, end)
        for at in ended:
            self._end(epoch + at, self._epoch_logs(emitted, block, from_step, epoch, at))
        return len(ended)

    def _epoch_logs(self, emitted, block: Block, begin: int, epoch: int, at: int) -> dict:
        """The logs of epoch ``at`` of a block, from a call of the program.

        Args:
            emitted: what the call returned, on the host.
            block: the data.
            begin: the first step of the call.
            epoch: the number of the block's first epoch.
            at: the epoch, counted from that one.
        """
        last = (at + 1) * block.steps - 1
        if self._validation is None or self._inline is None:
            return logs_of(emitted, self.run.slot(begin, last))
        own, checked = emitted
        logs = logs_of(own, self.run.slot(begin, last))
        if self._validation.due(epoch + at):
            logs |= add_val_prefix(logs_of(checked, at - begin // block.steps))
            logs = dict(sorted(logs.items()))  # as Keras hands them out
        return logs

    def _end_execution(self) -> None:
        if self._batch_callbacks.end(self._logs):
            self._write_backups()

    def _due(self, block: Block, epoch: int, begin: int) -> np.ndarray | None:
        """Whether the inline validation follows each epoch from that of step ``begin`` on.

        Args:
            block: the data.
            epoch: the number of the block's first epoch.
            begin: the step.
        """
        if self._inline is None:
            return None
        assert self._validation is not None
        first = epoch + begin // block.steps
        return np.array([self._validation.due(first + at) for at in range(block.slots)])

    def _end(self, epoch: int, logs: dict) -> None:
        """End an epoch: let callbacks see its values, and validate."""
        if self._by_epoch:
            self._write_back()
            separate = self._validation if self._inline is None else None
            if separate is not None and separate.due(epoch):
                logs = logs | separate(self.run, self._callbacks)
                logs = dict(sorted(logs.items()))
        else:
            self._callbacks.on_epoch_begin(epoch)
        self._finish_epoch(epoch, logs)

    def _finish_epoch(self, epoch: int, logs: dict) -> None:
        """Call the callbacks after an epoch, write backups, show the progress."""
        self._logs = logs
        self._callbacks.on_epoch_end(epoch, logs)
        self._write_backups()
        self._progress.epoch(epoch, logs)

    def _write_back(self) -> None:
        for ahead in (self._batch_callbacks.ahead, self._epochs_ahead):
            if ahead is not None:
                ahead.end()
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
