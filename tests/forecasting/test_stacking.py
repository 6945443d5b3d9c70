"""Weights of forecasters by a backtest."""

import numpy as np

from legato._forecasting.stacking import LEAST_WEIGHT, stack


def backtest(rng, spreads, origins=40, horizon=5):
    truth = rng.normal(10, 2, (origins, horizon))
    errors = [rng.normal(0, spread, truth.shape) for spread in spreads]
    return np.stack([truth + each for each in errors]), truth


def test_weights_are_not_negative_sum_to_1_and_leave_out_small_ones(rng):
    predicted, truth = backtest(rng, [0.6, 0.8, 1.0, 30.0])
    found = stack(tuple("abcd"), predicted, truth, np.ones(len(truth)), len(truth))
    assert abs(found.weights.sum() - 1) < 1e-12
    kept = found.weights[found.weights > 0]
    assert (kept >= LEAST_WEIGHT).all()
    assert found.chosen.keys() == {"a", "b", "c"}
    assert list(np.argsort(-found.weights)) == [0, 1, 2, 3]
    np.testing.assert_allclose(found.errors, np.abs(predicted - truth).mean((1, 2)))


def test_the_weighted_forecast_is_better_than_each_where_errors_are_independent(rng):
    predicted, truth = backtest(rng, [1.0, 1.0, 1.0])
    found = stack(tuple("abc"), predicted, truth, np.ones(len(truth)), len(truth))
    assert found.error < found.errors.min()
    weighed = np.tensordot(found.weights, predicted, 1)
    np.testing.assert_allclose(found.error, np.abs(weighed - truth).mean())


def test_one_that_is_right_is_taken_alone(rng):
    predicted, truth = backtest(rng, [0.0, 1.0])
    assert stack(("right", "other"), predicted, truth, np.ones(len(truth)), len(truth)).chosen == {
        "right": 1.0
    }


def test_sequences_of_unlike_size_count_alike(rng):
    predicted, truth = backtest(rng, [0.5, 1.0])
    scale = np.where(np.arange(len(truth)) % 2, 1.0, 1e6)
    found = stack(("a", "b"), predicted, truth, np.ones(len(truth)), len(truth))
    sized = scale[:, None]
    scaled = stack(("a", "b"), predicted * sized, truth * sized, scale, len(truth))
    np.testing.assert_allclose(scaled.weights, found.weights, rtol=1e-6)


def test_few_stretches_draw_weights_towards_those_of_the_own_errors(rng):
    """One forecaster is too low and one too high by as much, in all of a backtest."""
    truth = rng.normal(10, 2, (40, 5))
    noise = rng.normal(0, 1.0, (3, *truth.shape))
    predicted = truth + noise + np.array([0.0, -4.0, 4.0])[:, None, None]
    own = 1 / np.abs(predicted - truth).mean((1, 2)) ** 2
    few, many = (
        stack(tuple("abc"), predicted, truth, np.ones(40), stretches).weights
        for stretches in (1, 1000)
    )
    assert np.abs(few - own / own.sum()).max() < 0.1
    assert many[1:].sum() > 1.5 * few[1:].sum()
