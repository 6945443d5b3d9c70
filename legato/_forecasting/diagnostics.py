"""A trained model beside data: which of them it learnt from, its backtest, errors and scores.

A model that learnt from all of its data (``refit``) has no forecasts of its own to be scored there:
for those data the record of its training has the ones of the network that was scored. On all other
data, and on steps that came later, it is scored anew.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from legato._errors import InputError
from legato._forecasting.backtest import (
    backtest_forecasts,
    backtest_labels,
    beside_baselines,
    recognize_training,
    usual_change,
)
from legato._forecasting.backtest_result import (
    MAX_ANSWERS,
    Backtest,
    ErrorSummary,
    LabelBacktest,
)
from legato._forecasting.prediction_intervals import Intervals, find_floors
from legato._forecasting.predictor import Predictor
from legato._platform.wording import counted
from legato._series.sequences import Sequences


@dataclass(frozen=True, eq=False)
class PredictedLabels:
    """Some predicted labels beside the true ones.

    Attributes:
        sequence, step: (answers,), the sequence and the time step of each.
        label: (answers,), the predicted class, counted from 0.
        probability: (answers,), that it was given.
    """

    sequence: np.ndarray
    step: np.ndarray
    label: np.ndarray
    probability: np.ndarray


@dataclass(frozen=True, eq=False)
class Diagnostics:
    """A trained model beside data.

    Attributes:
        sequences: the data.
        learnt: (sequences,), the steps of each that the model learnt from.
        tested: (sequences,), the first step of each that is scored; its length where none is.
        is_recorded: whether scores and backtest are those of the training; else they are of now.
        relation: a sentence: which of the data are those of the training.
        scores: as ``Scores.as_numbers`` gives them; empty where nothing can be scored.
        backtest: forecasts from some origins, evenly spread; None for labels.
        ends: (levels, 2, origins, horizon, targets), the intervals of those forecasts; None
            without.
        errors: facts on the errors from all origins.
        labels: some predicted labels; None for forecasts.
        notes: what is missing here, and why; a sentence each.

    Examples:
        >>> import legato
        >>> wave = {"load": [1.0, 2.0, 4.0, 3.0] * 9}
        >>> trained = legato.train(wave, units=2, epochs=1, verbose=0)
        >>> found = trained.diagnose(wave)
        >>> found.relation
        'These are the data that the model was trained on: it learnt from all 36 steps.'
        >>> found.learnt, found.tested
        (array([36]), array([29]))
        >>> found.scores == trained.scores
        True
    """

    sequences: Sequences
    learnt: np.ndarray
    tested: np.ndarray
    is_recorded: bool
    relation: str
    scores: dict[str, Any]
    backtest: Backtest | None = None
    ends: np.ndarray | None = None
    errors: ErrorSummary | None = None
    labels: PredictedLabels | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_same(self) -> bool:
        """Whether the model learnt from all of the data."""
        return bool((self.learnt == self.sequences.lengths).all())


def diagnose(predictor: Predictor, known: dict[str, Any], sequences: Sequences) -> Diagnostics:
    """Compare a model with data.

    Args:
        predictor: the model.
        known: the record of its training.
        sequences: the data.
    """
    learnt, places = recognize_training(predictor.task, sequences, known["seen"])
    relation = _describe_relation(sequences, learnt, places, known)
    about = sequences, learnt
    reason = ""
    if (learnt < sequences.lengths).any():
        try:
            return _score_now(predictor, known, *about, relation)
        except InputError as error:  # too few steps after the training part
            reason = str(error)
    record = known.get("backtest")
    if record is not None and (places >= 0).any():
        return _recorded(predictor, known, *about, relation, places)
    if not reason and "scores" in known:
        reason = (
            "The file of the model holds its scores, and no forecasts of its test part: it was "
            "written by an earlier version. Train again to see them."
        )
    elif not reason:
        reason = (
            "The model was trained on all of these data and without a test part, so there is "
            "nothing to score it by."
        )
    scores = known.get("scores", {}) if (places >= 0).any() else {}
    return Diagnostics(*about, sequences.lengths, bool(scores), relation, scores, notes=(reason,))


def _score_now(
    predictor: Predictor,
    known: dict[str, Any],
    sequences: Sequences,
    learnt: np.ndarray,
    relation: str,
) -> Diagnostics:
    """Scores and forecasts of the steps after the training part."""
    about = sequences, learnt, learnt, False, relation
    if predictor.task.kind != "forecast":
        found = backtest_labels(predictor, sequences, learnt, known["label_counts"])
        scores = found.scores().as_numbers()
        return Diagnostics(*about, scores, labels=_some_labels(found))
    origins = known.get("origins")
    backtest = backtest_forecasts(predictor, sequences, learnt, known["season"], origins)
    kept = backtest.thinned()
    ends = _interval_ends(predictor, known, sequences, kept)
    scores = backtest.scores().as_numbers()
    return Diagnostics(*about, scores, kept, ends, backtest.summary())


def _recorded(
    predictor: Predictor,
    known: dict[str, Any],
    sequences: Sequences,
    learnt: np.ndarray,
    relation: str,
    places: np.ndarray,
) -> Diagnostics:
    """Scores and forecasts of the test part, as they were recorded."""
    task, record = predictor.task, known["backtest"]
    tested, _ = recognize_training(task, sequences, record["seen"])
    own = np.full(max(len(known["seen"]), 1), -1)  # sequence of the training → of the data
    own[places[places >= 0]] = np.flatnonzero(places >= 0)
    sequence = own[np.array(record["sequence"], int)]
    about = sequences, learnt, tested, True, relation, known.get("scores", {})
    if task.kind != "forecast":
        there = sequence >= 0
        columns = (np.array(record[name])[there] for name in ("step", "label", "probability"))
        return Diagnostics(*about, labels=PredictedLabels(sequence[there], *columns))
    t = np.array(record["t"], int)
    there = (sequence >= 0) & (t + task.horizon < sequences.lengths[sequence])
    predicted = np.array(record["predicted"], float).reshape(len(t), task.horizon, -1)[there]
    if not len(predicted):
        return Diagnostics(*about, notes=("The data lack the test part of the training.",))
    origins = sequence[there], t[there]
    kept = beside_baselines(predictor, sequences, *origins, predicted, known["season"])
    summary = ErrorSummary.from_numbers(record, len(task.targets))
    by_sequence = {
        name: {int(own[at]): mae for at, mae in each.items() if own[at] >= 0}
        for name, each in summary.by_sequence.items()
    }
    summary = ErrorSummary(summary.autocorrelation, summary.errors, by_sequence)
    ends = _interval_ends(predictor, known, sequences, kept)
    return Diagnostics(*about, kept, ends, summary)


def _interval_ends(
    predictor: Predictor, known: dict[str, Any], sequences: Sequences, backtest: Backtest
) -> np.ndarray | None:
    """The ends of the intervals around the forecasts of a backtest."""
    if "intervals" not in known:
        return None
    origins = sequences.lengths, backtest.sequence, backtest.t
    truth = predictor.truth(sequences)
    scale = usual_change(truth, *origins, known["season"])
    floors = find_floors(truth, sequences.lengths, known.get("least"))
    own = None if floors is None else floors[backtest.sequence]
    intervals = Intervals.from_numbers(known["intervals"])
    return intervals.around(backtest.predicted, scale, floors=own)


def _some_labels(found: LabelBacktest) -> PredictedLabels:
    """At most ``MAX_ANSWERS`` labels, evenly spread."""
    count = min(len(found.truth), MAX_ANSWERS)
    at = np.linspace(0, len(found.truth) - 1, count).round().astype(int)
    chances = found.probabilities[at]
    return PredictedLabels(found.sequence[at], found.step[at], chances.argmax(1), chances.max(1))


def _describe_relation(
    sequences: Sequences, learnt: np.ndarray, places: np.ndarray, known: dict[str, Any]
) -> str:
    """A sentence on which of the data the model learnt from."""
    steps, seen = int(learnt.sum()), len(sequences.values)
    data = known.get("data", {})
    if not steps:
        return (
            f"These are other data than those that the model was trained on "
            f"({data.get('source', 'unknown')}): no sequence begins as one of those."
        )
    found = int((places >= 0).sum())
    of_all = f"{counted(steps, 'step')} of {seen:,}"
    several = f" in {found:,} of {len(sequences):,} sequences" if len(sequences) > 1 else ""
    if steps == seen and found == len(known["seen"]):
        return (
            f"These are the data that the model was trained on: it learnt from all {seen:,} steps."
        )
    begun = f"The model learnt from {of_all}{several}, recognized by their values"
    if not known.get("refit", False) and seen == data.get("steps"):
        return f"{begun}; the others were kept for the score."
    return f"{begun}; the others are new to it."
