"""One Keras model of several forecasters and their weights, made of Keras's own layers.

A linear forecaster is a part of a ``Dense`` layer on the window; one of logarithms stands between
``log`` and ``exp``. The last layer of each target, ``Dense`` without bias, holds the weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from legato import layers
from legato._forecasting.linear_forecasters import LinearForecaster
from legato._forecasting.task import Task
from legato._forecasting.window_networks import WindowNetworks
from legato._models.model import Model

LARGEST_FALL = 1e3  # logarithms are of the least value in training divided by it, at least
MOST_RANGES = 10.0  # by which a forecast leaves the range of the values before
LARGEST_LOG = 80.0  # exp of more is infinite in 32-bit floats


@dataclass(frozen=True)
class Member:
    """A forecaster of one target.

    Attributes:
        name: its name.
        linear: the linear forecaster; None for the networks.
        least: the smallest value whose logarithm is taken; None: it forecasts the values.
    """

    name: str
    linear: LinearForecaster | None
    least: float | None = None

    def predict(self, windows: np.ndarray) -> np.ndarray:
        """Forecasts of a linear member after windows of raw numbers, (windows, horizon)."""
        assert self.linear is not None
        if self.least is None:
            return self.linear.predict(windows)
        logarithms = self.linear.predict(np.log(np.maximum(windows, self.least)))
        return np.exp(np.minimum(logarithms, LARGEST_LOG))


def build_ensemble(
    task: Task,
    window: int,
    pad: float,
    members: Sequence[Sequence[Member]],
    weights: Sequence[Mapping[str, float]],
    networks: WindowNetworks | None,
    spans: Sequence[float] | None = None,
) -> Model:
    """Build the model: (rows, time steps, inputs) → (rows, horizon × targets), raw numbers.

    It sees the last ``window`` time steps, and takes no fewer.

    Args:
        task: the task.
        window: time steps that it sees.
        pad: the padding value; padding before the first time step is replaced by that step.
        members: for each target, its forecasters.
        weights: for each target, the weights of its members by name.
        networks: the trained networks; None if no member is one.
        spans: for each target, the range of values that limits its forecasts even where its window
            has a smaller one; see ``forecast_limits``. None: only that of the window.
    """
    inputs: Any = keras.Input((None, len(task.inputs)), name="steps")
    recent = layers.Reshape((window, len(task.inputs)), name="window")(inputs[:, -window:])
    filled = _fill_padding(recent, pad)
    by_network = None
    if networks is not None:
        by_network = networks.forecast_layers(filled[:, -networks.architecture.steps :])
    found = []
    for at, (place, own, weight) in enumerate(zip(task.places, members, weights, strict=True)):
        series, suffix = filled[:, :, place], f"_{at}" if len(members) > 1 else ""
        values = [each for each in own if each.linear is not None and each.least is None]
        logarithms = [each for each in own if each.linear is not None and each.least is not None]
        parts = [
            *_linear_layers(series, values, f"linear{suffix}"),
            *_linear_layers(series, logarithms, f"linear_of_logarithms{suffix}"),
            *([] if by_network is None else [by_network[:, :, at : at + 1]]),
        ]
        order = [*values, *logarithms, *(each for each in own if each.linear is None)]
        kernel = [[weight[each.name]] for each in order]
        if by_network is not None and len(order) == len(values) + len(logarithms):
            kernel.append([0.0])  # another target has the networks
        stacked = layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
        limited = _limit(stacked, series, 0.0 if spans is None else spans[at])
        found.append(_constant_dense(limited, f"weights{suffix}", np.array(kernel)))
    answers = layers.Concatenate()(found) if len(found) > 1 else found[0]
    return Model(inputs, layers.Reshape((-1,), name="forecast")(answers))


def forecast_limits(windows: np.ndarray, span: float) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest forecast of a member after some windows, (windows, 1) each.

    A forecast leaves the range of its window by at most ``MOST_RANGES`` times that range. So a
    member that multiplies its errors, as an autoregression or the exponential of a logarithm can,
    does not outweigh all others.

    Args:
        windows: (windows, steps).
        span: the least range that counts, so that a window without a change allows others.
    """
    low, high = windows.min(1, keepdims=True), windows.max(1, keepdims=True)
    reach = MOST_RANGES * np.maximum(high - low, span)
    return low - reach, high + reach


def _limit(forecasts, series, span: float) -> Any:
    """Limit forecasts (rows, horizon, members) as ``forecast_limits`` says, as layers."""
    low: Any = keras.ops.min(series, axis=1, keepdims=True)
    high: Any = keras.ops.max(series, axis=1, keepdims=True)
    widest: Any = keras.ops.maximum(high - low, span)
    reach = MOST_RANGES * widest
    low, high = keras.ops.expand_dims(low - reach, -1), keras.ops.expand_dims(high + reach, -1)
    return keras.ops.minimum(keras.ops.maximum(forecasts, low), high)


def _fill_padding(inputs, pad: float) -> Any:
    """Replace padding before the first time step by that step."""
    there = keras.ops.any(keras.ops.not_equal(inputs, pad), axis=-1)  # (rows, steps)
    first = keras.ops.argmax(keras.ops.cast(there, "int32"), axis=1)
    chosen = keras.ops.expand_dims(keras.ops.one_hot(first, inputs.shape[1]), -1)
    value = keras.ops.sum(inputs * chosen, axis=1, keepdims=True)
    return keras.ops.where(keras.ops.expand_dims(there, -1), inputs, value)


def _linear_layers(series, members: Sequence[Member], name: str) -> list:
    """Linear members, all of values or all of logarithms, as one part (rows, horizon, members)."""
    linear = [each.linear for each in members if each.linear is not None]
    if not linear:
        return []
    least = members[0].least
    if least is not None:
        series = keras.ops.log(keras.ops.maximum(series, least))
    kernel = np.concatenate([each.matrix for each in linear]).T
    found = _constant_dense(series, name, kernel, np.concatenate([each.offset for each in linear]))
    if least is not None:
        found = keras.ops.exp(keras.ops.minimum(found, LARGEST_LOG))
    return [layers.Permute((2, 1))(layers.Reshape((len(linear), -1))(found))]


def _constant_dense(inputs, name: str, kernel: np.ndarray, bias: np.ndarray | None = None) -> Any:
    """A ``Dense`` layer with known weights that are not trained."""
    layer = layers.Dense(kernel.shape[1], use_bias=bias is not None, trainable=False, name=name)
    found = layer(inputs)
    layer.set_weights([kernel] if bias is None else [kernel, bias])
    return found
