"""A ``Forecaster`` as a model of Darts, for its ``historical_forecasts`` and ``backtest``.

Made by ``Forecaster.to_darts``. It is a local model: it learns from one series, and from it alone.
"""

from typing import Any

from darts.models.forecasting.forecasting_model import (
    LocalForecastingModel,
)

from legato._forecasting.forecaster import Forecaster


class DartsModel(LocalForecastingModel):
    """A model of Darts.

    Args:
        forecaster: the ``legato.Forecaster``.
    """

    def __init__(self, forecaster: Forecaster):
        super().__init__()
        self.forecaster = forecaster

    @property
    def supports_multivariate(self) -> bool:
        """Whether a series may have several components, which are all forecast."""
        return True

    def fit(self, series: Any, verbose: bool | None = None) -> "DartsModel":
        """Train on a ``TimeSeries``."""
        super().fit(series)
        self.fitted_ = self.forecaster.__sklearn_clone__().fit(series.to_dataframe())
        return self

    def predict(self, n: int, num_samples: int = 1, **options: Any) -> Any:
        """Forecast ``n`` steps after the end, a ``TimeSeries``."""
        super().predict(n, num_samples, **options)
        return self._build_forecast_series(self.fitted_.forecast(n).values[0])
