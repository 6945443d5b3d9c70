"""Prediction intervals: from a model's errors in a backtest outside its training part.

Each error is divided by the usual change of its sequence at its origin, so that sequences and times
of different variability share them (Lei, G'Sell, Rinaldo, Tibshirani and Wasserman, JASA 113, 2018,
section 5.2).

Errors from neighbouring origins are about the same steps and nearly equal, so that a backtest of
many origins may hold two or three independent errors, and quantiles of all of them are far too
narrow. Where fewer than ``MANY`` are independent, the interval of a step ahead is Student's, from a
standard deviation that the errors of all steps ahead tell together (``pool_deviations``). Of
``MANY`` and more, the ends are quantiles of the errors of that step (split conformal intervals,
``residual_quantiles``), whatever their distribution.

Of what was never negative, no end lies below 0 (``find_floors``): what happens there is no less
covered by an interval that is cut off.

Beyond the last step with ``MIN_ERRORS`` errors, the widest interval before is widened by the square
root of the steps ahead, as the errors of a random walk grow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from legato._errors import InputError
from legato._forecasting.forecast_metrics import residual_quantiles
from legato._platform.wording import counted

LEVELS = (0.8, 0.95)
STORED = (*(round(0.05 * step, 2) for step in range(1, 20)), 0.98, 0.99)  # others lie between
LEAST_QUANTILE = 0.005  # the lower end of the widest
MIN_ERRORS = 3  # of one step ahead, for its mean absolute error
MANY = 100  # independent errors, whose quantiles are known
DEVIATIONS = float(np.sqrt(np.pi / 2))  # standard deviations in a mean absolute error, if normal
GROWTH, GROWTH_SPREAD = 0.5, 0.3  # powers of the steps ahead: of a random walk, and of others


def check_quantiles(quantiles: Any) -> tuple[float, ...]:
    """Quantiles as numbers, checked.

    Raises:
        InputError: there are none, one is outside ``LEAST_QUANTILE`` to 1 - ``LEAST_QUANTILE``, or
            they do not ascend.
    """
    try:
        found = tuple(float(each) for each in np.atleast_1d(quantiles))
    except (TypeError, ValueError):
        found = ()
    most = 1 - LEAST_QUANTILE
    ascending = all(one < other for one, other in pairwise(found))
    if not found or not ascending or not LEAST_QUANTILE <= found[0] <= found[-1] <= most:
        raise InputError(
            f"quantiles are {quantiles!r}; expected numbers from {LEAST_QUANTILE} to {most}, in "
            "ascending order, such as 0.1, 0.5, 0.9."
        )
    return found


@dataclass(frozen=True, eq=False)
class Intervals:
    """Ends of prediction intervals, relative to a forecast.

    Attributes:
        ends: (levels, 2, steps ahead, targets), in units of the usual change.
        errors: (steps ahead,), number of known errors.
        levels: the coverage of each interval, as shares, ascending.
        following: (steps ahead - 1, targets), the correlation, about a mean of 0, of the errors of
            a step ahead and the next; None in older files.
    """

    ends: np.ndarray
    errors: np.ndarray
    levels: tuple[float, ...] = STORED
    following: np.ndarray | None = None

    @classmethod
    def of(
        cls, errors: np.ndarray, sequence: np.ndarray | None = None, spacing: float = 1.0
    ) -> "Intervals":
        """Intervals from errors, truth - forecast, in units of the usual change.

        Args:
            errors: (origins, steps ahead, targets); NaN where the true value is not known, which
                it is for no more origins at a later step than at an earlier one.
            sequence: (origins,), the sequence of each, ascending; None: one sequence.
            spacing: steps from an origin to the next of its sequence.
        """
        count, _, targets = errors.shape
        sequence = np.zeros(count, int) if sequence is None else sequence
        known = np.asarray(~np.isnan(errors).any(-1))  # (origins, steps ahead)
        leads = int((known.sum(0) >= MIN_ERRORS).sum())
        ends = np.zeros((len(STORED), 2, leads, targets))
        free = independent_errors(errors[:, :leads], sequence, spacing)
        students = _student_ends(*pool_deviations(_mean_absolute(errors[:, :leads]), free))
        for lead in range(leads):
            own = errors[known[:, lead], lead]
            conformal, _ = residual_quantiles(own[:, None], STORED)
            ends[:, :, lead] = np.where(
                free[lead] >= MANY, conformal[:, :, 0], students[:, :, lead]
            )
        return cls(ends, known.sum(0), STORED, _correlation_of_next(errors[:, :leads]))

    @property
    def known(self) -> int:
        """Number of steps ahead whose intervals come from errors of that step."""
        there = ~np.isnan(self.ends).all((0, 1, 3))
        return int(np.flatnonzero(there)[-1]) + 1 if there.any() else 0

    def around(
        self,
        values: np.ndarray,
        scale: np.ndarray,
        levels: tuple[float, ...] = LEVELS,
        floors: np.ndarray | None = None,
    ) -> np.ndarray:
        """The ends (levels, 2, sequences, steps, targets) around forecasts; NaN where unknown.

        Args:
            values: (sequences, steps, targets), the forecasts.
            scale: (sequences, targets), the usual change of each sequence.
            levels: the coverage of each interval, above 0 and at most the largest of ``levels``.
            floors: (sequences, targets), below which no end lies, unless the forecast does; None:
                without.
        """
        ends = np.full((len(levels), 2, *values.shape), np.nan)
        for at, level in enumerate(levels):
            relative = _widened(self._ends_of(level), values.shape[1])
            ends[at] = relative[:, None] * scale[:, None] + values
        return raise_to_floors(ends, values, floors)

    def ahead(self, steps: int) -> np.ndarray:
        """The ends of all levels for so many steps ahead, (levels, 2, steps, targets)."""
        return np.stack([_widened(each, steps) for each in self.ends])

    def quantiles(
        self,
        values: np.ndarray,
        scale: np.ndarray,
        quantiles: tuple[float, ...],
        floors: np.ndarray | None = None,
    ) -> np.ndarray:
        """Quantiles (quantiles, sequences, steps, targets) about forecasts; NaN where unknown.

        They are ends of intervals, and that at 0.5 is the forecast.

        Args:
            values, scale, floors: as for ``around``.
            quantiles: as ``check_quantiles`` gives them.

        Raises:
            InputError: these intervals are of an older file, which has those of ``LEVELS`` alone.
        """
        levels = [round(abs(1 - 2 * each), 9) for each in quantiles]
        if self.levels == LEVELS and not {*levels} <= {0.0, *LEVELS}:
            raise InputError(
                "The model's file is of an earlier version and holds quantiles 0.025, 0.1, 0.9 and "
                "0.975 alone. Ask for those, or train again."
            )
        found = np.empty((len(quantiles), *values.shape))
        for at, (each, level) in enumerate(zip(quantiles, levels, strict=True)):
            ends = (values, values)
            if level:
                ends = self.around(values, scale, (level,), floors)[0]
            found[at] = ends[int(each > 0.5)]
        return found

    def _ends_of(self, level: float) -> np.ndarray:
        """The ends of a level (2, steps ahead, targets), between those of the levels beside it."""
        above = int(np.searchsorted(self.levels, level - 1e-9))
        if abs(self.levels[above] - level) < 1e-9:
            return self.ends[above]
        below = self.ends[above - 1] if above else 0 * self.ends[0]
        first = self.levels[above - 1] if above else 0.0
        share = (level - first) / (self.levels[above] - first)
        return (1 - share) * below + share * self.ends[above]

    def notes(self, steps: int) -> tuple[str, ...]:
        """Sentences on the intervals of so many steps ahead that are missing or widened."""
        if not self.known:
            most = int(self.errors.max(initial=0))
            return (
                f"There are no intervals: the test part gave {counted(most, 'error')} of the first "
                f"step ahead, and {MIN_ERRORS} are needed; a larger one (--test) gives more.",
            )
        if self.known < steps:
            return (
                f"Errors are known up to {counted(self.known, 'step')} ahead; intervals beyond are "
                "the widest of those, widened by the square root of the steps ahead.",
            )
        return ()

    def as_numbers(self) -> dict[str, Any]:
        """The intervals as a dictionary for JSON."""
        ends = [None if np.isnan(each) else float(f"{each:.6g}") for each in self.ends.reshape(-1)]
        following = None if self.following is None else self.following.round(4).tolist()
        return {
            "levels": list(self.levels),
            "ends": ends,
            "shape": list(self.ends.shape),
            "errors": self.errors.tolist(),
            "following": following,
        }

    @classmethod
    def from_numbers(cls, numbers: dict) -> "Intervals":
        """The intervals of a dictionary from ``as_numbers``; older ones have two levels."""
        ends = np.array(numbers["ends"], float).reshape(numbers["shape"])
        levels = tuple(float(each) for each in numbers.get("levels", LEVELS))
        if len(levels) != len(ends) or not set(LEVELS) <= {round(each, 9) for each in levels}:
            raise ValueError("the levels of its intervals are not as they were written")
        following = numbers.get("following")
        if following is not None:
            targets, leads = ends.shape[3], max(ends.shape[2] - 1, 0)
            following = np.array(following, float).reshape(leads, targets).clip(-1, 1)
        return cls(ends, np.array(numbers["errors"]), levels, following)


def find_floors(
    values: np.ndarray, lengths: np.ndarray, least: Sequence[float] | None
) -> np.ndarray | None:
    """What no target goes below, (sequences, targets): 0, or minus infinity.

    It is 0 where neither the training data nor the sequence has a negative value.

    Args:
        values: (time steps of all sequences, targets).
        lengths: (sequences,).
        least: the least value of each target in training; None: it is not known.
    """
    if least is None:
        return None
    own = np.minimum.reduceat(values, np.cumsum(lengths) - lengths, axis=0)
    return np.where(np.minimum(own, least) >= 0, 0.0, -np.inf)


def raise_to_floors(ends: np.ndarray, values: np.ndarray, floors: np.ndarray | None) -> np.ndarray:
    """Ends or paths (…, sequences, steps, targets), none below its floor.

    Where a forecast in ``values`` (sequences, steps, targets) is below it, none is below that.
    """
    if floors is None:
        return ends
    return np.maximum(ends, np.minimum(floors[:, None], values))


def independent_errors(
    errors: np.ndarray, sequence: np.ndarray, spacing: float = 1.0
) -> np.ndarray:
    """How many errors of each step ahead are independent, (steps ahead, targets), at least 1.

    The equivalent number for an estimated variance is n / (1 + 2 Σ (1 - j / n) ρ²(j)), where ρ(j)
    is the correlation of errors j origins apart (Bayley and Hammersley, Supplement to the Journal
    of the Royal Statistical Society 8, 1946). A good forecaster's errors k steps ahead are not
    correlated k origins apart; those of a random walk are with ρ(j) = 1 - j / k. Because few errors
    leave ρ uncertain, the answer is the geometric mean of that with ρ as estimated, about a mean of
    0, and of that with ρ of a random walk.

    Args:
        errors, sequence, spacing: as for ``Intervals.of``.
    """
    ahead = np.arange(1, errors.shape[1] + 1)[:, None]
    known = ~np.isnan(errors)
    values = np.where(known, errors, 0.0)
    count = np.maximum(known.sum(0), 1)  # (steps ahead, targets)
    power = (values**2).sum(0) / count
    power = np.where(power > 0, power, 1.0)
    estimated, of_walk = np.ones((2, *count.shape))
    for lag in range(1, min(int(np.ceil(len(ahead) / spacing)), len(errors))):
        same = (sequence[lag:] == sequence[:-lag])[:, None, None]
        pairs = (known[lag:] & known[:-lag] & same).sum(0)
        covariance = (values[lag:] * values[:-lag] * same).sum(0) / np.maximum(pairs, 1)
        share = np.where(lag * spacing < ahead, 2 * pairs / count, 0.0)
        estimated += share * np.minimum((covariance / power) ** 2, 1.0)
        of_walk += share * (1 - lag * spacing / ahead) ** 2
    return np.maximum(count / np.sqrt(estimated * of_walk), 1.0)


def pool_deviations(absolute: np.ndarray, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The standard deviation of the errors of each step ahead, and its degrees of freedom.

    The last of 12 steps ahead may have one independent error, but the eleven steps before it tell
    much about its size: deviations grow with the steps ahead k about as k^p does. A line through
    their logarithms over log k is fitted by weighted least squares, where the deviation of n
    independent errors counts 2 n (the variance of its logarithm is 1 / (2 n)). The errors of all
    steps ahead are about the same time steps: together they count as the geometric mean of the most
    errors that a step has and of the mean over steps. The power p has a normal prior, ``GROWTH`` ±
    ``GROWTH_SPREAD``, which decides where errors are very few.

    A value of the line with variance v is worth 1 / (2 v) errors. The answer is the mean of its
    square and the squared deviation of the step itself, weighted by what they are worth (as
    variances are moderated: Smyth, Statistical Applications in Genetics and Molecular Biology 3,
    2004). They share errors, so its degrees of freedom are not the sum: they are the mean of the
    step's own and the larger of the two.

    Args:
        absolute: (steps ahead, targets), the mean absolute errors.
        free: (steps ahead, targets), the number of independent errors.

    Returns:
        Deviations and degrees of freedom, (steps ahead, targets) each; a deviation is 0 where no
        step has an error above 0.
    """
    own = DEVIATIONS * absolute
    found, degrees = own.copy(), np.array(free, float)
    line = np.stack([np.ones(len(own)), np.log(np.arange(1, len(own) + 1))], axis=1)
    for target in range(own.shape[1]):
        there, count = own[:, target] > 0, free[:, target]
        if not there.any():
            continue
        logarithms = np.log(np.where(there, own[:, target], 1.0))
        together = np.sqrt(count.max() * count.mean())
        counts = 2 * together * there * count / count[there].sum()
        precision = line.T @ (counts[:, None] * line)
        precision[1, 1] += 1 / GROWTH_SPREAD**2
        pull = line.T @ (counts * logarithms) + [0.0, GROWTH / GROWTH_SPREAD**2]
        fitted = np.exp(line @ np.linalg.solve(precision, pull))
        worth = 1 / (2 * (line * np.linalg.solve(precision, line.T).T).sum(1))
        power = (worth * fitted**2 + count * own[:, target] ** 2) / (worth + count)
        found[:, target], degrees[:, target] = (
            np.sqrt(power),
            (np.maximum(worth, count) + count) / 2,
        )
    return found, degrees


