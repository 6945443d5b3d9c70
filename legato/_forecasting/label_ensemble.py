"""An ensemble that labels whole sequences: random convolutions, summaries, recurrent networks.

Every member is fitted without a part of the sequences and labels that part, until each sequence
was labelled once by members that did not learn from it. That gives the weights of the members, and
the score: the weights with which a part is scored come from the other parts. Then the members that
count are fitted on everything. The result is one Keras model that sees a whole sequence at once.
"""

import time as clock
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

import keras
import numpy as np

from legato import layers
from legato._forecasting.backtest_result import LabelBacktest
from legato._forecasting.baselines import majority_probabilities
from legato._forecasting.network import (
    MAX_ONE_HOT,
    Networks,
    Shape,
    check_spread,
    encode_inputs,
    padding_value,
    standard_deviations,
)
from legato._forecasting.probability_pooling import LEAST, choose_weights, pool
from legato._forecasting.ridge_classifier import RidgeClassifier, fit_ridge_classifier
from legato._forecasting.sequence_features import SequenceFeatures
from legato._forecasting.sequence_networks import Readers, SequenceNetworks
from legato._forecasting.task import Task
from legato._forecasting.train_config import TrainConfig
from legato._models.model import Model
from legato._series.sequences import Sequences

PARTS = 5  # of the cross-validation
FEW = 1_000  # sequences, above which one part of them is held out once
LEAST_SEQUENCES, MAX_VALUES = 10, 10**8  # values with padding, a limit of memory
NEEDED = (
    f"there are at least {LEAST_SEQUENCES}, two labels have two of them or more, no input has more "
    f"than {MAX_ONE_HOT} categories, and their number times the steps of the longest times the "
    f"inputs is at most {MAX_VALUES:,}"
)
CONVOLUTIONS, SUMMARIES, NETWORK = MEMBERS = "random convolutions", "summaries", "network"
RIDGE = {CONVOLUTIONS: 0.01, SUMMARIES: 1e-6}  # least spread of a feature
Members = dict[str, RidgeClassifier | SequenceNetworks]


def can_label(sequences: Sequences, task: Task) -> bool:
    """Whether there are enough sequences of two labels, and not too many values or categories."""
    labels = sequences.values[sequences.offsets[:-1], sequences.place(task.targets[0].name)]
    _, counts = np.unique(labels, return_counts=True)
    few = all(len(each.categories or ()) <= MAX_ONE_HOT for each in task.inputs)
    few &= len(labels) * int(sequences.lengths.max()) * len(task.inputs) <= MAX_VALUES
    return few and len(labels) >= LEAST_SEQUENCES and int((counts > 1).sum()) > 1


def is_cross_validated(config: TrainConfig) -> bool:
    """Whether an ensemble is scored by its own cross-validation, and not on a test part."""
    return config.test is None and config.split is None and config.refit


