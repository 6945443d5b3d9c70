"""Forecasts of the steps after the end of each sequence, with prediction intervals."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from legato._forecasting.prediction_intervals import LEVELS
from legato._forecasting.tabular import Tabular, with_none
from legato._platform.wording import counted
from legato._series.frame_layout import FrameLayout
from legato._series.sequences import Sequences


@dataclass(frozen=True, eq=False)
class Forecast(Tabular):
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
        quantiles: the quantiles that were asked for, which are in its tables in place of intervals.
        quantile_values: (quantiles, sequences, steps ahead, targets); None if none were asked for.
        paths: (paths, sequences, steps ahead, targets), sample paths; None if none were asked for.
        levels: the coverage of each interval, as shares.

    Examples:
        >>> import legato
        >>> wave = {"load": [1.0, 2.0, 4.0, 3.0] * 9}
        >>> trained = legato.train(wave, units=2, epochs=1, verbose=0)
        >>> ahead = trained.forecast(wave)
        >>> ahead
        <Forecast: load; 1 step ahead of 1 sequence>
        >>> ahead.values.shape, ahead.ends.shape
        ((1, 1, 1), (2, 2, 1, 1, 1))
        >>> [*ahead.columns()]
        ['step', 'load', 'low 80 %', 'high 80 %', 'low 95 %', 'high 95 %']
    """

    levels: ClassVar[tuple[float, ...]] = LEVELS

    names: tuple[str, ...]
    targets: tuple[str, ...]
    values: np.ndarray
    times: np.ndarray | None
    ends: np.ndarray | None
    before: Sequences
    notes: tuple[str, ...] = ()
    quantiles: tuple[float, ...] = ()
    quantile_values: np.ndarray | None = None
    paths: np.ndarray | None = None

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
        times = sequences.times_after(values.shape[1])
        return cls(sequences.names, targets, values, times, ends, sequences, notes)

    def columns(self) -> dict[str, list]:
        """The forecast as a table: a row for each sequence and step ahead.

        The group, the time and the targets keep their names. Other columns that would have the
        name of one of them get another name. Times are text, and None stands where there is no
        number.
        """
        table, time = self._columns()
        return {
            name: self.before.format_times(values) if name == time else with_none(values)
            for name, values in table.items()
        }

    def path_columns(self) -> dict[str, list]:
        """The sample paths as a table like ``columns``: a row for each path, sequence and step."""
        if self.paths is None:
            return {}
        table, (_, time) = self.columns(), self._columns()
        names = [name for name in (*self._names()[:2], time) if name in table]
        count, rows = len(self.paths), self.values[..., 0].size
        number = free_name({*self.targets, *names}, "path", "path number")
        found: dict[str, list] = {number: np.repeat(np.arange(1, count + 1), rows).tolist()}
        found |= {name: table[name] * count for name in names}
        for at, target in enumerate(self.targets):
            found[target] = with_none(self.paths[..., at].reshape(-1).astype(float))
        return found

    @property
    def layout(self) -> FrameLayout | None:
        """The layout of the user's frame, if the data came in one."""
        return self.before.layout

    def table(self) -> dict[str, Any]:
        """The columns of its frames: those of ``columns``, times as times unless they were text.

        The number of the step is left out where a time, or an index that goes on counting, says as
        much.
        """
        table, time = self._columns()
        if time is not None or self.first_row is not None:
            del table[self._names()[1]]
        if time is not None:
            table[time] = self.before.times_of_frames(table[time])
        return table

    @property
    def first_row(self) -> int | None:
        """The row after the end of one sequence, where the index of its frame counts rows."""
        counts = self.layout is not None and self.layout.counter is not None
        if not counts or len(self) > 1 or self.times is not None:
            return None
        lines = self.before.lines
        return len(self.before.values) if lines is None else int(lines[-1]) + 1

    @property
    def frame(self) -> Any:
        """The forecast in the kind that the data came in, with the user's names and types.

        Of a frame of pandas or Polars, a frame; of a series, a series of the forecasts alone; of
        other data a frame of Polars. ``to_pandas()`` and ``to_polars()`` also have the intervals of
        a series. What indexed a frame of pandas goes on in the index.
        """
        found = super().frame
        if self.layout is None or not self.layout.is_series:
            return found
        name = self.layout.labels.get(self.targets[0], self.targets[0])
        series = found[name]
        if self.layout.library == "pandas":
            series.name = name  # where the names of columns are text, None has become NaN
        return series

    def _names(self) -> tuple[str | None, str, str]:
        """The names of the columns of sequences (None: one sequence), of steps and of times."""
        taken = {*self.targets, self.before.group, self.before.time}
        names = self.before.group
        if names is None and len(self) > 1:
            names = free_name(taken, "sequence", "sequence name")
        step = free_name(taken, "step", "steps ahead")
        return names, step, self.before.time or free_name(taken, "time", "time ahead")

    def _uncertainty(self, target: int) -> Iterator[tuple[str, np.ndarray]]:
        """Names and values of the quantiles of a target, or of the ends of its intervals."""
        if self.quantile_values is not None:
            for quantile, values in zip(self.quantiles, self.quantile_values, strict=True):
                yield f"quantile {quantile:g}", values[..., target]
        elif self.ends is not None:
            for level, (low, high) in zip(self.levels, self.ends[..., target], strict=False):
                yield f"low {100 * level:g} %", low
                yield f"high {100 * level:g} %", high

    def _columns(self) -> tuple[dict[str, Any], str | None]:
        """The table, and the name of its column of times, if there are any."""
        count, steps, _ = self.values.shape
        names, step, time = self._names()
        table: dict[str, Any] = {}
        if names is not None:
            table[names] = [name for name in self.names for _ in range(steps)]
        table[step] = np.tile(np.arange(1, steps + 1), count)
        if self.times is not None:
            table[time] = self.times.reshape(-1)
        taken = {*self.targets, *table}
        for at, target in enumerate(self.targets):
            table[target] = self.values[:, :, at].reshape(-1).astype(float)
            for name, values in self._uncertainty(at):
                if not np.isnan(values).all():
                    names = [name, f"{target} {name}"][len(self.targets) > 1 :]
                    table[free_name(taken, *names)] = values.reshape(-1).astype(float)
        return table, None if self.times is None else time


