"""Sequences: the columns of a table, divided into sequences of any lengths.

Files are read into them; they are split, framed, packed into lanes and scored. All numbers are in
one array, one sequence after another; a category is encoded as a number.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from legato._errors import InputError
from legato._platform.output_streams import printable_on_stdout
from legato._series.frame_layout import FrameLayout
from legato._series.frequency import Spacing, format_time, infer_spacing
from legato._series.time_writings import Writing, format_iso
from legato._series.time_zones import Zone, offsets_of


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: the name of the column.
        categories: its labels; None for a column of quantities.
        numbers: the number that encodes each category, ascending: a character's code point, an
            integer's own value, the index of any other label in ``categories``.
        is_fixed: whether the categories are a list of their own, such as the weekdays, that data
            need not have all of.

    Examples:
        >>> import legato
        >>> table = {"load": [0.1, 0.3, 0.2], "state": ["on", "off", "on"]}
        >>> state = legato.read(table).columns[1]
        >>> state.name, state.categories, state.numbers
        ('state', ('off', 'on'), (0.0, 1.0))
    """

    name: str
    categories: tuple[str, ...] | None = None
    numbers: tuple[float, ...] | None = None
    is_fixed: bool = False

    @property
    def is_numeric(self) -> bool:
        """Whether it holds quantities."""
        return self.categories is None


