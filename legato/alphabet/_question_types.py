"""What the published text claimed and left open: questions, and what answers them.

A question is an experiment over many seeds. Its answer is a sentence with numbers, the scores that
it was taken from, and what was compared with what.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from legato import Comparison

Verdict = Literal["holds", "holds in part", "does not hold", "undecided"]


@dataclass(frozen=True)
class Group:
    """The scores of one way to do it.

    Attributes:
        name: which.
        scores: one a seed, (seeds,).
    """

    name: str
    scores: np.ndarray


@dataclass(frozen=True)
class Found:
    """What an experiment found.

    Attributes:
        verdict: whether what was claimed comes out.
        sentence: the answer, with numbers.
        groups: the scores it was taken from, in the order they are told.
        comparisons: what was compared with what.
        remarks: what else was seen, a sentence each.
    """

    verdict: Verdict
    sentence: str
    groups: tuple[Group, ...]
    comparisons: tuple[Comparison, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Question:
    """One thing that the published text claimed or left open.

    Attributes:
        name: a word.
        asks: the question.
        claimed: what was said.
        experiment: finds it out, with the effort it is given.
        what: what the scores are.
        unit: of the scores as they are told: ``"%"`` for shares of 1, or a word.
    """

    name: str
    asks: str
    claimed: str
    experiment: Callable[[Any], Found] = field(repr=False)
    what: str = "accuracy"
    unit: str = "%"


@dataclass(frozen=True)
class Answer:
    """A question, what was found, and how long it took.

    Attributes:
        question: which.
        found: what came out.
        quick: whether it was asked for with fewer seeds and settings.
        seconds: wall time.
    """

    question: Question
    found: Found
    quick: bool
    seconds: float
