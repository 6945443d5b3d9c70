"""Statistics of the scores of replicates: confidence intervals and tests of differences.

Takes one score per seed (``seed_scores``). ``intervals`` gives a mean or a share with its interval,
``hypothesis_tests`` compares two sets of scores by an interval and a test (``permutation_tests``),
and ``comparison`` is the result, with the number of seeds that would be needed.
Results print as sentences, with the decimals that ``number_format`` justifies. SciPy computes, and
is imported on first use.
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
