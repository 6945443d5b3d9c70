"""Plain Keras on the backend named by the first argument: jax, tensorflow or torch.

Network 5 resets its state by a callback before every epoch, which is cheaper than one `fit` an
epoch. On JAX Keras drops the state of a stateful layer without a word: there network 5 is timed all
the same, but what it trains is stateless (`fit_rate.py --check` shows it).
"""

from __future__ import annotations

import importlib
import os
import sys
from functools import partial
from typing import Any

from _keras_rival import Dialect, KerasRival
from _networks import LETTERS, Network
from _worker import Loaded, serve


def build(network: Network) -> Any:
    """The network; a stateful one must be told its batch size."""
    import keras

    rows = network.batch_size if network.stateful else None
    return keras.Sequential(
        [
            keras.Input(batch_shape=(rows, network.time_steps, network.features)),
            keras.layers.LSTM(network.units, stateful=network.stateful),
            keras.layers.Dense(LETTERS, activation="softmax"),
        ]
    )


def reset(model: Any) -> None:
    """Zero the state of the one recurrent layer."""
    model.layers[0].reset_state()


def fit_options(model: Any) -> dict[str, Any]:
    """A callback that resets the state before every epoch."""
    import keras

    begin = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: reset(model))
    return {"callbacks": [begin]}


def load() -> Loaded:
    """Import Keras on the chosen backend."""
    backend = sys.argv[1]
    os.environ["KERAS_BACKEND"] = backend
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    version = importlib.import_module(backend).__version__
    import keras

    dialect = Dialect(build, reset, fit_options)
    versions = {"keras": keras.__version__, backend: version}
    return partial(KerasRival, dialect=dialect), versions


if __name__ == "__main__":
    serve(load)
