"""Effects of columns that are known ahead on a series: a regression with autocorrelated errors.

A series is the sum of the effects of its columns and a rest, which the other forecasters forecast;
the effects of the steps ahead are added to that. Weights are least squares after both sides were
filtered by an autoregression of the rest (feasible generalized least squares: Cochrane and Orcutt,
Journal of the American Statistical Association 44, 1949), begun with differences. Columns whose
effect does not lower AICc are left out, one after the other.

The effect of a column of quantities is a line, which bends at the quartiles of the column where
that lowers AICc, so that both cold and heat may raise a load.

Limits: columns do not change each other's effects, and effects are the same in all sequences,
either in units of the series or in units of its mean absolute change, whichever explains more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from legato._forecasting.linear_forecasters import typical_change_of
from legato._series.sequences import Column

RIDGE = 1e-4  # relative to the variance of a column
ROUNDS = 3  # of weights and filter
FILTER_LAGS, FEWEST = 3, 8  # of the autoregression; steps of a sequence that it takes
FEWEST_VALUES = 12  # of a column that bends
MOST_STEPS = 50_000  # of all sequences, the last ones of each


@dataclass(frozen=True)
class KnownEffects:
    """The effects of some columns.

    Attributes:
        columns: the columns.
        center: (features,), means that are subtracted from the features of the columns.
        weights: (features,), the effect of each feature.
        is_relative: whether effects are in units of the mean absolute change of a window.
        knots: for each column, the values at which its effect bends.
    """

    columns: tuple[Column, ...]
    center: np.ndarray
    weights: np.ndarray
    is_relative: bool = False
    knots: tuple[tuple[float, ...], ...] = ()

    def encode(self, values: Any, ops: Any = np) -> Any:
        """The features (…, features) of values (…, columns)."""
        return encode_columns(self.columns, values, ops, self.knots)

    def of(self, values: np.ndarray) -> np.ndarray:
        """The effects (…) of values (…, columns), before their unit."""
        return (self.encode(values) - self.center) @ self.weights

    def split(self, windows: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The effects in windows and in the steps after them.

        Args:
            windows: (windows, steps), the series.
            known: (windows, steps + horizon, columns), the columns then and after.

        Returns:
            (windows, steps) and (windows, horizon), in units of the series.
        """
        effects = self.of(known)
        if self.is_relative:
            effects = effects * np.abs(np.diff(windows, axis=1)).mean(1, keepdims=True)
        return effects[:, : windows.shape[1]], effects[:, windows.shape[1] :]

    def rest_of(self, series: np.ndarray, known: np.ndarray) -> np.ndarray:
        """A series (time steps,) without the effects of its columns (time steps, columns)."""
        return series - self.of(known) * (typical_change_of(series) if self.is_relative else 1.0)

    def as_numbers(self) -> dict[str, Any]:
        """The columns that have an effect, and its size, as a dictionary for JSON."""
        parts = np.split(self.weights, np.cumsum(_widths(self.columns, self.knots))[:-1])
        sizes = {
            column.name: part.tolist() if len(part) > 1 else float(part[0])
            for column, part in zip(self.columns, parts, strict=True)
            if part.any()
        }
        return {"effects": sizes, "relative": self.is_relative}


@dataclass(frozen=True)
class TargetEffects:
    """The effects of known columns on a target and on its logarithm; None where there are none."""

    of_values: KnownEffects | None
    of_logarithms: KnownEffects | None

    @classmethod
    def fit(
        cls,
        series: tuple[np.ndarray, ...],
        known: tuple[np.ndarray, ...],
        columns: tuple[Column, ...],
        seasons: tuple[int, ...],
        like: "TargetEffects | None",
    ) -> "TargetEffects":
        """Find them; ``like``: those of fewer data, of which the same are fitted."""
        of_values = of_logarithms = None
        if like is None or like.of_values is not None:
            own = None if like is None else like.of_values
            of_values = fit_known_effects(series, known, columns, seasons, own)
        is_positive = all(each.min() > 0 for each in series)
        if is_positive and (like is None or like.of_logarithms is not None):
            own = None if like is None else like.of_logarithms
            logarithms = tuple(map(np.log, series))
            of_logarithms = fit_known_effects(logarithms, known, columns, seasons, own)
        return cls(of_values, of_logarithms)

    def as_numbers(self) -> dict[str, Any]:
        """The effects on the values as a dictionary for JSON; empty without any."""
        return {} if self.of_values is None else {"known": self.of_values.as_numbers()}


