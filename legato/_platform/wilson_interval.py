"""Wilson's interval of a share: the range of true shares that an observed one is compatible with.

Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927. The
observations are taken as independent.
"""

import math
from statistics import NormalDist


def wilson_interval(successes: int, count: int, level: float = 0.95) -> tuple[float, float]:
    """The interval of the probability of success.

    Args:
        successes: number of successes, 0 to ``count``.
        count: number of trials, at least 1.
        level: confidence level, between 0 and 1.

    Returns:
        The lower and the upper end, within 0 and 1 and around ``successes / count``.

    Examples:
        >>> low, high = wilson_interval(8, 10)
        >>> round(low, 3), round(high, 3)
        (0.49, 0.943)
    """
    share = successes / count
    weight = NormalDist().inv_cdf((1 + level) / 2) ** 2 / count
    middle = share + weight / 2
    half_width = math.sqrt(weight * (share * (1 - share) + weight / 4))
    low, high = (middle - half_width) / (1 + weight), (middle + half_width) / (1 + weight)
    return max(0.0, min(share, low)), min(1.0, max(share, high))  # despite rounding
