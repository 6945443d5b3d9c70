"""Linear forecasters against recursions written out, series that go on exactly, and scales."""

import numpy as np
import pytest

from legato._forecasting import linear_forecasters
from legato._forecasting.baselines import persistence_forecast, seasonal_persistence_forecast
from legato._forecasting.linear_forecasters import (
    History,
    _smoothing_rows,
    fit_autoregression,
    fit_direct_regression,
    fit_exponential_smoothing,
    fit_linear_forecasters,
)

HORIZON, WINDOW, SEASON = 6, 26, 5


def seasonal_series(seed: int, steps: int = 120) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = np.arange(steps)
    return 20 + 0.1 * t + 3 * np.sin(2 * np.pi * t / SEASON) + rng.normal(0, 0.5, steps)


def history_of(*series: np.ndarray, seasons=(SEASON,)) -> History:
    return History(series, seasons, WINDOW, HORIZON)


def by_name(history: History) -> dict:
    return {each.name: each for each in fit_linear_forecasters(history)}


def test_naive_forecasts_are_the_baselines():
    series = seasonal_series(1)
    found, window = by_name(history_of(series)), series[None, -WINDOW:]
    at = np.array([0, len(series)]), np.array([0]), np.array([len(series) - 1]), HORIZON
    naive = persistence_forecast(series[:, None], *at)[..., 0]
    seasonal, _ = seasonal_persistence_forecast(series[:, None], *at, SEASON)
    np.testing.assert_allclose(found["naive"].predict(window), naive)
    np.testing.assert_allclose(found["seasonal naive"].predict(window), seasonal[..., 0])
    drift = (series[-1] - series[0]) / (len(series) - 1) * np.arange(1, HORIZON + 1)
    np.testing.assert_allclose(found["drift"].predict(window), naive + drift)


@pytest.mark.parametrize(
    ("seasonal", "first", "series"),
    [
        (False, False, np.sin(np.arange(200) / 3)),
        (False, True, np.arange(200) * 0.5 + np.sin(np.arange(200) / 3)),
        (True, False, np.arange(200) * 0.5 + np.sin(2 * np.pi * np.arange(200) / SEASON)),
        (True, True, np.arange(200.0) ** 2 / 100 + np.sin(2 * np.pi * np.arange(200) / SEASON)),
    ],
)
def test_an_autoregression_goes_on_as_a_series_without_noise_does(seasonal, first, series):
    known, truth = series[:-HORIZON], series[-HORIZON:]
    fitted = fit_autoregression(history_of(known), seasonal=seasonal, first=first)
    np.testing.assert_allclose(
        fitted.predict(known[None, -WINDOW:])[0], truth, atol=0.05 * known.std()
    )


def test_direct_regression_goes_on_as_a_wave_on_a_trend_does():
    series = np.arange(200) * 0.5 + np.sin(2 * np.pi * np.arange(200) / SEASON)
    fitted = fit_direct_regression(history_of(series[:-HORIZON]))
    found = fitted.predict(series[None, -HORIZON - WINDOW : -HORIZON])[0]
    np.testing.assert_allclose(found, series[-HORIZON:], atol=0.3)  # the ridge draws to the naive


def smooth(values, season, horizon, level_rate, trend_rate, season_rate, damping):
    """Exponential smoothing written out, as ``_smoothing_rows`` begins it."""
    count = 2 * season
    slope, intercept = np.polyfit(np.arange(count), values[:count], 1)
    rest = values[:count] - intercept - slope * np.arange(count)
    seasonal = rest.reshape(2, season).mean(0)
    seasonal -= seasonal.mean()
    if trend_rate > 0:
        level, trend = intercept - slope, slope
    else:
        level, trend = intercept + slope * (season - 1) / 2, 0.0
    for at, value in enumerate(values):
        error = value - level - damping * trend - seasonal[at % season]
        level = level + damping * trend + level_rate * error
        trend = damping * trend + level_rate * trend_rate * error
        seasonal[at % season] += season_rate * (1 - level_rate) * error
    leads = np.arange(1, horizon + 1)
    damped = np.array([sum(damping**k for k in range(1, lead + 1)) for lead in leads])
    return level + damped * trend + seasonal[(len(values) + leads - 1) % season]


@pytest.mark.parametrize("rates", [(0.3, 0.2, 0.4, 0.9), (0.5, 0.0, 0.1, 1.0)])
def test_smoothing_as_a_matrix_is_the_recursion_written_out(rates):
    values = seasonal_series(2)[:WINDOW]
    (rows,) = _smoothing_rows(WINDOW, SEASON, HORIZON, np.array(rates)[:, None])
    np.testing.assert_allclose(rows @ values, smooth(values, SEASON, HORIZON, *rates), rtol=1e-10)


def test_smoothing_without_noise_goes_on_with_season_and_trend():
    series = np.arange(120) * 0.5 + np.sin(2 * np.pi * np.arange(120) / SEASON)
    fitted = fit_exponential_smoothing(history_of(series[:-HORIZON]), trend=True)
    found = fitted.predict(series[None, -HORIZON - WINDOW : -HORIZON])[0]
    np.testing.assert_allclose(found, series[-HORIZON:], atol=0.15)


@pytest.mark.parametrize("several", [False, True])
def test_a_forecast_of_other_units_is_the_forecast_in_other_units(several):
    series = [seasonal_series(seed) for seed in ((3, 4) if several else (3,))]
    found = by_name(history_of(*series))
    moved = by_name(history_of(*(1000 + 30 * each for each in series)))
    assert found.keys() == moved.keys()
    window = series[0][None, -WINDOW:]
    for name, each in found.items():
        expected = 1000 + 30 * each.predict(window)
        np.testing.assert_allclose(
            moved[name].predict(1000 + 30 * window), expected, rtol=1e-5, err_msg=name
        )


def test_several_sequences_of_unlike_size_count_alike():
    small, large = seasonal_series(5), 1e6 * seasonal_series(6)
    alone, together = history_of(small, small), history_of(small, large)
    for name, each in by_name(together).items():
        found = each.predict(small[None, -WINDOW:])
        np.testing.assert_allclose(
            found, by_name(alone)[name].predict(small[None, -WINDOW:]), rtol=0.1, err_msg=name
        )


def test_data_that_are_too_short_have_naive_forecasts_only():
    names = [each.name for each in fit_linear_forecasters(history_of(np.arange(7.0), seasons=()))]
    assert names == ["naive", "drift"]


def test_of_long_series_as_many_rows_are_drawn_as_a_regression_takes(monkeypatch):
    series = [np.arange(40.0) + 100 * at for at in range(3)]
    history = History(tuple(series), (), 5, 2)
    everything = np.concatenate(history.samples(5), axis=1)
    monkeypatch.setattr(linear_forecasters, "MOST_ROWS", 50)
    found = np.concatenate(history.samples(5), axis=1)
    assert len(everything) == 3 * 34
    assert len(np.unique(found, axis=0)) == len(found) == 50
    assert {tuple(row) for row in found} < {tuple(row) for row in everything}
    assert {row[0] // 100 for row in found} == {0, 1, 2}


def test_a_regression_from_drawn_rows_is_near_that_from_all(monkeypatch):
    history = history_of(seasonal_series(1, 600))
    every = by_name(history)
    monkeypatch.setattr(linear_forecasters, "MOST_ROWS", 300)
    window = history.series[0][None, -WINDOW:]
    for name, drawn in by_name(history).items():
        np.testing.assert_allclose(drawn.predict(window), every[name].predict(window), atol=1.0)
