"""A linear classifier of many features of few sequences, in closed form.

Ridge regression of +1 for the label of a sequence and -1 for every other label, on standardized
features. The penalty is the one with the least squared error when each sequence is left out in
turn, which the decomposition of one matrix gives without fitting again (Allen, "The relationship
between variable selection and data augmentation and a method for prediction", Technometrics 16,
1974; as in ROCKET: Dempster, Petitjean and Webb, Data Mining and Knowledge Discovery 34, 2020).
The temperature of the softmax that makes probabilities of its scores comes from the same errors.
"""

from dataclasses import dataclass

import numpy as np

PENALTIES = np.logspace(-3, 4, 15)  # relative to the mean square of a sequence's features
TEMPERATURES = np.geomspace(0.05, 10, 50)
USUAL_TEMPERATURE, PULL = 0.4, 2.0  # a few sequences without an error do not decide alone
MAX_SEQUENCES = 3_000  # the work grows with their cube


@dataclass(frozen=True)
class RidgeClassifier:
    """A fitted classifier: probabilities are the softmax of ``features @ kernel + bias``.

    Attributes:
        kernel: (features, classes).
        bias: (classes,).
    """

    kernel: np.ndarray
    bias: np.ndarray

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Probabilities (sequences, classes) from features (sequences, features)."""
        return softmax(features @ self.kernel + self.bias)


def fit_ridge_classifier(
    features: np.ndarray, labels: np.ndarray, classes: int, least: float, seed: int = 0
) -> RidgeClassifier:
    """Fit it.

    Args:
        features: (sequences, features).
        labels: (sequences,), from 0.
        classes: number of classes; those that do not occur are given little probability.
        least: standard deviation below which a feature is not stretched any further.
        seed: random seed of the choice of ``MAX_SEQUENCES`` where there are more.
    """
    if len(labels) > MAX_SEQUENCES:
        chosen = np.random.default_rng(seed).choice(len(labels), MAX_SEQUENCES, replace=False)
        features, labels = features[chosen], labels[chosen]
    center, spread = features.mean(0), np.maximum(features.std(0), least)
    standard = ((features - center) / spread).astype("float64")
    targets = 2 * np.eye(classes)[labels] - 1
    share = targets.mean(0)
    dual, scores = _choose_penalty(standard, targets - share)
    temperature = _choose_temperature(scores + share, labels)
    kernel = standard.T @ dual / (spread[:, None] * temperature)
    return RidgeClassifier(kernel, share / temperature - center @ kernel)


def _choose_penalty(standard: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The weight of each sequence, (sequences, classes), and its scores when it is left out."""
    count = len(standard)
    inner = standard @ standard.T
    size = max(np.trace(inner) / count, 1e-12)
    values, vectors = np.linalg.eigh(inner / size + 1e6)  # + a constant: the mean is not penalized
    turned, squares = vectors.T @ targets, vectors**2
    best = (np.inf, targets, targets)
    for penalty in PENALTIES:
        inverse = 1 / (np.maximum(values, 0) + penalty)
        dual = vectors @ (inverse[:, None] * turned)
        errors = dual / (squares @ inverse)[:, None]
        if (error := float((errors**2).mean())) < best[0]:
            best = (error, dual / size, targets - errors)
    return best[1], best[2]


def _choose_temperature(scores: np.ndarray, labels: np.ndarray) -> float:
    """The temperature with the least cross-entropy, pulled towards the usual one."""
    rows = np.arange(len(labels))
    losses = [
        -np.log(np.maximum(softmax(scores / each)[rows, labels], 1e-12)).sum()
        + PULL * np.log(each / USUAL_TEMPERATURE) ** 2
        for each in TEMPERATURES
    ]
    return float(TEMPERATURES[int(np.argmin(losses))])


def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, float64."""
    shifted = np.exp(scores.astype("float64") - scores.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)
