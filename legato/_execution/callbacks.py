"""The callbacks of a run, and how many steps of it they let run in one compiled call.

Callbacks with batch methods allow one execution (``steps_per_execution`` batches) a call, callbacks
with epoch methods an epoch. Without either, a call takes as many steps as fit in a fraction of a
second, so that progress can be shown and Ctrl-C takes effect. The numbers are the same each time,
since it is the same program.
"""

import keras

from legato._errors import InputError
from legato._execution.backup import upgrade_backup

CALL_SECONDS = 0.2  # approximate time of one call without callbacks
FIRST_CALL_STEPS = 256  # until the rate is known


def make_callback_list(callbacks, model, history: bool, **params) -> keras.callbacks.Callback:
    """The callback, or the list of callbacks, that a run calls.

    Args:
        callbacks: as the user gave them: a list, one callback, a ``CallbackList``, or None.
        model: the model that runs.
        history: whether a ``History`` is added, as for training.
        **params: what Keras calls a callback's params.

    Raises:
        InputError: one of them is no callback.
    """
    for each in flatten_callbacks(callbacks):
        if each is not None and (isinstance(each, type) or not hasattr(each, "set_model")):
            raise InputError(
                f"callbacks has {each!r}; objects of keras.callbacks.Callback were expected."
            )
        upgrade_backup(each)
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    if callbacks:
        return keras.callbacks.CallbackList(callbacks, add_history=history, model=model, **params)
    if not history:
        return keras.callbacks.Callback()
    alone = keras.callbacks.History()
    alone.set_params(params)
    alone.set_model(model)
    model.history = alone
    return alone


def has_batch_callbacks(callback: keras.callbacks.Callback, verb: str) -> bool:
    """Whether any callback has a batch method of ``"train"``, ``"test"`` or ``"predict"``."""
    names = [f"on_{verb}_batch_begin", f"on_{verb}_batch_end"]
    names += ["on_batch_begin", "on_batch_end"] if verb == "train" else []
    return any(_overrides(each, name) for each in flatten_callbacks(callback) for name in names)


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


class CallLength:
    """The number of steps after which a call has taken about ``CALL_SECONDS``."""

    def __init__(self):
        self._rate: float | None = None
        self._calls = 0

    @property
    def steps(self) -> int:
        return FIRST_CALL_STEPS if self._rate is None else max(1, int(self._rate * CALL_SECONDS))

    def measure(self, steps: int, seconds: float) -> None:
        """Adapt to the time of a call. The first one may have compiled, so it is left out."""
        self._calls += 1
        if self._calls > 1 and seconds > 0:
            self._rate = steps / seconds