class LabelEnsembleTrainer:
    """Fits ensembles that label sequences: the counterpart of ``Trainer`` for a single network.

    Args:
        longest: time steps of the longest sequence.
        config: its ``cell``, ``units``, ``layers``, ``learning_rate``, ``seed`` and ``verbose``.

    Attributes:
        shape: the architecture, as the model's file records it.
    """

    def __init__(self, longest: int, config: TrainConfig):
        self.config = config
        self.readers = Readers(**config.network)
        self.shape = Shape(**config.network, stateful=False, framing="ensemble", steps=longest)

    def fit(
        self, task: Task, sequences: Sequences
    ) -> tuple[Networks, dict[str, Any], LabelBacktest]:
        """Weigh the members by cross-validation, and fit those that count on everything.

        Args:
            task: to classify whole sequences.
            sequences: the data.

        Returns:
            The model; the record: members and weights, history of the networks, seconds; and the
            labels that the cross-validation gave.
        """
        begun = clock.perf_counter()
        data = _Data(task, sequences)
        fitter = _Fitter(data, self.readers, self.config)
        everything = np.arange(len(sequences))
        scored, predicted, part = self._label_unseen(data, fitter)
        weights = choose_weights(predicted, data.labels[scored])
        chosen = {name: each for name, each in zip(MEMBERS, weights.tolist(), strict=True) if each}
        model = _build(data, fitter, fitter.fit(everything, chosen), chosen)
        record = {
            "history": fitter.history,
            "samples": len(sequences),
            "rows": None,
            "padding": 0.0,
            "seconds_preparing": fitter.seconds_preparing,
            "seconds": clock.perf_counter() - begun,
            "ensemble": {
                "networks": asdict(self.readers),
                "parts": int(part.max()) + 1,
                "held_out": len(scored),
                "members": _describe_members(predicted, data.labels[scored], weights),
            },
        }
        unseen = _backtest(data, scored, predicted, part)
        return Networks(model, model, data.pad, None), record, unseen

    def _label_unseen(
        self, data: "_Data", fitter: "_Fitter"
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Label sequences by members that did not learn from them.

        Returns:
            (scored,) the sequences, (members, scored, classes) probabilities, (scored,) their part.
        """
        scored, predicted, parts = [], [], []
        for number, held_out in enumerate(_parts(data.labels, self.config.seed)):
            members = fitter.fit(np.setdiff1d(np.arange(len(data.labels)), held_out))
            predicted.append(fitter.predict(members, held_out))
            scored.append(held_out)
            parts.append(np.full(len(held_out), number))
        return np.concatenate(scored), np.concatenate(predicted, axis=1), np.concatenate(parts)


class _Data:
    """Sequences as arrays: raw and without padding, and their labels."""

    def __init__(self, task: Task, sequences: Sequences):
        self.task, self.lengths = task, sequences.lengths
        self.values = task.inputs_of(sequences)
        quantities = [at for at, column in enumerate(task.inputs) if column.is_numeric]
        names = [task.inputs[at].name for at in quantities]
        check_spread(names, self.values[:, quantities].astype("float64"))
        self.pad = padding_value(self.values)
        self.labels = task.answers_of(sequences)[0][sequences.offsets[:-1]]

    @property
    def classes(self) -> int:
        """Number of labels."""
        return len(self.task.labels)

    def encode(self, learnt: np.ndarray) -> np.ndarray:
        """All sequences, (sequences, time steps, columns + 1), scaled by those learnt from.

        Padding comes first; the last column is 1 at time steps and 0 at padding.
        """
        longest, known = int(self.lengths.max()), self.values[self.steps_of(learnt)]
        parts = []
        for at, column in enumerate(self.task.inputs):
            own = self.values[:, at]
            if column.numbers is None:
                part = known[:, at].astype("float64")
                parts.append((own - part.mean()) / standard_deviations(part))
            else:
                parts += [(own == number) for number in column.numbers]
        encoded = np.stack([*parts, np.ones(len(self.values))], axis=1).astype("float32")
        found = np.zeros((len(self.lengths), longest, encoded.shape[1]), "float32")
        there = np.arange(longest) >= longest - self.lengths[:, None]
        found[there] = encoded
        return found

    def steps_of(self, chosen: np.ndarray) -> np.ndarray:
        """Whether each time step is of one of some sequences, (time steps of all,)."""
        return np.repeat(np.isin(np.arange(len(self.lengths)), chosen), self.lengths)


class _Fitter:
    """Fits the members on some sequences, again and again, with programs compiled once."""

    def __init__(self, data: _Data, readers: Readers, config: TrainConfig):
        begun = clock.perf_counter()
        self.data, self.config, self.history = data, config, {"loss": []}
        steps = data.encode(np.arange(len(data.lengths)))
        columns = steps.shape[-1] - 1
        self.features = SequenceFeatures(data.lengths, columns, config.seed)
        pooled = -(-steps.shape[1] // self.features.stride)
        size = pooled, 2 * columns + 1
        options = data.classes, len(data.labels), config.learning_rate, config.seed
        self._networks = SequenceNetworks(readers, *size, *options)
        self._seen: dict[str, np.ndarray] = {}
        self.seconds_preparing = clock.perf_counter() - begun

    def fit(self, learnt: np.ndarray, names: Iterable[str] = MEMBERS) -> Members:
        """Fit members, by name, on some sequences."""
        data, steps, found = self.data, self.data.encode(learnt), {}
        self.features.fit(steps[learnt])
        self._seen = dict(zip(MEMBERS, self.features.transform(steps), strict=True))
        labels = data.labels[learnt]
        for name in names:
            seen = self._seen[name][learnt]
            if name == NETWORK:
                self.history = self._networks.fit(seen, labels, verbose=self.config.verbose)
                found[name] = self._networks
            else:
                options = data.classes, RIDGE[name], self.config.seed
                found[name] = fit_ridge_classifier(seen, labels, *options)
        return found

    def predict(self, members: Members, which: np.ndarray) -> np.ndarray:
        """The probabilities of members just fitted, (members, sequences, classes)."""
        return np.stack([each.predict(self._seen[name][which]) for name, each in members.items()])


def _parts(labels: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """The sequences of each part that is held out in turn, every label spread over the parts."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    number = np.arange(len(order)) % PARTS
    for part in range(PARTS if len(labels) <= FEW else 1):
        held_out = order[number == part]
        if len(labels) > FEW:
            held_out = rng.permutation(held_out)[:FEW]
        yield np.sort(held_out)


def _describe_members(
    predicted: np.ndarray, truth: np.ndarray, weights: np.ndarray
) -> list[dict[str, Any]]:
    """Names, weights and accuracies of the members in the cross-validation, as JSON takes them."""
    accuracies = (predicted.argmax(-1) == truth).mean(1)
    rows = zip(MEMBERS, weights.tolist(), accuracies.tolist(), strict=True)
    return [{"name": name, "weight": weight, "accuracy": share} for name, weight, share in rows]


def _backtest(
    data: _Data, scored: np.ndarray, predicted: np.ndarray, part: np.ndarray
) -> LabelBacktest:
    """The labels of the cross-validation, each part weighed as the others suggest."""
    truth = data.labels[scored]
    if part.max() == 0:
        part = np.arange(len(part)) % 2  # of a single part, each half as the other suggests
    pooled = np.empty(predicted.shape[1:])
    for number in np.unique(part):
        own = part == number
        weights = choose_weights(predicted[:, ~own], truth[~own])
        pooled[own] = pool(predicted[:, own], weights)
    beside = {"majority": majority_probabilities(data.labels, data.classes, len(truth))}
    order = np.argsort(scored)
    return LabelBacktest(
        scored[order],
        data.lengths[scored[order]] - 1,
        truth[order],
        pooled[order],
        beside,
        data.task.labels,
    )


def _build(data: _Data, fitter: _Fitter, members: Members, weights: dict[str, float]) -> Model:
    """The model: (rows, time steps, inputs), raw numbers → (rows, labels) probabilities.

    Args:
        data: the training data.
        fitter: the features of the members.
        members, weights: those that count, by name.
    """
    task = data.task
    inputs: Any = keras.Input((None, len(task.inputs)), name="steps")
    there = keras.ops.any(keras.ops.not_equal(inputs, data.pad), axis=-1)
    encoded: Any = encode_inputs(task, inputs, data.values)
    valid = keras.ops.expand_dims(keras.ops.cast(there, "float32"), -1)
    encoded = keras.ops.where(keras.ops.expand_dims(there, -1), encoded, 0.0)
    seen = fitter.features.layers(layers.Concatenate()([encoded, valid]))
    parts = []
    for name, features in zip(MEMBERS, seen, strict=True):
        member = members.get(name)
        if isinstance(member, RidgeClassifier):
            scores = layers.Dense(data.classes, trainable=False, name=name.replace(" ", "_"))
            chances = layers.Softmax()(scores(features))
            scores.set_weights([member.kernel, member.bias])
        elif member is not None:
            chances = member.probability_layers(features)
        else:
            continue
        logarithm: Any = keras.ops.log(keras.ops.maximum(chances, LEAST))
        parts.append(weights[name] * logarithm)
    total = layers.Add()(parts) if len(parts) > 1 else parts[0]
    model = Model(inputs, layers.Softmax(name="labels")(total))
    if CONVOLUTIONS in members:
        fitter.features.set_weights(model)
    return model
