"""The base class of the rivals Keras and legato: the same model and the same methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import _networks
import numpy as np
from _worker import Rival


@dataclass(frozen=True)
class Dialect:
    """The calls in which Keras and legato differ."""

    build: Callable[[_networks.Network], Any]
    reset: Callable[[Any], None]
    fit_options: Callable[[Any], dict[str, Any]]


class KerasRival(Rival):
    """A network compiled and trained in the usual way."""

    def __init__(self, network: _networks.Network, dialect: Dialect) -> None:
        self._network, self._dialect = network, dialect
        self._inputs, targets = _networks.samples(network)
        self._targets = _networks.one_hot(targets)
        self._model = dialect.build(network)
        self._model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])

    def fit(self, epochs: int) -> float:
        options = self._dialect.fit_options(self._model) if self._network.stateful else {}
        history = self._model.fit(
            self._inputs,
            self._targets,
            epochs=epochs,
            batch_size=self._network.batch_size,
            shuffle=self._network.shuffle,
            verbose=0,
            **options,
        )
        return float(history.history["accuracy"][-1])

    def losses(self) -> list[float]:
        self._model.set_weights(_networks.first_weights(self._network))
        losses = []
        for batches in _networks.check_orders(self._network):
            if self._network.stateful:
                self._dialect.reset(self._model)
            losses += [self._loss(rows) for rows in batches]
        return losses

    def _loss(self, rows: np.ndarray) -> float:
        self._model.reset_metrics()  # else the loss is a mean over the steps so far
        batch = self._inputs[rows], self._targets[rows]
        return float(self._model.train_on_batch(*batch, return_dict=True)["loss"])

    def calls(self) -> dict[str, Callable[[], Any]]:
        model, sample, batch_size = self._model, self._inputs[:1], self._network.batch_size
        return {
            "fit, one epoch": lambda: self.fit(1),
            "evaluate": lambda: model.evaluate(
                self._inputs, self._targets, batch_size=batch_size, verbose=0
            ),
            "predict, one sample": lambda: model.predict(sample, verbose=0),
            "predict_on_batch, one sample": lambda: model.predict_on_batch(sample),
            "model(x), one sample": lambda: np.asarray(model(sample)),
        }
