"""Runs: the steps of a verb, cut into calls of its program as coarse as the watchers allow.

Host work only: sample orders are drawn here (NumPy's global generator, so ``numpy.random.seed`` and
``keras.utils.set_random_seed`` govern them), callbacks are called here, logs are collected here.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import jax
import keras
import numpy as np

from legato import _keras
from legato._data import Samples
from legato._engine import Engine
from legato._program import Feed, Plan, Program, Reset, Values, Verb
from legato._watch import Pace, Progress, watches_batches, watches_epochs

OUTPUT_SLOTS = 1_024  # batches of outputs one call of a program has room for


class Run:
    """One verb over one set of samples, with the values it has reached.

    Args:
        engine: the model's engine.
        verb: which of Keras's steps is run.
        samples: the data.
        rows: samples in a full batch, at most ``samples.count``.
        memory: the memory variables' values.
        reset: when the memory goes back to what it was at the beginning of the run.
        slots: emissions a call has room for; None for an epoch's worth of sample indices.
        program: another program than the verb's own.

    Attributes:
        plan: what its program is compiled for.
        rows, samples, memory: as given; ``memory`` as reached.
    """

    def __init__(
        self,
        engine: Engine,
        verb: Verb,
        samples: Samples,
        rows: int,
        memory: list,
        reset: Reset = "never",
        slots: int | None = None,
        program: Program | None = None,
    ):
        self.engine, self.samples, self.rows, self.memory = engine, samples, rows, memory
        ready = engine.ready(verb, samples, rows, reset, slots, program)
        self.plan, self._variables, self._run = ready
        self._first_memory = memory if reset == "epoch" else []
        self._data = samples.packed
        self.values = self._read()
        self._changed = Values([], [], [], [])

    def keep_data_on_device(self) -> None:
        """Send the data over once, for a run of several calls."""
        self._data = jax.device_put(self._data)

    def call(self, begin: int, end: int, order: np.ndarray):
        """Run steps ``begin`` to ``end``; returns what they emitted."""
        span = np.array((begin, end), np.int32)
        feed = Feed(self._data, self.samples.starts, self._first_memory, order, span)
        emitted = self._took(self.values, self.memory, feed)
        changed = zip(self._changed, self.values, strict=True)
        self.values = Values(*(new or old for new, old in changed))
        return emitted

    def call_once(self):
        """Run all samples as one batch; returns its outputs."""
        return self._took(self.values, self.memory, self._data, self.samples.starts)

    def _took(self, *arguments):
        emitted, self._changed, self.memory = self._run(*arguments)
        return emitted

    def hold(self, memory: bool = True) -> None:
        """Put the values reached into the model's variables, and the memory into its layers."""
        for variables, values in zip(self._variables, self._changed, strict=True):
            for variable, value in zip(variables, values, strict=False):  # unchanged: no values
                _keras.set_value(variable, value)
        if memory:
            self.engine.hold_memory(self.memory)

    def read_back(self) -> None:
        """Take up what callbacks did to the model's variables and memory."""
        self.values = self._read()
        self.memory = self.engine.memory_values(self.rows)

    def ordered(self, indices: np.ndarray) -> np.ndarray:
        """Sample indices of whole epochs as rows of batches, filled up with zeros: int32."""
        shape = (-1, self.plan.steps * self.rows)
        order = np.zeros((len(indices), shape[1]), np.int32)
        order[:, : self.samples.count] = indices
        return order.reshape(-1, self.rows)

    def in_order(self) -> np.ndarray:
        """The samples as they come."""
        return self.ordered(np.arange(self.samples.count)[None])

    def _read(self) -> Values:
        return Values(*[list(map(_keras.value_of, part)) for part in self._variables])


class Again:
    """A prediction of one whole batch, prepared: all that `predict` of the same shape has to do.

    Making the objects of a ``Run`` costs more than a small network's answer.

    Args:
        run: the run of the first such prediction.
    """

    def __init__(self, run: Run):
        self._run, self._variables, self._engine = run._run, run._variables, run.engine
        self._memory = [each for memory in run.engine.memories for each in memory.variables]
        self._rows, self._dtype = run.rows, run._data[0].dtype

    def __call__(self, x: np.ndarray, advance: bool):
        """The outputs of a batch of that shape; None if it wants a closer look."""
        if self._memory and self._engine.rows != self._rows:
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


