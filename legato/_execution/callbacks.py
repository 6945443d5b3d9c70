"""The callbacks of a run, and how many steps of it they let run in one compiled call.

Callbacks with batch methods allow one execution (``steps_per_execution`` batches) a call, callbacks
with epoch methods an epoch; ``run_ahead`` says where a call takes several of them. Without either,
a call takes as many steps as fit in a fraction of a second, so that progress can be shown and
Ctrl-C takes effect. The numbers are the same each time, since it is the same program.
"""

from typing import Any

import jax
import keras

from legato._errors import InputError
from legato._execution.backup import upgrade_backup

CALL_SECONDS = 0.2  # approximate time of one call without callbacks
FIRST_CALL_STEPS = 256  # until the rate is known


def make_callback_list(callbacks, model, history: bool, **params) -> keras.callbacks.Callback:
    """What a run calls: all callbacks as one.

    Args:
        callbacks: as the user gave them: a list, one callback, a ``CallbackList``, or None.
        model: the model that runs.
        history: whether a ``History`` is added, as for training.
        **params: what Keras calls a callback's params.

    Raises:
        InputError: one of them is no callback.
    """
    listed = [] if callbacks is None else list(flatten_callbacks(callbacks))
    for each in listed:
        if isinstance(each, type) or not hasattr(each, "set_model"):
            raise InputError(
                f"callbacks has {each!r}; objects of keras.callbacks.Callback were expected."
            )
        upgrade_backup(each)
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    if history and not any(isinstance(each, keras.callbacks.History) for each in listed):
        listed.append(keras.callbacks.History())
    return CallbackCalls(listed, model, params) if listed else keras.callbacks.Callback()


_WRITERS = (
    keras.callbacks.ModelCheckpoint,
    keras.callbacks.CSVLogger,
    keras.callbacks.TensorBoard,
)


def in_process(callbacks, verbose: int | str) -> tuple:
    """Callbacks and verbosity of this process, one of several that train together.

    Only process 0 shows progress and calls those of Keras's callbacks that write files, which would
    be the same in all. Of ``BackupAndRestore`` all take part, and process 0 writes.
    """
    if jax.process_index() == 0 or isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks, verbose
    listed = [] if callbacks is None else flatten_callbacks(callbacks)
    return [each for each in listed if type(each) not in _WRITERS], 0


