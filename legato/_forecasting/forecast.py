"""Forecasts of the steps after the end of each sequence, with prediction intervals.

An interval's ends are quantiles of the model's errors in a backtest on data outside the training
part. Each error is divided by the mean absolute change of its sequence from step to step, so that
sequences of different variability share them.
"""

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from legato._forecasting.forecast_metrics import residual_quantiles
from legato._platform.wording import counted
from legato._series.frequency import format_time, infer_spacing
from legato._series.sequences import Sequences

LEVELS = (0.8, 0.95)


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
            errors: (forecasts, steps ahead, targets); NaN where the true value is not known.
        """
        _, leads, targets = errors.shape
        ends = np.full((len(LEVELS), 2, leads, targets), np.nan)
        counts = np.zeros(leads, int)
        for lead in range(leads):
            known = errors[~np.isnan(errors[:, lead]).any(-1), lead]
            counts[lead] = len(known)
            if len(known):
                found, vouched = residual_quantiles(known[:, None], LEVELS)
                enough = vouched >= np.array(LEVELS) - 1e-9
                ends[enough, :, lead] = found[enough, :, 0]
        return cls(ends, counts)

    def around(self, values: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """The ends (levels, 2, sequences, steps, targets) around forecasts; NaN where unknown.

        Args:
            values: (sequences, steps, targets), the forecasts.
            scale: (sequences, targets), the mean absolute change of each sequence.
        """
        ends = np.full((len(LEVELS), 2, *values.shape), np.nan)
        known = min(values.shape[1], self.ends.shape[2])
        ends[:, :, :, :known] = self.ends[:, :, None, :known] * scale[:, None] + values[:, :known]
        return ends

    def as_numbers(self) -> dict[str, Any]:
        """The intervals as a dictionary for JSON."""
        ends = {"ends": _or_none(self.ends), "shape": list(self.ends.shape)}
        return {**ends, "errors": self.errors.tolist()}

    @classmethod
    def from_numbers(cls, numbers: dict) -> "Intervals":
        """The intervals of a dictionary from ``as_numbers``."""
        ends = np.array(numbers["ends"], float).reshape(numbers["shape"])
        return cls(ends, np.array(numbers["errors"]))


@dataclass(frozen=True, eq=False)
class Forecast:
    """Forecasts of the steps after the end of each sequence.

    Attributes:
        names: names of the sequences.
        targets: names of the targets.
        values: (sequences, steps ahead, targets), the forecasts.
        times: (sequences, steps ahead), spaced as those before; None without times.
        ends: (levels, 2, sequences, steps ahead, targets), lower and upper ends of the intervals of
            each of ``levels``; NaN where there were too few errors for it. None without a test
            part.
        before: the data before the forecasts.
        levels: the coverage of each interval, as shares.
    """

    levels: ClassVar[tuple[float, ...]] = LEVELS

    names: tuple[str, ...]
    targets: tuple[str, ...]
    values: np.ndarray
    times: np.ndarray | None
    ends: np.ndarray | None
    before: Sequences

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        ahead, before = self.values.shape[1], counted(len(self), "sequence")
        return f"<Forecast: {', '.join(self.targets)}; {counted(ahead, 'step')} ahead of {before}>"

    @classmethod
    def after(
        cls,
        sequences: Sequences,
        targets: tuple[str, ...],
        values: np.ndarray,
        ends: np.ndarray | None,
    ) -> "Forecast":
        """A forecast for the steps that follow some sequences."""
        times = None
        if sequences.times is not None:
            spacing = infer_spacing(sequences.times, sequences.lengths)
            if spacing is not None:
                last = sequences.times[sequences.offsets[1:] - 1]
                times = spacing.after(last, values.shape[1])
        return cls(sequences.names, targets, values, times, ends, sequences)

    def columns(self) -> dict[str, list]:
        """The forecast as a table: a row for each sequence and step ahead.

        The group, the time and the targets keep their names. Other columns that would have the
        name of one of them get another name.
        """
        count, steps, _ = self.values.shape
        table: dict[str, list] = {}
        taken = {*self.targets, self.before.group, self.before.time}
        if count > 1 or self.before.group:
            names = [name for name in self.names for _ in range(steps)]
            table[self.before.group or _free_name(taken, "sequence", "sequence name")] = names
        step = _free_name(taken, "step", "steps ahead")
        table[step] = np.tile(np.arange(1, steps + 1), count).tolist()
        if self.times is not None:
            table[self.before.time or _free_name(taken, "time", "time ahead")] = [
                format_time(each) for each in self.times.reshape(-1)
            ]
        for at, target in enumerate(self.targets):
            table[target] = _or_none(self.values[:, :, at])
            known = [] if self.ends is None else self.ends[..., at]
            for level, (low, high) in zip(self.levels, known, strict=False):
                if not np.isnan(low).all():
                    for end, values in (("low", low), ("high", high)):
                        names = [f"{end} {100 * level:g} %", f"{target} {end} {100 * level:g} %"]
                        several = len(self.targets) > 1
                        table[_free_name(taken, *names[several:])] = _or_none(values)
        return table


def _free_name(taken: set, *names: str) -> str:
    """The first of some names for a column that no other column has, which is then taken."""
    numbered = (f"{names[-1]} ({number})" for number in itertools.count(2))
    name = next(each for each in itertools.chain(names, numbered) if each not in taken)
    taken.add(name)
    return name


def _or_none(values: np.ndarray) -> list[float | None]:
    """Numbers one after another, None for NaN."""
    return [None if np.isnan(each) else float(each) for each in values.reshape(-1)]
