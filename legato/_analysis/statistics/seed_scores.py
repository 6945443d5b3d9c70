"""Checks of scores, one per seed, of confidence levels and of margins of equivalence."""

import math

import numpy as np

from legato._errors import InputError
from legato._platform.plain_arrays import check_keeps_meaning
from legato._platform.wording import listed

ROUNDING = 2.0**-22  # relative to the largest score: the rounding of scores computed in float32
LARGEST = 1e100  # far beyond float32, and its square is still finite in float64
MAX_NAMED = 5  # seeds listed in a message


def seed_scores(name: str, scores, unit: str) -> np.ndarray:
    """Checked scores of the seeds.

    Args:
        name: subject of the error messages, such as ``"The scores"``.
        scores: as the user gave them, one number per seed.
        unit: ``"%"`` requires shares from 0 to 1.

    Returns:
        float64 (seeds,).

    Raises:
        InputError: fewer than two scores, not one number per seed, NaN or infinite numbers, or
            shares outside 0 to 1.
    """
    check_keeps_meaning("scores", scores)
    try:
        values = np.asarray(scores)
        if values.dtype.kind in "bcmMOSU":
            raise TypeError(f"{values.dtype} came")
        values = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{name} are not numbers: {error}. One number per seed was expected; legato.proportion "
            "counts booleans."
        ) from error
    if values.ndim != 1:
        raise InputError(
            f"{name} have shape {values.shape}; expected (seeds,), one score per seed. If there "
            "are several, choose one, such as the last epoch's."
        )
    if len(values) < 2:
        raise InputError(f"{name} are {len(values)}; the spread over seeds needs at least 2.")
    _check_finite(name, values)
    if unit == "%" and not (values.min() >= 0 and values.max() <= 1 + ROUNDING):
        raise InputError(
            f"{name} run from {values.min():.4g} to {values.max():.4g}, and unit='%' is for shares "
            "from 0 to 1. Divide percent by 100, or give another unit such as unit='points'."
        )
    return values


def _check_finite(name: str, values: np.ndarray) -> None:
    wrong = np.flatnonzero(~(np.abs(values) < LARGEST))
    if len(wrong):
        shown = [f"{at}" for at in wrong[:MAX_NAMED]]
        more = [f"{len(wrong) - MAX_NAMED:,} more"] if len(wrong) > MAX_NAMED else []
        raise InputError(
            f"{name} are NaN, infinite or beyond {LARGEST:g} for {len(wrong):,} of {len(values):,} "
            f"seeds, counted from 0: {listed(shown + more)}. A run that failed is a result: count "
            "it with legato.proportion, or leave it out and say so."
        )


def standard_deviation(values: np.ndarray, largest: float) -> float:
    """The sample standard deviation (n - 1); 0 if within the rounding of scores this large."""
    deviation = float(values.std(ddof=1))
    return deviation if deviation > ROUNDING * largest else 0.0


def check_level(level: float) -> float:
    """A confidence level, between 0 and 1."""
    if isinstance(level, str) or not 0 < level < 1:
        raise InputError(f"level={level!r} must lie between 0 and 1, such as 0.95.")
    return float(level)


def significance_level(level: float) -> float:
    """1 - level, without the rounding of binary fractions: 0.05 of 0.95."""
    return round(1 - level, 12)


def check_positive(name: str, value: float) -> float:
    """A finite number above 0."""
    if isinstance(value, bool | str) or not 0 < value < math.inf:
        raise InputError(f"{name}={value!r} must be a number above 0, such as 0.02.")
    return float(value)