def _correlation_of_next(errors: np.ndarray) -> np.ndarray:
    """The correlation of the errors (origins, steps ahead, targets) of each step and the next."""
    one, other = errors[:, :-1], errors[:, 1:]
    both = ~np.isnan(one) & ~np.isnan(other)
    one, other = np.where(both, one, 0.0), np.where(both, other, 0.0)
    power = np.sqrt((one**2).sum(0) * (other**2).sum(0))
    return (one * other).sum(0) / np.where(power > 0, power, 1.0)


def _mean_absolute(errors: np.ndarray) -> np.ndarray:
    """The mean absolute errors of each step ahead, (steps ahead, targets), of those known."""
    known = ~np.isnan(errors)
    return np.abs(np.where(known, errors, 0.0)).sum(0) / np.maximum(known.sum(0), 1)


def _student_ends(deviations: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """Student's ends (levels, 2, steps ahead, targets) of (steps ahead, targets) each."""
    from scipy.special import stdtrit  # not while the package is imported

    upper = (1 + np.array(STORED)) / 2
    half = stdtrit(degrees, upper[:, None, None]) * deviations
    return np.stack([-half, half], axis=1)


def _widened(ends: np.ndarray, steps: int) -> np.ndarray:
    """The ends (2, steps, targets) of one level, beyond the last known step from the widest."""
    found = np.full((2, steps, ends.shape[-1]), np.nan)
    shown = min(steps, ends.shape[1])
    found[:, :shown] = ends[:, :shown]
    there = np.flatnonzero(~np.isnan(ends).any((0, 2)))
    if len(there) and steps > there[-1] + 1:
        last = int(there[-1]) + 1
        widths = ends[1, there] - ends[0, there]  # (known, targets)
        widest = there[widths.argmax(0)]  # (targets,)
        own = ends[:, widest, np.arange(len(widest))]
        growth = np.sqrt(np.arange(last + 1, steps + 1) / last)
        found[:, last:] = own[:, None] * growth[:, None]
    return found
