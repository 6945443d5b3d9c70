"""Plain Keras on the backend named by the first argument: jax, tensorflow or torch.

Network 5 resets its state by a callback before every epoch, which is cheaper than one `fit` an
epoch. On JAX Keras silently drops the state of a stateful layer: network 5 is timed there too, but
as a stateless network (`fit_rate.py --check` shows it).
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from _keras_rival import Dialect, KerasRival
from _networks import LETTERS, Network, first_weights
from _stepwise import Feed, Way
from _worker import Loaded, serve


def build(network: Network) -> Any:
    """The network; a stateful one needs its batch size."""
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


def with_state(network: Network) -> Any:
    """The network with the state before a step as input and the state after it as output."""
    from keras import Input, Model, layers

    x = Input((network.time_steps, network.features))
    state = [Input((network.units,)), Input((network.units,))]
    hidden, *after = layers.LSTM(network.units, return_state=True)(x, initial_state=state)
    return Model([x, *state], [layers.Dense(LETTERS, activation="softmax")(hidden), *after])


class Keras(KerasRival):
    """Plain Keras, with a stateful model or with the state as input and output."""

    def ways(self) -> dict[str, Way]:
        network, shape = self._network, (1, 1, self._network.features)
        stateful, explicit = build(network), with_state(network)
        for model in (stateful, explicit):
            model.set_weights(first_weights(network))

        def begin(call: Callable) -> Feed:
            state = [np.zeros((1, network.units), "float32")] * 2

            def feed(x: np.ndarray) -> np.ndarray:
                nonlocal state
                answer, *state = call([x, *state])
                return answer

            return feed

        def begin_stateful(call: Callable) -> Feed:
            reset(stateful)
            return call

        return {
            f"{verb}, {kind}": Way(partial(first, partial(getattr(model, verb), **options)), shape)
            for verb, options in (("predict", {"verbose": 0}), ("predict_on_batch", {}))
            for kind, first, model in (
                ("stateful", begin_stateful, stateful),
                ("state by hand", begin, explicit),
            )
        }


def load() -> Loaded:
    """Import Keras on the chosen backend."""
    backend = sys.argv[1]
    os.environ["KERAS_BACKEND"] = backend
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    version = importlib.import_module(backend).__version__
    import keras

    dialect = Dialect(build, reset, fit_options)
    versions = {"keras": keras.__version__, backend: version}
    return partial(Keras, dialect=dialect), versions


if __name__ == "__main__":
    serve(load)
