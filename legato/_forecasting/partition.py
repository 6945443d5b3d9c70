"""Splits data into three parts: one to fit a network, one for early stopping, one to test it.

By time, the later steps of every sequence are set aside; by group, whole sequences. A network is
evaluated on a part after it has read the steps before it.
"""

from dataclasses import dataclass

import numpy as np

from legato._errors import InputError
from legato._forecasting.prediction_intervals import MIN_ERRORS
from legato._forecasting.task import Task
from legato._forecasting.train_config import TEST, TrainConfig
from legato._platform.wording import counted
from legato._series.sequences import Sequences
from legato._series.splits import split_by_group, split_by_time

CROSS_VALIDATION = "cross-validation"  # parts are scored in turn, and none is set aside


@dataclass(frozen=True, eq=False)
class Partition:
    """Where the parts of each sequence end.

    Attributes:
        fits: (sequences,), the first step after the part that is fitted.
        stops: (sequences,), the first step after the part for early stopping; the rest is the test
            part.
        by: ``"time"``, ``"group"``, or ``CROSS_VALIDATION``.
        notes: a sentence if the test part is longer than the share that was asked for.
    """

    fits: np.ndarray
    stops: np.ndarray
    by: str
    notes: tuple[str, ...] = ()

    def training(self, sequences: Sequences) -> Sequences:
        """All but the test part."""
        return sequences.between(0 * self.stops, self.stops)

    def fitting(self, sequences: Sequences) -> Sequences:
        """The training part without that for early stopping."""
        return sequences.between(0 * self.fits, self.fits)

    def validation(self, sequences: Sequences) -> tuple[Sequences, np.ndarray] | None:
        """The part for early stopping with the steps before it, and where it begins; or None."""
        return _with_history(sequences, self.fits, self.stops)

    def test(self, sequences: Sequences) -> tuple[Sequences, np.ndarray] | None:
        """The test part with the steps before it, and where it begins; None if there is none."""
        return _with_history(sequences, self.stops, sequences.lengths)


def _with_history(
    sequences: Sequences, begins: np.ndarray, ends: np.ndarray
) -> tuple[Sequences, np.ndarray] | None:
    there = ends > begins
    if not there.any():
        return None
    return sequences.between(0 * ends, np.where(there, ends, 0)), begins[there]


def split_parts(
    sequences: Sequences, task: Task, config: TrainConfig, window: int = 1
) -> Partition:
    """Set the parts aside for a task.

    Where a share is a test part that has a single origin with a horizon after it, or none, the test
    part is lengthened by ``steps_of_few_origins``, as far as it leaves two horizons before it.

    Args:
        sequences: all the data.
        task: the task; where a label belongs to a whole sequence, sequences are split by group, so
            that every label is in each part.
        config: its ``split``, ``test``, ``validation`` (used if ``early_stop`` asks) and ``seed``.
        window: steps that the network needs before it answers, which are left to the training part.

    Raises:
        InputError: a part would leave too little of a sequence, which is named.
    """
    test = _share_or_count(TEST if config.test is None else config.test)
    validation = _share_or_count(config.validation)
    if not config.early_stop:
        validation = 0
    if task.whole and config.split == "time":
        raise InputError(
            "Split by time, every sequence would be trained on with its label, and then be tested "
            "on that label: leave split out, or split by group."
        )
    if not task.whole and config.split != "group":
        least = max(1, task.horizon)
        stops = split_by_time(sequences, test, least=least) if test else sequences.lengths
        notes = ()
        if test and isinstance(test, float) and task.kind == "forecast":
            stops, notes = _make_room(sequences.lengths, stops, task.horizon, window)
        if not validation:
            return Partition(stops, stops, "time", notes)
        before = sequences.between(0 * stops, stops)
        return Partition(split_by_time(before, validation, least=least), stops, "time", notes)
    labels = np.zeros(len(sequences))
    if task.whole:
        labels = sequences.values[sequences.offsets[:-1], sequences.place(task.targets[0].name)]
    fits = np.arange(len(sequences))
    parts = [np.arange(0)] * 2
    for at, share in enumerate((test, validation)):
        if share:
            kept, chosen = split_by_group(sequences.select(fits), share, config.seed, labels[fits])
            fits, parts[at] = fits[kept], fits[chosen]
    ends = np.zeros((2, len(sequences)), int)
    ends[0, fits] = sequences.lengths[fits]
    within = np.concatenate([fits, parts[1]])
    ends[1, within] = sequences.lengths[within]
    return Partition(ends[0], ends[1], "group")


def steps_of_few_origins(horizon: int) -> int:
    """Steps of ``MIN_ERRORS`` origins with a horizon after them, up to one and a half horizons.

    So few are set aside where the data are short.
    """
    return horizon + min(max(1, horizon // 2), MIN_ERRORS - 1)


def _make_room(
    lengths: np.ndarray, stops: np.ndarray, horizon: int, window: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The stops with test parts of several origins, and a note if that moved them."""
    tests = lengths - stops
    if tests.max() > horizon:
        return stops, ()
    wanted = np.minimum(steps_of_few_origins(horizon), np.maximum(horizon, lengths - 2 * horizon))
    most = lengths - window - horizon
    longer = np.maximum(tests, np.minimum(wanted, most))
    if (longer == tests).all():
        return stops, ()
    note = (
        f"The test part is {counted(int(longer.max()), 'step')} in place of {int(tests.max()):,}, "
        f"so that forecasts of {counted(horizon, 'step')} are scored from several origins."
    )
    return lengths - longer, (note,)


def _share_or_count(size: float) -> float:
    """A share as it is; a whole number, which may come as a float, as an integer."""
    return int(size) if size >= 1 else size
