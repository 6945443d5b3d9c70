"""Metrics of forecasts, compared with baselines, and a verdict in a sentence.

Mean absolute and root mean squared error, and the skill, 1 - MAE / MAE of persistence (repeats the
last value); quantiles of residuals for prediction intervals. That one error is smaller than another
is claimed only where the difference is larger than its uncertainty (``paired_differences``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from legato._errors import InputError
from legato._forecasting.paired_differences import (
    MIN_BLOCKS,
    Difference,
    origin_blocks,
    paired_difference,
    upcoming_forecasts,
)
from legato._forecasting.tabular import Tabular, score_table
from legato._platform.wording import counted, listed
from legato._series.frame_layout import FrameLayout

LARGEST_PLAIN = 1e9  # of a number in a sentence without an exponent


class Scores(Protocol):
    """Scores of a model and of baselines, for forecasts or labels."""

    @property
    def predictions(self) -> int:
        """Number of scored predictions."""
        ...

    @property
    def best_baseline(self) -> str:
        """The name of the best baseline, by the metric of the verdict."""
        ...

    @property
    def loss(self) -> float:
        """What a search makes small: the mean absolute error, or the cross-entropy in nats."""
        ...

    @property
    def verdict(self) -> str:
        """The comparison in a sentence."""
        ...

    def as_numbers(self) -> dict[str, Any]:
        """The scores as a dictionary for JSON."""
        ...


@dataclass(frozen=True)
class ForecastScore:
    """The errors of one forecaster, in the units of the targets.

    Attributes:
        mae, rmse: over all steps ahead and targets; the largest target weighs most.
        mae_by_lead, rmse_by_lead: for each step ahead, the next one first.
        mae_by_target, rmse_by_target: for each target.
    """

    mae: float
    rmse: float
    mae_by_lead: tuple[float, ...]
    rmse_by_lead: tuple[float, ...]
    mae_by_target: tuple[float, ...]
    rmse_by_target: tuple[float, ...]


@dataclass(frozen=True)
class ForecastScores(Tabular):
    """A model's errors and those of baselines.

    Attributes:
        model: the model's errors.
        baselines: errors of each baseline by name, ``"persistence"`` among them.
        horizon: time steps ahead of each forecast.
        predictions: number of forecasts, each of all steps ahead, from as many origins.
        differences: the relative difference from each baseline's errors, by its name.
    """

    model: ForecastScore
    baselines: Mapping[str, ForecastScore]
    horizon: int
    predictions: int
    differences: Mapping[str, Difference]
    layout: FrameLayout | None = None

    @property
    def loss(self) -> float:
        """What a search makes small: the mean absolute error."""
        return self.model.mae

    @property
    def skill(self) -> float | None:
        """1 - MAE / MAE of persistence: 1 is perfect, 0 no better; None if that is 0."""
        persistence = self.baselines["persistence"].mae
        return 1 - self.model.mae / persistence if persistence else None

    @property
    def best_baseline(self) -> str:
        """The name of the baseline with the smallest MAE."""
        return min(self.baselines, key=lambda name: self.baselines[name].mae)

    @property
    def verdict(self) -> str:
        """The model's MAE against each baseline's, and what it is shown to beat."""
        mae = self.model.mae
        beside = [
            f"{_compared(mae, score.mae)} {name}'s ({_number(score.mae)})"
            for name, score in self.baselines.items()
        ]
        ahead = "1 step" if self.horizon == 1 else f"1 to {self.horizon:,} steps"
        origins = counted(self.predictions, "origin")
        return (
            f"The model's error {ahead} ahead from {origins} (MAE {_number(mae)}) is "
            f"{listed(beside)}: {self._conclusion}.{self._worse}"
        )

    @property
    def _worse(self) -> str:
        """A sentence if a baseline had the smaller error here, though no difference is claimed."""
        best = self.best_baseline
        if self.model.mae <= self.baselines[best].mae or self.differences[best].is_above:
            return ""
        return f" In this test, {best} was better than the model."

    @property
    def _conclusion(self) -> str:
        """What the differences show, in words: never more than is larger than its uncertainty."""
        beaten = [
            name
            for name, score in self.baselines.items()
            if self.differences[name].is_below and self.model.mae < score.mae
        ]
        best = self.best_baseline
        ahead = f"over the next {upcoming_forecasts(self.horizon) * self.horizon:,} steps"
        if len(beaten) == len(self.baselines):
            named = f"every baseline, the best of them, {best}," if len(beaten) > 1 else best
            by = _advantage(self.differences[best], -1)
            return f"it beats {named} by {by} {ahead} (95 % interval)"
        name = next(each for each in (best, *self.baselines) if each not in beaten)
        difference = self.differences[name]
        if difference.is_above and self.model.mae > self.baselines[name].mae:
            shown = "but" if beaten else ""
            found = f"it does not beat {name}, which is better by {_advantage(difference)} {ahead}"
            found = f"{found} (95 % interval)"
        else:
            shown = "and" if beaten else ""
            origins = counted(difference.blocks, "independent origin")
            detail = f"{origins}, and {MIN_BLOCKS} are needed"
            if difference.low is not None and difference.high is not None:
                ends = f"{_relative(difference.low)} to {_relative(difference.high)}"
                detail = f"95 % interval {ahead} {ends}, {origins}"
            found = f"its difference from {name} is not larger than its uncertainty ({detail})"
        return f"it is better than {listed(beaten)}, {shown} {found}" if beaten else found

    def table(self) -> dict[str, Any]:
        """The errors as a table: a row for the model and each baseline."""
        scores = {"model": self.model, **self.baselines}
        return score_table({name: asdict(each) for name, each in scores.items()}, ("mae", "rmse"))

    def as_numbers(self) -> dict[str, Any]:
        """The scores as a dictionary for JSON."""
        return {
            "model": as_lists(self.model),
            "baselines": {name: as_lists(score) for name, score in self.baselines.items()},
            "differences": {name: asdict(each) for name, each in self.differences.items()},
            "horizon": self.horizon,
            "predictions": self.predictions,
            "skill": self.skill,
            "best_baseline": self.best_baseline,
            "verdict": self.verdict,
        }


def forecast_scores(
    truth: np.ndarray,
    predicted: np.ndarray,
    baselines: Mapping[str, np.ndarray],
    blocks: np.ndarray | None = None,
    sequence: np.ndarray | None = None,
) -> ForecastScores:
    """Score a model's forecasts and those of baselines for the same steps.

    Args:
        truth: (origins, horizon, targets), the true values.
        predicted: the model's forecasts, of the same shape.
        baselines: forecasts of each baseline by name, of the same shape; ``"persistence"`` must
            be among them.
        blocks: (origins,), from ``origin_blocks``; default: for origins at successive steps of one
            sequence.
        sequence: (origins,), that of each, ascending; default: all of one. The verdict is about
            the next forecasts of all.

    Raises:
        InputError: there is nothing to score, a shape differs, or something is NaN or infinite.

    Examples:
        >>> truth = np.array([[[2.0], [4.0]]])
        >>> scores = forecast_scores(truth, truth + 1, {"persistence": truth * 0})
        >>> scores.verdict
        "The model's error 1 to 2 steps ahead from 1 origin (MAE 1) is 67 % below persistence's \
(3): its difference from persistence is not larger than its uncertainty (1 independent origin, and \
3 are needed)."
    """
    if "persistence" not in baselines:
        raise InputError(f"Persistence must be among the baselines, which are {[*baselines]}.")
    truth = finite("The true values", truth, ndim=3)
    scores = [
        _forecast_score(truth, finite(f"The forecasts of {name}", forecasts, ndim=3), name)
        for name, forecasts in [("the model", predicted), *baselines.items()]
    ]
    by_name = dict(zip(baselines, scores[1:], strict=True))
    count, horizon, _ = truth.shape
    if blocks is None:
        blocks = origin_blocks(np.zeros(count, int), np.arange(count), horizon)
    sequence = np.zeros(count, int) if sequence is None else sequence
    own, upcoming = np.abs(truth - predicted).mean(2), upcoming_forecasts(horizon)
    differences = {
        name: paired_difference(own, np.abs(truth - forecasts).mean(2), blocks, sequence, upcoming)
        for name, forecasts in baselines.items()
    }
    return ForecastScores(scores[0], by_name, horizon, count, differences)


def _forecast_score(truth: np.ndarray, predicted: np.ndarray, name: str) -> ForecastScore:
    if predicted.shape != truth.shape:
        raise InputError(
            f"The forecasts of {name} have shape {predicted.shape} and the true values "
            f"{truth.shape}: both must be (origins, horizon, targets)."
        )
    error = predicted - truth
    means = []
    for axes in [None, (0, 2), (0, 1)]:
        means += [np.abs(error).mean(axes).tolist(), np.sqrt((error**2).mean(axes)).tolist()]
    return ForecastScore(*means[:2], *map(tuple, means[2:]))


def residual_quantiles(
    residuals: np.ndarray, levels: Sequence[float] = (0.8, 0.95)
) -> tuple[np.ndarray, np.ndarray]:
    """Ends of prediction intervals relative to a forecast: split conformal intervals.

    Of n residuals in order, the ends are number floor((n + 1) (1 - level) / 2) from below and the
    same from above, each target and each step ahead by itself. The next one then lies between
    them with at least the level's probability, whatever the distribution, if all are exchangeable
    (Lei, G'Sell, Rinaldo, Tibshirani and Wasserman, "Distribution-free predictive inference for
    regression", JASA 113, 2018; an end for each sign as in Linusson, Johansson and Löfström,
    "Signed-error conformal regression", PAKDD 2014). So they must be of data that did not train
    the model, and those of a series do as far as it goes on as it was.

    Args:
        residuals: (origins, horizon, targets), truth - predicted.
        levels: probabilities, each between 0 and 1.

    Returns:
        (levels, 2, horizon, targets), the lower and the upper end, to be added to a forecast; and
        (levels,), the guaranteed probability. Where that is less than the level, the residuals were
        too few, and the interval has the width of their range.

    Raises:
        InputError: there are no residuals, one is NaN or infinite, or a level is not one.

    Examples:
        >>> ends, vouched = residual_quantiles(np.arange(-4.0, 5.0).reshape(9, 1, 1), [0.8, 0.95])
        >>> ends[0, :, 0, 0].tolist(), vouched.tolist()
        ([-4.0, 4.0], [0.8, 0.8])
    """
    ordered = np.sort(finite("The residuals", residuals, ndim=3), axis=0)
    count = len(ordered)
    wanted = np.asarray(levels, float)
    if not ((wanted > 0) & (wanted < 1)).all():
        raise InputError(f"levels={levels} must each lie between 0 and 1, such as 0.8 and 0.95.")
    beyond = np.floor((count + 1) * (1 - wanted) / 2 + 1e-9).astype(int)  # 1 - 0.8 is below 0.2
    lower = np.maximum(beyond, 1)
    ends = np.stack([ordered[lower - 1], ordered[count - lower]], axis=1)
    return ends, (count + 1 - 2 * lower) / (count + 1)


def finite(what: str, values: Any, ndim: int) -> np.ndarray:
    """Values as float64, checked: not empty, of ``ndim`` axes, all finite."""
    values = np.asarray(values, np.float64)
    if values.ndim != ndim:
        axes = "(origins, horizon, targets)" if ndim == 3 else "(predictions, classes)"
        raise InputError(f"{what} have shape {values.shape}; expected {axes}.")
    if not values.size:
        raise InputError(f"{what} are none, {values.shape}: the test part is empty.")
    wrong = ~np.isfinite(values)
    if wrong.any():
        first = tuple(int(at) for at in np.argwhere(wrong)[0])
        raise InputError(
            f"{what} are NaN or infinite in {wrong.sum():,} of {wrong.size:,} places, first at "
            f"{first}, so there is no score."
        )
    return values


def as_lists(score: Any) -> dict[str, Any]:
    """A score's fields as a dictionary, tuples as lists."""
    fields = asdict(score).items()
    return {name: list(each) if isinstance(each, tuple) else each for name, each in fields}


