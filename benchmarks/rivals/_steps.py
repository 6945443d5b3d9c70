"""A network fed one step at a time: what each rival offers, and what is asked of all of them alike.

The letters go round and round, A to Z; the state is carried from call to call, by the rival or by
hand, from the beginning of a sequence on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from _networks import LETTERS

FIRST = 0  # the letter that a sequence begins with

Feed = Callable[[np.ndarray], np.ndarray]


class Way(NamedTuple):
    """One of a rival's ways to be fed.

    Attributes:
        begin: start a sequence; what is returned takes a step, answers it, and carries the state.
        shape: of the step it takes, float32: the rival's own, so that no reshaping is timed.
    """

    begin: Callable[[], Feed]
    shape: tuple[int, ...]

    def letters(self) -> np.ndarray:
        """All letters as this way takes them, (26, *shape)."""
        return (np.arange(LETTERS) / LETTERS).astype("float32").reshape(-1, *self.shape)


def answers(way: Way, steps: int) -> list[list[float]]:
    """What the first steps of a sequence are answered."""
    feed, letters = way.begin(), way.letters()
    return [feed(letters[step % LETTERS]).ravel().tolist() for step in range(steps)]


def endless(way: Way) -> Callable[[], np.ndarray]:
    """A call that feeds the next letter and answers it."""
    feed, letters, step = way.begin(), list(way.letters()), -1

    def call() -> np.ndarray:
        nonlocal step
        step = (step + 1) % LETTERS
        return feed(letters[step])

    return call


def go_on(way: Way, steps: int) -> tuple[float, list[int]]:
    """Feed the likeliest letter back in, as a Python loop; the seconds it took, and the letters."""
    feed, letters, chosen = way.begin(), list(way.letters()), []
    answer = feed(letters[FIRST])
    began = time.perf_counter()
    for _ in range(steps):
        letter = answer.argmax()
        chosen.append(letter)
        answer = feed(letters[letter])
    return time.perf_counter() - began, list(map(int, chosen))
