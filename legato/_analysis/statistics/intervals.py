"""Scores of replicates in honest numbers: a mean, or a share, and the interval it leaves open.

A mean comes with Student's t interval ("The probable error of a mean", Biometrika 6, 1908), however
the scores look: to choose by a look at a few of them costs coverage (Rochon, Gondan and Kieser, "To
test or not to test", BMC Medical Research Methodology 12, 2012), and below some 30 scores the
bootstrap's is too narrow (Hesterberg, "What teachers should know about the bootstrap", The American
Statistician 69, 2015). A share comes with Wilson's (Brown, Cai and DasGupta, "Interval estimation
for a binomial proportion", Statistical Science 16, 2001).

Limits: replicates are taken as independent. An interval is of the mean over all seeds there could
be, not of the next run; with few and very skewed scores it covers less often than it says.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from legato._analysis.statistics.number_format import percent, wording
from legato._analysis.statistics.seed_scores import (
    checked_level,
    checked_word,
    seed_scores,
    spread,
)
from legato._errors import InputError
from legato._platform.checks import check_count, is_count

RESAMPLES = 9_999

OfMeans = Literal["t", "bootstrap"]
OfShares = Literal["wilson", "exact"]


@dataclass(frozen=True)
class Interval:
    """The mean of scores, and where the mean over all seeds may lie. ``print`` tells it.

    Attributes:
        mean: of the scores.
        low, high: the interval's ends; None where all scores are the same, so that there is no
            spread to take them from.
        level: the probability with which such an interval holds the mean.
        deviation: the standard deviation of the scores (of n - 1); 0 where they are the same.
        count: seeds.
        unit: of the scores; ``"%"`` for shares of 1 that are told in percent.
        method: ``"t"`` or ``"bootstrap"``.
    """

    mean: float
    low: float | None
    high: float | None
    level: float
    deviation: float
    count: int
    unit: str = ""
    method: OfMeans = "t"

    @property
    def otherwise(self) -> float | None:
        """Where all scores are the same: the share of seeds that may score otherwise, at most.

        The first seed says which score, the n - 1 others agree; the level is the confidence
        (Hanley and Lippman-Hand, "If nothing goes wrong, is everything all right?", JAMA 249,
        1983). None where the scores differ.
        """
        return None if self.low is not None else 1 - (1 - self.level) ** (1 / (self.count - 1))

    def as_numbers(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return asdict(self) | {"otherwise": self.otherwise, "sentence": str(self)}

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            say = wording(self.unit)
            return (
                f"{say.score(self.mean)} in each of {self.count:,} seeds: they have no spread to "
                f"take an interval from; with {percent(self.level)} confidence at most "
                f"{percent(self.otherwise or 0, 2)} of seeds score otherwise."
            )
        say = wording(self.unit, self.high - self.low)
        return (
            f"{say.score(self.mean)} on average, {percent(self.level)} interval "
            f"{say.bare(self.low)} to {say.score(self.high)}, {self.count:,} seeds (standard "
            f"deviation {say.difference(self.deviation)})."
        )


@dataclass(frozen=True)
class Proportion:
    """How many of some seeds did something, and what share of all may. ``print`` tells it.

    Attributes:
        successes, count: so many of so many seeds.
        low, high: the ends of the interval of the share, 0 to 1.
        level: the probability with which such an interval holds the share.
        did: what they did.
        method: ``"wilson"`` or ``"exact"``.
    """

    successes: int
    count: int
    low: float
    high: float
    level: float
    did: str = "succeeded"
    method: OfShares = "wilson"

    @property
    def share(self) -> float:
        """The share of these seeds, 0 to 1."""
        return self.successes / self.count

    def as_numbers(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return asdict(self) | {"share": self.share, "sentence": str(self)}

    def __str__(self) -> str:
        say = wording("%", self.high - self.low)
        return (
            f"{self.successes:,} of {self.count:,} seeds {self.did}, {percent(self.level)} "
            f"interval {say.bare(self.low)} to {say.score(self.high)}."
        )


def interval(
    scores, level: float = 0.95, *, unit: str = "", method: OfMeans = "t", seed: int = 0
) -> Interval:
    """The mean of replicates' scores with its interval.

    Args:
        scores: (seeds,), one of each, two or more.
        level: the interval's, between 0 and 1.
        unit: a word that is told after each number, such as ``"ms"``. ``"%"``: the scores are
            shares of 1, as accuracies are, and are told in percent, their differences in points; no
            interval then reaches beyond 0 and 1.
        method: ``"bootstrap"`` for bias-corrected and accelerated intervals (Efron, "Better
            bootstrap confidence intervals", JASA 82, 1987), for 30 skewed scores or more.
        seed: of the bootstrap's draws.

    Raises:
        InputError: fewer than two scores, one that is NaN or infinite, several for a seed; a level
            or a method that is none.

    Example:
        >>> print(interval([0.84, 0.88, 0.92, 0.84, 0.8], unit="%"))
        86 % on average, 95 % interval 80 to 91 %, 5 seeds (standard deviation 5 points).
    """
    values = np.sort(seed_scores("The scores", scores, unit))
    level = checked_level(level)
    checked_word("method", method, OfMeans)
    deviation = spread(values, np.abs(values).max())
    mean = float(values.mean() if deviation else values[0])
    ends = (None, None)
    if deviation and method == "bootstrap":
        ends = within(unit, *_bootstrap(values, level, check_count("seed", seed, 0)))
    elif deviation:
        far = reach(deviation / math.sqrt(len(values)), len(values) - 1, level)
        ends = within(unit, mean - far, mean + far)
    return Interval(mean, *ends, level, deviation, len(values), unit, method)


def _bootstrap(values: np.ndarray, level: float, seed: int) -> tuple[float, float]:
    from scipy import stats

    drawn = stats.bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, confidence_level=level, method="BCa", rng=seed
    )
    low, high = drawn.confidence_interval
    return float(low), float(high)


def proportion(
    successes,
    count: int | None = None,
    level: float = 0.95,
    *,
    did: str = "succeeded",
    method: OfShares = "wilson",
) -> Proportion:
    """How many of the seeds did something, with the interval of their share.

    Args:
        successes: how many did; or booleans (seeds,), such as ``accuracies == 1``.
        count: of how many; left out with booleans.
        level: the interval's, between 0 and 1.
        did: what they did, as it is told.
        method: ``"exact"`` for an interval that is never too narrow and mostly too wide (Clopper
            and Pearson, "The use of confidence or fiducial limits illustrated in the case of the
            binomial", Biometrika 26, 1934).

    Raises:
        InputError: no seed, more successes than seeds, or numbers that are none; a level or a
            method that is none.

    Example:
        >>> print(proportion(9, 10, did="reached 100 %"))
        9 of 10 seeds reached 100 %, 95 % interval 60 to 98 %.
    """
    from scipy import stats

    successes, count = _counted(successes, count)
    level = checked_level(level)
    checked_word("method", method, OfShares)
    low, high = stats.binomtest(successes, count).proportion_ci(level, method)
    share = successes / count
    ends = max(0.0, min(share, float(low))), min(1.0, max(share, float(high)))  # despite rounding
    return Proportion(successes, count, *ends, level, did, method)


def _counted(successes, count: int | None) -> tuple[int, int]:
    """Successes and seeds, from their numbers or from booleans."""
    if count is None:
        flags = np.asarray(successes)
        if flags.ndim != 1 or flags.dtype != bool or not flags.size:
            raise InputError(
                f"successes={successes!r} came without a count; expected booleans, one a seed, as "
                "accuracies == 1 gives for an array, or two numbers: successes, count."
            )
        return int(flags.sum()), len(flags)
    if not (is_count(successes, 0) and is_count(count, 1) and successes <= count):
        raise InputError(
            f"{successes!r} successes of {count!r} seeds cannot be; expected whole numbers, 0 up "
            "to the count, and at least one seed."
        )
    return int(successes), int(count)


def reach(error: float, df: float, level: float) -> float:
    """How far a t interval goes to either side, for a standard error and degrees of freedom."""
    from scipy import special

    return error * float(special.stdtrit(df, (1 + level) / 2))


def within(unit: str, low: float, high: float, least: float = 0.0) -> tuple[float, float]:
    """The ends of an interval, no further than shares can go."""
    return (max(least, low), min(1.0, high)) if unit == "%" else (low, high)
