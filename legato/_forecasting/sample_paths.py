"""Sample paths: courses that a series may take, as likely at each step as its intervals say.

The steps of a path are drawn one after another as a Markov chain of normal scores (a Gaussian
copula: Nelsen, "An Introduction to Copulas", 2006), each correlated with the one before as the
errors of neighbouring steps ahead were in the backtest; a score becomes the quantile of its step.
So the sum or the largest value of several steps ahead has a distribution, which intervals of single
steps do not give.

Limits: sequences and targets are drawn independently of each other, and no value lies beyond the
interval of the widest level.
"""

import numpy as np

from legato._errors import InputError
from legato._forecasting.prediction_intervals import Intervals, raise_to_floors


def draw_paths(
    intervals: Intervals,
    values: np.ndarray,
    scale: np.ndarray,
    count: int,
    seed: int | None,
    floors: np.ndarray | None = None,
) -> np.ndarray:
    """Draw paths (paths, sequences, steps, targets); NaN where intervals are unknown.

    Args:
        intervals: of the model.
        values, scale, floors: as for ``Intervals.around``.
        count: number of paths.
        seed: random seed; None: a new one.

    Raises:
        InputError: the intervals are of an older file, without correlations.
    """
    if intervals.following is None:
        raise InputError(
            "The model's file is of an earlier version and does not hold what sample paths need. "
            "Train again."
        )
    from scipy.special import ndtri  # not while the package is imported

    steps = values.shape[1]
    scores = _draw_scores(intervals.following, (count, *values.shape), seed)
    levels = np.array(intervals.levels)
    marks = ndtri(np.concatenate([(1 - levels[::-1]) / 2, [0.5], (1 + levels) / 2]))
    low, high = intervals.ahead(steps).swapaxes(0, 1)  # (levels, steps, targets)
    ends = np.concatenate([low[::-1], 0 * low[:1], high])
    found = np.empty(scores.shape)
    for step in range(steps):
        for target in range(values.shape[2]):
            own = scores[:, :, step, target]
            found[:, :, step, target] = np.interp(own, marks, ends[:, step, target])
    return raise_to_floors(values + found * scale[:, None], values, floors)


def _draw_scores(
    following: np.ndarray, shape: tuple[int, int, int, int], seed: int | None
) -> np.ndarray:
    """Normal scores (paths, sequences, steps, targets), each correlated with the step before.

    Beyond the known steps they are correlated as the errors of a random walk are.
    """
    scores = np.random.default_rng(seed).normal(size=shape)
    for step in range(1, shape[2]):
        walk = np.sqrt(step / (step + 1))
        rate = following[step - 1] if step <= len(following) else walk
        scores[:, :, step] *= np.sqrt(1 - rate**2)
        scores[:, :, step] += rate * scores[:, :, step - 1]
    return scores
