"""Future rows: the rows after the end of each sequence, whose targets are still empty.

Their other columns may be known ahead, such as a price or a promotion. A row counts as future if no
later row of its sequence has a value of a target either, and some earlier row has one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from legato._errors import InputError
from legato._platform.wording import counted, listed
from legato._series.frequency import format_time
from legato._series.sequences import Column, Sequences, expand_ranges, suggest_columns


@dataclass(frozen=True, eq=False)
class FutureRows:
    """Rows after the end of sequences.

    Attributes:
        values: (rows of all sequences, columns), NaN where a value is missing.
        lengths: (sequences,), the rows of each; 0 where there are none.
        columns: the name and the kind of each column.
        names: the name of each sequence.
        times: (rows of all sequences,) or None.
        lines: (rows of all sequences,): the row of the source of each; or None.
        source: the name of the source in messages.
    """

    values: np.ndarray
    lengths: np.ndarray
    columns: tuple[Column, ...]
    names: tuple[str, ...]
    times: np.ndarray | None = None
    lines: np.ndarray | None = None
    source: str = "arrays"

    @classmethod
    def of(cls, rows: Sequences) -> "FutureRows":
        """Rows that were read as sequences of their own, such as those of a file of the future."""
        return cls(
            rows.values,
            rows.lengths,
            rows.columns,
            rows.names,
            rows.times,
            rows.lines,
            rows.source,
        )

    @property
    def filled(self) -> tuple[str, ...]:
        """The columns of quantities that have a value in every row."""
        there = np.logical_not(np.isnan(self.values).any(axis=0))
        pairs = zip(self.columns, there, strict=True)
        return tuple(column.name for column, is_there in pairs if column.is_numeric and is_there)

    @property
    def note(self) -> str:
        """A sentence on what was found."""
        rows = counted(len(self.values), "row")
        filled = f", in which {listed(map(repr, self.filled))} is known" if self.filled else ""
        partly = [each.name for each in self.columns if self._share(each.name) % 1]
        gaps = f" (not in every row: {listed(map(repr, partly))})" if partly else ""
        return f"{rows} at the end without a target: the future{filled}{gaps}."

    def _share(self, name: str) -> float:
        """The share of rows in which a column has a value."""
        return float((~np.isnan(self.values[:, self._place(name)])).mean())

    def after(self, sequences: Sequences) -> "FutureRows":
        """The rows that follow some sequences, in their order; those at earlier times are left out.

        Sequences and rows are matched by name; if there is one of each, they belong together.
        """
        index = {name: at for at, name in enumerate(self.names)}
        if len(sequences) == len(self.names) == 1:
            index = {sequences.names[0]: 0}
        offsets = np.concatenate([[0], np.cumsum(self.lengths)])
        found = []
        for name, end in zip(sequences.names, sequences.offsets[1:], strict=True):
            at = index.get(name)
            rows = np.arange(*offsets[at : at + 2]) if at is not None else np.arange(0)
            if self.times is not None and sequences.times is not None:
                rows = rows[self.times[rows] > sequences.times[end - 1]]
            found.append(rows)
        chosen = np.concatenate(found)
        return FutureRows(
            self.values[chosen],
            np.array(list(map(len, found))),
            self.columns,
            sequences.names,
            None if self.times is None else self.times[chosen],
            None if self.lines is None else self.lines[chosen],
            self.source,
        )

    def first(self, steps: int, names: Sequence[str]) -> Sequences:
        """The first rows of each sequence, with some columns, as sequences of their own.

        Raises:
            InputError: a sequence has fewer rows; a column is absent, or has no value in some row.
        """
        short = np.flatnonzero(self.lengths < steps)
        if len(short):
            rows = f"{self.lengths[short[0]]:,}"
            raise InputError(
                f"To forecast {counted(steps, 'step')} after {self.names[short[0]]!r}, as many "
                f"rows after its end with {listed(names)} are needed, and {self.source} has {rows}."
                " Add rows with an empty target, or forecast fewer steps."
            )
        count = np.full(len(self.lengths), steps)
        rows = expand_ranges(np.cumsum(self.lengths) - self.lengths, count)
        places = [self._place(name) for name in names]
        values = self.values[rows][:, places]
        self._check_filled(values, rows, names)
        columns = tuple(self.columns[place] for place in places)
        times = None if self.times is None else self.times[rows]
        lines = None if self.lines is None else self.lines[rows]
        source = self.source
        return Sequences(values, count, columns, self.names, times, source=source, lines=lines)

    def has(self, steps: int) -> bool:
        """Whether each sequence has so many rows."""
        return bool((self.lengths >= steps).all())

    def check_filled(self, names: Sequence[str]) -> None:
        """Check that some columns have a value in every row.

        Raises:
            InputError: one is absent, or has no value in some row.
        """
        places = [self._place(name) for name in names]
        self._check_filled(self.values[:, places], np.arange(len(self.values)), names)

    def _check_filled(self, values: np.ndarray, rows: np.ndarray, names: Sequence[str]) -> None:
        if np.isnan(values).any():
            place, at = (int(each[0]) for each in np.nonzero(np.isnan(values)))
            row = rows[place]
            name = self.names[np.searchsorted(np.cumsum(self.lengths), row, side="right")]
            where = "" if name == self.source else f" for {name!r}"
            when = "" if self.times is None else f" at {format_time(self.times[row])}"
            line = "" if self.lines is None else f" (row {self.lines[row]})"
            raise InputError(
                f"The column {names[at]!r} of {self.source} has no value{where}{when}{line}"
                ", after the end of the targets, where it is to be known ahead. Fill it in, or "
                "leave it out of known."
            )

    def _place(self, name: str) -> int:
        names = [column.name for column in self.columns]
        if name not in names:
            raise InputError(
                f"{self.source} has no column {name!r}, which is to be known ahead."
                f"{suggest_columns(name, names)}"
            )
        return names.index(name)


def target_places(columns: Sequence[Column], targets: Sequence[str]) -> list[int]:
    """The places of the targets among the columns; of the last column if none is named."""
    names = set(targets) or {columns[-1].name}
    return [at for at, column in enumerate(columns) if column.name in names]


def find_future_rows(
    columns: tuple[Column, ...],
    values: np.ndarray,
    lengths: np.ndarray,
    targets: Sequence[str] | None,
) -> np.ndarray | None:
    """Whether each row is after the end of its sequence, (rows,).

    Args:
        columns: of the values.
        values: (rows of all sequences, columns), NaN where a value is missing.
        lengths: (sequences,).
        targets: names of the targets; none: the last column; None: no row is future.

    Returns:
        None if no row is, as of targets that are labels.
    """
    if targets is None:
        return None
    places = target_places(columns, targets)
    if not places or not all(columns[at].is_numeric for at in places):
        return None
    rows = np.arange(len(values))
    is_known = ~np.isnan(values[:, places]).all(1)
    begins = np.cumsum(lengths) - lengths
    last = np.maximum.reduceat(np.where(is_known, rows, -1), begins)
    last = np.where(last < begins, len(rows), last)  # without any value, none is after the end
    is_future = rows > np.repeat(last, lengths)
    return is_future if is_future.any() else None