@dataclass(frozen=True, eq=False)
class Sequences:
    """Many sequences with the same columns.

    Attributes:
        values: (time steps of all sequences, columns), finite numbers.
        lengths: (sequences,), the time steps of each, at least 1.
        columns: the name and the kind of each column of the values.
        names: the name of each sequence.
        times: (time steps of all sequences,) or None: ascending within a sequence.
        group: the name of the column of groups in the source, or None.
        time: the name of the column of times in the source, or None.
        source: the name of the source in messages.
        notes: findings and changes while it was read, a sentence each.
        lines: (time steps of all sequences,): the row of the source of each step; or None.
        layout: that of the frame of pandas or Polars that they were read from; else None.
        writing: how times are written in the source, if they are texts or numbers that are dates.
        zone: the time zone; None if times have none.
        filled: (time steps of all sequences, columns) whether a value was missing and filled in; of
            columns that were added later it says nothing. None: nothing was.
        is_local: whether times have no zone in the source, and were read in that of ``zone``.

    Examples:
        >>> import legato
        >>> log = {"machine": ["a", "b", "a"], "load": [0.1, 0.9, 0.3]}
        >>> machines = legato.read(log, group="machine")
        >>> print(machines)
        2 sequences of 1 to 2 steps, 3 in all: load
        >>> machines.names, machines.of(0).tolist()
        (('a', 'b'), [[0.1], [0.3]])
    """

    values: np.ndarray
    lengths: np.ndarray
    columns: tuple[Column, ...]
    names: tuple[str, ...]
    times: np.ndarray | None = None
    group: str | None = None
    time: str | None = None
    source: str = "arrays"
    notes: tuple[str, ...] = ()
    lines: np.ndarray | None = None
    layout: FrameLayout | None = None
    writing: Writing | None = None
    zone: Zone | None = None
    is_local: bool = False
    filled: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.lengths)

    @printable_on_stdout
    def __repr__(self) -> str:
        return f"<Sequences: {self}>"

    @printable_on_stdout
    def __str__(self) -> str:
        shortest, longest = self.lengths.min(), self.lengths.max()
        spread = f"{longest:,}" if shortest == longest else f"{shortest:,} to {longest:,}"
        many = "1 sequence" if len(self) == 1 else f"{len(self):,} sequences"
        names = ", ".join(column.name for column in self.columns)
        return f"{many} of {spread} steps, {len(self.values):,} in all: {names}"

    @cached_property
    def offsets(self) -> np.ndarray:
        """The row of the values where each sequence begins, and the end, (sequences + 1,)."""
        return np.concatenate([[0], np.cumsum(self.lengths)])

    @property
    def clock_times(self) -> np.ndarray | None:
        """The times as a clock on the wall shows them, in the time zone if there is one."""
        if self.times is None or self.zone is None:
            return self.times
        return self.zone.wall(self.times)

    @property
    def spacing(self) -> Spacing | None:
        """The spacing of the times; None without times, or if no sequence has two."""
        return self._timing[0]

    @cached_property
    def _timing(self) -> tuple[Spacing | None, bool]:
        """The spacing of the times, and whether it is that of the clock on the wall.

        With summer time, days are alike on that clock, and hours in UTC.
        """
        if self.times is None or self.clock_times is None:
            return None, False
        spacing = infer_spacing(self.clock_times, self.lengths)
        if self.zone is None or self.zone.is_fixed or spacing is None or spacing.is_of_days:
            return spacing, True
        return infer_spacing(self.times, self.lengths), False

    def times_at(self, positions: np.ndarray, sequence: np.ndarray) -> np.ndarray:
        """The times of positions on the calendar of the spacing; see ``Calendar.times_at``."""
        spacing, is_on_wall = self._timing
        assert spacing is not None
        assert self.times is not None
        times = spacing.calendar.times_at(positions, sequence)
        if self.zone is not None and is_on_wall:
            times = self.zone.instants(times)
        return times.astype(self.times.dtype) if self.times.dtype.kind == "M" else times

    @property
    def positions(self) -> np.ndarray:
        """The positions of the times on the calendar of the spacing, (time steps of all,)."""
        spacing, is_on_wall = self._timing
        assert spacing is not None
        times = self.clock_times if is_on_wall else self.times
        assert times is not None
        return spacing.calendar.positions(times)

    def times_after(self, count: int) -> np.ndarray | None:
        """The times that follow each sequence, (sequences, count); None without a spacing."""
        if self.spacing is None:
            return None
        ahead = np.arange(1, count + 1) * self.spacing.common
        last = self.positions[self.offsets[1:] - 1]
        return self.times_at(last[:, None] + ahead, np.arange(len(self))[:, None])

    def format_times(self, times: np.ndarray) -> list[str]:
        """Times as they are written in the source."""
        if times.dtype.kind != "M":
            return [format_time(each) for each in times]
        shown = times if self.zone is None else self.zone.wall(times)
        offsets = None
        if self.zone is not None and not self.is_local:
            offsets = offsets_of(self.zone, times)
        if self.writing is None:
            return format_iso(shown, offsets)
        return self.writing.format(shown, offsets)

    def times_of_frames(self, times: np.ndarray) -> Any:
        """Times as the columns of frames have them: UTC, or local times, or texts."""
        if self.writing is not None:
            return self.format_times(times)
        return self.zone.wall(times) if self.zone is not None and self.is_local else times

    def place(self, name: str) -> int:
        """The index of a column.

        Raises:
            InputError: there is no column of that name.
        """
        names = [column.name for column in self.columns]
        if name not in names:
            raise InputError(f"{self.source} has no column {name!r}.{suggest_columns(name, names)}")
        return names.index(name)

    def filled_in(self, names: Iterable[str]) -> np.ndarray:
        """Whether a value of one of some columns was filled in, (time steps of all sequences,)."""
        if self.filled is None:
            return np.zeros(len(self.values), bool)
        places = [self.place(name) for name in names]
        places = [each for each in places if each < self.filled.shape[1]]
        return np.asarray(self.filled[:, places].any(axis=1))

    def of(self, sequence: int) -> np.ndarray:
        """The values of one sequence, (time steps, columns)."""
        return self.values[self.offsets[sequence] : self.offsets[sequence + 1]]

    def select(self, sequences: Iterable[int]) -> "Sequences":
        """Some of the sequences, in the order given."""
        chosen = np.asarray(list(sequences), int)
        return self.between(self.offsets[:-1] * 0, self.lengths, chosen)

    def of_at_least(self, steps: int) -> "Sequences":
        """The sequences of at least a number of steps, with a note if some are left out.

        Raises:
            InputError: no sequence has so many.
        """
        short = int((self.lengths < steps).sum())
        if not short:
            return self
        if short == len(self):
            raise InputError(
                f"No sequence of {self.source} has {steps:,} steps; the longest has "
                f"{self.lengths.max():,}."
            )
        left = "1 sequence was" if short == 1 else f"{short:,} sequences were"
        note = f"{left} left out, of fewer than {steps:,} steps."
        return replace(
            self.select(np.flatnonzero(self.lengths >= steps)), notes=(*self.notes, note)
        )

    def between(self, begins, ends, sequences: np.ndarray | None = None) -> "Sequences":
        """Slice each sequence; those of which nothing is left are left out.

        Args:
            begins, ends: (sequences,) time steps within each sequence, the end not included.
            sequences: indices of the sequences that are kept, in their order; default: all.

        Raises:
            InputError: no time step is left.
        """
        begins, ends = np.maximum(begins, 0), np.minimum(ends, self.lengths)
        kept = np.arange(len(self)) if sequences is None else sequences
        kept = kept[ends[kept] > begins[kept]]
        if not len(kept):
            raise InputError("No time step of any sequence is left.")
        lengths = (ends - begins)[kept]
        index = expand_ranges(self.offsets[:-1][kept] + begins[kept], lengths)
        return replace(
            self,
            values=self.values[index],
            lengths=lengths,
            names=tuple(self.names[at] for at in kept),
            times=None if self.times is None else self.times[index],
            lines=None if self.lines is None else self.lines[index],
            filled=None if self.filled is None else self.filled[index],
        )


def expand_ranges(begins: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Concatenate ranges of integers, given where each begins and its length.

    Examples:
        >>> expand_ranges(np.array([5, 0]), np.array([2, 3])).tolist()
        [5, 6, 0, 1, 2]
    """
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(begins - (ends - lengths), lengths)


def suggest_columns(name: str, present: list[str]) -> str:
    """A sentence on the columns that are present, and on the one that was probably meant."""
    lower = {each.lower(): each for each in reversed(present)}
    close = difflib.get_close_matches(str(name).lower(), lower, 1)
    meant = f" Did you mean {lower[close[0]]!r}?" if close else ""
    more = f" and {len(present) - 20} more" if len(present) > 20 else ""
    be = "is" if len(present) == 1 else "are"
    return f"{meant} There {be} {', '.join(map(repr, present[:20]))}{more}."
