"""Compares the mean scores of two samples or of pairs, and corrects for several comparisons.

The permutation test is exact if runs differ in nothing but their seed. For two samples its
statistic is Welch's t, so that with many seeds it tests means also where variances and counts
differ (Janssen, "Studentized permutation tests for non-i.i.d. hypotheses and the generalized
Behrens-Fisher problem", Statistics & Probability Letters 36, 1997; Chung and Romano, "Exact and
asymptotically robust permutation tests", Annals of Statistics 41, 2013); with equal counts that is
equivalent to the difference of means. The interval is Welch's ("The generalization of 'Student's'
problem when several different population variances are involved", Biometrika 34, 1947); for pairs,
Student's.

Limits: only means are compared, and runs are assumed to be independent.
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple, get_args

import numpy as np

from legato._analysis.statistics.comparison import Comparison, Correction
from legato._analysis.statistics.intervals import Interval, half_width, interval, limited_to_unit
from legato._analysis.statistics.permutation_tests import paired_test, two_sample_test
from legato._analysis.statistics.seed_scores import (
    ROUNDING,
    check_level,
    check_positive,
    seed_scores,
    standard_deviation,
)
from legato._errors import InputError
from legato._platform.checks import check_choice, check_count

PERMUTATIONS = 199_999  # two samples of 10 seeds have 184,756 permutations, which take a second


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
    """Compare the mean scores of two models that were run under several seeds each.

    With very few seeds a permutation test cannot find any difference, however large: at level 0.95
    it needs 4 seeds of each, or 6 pairs.

    Args:
        one, other: scores of the two, (seeds,), two or more each.
        paired: whether score k of both comes from runs that share a source of variation, such as
            the split, the data or the initial weights.
        names: names of the two, for the sentence.
        what: name of the scores, for the sentence.
        unit: a word, or ``"%"`` for shares of 1, as for ``legato.interval``.
        level: confidence level of the intervals; 1 - level is the significance level.
        margin: largest difference that does not matter, in the scores' own unit: 0.02 is two
            points. Default: none, so that nothing is found to be equal.
        permutations: largest number of permutations. If there are no more, p is exact; else so many
            are drawn. The default makes two samples of 10 seeds exact.
        seed: random seed for drawing permutations.

    Returns:
        A ``Comparison``, which prints as a sentence. Correct several by ``legato.corrected``.

    Raises:
        InputError: fewer than two scores, NaN or infinite scores, several scores per seed; unequal
            numbers of paired scores; an invalid level, margin, seed or number of permutations.

    Examples:
        >>> from legato import compare
        >>> window, naive = [0.87, 0.91, 0.87, 0.83, 0.91], [0.8, 0.84, 0.84, 0.8, 0.76]
        >>> found = compare(window, naive, names=("the window", "naive"), unit="%")
        >>> found.finding, round(found.difference, 3), round(found.p, 4)
        ('higher', 0.07, 0.0238)
    """
    names, level, seed = _checked_names(names), check_level(level), check_count("seed", seed, 0)
    margin = None if margin is None else check_positive("margin", margin)
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
    tolerance = ROUNDING * largest
    if paired:
        differences = x - y
        test = paired_test(differences, tolerance, int(permutations), seed)
        uncertainty = _paired_uncertainty(standard_deviation(differences, largest), len(x))
    else:
        differences = np.subtract.outer(x, y)
        test = two_sample_test(x, y, tolerance, int(permutations), seed)
        uncertainty = _two_sample_uncertainty(*means)
    return Comparison(
        *means,
        names,
        what,
        difference,
        *_interval_ends(difference, uncertainty, level, unit),
        paired=bool(paired),
        deviation=uncertainty.deviation if paired else None,
        effect=_hedges_g(difference, uncertainty),
        dominance=float((differences > tolerance).mean() - (differences < -tolerance).mean()),
        p=test.p,
        p_alone=test.p,
        arrangements=test.arrangements,
        seed=test.seed,
        margin=margin,
    )


def corrected(comparisons: Iterable[Comparison], method: Correction = "holm") -> list[Comparison]:
    """Correct the p-values, and so the findings, of several comparisons.

    Without correction, one of 20 comparisons of equal means is found to differ at level 0.95.
    Intervals are left as they are, each at its own level.

    Args:
        comparisons: the results of ``legato.compare``, all that were made.
        method: ``"holm"``: 1 - level bounds the probability of any false finding (Holm, "A simple
            sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6,
            1979). ``"benjamini-hochberg"``: 1 - level bounds the expected share of false findings,
            if comparisons are independent or positively dependent (Benjamini and Hochberg,
            "Controlling the false discovery rate", Journal of the Royal Statistical Society B 57,
            1995).

    Returns:
        The same comparisons with corrected ``p``, in order.

    Raises:
        InputError: there are no comparisons, one is none of ``legato.compare``, or the method is
            not known.

    Examples:
        >>> from legato import compare, corrected
        >>> far, near = compare(range(9), range(9, 18)), compare(range(9), range(2, 11))
        >>> [each.finding for each in corrected([far, near])]
        ['lower', 'undecided']
    """
    from scipy import stats

    check_choice("method", method, get_args(Correction))
    given = list(comparisons)
    if not given or not all(isinstance(each, Comparison) for each in given):
        came = sorted({type(each).__name__ for each in given}) or "none"
        raise InputError(f"Comparisons are expected, from legato.compare; {came} came.")
    p_values = np.array([each.p_alone for each in given])
    adjust = _holm_adjusted if method == "holm" else stats.false_discovery_control
    return [
        replace(each, p=float(p), correction=method, comparisons=len(given))
        for each, p in zip(given, adjust(p_values), strict=True)
    ]


def _holm_adjusted(p_values: np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values: the k-th smallest of n times n - k + 1, made non-decreasing."""
    order = np.argsort(p_values)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    return np.minimum(adjusted, 1)


