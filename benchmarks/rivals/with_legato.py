"""legato in the usual way: no declared batch size, no callback, the state reset by `fit`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from _keras_rival import Dialect, KerasRival
from _legato_streams import LegatoStreams
from _networks import LETTERS, Network, first_weights
from _stepwise import Way
from _worker import Loaded, serve


def build(network: Network) -> Any:
    """The network; any number of rows fits."""
    from legato import Sequential, layers

    return Sequential(
        [
            layers.Input((network.time_steps, network.features)),
            layers.LSTM(network.units, stateful=network.stateful),
            layers.Dense(LETTERS, activation="softmax"),
        ]
    )


class Legato(KerasRival):
    """legato's model and its streams."""

    def ways(self) -> dict[str, Way]:
        self._model.set_weights(first_weights(self._network))
        return {"stream.feed": Way(lambda: self._model.stream().feed, (self._network.features,))}

    def measures(self) -> dict[str, Callable[..., dict[str, Any]]]:
        self._model.set_weights(first_weights(self._network))
        return LegatoStreams(self._model, self._network).measures()


def load() -> Loaded:
    """Import legato, and with it Keras on JAX."""
    import legato

    _ = legato.Sequential  # the front door is lazy: this is what imports Keras
    import jax
    import keras

    dialect = Dialect(build, lambda model: model.reset_states(), lambda model: {})
    version = getattr(legato, "__version__", "unreleased")
    versions = {"legato": version, "keras": keras.__version__, "jax": jax.__version__}
    return partial(Legato, dialect=dialect), versions


if __name__ == "__main__":
    serve(load)
