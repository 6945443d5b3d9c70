"""The result of a comparison: the difference, its uncertainty, its sentence, the seeds needed.

A difference counts as found where two methods agree: the permutation test, which is exact if runs
differ in nothing but their seed, and the confidence interval of the difference of means. Neither
suffices alone: with 25 scores against 5 that vary four times as much, p alone finds a difference
that is not there in 15 of 100 tries, both together in 5.

The number of seeds that would find a difference is that of Welch's t test under the noncentral t
distribution, searched upwards from the normal distribution's answer, and never fewer than a
permutation test needs to reach p at all. Limits: scores are assumed normal, with the standard
deviation that was observed, which is a rough estimate if the seeds were few.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any, Literal

from legato._analysis.statistics.intervals import Interval
from legato._analysis.statistics.number_format import percent, score_format
from legato._analysis.statistics.permutation_tests import (
    paired_permutations,
    two_sample_permutations,
)
from legato._analysis.statistics.seed_scores import check_positive, significance_level
from legato._errors import InputError
from legato._platform.output_streams import printable_on_stdout
from legato._platform.wording import counted

MAX_SEEDS = 10**9
LARGEST_NONCENTRALITY = 1e5  # SciPy's noncentral t distribution is NaN from some 1e6 on

Finding = Literal["higher", "lower", "equal", "undecided"]
Correction = Literal["holm", "benjamini-hochberg"]


@dataclass(frozen=True)
class Comparison:
    """The difference of two means, its interval and p-value; prints as a sentence.

    Attributes:
        one: mean of the first sample, with its own interval.
        other: mean of the other sample, with its own interval.
        names: names of the two.
        what: name of the scores.
        difference: mean of ``one`` minus mean of ``other``.
        low: lower end of the difference's interval; None where the scores have no spread.
        high: upper end of the same.
        paired: whether score k of both belongs together.
        deviation: standard deviation of the differences of pairs; None of two samples.
        effect: the difference in standard deviations, corrected for few seeds: Hedges' g of two
            samples ("Distribution theory for Glass's estimator of effect size and related
            estimators", Journal of Educational Statistics 6, 1981); of pairs, the same with the
            standard deviation of their differences. None without spread, and of only two pairs.
        dominance: Cliff's d, -1 to 1: the share of pairs of scores, one of each sample, in which
            ``one`` is higher, minus the share in which it is lower; of paired scores, over the
            pairs (Cliff, "Dominance statistics", Psychological Bulletin 114, 1993).
        p: p-value of the two-sided permutation test, corrected as ``correction`` says.
        p_alone: p-value without correction.
        arrangements: number of permutations computed: all, or a random sample.
        seed: random seed of that sample; None if all were computed, so that p is exact.
        margin: largest difference that does not matter, if one was given.
        correction: ``"holm"`` or ``"benjamini-hochberg"``; None if p is not corrected.
        comparisons: number of comparisons that p is corrected for.

    Examples:
        >>> import legato
        >>> found = legato.compare([0.87, 0.91, 0.87, 0.83, 0.91], [0.8, 0.84, 0.84, 0.8, 0.76])
        >>> found.finding, round(found.p, 3), found.one.count
        ('higher', 0.024, 5)
    """

    one: Interval
    other: Interval
    names: tuple[str, str]
    what: str
    difference: float
    low: float | None
    high: float | None
    paired: bool
    deviation: float | None
    effect: float | None
    dominance: float
    p: float
    p_alone: float
    arrangements: int
    seed: int | None
    margin: float | None = None
    correction: Correction | None = None
    comparisons: int = 1

    @property
    def level(self) -> float:
        """Confidence level of the intervals; a difference is found only if p ≤ 1 - level."""
        return self.one.level

    @property
    def finding(self) -> Finding:
        """Whether ``one`` is ``"higher"``, ``"lower"``, ``"equal"``, or that is ``"undecided"``.

        Equal: a margin was given and the interval lies within it (two one-sided tests; Schuirmann,
        Journal of Pharmacokinetics and Biopharmaceutics 15, 1987). Higher or lower: p is at most
        1 - level, and the interval, if there is one, does not contain 0.
        """
        low, high = self.low, self.high
        if low is None or high is None:
            excludes_zero = True
        elif self.margin is not None and max(-low, high) < self.margin:
            return "equal"
        else:
            excludes_zero = not low <= 0 <= high
        if not excludes_zero or self.p > significance_level(self.level):
            return "undecided"
        return "higher" if self.difference > 0 else "lower"

    def seeds_needed(self, difference: float | None = None, power: float = 0.8) -> int | None:
        """Estimate how many seeds of each would find a difference.

        Args:
            difference: the true difference, in the scores' own unit. Default: the observed one,
                which chance makes too large as easily as too small; better give the smallest that
                would matter (Hoenig and Heisey, "The abuse of power", The American Statistician
                55, 2001).
            power: probability of finding it, at least 0.5 and below 1.

        Returns:
            The number of seeds of each, or of pairs, by the noncentral t distribution; never fewer
            than a permutation test needs at all. None without a difference or a spread, or if a
            billion would not suffice.

        Raises:
            InputError: an invalid difference or power.

        Examples:
            >>> from legato import compare
            >>> compare([1, 2, 3, 4], [2, 3, 4, 5]).seeds_needed()
            28
        """
        if difference is None:
            difference = abs(self.difference)
        else:
            difference = check_positive("difference", difference)
        if isinstance(power, str) or not 0.5 <= power < 1:
            raise InputError(f"power={power!r} must be at least 0.5 and below 1, such as 0.8.")
        deviations = (self.one.deviation, self.other.deviation)
        if self.deviation is not None:
            deviations = (self.deviation,)
        alpha = significance_level(self.level) / self.comparisons
        return seeds_needed(difference, deviations, alpha, power)

    def as_numbers(self) -> dict[str, Any]:
        """All attributes and the sentence, as types that JSON takes."""
        return {
            **asdict(self),
            "one": self.one.as_numbers(),
            "other": self.other.as_numbers(),
            "names": list(self.names),
            "level": self.level,
            "finding": self.finding,
            "seeds_needed": self.seeds_needed(),
            "sentence": _sentence(self),
        }

    @printable_on_stdout
    def __str__(self) -> str:
        return _sentence(self)


def _sentence(found: Comparison) -> str:
    """The finding, difference, interval, seeds and p; if undecided, also the seeds needed."""
    form = score_format(found.one.unit, _shown_width(found))
    one, other = (
        f"{_possessive(name)} {word}({form.score(side.mean)})"
        for name, word, side in zip(
            found.names, (f"{found.what} ", ""), (found.one, found.other), strict=True
        )
    )
    if found.finding in ("higher", "lower"):
        difference = form.difference(abs(found.difference))
        finding = f"{one} is {found.finding} than {other} by {difference}"
    elif found.finding == "equal" and found.margin is not None:
        margin = score_format(found.one.unit).difference(found.margin)
        difference = form.difference(found.difference)
        finding = f"{one} equals {other} within {margin}: the difference is {difference}"
    else:
        finding = f"whether {one} is higher or lower than {other} is undecided: it differs by "
        finding += form.difference(found.difference)
    interval = "with no spread to take an interval from"
    if found.low is not None and found.high is not None:
        low, high = (
            (found.low, found.high) if found.finding != "lower" else (-found.high, -found.low)
        )
        interval = f"{percent(found.level)} interval {form.number(low)} to {form.number(high)}"
    p = f"({_p_value_phrase(found)})"
    sentence = f"{finding}, {interval}, {_seeds_phrase(found)} {p}{_seeds_needed_phrase(found)}."
    return sentence[0].upper() + sentence[1:]


def _shown_width(found: Comparison) -> float | None:
    """The width that decides the decimals: the interval's, or less if an end would print as 0."""
    if found.low is None or found.high is None:
        return None
    width = found.high - found.low
    if found.finding in ("higher", "lower"):
        return min(width, 10 * min(abs(found.low), abs(found.high)))
    return width


def _possessive(name: str) -> str:
    """A name in the possessive: the window's, the seeds'."""
    return f"{name}'" if name.endswith("s") else f"{name}'s"


def _seeds_phrase(found: Comparison) -> str:
    one, other = found.one.count, found.other.count
    if found.paired:
        return f"{one:,} pairs of seeds"
    return f"{one:,} seeds each" if one == other else f"{one:,} and {other:,} seeds"


def _p_value_phrase(found: Comparison) -> str:
    """p, how it was computed, and how it was corrected."""
    p = "p < 0.0001" if found.p < 0.0001 else f"p = {found.p:.3g}"
    if found.seed is None:
        text = f"exact permutation {p}"
    else:
        text = f"permutation {p} of {found.arrangements:,} drawn"
    if found.correction is None:
        return text
    by = "Holm" if found.correction == "holm" else "Benjamini and Hochberg"
    return f"{text}, corrected by {by} for {counted(found.comparisons, 'comparison')}"


def _seeds_needed_phrase(found: Comparison) -> str:
    """Of an undecided comparison, how many seeds would decide it; "" if that is unknown."""
    seeds = found.seeds_needed(found.margin) if found.finding == "undecided" else None
    if seeds is None or seeds <= min(found.one.count, found.other.count):
        return ""
    target = "such a difference"
    if found.margin is not None:
        target = f"a difference of {score_format(found.one.unit).difference(found.margin)}"
    each = "pairs of seeds" if found.paired else "seeds each"
    return f"; about {_rounded_up(seeds):,} {each} would find {target} with 80 % power"


def _rounded_up(number: int) -> int:
    """A number rounded up to two significant digits."""
    digits = 10 ** max(0, len(str(number)) - 2)
    return -(-number // digits) * digits


# Power.


def seeds_needed(
    difference: float, deviations: Sequence[float], alpha: float, power: float
) -> int | None:
    """The smallest number of seeds of each that finds a difference.

    Args:
        difference: true difference of the means, not negative.
        deviations: standard deviations of both samples, or the one of the differences of pairs.
        alpha: significance level.
        power: probability of finding the difference, 0.5 or more.

    Returns:
        None without a difference or a deviation, or if ``MAX_SEEDS`` would not suffice.

    Examples:
        >>> seeds_needed(1.0, [1.0, 1.0], alpha=0.05, power=0.8)
        17
    """
    from scipy import special

    size = math.hypot(*deviations)
    if not difference or not size:
        return None
    normal = float(special.ndtri(1 - alpha / 2) + special.ndtri(power)) * size / difference
    if normal * normal > MAX_SEEDS:
        return None
    first = max(math.ceil(normal * normal), least_seeds(alpha, paired=len(deviations) == 1))
    share = sum((each / size) ** 4 for each in deviations)

    def power_with(seeds: int) -> float:
        df = (seeds - 1) / share  # Welch's, of two samples of one size
        critical = special.stdtrit(df, 1 - alpha / 2)
        noncentrality = min(math.sqrt(seeds) * difference / size, LARGEST_NONCENTRALITY)
        return 1 - float(special.nctdtr(df, noncentrality, critical))

    return next(seeds for seeds in count(first) if power_with(seeds) >= power)


def least_seeds(alpha: float, paired: bool) -> int:
    """The smallest number of seeds of each whose permutations allow a two-sided p of alpha.

    Examples:
        >>> least_seeds(0.05, paired=False), least_seeds(0.05, paired=True)
        (4, 6)
    """

    def permutations(seeds: int) -> int:
        return paired_permutations(seeds) if paired else two_sample_permutations(seeds, seeds)

    return next(seeds for seeds in count(2) if permutations(seeds) * alpha >= 2)
