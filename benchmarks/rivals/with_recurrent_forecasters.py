"""The recurrent forecasters of NeuralForecast and Darts, as their documentation shows them.

NeuralForecast's ``LSTM`` with its defaults: 1,000 updates, scaled robustly, on three horizons of
history. Darts's ``RNNModel`` of LSTM cells with its defaults (100 epochs), on scaled values.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
from _worker import Loaded, MissingError, Rival, serve

QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "logger": False}


class Recurrent(Rival):
    def __init__(self, _: None) -> None:
        pass

    def measures(self) -> dict[str, Callable[..., dict[str, Any]]]:
        return {"forecasts": _forecasts}


def _neuralforecast(values: np.ndarray, horizon: int) -> np.ndarray:
    import pandas as pd
    from neuralforecast import NeuralForecast
    from neuralforecast.models import LSTM

    frame = pd.DataFrame({"unique_id": "one", "ds": np.arange(len(values)), "y": values})
    network = LSTM(h=horizon, random_seed=1, **QUIET, enable_model_summary=False)
    every = NeuralForecast(models=[network], freq=1)
    every.fit(df=frame)
    return every.predict()["LSTM"].to_numpy()


def _darts(values: np.ndarray, horizon: int) -> np.ndarray:
    from darts import TimeSeries
    from darts.dataprocessing.transformers import Scaler
    from darts.models import RNNModel

    scaler = Scaler()
    known = scaler.fit_transform(TimeSeries.from_values(values.astype("float32")))
    length = max(horizon, min(3 * horizon, len(values) // 3))
    network = RNNModel(
        input_chunk_length=length,
        training_length=min(length + horizon, len(values) - 1),
        model="LSTM",
        random_state=1,
        pl_trainer_kwargs=QUIET,
    )
    network.fit(known)
    return scaler.inverse_transform(network.predict(horizon)).values()[:, 0]


LIBRARIES = {"neuralforecast": _neuralforecast, "darts": _darts}
NAMES = {"neuralforecast": "NeuralForecast LSTM", "darts": "Darts LSTM"}


def _forecasts(values: list[float], horizon: int) -> dict[str, Any]:
    """Forecasts of the networks of each library that is installed, and their processor time."""
    found = {}
    for library in filter(find_spec, LIBRARIES):
        began = time.process_time()
        ahead = LIBRARIES[library](np.array(values), horizon)
        cpu_s = time.process_time() - began
        found[NAMES[library]] = {"values": np.asarray(ahead, float).tolist(), "cpu_s": cpu_s}
    return found


def load() -> Loaded:
    versions = {each: version(each) for each in filter(find_spec, (*LIBRARIES, "torch"))}
    if not LIBRARIES.keys() & versions.keys():
        raise MissingError(
            "Neither neuralforecast nor darts is installed: install one, or name an interpreter "
            "that has it with --python recurrent=/path/to/python."
        )
    import torch

    torch.set_num_threads(1)  # small networks; several threads wait for each other
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    return Recurrent, versions


if __name__ == "__main__":
    serve(load, {"recurrent": None})
