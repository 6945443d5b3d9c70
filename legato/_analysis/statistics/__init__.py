"""Scores of replicates in honest sentences: intervals, and whether a difference is real.

One score a seed comes in (``seed_scores``); a mean or a share with its interval (``intervals``), or
the difference of two (``hypothesis_tests``) comes out as a value (``comparison``) that tells itself
(``number_format``). What chance can do is asked by rearranging scores (``permutation``), what more
seeds could find by the t distribution (``power``). SciPy does the sums, and is loaded when needed.
"""

from legato._analysis.statistics.comparison import Comparison
from legato._analysis.statistics.hypothesis_tests import compare, corrected
from legato._analysis.statistics.intervals import Interval, Proportion, interval, proportion

__all__ = [
    "Comparison",
    "Interval",
    "Proportion",
    "compare",
    "corrected",
    "interval",
    "proportion",
]
