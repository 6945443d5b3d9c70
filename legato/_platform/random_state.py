"""Saves, restores and temporarily seeds the global random generators of Python, NumPy and Keras.

Sample orders come from NumPy's generator, initial weights and dropout's seeds from Python's, and
``keras.random`` without a seed draws from Keras's. Other threads draw from Python's generator at
any time (Tornado's do, several times a second), so a thread that is temporarily seeded has one of
its own. Limits: generators that users made themselves, and those of TensorFlow and PyTorch, are not
saved; other threads are not kept from drawing from NumPy's.
"""

import random
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras
import numpy as np

from legato._platform import keras_private


def global_random_state() -> dict:
    """The state of Python's and NumPy's global generators, as numbers, strings and arrays.

    Keras's own generator is not a part: it is made of variables that belong to a model.
    """
    version, words, gauss = random.getstate()
    kind, keys, *rest = np.random.get_state()
    return {
        "python": [version, np.array(words, np.uint32), gauss],
        "numpy": [kind, np.asarray(keys), *rest],
    }


def restore_random_state(state: dict) -> None:
    """Put back the state that ``global_random_state`` gave."""
    random.setstate(_python_state(state))
    np.random.set_state(tuple(state["numpy"]))


def check_random_state(state: dict) -> None:
    """Check a state that was read from a file, by a generator of its own.

    Raises:
        ValueError, LookupError, TypeError, OverflowError: ``restore_random_state`` cannot take it.
    """
    random.Random().setstate(_python_state(state))
    np.random.RandomState().set_state(tuple(state["numpy"]))


def _python_state(state: dict) -> tuple:
    """The state of Python's generator, as ``random.setstate`` takes it."""
    version, words, gauss = state["python"]
    if gauss is not None and not isinstance(gauss, float):
        raise ValueError("the pending normal number of Python's random generator is no number")
    return version, tuple(map(int, words)), gauss


def copy_numpy_generator() -> np.random.RandomState:
    """A generator that draws what NumPy's global one would draw from here on."""
    generator = np.random.RandomState()
    generator.set_state(np.random.get_state())
    return generator


_OWN: ContextVar[random.Random | None] = ContextVar("generator of the thread", default=None)


class _GeneratorOfThread(random.Random):
    """Python's global generator; in a context that has one of its own, that one.

    ``random.Random`` draws all other numbers by means of these.
    """

    def random(self) -> float:
        own = _OWN.get()
        return super().random() if own is None else own.random()

    def getrandbits(self, k: int, /) -> int:
        own = _OWN.get()
        return super().getrandbits(k) if own is None else own.getrandbits(k)

    def seed(self, *arguments, **options) -> None:
        own = _OWN.get()
        return (super() if own is None else own).seed(*arguments, **options)

    def getstate(self) -> tuple:
        own = _OWN.get()
        return (super() if own is None else own).getstate()

    def setstate(self, state) -> None:
        own = _OWN.get()
        return (super() if own is None else own).setstate(state)

    @property
    def gauss_next(self) -> float | None:
        """The second of two normal numbers that were drawn together."""
        own = _OWN.get()
        return vars(self if own is None else own)["gauss_next"]

    @gauss_next.setter
    def gauss_next(self, value: float | None) -> None:
        own = _OWN.get()
        vars(self if own is None else own)["gauss_next"] = value


_FUNCTION: Any = random.randint
_GLOBAL = _FUNCTION.__self__  # that the functions of the module draw from
_GLOBAL.__class__ = _GeneratorOfThread
for _name in ("random", "getrandbits", "seed", "getstate", "setstate"):
    setattr(random, _name, getattr(_GLOBAL, _name))


@contextmanager
def temporary_seed(seed: int):
    """Draw random numbers as after ``keras.utils.set_random_seed``; afterwards as before.

    What other threads draw from Python's generator meanwhile is drawn from another one. That
    function of Keras imports TensorFlow wherever it is installed, which takes seconds. Where it is
    not imported yet, nothing draws from it, so that its generator needs no seed.
    """
    drawn, keras_seeds = np.random.get_state(), keras_private.global_seeds()
    token = _OWN.set(random.Random())
    try:
        if "tensorflow" in sys.modules:
            keras.utils.set_random_seed(seed)
        else:
            random.seed(seed)
            np.random.seed(seed)
            keras_private.set_global_seeds(seed)
        yield
    finally:
        _OWN.reset(token)
        np.random.set_state(drawn)
        keras_private.set_global_seeds(*keras_seeds)