def encode_columns(
    columns: Sequence[Column],
    values: Any,
    ops: Any = np,
    knots: Sequence[tuple[float, ...]] = (),
) -> Any:
    """Columns as features: quantities as they are, categories one-hot (unknown ones all 0).

    With knots, a quantity is also what it exceeds each of them by.

    Args:
        columns: the columns.
        values: (…, columns).
        ops: NumPy, or ``keras.ops`` for Keras tensors.
        knots: for each column, in ascending order; none for categories.

    Returns:
        (…, features).
    """
    parts = []
    for at, column in enumerate(columns):
        part = values[..., at : at + 1]
        if column.numbers is not None:
            part = ops.where(ops.equal(part, np.array(column.numbers, "float32")), 1.0, 0.0)
        elif knots and knots[at]:
            bends = ops.maximum(part - np.array(knots[at], "float32"), 0.0)
            part = ops.concatenate([part, bends], axis=-1)
        parts.append(part)
    return ops.concatenate(parts, axis=-1)


def fit_known_effects(
    series: Sequence[np.ndarray],
    known: Sequence[np.ndarray],
    columns: tuple[Column, ...],
    seasons: tuple[int, ...],
    like: KnownEffects | None = None,
) -> KnownEffects | None:
    """Find the effects of columns.

    Args:
        series: one array (time steps,) for each sequence.
        known: (time steps, columns) for each.
        columns: the columns.
        seasons: lengths of the seasons in time steps.
        like: effects of fewer data, whose columns and unit are taken; None: they are chosen.

    Returns:
        None if no column has an effect.
    """
    if not columns:
        return None
    most = max(MOST_STEPS // len(series), 64)
    recent = [
        (own[-most:], values[-most:])
        for own, values in zip(series, known, strict=True)
        if len(own) >= FEWEST
    ]
    if not recent:
        return None
    knots = _find_knots(columns, recent) if like is None else like.knots or ((),) * len(columns)
    pairs = [(own, encode_columns(columns, values, np, knots)) for own, values in recent]
    center = np.concatenate([features for _, features in pairs]).mean(0)
    lags = _lags(seasons, min(len(own) for own, _ in pairs))
    groups = _groups(columns, knots)
    found = []
    units = [False, True] if len(series) > 1 else [False]
    for is_relative in units if like is None else [like.is_relative]:
        scaled = []
        for own, features in pairs:
            change = typical_change_of(own)
            unit = 1.0 if is_relative else change
            scaled.append((own / change, (features - center) / unit))
        kept = None if like is None else like.weights != 0
        weights, score = _fit(scaled, lags, groups, kept)
        found.append((score, is_relative, weights))
    _, is_relative, weights = min(found, key=lambda each: each[0])
    if like is None and not weights.any():
        return None
    return KnownEffects(columns, center, weights, is_relative, knots)


def _find_knots(
    columns: tuple[Column, ...], pairs: list[tuple[np.ndarray, np.ndarray]]
) -> tuple[tuple[float, ...], ...]:
    """The quartiles of each column of quantities that has enough different values."""
    found = []
    for at, column in enumerate(columns):
        values = np.concatenate([known[:, at] for _, known in pairs])
        bends = column.is_numeric and len(np.unique(values)) >= FEWEST_VALUES
        quartiles = np.quantile(values, [0.25, 0.5, 0.75]).astype("float32") if bends else []
        found.append(tuple(float(each) for each in np.unique(quartiles)))
    return tuple(found)


def _widths(columns: Sequence[Column], knots: Sequence[tuple[float, ...]]) -> list[int]:
    """The number of features of each column."""
    bends = [len(each) for each in knots] if knots else [0] * len(columns)
    return [len(each.numbers or (0,)) + more for each, more in zip(columns, bends, strict=True)]


def _groups(columns: Sequence[Column], knots: Sequence[tuple[float, ...]]) -> np.ndarray:
    """What is left out together, (features,): the bends of a column before its line."""
    found: list[int] = []
    for at, (column, bends) in enumerate(zip(columns, knots, strict=True)):
        found += [2 * at] * len(column.numbers or (0,)) + [2 * at + 1] * len(bends)
    return np.array(found)


def _lags(seasons: tuple[int, ...], shortest: int) -> list[int]:
    """The lags of the filter: the last steps, and those of a season before."""
    lags = {*range(1, FILTER_LAGS + 1), *(season + more for season in seasons for more in (0, 1))}
    return sorted(lag for lag in lags if 0 < lag <= shortest // 4)


def _fit(
    pairs: list[tuple[np.ndarray, np.ndarray]],
    lags: list[int],
    groups: np.ndarray,
    kept: np.ndarray | None,
) -> tuple[np.ndarray, float]:
    """Weights (features,) of series and features, and AICc a step.

    Args:
        pairs: a series (time steps,) and its features (time steps, features), for each sequence.
        lags: of the filter.
        groups: (features,), the column of each feature.
        kept: (features,), those that may have a weight; None: those of columns that lower AICc.
    """
    weights_of_lags = np.eye(1, len(lags))[0]  # differences
    every, weights, score = np.ones(len(groups), bool), np.zeros(len(groups)), 0.0
    for _ in range(ROUNDS):
        filtered = [_filter(*pair, lags, weights_of_lags) for pair in pairs]
        y, x = (np.concatenate(each) for each in zip(*filtered, strict=True))
        products = x.T @ x, x.T @ y, float(y @ y), len(y)
        chosen = every if kept is None else kept
        weights, score = _solve(products, chosen)
        if kept is None:
            weights, score = _eliminate(products, groups, weights, score)
        rests = [series - features @ weights for series, features in pairs]
        weights_of_lags = _autoregression([each - each.mean() for each in rests], lags)
    return weights, score


def _filter(
    series: np.ndarray, features: np.ndarray, lags: list[int], weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What an autoregression does not explain of a series and of its features, without means."""
    both = np.column_stack([series, features])
    rest = both[lags[-1] :].copy()
    for lag, weight in zip(lags, weights, strict=True):
        rest -= weight * both[lags[-1] - lag : len(both) - lag]
    rest -= rest.mean(0)
    return rest[:, 0], rest[:, 1:]


def _autoregression(rests: list[np.ndarray], lags: list[int]) -> np.ndarray:
    """The weights of lags, by least squares over all sequences."""
    most = lags[-1]
    x = np.concatenate(
        [np.column_stack([u[most - lag : len(u) - lag] for lag in lags]) for u in rests]
    )
    y = np.concatenate([u[most:] for u in rests])
    return _ridge(x.T @ x, x.T @ y)


def _solve(
    products: tuple[np.ndarray, np.ndarray, float, int], chosen: np.ndarray
) -> tuple[np.ndarray, float]:
    """Weights of the chosen features, 0 for others, and AICc a step."""
    square, cross, total, count = products
    weights = np.zeros(len(cross))
    weights[chosen] = _ridge(square[np.ix_(chosen, chosen)], cross[chosen])
    error = total - 2 * weights @ cross + weights @ square @ weights
    free = int(chosen.sum()) + 1
    if free >= count - 1:
        return weights, np.inf
    penalty = 2 * free * count / (count - free - 1)
    return weights, float(np.log(max(error, 1e-12 * total + 1e-300) / count) + penalty / count)


def _eliminate(
    products: tuple[np.ndarray, np.ndarray, float, int],
    groups: np.ndarray,
    weights: np.ndarray,
    score: float,
) -> tuple[np.ndarray, float]:
    """Leave out columns, the least useful first, as long as AICc falls."""
    left = set(groups.tolist())
    while left:
        tried = [(*_solve(products, np.isin(groups, list(left - {each}))), each) for each in left]
        fewer, least, group = min(tried, key=lambda each: each[1])
        if least > score:
            break
        weights, score = fewer, least
        left.remove(group)
    return weights, score


def _ridge(square: np.ndarray, cross: np.ndarray) -> np.ndarray:
    size = np.diag(square)
    penalty = RIDGE * size + 1e-12 * max(float(size.max(initial=0.0)), 1.0)
    return np.linalg.solve(square + np.diag(penalty), cross)
