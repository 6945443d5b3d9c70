"""Results of a backtest: what was predicted from which origins, beside what came and baselines."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from legato._forecasting.forecast_metrics import ForecastScores, forecast_scores
from legato._forecasting.label_metrics import LabelScores, label_scores
from legato._forecasting.paired_differences import origin_blocks

MAX_NUMBERS = 6000  # of forecasts that a model's file records
MAX_ANSWERS = 1000  # predicted labels that it records
MAX_SEQUENCES = 5000  # whose errors it records one by one
MAX_LAGS = 36  # of the autocorrelation of errors
DIGITS = 6  # of recorded numbers


@dataclass(frozen=True, eq=False)
class Backtest:
    """Forecasts from rolling origins.

    Attributes:
        sequence, t: (origins,), the sequence of each origin and its last known time step.
        actual, predicted: (origins, horizon, targets), what came, and the model's forecasts.
        baselines: forecasts of each baseline by name, of the same shape.
    """

    sequence: np.ndarray
    t: np.ndarray
    actual: np.ndarray
    predicted: np.ndarray
    baselines: Mapping[str, np.ndarray]

    @property
    def horizon(self) -> int:
        """Time steps ahead of each forecast."""
        return self.actual.shape[1]

    @property
    def errors(self) -> np.ndarray:
        """Actual minus predicted, (origins, horizon, targets)."""
        return self.actual - self.predicted

    def scores(self) -> ForecastScores:
        """The scores of the model and of the baselines."""
        blocks = origin_blocks(self.sequence, self.t, self.horizon)
        return forecast_scores(self.actual, self.predicted, self.baselines, blocks, self.sequence)

    def of_sequences(self, places: np.ndarray) -> "Backtest":
        """The same of a larger collection, in which each sequence has another place."""
        return replace(self, sequence=places[self.sequence])

    def select(self, origins: np.ndarray) -> "Backtest":
        """Some of the origins, by their indices."""
        return replace(
            self,
            sequence=self.sequence[origins],
            t=self.t[origins],
            actual=self.actual[origins],
            predicted=self.predicted[origins],
            baselines={name: each[origins] for name, each in self.baselines.items()},
        )

    def thinned(self, numbers: int = MAX_NUMBERS) -> "Backtest":
        """Evenly spread origins with at most so many numbers of forecasts, two origins at least."""
        most = max(2, numbers // max(self.actual[0].size, 1))
        return self.select(np.unique(np.linspace(0, len(self.t) - 1, most).round().astype(int)))

    def summary(self) -> "ErrorSummary":
        """Facts on all origins that remain when they are thinned."""
        return ErrorSummary(
            *_autocorrelation(self.errors[:, 0], self.sequence, self.t), self._sequence_errors()
        )

    def _sequence_errors(self) -> dict[str, dict[int, float]]:
        """The mean absolute error in each sequence, of the model and of each baseline."""
        found = {}
        for name, each in {"model": self.predicted, **self.baselines}.items():
            sizes = np.abs(self.actual - each).mean((1, 2))
            sums, counts = np.bincount(self.sequence, sizes), np.bincount(self.sequence)
            there = np.flatnonzero(counts)[:MAX_SEQUENCES]
            found[name] = dict(zip(there.tolist(), (sums / counts.clip(1))[there], strict=True))
        return found

    def as_numbers(self) -> dict[str, Any]:
        """What a model's file records: some of the forecasts, and facts on all."""
        kept, summary = self.thinned(), self.summary()
        of_model = summary.by_sequence["model"]
        return {
            "sequence": kept.sequence.tolist(),
            "t": kept.t.tolist(),
            "predicted": _rounded(kept.predicted),
            "autocorrelation": _rounded(summary.autocorrelation),
            "errors": summary.errors,
            "tested": [*of_model],
            "by_sequence": {
                name: _rounded(np.array([*each.values()]))
                for name, each in summary.by_sequence.items()
            },
        }


@dataclass(frozen=True, eq=False)
class ErrorSummary:
    """Facts on the errors from all origins of a backtest.

    Attributes:
        autocorrelation: (targets, lags), of the errors of the next step, from lag 1 on; NaN where
            no two origins are so far apart.
        errors: number of errors that it rests on.
        by_sequence: name of the model or of a baseline → sequence → mean absolute error.
    """

    autocorrelation: np.ndarray
    errors: int
    by_sequence: dict[str, dict[int, float]]

    @classmethod
    def from_numbers(cls, numbers: dict[str, Any], targets: int) -> "ErrorSummary":
        """The summary of a dictionary from ``Backtest.as_numbers``."""
        by_sequence = {
            name: dict(zip(numbers["tested"], each, strict=True))
            for name, each in numbers["by_sequence"].items()
        }
        found = np.array(numbers["autocorrelation"], float).reshape(targets, -1)
        return cls(found, numbers["errors"], by_sequence)


@dataclass(frozen=True, eq=False)
class LabelBacktest:
    """Predicted labels on data outside the training part.

    Attributes:
        sequence, step: (answers,), the sequence and the time step of each.
        truth: (answers,), the true classes, counted from 0.
        probabilities: (answers, classes).
        baselines: classes or probabilities of each baseline by name.
        classes: names of the classes.
    """

    sequence: np.ndarray
    step: np.ndarray
    truth: np.ndarray
    probabilities: np.ndarray
    baselines: Mapping[str, np.ndarray]
    classes: tuple[str, ...]

    def scores(self) -> LabelScores:
        """The scores of the model and of the baselines."""
        return label_scores(self.truth, self.probabilities, self.baselines, self.classes)

    def of_sequences(self, places: np.ndarray) -> "LabelBacktest":
        """The same of a larger collection, in which each sequence has another place."""
        return replace(self, sequence=places[self.sequence])

    def as_numbers(self) -> dict[str, Any]:
        """What a model's file records: some of the labels."""
        count = min(len(self.truth), MAX_ANSWERS)
        at = np.linspace(0, len(self.truth) - 1, count).round().astype(int)
        chances = self.probabilities[at]
        return {
            "sequence": self.sequence[at].tolist(),
            "step": self.step[at].tolist(),
            "label": chances.argmax(1).tolist(),
            "probability": _rounded(chances.max(1)),
        }


def _autocorrelation(
    errors: np.ndarray, sequence: np.ndarray, t: np.ndarray
) -> tuple[np.ndarray, int]:
    """The autocorrelation of errors (origins, targets) at lags 1 …, and their number.

    Origins are a lag apart if they are of one sequence and so many steps from each other.
    """
    size = int(t.max()) + MAX_LAGS + 1  # so that no lag reaches the next sequence
    place = sequence * size + t
    order = np.argsort(place)
    place, errors = place[order], errors[order] - errors.mean(0)
    spread = (errors**2).mean(0)
    lags = max(1, min(MAX_LAGS, len(place) // 2))
    found = np.full((errors.shape[1], lags), np.nan)
    for lag in range(1, lags + 1):
        later = np.searchsorted(place, place + lag).clip(max=len(place) - 1)
        pairs = np.flatnonzero(place[later] == place + lag)
        if len(pairs) >= 2:
            products = (errors[pairs] * errors[later[pairs]]).sum(0) / len(place)
            found[:, lag - 1] = products / np.where(spread > 0, spread, 1.0)
    return found, len(place)


def _rounded(values: np.ndarray) -> list[float | None]:
    """Numbers one after another with few digits, None for NaN."""
    flat = np.asarray(values, float).reshape(-1)
    return [None if np.isnan(each) else float(f"{each:.{DIGITS}g}") for each in flat]
