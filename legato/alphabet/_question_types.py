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

    Examples:
        >>> import numpy as np
        >>> from legato import alphabet
        >>> alphabet.Group("carried", np.array([1.0, 0.96])).scores
        array([1.  , 0.96])
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

    Examples:
        >>> import numpy as np
        >>> from legato import alphabet
        >>> groups = (alphabet.Group("carried", np.array([1.0, 0.96])),)
        >>> alphabet.Found("holds", "It recites all letters.", groups).remarks
        ()
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

    Examples:
        >>> from legato import alphabet
        >>> (cold,) = alphabet.find_questions(["cold"])
        >>> cold.claimed
        'To answer K properly the state must first be warmed with A…J.'
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

    Examples:
        >>> import numpy as np
        >>> from legato import alphabet
        >>> groups = (alphabet.Group("guesses", np.linspace(0, 1, 20)),)
        >>> found = alphabet.Found("holds", "Guesses average 0.5.", groups)
        >>> question = alphabet.Question("guess", "Right?", "Half.", lambda experiment: found)
        >>> (answer,) = alphabet.answer([question])
        >>> answer.question.name, answer.quick
        ('guess', False)
    """

    question: Question
    found: Found
    quick: bool
    seconds: float
