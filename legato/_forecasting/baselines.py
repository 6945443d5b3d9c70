"""Baselines: forecasts and labels that need no training.

Each uses the values up to and including its origin t, or the training part, and nothing later.
Persistence repeats the last value and seasonal persistence the last season (the naive and seasonal
naive methods of Hyndman and Athanasopoulos, "Forecasting: Principles and Practice", 3rd edition,
2021, section 5.2); drift goes on along the straight line through two values (same section); the
majority is the most frequent class.
"""

import numpy as np

from legato._errors import InputError
from legato._platform.checks import check_count

TIME_STEPS = "a number of time steps"


def persistence_forecast(
    values: np.ndarray, offsets: np.ndarray, sequence: np.ndarray, t: np.ndarray, horizon: int
) -> np.ndarray:
    """Persistence: the value at the origin, for all steps ahead; of labels, the last label.

    Args:
        values: (time steps of all sequences, targets).
        offsets: (sequences + 1,), where each sequence begins in the values.
        sequence, t: (origins,), the sequence of each origin and its time step there.
        horizon: steps ahead.

    Returns:
        (origins, horizon, targets).

    Raises:
        InputError: the horizon is less than 1.

    Examples:
        >>> rising = np.array([[1.0], [2.0], [3.0]])
        >>> offsets, sequence, t = np.array([0, 3]), np.array([0]), np.array([1])
        >>> persistence_forecast(rising, offsets, sequence, t, 2)[0, :, 0].tolist()
        [2.0, 2.0]
    """
    check_count("horizon", horizon, noun=TIME_STEPS)
    return np.repeat(values[offsets[sequence] + t][:, None], horizon, axis=1)


def seasonal_persistence_forecast(
    values: np.ndarray,
    offsets: np.ndarray,
    sequence: np.ndarray,
    t: np.ndarray,
    horizon: int,
    season: int,
) -> tuple[np.ndarray, int]:
    """Seasonal persistence: the value of the last observed season at the same place.

    Args:
        values, offsets, sequence, t, horizon: as for ``persistence_forecast``.
        season: time steps in a season.

    Returns:
        (origins, horizon, targets), and the number of steps ahead, over all origins, for which
        the sequence was shorter than a season; its last value is used there.

    Raises:
        InputError: the horizon or the season is less than 1.
    """
    check_count("horizon", horizon, noun=TIME_STEPS)
    check_count("season", season, noun=TIME_STEPS)
    ahead = np.arange(1, horizon + 1)
    source = t[:, None] + ahead - season * -(-ahead // season)  # (origins, horizon)
    early = source < 0
    steps = offsets[sequence][:, None] + np.where(early, t[:, None], source)
    return values[steps], int(early.sum())


def drift_forecast(
    values: np.ndarray,
    offsets: np.ndarray,
    sequence: np.ndarray,
    t: np.ndarray,
    horizon: int,
    span: int | None = None,
) -> np.ndarray:
    """Drift: the value at the origin plus the mean change before it, for each step ahead.

    Args:
        values, offsets, sequence, t, horizon: as for ``persistence_forecast``.
        span: the number of last changes whose mean is taken; None, or more than there are: all.

    Returns:
        (origins, horizon, targets).

    Raises:
        InputError: the horizon or the span is less than 1.

    Examples:
        >>> rising = np.array([[1.0], [2.0], [5.0]])
        >>> offsets, sequence, t = np.array([0, 3]), np.array([0]), np.array([2])
        >>> drift_forecast(rising, offsets, sequence, t, 2)[0, :, 0].tolist()
        [7.0, 9.0]
        >>> drift_forecast(rising, offsets, sequence, t, 2, span=1)[0, :, 0].tolist()
        [8.0, 11.0]
    """
    check_count("horizon", horizon, noun=TIME_STEPS)
    back = t if span is None else np.minimum(t, check_count("span", span, noun=TIME_STEPS))
    at = offsets[sequence] + t
    last = values[at]
    slope = (last - values[at - back]) / np.maximum(back, 1)[:, None]
    return last[:, None] + slope[:, None] * np.arange(1, horizon + 1)[:, None]


def majority_probabilities(labels: np.ndarray, classes: int, predictions: int) -> np.ndarray:
    """The shares of the classes in the training part, for every prediction.

    The most probable one is the most frequent. One is added to each count (Laplace's rule of
    succession), so that a class that never trained is not impossible.

    Args:
        labels: integers from 0, any shape: the training part's.
        classes: number of classes.
        predictions: number of predictions.

    Returns:
        Probabilities, (predictions, classes).

    Raises:
        InputError: there are no labels, or one is not of a class.

    Examples:
        >>> majority_probabilities(np.array([1, 1, 0]), classes=2, predictions=1).tolist()
        [[0.4, 0.6]]
    """
    labels = np.asarray(labels).ravel()
    if not labels.size or labels.dtype.kind not in "iu":
        raise InputError(f"Training labels are integers, one or more; {labels.dtype} came.")
    if labels.min() < 0 or labels.max() >= classes:
        raise InputError(
            f"Training labels run from {labels.min()} to {labels.max()}, and there are {classes} "
            "classes, counted from 0."
        )
    counts = np.bincount(labels, minlength=classes) + 1
    return np.tile(counts / counts.sum(), (predictions, 1))
