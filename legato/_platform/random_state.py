"""Saves, restores and temporarily seeds the global random generators of Python, NumPy and Keras.

Sample orders come from NumPy's generator, initial weights and dropout's seeds from Python's, and
``keras.random`` without a seed draws from Keras's. Limits: generators that users made themselves,
and those of TensorFlow and PyTorch, are not saved.
"""

import random
import sys
from contextlib import contextmanager

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


@contextmanager
def temporary_seed(seed: int):
    """Draw random numbers as after ``keras.utils.set_random_seed``; afterwards as before.

    That function imports TensorFlow wherever it is installed, which takes seconds. Where it is not
    imported yet, nothing draws from it, so that its generator needs no seed.
    """
    drawn, keras_seeds = global_random_state(), keras_private.global_seeds()
    try:
        if "tensorflow" in sys.modules:
            keras.utils.set_random_seed(seed)
        else:
            random.seed(seed)
            np.random.seed(seed)
            keras_private.set_global_seeds(seed)
        yield
    finally:
        restore_random_state(drawn)
        keras_private.set_global_seeds(*keras_seeds)
