"""Backtests: scores of a model on data it was not trained on, and the errors for its intervals.

Origins roll forward: at each step the model has seen everything before it, and nothing later
(Tashman, International Journal of Forecasting 16, 2000). Training data are recognized by
fingerprints of their values, whatever the sequences are called, and are never scored.
"""

import hashlib
from dataclasses import replace

import numpy as np

from legato._errors import InputError
from legato._forecasting.backtest_result import Backtest, LabelBacktest
from legato._forecasting.baselines import (
    drift_forecast,
    majority_probabilities,
    persistence_forecast,
    seasonal_persistence_forecast,
)
from legato._forecasting.forecast_metrics import ForecastScores
from legato._forecasting.prediction_intervals import Intervals
from legato._forecasting.predictor import Predictor
from legato._forecasting.shared_prediction import SharedPrediction
from legato._forecasting.task import Task
from legato._series.sequences import Sequences, expand_ranges
from legato._series.splits import rolling_origins

FEW = 8  # steps by which a sequence is recognized
UNSEEN_LABEL = "(not learnt from)"  # name, in scores, of labels absent from training
LINE_STEPS = 12  # whose mean change the baseline "line" goes on by, without a season
MAX_SCORED = 2**20  # values that are scored, a limit of memory
RECENT_STEPS = 24  # whose changes tell how much a sequence changes now
MAX_LEADS, MAX_ORIGINS, MAX_BEFORE = 256, 256, 1024  # limits of the backtest for intervals


