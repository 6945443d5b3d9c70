"""Metrics of predicted labels, compared with baselines, and a verdict in a sentence.

Accuracy has Wilson's interval ("Probable inference, the law of succession, and statistical
inference", JASA 22, 1927). It assumes independent predictions; those of neighbouring steps of one
sequence are not, and for them it is too narrow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from legato._errors import InputError
from legato._forecasting.forecast_metrics import as_lists, finite
from legato._forecasting.tabular import Tabular, score_table
from legato._platform.wilson_interval import wilson_interval
from legato._platform.wording import listed
from legato._series.frame_layout import FrameLayout

MAX_CONFUSED = 100  # classes, above which the confusion matrix is not recorded
BINS = 10  # of the calibration
MIN_PROBABILITY = 1e-7  # as in Keras's losses, so that the numbers agree


@dataclass(frozen=True)
class LabelScore:
    """Accuracy and cross-entropy of one classifier.

    Attributes:
        accuracy: share of correct labels, 0 to 1.
        interval: the 95 % Wilson interval of the accuracy.
        cross_entropy_nats: mean negative logarithm of the probability of the true class; None
            without probabilities.
    """

    accuracy: float
    interval: tuple[float, float]
    cross_entropy_nats: float | None

    @property
    def cross_entropy_bits(self) -> float | None:
        """The cross-entropy in bits per label; None without probabilities."""
        nats = self.cross_entropy_nats
        return None if nats is None else nats / float(np.log(2))


@dataclass(frozen=True, eq=False)
class LabelScores(Tabular):
    """A model's scores and those of baselines.

    Attributes:
        model: the model's score.
        baselines: score of each baseline by name.
        classes: names of the classes.
        truth, labels: (predictions,), the true classes and the model's, counted from 0.
        certainties: (predictions,), the probability of the model's class; None without
            probabilities.
        layout: the library of the frame that was scored, if the data came in one.
    """

    model: LabelScore
    baselines: Mapping[str, LabelScore]
    classes: tuple[str, ...]
    truth: np.ndarray
    labels: np.ndarray
    certainties: np.ndarray | None = None
    layout: FrameLayout | None = None

    @property
    def predictions(self) -> int:
        """Number of scored labels."""
        return len(self.truth)

    @property
    def loss(self) -> float:
        """What a search makes small: the cross-entropy in nats, else the share of wrong labels."""
        nats = self.model.cross_entropy_nats
        return 1 - self.model.accuracy if nats is None else nats

    @property
    def confusion(self) -> np.ndarray:
        """Confusion matrix (classes, classes): true classes down, predicted classes across."""
        counts = np.zeros((len(self.classes), len(self.classes)), int)
        np.add.at(counts, (self.truth, self.labels), 1)
        return counts

    @property
    def recall(self) -> dict[str, float | None]:
        """The recall of each class; None for a class that does not occur."""
        there = np.bincount(self.truth, minlength=len(self.classes)).tolist()
        found = np.bincount(self.truth[self.labels == self.truth], minlength=len(there)).tolist()
        shares = [right / of if of else None for right, of in zip(found, there, strict=True)]
        return dict(zip(self.classes, shares, strict=True))

    @property
    def calibration(self) -> list[dict[str, float]]:
        """The share of right labels by the probability that they were given, in ten bins.

        A bin that no probability fell into is left out.
        """
        if self.certainties is None:
            return []
        place = np.clip((self.certainties * BINS).astype(int), 0, BINS - 1)
        right = self.labels == self.truth
        return [
            {
                "from": each / BINS,
                "to": (each + 1) / BINS,
                "predictions": int((place == each).sum()),
                "right": float(right[place == each].mean()),
                "probability": float(self.certainties[place == each].mean()),
            }
            for each in np.unique(place).tolist()
        ]

    @property
    def best_baseline(self) -> str:
        """The name of the most accurate baseline."""
        return max(self.baselines, key=lambda name: self.baselines[name].accuracy)

    @property
    def verdict(self) -> str:
        """The model's accuracy and its interval against the best baseline's accuracy."""
        best = self.best_baseline
        low, high = self.model.interval
        accuracy = self.baselines[best].accuracy
        if accuracy < low:
            end = "it beats"
        else:
            end = "it falls behind" if accuracy > high else "it is not distinguishable from"
        beside = [f"{_percent(each.accuracy)} ({name})" for name, each in self.baselines.items()]
        return (
            f"The model is right in {_percent(self.model.accuracy)} of {self.predictions:,} "
            f"predictions (95 % interval {_percent(low)} to {_percent(high)}), against "
            f"{listed(beside)}: {end} {best}."
        )

    def table(self) -> dict[str, Any]:
        """The scores as a table: a row for the model and each baseline."""
        rows = {
            name: {"accuracy": each.accuracy, "cross_entropy_bits": each.cross_entropy_bits}
            for name, each in {"model": self.model, **self.baselines}.items()
        }
        return score_table(rows, ("accuracy", "cross_entropy_bits"))

    def as_numbers(self) -> dict[str, Any]:
        """The scores as a dictionary for JSON; the confusion matrix for up to 100 classes."""
        few = len(self.classes) <= MAX_CONFUSED
        return {
            "model": as_lists(self.model) | {"cross_entropy_bits": self.model.cross_entropy_bits},
            "baselines": {
                name: as_lists(score) | {"cross_entropy_bits": score.cross_entropy_bits}
                for name, score in self.baselines.items()
            },
            "classes": list(self.classes),
            "confusion": self.confusion.tolist() if few else None,
            "recall": self.recall,
            "calibration": self.calibration,
            "predictions": self.predictions,
            "best_baseline": self.best_baseline,
            "verdict": self.verdict,
        }


def label_scores(
    truth: np.ndarray,
    predicted: np.ndarray,
    baselines: Mapping[str, np.ndarray],
    classes: Sequence[str],
) -> LabelScores:
    """Score a model's labels and those of baselines for the same samples or steps.

    Args:
        truth: (predictions,), the true classes, integers from 0.
        predicted: the model's classes, or probabilities (predictions, classes).
        baselines: classes or probabilities of each baseline by name: ``"majority"``, or
            ``"last label"`` where a model knows the labels before the one it predicts.
        classes: names of the classes, in order.

    Raises:
        InputError: there is nothing to score or to compare with, a shape differs, a label is of no
            class, or probabilities are not such.

    Examples:
        >>> scores = label_scores(np.array([0, 1]), np.array([0, 1]), {"majority": [0, 0]}, "ab")
        >>> scores.model.accuracy, scores.baselines["majority"].accuracy
        (1.0, 0.5)
    """
    if not baselines:
        raise InputError("There is no baseline to compare with: give the majority at least.")
    truth = _classes("The true labels", truth, len(classes))
    labels, score = _label_score(truth, predicted, "the model", len(classes))
    beside = {
        name: _label_score(truth, each, name, len(classes))[1] for name, each in baselines.items()
    }
    predicted = np.asarray(predicted)
    certainties = predicted.max(1).astype(float) if predicted.ndim == 2 else None
    return LabelScores(score, beside, tuple(classes), truth, labels, certainties)


def _label_score(
    truth: np.ndarray, predicted: Any, name: str, classes: int
) -> tuple[np.ndarray, LabelScore]:
    """The predicted classes, and their score."""
    predicted = np.asarray(predicted)
    nats = None
    expected = (len(truth), classes)
    if predicted.shape not in (expected, expected[:1]):
        raise InputError(
            f"The labels of {name} have shape {predicted.shape}; expected {expected[:1]} classes, "
            f"or probabilities {expected}."
        )
    if predicted.ndim == 2:
        chances = finite(f"The probabilities of {name}", predicted, ndim=2)
        totals = chances.sum(1, keepdims=True)
        if chances.min() < 0 or np.abs(totals - 1).max() > 0.01:
            raise InputError(
                f"The probabilities of {name} run from {chances.min():.3g} to {chances.max():.3g} "
                f"and add up to {totals.min():.3g} to {totals.max():.3g}: none may be negative and "
                "those of a prediction must add up to 1. A softmax makes them so."
            )
        right = (chances / totals)[np.arange(len(truth)), truth]
        nats = float(-np.log(np.maximum(right, MIN_PROBABILITY)).mean())
        predicted = chances.argmax(1)
    labels = _classes(f"The labels of {name}", predicted, classes)
    right = int((labels == truth).sum())
    return labels, LabelScore(right / len(truth), wilson_interval(right, len(truth)), nats)


def _classes(what: str, labels: Any, classes: int) -> np.ndarray:
    """Labels as integers, checked: not empty, each a class."""
    labels = np.asarray(labels)
    if labels.ndim != 1 or not labels.size:
        raise InputError(f"{what} have shape {labels.shape}; expected (predictions,), not empty.")
    if labels.dtype.kind not in "biuf" or (labels != np.floor(labels)).any():
        raise InputError(f"{what} are not whole numbers; expected classes counted from 0.")
    if labels.min() < 0 or labels.max() >= classes:
        raise InputError(
            f"{what} run from {labels.min()} to {labels.max()}, and there are {classes} classes, "
            "counted from 0."
        )
    return labels.astype(int)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
