"""Forecasts of the steps after the end of each sequence, with prediction intervals."""

import itertools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from legato._forecasting.prediction_intervals import LEVELS
from legato._platform.wording import counted
from legato._series.frequency import format_time, infer_spacing
from legato._series.sequences import Sequences


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
        notes: sentences on what was not scored, and on intervals that are missing or widened.
        levels: the coverage of each interval, as shares.
    """

    levels: ClassVar[tuple[float, ...]] = LEVELS

    names: tuple[str, ...]
    targets: tuple[str, ...]
    values: np.ndarray
    times: np.ndarray | None
    ends: np.ndarray | None
    before: Sequences
    notes: tuple[str, ...] = ()

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
        notes: tuple[str, ...] = (),
    ) -> "Forecast":
        """A forecast for the steps that follow some sequences."""
        times = None
        if sequences.times is not None:
            spacing = infer_spacing(sequences.times, sequences.lengths)
            if spacing is not None:
                last = sequences.times[sequences.offsets[1:] - 1]
                times = spacing.after(last, values.shape[1])
        return cls(sequences.names, targets, values, times, ends, sequences, notes)

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
            table[self.before.group or free_name(taken, "sequence", "sequence name")] = names
        step = free_name(taken, "step", "steps ahead")
        table[step] = np.tile(np.arange(1, steps + 1), count).tolist()
        if self.times is not None:
            table[self.before.time or free_name(taken, "time", "time ahead")] = [
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
                        table[free_name(taken, *names[several:])] = _or_none(values)
        return table


def free_name(taken: set, *names: str) -> str:
    """The first of some names for a column that no other column has, which is then taken."""
    numbered = (f"{names[-1]} ({number})" for number in itertools.count(2))
    name = next(each for each in itertools.chain(names, numbered) if each not in taken)
    taken.add(name)
    return name


def _or_none(values: np.ndarray) -> list[float | None]:
    """Numbers one after another, None for NaN."""
    return [None if np.isnan(each) else float(each) for each in values.reshape(-1)]
