"""Permutation tests of two samples of scores, and of pairs.

Under the null hypothesis runs differ in nothing but their seed, so any score could be in the other
sample, or any pair the other way round. p is the share of all such permutations whose statistic is
at least as extreme (Fisher, "The design of experiments", 1935, section 21; Pitman, "Significance
tests which may be applied to samples from any populations", Supplement to the Journal of the Royal
Statistical Society 4, 1937). SciPy permutes and counts, except where all divisions of the scores
into two samples are computed: SciPy takes ten times as long. Both do ``BATCH`` at a time.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, combinations, islice
from typing import NamedTuple

import numpy as np

BATCH = 1_000  # permutations at a time, which bounds the memory


class PermutationResult(NamedTuple):
    """The result of a permutation test.

    Attributes:
        p: two-sided p-value: twice the smaller share of permutations that are at least as extreme.
        arrangements: number of permutations computed.
        seed: seed they were drawn with; None if all permutations were computed, so that p is exact.
    """

    p: float
    arrangements: int
    seed: int | None


def two_sample_test(
    x: np.ndarray, y: np.ndarray, tolerance: float, most: int, seed: int
) -> PermutationResult:
    """Test whether two samples have different means, by Welch's t.

    Args:
        x, y: scores of the two samples, (seeds,), two or more each.
        tolerance: differences of scores up to this count as 0.
        most: largest number of permutations. If there are more, it draws this many at random
            and counts the observed one as one more (Phipson and Smyth, "Permutation p-values should
            never be zero", Statistical Applications in Genetics and Molecular Biology 9, 2010).
        seed: random seed for drawing permutations.

    Examples:
        >>> two_sample_test(np.array([1.0, 2.0]), np.array([3.0, 4.0, 5.0]), 1e-9, 999, seed=0)
        PermutationResult(p=0.2, arrangements=10, seed=None)
    """
    # In one order, so that the same permutations are drawn in whatever order the scores come.
    samples = sorted((np.sort(x), np.sort(y)), key=lambda each: (len(each), each.tolist()))
    difference, error = _difference_and_error(*samples, axis=-1)
    relative = tolerance / (math.hypot(difference, error) or 1)
    total = two_sample_permutations(len(x), len(y))
    if total <= most:
        return PermutationResult(_exact_p(_welch, samples, relative), total, None)
    return _permutation_test(_welch, samples, "independent", relative, total, most, seed)


def paired_test(
    differences: np.ndarray, tolerance: float, most: int, seed: int
) -> PermutationResult:
    """Test whether the differences of pairs have a mean other than 0.

    Args:
        differences: (pairs,), two or more.
        tolerance, most, seed: as for ``two_sample_test``.

    Examples:
        >>> paired_test(np.array([1.0, 2.0, 3.0]), 1e-9, 999, seed=0)
        PermutationResult(p=0.25, arrangements=8, seed=None)
    """
    # In one order and sign, so that the same permutations are drawn when the two are exchanged.
    ordered = np.array(max(sorted(differences), sorted(-differences)))
    pairs = (ordered, np.zeros_like(ordered))
    total = paired_permutations(len(differences))
    return _permutation_test(_mean, pairs, "samples", tolerance, total, most, seed)


def two_sample_permutations(size_x: int, size_y: int) -> int:
    """The number of ways to divide all scores into two samples of these sizes."""
    return math.comb(size_x + size_y, size_x)


def paired_permutations(pairs: int) -> int:
    """The number of ways to choose the signs of the differences of that number of pairs."""
    return 2**pairs


def _exact_p(statistic: Callable, samples: Sequence[np.ndarray], tolerance: float) -> float:
    """The p-value from all divisions of the scores into two samples of the same sizes."""
    compared = _compared_with_observed(statistic, samples, tolerance)
    scores, size = np.concatenate(samples), len(samples[0])
    signs = np.concatenate([compared(*each, axis=-1) for each in _divisions(scores, size)])
    return min(1.0, 2 * float(min(np.mean(signs >= 0), np.mean(signs <= 0))))


def _divisions(scores: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All divisions into ``size`` scores and the others, each (up to ``BATCH``, scores)."""
    every = combinations(range(len(scores)), size)
    while some := list(islice(every, BATCH)):
        chosen = np.fromiter(chain.from_iterable(some), int).reshape(len(some), size)
        others = np.ones((len(some), len(scores)), bool)
        np.put_along_axis(others, chosen, False, axis=1)
        rest = np.broadcast_to(scores, others.shape)[others].reshape(len(some), -1)
        yield scores[chosen], rest


def _permutation_test(
    statistic: Callable,
    data: Sequence[np.ndarray],
    kind: str,
    tolerance: float,
    total: int,
    most: int,
    seed: int,
) -> PermutationResult:
    """SciPy's permutation test; statistics within ``tolerance`` of the observed one count as equal.

    ``total`` is the number of all permutations; ``most`` and ``seed`` are those of the two tests.
    """
    from scipy import stats

    result = stats.permutation_test(
        data,
        _compared_with_observed(statistic, data, tolerance),
        permutation_type=kind,
        vectorized=True,
        n_resamples=most,
        batch=BATCH,
        rng=seed,
    )
    if total <= most:
        return PermutationResult(float(result.pvalue), total, None)
    return PermutationResult(float(result.pvalue), most, seed)


def _compared_with_observed(
    statistic: Callable, data: Sequence[np.ndarray], tolerance: float
) -> Callable:
    """The sign of a statistic minus the observed one; 0 within the tolerance."""
    observed = statistic(*data, axis=-1)

    def compared(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        difference = statistic(x, y, axis) - observed
        return np.where(np.abs(difference) <= tolerance, 0.0, np.sign(difference))

    return compared


def _mean(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
    return (x - y).mean(axis)


def _welch(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
    """Welch's t mapped to -1 … 1, t / sqrt(1 + t²), so that a zero error divides nothing by 0."""
    difference, error = _difference_and_error(x, y, axis)
    size = np.hypot(difference, error)
    return np.divide(difference, size, out=np.zeros_like(size), where=size > 0)


def _difference_and_error(x: np.ndarray, y: np.ndarray, axis: int):
    """The difference of means and its standard error."""
    variances = [each.var(axis, ddof=1) / each.shape[axis] for each in (x, y)]
    return np.asarray(x.mean(axis) - y.mean(axis)), np.sqrt(sum(variances))
