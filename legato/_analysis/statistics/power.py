"""How many seeds it takes to find a difference that is there.

By Welch's t test and the noncentral t distribution, from the normal distribution's answer upwards,
and never fewer than a permutation test can find anything in.

Limits: scores are taken as normal, and their spread as it was seen; of a few seeds that is a guess.
"""

import math
from collections.abc import Sequence
from itertools import count

from legato._analysis.statistics.permutation import ways_of_pairs, ways_of_sides

MOST_SEEDS = 10**9
FAR = 1e5  # standard errors; SciPy's distribution is NaN from some 1e6 on


def seeds_needed(
    difference: float, deviations: Sequence[float], alpha: float, power: float
) -> int | None:
    """The fewest seeds of each that find a difference.

    Args:
        difference: of the means, not negative.
        deviations: the standard deviations of both sides, or that of the differences of pairs.
        alpha: the probability of finding a difference where none is.
        power: that of finding this one, 0.5 or more.

    Returns:
        None without a difference or a deviation, or if ``MOST_SEEDS`` would not do.

    Example:
        >>> seeds_needed(1.0, [1.0, 1.0], alpha=0.05, power=0.8)
        17
    """
    from scipy import special

    size = math.hypot(*deviations)
    if not difference or not size:
        return None
    normal = float(special.ndtri(1 - alpha / 2) + special.ndtri(power)) * size / difference
    if normal * normal > MOST_SEEDS:
        return None
    first = max(math.ceil(normal * normal), least_seeds(alpha, paired=len(deviations) == 1))
    share = sum((each / size) ** 4 for each in deviations)

    def found(seeds: int) -> float:
        df = (seeds - 1) / share  # Welch's, of as many on both sides
        beyond = special.stdtrit(df, 1 - alpha / 2)
        away = min(math.sqrt(seeds) * difference / size, FAR)
        return 1 - float(special.nctdtr(df, away, beyond))

    return next(seeds for seeds in count(first) if found(seeds) >= power)


def least_seeds(alpha: float, paired: bool) -> int:
    """The fewest seeds of each whose arrangements leave room for a two-sided p of alpha.

    Example:
        >>> least_seeds(0.05, paired=False), least_seeds(0.05, paired=True)
        (4, 6)
    """
    ways = ways_of_pairs if paired else lambda seeds: ways_of_sides(seeds, seeds)
    return next(seeds for seeds in count(2) if ways(seeds) * alpha >= 2)
