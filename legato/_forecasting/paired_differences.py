"""The difference between two forecasters' errors at the same origins, with its interval.

Differences are relative, (a - b) / (a + b) of the mean absolute errors a and b of two forecasts of
the same steps, so that an origin that was hard for both does not outweigh the others. The interval
is of what comes next, the mean over the next forecasts: Student's prediction interval (Hahn and
Meeker, "Statistical Intervals", 1991, section 4.7). One of the expected difference would be
narrower, and the next forecasts would contradict it far more often than its level says.

Forecasts from neighbouring origins are about the same steps, so their errors are not independent.
Stretches of origins as long as the horizon are taken as independent, and as one forecast each.
Neighbouring stretches still share some steps, so the interval is somewhat too narrow where errors
last long. Sequences that rise and fall together count as fewer: their number is divided by the
design effect of what their differences have in common at the same steps (Kish, "Survey Sampling",
1965, section 8.2).
"""

from dataclasses import dataclass

import numpy as np

MIN_BLOCKS = 3
LEVEL = 0.95
NEXT_STEPS = 12  # steps that the next forecasts are about, at least


@dataclass(frozen=True)
class Difference:
    """The relative difference of two forecasters' absolute errors, (a - b) / (a + b).

    Attributes:
        mean: the mean over origins, from -1 (the first makes no error) to 1 (the other makes none).
        low, high: ends of the 95 % interval of the mean over the next forecasts; None with fewer
            than 3 blocks.
        blocks: number of blocks that are independent, or as good as so many.
    """

    mean: float
    low: float | None
    high: float | None
    blocks: int

    @property
    def is_below(self) -> bool:
        """Whether the errors of the one are smaller by more than the uncertainty."""
        return self.high is not None and self.high < 0

    @property
    def is_above(self) -> bool:
        """Whether the errors of the one are larger by more than the uncertainty."""
        return self.low is not None and self.low > 0


def paired_difference(
    one: np.ndarray,
    other: np.ndarray,
    blocks: np.ndarray,
    sequence: np.ndarray,
    upcoming: int = 1,
) -> Difference:
    """The relative difference of the errors of two forecasters at the same origins.

    Args:
        one, other: (origins, horizon), the absolute errors of each.
        blocks: (origins,), the block of each origin, integers from 0 without gaps.
        sequence: (origins,), of each origin; ascending.
        upcoming: number of the next forecasts of each sequence, over which the mean is taken.
    """
    relative = _relative(one.mean(1), other.mean(1))
    last = _last_origins(sequence)
    shared = design_effect(_relative(one, other)[last].reshape(len(last), -1))
    mean, count = float(relative.mean()), (int(blocks.max()) + 1) / shared
    if count < MIN_BLOCKS:
        return Difference(mean, None, None, int(count))
    from scipy.special import stdtrit  # not while the package is imported

    upcoming_count = upcoming * len(last) / shared
    deviation = relative.std() * np.sqrt(count / (count - 1) * (1 / upcoming_count + 1 / count))
    half = float(stdtrit(count - 1, (1 + LEVEL) / 2) * deviation)
    return Difference(mean, mean - half, mean + half, int(count))


def _relative(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    total = one + other
    return (one - other) / np.where(total > 0, total, 1.0)


def _last_origins(sequence: np.ndarray) -> np.ndarray:
    """The last origins of each sequence, (sequences, as many as each has); others end as they do.

    Args:
        sequence: (origins,), ascending.
    """
    counts = np.unique(sequence, return_counts=True)[1]
    return np.cumsum(counts)[:, None] - np.arange(counts.min(), 0, -1)


def design_effect(differences: np.ndarray) -> float:
    """By how much the variance of the mean over sequences exceeds that over independent ones.

    Args:
        differences: (sequences, steps), at the same steps of all.

    Returns:
        1 where they are independent, or there are too few steps to tell; at most the number of
        sequences, where all are alike.

    Examples:
        >>> design_effect(np.array([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]))
        2.0
    """
    deviations = differences - differences.mean(axis=1, keepdims=True)
    alone = deviations.var(axis=1).mean()
    if not alone:
        return 1.0
    together = deviations.mean(axis=0).var()
    return float(np.clip(len(differences) * together / alone, 1.0, len(differences)))


def upcoming_forecasts(horizon: int) -> int:
    """Forecasts, one after the other, that ``NEXT_STEPS`` take, or nearly so many; at least one."""
    return max(1, round(NEXT_STEPS / horizon))


def origin_blocks(sequence: np.ndarray, t: np.ndarray, horizon: int) -> np.ndarray:
    """The block of each origin: stretches of a sequence of at least ``horizon`` steps each.

    A sequence whose origins span less is one block.

    Args:
        sequence, t: (origins,), the sequence of each origin and its time step there; ascending.
        horizon: steps ahead of a forecast.

    Examples:
        >>> origin_blocks(np.zeros(7, int), np.arange(4, 11), 3).tolist()
        [0, 0, 0, 0, 1, 1, 1]
    """
    _, first, which = np.unique(sequence, return_index=True, return_inverse=True)
    last = np.append(first[1:], len(sequence)) - 1
    spans = t[last] - t[first] + 1
    pieces = np.maximum(spans // horizon, 1)
    place = (t - t[first][which]) * pieces[which] // spans[which]
    return np.unique((np.cumsum(pieces) - pieces)[which] + place, return_inverse=True)[1]
