"""A ``Forecaster`` as a forecaster of sktime, for its ``evaluate``, searches and pipelines.

Made by ``Forecaster.to_sktime``. ``X`` has the columns that are known ahead, as sktime means it.
"""

from typing import Any

from sktime.forecasting.base import BaseForecaster

from legato._forecasting.forecaster import Forecaster


class SktimeForecaster(BaseForecaster):
    """A forecaster of sktime; the parameters of legato's are ``forecaster__units`` and so on.

    Args:
        forecaster: the ``legato.Forecaster``; default: one with default parameters.
    """

    _tags = {  # noqa: RUF012  sktime's name and form
        "y_inner_mtype": "pd.DataFrame",
        "capability:multivariate": True,
        "X_inner_mtype": "pd.DataFrame",
        "capability:exogenous": True,
        "capability:insample": False,
        "capability:missing_values": False,
        "requires-fh-in-fit": False,
    }

    def __init__(self, forecaster: Forecaster | None = None):
        self.forecaster = forecaster
        super().__init__()

    def _fit(self, y: Any, X: Any = None, fh: Any = None) -> "SktimeForecaster":
        own = Forecaster() if self.forecaster is None else self.forecaster
        own = own.__sklearn_clone__()
        if X is not None:
            own.set_params(known=[str(each) for each in X.columns])
        self.forecaster_ = own.fit(y, X)
        return self

    def _predict(self, fh: Any, X: Any = None) -> Any:
        steps = fh.to_relative(self.cutoff).to_numpy().astype(int)
        found = self.forecaster_.predict(steps, X=X)
        found.index = fh.to_absolute_index(self.cutoff)
        return found