class CallbackCalls(keras.callbacks.Callback):
    """Calls several callbacks, each with the logs as they are.

    Keras's ``CallbackList`` converts the logs for every call, and its ``History`` is set as the
    model's attribute after every epoch: together they take as long as a small network's epoch.
    Here the logs are Python numbers already. Every call hands out a dictionary of its own, to which
    callbacks may add, as ``ReduceLROnPlateau`` does, for those after them.

    Args:
        callbacks: the callbacks, in the order in which they are called.
        model: the model that runs.
        params: what Keras calls a callback's params.

    Attributes:
        callbacks: as given.
    """

    def __init__(self, callbacks: list, model, params: dict):
        super().__init__()
        self.callbacks = callbacks
        for each in callbacks:
            if isinstance(each, keras.callbacks.History):
                model.history = each
        self.set_model(model)
        self.set_params(params)

    def set_model(self, model):
        super().set_model(model)
        for each in self.callbacks:
            each.set_model(model)

    def set_params(self, params):
        super().set_params(params)
        for each in self.callbacks:
            each.set_params(params)

    def on_epoch_begin(self, epoch, logs=None):
        logs = dict(logs or ())
        for each in self.callbacks:
            each.on_epoch_begin(epoch, logs)

    def on_epoch_end(self, epoch, logs=None):
        logs = dict(logs or ())
        for each in self.callbacks:
            if type(each) is keras.callbacks.History:
                _record_epoch(each, epoch, logs)
            else:
                each.on_epoch_end(epoch, logs)

    def on_train_begin(self, logs=None):
        self._call("on_train_begin", logs)

    def on_train_end(self, logs=None):
        self._call("on_train_end", logs)

    def on_test_begin(self, logs=None):
        self._call("on_test_begin", logs)

    def on_test_end(self, logs=None):
        self._call("on_test_end", logs)

    def on_predict_begin(self, logs=None):
        self._call("on_predict_begin", logs)

    def on_predict_end(self, logs=None):
        self._call("on_predict_end", logs)

    def on_train_batch_begin(self, batch, logs=None):
        self._call_for_batch("on_train_batch_begin", batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        self._call_for_batch("on_train_batch_end", batch, logs)

    def on_test_batch_begin(self, batch, logs=None):
        self._call_for_batch("on_test_batch_begin", batch, logs)

    def on_test_batch_end(self, batch, logs=None):
        self._call_for_batch("on_test_batch_end", batch, logs)

    def on_predict_batch_begin(self, batch, logs=None):
        self._call_for_batch("on_predict_batch_begin", batch, logs)

    def on_predict_batch_end(self, batch, logs=None):
        self._call_for_batch("on_predict_batch_end", batch, logs)

    def _call(self, name: str, logs) -> None:
        logs = dict(logs or ())
        for each in self.callbacks:
            getattr(each, name)(logs)

    def _call_for_batch(self, name: str, batch: int, logs) -> None:
        logs = dict(logs or ())
        for each in self.callbacks:
            getattr(each, name)(batch, logs=logs)


def _record_epoch(history: keras.callbacks.History, epoch: int, logs: dict) -> None:
    """What ``History.on_epoch_end`` does; it is set as the model's attribute only if it is not.

    A callback that trains the same model has set another one.
    """
    model: Any = history.model
    if model.history is not history:
        model.history = history
    history.epoch.append(epoch)
    for name, value in logs.items():
        history.history.setdefault(name, []).append(value)


def has_batch_callbacks(callback: keras.callbacks.Callback, verb: str) -> bool:
    """Whether any callback has a batch method of ``"train"``, ``"test"`` or ``"predict"``."""
    names = [f"on_{verb}_batch_begin", f"on_{verb}_batch_end"]
    names += ["on_batch_begin", "on_batch_end"] if verb == "train" else []
    return any(
        _overrides(each, name) and not _waits_for_the_epoch(each, name)
        for each in flatten_callbacks(callback)
        for name in names
    )


def has_epoch_callbacks(callback: keras.callbacks.Callback) -> bool:
    """Whether any callback has an epoch method; ``History`` can be called afterwards."""
    return any(
        _overrides(each, name)
        for each in flatten_callbacks(callback)
        if type(each) is not keras.callbacks.History
        for name in ("on_epoch_begin", "on_epoch_end")
    )


def has_test_callbacks(callback: keras.callbacks.Callback) -> bool:
    """Whether any callback has a method for validation."""
    names = ("on_test_begin", "on_test_end", "on_test_batch_begin", "on_test_batch_end")
    return any(_overrides(each, name) for each in flatten_callbacks(callback) for name in names)


def flatten_callbacks(callbacks) -> list[keras.callbacks.Callback]:
    """The single callbacks of a list, a ``CallbackList`` or one callback."""
    if isinstance(callbacks, (list, tuple)):
        return list(callbacks)
    return getattr(callbacks, "callbacks", [callbacks])


def _overrides(callback, name: str) -> bool:
    method = getattr(callback, name)
    return getattr(method, "__func__", method) is not getattr(keras.callbacks.Callback, name)


def _waits_for_the_epoch(callback, name: str) -> bool:
    """Whether a batch method is one of Keras's that does nothing with ``save_freq="epoch"``."""
    if getattr(callback, "save_freq", None) != "epoch":
        return False
    method = getattr(getattr(callback, name), "__func__", None)
    savers = (keras.callbacks.ModelCheckpoint, keras.callbacks.BackupAndRestore)
    return any(method is getattr(each, name) for each in savers)


class CallLength:
    """The number of steps after which a call has taken about ``CALL_SECONDS``."""

    def __init__(self):
        self._rate: float | None = None
        self._calls = 0

    def seconds(self, steps: int) -> float:
        """The time of some steps in one call; infinite until the rate is known."""
        return float("inf") if self._rate is None else steps / self._rate

    @property
    def steps(self) -> int:
        return FIRST_CALL_STEPS if self._rate is None else max(1, int(self._rate * CALL_SECONDS))

    def measure(self, steps: int, seconds: float) -> None:
        """Adapt to the time of a call. The first one may have compiled, so it is left out."""
        self._calls += 1
        if self._calls > 1 and seconds > 0:
            self._rate = steps / seconds
