"""Forecasters that are linear in a window of past values: naive, autoregression, smoothing.

Each is fitted in its usual form and then written as one matrix, from the last ``window`` values of
a sequence to the next ``horizon`` ones, so that a ``Dense`` layer holds it.

Sources: the naive methods, drift and the decomposition are those of Hyndman and Athanasopoulos,
"Forecasting: Principles and Practice", 3rd edition, 2021; the order of an autoregression is chosen
by AICc (Hurvich and Tsai, Biometrika 76, 1989); exponential smoothing has a damped trend (Gardner
and McKenzie, Management Science 31, 1985) and an additive season; direct regression subtracts the
last value, as NLinear does (Zeng, Chen, Zhang and Xu, AAAI 2023).

Limits: sequences of one series of numbers each, without missing values. Several sequences share one
matrix; each is then divided by its mean absolute change, and centred by the mean of its window.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

RIDGE_AR, RIDGE_DIRECT = 1e-3, 0.1  # relative to the number of rows, and to the mean variance
CANDIDATES, ORIGINS, KEPT = 150, 60, 20  # of the search for smoothing parameters
MAX_LAGS = 128  # of an autoregression
MOST_ROWS = 10_000  # of a regression, a limit of time and memory
SMOOTHED, SMOOTHED_SEASONS = 48, 4  # values that smoothing uses: so many, or so many seasons
DAMPING = (0.8, 0.9, 0.95, 0.98, 1.0)


@dataclass(frozen=True)
class History:
    """What linear forecasters are fitted on.

    Attributes:
        series: one array (time steps,) for each sequence, float64.
        seasons: lengths of the seasons in time steps, the shortest first; may be empty.
        window: number of past values that a forecast may use.
        horizon: number of steps ahead.
    """

    series: tuple[np.ndarray, ...]
    seasons: tuple[int, ...]
    window: int
    horizon: int

    @property
    def season(self) -> int:
        """The shortest season; 1 where there is none."""
        return self.seasons[0] if self.seasons else 1

    @property
    def is_single(self) -> bool:
        """Whether there is one sequence, so that its mean and its drift are known."""
        return len(self.series) == 1

    def samples(self, window: int) -> tuple[np.ndarray, np.ndarray]:
        """Windows (samples, window) and what follows each (samples, horizon), scaled.

        All of them, or as many as ``MOST_ROWS`` drawn at random.
        """
        size = window + self.horizon
        kept = [each for each in self.series if len(each) >= size]
        chosen = _choose_rows([len(each) - size + 1 for each in kept])
        parts = [
            np.lib.stride_tricks.sliding_window_view(each, size)[rows] / typical_change_of(each)
            for each, rows in zip(kept, chosen, strict=True)
        ]
        both = np.concatenate(parts) if parts else np.empty((0, size))
        return both[:, :window], both[:, window:]


@dataclass(frozen=True)
class LinearForecaster:
    """A forecast as a matrix.

    Attributes:
        name: its name, as the field uses it.
        matrix: (horizon, window), applied to the last ``window`` values, the oldest first.
        offset: (horizon,), added.
    """

    name: str
    matrix: np.ndarray
    offset: np.ndarray

    def predict(self, windows: np.ndarray) -> np.ndarray:
        """Forecasts (windows, horizon) after windows of values (windows, window)."""
        return windows @ self.matrix.T + self.offset

    @classmethod
    def of_rows(cls, name: str, rows: np.ndarray) -> "LinearForecaster":
        """From (horizon, window + 1): coefficients of the values, and a constant at the end."""
        return cls(name, rows[:, :-1], rows[:, -1])


def fit_linear_forecasters(history: History) -> Iterator[LinearForecaster]:
    """Fit every forecaster that the data are long enough for."""
    yield from naive_forecasters(history)
    for name, seasonal, first in _DIFFERENCES:
        if not seasonal or history.season > 1:
            fitted = fit_autoregression(history, seasonal=seasonal, first=first, name=name)
            if fitted is not None:
                yield fitted
    others = (
        fit_direct_regression(history),
        fit_exponential_smoothing(history, trend=False),
        fit_exponential_smoothing(history, trend=True),
    )
    yield from (fitted for fitted in others if fitted is not None)


_DIFFERENCES = (
    ("autoregression", False, False),
    ("autoregression of changes", False, True),
    ("autoregression of seasonal changes", True, False),
    ("autoregression of changes and seasonal changes", True, True),
)


def typical_change_of(series: np.ndarray) -> float:
    """The mean absolute change from step to step; 1 where nothing changes."""
    changes = np.abs(np.diff(series))
    return float(changes.mean()) if changes.any() else 1.0


def naive_forecasters(history: History) -> Iterator[LinearForecaster]:
    """The last value; the last season; and, of one sequence, the last value plus its drift."""
    basis, horizon, season = _basis(history.window), history.horizon, history.season
    last = np.tile(basis[-1], (horizon, 1))
    yield LinearForecaster.of_rows("naive", last)
    if 1 < season <= history.window:
        rows = _undo_difference(np.zeros((horizon, history.window + 1)), basis, season)
        yield LinearForecaster.of_rows("seasonal naive", rows)
    if history.is_single:
        (series,) = history.series
        drift = (series[-1] - series[0]) / max(len(series) - 1, 1)
        offset = drift * np.arange(1, horizon + 1)
        yield LinearForecaster("drift", last[:, :-1], offset)


# Autoregression.


def fit_autoregression(
    history: History, *, seasonal: bool, first: bool, name: str = "autoregression"
) -> LinearForecaster | None:
    """An autoregression of values or of their differences, iterated over the horizon.

    Args:
        history: the data.
        seasonal: take differences to the value a season before.
        first: take differences to the value before, after the seasonal ones.
        name: the name of the result.

    Returns:
        None where the sequences are too short.
    """
    lags = ([history.season] if seasonal else []) + ([1] if first else [])
    lost = sum(lags)
    differenced = [_difference(each, lags) for each in history.series if len(each) > lost]
    total, longest = sum(map(len, differenced)), max(map(len, differenced), default=0)
    most = min(history.window - lost, total // 3, longest // 2)
    if most < 1 or total < (6 if seasonal else 12):  # the mean seasonal change alone is of use
        return None
    means = [each.mean() if history.is_single or not lags else 0.0 for each in differenced]
    scales = [each.std() or 1.0 for each in differenced]
    scaled = [(u - mean) / s for u, mean, s in zip(differenced, means, scales, strict=True)]
    order, weights, constant = _choose_order(scaled, most, history)
    basis = _basis(history.window)
    rows = _difference(basis, lags)
    centre, added = np.zeros((2, history.window + 1))
    if history.is_single:
        centre[-1], added[-1] = means[0], constant * scales[0]
    elif not lags:
        centre[:-1] = 1 / history.window
    ahead = list(rows - centre)
    for _ in range(history.horizon):
        past = np.stack([ahead[-lag] for lag in order])
        ahead.append(weights @ past + added)
    future = np.stack(ahead[len(rows) :]) + centre
    if first:
        future = _undo_difference(future, _difference(basis, lags[:-1]), 1)
    if seasonal:
        future = _undo_difference(future, basis, history.season)
    return LinearForecaster.of_rows(name, future)


def _choose_order(
    scaled: list[np.ndarray], most: int, history: History
) -> tuple[list[int], np.ndarray, float]:
    """The lags with the least AICc a sample, their weights, and the constant."""
    best = None
    orders = {1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24}
    for season in history.seasons:
        orders |= {season, season + 1, 2 * season + 1}
    for order in sorted(orders):
        extra = [lag for season in history.seasons for lag in (season, season + 1)]
        choices = [list(range(1, order + 1))]
        choices.append(sorted({*choices[0], *extra}))
        for lags in choices:
            if lags[-1] > most or len(lags) > MAX_LAGS:
                continue
            x, y = _lagged(scaled, lags)
            if len(y) < 2 * len(lags) + 4:
                continue
            *weights, constant = _ridge(x, y, RIDGE_AR * len(y))
            error = y - x @ np.array(weights) - constant
            count, free = len(y), len(lags) + 1
            spread = 2 * free * count / max(count - free - 1, 1)
            score = np.log((error**2).mean() + 1e-12) + spread / count
            if best is None or score < best[0]:
                best = score, lags, np.array(weights), float(constant)
    if best is None:
        return [1], np.zeros(1), 0.0
    return best[1:]


def _lagged(scaled: list[np.ndarray], lags: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Past values at some lags (samples, lags), and the values after them (samples,)."""
    most = lags[-1]
    kept = [each for each in scaled if len(each) > most]
    chosen = [most + rows for rows in _choose_rows([len(each) - most for each in kept])]
    x = [u[at[:, None] - np.array(lags)] for u, at in zip(kept, chosen, strict=True)]
    return np.concatenate(x), np.concatenate([u[at] for u, at in zip(kept, chosen, strict=True)])


