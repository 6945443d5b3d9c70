"""Scores of replicates in honest sentences: intervals, and whether a difference is real.

One score a seed comes in (``_scores``); a mean or a share with its interval (``_intervals``), or
the difference of two (``_comparing``) comes out as a value (``_comparison``) that tells itself
(``_wording``). What chance can do is asked by rearranging scores (``_permutation``), what more
seeds could find by the t distribution (``_power``). SciPy does the sums, and is loaded when needed.
"""

from legato._statistics._comparing import compare, corrected
from legato._statistics._comparison import Comparison
from legato._statistics._intervals import Interval, Proportion, interval, proportion

__all__ = [
    "Comparison",
    "Interval",
    "Proportion",
    "compare",
    "corrected",
    "interval",
    "proportion",
]
