"""Whether the scores of one are higher than another's, by how much, and how sure that is.

The permutation test is exact where seeds are all that tells runs apart. Of two sides it compares
Welch's t, so that with many seeds it holds for means also where spreads and counts differ (Janssen,
"Studentized permutation tests for non-i.i.d. hypotheses and the generalized Behrens-Fisher
problem", Statistics & Probability Letters 36, 1997; Chung and Romano, "Exact and asymptotically
robust permutation tests", Annals of Statistics 41, 2013); with as many on both sides that is the
difference of means. The interval is Welch's ("The generalization of 'Student's' problem when
several different population variances are involved", Biometrika 34, 1947), of pairs Student's.

Limits: means are compared, of runs that are independent.
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from legato._analysis.statistics import permutation
from legato._analysis.statistics.comparison import Comparison, Correction
from legato._analysis.statistics.intervals import Interval, interval, reach, within
from legato._analysis.statistics.seed_scores import (
    SAME,
    checked_level,
    checked_positive,
    checked_word,
    seed_scores,
    spread,
)
from legato._errors import InputError
from legato._platform.checks import check_count

PERMUTATIONS = 199_999  # 10 seeds of each have 184,756 arrangements, which take a second


def compare(
    one,
    other,
    *,
    paired: bool = False,
    names: tuple[str, str] = ("the first", "the second"),
    what: str = "score",
    unit: str = "",
    level: float = 0.95,
    margin: float | None = None,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Comparison:
    """Compare the scores of two things that were run under several seeds each.

    A permutation test cannot find anything in very few seeds, however far apart they are: at the
    level 0.95 it takes 4 of each, or 6 pairs.

    Args:
        one, other: (seeds,), a score of each, two or more.
        paired: whether score k of both is of runs that share what moves scores, such as the split,
            the data or the first weights.
        names: what the two are called.
        what: what their scores are.
        unit: as for ``legato.interval``: a word, or ``"%"`` for shares of 1.
        level: of the intervals; 1 - level is the probability of finding what is not there.
        margin: a difference that does not matter, in the scores' own unit: 0.02 is two points.
        permutations: arrangements that are looked at, at most. If there are no more, p is exact;
            else so many are drawn.
        seed: what they are drawn with.

    Returns:
        A value that tells itself when printed. If there are several, see ``legato.corrected``.

    Raises:
        InputError: fewer than two scores, one that is NaN or infinite, several for a seed; pairs
            that are none; a level, margin, seed or number of permutations that is none.

    Example:
        >>> window, naive = [0.87, 0.91, 0.87, 0.83, 0.91], [0.8, 0.84, 0.84, 0.8, 0.76]
        >>> found = compare(window, naive, names=("the window", "naive"), unit="%")
        >>> found.finding, round(found.difference, 3), round(found.p, 4)
        ('higher', 0.07, 0.0238)
    """
    names, level, seed = _two(names), checked_level(level), check_count("seed", seed, 0)
    margin = None if margin is None else checked_positive("margin", margin)
    check_count("permutations", permutations)
    x = seed_scores(f"The scores of {names[0]}", one, unit)
    y = seed_scores(f"The scores of {names[1]}", other, unit)
    if paired and len(x) != len(y):
        raise InputError(
            f"Pairs need as many scores of both, and {names[0]} has {len(x):,}, {names[1]} has "
            f"{len(y):,}. Give both for the same seeds in the same order, or paired=False."
        )
    means = interval(x, level, unit=unit), interval(y, level, unit=unit)
    difference = means[0].mean - means[1].mean
    largest = float(max(np.abs(x).max(), np.abs(y).max()))
    drawn = (SAME * largest, int(permutations), seed)
    if paired:
        apart, test = x - y, permutation.of_pairs(x - y, *drawn)
        scatter = _of_pairs(spread(apart, largest), len(x))
    else:
        apart, test = np.subtract.outer(x, y), permutation.of_sides(x, y, *drawn)
        scatter = _of_sides(*means)
    return Comparison(
        *means,
        names,
        what,
        difference,
        *_ends(difference, scatter, level, unit),
        paired=bool(paired),
        deviation=scatter.deviation if paired else None,
        effect=_effect(difference, scatter),
        dominance=float((apart > drawn[0]).mean() - (apart < -drawn[0]).mean()),
        p=test.p,
        p_alone=test.p,
        arrangements=test.arrangements,
        seed=test.seed,
        margin=margin,
    )


def corrected(comparisons: Iterable[Comparison], method: Correction = "holm") -> list[Comparison]:
    """The same comparisons, each p raised for there being several, and so what was found.

    Of 20 comparisons of equals, one is found to differ at the level 0.95. Intervals stay as they
    are, each of its own level.

    Args:
        comparisons: what ``legato.compare`` gave, all that were looked at.
        method: ``"holm"``: 1 - level is the probability of finding anything that is not there
            (Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal
            of Statistics 6, 1979). ``"benjamini-hochberg"``: it is the share of such among what is
            found, if comparisons are independent or lean the same way (Benjamini and Hochberg,
            "Controlling the false discovery rate", Journal of the Royal Statistical Society B 57,
            1995).

    Raises:
        InputError: there are none, one is no comparison, or the method is not known.

    Example:
        >>> far, near = compare(range(9), range(9, 18)), compare(range(9), range(2, 11))
        >>> [each.finding for each in corrected([far, near])]
        ['lower', 'undecided']
    """
    from scipy import stats

    checked_word("method", method, Correction)
    given = list(comparisons)
    if not given or not all(isinstance(each, Comparison) for each in given):
        came = sorted({type(each).__name__ for each in given}) or "none"
        raise InputError(f"Comparisons are expected, from legato.compare; {came} came.")
    alone = np.array([each.p_alone for each in given])
    raised = _holm(alone) if method == "holm" else stats.false_discovery_control(alone)
    return [
        replace(each, p=float(p), correction=method, comparisons=len(given))
        for each, p in zip(given, raised, strict=True)
    ]


def _holm(alone: np.ndarray) -> np.ndarray:
    """The smallest p times as many as there are, the next times one less, none below its former."""
    order = np.argsort(alone)
    raised = np.empty_like(alone)
    raised[order] = np.maximum.accumulate(alone[order] * np.arange(len(alone), 0, -1))
    return np.minimum(raised, 1)


class _Scatter(NamedTuple):
    """How uncertain a difference is.

    Attributes:
        error, df: its standard error, and the degrees of freedom of that.
        deviation, deviation_df: what an effect is measured in, and the degrees of freedom of that.
    """

    error: float
    df: float
    deviation: float
    deviation_df: int


def _of_pairs(deviation: float, pairs: int) -> _Scatter:
    return _Scatter(deviation / math.sqrt(pairs), pairs - 1, deviation, pairs - 1)


def _of_sides(one: Interval, other: Interval) -> _Scatter:
    """Welch's standard error and degrees of freedom; the deviation is pooled."""
    sides = (one, other)
    errors = [side.deviation / math.sqrt(side.count) for side in sides]
    error = math.hypot(*errors)
    if not error:
        return _Scatter(0.0, math.inf, 0.0, one.count + other.count - 2)
    shares = [
        (part / error) ** 4 / (side.count - 1) for part, side in zip(errors, sides, strict=True)
    ]
    df = one.count + other.count - 2
    pooled = math.hypot(*(side.deviation * math.sqrt((side.count - 1) / df) for side in sides))
    return _Scatter(error, 1 / sum(shares), pooled, df)


def _ends(
    difference: float, scatter: _Scatter, level: float, unit: str
) -> tuple[float | None, float | None]:
    if not scatter.error:
        return None, None
    far = reach(scatter.error, scatter.df, level)
    return within(unit, difference - far, difference + far, least=-1)


def _effect(difference: float, scatter: _Scatter) -> float | None:
    """In deviations, times what makes their quotient's expectation right."""
    from scipy import special

    half = scatter.deviation_df / 2
    if not scatter.deviation or half <= 0.5:
        return None
    right = math.exp(special.gammaln(half) - special.gammaln(half - 0.5)) / math.sqrt(half)
    return difference / scatter.deviation * right


def _two(names) -> tuple[str, str]:
    """Two names, if that is what came."""
    if not isinstance(names, tuple | list) or len(names) != 2:
        raise InputError(f"names={names!r} must be two, such as ('window', 'naive').")
    return f"{names[0]}", f"{names[1]}"
