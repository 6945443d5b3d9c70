"""One of several processes that train one model together, for ``execution/test_processes.py``.

``python training_process.py INDEX COUNT PORT`` trains as ``train`` does, and writes what it found
as a line of JSON.
"""

import json
import os
import sys

import environment  # noqa: F401  to be imported before all else

if __name__ == "__main__":
    os.environ["JAX_NUM_CPU_DEVICES"] = "1"

import keras
import numpy as np

import legato
from legato import layers

ROWS, SAMPLES, STEPS, FEATURES = 4, 12, 5, 3


def own_rows(array: np.ndarray, index: int, count: int) -> np.ndarray:
    """The rows of each batch that a process computes."""
    batches = array.reshape(-1, count, ROWS // count, *array.shape[1:])
    return batches[:, index].reshape(-1, *array.shape[1:])


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, targets, and where sequences begin."""
    X = np.random.default_rng(0).normal(size=(SAMPLES, STEPS, FEATURES)).astype("float32")
    return X, X[:, 0, :1], np.arange(SAMPLES) == 6


def make() -> legato.Sequential:
    """A stateful model with dropout, compiled."""
    keras.utils.set_random_seed(3)
    model = legato.Sequential(
        [
            layers.Input((STEPS, FEATURES)),
            layers.GRU(4, stateful=True, dropout=0.2, return_sequences=True),
            layers.LSTM(3, stateful=True),
            layers.Dense(1),
        ]
    )
    model.compile("adam", "mse", metrics=["mae"])
    return model


def train(index: int = 0, count: int = 1, **options) -> dict:
    """Train on a process's rows, with validation; evaluate, and predict.

    Returns:
        What came out, as lists: history, weights, states by layer, evaluation, prediction.
    """
    model = make()
    X, y, starts = (own_rows(each, index, count) for each in data())
    batch = ROWS // count
    fit = {"epochs": 3, "starts": starts, "reset": "never", "verbose": 0, **options}
    history = model.fit(X, y, batch, validation_data=(X, 2 * y), **fit).history
    found = {
        "history": history,
        "weights": [each.tolist() for each in model.get_weights()],
        "states": [each.tolist() for parts in model.states.values() for each in parts],
        "evaluation": model.evaluate(X, y, batch, verbose=0),
        "prediction": model.predict(X, batch, verbose=0).tolist(),
        "again": model.predict(X, batch, verbose=0).tolist(),
    }
    return found | {"trained again": model.fit(X, y, batch, **fit).history}


def main() -> None:
    """Train with the other processes."""
    index, count, port = map(int, sys.argv[1:4])
    keras.distribution.initialize(f"127.0.0.1:{port}", count, index)
    keras.distribution.set_distribution(keras.distribution.DataParallel())
    print(json.dumps(train(index, count)))


if __name__ == "__main__":
    main()
