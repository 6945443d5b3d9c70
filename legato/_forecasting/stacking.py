"""Weights of several forecasters by their forecasts in a backtest.

Non-negative weights that sum to 1 minimize the squared error of the weighted forecast (stacked
regressions: Breiman, Machine Learning 24, 1996). A ridge draws them towards weights that fall with
the square of each forecaster's own error, as strongly as ``SHRINKAGE`` separate stretches of the
backtest would. With two or three of them the weights are near those: fitted freely, they would
balance forecasters that are too high in these stretches with others that are too low.
"""

from dataclasses import dataclass

import numpy as np

SHRINKAGE = 10.0  # stretches that the ridge counts as, each with the error of the best forecaster
LEAST_WEIGHT = 0.03  # forecasters below it are left out
SUM_TO_1 = 1e3  # weight of that condition


@dataclass(frozen=True)
class Stacking:
    """Weights and what they rest on.

    Attributes:
        names: of the forecasters.
        weights: (forecasters,), not negative, of sum 1.
        errors: (forecasters,), mean absolute errors in the backtest, in units of the target.
        error: that of the weighted forecast.
    """

    names: tuple[str, ...]
    weights: np.ndarray
    errors: np.ndarray
    error: float

    @property
    def chosen(self) -> dict[str, float]:
        """The weights above 0 by name."""
        named = zip(self.names, self.weights.tolist(), strict=True)
        return {name: weight for name, weight in named if weight > 0}

    def as_numbers(self) -> dict:
        """The weights and errors as a dictionary for JSON."""
        rows = zip(self.names, self.weights.tolist(), self.errors.tolist(), strict=True)
        members = [{"name": name, "weight": weight, "mae": error} for name, weight, error in rows]
        return {"members": members, "mae": self.error}


def stack(
    names: tuple[str, ...],
    predicted: np.ndarray,
    truth: np.ndarray,
    scale: np.ndarray,
    stretches: int,
) -> Stacking:
    """Find the weights.

    Args:
        names: of the forecasters.
        predicted: (forecasters, origins, horizon).
        truth: (origins, horizon).
        scale: (origins,), by which errors are divided, so that sequences of unlike size count
            alike.
        stretches: number of stretches of origins whose forecasts are about other steps.

    Examples:
        >>> truth = np.array([[1.0, 2.0], [3.0, 5.0]])
        >>> near, far = truth + 0.1, truth + 9.0
        >>> found = stack(("near", "far"), np.stack([near, far]), truth, np.ones(2), 1)
        >>> found.weights.tolist()
        [1.0, 0.0]
    """
    from scipy.optimize import nnls  # only training needs it

    units = scale[:, None] / scale.mean()
    x, y = (predicted / units).reshape(len(names), -1).T, (truth / units).ravel()
    errors = np.abs(x - y[:, None]).mean(0)
    size = max(np.abs(y).mean(), 1e-12)
    prior = 1 / (errors / size + 1e-9) ** 2
    prior /= prior.sum()
    pull = np.sqrt(SHRINKAGE / stretches * len(y)) * errors.min() / size
    one = SUM_TO_1 * np.sqrt(len(y))
    rows = np.concatenate([x / size, pull * np.eye(len(names)), np.full((1, len(names)), one)])
    weights, _ = nnls(rows, np.concatenate([y / size, pull * prior, [one]]))
    weights /= weights.sum()
    weights = np.where(weights >= min(LEAST_WEIGHT, weights.max()), weights, 0.0)
    weights /= weights.sum()
    return Stacking(names, weights, errors, float(np.abs(x @ weights - y).mean()))