class _Uncertainty(NamedTuple):
    """The uncertainty of a difference of means.

    Attributes:
        error, df: standard error and its degrees of freedom.
        deviation, deviation_df: standard deviation that the effect size is measured in, and its
            degrees of freedom.
    """

    error: float
    df: float
    deviation: float
    deviation_df: int


def _paired_uncertainty(deviation: float, pairs: int) -> _Uncertainty:
    return _Uncertainty(deviation / math.sqrt(pairs), pairs - 1, deviation, pairs - 1)


def _two_sample_uncertainty(one: Interval, other: Interval) -> _Uncertainty:
    """Welch's standard error and degrees of freedom, and the pooled standard deviation."""
    samples = (one, other)
    errors = [each.deviation / math.sqrt(each.count) for each in samples]
    error = math.hypot(*errors)
    if not error:
        return _Uncertainty(0.0, math.inf, 0.0, one.count + other.count - 2)
    shares = [
        (part / error) ** 4 / (each.count - 1) for part, each in zip(errors, samples, strict=True)
    ]
    df = one.count + other.count - 2
    pooled = math.hypot(*(each.deviation * math.sqrt((each.count - 1) / df) for each in samples))
    return _Uncertainty(error, 1 / sum(shares), pooled, df)


def _interval_ends(
    difference: float, uncertainty: _Uncertainty, level: float, unit: str
) -> tuple[float | None, float | None]:
    if not uncertainty.error:
        return None, None
    width = half_width(uncertainty.error, uncertainty.df, level)
    return limited_to_unit(unit, difference - width, difference + width, least=-1)


def _hedges_g(difference: float, uncertainty: _Uncertainty) -> float | None:
    """Hedges' g: the difference in standard deviations, times the correction for small samples."""
    from scipy import special

    half = uncertainty.deviation_df / 2
    if not uncertainty.deviation or half <= 0.5:
        return None
    correction = math.exp(special.gammaln(half) - special.gammaln(half - 0.5)) / math.sqrt(half)
    return difference / uncertainty.deviation * correction


def _checked_names(names) -> tuple[str, str]:
    """A pair of names, as text."""
    if not isinstance(names, tuple | list) or len(names) != 2:
        raise InputError(f"names={names!r} must be two, such as ('window', 'naive').")
    return f"{names[0]}", f"{names[1]}"
