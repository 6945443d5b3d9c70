"""Naive baselines against loops over short series; none uses later values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legato._errors import InputError
from legato._forecasting.baselines import (
    drift_forecast,
    majority_probabilities,
    persistence_forecast,
    seasonal_persistence_forecast,
)

thorough = settings(max_examples=150, deadline=None, derandomize=True, database=None)


@st.composite
def origins(draw):
    """Values, offsets, and any number of origins (sequence, t) in any order."""
    lengths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    values = np.arange(1.0, 2 * offsets[-1] + 1).reshape(-1, 2) ** 2
    places = st.integers(0, int(offsets[-1]) - 1)
    steps = np.array(draw(st.lists(places, min_size=1, max_size=8)))
    sequence = np.searchsorted(offsets, steps, side="right") - 1
    return values, offsets, sequence, steps - offsets[sequence]


@thorough
@given(origins=origins(), horizon=st.integers(1, 7))
def test_persistence_is_the_last_value(origins, horizon):
    values, offsets, sequence, t = origins
    expected = []
    for s, step in zip(sequence, t, strict=True):
        series = values[offsets[s] : offsets[s + 1]]
        expected.append([series[step] for _ in range(horizon)])
    np.testing.assert_array_equal(persistence_forecast(*origins, horizon), expected)


@thorough
@given(origins=origins(), horizon=st.integers(1, 7), season=st.integers(1, 5))
def test_seasonal_persistence_is_the_value_some_seasons_before(origins, horizon, season):
    values, offsets, sequence, t = origins
    expected, early = [], 0
    for s, step in zip(sequence, t, strict=True):
        series = values[offsets[s] : offsets[s + 1]]
        forecast = []
        for target in range(step + 1, step + horizon + 1):
            while target > step:
                target -= season  # noqa: PLW2901
            early += target < 0
            forecast.append(series[target if target >= 0 else step])
        expected.append(forecast)
    found, short = seasonal_persistence_forecast(*origins, horizon, season)
    np.testing.assert_array_equal(found, expected)
    assert short == early


@thorough
@given(origins=origins(), horizon=st.integers(1, 7), season=st.integers(1, 5))
def test_no_baseline_uses_later_values_or_another_sequence(origins, horizon, season):
    values, offsets, sequence, t = origins
    for s, step in zip(sequence, t, strict=True):
        origin = (offsets, np.array([s]), np.array([step]), horizon)
        other = np.full_like(values, np.nan)
        past = slice(offsets[s], offsets[s] + step + 1)
        other[past] = values[past]
        np.testing.assert_array_equal(
            persistence_forecast(values, *origin), persistence_forecast(other, *origin)
        )
        for one, another in zip(
            seasonal_persistence_forecast(values, *origin, season),
            seasonal_persistence_forecast(other, *origin, season),
            strict=True,
        ):
            np.testing.assert_array_equal(one, another)


@thorough
@given(origins=origins(), horizon=st.integers(1, 7), span=st.none() | st.integers(1, 5))
def test_drift_goes_on_by_the_mean_of_the_last_changes(origins, horizon, span):
    values, offsets, sequence, t = origins
    expected = []
    for s, step in zip(sequence, t, strict=True):
        past = values[offsets[s] : offsets[s] + step + 1]
        changes = np.diff(past, axis=0)
        changes = changes if span is None else changes[-span:]
        slope = changes.mean(0) if len(changes) else np.zeros(2)
        expected.append([past[-1] + ahead * slope for ahead in range(1, horizon + 1)])
        later = np.full_like(values, np.nan)
        later[offsets[s] : offsets[s] + step + 1] = past
        origin = (offsets, np.array([s]), np.array([step]), horizon, span)
        np.testing.assert_array_equal(
            drift_forecast(values, *origin), drift_forecast(later, *origin)
        )
    np.testing.assert_allclose(drift_forecast(*origins, horizon, span), expected, rtol=1e-9)


def test_the_persistence_forecast_of_labels_is_the_last_label():
    labels = np.array([[3], [1], [2]])
    last = persistence_forecast(labels, np.array([0, 3]), np.array([0, 0]), np.array([0, 1]), 1)[
        :, 0, 0
    ]
    assert last.dtype.kind == "i"
    assert last.tolist() == [3, 1]


def test_a_season_of_one_step_is_persistence():
    values = np.arange(1.0, 6)[:, None]
    origin = (values, np.array([0, 5]), np.array([0, 0]), np.array([0, 3]), 3)
    found, early = seasonal_persistence_forecast(*origin, season=1)
    np.testing.assert_array_equal(found, persistence_forecast(*origin))
    assert early == 0


@thorough
@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=30))
def test_the_majority_is_the_most_frequent_class(labels):
    shares = majority_probabilities(np.array(labels), classes=5, predictions=3)
    counts = [labels.count(label) for label in range(5)]
    np.testing.assert_allclose(shares, [[(n + 1) / (len(labels) + 5) for n in counts]] * 3)
    assert shares.argmax(1).tolist() == [counts.index(max(counts))] * 3


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "Training labels are integers, one or more"),
        ([0.5], "float64 came"),
        ([0, 2], "run from 0 to 2, and there are 2 classes"),
        ([-1, 0], "run from -1 to 0"),
    ],
)
def test_invalid_labels_are_refused(labels, message):
    with pytest.raises(InputError, match=message):
        majority_probabilities(labels, classes=2, predictions=1)


def test_invalid_horizons_and_seasons_are_refused():
    origin = (np.ones((3, 1)), np.array([0, 3]), np.array([0]), np.array([1]))
    with pytest.raises(InputError, match="horizon is 0; a number of time steps"):
        persistence_forecast(*origin, 0)
    with pytest.raises(InputError, match="horizon is 0; a number of time steps"):
        seasonal_persistence_forecast(*origin, 0, 1)
    with pytest.raises(InputError, match="span is 0; a number of time steps of at least 1"):
        drift_forecast(*origin, 1, 0)
    with pytest.raises(InputError, match="season is 0; a number of time steps of at least 1"):
        seasonal_persistence_forecast(*origin, 1, 0)