def backtest_forecasts(
    predictor: Predictor,
    sequences: Sequences,
    begins: np.ndarray,
    season: int | None,
    origins: int | None = None,
    shorter: bool = False,
    shared: SharedPrediction | None = None,
) -> Backtest:
    """Forecast from some step of each sequence on, with all steps before it as history.

    Args:
        predictor: the forecaster.
        sequences: the data.
        begins: (sequences,), the first step that is predicted and scored.
        season: time steps of a season, for seasonal persistence; None: without it.
        origins: number of origins, evenly spread over the steps that leave a horizon; None: all of
            them, as far as ``MAX_SCORED`` values are scored.
        shorter: score only the first steps ahead if no sequence goes on for the horizon.
        shared: predicts in other processes; None: this one does.

    Raises:
        InputError: there is nothing to score.
    """
    task = predictor.task
    values, lengths = predictor.inputs_of(sequences, lenient=True), sequences.lengths
    first = np.maximum(begins, 1)  # something must be there to predict from
    longest = int((lengths - first).max())
    if shorter and 1 <= longest < task.horizon:
        task = replace(task, horizon=longest)
    sequence, t = rolling_origins(first, lengths, task.horizon)
    at = sequences.offsets[sequence] + t
    answers = predictor.predict_at(values, lengths, at, shared)
    there = np.flatnonzero(~np.isnan(answers[:, 0]))
    if not len(there):
        raise InputError(
            f"There is nothing to score: the model needs {predictor.shape.steps} steps before it "
            f"answers and {task.horizon} after, and no sequence has them. Give longer sequences."
        )
    known = task.has_answers(sequences)[at[there]]
    there = there[known] if known.any() else there  # what was filled in is not scored
    most = max(MAX_SCORED // answers.shape[1], 1)
    there = spread_evenly(there, most if origins is None else origins)
    sequence, t = sequence[there], t[there]
    predicted = answers[there].reshape(len(there), predictor.task.horizon, -1)[:, : task.horizon]
    return beside_baselines(predictor, sequences, sequence, t, predicted, season)


def describe_shorter(task: Task, scores: object) -> tuple[str, ...]:
    """A note on scores of fewer steps ahead than the model looks."""
    if not isinstance(scores, ForecastScores) or scores.horizon == task.horizon:
        return ()
    scored = "the next step is" if scores.horizon == 1 else f"{scores.horizon:,} steps ahead are"
    return (
        f"Only {scored} scored: the data do not go on for the horizon of {task.horizon:,} steps. "
        "Score again with more data.",
    )


def beside_baselines(
    predictor: Predictor,
    sequences: Sequences,
    sequence: np.ndarray,
    t: np.ndarray,
    predicted: np.ndarray,
    season: int | None,
) -> Backtest:
    """Forecasts (origins, horizon, targets) beside what came and the baselines.

    Args:
        predictor, sequences, season: as for ``backtest_forecasts``.
        sequence, t: (origins,), the sequence of each origin and its last known time step.
        predicted: the forecasts.
    """
    truth, horizon = predictor.truth(sequences), predicted.shape[1]
    at = sequences.offsets[sequence] + t
    actual = truth[at[:, None] + np.arange(1, horizon + 1)]
    origin = sequences.offsets, sequence, t, horizon
    return Backtest(sequence, t, actual, predicted, _baseline_forecasts(truth, origin, season))


def _baseline_forecasts(
    truth: np.ndarray, origin: tuple[np.ndarray, np.ndarray, np.ndarray, int], season: int | None
) -> dict[str, np.ndarray]:
    """The forecasts of each baseline, (origins, horizon, targets), by its name."""
    found = {"persistence": persistence_forecast(truth, *origin)}
    if season:
        seasonal, _ = seasonal_persistence_forecast(truth, *origin, season)
        found[f"seasonal persistence ({season} steps)"] = seasonal
    span = season or LINE_STEPS
    found["drift"] = drift_forecast(truth, *origin)
    found[f"line ({span} steps)"] = drift_forecast(truth, *origin, span)
    return found


def spread_evenly(values: np.ndarray, count: int) -> np.ndarray:
    """At most ``count`` of some values, evenly spread, with the last."""
    if len(values) <= count:
        return values
    return values[np.linspace(len(values) - 1, 0, count).round().astype(int)[::-1]]


def backtest_labels(
    predictor: Predictor,
    sequences: Sequences,
    begins: np.ndarray,
    label_counts: list[int],
    shared: SharedPrediction | None = None,
) -> LabelBacktest:
    """Predict labels from some step of each sequence on, with all steps before it as history.

    Args:
        predictor, sequences, begins, shared: as for ``backtest_forecasts``.
        label_counts: (labels,), how often each was right in training.

    Raises:
        InputError: there is nothing to score.
    """
    task, values = predictor.task, predictor.inputs_of(sequences, lenient=True)
    labels, there = task.answers_of(sequences, lenient=True)
    step = expand_ranges(0 * sequences.lengths, sequences.lengths)
    there &= step + task.horizon >= np.repeat(begins, sequences.lengths)
    if task.whole:
        there &= step == np.repeat(sequences.lengths, sequences.lengths) - 1
    at = np.flatnonzero(there)
    answers = np.zeros((0, 1))
    if len(at):
        answers = predictor.predict_at(values, sequences.lengths, at, shared)
    known = ~np.isnan(answers[:, 0])
    at, answers = at[known], answers[known]
    if not len(at):
        raise InputError(
            "There is nothing to score: no step of the data has a label that the model would "
            "answer. Give longer sequences, or some that it was not trained on."
        )
    trained = np.repeat(np.arange(len(label_counts)), label_counts)
    chances = {
        "model": answers,
        "majority": majority_probabilities(trained, len(task.labels), len(at)),
    }
    beside, classes = {}, task.labels
    if task.kind == "generate":
        beside["last label"] = task.indices_of(values[at, task.places[0]])
    if max(labels[at].max(), *(each.max() for each in beside.values()), 0) == len(classes):
        classes = (*classes, UNSEEN_LABEL)
        chances = {name: np.pad(each, ((0, 0), (0, 1))) for name, each in chances.items()}
    answered = chances.pop("model")
    which = np.searchsorted(sequences.offsets, at, side="right") - 1
    return LabelBacktest(which, step[at], labels[at], answered, {**chances, **beside}, classes)


def estimate_intervals(
    predictor: Predictor, sequences: Sequences, begins: np.ndarray, season: int | None = None
) -> Intervals:
    """Prediction intervals from the errors of a backtest on data outside the training part.

    Errors are taken at up to ``MAX_ORIGINS`` steps, for each step ahead with a known true value;
    beyond the horizon, up to ``MAX_LEADS``, if the model goes on from its own forecasts.

    Args:
        predictor: the forecaster.
        sequences, begins, season: as for ``backtest_forecasts``.
    """
    leads = predictor.task.horizon
    begins = np.maximum(begins, 1)
    if predictor.can_go_on:
        leads = max(leads, min(MAX_LEADS, int((sequences.lengths - begins).max())))
    sequence, t = rolling_origins(begins, sequences.lengths, 1)
    chosen = np.unique(np.linspace(0, len(t) - 1, MAX_ORIGINS).astype(int))
    spacing = len(t) / len(chosen)
    sequence, t = sequence[chosen], t[chosen]
    values, truth = predictor.inputs_of(sequences, lenient=True), predictor.truth(sequences)
    lengths = np.minimum(t + 1, MAX_BEFORE)
    at = sequences.offsets[sequence] + t
    before = values[expand_ranges(at + 1 - lengths, lengths)]
    steps = at[:, None] + np.arange(1, leads + 1)
    inside = steps < sequences.offsets[sequence + 1][:, None]
    filled = sequences.filled_in(each.name for each in predictor.task.targets)
    inside &= ~filled[np.where(inside, steps, 0)]
    known = predictor.known_after(values, at, sequences.offsets[sequence + 1], leads)
    predicted = predictor.predict_ahead(before, lengths, leads, known)
    errors = truth[np.where(inside, steps, 0)] - predicted
    change = usual_change(truth, sequences.lengths, sequence, t, season)[:, None]
    errors = errors / np.where(change > 0, change, np.nan)  # what never changes tells nothing
    return Intervals.of(np.where(inside[..., None], errors, np.nan), sequence, spacing)


def usual_change(
    values: np.ndarray,
    lengths: np.ndarray,
    sequence: np.ndarray,
    t: np.ndarray,
    season: int | None = None,
) -> np.ndarray:
    """How much a sequence changes from step to step near some steps, (steps, columns).

    The mean of two means of absolute changes: of the whole sequence, and of the last
    ``RECENT_STEPS`` or the last season before each step. So intervals are wider where a sequence
    has begun to change more. 0 where a sequence never changes,
    NaN where it has one step.

    Args:
        values: (time steps of all, columns).
        lengths: (sequences,).
        sequence, t: (steps,), the sequence of each step and its time step there.
        season: time steps of a season, or None.
    """
    whole = typical_change(values, lengths)[sequence]
    back = np.arange(max(RECENT_STEPS, season or 1))
    at = (np.cumsum(lengths) - lengths)[sequence][:, None] + np.maximum(t[:, None] - back, 0)
    there = (back < t[:, None])[..., None]
    changes = np.abs(values[at] - values[np.maximum(at - 1, 0)]) * there
    recent = changes.sum(1) / np.maximum(there.sum(1), 1)
    return np.where(recent > 0, (whole + recent) / 2, whole)


def typical_change(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The mean absolute change from step to step, (sequences, columns); NaN of one step."""
    changes = np.abs(np.diff(values, axis=0, append=values[-1:])).astype("float64")
    ends = np.cumsum(lengths)
    changes[ends - 1] = 0  # from one sequence to the next
    totals = np.add.reduceat(changes, ends - lengths, axis=0)
    return totals / np.where(lengths > 1, lengths - 1, np.nan)[:, None]


# Recognizing training data.


def fingerprint_training(task: Task, sequences: Sequences, ends: np.ndarray) -> list[list]:
    """Steps and fingerprints of the training data: each sequence up to its end.

    Returns:
        For each sequence its steps, the fingerprint of the first few, and that of all of them.
    """
    values = task.inputs_of(sequences, lenient=True)
    return [
        [int(end), *(_fingerprint(values[begin : begin + each]) for each in (min(end, FEW), end))]
        for begin, end in zip(sequences.offsets[:-1], ends, strict=True)
        if end
    ]


def find_unseen_steps(
    task: Task, sequences: Sequences, seen: list[list], refit: bool = False
) -> np.ndarray:
    """The first step of each sequence outside the training data, (sequences,); else its length.

    A sequence is recognized by its first steps, whatever it is called. One that is shorter than
    the training part with those first steps is taken for a part of it.

    Args:
        task: the task of the model.
        sequences: the data.
        seen: fingerprints from ``fingerprint_training``.
        refit: whether the model was trained on its test part too, after its score.

    Raises:
        InputError: no sequence has such a step.
    """
    begins, _ = recognize_training(task, sequences, seen)
    if (begins >= sequences.lengths).all():
        after = (
            " After its score it was trained on all of its data, and legato show prints that "
            "score; a model trained with refit=False (--no-refit) can be scored on its test part."
        )
        raise InputError(
            f"{sequences.source} holds nothing but what the model was trained on, so there is "
            "nothing to score it by. Give data that go on after it, or other sequences."
            + after
            * refit
        )
    return begins


def recognize_training(
    task: Task, sequences: Sequences, seen: list[list]
) -> tuple[np.ndarray, np.ndarray]:
    """How much of each sequence is training data, and as which of its sequences.

    Args:
        task, sequences, seen: as for ``find_unseen_steps``.

    Returns:
        (sequences,), the steps that were learnt from; (sequences,), the place in ``seen`` of that
        training sequence, or -1.
    """
    known: dict[tuple[int, str], list[tuple[int, int, str]]] = {}
    for place, (steps, head, mark) in enumerate(seen):
        known.setdefault((min(steps, FEW), head), []).append((place, steps, mark))
    sizes = {size for size, _ in known}
    values = task.inputs_of(sequences, lenient=True)
    begins, places = np.zeros(len(sequences), int), np.full(len(sequences), -1)
    for at, length in enumerate(sequences.lengths):
        own = values[sequences.offsets[at] : sequences.offsets[at + 1]]
        heads = [(size, _fingerprint(own[:size])) for size in sizes if size <= length]
        for place, steps, mark in (each for head in heads for each in known.get(head, ())):
            is_same = length < steps or _fingerprint(own[:steps]) == mark
            if is_same and min(steps, length) > begins[at]:
                begins[at], places[at] = min(steps, length), place
    return begins, places


def _fingerprint(values: np.ndarray) -> str:
    """A hash of values, 16 characters."""
    return hashlib.sha256(np.ascontiguousarray(values, "float32").tobytes()).hexdigest()[:16]