def _choose_rows(counts: list[int]) -> list[np.ndarray]:
    """Indices of rows of several tables: all, or ``MOST_ROWS`` of all drawn at random, in order."""
    if not counts:
        return []
    ends = np.cumsum(counts)
    total = int(ends[-1])
    chosen = np.arange(total)
    if total > MOST_ROWS:
        chosen = np.sort(np.random.default_rng(0).choice(total, MOST_ROWS, replace=False))
    parts = np.split(chosen, np.searchsorted(chosen, ends[:-1]))
    return [part - (end - count) for part, end, count in zip(parts, ends, counts, strict=True)]


def _ridge(x: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    """Weights (inputs + 1, …) of a ridge regression; the last is the constant, not penalized."""
    x = np.column_stack([x, np.ones(len(x))])
    ridge = penalty * np.eye(x.shape[1])
    ridge[-1, -1] = 1e-9
    return np.linalg.solve(x.T @ x + ridge, x.T @ y)


# Direct regression.


def fit_direct_regression(history: History) -> LinearForecaster | None:
    """Ridge regression from two seasons, or 12 values, to every step ahead at once.

    The last value is subtracted before and added after.
    """
    size = 2 * history.seasons[-1] if history.seasons else 12
    longest = max(map(len, history.series))
    size = min(size, history.window, (longest - history.horizon) // 2)
    if size < 2:
        return None
    x, y = history.samples(size)
    if len(x) < 8:
        return None
    last = x[:, -1:]
    x, y = (x - last)[:, :-1], y - last
    weights = _ridge(x, y, RIDGE_DIRECT * len(x) * max((x**2).mean(), 1e-12))
    scale = typical_change_of(history.series[0]) if history.is_single else 0.0
    rows = np.zeros((history.horizon, history.window + 1))
    rows[:, -size - 1 : -2] = weights[:-1].T
    rows[:, -2] = 1 - weights[:-1].sum(0)
    rows[:, -1] = scale * weights[-1]
    return LinearForecaster.of_rows("direct regression", rows)


# Exponential smoothing.


def fit_exponential_smoothing(history: History, *, trend: bool) -> LinearForecaster | None:
    """Exponential smoothing with an additive season and, if asked, a damped trend.

    Level, trend and season begin with a line through the first seasons of the window. Smoothing
    parameters are sought at random, then near the best, by the mean absolute error over all steps
    ahead at up to ``ORIGINS`` origins; the mean of the best ``KEPT`` forecasts is the result.
    """
    season, horizon = history.season, history.horizon
    longest = max(map(len, history.series))
    size = min(history.window, max(SMOOTHED_SEASONS * season, SMOOTHED))
    size = min(size, max((longest - horizon) // 2, 2 * season))
    if size < max(2 * season, 3):
        return None
    windows, truth = history.samples(size)
    if len(windows) < 4:
        return None
    chosen = np.unique(np.linspace(0, len(windows) - 1, ORIGINS).astype(int))
    windows, truth = windows[chosen], truth[chosen]
    rng = np.random.default_rng(0)
    tried = np.stack(
        [
            rng.beta(1, 1.5, CANDIDATES),
            rng.beta(1, 4, CANDIDATES) if trend else np.zeros(CANDIDATES),
            rng.beta(1, 3, CANDIDATES) if season > 1 else np.zeros(CANDIDATES),
            rng.choice(DAMPING, CANDIDATES) if trend else np.ones(CANDIDATES),
        ]
    )
    for spread in (0.08, 0.04, None):
        rows = _smoothing_rows(size, season, horizon, tried)
        found = (rows.reshape(-1, size) @ windows.T).reshape(len(rows), horizon, -1)
        errors = np.abs(found - truth.T).mean((1, 2))
        best = np.argsort(errors, kind="stable")[:KEPT]
        if spread is not None:
            near = np.repeat(tried[:, best], CANDIDATES // KEPT, axis=1)
            moved = np.clip(near[:3] + rng.normal(0, spread, near[:3].shape), 0, 1) * (near[:3] > 0)
            tried = np.column_stack([tried[:, best], np.vstack([moved, near[3:]])])
    name = "exponential smoothing" + (" with trend" if trend else "")
    matrix = np.zeros((horizon, history.window))
    matrix[:, -size:] = rows[best].mean(0)
    return LinearForecaster(name, matrix, np.zeros(horizon))


def _smoothing_rows(window: int, season: int, horizon: int, parameters: np.ndarray) -> np.ndarray:
    """Exponential smoothing as matrices, (candidates, horizon, window).

    Args:
        window, season, horizon: in time steps.
        parameters: (4, candidates): of the level, of the trend, of the season, and damping.
    """
    level_rate, trend_rate, season_rate, damping = parameters[..., None]
    count, values = parameters.shape[1], np.eye(window)
    first = min(max(window // season, 1), 2) * season if season > 1 else min(window, 3)
    intercept, slope = _line_rows(first)
    rest = values[:first, :first] - (intercept + np.arange(first)[:, None] * slope)
    level = np.zeros((count, window))
    level[:, :first] = intercept if season > 1 else 1 / first
    change = np.zeros((count, window))
    if season > 1:
        change[:, :first] = np.where(trend_rate > 0, slope, 0.0)
        level[:, :first] += np.where(trend_rate > 0, -slope, slope * (season - 1) / 2)
    seasonal = np.zeros((season, count, window))
    if season > 1:
        means = rest.reshape(-1, season, first).mean(0)
        seasonal[..., :first] = (means - means.mean(0))[:, None]
    for at in range(window):
        error = values[at] - (level + damping * change) - seasonal[at % season]
        level = level + damping * change + level_rate * error
        change = damping * change + level_rate * trend_rate * error
        if season > 1:
            seasonal[at % season] += season_rate * (1 - level_rate) * error
    rows = np.empty((count, horizon, window))
    damped = np.zeros_like(damping)
    for lead in range(horizon):
        damped = damped + damping ** (lead + 1)
        rows[:, lead] = level + damped * change + seasonal[(window + lead) % season]
    return rows


def _line_rows(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Intercept and slope of a least-squares line through ``count`` values, as rows (count,)."""
    at = np.arange(count) - (count - 1) / 2
    slope = at / max((at**2).sum(), 1e-12)
    return np.full(count, 1 / count) - slope * (count - 1) / 2, slope


# Differences.


def _basis(window: int) -> np.ndarray:
    """The values of a window as rows of coefficients, (window, window + 1): values, constant."""
    return np.eye(window, window + 1)


def _difference(values: np.ndarray, lags: list[int]) -> np.ndarray:
    """Differences along the first axis, to the value at each lag before, one after the other."""
    for lag in lags:
        values = values[lag:] - values[:-lag]
    return values


def _undo_difference(future: np.ndarray, before: np.ndarray, lag: int) -> np.ndarray:
    """Future values from their differences to the value at a lag before."""
    values = list(before[-lag:])
    for each in future:
        values.append(values[-lag] + each)
    return np.stack(values[lag:])
