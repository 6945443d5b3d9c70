"""What comes in: one score a seed, levels, margins; checked, so that nothing is averaged away."""

import math
from typing import Any, get_args

import numpy as np

from legato._errors import InputError
from legato._platform.wording import listed

SAME = 2.0**-22  # of the largest score: what float32, in which networks score, may round by
LARGEST = 1e100  # beyond float32 by far, and its square can still be held
MOST_NAMED = 5  # places in a message


def seed_scores(what: str, scores, unit: str) -> np.ndarray:
    """Scores as float64 (seeds,), if there are two or more, and all are numbers."""
    try:
        values = np.asarray(scores)
        if values.dtype.kind in "bcmMOSU":
            raise TypeError(f"{values.dtype} came")
        values = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{what} are no numbers: {error}. One number a seed is expected; booleans are counted "
            "by legato.proportion."
        ) from error
    if values.ndim != 1:
        raise InputError(
            f"{what} have shape {values.shape}; expected (seeds,), one score a seed. Of several, "
            "take the one that counts, such as the last epoch's."
        )
    if len(values) < 2:
        raise InputError(
            f"{what} are {len(values)}: the spread over seeds is not to be seen in fewer than 2."
        )
    _all_finite(what, values)
    if unit == "%" and not (values.min() >= 0 and values.max() <= 1 + SAME):
        raise InputError(
            f"{what} run from {values.min():.4g} to {values.max():.4g}, and unit='%' is for shares "
            "from 0 to 1. Divide percent by 100, or take a word such as unit='points'."
        )
    return values


def _all_finite(what: str, values: np.ndarray) -> None:
    wrong = np.flatnonzero(~(np.abs(values) < LARGEST))
    if len(wrong):
        named = [f"{at}" for at in wrong[:MOST_NAMED]]
        more = [f"{len(wrong) - MOST_NAMED:,} more"] if len(wrong) > MOST_NAMED else []
        raise InputError(
            f"{what} are NaN, infinite or beyond {LARGEST:g} for {len(wrong):,} of {len(values):,} "
            f"seeds, counted from 0: {listed(named + more)}. A run that failed is a result: count "
            "it with legato.proportion, or leave it out and say so."
        )


def spread(values: np.ndarray, largest: float) -> float:
    """The standard deviation, 0 if it is no more than rounding of scores as large as that."""
    deviation = float(values.std(ddof=1))
    return deviation if deviation > SAME * largest else 0.0


def checked_level(level: float) -> float:
    """A level, if it is one."""
    if isinstance(level, str) or not 0 < level < 1:
        raise InputError(f"level={level!r} must lie between 0 and 1, such as 0.95.")
    return float(level)


def chance(level: float) -> float:
    """1 - level, without the rounding of binary fractions."""
    return round(1 - level, 12)


def checked_positive(name: str, value: float) -> float:
    """A number, if it is above 0."""
    if isinstance(value, bool | str) or not 0 < value < math.inf:
        raise InputError(f"{name}={value!r} must be a number above 0, such as 0.02.")
    return float(value)


def checked_word(name: str, value: str, words: Any) -> None:
    """Nothing, if the value is one of the words."""
    if value not in get_args(words):
        expected = " or ".join(repr(word) for word in get_args(words))
        raise InputError(f"{name}={value!r} is not known; expected {expected}.")
