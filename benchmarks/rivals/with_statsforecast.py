"""The automatic classical forecasters of statsforecast, and the series of two libraries.

The series are those that pmdarima and statsmodels have on disk: no download.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from _worker import Loaded, MissingError, Rival, serve

NEEDED = ("statsforecast", "pmdarima", "statsmodels")
LONGEST_SEASON = 24  # of AutoETS; beyond it MSTL
ARIMA_SEASON, ARIMA_STEPS = 12, 2_500  # beyond them AutoARIMA takes minutes
SHARE_PRICES = 1_500  # the last of 7,983

# name, first time, steps between times, their unit (of NumPy); None: no times
PMDARIMA = [
    ("airpassengers", "1949-01", 1, "M"),
    ("wineind", "1980-01", 1, "M"),
    ("sunspots", "1749-01", 1, "M"),
    ("ausbeer", "1956-01", 3, "M"),
    ("woolyrnq", "1965-01", 3, "M"),
    ("austres", "1971-04", 3, "M"),
    ("lynx", "1821", 1, "Y"),
    ("taylor", "2000-06-05T00:00", 30, "m"),
    ("heartrate", None, 1, None),
]


class Classical(Rival):
    def __init__(self, _: None) -> None:
        pass

    def measures(self) -> dict[str, Callable[..., dict[str, Any]]]:
        return {"series": lambda: {"series": _all_series()}, "forecasts": _forecasts}


def _forecasts(values: list[float], horizon: int, season: int, level: int) -> dict[str, Any]:
    """Forecasts of each method with the ends of its intervals of a level in percent, and its
    processor time.
    """
    from statsforecast.models import MSTL, AutoARIMA, AutoETS, AutoTheta

    own = season if season <= LONGEST_SEASON else 1
    methods = {
        "AutoETS": AutoETS(season_length=own) if own == season else MSTL(season_length=[season]),
        "AutoTheta": AutoTheta(season_length=season),
    }
    if season <= ARIMA_SEASON and len(values) <= ARIMA_STEPS:
        methods["AutoARIMA"] = AutoARIMA(season_length=season)
    found = {}
    for name, method in methods.items():
        began = time.process_time()
        ahead = method.forecast(y=np.array(values), h=horizon, level=[level])
        names = {"values": "mean", "low": f"lo-{level}", "high": f"hi-{level}"}
        found[name] = {own: np.asarray(ahead[its]).tolist() for own, its in names.items()}
        found[name]["cpu_s"] = time.process_time() - began
    return found


def _all_series() -> list[dict[str, Any]]:
    """Each series: its name, values, and times in ISO 8601 or None."""
    import pmdarima.datasets
    import statsmodels.datasets

    found = []
    for name, *spacing in PMDARIMA:
        found.append(_series(name, getattr(pmdarima.datasets, f"load_{name}")(), *spacing))
    prices = pmdarima.datasets.load_msft()[-SHARE_PRICES:]
    days = [str(day)[:10] for day in prices["Date"]]
    found.append({"name": "msft", "values": prices["Close"].tolist(), "times": days})

    shipped = statsmodels.datasets
    found.append(_series("nile", shipped.nile.load_pandas().data["volume"], "1871", 1, "Y"))
    yearly = shipped.sunspots.load_pandas().data["SUNACTIVITY"]
    found.append(_series("sunspots yearly", yearly, "1700", 1, "Y"))
    quarters = shipped.macrodata.load_pandas().data
    for name in ("realgdp", "unemp", "infl", "cpi"):
        found.append(_series(name, quarters[name], "1959-01", 3, "M"))
    months = shipped.elnino.load_pandas().data.iloc[:, 1:].to_numpy().ravel()
    found.append(_series("elnino", months, "1950-01", 1, "M"))
    weeks = shipped.co2.load_pandas().data["co2"]
    found.append(_series("co2", weeks, str(weeks.index[0])[:10], 7, "D"))
    return found


def _series(
    name: str, values: Sequence[float], first: str | None, steps: int, unit: str | None
) -> dict[str, Any]:
    known = np.asarray(values, "float64")
    known = known[: np.flatnonzero(np.isfinite(known))[-1] + 1]  # a last one may be missing
    last_known = np.maximum.accumulate(np.where(np.isfinite(known), np.arange(len(known)), 0))
    times = None
    if first is not None and unit is not None:
        every = np.datetime64(first, unit) + steps * np.arange(len(known))
        fine = "m" if unit == "m" else "D"
        times = [str(each).replace("T", " ") for each in every.astype(f"datetime64[{fine}]")]
    return {"name": name, "values": known[last_known].tolist(), "times": times}


def load() -> Loaded:
    try:
        versions = {name: version(name) for name in NEEDED}
    except ImportError as error:  # PackageNotFoundError
        raise MissingError(
            f"{error.name} is not installed, and the benchmark needs {', '.join(NEEDED)}: install "
            "them, or name an interpreter that has them with --python rivals=/path/to/python."
        ) from None
    return Classical, versions


if __name__ == "__main__":
    serve(load, {"classical": None})
