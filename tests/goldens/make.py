"""Makes the golden files beside it: outputs of Keras on TensorFlow, which carries state.

Run by hand where TensorFlow is installed: `python tests/goldens/make.py`. One `.npz` a case, for
{LSTM, GRU, GRU with reset_after=False, SimpleRNN, two LSTMs} x {stateless, stateful} x {unmasked,
masked}; `cases.json` says how to build each network and what versions made the files. Seeds are
fixed, nothing is shuffled, and XLA and cuDNN are kept out, so a second run on the same versions
gives the same files.

A file holds `X`, `y` and `weights_*`; the predictions and states of two `predict` calls, one
straight after the other (`first_*`, `second_*`); and for each optimizer (`sgd_*`, `adam_*`) the
training from those weights and a fresh state: every batch's loss, every epoch's mean loss, the
final weights, and the state at the end of the last epoch. State is reset between epochs.

Limits: on TensorFlow a fully masked row puts out zeros, whatever it carries; on JAX it repeats
its last output. The fully masked row is therefore in the first batch, where at the beginning
of an epoch the two are one number; only its second prediction differs.
"""

import itertools
import json
import os
import platform
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
os.environ["TF_DETERMINISTIC_OPS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow

HERE = Path(__file__).parent
ROWS, BATCHES, STEPS, FEATURES, UNITS, CLASSES = 2, 3, 4, 3, 5, 4
EPOCHS = 3
SEED = 7  # of 24 tried, the one whose carried state shows most in every prediction
NETWORKS = {
    "lstm": [["LSTM", {}]],
    "gru": [["GRU", {"reset_after": True}]],
    "gru_reset_before": [["GRU", {"reset_after": False}]],
    "simple_rnn": [["SimpleRNN", {}]],
    "two_lstm": [["LSTM", {"return_sequences": True}], ["LSTM", {}]],
}
OPTIMIZERS = {
    "sgd": ["SGD", {"learning_rate": 0.1}],
    "adam": ["Adam", {"learning_rate": 0.01}],
}
VALID_STEPS = np.array(  # one line a sample; samples 0 and 1 are the first batch
    [
        [1, 1, 0, 0],  # padded on the right
        [0, 0, 0, 0],  # fully masked
        [0, 0, 1, 1],  # padded on the left
        [1, 0, 0, 1],  # padded in the middle
        [0, 1, 0, 1],  # padded on the left and in the middle
        [1, 1, 1, 1],
    ],
    bool,
)


def distinct_numbers(generator, shape, largest):
    """Draw numbers of that shape, all different, none near zero, of both signs."""
    count = int(np.prod(shape))
    sizes = np.linspace(0.1, 1.0, count) * largest
    signs = np.where(np.arange(count) % 2, 1.0, -1.0)
    return generator.permutation(sizes * signs).reshape(shape).astype(np.float32)


def make_data(masked):
    """Return X (samples, steps, features), zero where masked, and y (samples, classes)."""
    generator = np.random.RandomState(SEED)
    X = distinct_numbers(generator, (ROWS * BATCHES, STEPS, FEATURES), largest=1.0)
    y = np.eye(CLASSES, dtype=np.float32)[[2, 0, 3, 1, 2, 3]]
    return (np.where(VALID_STEPS[:, :, None], X, np.float32(0)) if masked else X), y


def build(network, stateful, masked):
    """Build one network with a fixed batch size, as Keras on TensorFlow asks of stateful layers."""
    model = keras.Sequential([keras.Input(batch_shape=(ROWS, None, FEATURES))])
    if masked:
        model.add(keras.layers.Masking(mask_value=0.0))
    for layer_name, arguments in network:
        make_layer = getattr(keras.layers, layer_name)
        model.add(make_layer(UNITS, stateful=stateful, **arguments))
    model.add(keras.layers.Dense(CLASSES, activation="softmax"))
    return model


def draw_weights(model):
    """Draw every weight of the model anew: Keras's own would leave most biases zero."""
    generator = np.random.RandomState(SEED + 1)
    return [distinct_numbers(generator, array.shape, largest=1.2) for array in model.get_weights()]


def stateful_layers(model):
    """Return the layers that carry state, in order."""
    return [layer for layer in model.layers if getattr(layer, "stateful", False)]


def reset(model):
    """Put every carried state back to zero; `Sequential.reset_states` is gone from Keras 3."""
    for layer in stateful_layers(model):
        layer.reset_state()


def read_states(model):
    """Return every carried state array, layer after layer."""
    variables = [state for layer in stateful_layers(model) for state in layer.states]
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def numbered(name, arrays):
    """Name the arrays of a list: `name_0`, `name_1`, …"""
    return {f"{name}_{index}": array for index, array in enumerate(arrays)}


def predict_twice(model, X):
    """Predict from a fresh state, and again straight after."""
    found = {}
    reset(model)
    for name in ("first", "second"):
        found[f"{name}_predictions"] = model.predict(X, batch_size=ROWS, verbose=0)
        found |= numbered(f"{name}_state", read_states(model))
    return found


def train_one_epoch(model, X, y):
    """Train over the batches in order and return the loss of each."""
    losses = []
    for first in range(0, len(X), ROWS):
        model.reset_metrics()  # or the loss returned is a mean over the batches so far
        batch = slice(first, first + ROWS)
        losses.append(float(model.train_on_batch(X[batch], y[batch])))
    return losses


def train(model, optimizer, X, y):
    """Train from a fresh state, resetting it between epochs, and return the results."""
    name, arguments = optimizer
    model.compile(
        loss="categorical_crossentropy",
        optimizer=getattr(keras.optimizers, name)(**arguments),
        jit_compile=False,
    )
    batch_losses = []
    for _ in range(EPOCHS):
        reset(model)
        batch_losses.append(train_one_epoch(model, X, y))
    batch_losses = np.array(batch_losses, np.float32)
    return {
        "batch_losses": batch_losses,
        "epoch_losses": batch_losses.mean(axis=1),
        **numbered("weights", model.get_weights()),
        **numbered("state", read_states(model)),
    }


def make_case(network, stateful, masked):
    """Return every array of one case by its name."""
    X, y = make_data(masked)
    model = build(network, stateful, masked)
    weights = draw_weights(model)
    model.set_weights(weights)
    found = {"X": X, "y": y, **numbered("weights", weights), **predict_twice(model, X)}
    for name, optimizer in OPTIMIZERS.items():
        model.set_weights(weights)
        trained = train(model, optimizer, X, y)
        found |= {f"{name}_{key}": array for key, array in trained.items()}
    return found


def describe(cases):
    """Return how the files were made, and a description of each network."""
    versions = {
        "python": platform.python_version(),
        "keras": keras.version(),
        "tensorflow": tensorflow.__version__,
        "numpy": np.__version__,
    }
    return {
        "made_by": versions,
        "rows": ROWS,
        "features": FEATURES,
        "units": UNITS,
        "classes": CLASSES,
        "epochs": EPOCHS,
        "optimizers": OPTIMIZERS,
        "cases": cases,
    }


def main():
    """Write every case, and the list of them."""
    cases = {}
    for name, stateful, masked in itertools.product(NETWORKS, (False, True), (False, True)):
        carries = "stateful" if stateful else "stateless"
        pads = "masked" if masked else "unmasked"
        case = f"{name}_{carries}_{pads}"
        arrays = make_case(NETWORKS[name], stateful, masked)
        assert all(array.dtype == np.float32 for array in arrays.values()), case
        np.savez(HERE / f"{case}.npz", **arrays)
        cases[case] = {"layers": NETWORKS[name], "stateful": stateful, "masked": masked}
        print(case)
    (HERE / "cases.json").write_text(json.dumps(describe(cases), indent=2) + "\n")


if __name__ == "__main__":
    main()
