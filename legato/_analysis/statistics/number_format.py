"""Formats scores for a sentence: in their unit, with the decimals that their interval justifies.

An interval's width is given to two significant digits, as any uncertainty (JCGM 100, "Guide to the
expression of uncertainty in measurement", 2008, 7.2.6); all numbers beside it get as many decimals.
"""

import math
from typing import NamedTuple

MAX_DECIMALS = 9


class ScoreFormat(NamedTuple):
    """The format of scores of one unit.

    Attributes:
        scale: factor that a score is multiplied by: 100 for percent, else 1.
        score_unit, difference_unit: text after a score, and after a difference of two scores.
        decimals: digits after the point; None: six significant digits.
    """

    scale: int
    score_unit: str
    difference_unit: str
    decimals: int | None

    def number(self, value: float) -> str:
        """A score or a difference without its unit."""
        if self.decimals is None:
            return f"{self.scale * value:,.6g}"
        return f"{self.scale * value:z,.{self.decimals}f}"

    def score(self, value: float) -> str:
        """A score with its unit."""
        return self.number(value) + self.score_unit

    def difference(self, value: float) -> str:
        """A difference of two scores with its unit."""
        text = self.number(value) + self.difference_unit
        return text.removesuffix("s") if text == "1 points" else text


def score_format(unit: str, width: float | None = None) -> ScoreFormat:
    """The format of scores beside an interval, or without one.

    Args:
        unit: a word; ``"%"`` for shares of 1, printed in percent, and their differences in points.
        width: the interval's width, in the scores' own unit. Default: six significant digits.

    Examples:
        >>> form = score_format("%", width=0.018)
        >>> form.score(0.87), form.difference(0.031)
        ('87.0 %', '3.1 points')
    """
    scale = 100 if unit == "%" else 1
    decimals = None
    if width and scale * width > 10**-MAX_DECIMALS:
        decimals = max(0, 1 - math.floor(math.log10(scale * width)))
    word = f" {unit}" if unit else ""
    return ScoreFormat(scale, word, " points" if unit == "%" else word, decimals)


def percent(share: float, digits: int = 6) -> str:
    """A share of 1 as percent, with so many significant digits.

    Examples:
        >>> percent(0.95)
        '95 %'
    """
    return f"{100 * share:.{digits}g} %"
