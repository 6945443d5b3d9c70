"""One Keras model of several forecasters and their weights, made of Keras's own layers.

A linear forecaster is a part of a ``Dense`` layer on the window; one of logarithms stands between
``log`` and ``exp``. Where columns are known ahead, some forecast what is left of the target without
their effects, and the effects of the steps ahead are added. The last layer of each target,
``Dense`` without bias, holds the weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from legato import layers
from legato._forecasting.known_effects import KnownEffects
from legato._forecasting.linear_forecasters import LinearForecaster
from legato._forecasting.task import Task
from legato._forecasting.window_networks import WindowNetworks
from legato._models.model import Model

LARGEST_FALL = 1e3  # logarithms are of the least value in training divided by it, at least
MOST_RANGES = 10.0  # by which a forecast leaves the range of the values before
LARGEST_LOG = 80.0  # exp of more is infinite in 32-bit floats
_KINDS = {  # names of layers
    (False, False): "linear",
    (True, False): "linear_of_logarithms",
    (False, True): "linear_with_known",
    (True, True): "linear_of_logarithms_with_known",
}


@dataclass(frozen=True)
class Member:
    """A forecaster of one target.

    Attributes:
        name: its name.
        linear: the linear forecaster; None for the networks.
        least: the smallest value whose logarithm is taken; None: it forecasts the values.
        effects: of the columns known ahead, without which it forecasts; None: it ignores them.
    """

    name: str
    linear: LinearForecaster | None
    least: float | None = None
    effects: KnownEffects | None = None

    def predict(self, windows: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
        """Forecasts of a linear member after windows of raw numbers, (windows, horizon).

        Args:
            windows: (windows, steps).
            known: (windows, steps + horizon, known), the columns known ahead; None without effects.
        """
        assert self.linear is not None
        series, ahead = windows, 0.0
        if self.least is not None:
            series = np.log(np.maximum(windows, self.least))
        if self.effects is not None and known is not None:
            before, ahead = self.effects.split(series, known)
            series = series - before
        found = self.linear.predict(series) + ahead
        return found if self.least is None else np.exp(np.minimum(found, LARGEST_LOG))

    @property
    def kind(self) -> tuple[bool, bool]:
        """Whether it forecasts logarithms, and whether it knows of columns ahead."""
        return self.least is not None, self.effects is not None


@dataclass(frozen=True)
class Limits:
    """What limits the forecasts of a target's members, beside the window: see ``around``.

    Attributes:
        span: the least range of values that counts, so that a window without a change allows
            others.
        floor: 0 if the target was never negative, else minus infinity.
    """

    span: float = 0.0
    floor: float = -np.inf

    def around(self, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The least and the largest forecast of a member after some windows, (windows, 1) each.

        A forecast leaves the range of its window by at most ``MOST_RANGES`` times that range. So a
        member that multiplies its errors, as an autoregression or the exponential of a logarithm
        can, does not outweigh all others. Nor is it below the floor, unless the window is.

        Args:
            windows: (windows, steps).
        """
        low, high = windows.min(1, keepdims=True), windows.max(1, keepdims=True)
        reach = MOST_RANGES * np.maximum(high - low, self.span)
        below = np.where(low >= self.floor, np.maximum(low - reach, self.floor), low - reach)
        return below, high + reach

    def apply(self, forecasts, series) -> Any:
        """Limit forecasts (rows, horizon, members) after windows (rows, steps), as layers."""
        low: Any = keras.ops.min(series, axis=1, keepdims=True)
        high: Any = keras.ops.max(series, axis=1, keepdims=True)
        widest: Any = keras.ops.maximum(high - low, self.span)
        reach = MOST_RANGES * widest
        below = low - reach
        if self.floor > -np.inf:
            floored = keras.ops.maximum(below, self.floor)
            below = keras.ops.where(low >= self.floor, floored, below)
        low, high = keras.ops.expand_dims(below, -1), keras.ops.expand_dims(high + reach, -1)
        return keras.ops.minimum(keras.ops.maximum(forecasts, low), high)