class Orders:
    """The sample orders of a training run, an epoch's drawn when it is first needed."""

    def __init__(self, run: Run, shuffle: bool, epochs: int):
        self._run, self._shuffle, self._epochs = run, shuffle, epochs
        self._drawn: dict[int, np.ndarray] = {}

    def of(self, begin: int, end: int) -> np.ndarray:
        """Sample indices for the epochs of steps ``begin`` to ``end``, in the plan's room."""
        plan, count = self._run.plan, self._run.samples.count
        epochs = range(begin // plan.steps, (end - 1) // plan.steps + 1)
        self._drawn = {e: order for e, order in self._drawn.items() if e in epochs}
        indices = np.zeros((plan.slots, count), np.int32)
        for at, epoch in enumerate(epochs):
            indices[at] = self._drawn.setdefault(epoch, self._draw(epoch, count))
        return self._run.ordered(indices)

    def _draw(self, epoch: int, count: int) -> np.ndarray:
        if epoch in self._drawn:
            return self._drawn[epoch]
        return np.random.permutation(count) if self._shuffle else np.arange(count)


@dataclass
class Validation:
    """The evaluation after an epoch, which leaves the training's state alone.

    Attributes:
        engine: the model's engine.
        samples: the validation data.
        rows: samples in a full batch of it.
        fresh: whether it starts from the initial state, or goes on from the epoch's end.
        due: whether it is done after an epoch.
    """

    engine: Engine
    samples: Samples
    rows: int
    fresh: bool
    due: Callable[[int], bool]

    def __call__(self, epoch: int, training: Run, callbacks: keras.callbacks.Callback) -> dict:
        """Logs of the validation data, each name with ``val_`` before it."""
        if not self.due(epoch):
            return {}
        memory = self.engine.memory_values(self.rows, fresh=True)
        if not self.fresh:
            memory = training.memory
        run = Run(self.engine, "test", self.samples, self.rows, memory, slots=1)
        logs = test(run, callbacks, Progress(0, 1, 1))
        run.hold(memory=False)
        return {f"val_{name}": value for name, value in logs.items()}


def train(
    run: Run,
    epochs: range,
    shuffle: bool,
    callbacks: keras.callbacks.Callback,
    progress: Progress,
    validate: Validation | None,
) -> None:
    """Train, and tell the callbacks what Keras would tell them.

    Args:
        run: a run of the verb ``"train"``.
        epochs: epoch numbers.
        shuffle: whether each epoch has an order of its own.
        callbacks: who is told: a ``CallbackList`` or a single callback.
        progress: what is shown.
        validate: the validation after an epoch.
    """
    model, plan = run.engine.model, run.plan
    by_batch = watches_batches(callbacks, "train")
    by_epoch = by_batch or validate is not None or watches_epochs(callbacks)
    orders, pace = Orders(run, shuffle, len(epochs)), Pace()
    step, last = epochs.start * plan.steps, epochs.stop * plan.steps
    logs: dict = {}
    finished = False
    model.stop_training = False
    callbacks.on_train_begin()
    progress.begin(epochs.start)
    if len(epochs) > 1:
        run.keep_data_on_device()
    try:
        while step < last and not model.stop_training:
            epoch, at = divmod(step, plan.steps)
            if by_epoch and at == 0:
                callbacks.on_epoch_begin(epoch)
                run.read_back()
            if by_batch:
                callbacks.on_train_batch_begin(at)
                run.read_back()
            end = _end_of_call(step, last, plan, pace, by_epoch, by_batch)
            began = time.perf_counter()
            emitted = fetch(run.call(step, end, orders.of(step, end)))
            pace.took(end - step, time.perf_counter() - began)
            if by_batch:
                run.hold()
                callbacks.on_train_batch_end(at, _logs(emitted, 0))
            over = epoch + 1 if by_batch and model.stop_training else end // plan.steps
            for ended in range(epoch, over):
                logs = _logs(emitted, ended - epoch)
                if by_epoch:
                    run.hold()
                    logs |= validate(ended, run, callbacks) if validate else {}
                else:
                    callbacks.on_epoch_begin(ended)
                callbacks.on_epoch_end(ended, logs)
                progress.epoch(ended, logs)
            step = end
            progress.steps(step)
        finished = True
    finally:
        if not by_epoch:
            run.hold()
        if model.optimizer is not None and finished:
            model.optimizer.finalize_variable_values(model.trainable_weights)
    progress.end()
    callbacks.on_train_end(logs)


def _end_of_call(
    step: int, last: int, plan: Plan, pace: Pace, by_epoch: bool, by_batch: bool
) -> int:
    """The step after the next call's last one."""
    if by_batch:
        return step + 1
    epoch = step // plan.steps
    room = (epoch + (1 if by_epoch else plan.slots)) * plan.steps
    return min(step + pace.steps, room, last)


def test(run: Run, callbacks, progress: Progress) -> dict:
    """Evaluate; returns the logs of the whole data."""
    model, steps = run.engine.model, run.plan.steps
    by_batch = watches_batches(callbacks, "test")
    if by_batch:
        model.stop_evaluating = False
    callbacks.on_test_begin()
    logs: dict = {}
    order = run.in_order()
    for begin, end in _calls(steps, by_batch, steps):
        if by_batch:
            if model.stop_evaluating:
                break
            callbacks.on_test_batch_begin(begin)
        logs = _logs(fetch(run.call(begin, end, order)), 0)
        if by_batch:
            callbacks.on_test_batch_end(begin, logs)
        progress.steps(end)
    progress.epoch(0, logs)
    callbacks.on_test_end(logs)
    return logs


def predict(run: Run, callbacks, progress: Progress):
    """Predict; returns the outputs of all samples, as NumPy arrays of the caller's own."""
    model, plan = run.engine.model, run.plan
    by_batch = watches_batches(callbacks, "predict")
    if by_batch:
        model.stop_predicting = False
    callbacks.on_predict_begin()
    parts = []
    order = None if plan.steps == 1 else run.in_order()
    for begin, end in _calls(plan.steps, by_batch, plan.slots):
        if by_batch:
            if model.stop_predicting:
                break
            callbacks.on_predict_batch_begin(begin)
        if order is None:
            parts.append(jax.tree.map(np.array, run.call_once()))
        else:
            count = min(end * plan.rows, run.samples.count) - begin * plan.rows
            join = partial(_joined, count)
            parts.append(jax.tree.map(join, fetch(run.call(begin, end, order))))
        if by_batch:
            callbacks.on_predict_batch_end(begin, {"outputs": parts[-1]})
        progress.steps(end)
    callbacks.on_predict_end()
    if len(parts) == 1:
        return parts[0]
    return jax.tree.map(lambda *each: np.concatenate(each), *parts)


def fetch(tree):
    """Arrays on the host; ``jax.device_get`` does the same in three times the time."""
    return jax.tree.map(np.asarray, tree)


def _joined(count: int, array: np.ndarray) -> np.ndarray:
    """(batches, rows, …) → (samples, …), the caller's own to change."""
    return array.reshape(-1, *array.shape[2:])[:count].copy()


def _calls(steps: int, by_batch: bool, room: int) -> Iterator[tuple[int, int]]:
    """First step and step after the last of each call of an evaluation or a prediction."""
    size = 1 if by_batch else room
    for begin in range(0, steps, size):
        yield begin, min(begin + size, steps)


def _logs(emitted, slot: int) -> dict:
    """A step's logs as Python numbers."""
    if not isinstance(emitted, dict):
        emitted = {"loss": emitted}
    return {
        name: value[slot].item() if value[slot].ndim == 0 else value[slot]
        for name, value in emitted.items()
    }
