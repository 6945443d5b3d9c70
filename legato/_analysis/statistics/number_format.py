"""Numbers as a sentence tells them: in their unit, with the decimals that their interval leaves.

Two digits of an interval's width mean something, as of any uncertainty (JCGM 100, "Guide to the
expression of uncertainty in measurement", 2008, 7.2.6); all numbers beside it get as many decimals.
"""

import math
from typing import NamedTuple

MOST_DECIMALS = 9


class Wording(NamedTuple):
    """How scores of a unit are told.

    Attributes:
        scale: what they are multiplied by.
        of_scores, of_differences: what is said after a score, and after a difference of two.
        decimals: after the point; None: six digits in all.
    """

    scale: int
    of_scores: str
    of_differences: str
    decimals: int | None

    def bare(self, value: float) -> str:
        """The number alone."""
        if self.decimals is None:
            return f"{self.scale * value:,.6g}"
        return f"{self.scale * value:z,.{self.decimals}f}"

    def score(self, value: float) -> str:
        """A score with its unit."""
        return self.bare(value) + self.of_scores

    def difference(self, value: float) -> str:
        """A difference of two scores with its unit."""
        told = self.bare(value) + self.of_differences
        return told.removesuffix("s") if told == "1 points" else told


def wording(unit: str, width: float | None = None) -> Wording:
    """How scores are told beside an interval of a width, or without one.

    Args:
        unit: a word; ``"%"`` for shares of 1, told in percent, and their differences in points.
        width: of the interval, in the scores' own unit.

    Example:
        >>> say = wording("%", width=0.018)
        >>> say.score(0.87), say.difference(0.031)
        ('87.0 %', '3.1 points')
    """
    scale = 100 if unit == "%" else 1
    decimals = None
    if width and scale * width > 10**-MOST_DECIMALS:
        decimals = max(0, 1 - math.floor(math.log10(scale * width)))
    word = f" {unit}" if unit else ""
    return Wording(scale, word, " points" if unit == "%" else word, decimals)


def percent(share: float, digits: int = 6) -> str:
    """A share in percent.

    Example:
        >>> percent(0.95)
        '95 %'
    """
    return f"{100 * share:.{digits}g} %"
