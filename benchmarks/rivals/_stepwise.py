"""A network fed one time step at a time: the interface of the rivals, and the measurements on it.

The input repeats the letters A to Z. The state is carried from call to call from the beginning of a
sequence, by the rival or by hand.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from _networks import LETTERS

FIRST = 0  # the first letter of a sequence

Feed = Callable[[np.ndarray], np.ndarray]


class Way(NamedTuple):
    """One of a rival's ways to be fed.

    Attributes:
        begin: starts a sequence; returns a function from a step to its output that carries state.
        shape: shape of a step, float32, as the rival takes it, so that no reshaping is timed.
    """

    begin: Callable[[], Feed]
    shape: tuple[int, ...]

    def letters(self) -> np.ndarray:
        """All letters as inputs of this way, (26, *shape)."""
        return (np.arange(LETTERS) / LETTERS).astype("float32").reshape(-1, *self.shape)


def answers(way: Way, steps: int) -> list[list[float]]:
    """The outputs of the first steps of a sequence."""
    feed, letters = way.begin(), way.letters()
    return [feed(letters[step % LETTERS]).ravel().tolist() for step in range(steps)]


def next_step(way: Way) -> Callable[[], np.ndarray]:
    """A call that feeds the next letter and returns the output."""
    feed, letters, step = way.begin(), list(way.letters()), -1

    def call() -> np.ndarray:
        nonlocal step
        step = (step + 1) % LETTERS
        return feed(letters[step])

    return call


def generate(way: Way, steps: int) -> tuple[float, list[int]]:
    """Feed the most probable letter back in, in a Python loop; the seconds, and the letters."""
    feed, letters, chosen = way.begin(), list(way.letters()), []
    answer = feed(letters[FIRST])
    began = time.perf_counter()
    for _ in range(steps):
        letter = answer.argmax()
        chosen.append(letter)
        answer = feed(letters[letter])
    return time.perf_counter() - began, list(map(int, chosen))
