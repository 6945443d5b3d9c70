"""An exported ONNX file in a runtime, and its comparison with the model."""

from pathlib import Path

import keras
import numpy as np
import onnxruntime
from cells import FEATURES, set_weights

import legato
from legato import layers

CLOSE = {"rtol": 1e-5, "atol": 1e-6}


class File:
    """An exported model in an ONNX runtime.

    Attributes:
        first: what ``export_onnx`` returned, one row.
    """

    def __init__(self, model, folder: Path):
        path = folder / "model.onnx"
        self.first = legato.export_onnx(model, path)
        self.session = onnxruntime.InferenceSession(path)
        self.inputs = [each.name for each in self.session.get_inputs()]
        self.outputs = [each.name for each in self.session.get_outputs()]
        self.count = len(self.inputs) - len(self.first)  # inputs that are no states

    def start(self, rows: int) -> dict:
        """The initial state of some rows."""
        return {name: np.repeat(one_row, rows, 0) for name, one_row in self.first.items()}

    def run(self, *arrays, states: dict | None = None) -> tuple:
        """Outputs, and the state after them."""
        states = self.start(len(arrays[0])) if states is None else states
        names = self.inputs[: self.count]
        outputs = self.session.run(None, dict(zip(names, arrays, strict=True)) | states)
        own = len(outputs) - len(states)
        return outputs[:own], dict(zip(states, outputs[own:], strict=True))

    def in_chunks(self, X, lengths: list[int]) -> tuple[np.ndarray, dict]:
        """Outputs of consecutive chunks of these lengths, and the state after them."""
        states, pieces = self.start(len(X)), []
        for piece in np.split(X, np.cumsum(lengths)[:-1], axis=1):
            (y,), states = self.run(piece, states=states)
            pieces.append(y)
        return np.concatenate(pieces, axis=1), states


def feed(state: legato.State) -> dict:
    """A model's state as an exported file takes it."""
    parts = [(path, enumerate(arrays)) for path, arrays in state.items()]
    return {f"{path}:{place}": np.asarray(part) for path, each in parts for place, part in each}


def assert_same(one: dict, other: dict) -> None:
    assert list(one) == list(other)
    for name, value in one.items():
        np.testing.assert_allclose(value, other[name], **CLOSE)


def assert_exported(model, folder, *arrays) -> File:
    """Check that the file gives the model's outputs, from the initial state."""
    file = File(model, folder)
    expected = keras.tree.flatten(model.predict(_one_or_all(arrays), verbose=0))
    outputs, _ = file.run(*arrays)
    for mine, theirs in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, **CLOSE)
    return file


def _one_or_all(arrays):
    return arrays[0] if len(arrays) == 1 else list(arrays)


def sequential(*after, shape=(None, FEATURES)) -> legato.Sequential:
    """A model of some layers, with weights that all differ."""
    model = legato.Sequential([layers.Input(shape, name="signal"), *after])
    set_weights(model)
    return model


def model_of(tensor) -> legato.Model:
    """The model from the inputs that a tensor depends on to it."""
    return legato.Model(keras.utils.get_source_inputs(tensor), tensor)


def randomized(tensor) -> legato.Model:
    """The same, with weights that all differ."""
    model = model_of(tensor)
    set_weights(model)
    return model
