"""The ridge classifier, beside normal equations and a loop that leaves each sequence out."""

import numpy as np
import pytest

from legato._forecasting import ridge_classifier
from legato._forecasting.ridge_classifier import PENALTIES, fit_ridge_classifier, softmax


def solve(x: np.ndarray, y: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression with an intercept by the normal equations: weights and intercept."""
    center, share = x.mean(0), y.mean(0)
    away = x - center
    inner = away.T @ away + penalty * np.eye(x.shape[1])
    weights = np.linalg.solve(inner, away.T @ (y - share))
    return weights, share - center @ weights


@pytest.mark.parametrize("features", [4, 60])
def test_the_penalty_has_the_least_error_when_each_sequence_is_left_out(rng, features):
    labels = rng.integers(0, 3, 25)
    x = rng.normal(0, 3, (25, features)) + labels[:, None]
    found = fit_ridge_classifier(x, labels, 3, 1e-6)
    standard, targets = (x - x.mean(0)) / x.std(0), 2 * np.eye(3)[labels] - 1
    errors, fits = [], []
    for penalty in PENALTIES * features:  # each sequence has that mean square
        left_out = []
        for at in range(25):
            others = np.arange(25) != at
            weights, offset = solve(standard[others], targets[others], penalty)
            left_out.append(targets[at] - standard[at] @ weights - offset)
        errors.append(np.square(left_out).mean())
        fits.append(solve(standard, targets, penalty))
    weights, offset = fits[int(np.argmin(errors))]
    scores, own = standard @ weights + offset, x @ found.kernel + found.bias
    temperature = (scores / own).mean()
    np.testing.assert_allclose(own * temperature, scores, rtol=1e-4, atol=1e-4)
    assert ridge_classifier.TEMPERATURES.min() <= temperature <= ridge_classifier.TEMPERATURES.max()
    np.testing.assert_allclose(found.predict(x), softmax(own))


def test_a_label_that_does_not_occur_and_features_that_do_not_vary(rng):
    labels = np.arange(20) % 2
    x = np.column_stack([labels + rng.normal(0, 0.1, 20), np.ones(20)])
    found = fit_ridge_classifier(x, labels, 3, 1e-6).predict(x)
    np.testing.assert_array_equal(found.argmax(1), labels)
    assert found[:, 2].max() < 0.2


def test_labels_drawn_at_random_are_answered_without_certainty(rng):
    x, labels = rng.normal(0, 1, (60, 300)), rng.integers(0, 2, 60)
    found = fit_ridge_classifier(x, labels, 2, 1e-6).predict(rng.normal(0, 1, (200, 300)))
    assert np.abs(found - 0.5).max() < 0.45


def test_of_very_many_sequences_some_are_drawn(rng, monkeypatch):
    monkeypatch.setattr(ridge_classifier, "MAX_SEQUENCES", 30)
    labels = np.arange(200) % 2
    x = labels[:, None] + rng.normal(0, 0.1, (200, 3))
    np.testing.assert_array_equal(
        fit_ridge_classifier(x, labels, 2, 1e-6).predict(x).argmax(1), labels
    )
