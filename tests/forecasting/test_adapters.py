"""``Forecaster`` in the evaluations of sktime and Darts, where those are installed."""

import sys

import numpy as np
import pandas as pd
import pytest

from legato import Forecaster, MissingError

FORECASTER = Forecaster(units=2, epochs=1, horizon=3, test=0)
MONTHS = pd.period_range("2020-01", periods=48, freq="M")
SERIES = pd.Series(3 + np.sin(np.arange(48) / 3), index=MONTHS, name="sold")


@pytest.mark.filterwarnings("ignore::FutureWarning")  # sktime's own
def test_sktime_evaluates_and_searches():
    pytest.importorskip("sktime")
    from sktime.forecasting.model_evaluation import evaluate
    from sktime.forecasting.model_selection import ForecastingGridSearchCV
    from sktime.split import ExpandingWindowSplitter

    adapted = FORECASTER.to_sktime()
    found = adapted.clone().fit(SERIES).predict([1, 3])
    pd.testing.assert_series_equal(found, FORECASTER.fit(SERIES).predict([1, 3]))
    cutoffs = ExpandingWindowSplitter(initial_window=36, step_length=6, fh=[1, 2, 3])
    errors = evaluate(adapted, cutoffs, SERIES)["test_MeanAbsolutePercentageError"]
    truth, predicted = SERIES[36:39], FORECASTER.predict(y=SERIES[:36])
    again = Forecaster(**FORECASTER.get_params()).fit(SERIES[:36]).predict(3)
    assert not np.allclose(again, predicted)  # it is fitted for each cutoff
    assert np.isclose(errors[0], (np.abs(truth - again) / truth).mean())
    search = ForecastingGridSearchCV(adapted, cutoffs, {"forecaster__units": [1, 2]})
    assert search.fit(SERIES).best_params_["forecaster__units"] in (1, 2)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # sktime's own
def test_columns_of_sktime_are_known_ahead():
    pytest.importorskip("sktime")
    price = pd.DataFrame({"price": np.cos(np.arange(48) / 2)}, index=MONTHS)
    adapted = FORECASTER.to_sktime().fit(SERIES[:45], X=price[:45], fh=[1, 2, 3])
    own = Forecaster(**{**FORECASTER.get_params(), "known": ["price"]})
    own = own.fit(SERIES[:45].to_frame(), price[:45])
    found = adapted.predict(X=price[45:])
    np.testing.assert_array_equal(found, own.predict(3, future=price[45:])["sold"])
    assert not np.array_equal(adapted.predict(X=price[45:] + 1), found)


def test_darts_backtests():
    pytest.importorskip("darts")
    from darts import TimeSeries

    dated = SERIES.copy()
    dated.index = MONTHS.to_timestamp()
    series = TimeSeries.from_series(dated)
    model = FORECASTER.to_darts()
    found = model.fit(series).predict(4).to_series()
    expected = FORECASTER.fit(dated).predict(4)
    np.testing.assert_array_equal(found.to_numpy(), expected.to_numpy())
    assert found.index.equals(expected.index)
    options = {"start": 42, "forecast_horizon": 3, "stride": 3}
    assert model.historical_forecasts(series, **options).time_index[0] == dated.index[44]
    assert np.isfinite(model.backtest(series, **options))


@pytest.mark.parametrize(("method", "package"), [("to_sktime", "sktime"), ("to_darts", "darts")])
def test_a_library_that_is_not_installed_is_named(method, package, monkeypatch):
    for name in [package, *(each for each in sys.modules if each.startswith(f"{package}."))]:
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, f"legato._forecasting.{package}_adapter", raising=False)
    with pytest.raises(MissingError, match=f"the package {package}, which is not installed"):
        getattr(FORECASTER, method)()
