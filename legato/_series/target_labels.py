"""Whether the numbers of a target are labels: as asked, or because each sequence has one of them.

A column of the classes 1, 2 and 3 is a column of numbers in a file. Where it never changes within a
sequence, there is nothing in it to forecast.
"""

import numpy as np


def are_labels(numbers: np.ndarray, lengths: np.ndarray, classifies: bool | None) -> bool:
    """Whether whole numbers are labels.

    Args:
        numbers: (time steps of all sequences,); NaN where one is missing.
        lengths: (sequences,).
        classifies: whether they are to be labels; None: if they never change within a sequence, and
            some, not all, sequences share one.

    Example:
        >>> are_labels(np.array([1.0, 1, 2, 2, 1]), np.array([2, 2, 1]), None)
        True
    """
    known = numbers[~np.isnan(numbers)]
    if classifies is False or (known != np.round(known)).any():
        return False
    begins = np.cumsum(lengths) - lengths
    lows, highs = np.fmin.reduceat(numbers, begins), np.fmax.reduceat(numbers, begins)
    different = len(np.unique(lows[~np.isnan(lows)]))
    return classifies or (not (lows < highs).any() and 1 < different < len(lengths))


def note_of_labels(name: str) -> str:
    """The note on numbers that were not said to be labels."""
    return f"The numbers of {name!r} never change within a sequence: they are read as its label."
