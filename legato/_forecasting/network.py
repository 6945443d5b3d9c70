"""The network for a task: raw numbers in, raw numbers or probabilities out.

Scaling and vocabularies are Keras preprocessing layers inside the network, with their fitted values
in their configuration, so that a saved model is self-contained and opens in plain Keras. A category
is an encoded number, and a ``Discretization`` layer finds its index (Keras's lookup layers need
TensorFlow, and JAX programs take no text).

A forecast is the last value plus a change, which the network predicts in standard deviations of the
changes in training. So a network whose last layer is 0 gives persistence (the last value) plus the
mean change, and forecasts can leave the range of training values.
"""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from legato import layers
from legato._errors import InputError
from legato._forecasting.task import Task
from legato._forecasting.train_config import Cell, Framing
from legato._models.model import Model

CELLS: dict[Cell, type] = {"lstm": layers.LSTM, "gru": layers.GRU, "simple": layers.SimpleRNN}
MIN_SPREAD, MAX_SPREAD = 1e-7, 1e18  # limits of Keras's Normalization in 32-bit floats
ROUNDING = 1e-6  # relative to the values: changes that vary by less are rounding errors
MAX_ONE_HOT = 64  # categories that are one-hot encoded; more are embedded


@dataclass(frozen=True)
class Shape:
    """The architecture of a network.

    Attributes:
        cell: type of the recurrent layers.
        units: units of each recurrent layer.
        layers: number of stacked recurrent layers.
        stateful: whether the layers carry state.
        framing: how sequences were cut into samples; only ``"chunks"`` has an output at every step.
        steps: time steps of a sample.
        bidirectional: whether each sample is also read backwards, by as many units.
        dropout: share of the outputs of each layer that training leaves out.
        recurrent_dropout: share of the state that training leaves out between steps.
    """

    cell: Cell = "lstm"
    units: int = 32
    layers: int = 1
    stateful: bool = True
    framing: Framing = "chunks"
    steps: int = 1
    bidirectional: bool = False
    dropout: float = 0.0
    recurrent_dropout: float = 0.0

    def __str__(self) -> str:
        return "ensemble" if self.framing == "ensemble" else f"{self.cell} of {self.units}"

    @property
    def at_every_step(self) -> bool:
        """Whether there is an output at every time step of a sample."""
        return self.framing == "chunks"


@dataclass(frozen=True)
class Networks:
    """Two models of the same layers.

    Attributes:
        core: the model that is trained; it predicts each change in standard deviations.
        model: the model for prediction, with unscaled inputs and outputs.
        pad: the padding value; a step that holds it in every column is masked.
        scale: (horizon × targets,), mean and standard deviation of the changes; None for labels.
    """

    core: Model
    model: Model
    pad: float
    scale: tuple[np.ndarray, np.ndarray] | None


def build_networks(
    task: Task, shape: Shape, values: np.ndarray, changes: np.ndarray | None
) -> Networks:
    """Build the network for a task.

    Args:
        task: the task.
        shape: the architecture.
        values: (time steps, inputs), the training part, on which the scaling is fitted.
        changes: (time steps, horizon × targets), target minus last known value, for each step
            ahead; None where the targets are labels.
    """
    steps = shape.steps if shape.framing in ("window", "features") else None
    inputs = keras.Input((steps, len(task.inputs)), name="steps")
    features = encode_inputs(task, inputs, values)
    pad = padding_value(values)
    mask: dict[str, Any] = {"mask": keras.ops.any(keras.ops.not_equal(inputs, pad), axis=-1)}
    if shape.framing == "features":
        features = layers.Reshape((1, shape.steps * features.shape[-1]))(features)
        mask = {}
    for level in range(shape.layers):
        every = shape.at_every_step or level < shape.layers - 1
        name = f"{shape.cell}_{level}" if level else shape.cell  # however many networks came before
        features = _recurrent_layer(shape, name, every)(features, **mask)
        if shape.dropout:
            features = layers.Dropout(shape.dropout, name=f"{name}_dropout")(features)
    if task.kind != "forecast":
        answers = layers.Dense(len(task.labels), activation="softmax", name="labels")(features)
        model = Model(inputs, answers)
        return Networks(model, model, pad, None)
    if changes is None:
        raise ValueError("a forecast needs the changes")
    size = np.tile(np.abs(values[:, task.places]).max(0), task.horizon)
    least = np.maximum(ROUNDING * size, MIN_SPREAD)
    mean, spread = changes.mean(0), np.maximum(changes.std(0), least)
    scaled = layers.Dense(len(mean), name="scaled")(features)
    change = layers.Normalization(mean=mean, variance=spread**2, invert=True, name="change")(scaled)
    last = inputs if shape.at_every_step else keras.ops.take(inputs, -1, axis=1)
    last = keras.ops.take(last, task.places * task.horizon, axis=-1)
    answers = layers.Add(name="forecast")([last, change])
    return Networks(Model(inputs, scaled), Model(inputs, answers), pad, (mean, spread))


