"""The three parts of data: what fits a network, what decides when to stop, and what scores it.

Split by time, the later parts of every sequence are set aside; by group, whole sequences. Who is
judged on a part is led through what comes before it.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from legato._errors import InputError
from legato._forecasting.task import Task
from legato._series.sequences import Sequences
from legato._series.splits import split_by_group, split_by_time

Split = Literal["time", "group"]


@dataclass(frozen=True, eq=False)
class Partition:
    """Where the parts of each sequence end.

    Attributes:
        fits: (sequences,), the first step after the part that fits.
        stops: (sequences,), the first step after the part that decides when to stop; what is left
            scores.
        by: ``"time"`` or ``"group"``.
    """

    fits: np.ndarray
    stops: np.ndarray
    by: str

    def learning(self, sequences: Sequences) -> Sequences:
        """All but what scores."""
        return sequences.between(0 * self.stops, self.stops)

    def fitting(self, sequences: Sequences) -> Sequences:
        """What is learnt from while the rest of ``learning`` decides."""
        return sequences.between(0 * self.fits, self.fits)

    def stopping(self, sequences: Sequences) -> tuple[Sequences, np.ndarray] | None:
        """What decides when to stop, after what leads there; and where it begins. None if none."""
        return _led(sequences, self.fits, self.stops)

    def scoring(self, sequences: Sequences) -> tuple[Sequences, np.ndarray] | None:
        """What scores, after what leads there; and where it begins. None if there is none."""
        return _led(sequences, self.stops, sequences.lengths)


def _led(
    sequences: Sequences, begins: np.ndarray, ends: np.ndarray
) -> tuple[Sequences, np.ndarray] | None:
    there = ends > begins
    if not there.any():
        return None
    return sequences.between(0 * ends, np.where(there, ends, 0)), begins[there]


def parts_of(
    sequences: Sequences, task: Task, by: Split | None, test: float, validation: float, seed: int
) -> Partition:
    """Set parts aside for a task.

    Args:
        sequences: all the data.
        task: what is asked.
        by: ``"time"``: the last steps of every sequence; ``"group"``: whole sequences, drawn at
            random, every label in each part. Default: by group if a label belongs to a whole
            sequence, else by time.
        test, validation: shares, or whole numbers of steps (or sequences); 0: none.
        seed: of the draw of sequences.

    Raises:
        InputError: a part would leave too little of a sequence, which is named.
    """
    for name, share in (("test", test), ("validation", validation)):
        if not share >= 0:
            raise InputError(f"{name} is {share}; a share, a whole number, or 0 was expected.")
    if by not in (None, "time", "group"):
        raise InputError(f"split is {by!r}; 'time' or 'group' was expected.")
    if task.whole and by == "time":
        raise InputError(
            "Split by time, every sequence would be learnt from with its label, and then be asked "
            "for that label: leave split out, or split by group."
        )
    if not task.whole and by != "group":
        least = max(1, task.horizon)
        stops = split_by_time(sequences, test, least=least) if test else sequences.lengths
        if not validation:
            return Partition(stops, stops, "time")
        before = sequences.between(0 * stops, stops)
        return Partition(split_by_time(before, validation, least=least), stops, "time")
    labels = np.zeros(len(sequences))
    if task.whole:
        labels = sequences.values[sequences.offsets[:-1], sequences.place(task.targets[0].name)]
    fits = np.arange(len(sequences))
    parts = [np.arange(0)] * 2
    for at, share in enumerate((test, validation)):
        if share:
            kept, chosen = split_by_group(sequences.select(fits), share, seed, labels[fits])
            fits, parts[at] = fits[kept], fits[chosen]
    ends = np.zeros((2, len(sequences)), int)
    ends[0, fits] = sequences.lengths[fits]
    within = np.concatenate([fits, parts[1]])
    ends[1, within] = sequences.lengths[within]
    return Partition(ends[0], ends[1], "group")