def build_ensemble(
    task: Task,
    window: int,
    pad: float,
    members: Sequence[Sequence[Member]],
    weights: Sequence[Mapping[str, float]],
    networks: WindowNetworks | None,
    limits: Sequence[Limits] | None = None,
    effects: Sequence[KnownEffects | None] | None = None,
) -> Model:
    """Build the model: (rows, time steps, inputs) → (rows, horizon × targets), raw numbers.

    It sees the last ``window`` time steps; where there are fewer, the first stands for those
    before it. If columns are known ahead, it has a second input, (rows, horizon, known).

    Args:
        task: the task.
        window: time steps that it sees.
        pad: the padding value; padding before the first time step is replaced by that step.
        members: for each target, its forecasters.
        weights: for each target, the weights of its members by name.
        networks: the trained networks; None if no member is one.
        limits: of the forecasts of each target; None: only the window limits them.
        effects: for each target, the effects without which the networks forecast it; None: none.
    """
    inputs: Any = keras.Input((None, len(task.inputs)), name="steps")
    ahead = keras.Input((task.horizon, len(task.known)), name="ahead") if task.known else None
    padded: Any = keras.ops.pad(inputs, ((0, 0), (window, 0), (0, 0)), constant_values=pad)
    recent = layers.Reshape((window, len(task.inputs)), name="window")(padded[:, -window:])
    filled = _fill_padding(recent, pad)
    known = None
    if ahead is not None:
        past = keras.ops.take(filled, task.known_places, axis=-1)
        known = layers.Concatenate(axis=1, name="known")([past, ahead])
    by_network = None
    if networks is not None:
        effects = effects or [None] * len(task.targets)
        by_network = _network_layers(networks, filled, ahead, known, effects)
    found = []
    for at, (place, own, weight) in enumerate(zip(task.places, members, weights, strict=True)):
        series, suffix = filled[:, :, place], f"_{at}" if len(members) > 1 else ""
        order, parts = [], []
        for kind in dict.fromkeys(each.kind for each in own if each.linear is not None):
            alike = [each for each in own if each.linear is not None and each.kind == kind]
            parts.append(_linear_layers(series, alike, known, f"{_KINDS[kind]}{suffix}"))
            order += alike
        kernel = [[weight[each.name]] for each in order]
        if by_network is not None:
            parts.append(by_network[:, :, at : at + 1])
            own_weight = [weight[each.name] for each in own if each.linear is None]
            kernel.append(own_weight or [0.0])  # 0 if only another target has the networks
        stacked = layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
        limited = (Limits() if limits is None else limits[at]).apply(stacked, series)
        found.append(_constant_dense(limited, f"weights{suffix}", np.array(kernel)))
    answers = layers.Concatenate()(found) if len(found) > 1 else found[0]
    forecast = layers.Reshape((-1,), name="forecast")(answers)
    return Model(inputs if ahead is None else [inputs, ahead], forecast)


def _network_layers(
    networks: WindowNetworks, filled, ahead, known, effects: Sequence[KnownEffects | None]
) -> Any:
    """The forecast of the networks, (rows, horizon, targets), with the effects of known columns."""
    steps, window = networks.architecture.steps, filled.shape[1]
    if all(each is None for each in effects):
        return networks.forecast_layers(filled[:, -steps:], ahead)
    columns = [filled[:, :, at] for at in range(filled.shape[2])]
    added: list[Any] = []
    for place, each in zip(networks.task.places, effects, strict=True):
        if each is None:
            added.append(0.0 * known[:, window:, 0])
            continue
        effect = _effect_layers(each, columns[place], known)
        columns[place] = columns[place] - effect[:, :window]
        added.append(effect[:, window:])
    rest = keras.ops.stack(columns, axis=-1)[:, -steps:]
    return networks.forecast_layers(rest, ahead) + keras.ops.stack(added, axis=-1)


def _effect_layers(effects: KnownEffects, series, known) -> Any:
    """The effects of known columns in a window and after it, (rows, window + horizon)."""
    centred = effects.encode(known, keras.ops) - effects.center.astype("float32")
    found: Any = keras.ops.sum(centred * effects.weights.astype("float32"), axis=-1)
    if effects.is_relative:
        change: Any = keras.ops.absolute(series[:, 1:] - series[:, :-1])
        found = found * keras.ops.mean(change, axis=1, keepdims=True)
    return found


def _fill_padding(inputs, pad: float) -> Any:
    """Replace padding before the first time step by that step."""
    there = keras.ops.any(keras.ops.not_equal(inputs, pad), axis=-1)  # (rows, steps)
    first = keras.ops.argmax(keras.ops.cast(there, "int32"), axis=1)
    chosen = keras.ops.expand_dims(keras.ops.one_hot(first, inputs.shape[1]), -1)
    value = keras.ops.sum(inputs * chosen, axis=1, keepdims=True)
    return keras.ops.where(keras.ops.expand_dims(there, -1), inputs, value)


def _linear_layers(series, members: Sequence[Member], known, name: str) -> Any:
    """Linear members of one kind, as one part (rows, horizon, members)."""
    linear = [each.linear for each in members if each.linear is not None]
    least, effects, window = members[0].least, members[0].effects, series.shape[1]
    if least is not None:
        series = keras.ops.log(keras.ops.maximum(series, least))
    ahead = None
    if effects is not None:
        effect = _effect_layers(effects, series, known)
        series, ahead = series - effect[:, :window], effect[:, window:]
    kernel = np.concatenate([each.matrix for each in linear]).T
    found = _constant_dense(series, name, kernel, np.concatenate([each.offset for each in linear]))
    found = layers.Permute((2, 1))(layers.Reshape((len(linear), -1))(found))
    if ahead is not None:
        found = found + keras.ops.expand_dims(ahead, -1)
    return found if least is None else keras.ops.exp(keras.ops.minimum(found, LARGEST_LOG))


def _constant_dense(inputs, name: str, kernel: np.ndarray, bias: np.ndarray | None = None) -> Any:
    """A ``Dense`` layer with known weights that are not trained."""
    layer = layers.Dense(kernel.shape[1], use_bias=bias is not None, trainable=False, name=name)
    found = layer(inputs)
    layer.set_weights([kernel] if bias is None else [kernel, bias])
    return found