def free_name(taken: set, *names: str) -> str:
    """The first of some names for a column that no other column has, which is then taken."""
    numbered = (f"{names[-1]} ({number})" for number in itertools.count(2))
    name = next(each for each in itertools.chain(names, numbered) if each not in taken)
    taken.add(name)
    return name


def describe_reach(steps: int, horizon: int) -> tuple[str, ...]:
    """A note on steps ahead that a model was neither trained for nor scored on."""
    if steps <= horizon:
        return ()
    return (
        f"The model was trained and scored for {counted(horizon, 'step')} ahead; beyond, forecasts "
        f"are made from forecasts, and errors grow: to forecast {steps:,} steps directly, and have "
        f"their score, train with --horizon {steps}.",
    )


def describe_lost(names: tuple[str, ...], found: np.ndarray) -> tuple[str, ...]:
    """A note on forecasts (sequences, steps, targets) that grew beyond all numbers."""
    lost = np.asarray(np.isnan(found).any(-1))
    if not lost.any():
        return ()
    which = int(np.argmax(lost.any(1)))
    return (
        f"Sequence {names[which]!r} has no forecast from step {int(np.argmax(lost[which])) + 1:,} "
        "on: made from forecasts, it grew beyond the largest number of 32 bits. Ask for fewer "
        "steps, or train with as many (--horizon).",
    )


def describe_constant(names: tuple[str, ...], scale: np.ndarray) -> tuple[str, ...]:
    """Notes on sequences whose usual change, (sequences, targets), is 0 or not known."""
    notes = []
    for found, what in (
        (scale == 0, "have no width: it never changed"),
        (np.isnan(scale), "are not known: it has a single step"),
    ):
        which = np.flatnonzero(found.any(1))
        if len(which):
            others = f" (and {len(which) - 1:,} more)" if len(which) > 1 else ""
            notes.append(f"The intervals of sequence {names[which[0]]!r}{others} {what}.")
    return tuple(notes)
