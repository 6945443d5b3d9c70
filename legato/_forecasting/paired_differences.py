"""The difference between two forecasters' errors at the same origins, with its interval.

Forecasts from neighbouring origins are about the same steps, so their errors are not independent.
The differences of absolute errors are averaged over blocks as long as the horizon, which follow
each other without overlap, and an interval is Student's over the means of the blocks ("batch
means", Law, "Simulation Modeling and Analysis", 5th edition, 2015, section 9.5.3). Neighbouring
blocks still share some steps, so it is somewhat too narrow where errors last long.
"""

from dataclasses import dataclass

import numpy as np

MIN_BLOCKS = 3
LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """The mean difference of two forecasters' absolute errors, one minus the other.

    Attributes:
        mean: the mean over blocks.
        low, high: ends of its 95 % interval; None with fewer than 3 blocks.
        blocks: number of blocks, which are taken as independent.
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


def paired_difference(one: np.ndarray, other: np.ndarray, blocks: np.ndarray) -> Difference:
    """The mean difference of the errors of two forecasters at the same origins.

    Args:
        one, other: (origins,), the absolute errors of each.
        blocks: (origins,), the block of each origin, integers from 0 without gaps.
    """
    sums, counts = np.bincount(blocks, one - other), np.bincount(blocks)
    means = sums / counts
    mean, count = float(means.mean()), len(means)
    if count < MIN_BLOCKS:
        return Difference(mean, None, None, count)
    from scipy.special import stdtrit  # not while the package is imported

    half = float(stdtrit(count - 1, (1 + LEVEL) / 2) * means.std(ddof=1) / np.sqrt(count))
    return Difference(mean, mean - half, mean + half, count)


def origin_blocks(sequence: np.ndarray, t: np.ndarray, horizon: int) -> np.ndarray:
    """The block of each origin: stretches of a sequence of at least ``horizon`` steps each.

    A sequence whose origins span less is one block.

    Args:
        sequence, t: (origins,), the sequence of each origin and its time step there; ascending.
        horizon: steps ahead of a forecast.

    Example:
        >>> origin_blocks(np.zeros(7, int), np.arange(4, 11), 3).tolist()
        [0, 0, 0, 0, 1, 1, 1]
    """
    _, first, which = np.unique(sequence, return_index=True, return_inverse=True)
    last = np.append(first[1:], len(sequence)) - 1
    spans = t[last] - t[first] + 1
    pieces = np.maximum(spans // horizon, 1)
    place = (t - t[first][which]) * pieces[which] // spans[which]
    return np.unique((np.cumsum(pieces) - pieces)[which] + place, return_inverse=True)[1]
