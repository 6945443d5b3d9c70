"""Predictions of a backtest, shared out over the processes of an executor.

Each task has some of the batches that one process would compute, and the sequences that they are
of; so the numbers are the same, to the bit on like machines. Limits: the data are in the memory of
this process, which also computes the scores.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from legato._platform.executors import SentOnce, check_executor, run_tasks
from legato._series.sequences import expand_ranges

if TYPE_CHECKING:
    from legato._forecasting.predictor import Predictor

TASKS = 32  # at most


class Batch(NamedTuple):
    """Steps whose outputs are computed together.

    Attributes:
        asked: (steps,), their places among all that are asked for.
        at: (steps,), their indices in the values of all sequences.
        sequences: (rows,), those that are read side by side; -1 fills up. Of an ensemble, which
            sees windows: those that the steps are of.
        steps: time steps of a window.
    """

    asked: np.ndarray
    at: np.ndarray
    sequences: np.ndarray
    steps: int


class SharedPrediction:
    """Computes batches on an executor.

    Args:
        executor: with the interface of ``concurrent.futures``.
        report: takes a line whenever a part is done.

    Raises:
        InputError: it is no executor, or forks this process.
    """

    def __init__(self, executor: Any, report: Callable[[str], None] | None = None):
        check_executor(executor)
        self._executor, self._report = executor, report or (lambda line: None)

    def predict(
        self,
        predictor: "Predictor",
        values: np.ndarray,
        lengths: np.ndarray,
        batches: Sequence[Batch],
    ) -> list[np.ndarray]:
        """What ``predictor.predict_batch`` gives for each batch.

        Raises:
            InputError: the model cannot be sent to another process.

        Warns:
            UserWarning: a process of the executor ended, and this one computes what was left.
        """
        sent = SentOnce(predictor)
        size = -(-len(batches) // TASKS)
        parts = [batches[at : at + size] for at in range(0, len(batches), size)]
        tasks = [(sent, *with_own_values(values, lengths, part)) for part in parts]
        found: dict[int, list[np.ndarray]] = {}
        for at, outputs in run_tasks(self._executor, predict_batches, tasks, "the model"):
            found[at] = outputs
            self._report(f"{len(found)} of {len(tasks)} parts are predicted")
        return [each for at in range(len(tasks)) for each in found[at]]


def predict_batches(
    predictor: "SentOnce[Predictor]", values: np.ndarray, lengths: np.ndarray, part: list[Batch]
) -> list[np.ndarray]:
    """The outputs of some batches, in whatever process this is called."""
    return [predictor.value.predict_batch(values, lengths, each) for each in part]


def with_own_values(
    values: np.ndarray, lengths: np.ndarray, part: Sequence[Batch]
) -> tuple[np.ndarray, np.ndarray, list[Batch]]:
    """The sequences of some batches alone, and the batches with their places there.

    Args:
        values: (time steps of all sequences, inputs).
        lengths: (sequences,).
        part: the batches.

    Returns:
        Values, lengths and batches.
    """
    own = np.unique(np.concatenate([each.sequences for each in part]))
    own = own[own >= 0]
    begins = np.cumsum(lengths) - lengths
    moved = begins[own] - (np.cumsum(lengths[own]) - lengths[own])
    batches = []
    for each in part:
        place = np.searchsorted(begins[own], each.at, side="right") - 1
        rows = np.where(each.sequences < 0, -1, np.searchsorted(own, each.sequences))
        batches.append(each._replace(at=each.at - moved[place], sequences=rows))
    return values[expand_ranges(begins[own], lengths[own])], lengths[own], batches
