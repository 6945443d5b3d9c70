"""Recurrent networks that label whole sequences, under several seeds, trained as one model.

Each reads the pooled steps of a sequence in both directions; the mean and the maximum of its states
over time are what its last layer sees. As in ``window_networks`` every seed is a branch of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from legato import layers
from legato._forecasting.network import CELLS
from legato._forecasting.ridge_classifier import softmax
from legato._forecasting.train_config import Cell
from legato._models.model import Model
from legato._platform.random_state import temporary_seed

BATCH, UPDATES, MAX_UPDATES = 16, 400, 4_000  # of a training
PASSES = 20  # over many sequences, as far as MAX_UPDATES allows
EPOCHS = 20  # that the samples are drawn for, at most
DROPOUT = 0.3  # of what the last layer sees
RATE = 5 / 3  # the learning rate relative to that of a single network
BELOW = 9.0  # below every state


@dataclass(frozen=True)
class Readers:
    """The networks.

    Attributes:
        cell, layers: as of ``Shape``.
        units: of each layer, both directions together.
        seeds: number of networks.
    """

    cell: Cell = "lstm"
    units: int = 32
    layers: int = 1
    seeds: int = 3


class SequenceNetworks:
    """Networks of one architecture, compiled once, to be trained on one set after another.

    Args:
        readers: the networks.
        steps, columns: of the pooled steps; the last column is 0 at padding.
        classes: number of labels.
        sequences: of a training, about.
        learning_rate: of a single network.
        seed: random seed of initial weights and of the samples.
    """

    def __init__(
        self,
        readers: Readers,
        steps: int,
        columns: int,
        classes: int,
        sequences: int,
        learning_rate: float,
        seed: int,
    ):
        self.readers, self.classes, self.seed = readers, classes, seed
        self.updates = max(UPDATES, min(MAX_UPDATES, PASSES * sequences // BATCH))
        self.epochs = max(1, min(EPOCHS, self.updates * BATCH // sequences))
        with temporary_seed(seed):
            inputs = keras.Input((steps, columns), name="steps")
            scores = layers.Concatenate()([self._branch(inputs, DROPOUT) for _ in self._seeds])
            scores = layers.Reshape((readers.seeds, classes))(scores)
            self.core = Model(inputs, scores)
            schedule = keras.optimizers.schedules.CosineDecay(RATE * learning_rate, self.updates)
            self.core.compile(
                optimizer=keras.optimizers.Adam(schedule),
                loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                metrics=[_loss_of(each) for each in self._seeds],
            )
            self.core.optimizer.build(self.core.trainable_variables)
        self._variables = [*self.core.variables, *self.core.optimizer.variables]
        self._initial = [np.array(each.value) for each in self._variables]

    def fit(self, pooled: np.ndarray, labels: np.ndarray, **options: Any) -> dict[str, list]:
        """Train all networks from their initial weights.

        The history has ``"loss"``, the mean over networks, and ``"network_1"`` and so on.

        Args:
            pooled: (sequences, steps, columns).
            labels: (sequences,), from 0.
            options: of ``Model.fit``.
        """
        rng = np.random.default_rng(self.seed)
        count = max(1, self.updates // self.epochs) * BATCH
        rounds = [rng.permutation(len(labels)) for _ in range(-(-count // len(labels)))]
        drawn = np.concatenate(rounds)[:count]
        for variable, value in zip(self._variables, self._initial, strict=True):
            variable.assign(value)
        with temporary_seed(self.seed):
            return self.core.fit(
                pooled[drawn],
                np.repeat(labels[drawn, None], self.readers.seeds, axis=1).astype("int32"),
                batch_size=BATCH,
                epochs=self.epochs,
                **options,
            ).history

    def predict(self, pooled: np.ndarray) -> np.ndarray:
        """The mean probabilities of all networks, (sequences, classes)."""
        size = -(-len(pooled) // BATCH) * BATCH
        rows = pooled[np.arange(size) % len(pooled)]
        scores = self.core.predict(rows, batch_size=BATCH, verbose=0)[: len(pooled)]
        return softmax(np.asarray(scores)).mean(1)

    def probability_layers(self, pooled) -> Any:
        """The mean probabilities as layers with the trained weights, of pooled steps."""
        branches = [self._branch(pooled, 0.0) for _ in self._seeds]
        same = keras.Model(pooled, branches).weights
        for weight, trained in zip(same, self.core.weights, strict=True):
            weight.assign(trained.value)
        chances = [layers.Softmax()(each) for each in branches]
        return layers.Average()(chances) if len(chances) > 1 else chances[0]

    @property
    def _seeds(self) -> range:
        return range(self.readers.seeds)

    def _branch(self, inputs, dropout: float) -> Any:
        """The scores of one network, (rows, classes)."""
        ops: Any = keras.ops
        valid = inputs[..., -1:]
        mask, states = ops.greater(inputs[..., -1], 0), inputs
        for _ in range(self.readers.layers):
            cell = CELLS[self.readers.cell]
            one_way = cell(-(-self.readers.units // 2), return_sequences=True)
            states = layers.Bidirectional(one_way)(states, mask=mask)
        count = ops.maximum(ops.sum(valid, axis=1), 1.0)
        mean = ops.sum(states * valid, axis=1) / count
        most = ops.max(states * valid - (1 - valid) * BELOW, axis=1)
        seen = layers.Concatenate()([mean, most])
        if dropout:
            seen = layers.Dropout(dropout)(seen)
        return layers.Dense(self.classes)(seen)


def _loss_of(network: int) -> Callable:
    """The loss of one network, as a metric of all."""

    def loss(truth, scores):
        return keras.losses.sparse_categorical_crossentropy(
            truth[:, network], scores[:, network], from_logits=True
        )

    loss.__name__ = f"network_{network + 1}"
    return loss
