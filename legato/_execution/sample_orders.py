"""The order of the samples in an epoch: whether they are shuffled, and by which random numbers."""

from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, get_args

import numpy as np

from legato._errors import InputError
from legato._platform.checks import check_choice
from legato._recurrent.reset_rules import Reset, carries_between_batches

Shuffle = Literal[False, True, "batch"]

_ORDER_GENERATOR: ContextVar[Any] = ContextVar("generator of sample orders", default=np.random)


@contextmanager
def drawing_orders_from(generator: np.random.RandomState):
    """A context in which new sources draw their sample orders from a generator of their own.

    NumPy's global generator has one sequence of numbers for the process, so that threads that train
    side by side would draw from it in an order that depends on their timing.
    """
    token = _ORDER_GENERATOR.set(generator)
    try:
        yield
    finally:
        _ORDER_GENERATOR.reset(token)


def order_generator() -> Any:
    """The generator that new sources draw their sample orders from."""
    return _ORDER_GENERATOR.get()


def check_shuffle(shuffle) -> None:
    """Refuse a value of ``shuffle=`` that is not among its choices.

    Raises:
        InputError: it is another value; the message lists the choices.
    """
    check_choice("shuffle", shuffle, (None, *get_args(Shuffle)))


def resolve_shuffle(shuffle: Shuffle | None, reset: Reset, stateful: bool) -> Shuffle:
    """How the samples of a training are shuffled.

    Args:
        shuffle: as the user gave it. Default: True without stateful layers, False with them.
        reset: when state is reset.
        stateful: whether the model has stateful layers.

    Raises:
        InputError: samples in random order would continue each other's state.
    """
    if shuffle is None:
        return not stateful
    if shuffle and stateful and carries_between_batches(reset):
        raise InputError(
            f"shuffle={shuffle!r} with a stateful layer: row r of a batch would go on from a "
            "sample drawn at random, and what is carried would mean nothing. Leave shuffle "
            'out, start every batch afresh with reset="batch", or make the layers '
            "stateful=False."
        )
    return "batch" if shuffle == "batch" else bool(shuffle)


def epoch_order(count: int, rows: int, shuffle: Shuffle, random: Any = np.random) -> np.ndarray:
    """The sample indices of an epoch.

    Args:
        count: samples.
        rows: samples in a full batch.
        shuffle: whether they are shuffled; ``"batch"``: within each batch only, as in Keras.
        random: a ``RandomState``. Default: NumPy's global one.
    """
    if shuffle != "batch":
        return random.permutation(count) if shuffle else np.arange(count)
    batches = (np.arange(begin, min(begin + rows, count)) for begin in range(0, count, rows))
    return np.concatenate([random.permutation(batch) for batch in batches])
