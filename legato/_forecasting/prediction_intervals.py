"""Prediction intervals: quantiles of a model's errors in a backtest outside its training part.

Each error is divided by the mean absolute change of its sequence from step to step, so that
sequences of different variability share them. An interval of a step ahead comes from the errors of
that step; where they are too few for its level, those of the neighbouring steps ahead join them,
each divided by the mean absolute error of its own step. Beyond the last step with ``MIN_ERRORS``
errors, the widest interval before is widened by the square root of the steps ahead, as the errors
of a random walk grow.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from legato._forecasting.forecast_metrics import residual_quantiles
from legato._platform.wording import counted

LEVELS = (0.8, 0.95)
MIN_ERRORS = 3  # of one step ahead, for its mean absolute error


def needed_errors(level: float) -> int:
    """The least number of errors whose ordered values have ends for a level."""
    return math.ceil(2 / (1 - level) - 1e-9) - 1


@dataclass(frozen=True, eq=False)
class Intervals:
    """Ends of prediction intervals, relative to a forecast.

    Attributes:
        ends: (levels, 2, steps ahead, targets), in units of the mean absolute change; NaN where
            there are too few errors for the level.
        errors: (steps ahead,), number of known errors.
    """

    ends: np.ndarray
    errors: np.ndarray

    @classmethod
    def of(cls, errors: np.ndarray) -> "Intervals":
        """Intervals from errors, truth - forecast, in units of the mean absolute change.

        Args:
            errors: (forecasts, steps ahead, targets); NaN where the true value is not known, which
                it is for no more forecasts at a later step than at an earlier one.
        """
        known = np.asarray(~np.isnan(errors).any(-1))  # (forecasts, steps ahead)
        leads = int((known.sum(0) >= MIN_ERRORS).sum())
        by_lead = [errors[known[:, lead], lead] for lead in range(leads)]
        sizes = [np.abs(each).mean(0) for each in by_lead]
        scaled = [
            each / np.where(size > 0, size, 1.0) for each, size in zip(by_lead, sizes, strict=True)
        ]
        ends = np.full((len(LEVELS), 2, leads, errors.shape[-1]), np.nan)
        for at, level in enumerate(LEVELS):
            for lead in range(leads):
                pool = _pool(scaled, lead, needed_errors(level))
                if pool is not None:
                    found, _ = residual_quantiles(pool[:, None], [level])
                    ends[at, :, lead] = found[0, :, 0] * sizes[lead]
        return cls(ends, known.sum(0))

    @property
    def known(self) -> int:
        """Number of steps ahead whose intervals come from errors of that step."""
        there = ~np.isnan(self.ends).all((0, 1, 3))
        return int(np.flatnonzero(there)[-1]) + 1 if there.any() else 0

    def around(self, values: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """The ends (levels, 2, sequences, steps, targets) around forecasts; NaN where unknown.

        Args:
            values: (sequences, steps, targets), the forecasts.
            scale: (sequences, targets), the mean absolute change of each sequence.
        """
        ends = np.full((len(LEVELS), 2, *values.shape), np.nan)
        for at, own in enumerate(self.ends):
            relative = _widened(own, values.shape[1])
            ends[at] = relative[:, None] * scale[:, None] + values
        return ends

    def notes(self, steps: int) -> tuple[str, ...]:
        """Sentences on the intervals of so many steps ahead that are missing or widened."""
        notes = []
        if 0 < self.known < steps:
            notes.append(
                f"Errors are known up to {counted(self.known, 'step')} ahead; intervals beyond are "
                "the widest of those, widened by the square root of the steps ahead."
            )
        for level, own in zip(LEVELS, self.ends, strict=True):
            if np.isnan(own).all():
                notes.append(
                    f"There is no {100 * level:g} % interval: the test part gave "
                    f"{counted(int(self.errors.sum()), 'error')}, and {needed_errors(level)} at "
                    f"steps ahead with {MIN_ERRORS} each are needed; a larger one (--test) gives "
                    "more."
                )
        return tuple(notes)

    def as_numbers(self) -> dict[str, Any]:
        """The intervals as a dictionary for JSON."""
        ends = [None if np.isnan(each) else float(each) for each in self.ends.reshape(-1)]
        return {"ends": ends, "shape": list(self.ends.shape), "errors": self.errors.tolist()}

    @classmethod
    def from_numbers(cls, numbers: dict) -> "Intervals":
        """The intervals of a dictionary from ``as_numbers``."""
        ends = np.array(numbers["ends"], float).reshape(numbers["shape"])
        return cls(ends, np.array(numbers["errors"]))


def _pool(scaled: list[np.ndarray], lead: int, needed: int) -> np.ndarray | None:
    """The errors of a step ahead and of as many neighbours on each side as are needed, or None."""
    for reach in range(len(scaled)):
        near = scaled[max(lead - reach, 0) : lead + reach + 1]
        if sum(map(len, near)) >= needed:
            return np.concatenate(near)
    return None


def _widened(ends: np.ndarray, steps: int) -> np.ndarray:
    """The ends (2, steps, targets) of one level, beyond the last known step from the widest."""
    found = np.full((2, steps, ends.shape[-1]), np.nan)
    shown = min(steps, ends.shape[1])
    found[:, :shown] = ends[:, :shown]
    there = np.flatnonzero(~np.isnan(ends).any((0, 2)))
    if len(there) and steps > there[-1] + 1:
        last = int(there[-1]) + 1
        widths = ends[1, there] - ends[0, there]  # (known, targets)
        widest = there[widths.argmax(0)]  # (targets,)
        own = ends[:, widest, np.arange(len(widest))]
        growth = np.sqrt(np.arange(last + 1, steps + 1) / last)
        found[:, last:] = own[:, None] * growth[:, None]
    return found