def _compared(error: float, other: float) -> str:
    """An error relative to another, in words: 34 % below, equal to, above."""
    if error == other:
        return "equal to"
    way = "below" if error < other else "above"
    if not other:
        return way
    percent = 100 * abs(error / other - 1)
    return f"{_whole(percent)} % {way}" if percent >= 1 else f"less than 1 % {way}"


def _advantage(difference: Difference, sign: int = 1) -> str:
    """By how much the other's error is smaller, in words; with ``sign`` -1, that of the one."""
    ends = (min(max(sign * (end or 0.0), 0.0), 1.0) for end in (difference.low, difference.high))
    low, high = sorted(200 * end / (1 + end) for end in ends)
    return f"{low:.0f} to {high:.0f} %"


def _relative(difference: float) -> str:
    """A relative difference of errors in words: the one's error against the other's."""
    limited = min(max(difference, -1.0), 1 - 1e-9)
    percent = 200 * limited / (1 - limited)
    if percent < 0:
        return f"{-percent:.0f} % below"
    return f"{percent:,.0f} % above" if percent < 1000 else "more than 1,000 % above"


def _number(value: float) -> str:
    return _whole(value) if abs(value) >= 99.95 else f"{value:.3g}"


def _whole(value: float) -> str:
    return f"{value:,.0f}" if abs(value) < LARGEST_PLAIN else f"{value:.3g}"
