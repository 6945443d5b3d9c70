"""Files of Keras 2: which load, and which are refused, as ``docs/from-keras2.md`` says.

The files are made here, in the layout of Keras 2's HDF5 format.
"""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

import legato
from legato import InputError, layers

UNITS, FEATURES = 3, 2
GATES = {"LSTM": 4, "GRU": 3}


def arrays(kind: str, bias: tuple[int, ...]) -> dict[str, list[np.ndarray]]:
    """The weights of a recurrent layer and a Dense, in Keras 2's order."""
    rng, width = np.random.default_rng(0), GATES[kind] * UNITS
    shapes = {"rnn_1": [(FEATURES, width), (UNITS, width), bias], "dense_1": [(UNITS, 1), (1,)]}
    return {
        name: [rng.normal(size=shape).astype("float32") for shape in each]
        for name, each in shapes.items()
    }


def write(group: h5py.Group, weights: dict[str, list[np.ndarray]]) -> None:
    group.attrs["layer_names"] = [name.encode() for name in weights]
    group.attrs["backend"], group.attrs["keras_version"] = b"tensorflow", b"2.2.4"
    for name, each in weights.items():
        names = [f"{name}/weight_{at}:0".encode() for at in range(len(each))]
        layer = group.create_group(name)
        layer.attrs["weight_names"] = names
        for path, values in zip(names, each, strict=True):
            layer[path.decode()] = values


def written(path: Path, weights: dict[str, list[np.ndarray]], whole: bool = False) -> Path:
    """A file of weights, or of a whole model of ``tf.keras``."""
    with h5py.File(path, "w") as file:
        if not whole:
            write(file, weights)
            return path
        options = {"units": UNITS, "stateful": True, "time_major": False}
        inputs = {"batch_input_shape": [1, 4, FEATURES], "dtype": "float32"}
        listed = [("InputLayer", inputs), ("LSTM", options), ("Dense", {"units": 1})]
        config = {
            "name": "sequential_1",
            "layers": [{"class_name": name, "config": each} for name, each in listed],
        }
        model = {"class_name": "Sequential", "config": config}
        file.attrs["model_config"] = json.dumps(model).encode()
        write(file.create_group("model_weights"), weights)
    return path


def network(kind: str, **options) -> legato.Sequential:
    recurrent = getattr(layers, kind)(UNITS, stateful=True, **options)
    return legato.Sequential([layers.Input((4, FEATURES)), recurrent, layers.Dense(1)])


@pytest.mark.parametrize(
    ("kind", "bias", "options"),
    [
        ("LSTM", (4 * UNITS,), {}),
        ("GRU", (3 * UNITS,), {"reset_after": False}),
        ("GRU", (2, 3 * UNITS), {}),
    ],
)
@pytest.mark.parametrize("whole", [False, True])
def test_weights_are_loaded_in_the_order_of_the_layers(kind, bias, options, whole, tmp_path):
    model, weights = network(kind, **options), arrays(kind, bias)
    model.load_weights(written(tmp_path / "old.h5", weights, whole))
    given = [each for layer in weights.values() for each in layer]
    for mine, theirs in zip(model.get_weights(), given, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    ("kind", "bias"),
    [("GRU", (3 * UNITS,)), ("GRU", (6 * UNITS,)), ("LSTM", (8 * UNITS,))],
    ids=["GRU(reset_after=False)", "CuDNNGRU", "CuDNNLSTM"],
)
def test_weights_of_another_kind_of_layer_are_refused(kind, bias, tmp_path):
    path = written(tmp_path / "old.h5", arrays(kind, bias))
    with pytest.raises(InputError, match="Shape mismatch"):
        network(kind).load_weights(path)


def test_the_name_of_the_newer_format_and_whole_models_are_refused(tmp_path):
    weights = arrays("LSTM", (4 * UNITS,))
    with pytest.raises(InputError, match=r"old\.weights\.h5"):
        network("LSTM").load_weights(written(tmp_path / "old.weights.h5", weights))
    with pytest.raises(InputError, match="time_major"):
        legato.load_model(written(tmp_path / "whole.h5", weights, whole=True))