def _recurrent_layer(shape: Shape, name: str, every: bool) -> Any:
    """A recurrent layer; ``every``: with an output at every step."""
    layer = CELLS[shape.cell](
        shape.units,
        stateful=shape.stateful,
        return_sequences=every,
        recurrent_dropout=shape.recurrent_dropout,
        name=name,
    )
    return layers.Bidirectional(layer, name=f"{name}_both_ways") if shape.bidirectional else layer


def encode_inputs(task: Task, inputs, values: np.ndarray):
    """Encode inputs as features: quantities scaled, categories one-hot or embedded."""
    quantities = [at for at, column in enumerate(task.inputs) if column.is_numeric]
    parts = []
    if quantities:
        part = values[:, quantities].astype("float64")
        check_spread([task.inputs[at].name for at in quantities], part)
        scaling = layers.Normalization(
            mean=part.mean(0), variance=standard_deviations(part) ** 2, name="scaling"
        )
        parts.append(scaling(keras.ops.take(inputs, quantities, axis=-1)))
    for at, column in enumerate(task.inputs):
        if column.numbers is not None:
            numbers = keras.ops.take(inputs, at, axis=-1)
            parts.append(_category(column.numbers, numbers, f"vocabulary_{at}"))
    return parts[0] if len(parts) == 1 else layers.Concatenate(name="features")(parts)


def _category(numbers: tuple[float, ...], inputs, name: str):
    """One-hot or embedded categories; padding, below all numbers, is encoded as all zeros."""
    bounds = np.array(numbers) - 0.5
    places = layers.Discretization(bin_boundaries=bounds.tolist(), name=name)(inputs)
    if len(numbers) > MAX_ONE_HOT:
        return layers.Embedding(len(numbers) + 1, MAX_ONE_HOT // 2, name=f"{name}_points")(places)
    return keras.ops.one_hot(places - 1, len(numbers))  # all zero for padding, at -1


def padding_value(values: np.ndarray) -> float:
    """The padding value: far below all values, and exact as a 32-bit float."""
    least, most = float(values.min()), float(values.max())
    return float(np.float32(np.floor(least - 1 - 2 * (most - least) - abs(least) / 100)))


def standard_deviations(values: np.ndarray) -> np.ndarray:
    """Standard deviations; 1 where nothing varies."""
    spread = values.std(0)
    return np.where(spread > 0, spread, 1.0)


def check_spread(names: list[str], values: np.ndarray) -> None:
    """Raise an InputError if quantities are too small or too large to be scaled."""
    for name, spread in zip(names, standard_deviations(values), strict=True):
        if not MIN_SPREAD <= spread <= MAX_SPREAD:
            way = "Multiply" if spread < MIN_SPREAD else "Divide"
            raise InputError(
                f"The column {name!r} varies by {spread:.1g}, and from {MIN_SPREAD:g} to "
                f"{MAX_SPREAD:g} was expected. {way} it by a power of ten: another unit will do."
            )
