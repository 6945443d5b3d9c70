"""Weights of classifiers: a grid search finds none that are better."""

import itertools

import numpy as np

from legato._forecasting.probability_pooling import PULL, choose_weights, pool


def cross_entropy(weights: np.ndarray, chances: np.ndarray, labels: np.ndarray) -> float:
    """The cross-entropy of the product of powers, and the penalty, in a plain loop."""
    total = PULL * ((weights - 1 / len(weights)) ** 2).sum()
    for at, label in enumerate(labels):
        products = np.prod(chances[:, at] ** weights[:, None], axis=0)
        total -= np.log(products[label] / products.sum())
    return total


def test_no_weights_of_a_grid_are_better(rng):
    labels = rng.integers(0, 3, 40)
    scores = rng.normal(0, 1, (2, 40, 3))
    scores[:, np.arange(40), labels] += np.array([[2.0], [1.0]])
    chances = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    found = cross_entropy(choose_weights(chances, labels), chances, labels)
    grid = itertools.product(np.linspace(0, 2, 41), repeat=2)
    best = min(cross_entropy(np.array(each), chances, labels) for each in grid)
    assert found <= best + 1e-3


def test_one_member_of_weight_one_is_that_member(rng):
    chances = rng.dirichlet(np.ones(3), (2, 7))
    np.testing.assert_allclose(pool(chances, np.array([1.0, 0.0])), chances[0], rtol=1e-5)


def test_a_member_that_is_wrong_with_certainty_has_no_weight(rng):
    labels = rng.integers(0, 2, 50)
    good = np.where(np.eye(2)[labels] > 0, 0.8, 0.2)
    weights = choose_weights(np.stack([good, 1 - good]), labels)
    assert weights[1] == 0
    assert weights[0] > 0.5


def test_members_that_know_nothing_give_even_chances(rng):
    labels = rng.integers(0, 2, 400)
    sure = np.where(np.eye(2)[rng.integers(0, 2, (2, 400))] > 0, 0.99, 0.01)
    assert np.abs(pool(sure, choose_weights(sure, labels)) - 0.5).max() < 0.2
