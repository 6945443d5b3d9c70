"""Recurrent models of the sizes people train: shapes, samples and first weights, for all rivals.

One or two recurrent layers, of which the last returns its last output, and a Dense layer with one
output; mean squared error, Adam. NumPy only. Samples are uniform noise with a fixed seed. In a
model with masks every other row ends early: the steps after its end are zeros.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

GATES = {"LSTM": 4, "GRU": 3}


@dataclass(frozen=True)
class SequenceModel:
    """A model and its batches."""

    cell: str
    rows: int
    units: int
    inputs: int = 64
    steps: int = 100
    layers: int = 1
    dropout: float = 0.0  # between two layers
    masked: bool = False

    @property
    def name(self) -> str:
        """Cell, rows of a batch and units, and what is unusual."""
        more = [f"{self.steps} steps of {self.inputs}"] if self.inputs == 1 else []
        more += ["dropout, masks"] if self.masked else []
        layers = f"{self.layers} x " if self.layers > 1 else ""
        return ", ".join([f"{layers}{self.cell} {self.rows} x {self.units}", *more])

    @property
    def batches(self) -> int:
        """Batches in an epoch: few of those that take long."""
        return 100 if self.inputs == 1 else 4 if self.units >= 512 else 12

    def flop(self, training: bool) -> int:
        """Floating-point operations of a batch that its matrix products need.

        In training those of the outputs, of the weights' gradients, and of the gradients with
        respect to the states and to the inputs of all layers but the first.
        """
        size = 2 * self.rows * self.steps * GATES[self.cell] * self.units
        first = size * (self.inputs * (2 if training else 1) + self.units * (3 if training else 1))
        further = size * 2 * self.units * (3 if training else 1)
        return first + (self.layers - 1) * further


_ALL = [
    *(SequenceModel("LSTM", 32, units) for units in (64, 128, 256, 512)),
    SequenceModel("LSTM", 128, 64),
    *(SequenceModel("LSTM", 1, units) for units in (128, 512)),
    *(SequenceModel("GRU", rows, units) for rows, units in ((32, 64), (32, 128), (128, 64))),
    SequenceModel("LSTM", 32, 128, layers=2, dropout=0.2, masked=True),
    SequenceModel("LSTM", 32, 16, inputs=1, steps=10),
    SequenceModel("GRU", 32, 32, inputs=1, steps=25),
]
MODELS = {model.name: model for model in _ALL}


def lengths(model: SequenceModel) -> np.ndarray:
    """Steps of each sample that are not masked, (samples,)."""
    samples = model.rows * model.batches
    if not model.masked:
        return np.full(samples, model.steps)
    drawn = np.random.default_rng(2).integers(1, model.steps + 1, samples)
    return np.where(np.arange(samples) % 2, drawn, model.steps)


def samples(model: SequenceModel) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (samples, steps, inputs) and targets (samples, 1), float32."""
    generator, ends = np.random.default_rng(1), lengths(model)
    inputs = generator.uniform(-1, 1, (len(ends), model.steps, model.inputs)).astype("float32")
    inputs[np.arange(model.steps) >= ends[:, None]] = 0
    return inputs, inputs[:, :5].mean((1, 2))[:, None]


def first_weights(model: SequenceModel) -> list[np.ndarray]:
    """Weights in Keras's order and layout: for each layer kernel, recurrent kernel and bias."""
    generator, width, weights = np.random.default_rng(3), model.units * GATES[model.cell], []

    def uniform(*shape: int) -> np.ndarray:
        return generator.uniform(-1, 1, shape) / math.sqrt(model.units)

    for layer in range(model.layers):
        bias = uniform(2, width) if model.cell == "GRU" else uniform(width)
        rows = model.units if layer else model.inputs
        weights += [uniform(rows, width), uniform(model.units, width), bias]
    weights += [uniform(model.units, 1), np.zeros(1)]
    return [each.astype("float32") for each in weights]
