"""Confidence intervals of a mean score, and of the share of seeds that succeed.

A mean has Student's t interval ("The probable error of a mean", Biometrika 6, 1908) whatever the
scores' distribution: choosing the method after a look at a few scores costs coverage (Rochon,
Gondan and Kieser, "To test or not to test", BMC Medical Research Methodology 12, 2012), and below
some 30 scores the bootstrap's interval is too narrow (Hesterberg, "What teachers should know about
the bootstrap", The American Statistician 69, 2015). A share has Wilson's interval (Brown, Cai and
DasGupta, "Interval estimation for a binomial proportion", Statistical Science 16, 2001).

Limits: replicates are assumed to be independent. The interval is that of the mean over all possible
seeds, not of the next run's score; with few and very skewed scores its coverage is below its level.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from legato._analysis.statistics.number_format import percent, score_format
from legato._analysis.statistics.seed_scores import (
    check_level,
    seed_scores,
    standard_deviation,
)
from legato._errors import InputError
from legato._platform.checks import check_choice, check_count, is_count
from legato._platform.output_streams import printable_on_stdout
from legato._platform.plain_arrays import check_keeps_meaning
from legato._platform.wilson_interval import wilson_interval

RESAMPLES = 9_999

MeanMethod = Literal["t", "bootstrap"]
ShareMethod = Literal["wilson", "exact"]


@dataclass(frozen=True)
class Interval:
    """A mean score with the confidence interval of the mean over all seeds; prints as a sentence.

    Attributes:
        mean: mean of the scores.
        low: lower end of the interval; None where all scores are equal and so have no spread.
        high: upper end of the same.
        level: confidence level: the share of such intervals that contain the true mean.
        deviation: sample standard deviation of the scores (n - 1); 0 where all are equal.
        count: number of seeds.
        unit: unit of the scores; ``"%"`` for shares of 1 that are printed in percent.
        method: ``"t"`` or ``"bootstrap"``.

    Examples:
        >>> import legato
        >>> found = legato.interval([0.84, 0.88, 0.92, 0.84, 0.8])
        >>> round(found.mean, 3), round(found.low, 3), round(found.high, 3)
        (0.856, 0.799, 0.913)
    """

    mean: float
    low: float | None
    high: float | None
    level: float
    deviation: float
    count: int
    unit: str = ""
    method: MeanMethod = "t"

    @property
    def otherwise(self) -> float | None:
        """Where all scores are equal: the largest share of seeds that may have another score.

        An upper confidence bound at the interval's level: the first seed gives the score, and the
        n - 1 others agree with it (Hanley and Lippman-Hand, "If nothing goes wrong, is everything
        all right?", JAMA 249, 1983). None where the scores differ.
        """
        return None if self.low is not None else 1 - (1 - self.level) ** (1 / (self.count - 1))

    def as_numbers(self) -> dict[str, Any]:
        """All attributes and the sentence, as types that JSON takes."""
        return asdict(self) | {"otherwise": self.otherwise, "sentence": self._sentence()}

    @printable_on_stdout
    def __str__(self) -> str:
        return self._sentence()

    def _sentence(self) -> str:
        if self.low is None or self.high is None:
            form = score_format(self.unit)
            return (
                f"{form.score(self.mean)} in each of {self.count:,} seeds: they have no spread to "
                f"take an interval from; with {percent(self.level)} confidence at most "
                f"{percent(self.otherwise or 0, 2)} of seeds score otherwise."
            )
        form = score_format(self.unit, self.high - self.low)
        return (
            f"{form.score(self.mean)} on average, {percent(self.level)} interval "
            f"{form.number(self.low)} to {form.score(self.high)}, {self.count:,} seeds (standard "
            f"deviation {form.difference(self.deviation)})."
        )


@dataclass(frozen=True)
class Proportion:
    """The share of seeds that succeeded, with its confidence interval; prints as a sentence.

    Attributes:
        successes: number of seeds that succeeded.
        count: number of all seeds.
        low: lower end of the interval of the share, 0 to 1.
        high: upper end of the same.
        level: confidence level: the share of such intervals that contain the true share.
        did: the success in words, in the past tense.
        method: ``"wilson"`` or ``"exact"``.

    Examples:
        >>> import legato
        >>> found = legato.proportion(9, 10)
        >>> found.share, round(found.low, 3), round(found.high, 3)
        (0.9, 0.596, 0.982)
    """

    successes: int
    count: int
    low: float
    high: float
    level: float
    did: str = "succeeded"
    method: ShareMethod = "wilson"

    @property
    def share(self) -> float:
        """The share of the seeds that succeeded, 0 to 1."""
        return self.successes / self.count

    def as_numbers(self) -> dict[str, Any]:
        """All attributes and the sentence, as types that JSON takes."""
        return asdict(self) | {"share": self.share, "sentence": self._sentence()}

    @printable_on_stdout
    def __str__(self) -> str:
        return self._sentence()

    def _sentence(self) -> str:
        form = score_format("%", self.high - self.low)
        return (
            f"{self.successes:,} of {self.count:,} seeds {self.did}, {percent(self.level)} "
            f"interval {form.number(self.low)} to {form.score(self.high)}."
        )


def interval(
    scores, level: float = 0.95, *, unit: str = "", method: MeanMethod = "t", seed: int = 0
) -> Interval:
    """Compute the mean of replicates' scores with its confidence interval.

    Args:
        scores: (seeds,), one score per seed, two or more.
        level: confidence level, between 0 and 1.
        unit: a word printed after each number, such as ``"ms"``. ``"%"``: the scores are shares of
            1, such as accuracies; they are printed in percent, their differences in points, and
            intervals are limited to 0 … 1.
        method: ``"t"``; or ``"bootstrap"`` for bias-corrected and accelerated intervals (Efron,
            "Better bootstrap confidence intervals", JASA 82, 1987), for 30 skewed scores or more.
        seed: random seed of the bootstrap.

    Raises:
        InputError: fewer than two scores, NaN or infinite scores, several scores per seed; an
            invalid level, method or seed.

    Examples:
        >>> from legato import interval
        >>> print(interval([0.84, 0.88, 0.92, 0.84, 0.8], unit="%"))
        86 % on average, 95 % interval 80 to 91 %, 5 seeds (standard deviation 5 points).
    """
    values = np.sort(seed_scores("The scores", scores, unit))
    level = check_level(level)
    check_choice("method", method, get_args(MeanMethod))
    deviation = standard_deviation(values, np.abs(values).max())
    mean = float(values.mean() if deviation else values[0])
    ends = (None, None)
    if deviation and method == "bootstrap":
        ends = limited_to_unit(unit, *_bootstrap(values, level, check_count("seed", seed, 0)))
    elif deviation:
        width = half_width(deviation / math.sqrt(len(values)), len(values) - 1, level)
        ends = limited_to_unit(unit, mean - width, mean + width)
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
    method: ShareMethod = "wilson",
) -> Proportion:
    """Compute the share of seeds that succeeded, with its confidence interval.

    Args:
        successes: number of seeds that succeeded; or booleans (seeds,), such as
            ``accuracies == 1``.
        count: number of all seeds; left out with booleans.
        level: confidence level, between 0 and 1.
        did: the success in words, in the past tense, as the sentence needs it.
        method: ``"wilson"``; or ``"exact"`` for an interval that is never too narrow and mostly too
            wide (Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the
            case of the binomial", Biometrika 26, 1934).

    Raises:
        InputError: no seed, more successes than seeds, or no whole numbers; an invalid level or
            method.

    Examples:
        >>> from legato import proportion
        >>> print(proportion(9, 10, did="reached 100 %"))
        9 of 10 seeds reached 100 %, 95 % interval 60 to 98 %.
    """
    successes, count = _successes_and_count(successes, count)
    level = check_level(level)
    check_choice("method", method, get_args(ShareMethod))
    if method == "exact":
        ends = _exact_interval(successes, count, level)
    else:
        ends = wilson_interval(successes, count, level)
    return Proportion(successes, count, *ends, level, did, method)


def _exact_interval(successes: int, count: int, level: float) -> tuple[float, float]:
    """The ends of Clopper and Pearson's interval."""
    from scipy import stats

    low, high = stats.binomtest(successes, count).proportion_ci(level, "exact")
    share = successes / count
    return max(0.0, min(share, float(low))), min(1.0, max(share, float(high)))  # despite rounding


def _successes_and_count(successes, count: int | None) -> tuple[int, int]:
    """The number of successes and of seeds, from these numbers or from booleans."""
    if count is None:
        check_keeps_meaning("successes", successes)
        flags = np.asarray(successes)
        if flags.ndim != 1 or flags.dtype != bool or not flags.size:
            raise InputError(
                f"successes={successes!r} came without a count; expected booleans, one per seed, "
                "as accuracies == 1 gives for an array, or two numbers: successes, count."
            )
        return int(flags.sum()), len(flags)
    if not (is_count(successes, 0) and is_count(count, 1) and successes <= count):
        raise InputError(
            f"{successes!r} successes of {count!r} seeds cannot be; expected whole numbers, 0 up "
            "to the count, and at least one seed."
        )
    return int(successes), int(count)


def half_width(error: float, df: float, level: float) -> float:
    """Half the width of a t interval of this standard error, degrees of freedom and level."""
    from scipy import special

    return error * float(special.stdtrit(df, (1 + level) / 2))


def limited_to_unit(unit: str, low: float, high: float, least: float = 0.0) -> tuple[float, float]:
    """The ends of an interval; of shares, limited to ``least`` … 1."""
    return (max(least, low), min(1.0, high)) if unit == "%" else (low, high)
