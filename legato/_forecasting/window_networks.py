"""Recurrent networks that forecast from a window, under several seeds, trained as one model.

Every seed is a branch with layers of its own on the same inputs. The loss is the mean over branches
and Adam, which does not depend on the size of a loss, works element by element, so each branch is
trained as if it were alone; only the batches are the same for all.

A network sees the changes of each target from a season before, and forecasts the difference from
the seasonal naive forecast; without a season, it sees each target relative to its last value, and
forecasts the difference from the naive forecast. For one sequence they are in units of their mean
absolute size in training, for several in units of that of the window itself (reversible instance
normalization: Kim, Kim, Tae, Park, Choi and Choo, ICLR 2022).

Of columns that are known ahead it also sees the values of each step ahead: a small layer, the same
for all of them, adds what they change to the forecast of that step alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from legato import layers
from legato._forecasting.known_effects import encode_columns
from legato._forecasting.network import CELLS, encode_inputs, standard_deviations
from legato._forecasting.task import Task
from legato._forecasting.train_config import Cell
from legato._models.model import Model
from legato._platform.random_state import temporary_seed

BATCH, UPDATES, SAMPLES = 32, 600, 960  # of a training; samples of an epoch, at least
EPSILON = 1e-6
LARGEST_CHANGE = 20.0  # that networks of several sequences learn, in units of the window's changes
KNOWN_UNITS = 16  # of the layer on what is known ahead


@dataclass(frozen=True)
class Architecture:
    """The networks of an ensemble.

    Attributes:
        cell, units, layers: as of ``Shape``.
        seeds: number of networks.
        steps: time steps that they see, at most the window, and more than the season.
        season: time steps of the season; 1 where there is none.
    """

    cell: Cell = "lstm"
    units: int = 32
    layers: int = 1
    seeds: int = 3
    steps: int = 24
    season: int = 1


class WindowNetworks:
    """Networks of one architecture, compiled once and trained on one set of windows after another.

    Args:
        task: the task; a forecast.
        architecture: the networks.
        windows: (samples, steps, inputs), on which the scaling is fitted.
        is_single: whether all windows are of one sequence, so that the scale is a constant.
        learning_rate: of Adam, at the beginning; it falls to 0 as half a cosine.
        seed: random seed of initial weights and of the samples.
    """

    def __init__(
        self,
        task: Task,
        architecture: Architecture,
        windows: np.ndarray,
        is_single: bool,
        learning_rate: float,
        seed: int,
    ):
        self.task, self.architecture, self.seed = task, architecture, seed
        self.windows, self.is_single = windows, is_single
        change = np.abs(self._changes(windows)).mean((0, 1))
        self._change = np.where(change > 0, change, 1.0)
        with temporary_seed(seed):
            inputs = [keras.Input(shape) for shape in self._seen_shapes]
            self.core = Model(inputs, layers.Concatenate()(self._branches(inputs)))
            schedule = keras.optimizers.schedules.CosineDecay(learning_rate, UPDATES)
            adam = keras.optimizers.Adam(schedule)
            outputs = task.horizon * len(task.targets)
            losses = [_loss_of(each, outputs) for each in range(architecture.seeds)]
            self.core.compile(optimizer=adam, loss="mse", metrics=losses)
            self.core.optimizer.build(self.core.trainable_variables)
        self._variables = [*self.core.variables, *self.core.optimizer.variables]
        self._initial = [np.array(each.value) for each in self._variables]
        self._scale = (np.zeros(1), np.ones(1))

    def fit(
        self,
        windows: np.ndarray,
        truth: np.ndarray,
        ahead: np.ndarray | None = None,
        **options: Any,
    ) -> dict[str, list]:
        """Train all networks from their initial weights.

        Args:
            windows: (samples, steps, inputs).
            truth: (samples, horizon, targets).
            ahead: (samples, horizon, known), what is known of the steps ahead, if anything is.
            options: of ``Model.fit``.

        Returns:
            The history: ``"loss"``, the mean over networks, and ``"network_1"`` and so on.
        """
        changes = ((truth - self._naive(windows)) / self._units(windows)).reshape(len(truth), -1)
        if not self.is_single:  # after a window of hardly any change they would drown all others
            changes = changes.clip(-LARGEST_CHANGE, LARGEST_CHANGE)
        self._scale = changes.mean(0), standard_deviations(changes)
        wanted = ((changes - self._scale[0]) / self._scale[1]).astype("float32")
        count = max(SAMPLES, len(wanted) // BATCH * BATCH)
        rng = np.random.default_rng(self.seed)
        if count > UPDATES * BATCH:  # more than all updates see
            count = UPDATES * BATCH
            drawn = rng.choice(len(wanted), count, replace=False)
        else:
            drawn = rng.permutation(np.arange(count) % len(wanted))
        for variable, value in zip(self._variables, self._initial, strict=True):
            variable.assign(value)
        with temporary_seed(self.seed):
            return self.core.fit(
                self._seen(windows[drawn], None if ahead is None else ahead[drawn]),
                np.tile(wanted[drawn], self.architecture.seeds),
                batch_size=BATCH,
                epochs=max(1, UPDATES * BATCH // count),
                **options,
            ).history

    def predict(self, windows: np.ndarray, ahead: np.ndarray | None = None) -> np.ndarray:
        """The mean forecast of all networks, (samples, horizon, targets), in raw numbers."""
        found = self.core.predict(self._seen(windows, ahead), batch_size=len(windows), verbose=0)
        found = found.reshape(len(windows), self.architecture.seeds, -1).mean(1)
        changes = (found * self._scale[1] + self._scale[0]).reshape(len(windows), -1, self.targets)
        return changes * self._units(windows) + self._naive(windows)

    @property
    def targets(self) -> int:
        """Number of targets."""
        return len(self.task.targets)

    def forecast_layers(self, inputs, ahead=None) -> Any:
        """The mean forecast as Keras layers with the trained weights, (rows, horizon, targets).

        Args:
            inputs: (rows, steps, inputs), raw numbers.
            ahead: (rows, horizon, known), raw numbers; None without known columns.
        """
        seen = self._seen_layers(inputs, ahead)
        branches = self._branches(seen)
        same = keras.Model(seen, branches).weights
        for weight, trained in zip(same, self.core.weights, strict=True):
            weight.assign(trained.value)
        mean = layers.Average()(branches) if len(branches) > 1 else branches[0]
        center, spread = self._scale
        change = layers.Normalization(mean=center, variance=spread**2, invert=True)(mean)
        change = layers.Reshape((self.task.horizon, self.targets))(change)
        naive = keras.ops.take(self._target_layers(inputs), self._naive_steps, axis=1)
        return change * self._unit_layers(inputs) + naive

    def _branches(self, seen: list) -> list:
        """The outputs of each network, (rows, horizon × targets), before unscaling.

        Args:
            seen: as ``_seen`` or ``_seen_layers`` gives it.
        """
        features, *more = seen
        if self._others:
            rest = Task("classify", tuple(self.task.inputs[at] for at in self._others), (), 0)
            known = self.windows[:, :, self._others].reshape(-1, len(self._others))
            encoded = encode_inputs(rest, more.pop(0), known)
            features = layers.Concatenate()([features, encoded])
        known = self._known_layers(more[0]) if more else None
        found = []
        for _ in range(self.architecture.seeds):
            each = features
            for level in range(self.architecture.layers):
                again = level < self.architecture.layers - 1
                cell = CELLS[self.architecture.cell]
                each = cell(self.architecture.units, return_sequences=again)(each)
            forecast = layers.Dense(self.task.horizon * self.targets)(each)
            if known is not None:
                state = layers.RepeatVector(self.task.horizon)(each)
                both = layers.Concatenate()([state, known])
                change = layers.Dense(KNOWN_UNITS, activation="tanh")(both)
                change = layers.Reshape((-1,))(layers.Dense(self.targets)(change))
                forecast = layers.Add()([forecast, change])
            found.append(forecast)
        return found

    def _known_layers(self, ahead) -> Any:
        """What is known of the steps ahead as scaled features, (rows, horizon, features)."""
        columns, places = self.task.known_columns, self.task.known_places
        seen = encode_columns(columns, self.windows[:, :, places].reshape(-1, len(places)))
        mean, spread = seen.mean(0, dtype="float64"), standard_deviations(seen.astype("float64"))
        scaling = layers.Normalization(mean=mean, variance=spread**2)
        return scaling(encode_columns(columns, ahead, keras.ops))

    # What the core is given: the changes, not the values, so that series of one shape share its
    # programs; then the other inputs and what is known ahead, if there are any.

    @property
    def _others(self) -> list[int]:
        return [at for at in range(len(self.task.inputs)) if at not in self.task.places]

    @property
    def _seen_shapes(self) -> list[tuple[int, int]]:
        season, steps = self.architecture.season, self.architecture.steps
        count, horizon = steps - season if season > 1 else steps, self.task.horizon
        shapes = [
            (count, self.targets),
            (count, len(self._others)),
            (horizon, len(self.task.known)),
        ]
        return [shape for shape in shapes if shape[1]]

    def _seen(self, windows: np.ndarray, ahead: np.ndarray | None) -> list[np.ndarray]:
        relative = self._changes_before(windows[..., self.task.places].astype("float64"))
        seen = [relative / self._units(windows)]
        if self._others:
            seen.append(self._steps_seen(windows)[..., self._others])
        seen = seen if ahead is None else [*seen, ahead]
        return [each.astype("float32") for each in seen]

    def _seen_layers(self, inputs, ahead) -> list:
        seen = [self._changes_before(self._target_layers(inputs)) / self._unit_layers(inputs)]
        if self._others:
            seen.append(keras.ops.take(self._steps_seen(inputs), self._others, axis=-1))
        return seen if ahead is None else [*seen, ahead]

    def _steps_seen(self, windows) -> Any:
        """The steps of windows, arrays or layers, that have a value a season before."""
        season = self.architecture.season
        return windows[:, season:] if season > 1 else windows

    def _changes_before(self, targets) -> Any:
        """The changes since a season before or, without a season, from the last value back."""
        season = self.architecture.season
        return self._steps_seen(targets) - (targets[:, :-season] if season > 1 else targets[:, -1:])

    # Naive forecasts, changes and their units: of arrays, and as layers.

    @property
    def _naive_steps(self) -> list[int]:
        """The step of the window that the (seasonal) naive forecast of each lead repeats."""
        season, steps = self.architecture.season, self.architecture.steps
        return [steps - season + lead % season for lead in range(self.task.horizon)]

    def _naive(self, windows: np.ndarray) -> np.ndarray:
        return windows[:, self._naive_steps][..., self.task.places].astype("float64")

    def _changes(self, windows: np.ndarray) -> np.ndarray:
        targets, season = windows[..., self.task.places].astype("float64"), self.architecture.season
        return targets[:, season:] - targets[:, :-season]

    def _units(self, windows: np.ndarray) -> np.ndarray:
        if self.is_single:
            return self._change
        size = np.abs(self._changes(windows)).mean(1, keepdims=True)
        return size + EPSILON * self._change

    def _target_layers(self, inputs) -> Any:
        return keras.ops.take(inputs, self.task.places, axis=-1)

    def _unit_layers(self, inputs) -> Any:
        change, season = self._change.astype("float32"), self.architecture.season
        if self.is_single:
            return change
        targets = self._target_layers(inputs)
        size = keras.ops.absolute(targets[:, season:] - targets[:, :-season])
        return keras.ops.add(keras.ops.mean(size, axis=1, keepdims=True), EPSILON * change)


def _loss_of(network: int, outputs: int) -> Callable:
    """The loss of one network, as a metric named after it; networks have so many outputs each."""
    own = slice(network * outputs, (network + 1) * outputs)

    def loss(truth, predicted):
        return keras.ops.mean(keras.ops.square(truth[:, own] - predicted[:, own]), axis=-1)

    loss.__name__ = f"network_{network + 1}"
    return loss
