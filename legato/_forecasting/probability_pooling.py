"""Weights of several classifiers by the probabilities they gave to sequences they had not seen.

The probabilities of classifiers are multiplied, each raised to a weight that is not negative, and
divided by their sum (a logarithmic opinion pool: Genest and Zidek, "Combining probability
distributions", Statistical Science 1, 1986). The weights minimize the cross-entropy. Their sum need
not be 1, so that the result is calibrated as by a temperature: below 1, its probabilities are less
extreme than those of its members. A penalty pulls them towards equal weights of sum 1.
"""

import numpy as np

from legato._forecasting.ridge_classifier import softmax

PULL = 5.0  # of the penalty: sequences that it counts as, roughly
LEAST_SHARE = 0.03  # of the sum of the weights; members below it are left out
NOTHING = 1e-3  # sum of the weights of members that know nothing
LEAST = 1e-6  # probabilities below it count as it


def pool(probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted probabilities, (sequences, classes), from (members, sequences, classes)."""
    logarithms = np.log(np.maximum(probabilities, LEAST))
    return softmax(np.tensordot(weights, logarithms, axes=1))


def choose_weights(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The weights (members,); members of little weight have 0.

    Args:
        probabilities: (members, sequences, classes).
        labels: (sequences,), from 0.

    Examples:
        >>> sure, wrong = [[0.9, 0.1], [0.1, 0.9]], [[0.1, 0.9], [0.9, 0.1]]
        >>> choose_weights(np.array([sure, wrong] * 1), np.array([0, 1])).argmax()
        np.int64(0)
    """
    from scipy.optimize import minimize  # only training needs it

    members, rows = len(probabilities), np.arange(len(labels))
    logarithms = np.log(np.maximum(probabilities, LEAST)).astype("float64")
    given = logarithms[:, rows, labels]  # (members, sequences)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        found = softmax(np.tensordot(weights, logarithms, axes=1))
        away = weights - 1 / members
        slope = np.einsum("nk,mnk->m", found, logarithms) - given.sum(1) + 2 * PULL * away
        nats = -np.log(np.maximum(found[rows, labels], 1e-300)).sum()
        return nats + PULL * (away**2).sum(), slope

    start = np.full(members, 1 / members)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * members).x
    if found.sum() < NOTHING:
        return NOTHING * start
    return np.where(found >= LEAST_SHARE * found.sum(), found, 0.0)
