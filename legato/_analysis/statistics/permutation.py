"""The permutation test: how often chance alone would set scores as far apart as they are.

If nothing but its seed tells a run from another, its score might as well stand on the other side;
p is the share of all such arrangements that lie as far out (Fisher, "The design of experiments",
1935, section 21; Pitman, "Significance tests which may be applied to samples from any populations",
Supplement to the Journal of the Royal Statistical Society 4, 1937). SciPy arranges and counts.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

BATCH = 1_000  # arrangements at a time


class Permuted(NamedTuple):
    """What a permutation test says.

    Attributes:
        p: two-sided: twice the smaller share of arrangements that lie as far out or farther.
        arrangements: how many were looked at.
        seed: what they were drawn with; None if all there are were looked at, and p is exact.
    """

    p: float
    arrangements: int
    seed: int | None


def of_sides(x: np.ndarray, y: np.ndarray, same: float, most: int, seed: int) -> Permuted:
    """Test scores that might as well have stood on the other side, by Welch's t.

    Args:
        x, y: (seeds,), two or more of each side.
        same: differences of scores up to this are none.
        most: arrangements that are looked at, at most; if there are more, so many are drawn, and
            the scores as they came count as another (Phipson and Smyth, "Permutation p-values
            should never be zero", Statistical Applications in Genetics and Molecular Biology 9,
            2010).
        seed: what they are drawn with.

    Example:
        >>> of_sides(np.array([1.0, 2.0]), np.array([3.0, 4.0, 5.0]), 1e-9, 999, seed=0)
        Permuted(p=0.2, arrangements=10, seed=None)
    """
    sides = sorted((np.sort(x), np.sort(y)), key=lambda side: (len(side), side.tolist()))
    difference, error = _difference_and_error(*sides, axis=-1)
    near = same / (math.hypot(difference, error) or 1)
    there_are = ways_of_sides(len(x), len(y))
    return _permuted(_welch, sides, "independent", near, there_are, most, seed)


def of_pairs(apart: np.ndarray, same: float, most: int, seed: int) -> Permuted:
    """Test differences of pairs, each of which might as well be the other way round, by their mean.

    Args:
        apart: (pairs,), the differences, two or more.
        same, most, seed: as of ``of_sides``.

    Example:
        >>> of_pairs(np.array([1.0, 2.0, 3.0]), 1e-9, 999, seed=0)
        Permuted(p=0.25, arrangements=8, seed=None)
    """
    either = np.array(max(sorted(apart), sorted(-apart)))  # the same for both ways round
    pairs = (either, np.zeros_like(either))
    return _permuted(_mean, pairs, "samples", same, ways_of_pairs(len(apart)), most, seed)


def ways_of_sides(one: int, other: int) -> int:
    """In how many ways so many scores can be on one side and so many on the other."""
    return math.comb(one + other, one)


def ways_of_pairs(pairs: int) -> int:
    """In how many ways the differences of pairs can point."""
    return 2**pairs


def _permuted(
    statistic: Callable,
    data: Sequence[np.ndarray],
    kind: str,
    near: float,
    there_are: int,
    most: int,
    seed: int,
) -> Permuted:
    """SciPy's test of a statistic, in which values that are near the one seen count as equal."""
    from scipy import stats

    seen = statistic(*data, axis=-1)

    def beyond(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        away = statistic(x, y, axis) - seen
        return np.where(np.abs(away) <= near, 0.0, np.sign(away))

    tested = stats.permutation_test(
        data,
        beyond,
        permutation_type=kind,
        vectorized=True,
        n_resamples=most,
        batch=BATCH,
        rng=seed,
    )
    exact = there_are <= most
    return Permuted(float(tested.pvalue), there_are if exact else most, None if exact else seed)


def _mean(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
    return (x - y).mean(axis)


def _welch(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
    """Welch's t on the way from -1 to 1, t / sqrt(1 + t²), which knows no division by zero."""
    difference, error = _difference_and_error(x, y, axis)
    size = np.hypot(difference, error)
    return np.divide(difference, size, out=np.zeros_like(size), where=size > 0)


def _difference_and_error(x: np.ndarray, y: np.ndarray, axis: int):
    """The difference of means and its standard error."""
    variances = [side.var(axis, ddof=1) / side.shape[axis] for side in (x, y)]
    return np.asarray(x.mean(axis) - y.mean(axis)), np.sqrt(sum(variances))
