"""Types of questions on the published text's claims, and of their answers.

A question is an experiment over many seeds. Its answer is a sentence with numbers, the scores
behind it, and statistical comparisons of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from legato import Comparison

Verdict = Literal["holds", "holds in part", "does not hold", "undecided"]


@dataclass(frozen=True)
class Group:
    """The scores of one variant of an experiment.

    Attributes:
        name: of the variant.
        scores: one per seed, (seeds,).
    """

    name: str
    scores: np.ndarray


@dataclass(frozen=True)
class Found:
    """The result of an experiment.

    Attributes:
        verdict: whether the claim holds.
        sentence: the answer, with numbers.
        groups: the scores behind it, in the order they are shown.
        comparisons: of some groups.
        remarks: further results, a sentence each.
    """

    verdict: Verdict
    sentence: str
    groups: tuple[Group, ...]
    comparisons: tuple[Comparison, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Question:
    """A question on a claim of the published text.

    Attributes:
        name: one word.
        asks: the question.
        claimed: the claim.
        experiment: answers it; called with an ``Experiment``, which says how extensive it may be.
        what: name of the scores.
        unit: of the scores as they are shown: ``"%"`` for shares of 1, or a word.
    """

    name: str
    asks: str
    claimed: str
    experiment: Callable[[Any], Found] = field(repr=False)
    what: str = "accuracy"
    unit: str = "%"


@dataclass(frozen=True)
class Answer:
    """A question with the result of its experiment.

    Attributes:
        question: the question.
        found: the result.
        quick: whether fewer seeds and settings were used.
        seconds: wall time.
    """

    question: Question
    found: Found
    quick: bool
    seconds: float
