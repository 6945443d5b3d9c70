"""A user's own cell, and, as a script, a process that has only plain Keras.

The script opens every model file of a folder with legato impossible to import, and prints as JSON
the difference of each output from the expected one in the file beside it.
"""

import json
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.modules["legato"] = None  # importing it is an ImportError

import keras
import numpy as np


@keras.saving.register_keras_serializable("plain_keras")
class HalfCell(keras.layers.Layer):
    """h ← h/2 + W x, from an initial state that is not zero."""

    def __init__(self, units: int, **options):
        super().__init__(**options)
        self.units = self.state_size = self.output_size = units

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")
        self.built = True

    def call(self, inputs, states):
        state = 0.5 * states[0] + keras.ops.matmul(inputs, self.kernel)
        return state, [state]

    def get_initial_state(self, batch_size=None):
        return [keras.ops.full((batch_size, self.units), 0.3)]

    def get_config(self):
        return super().get_config() | {"units": self.units}


def distances(folder: Path, suffixes: list[str]) -> dict[str, float | str]:
    """File name → the largest difference from the output beside it, or the error."""
    found: dict[str, float | str] = {}
    for path in sorted(each for each in folder.iterdir() if each.suffix in suffixes):
        with np.load(folder / f"{path.stem}.npz") as answer:
            inputs, outputs = list(answer.values())[:-1], answer["outputs"]
        try:
            model: Any = keras.saving.load_model(path)
            x = inputs if len(inputs) > 1 else inputs[0]
            quick = keras.backend.backend() == "torch"  # which compiles for long
            came = keras.ops.convert_to_numpy(model(x) if quick else model.predict_on_batch(x))
            found[path.name] = float(np.abs(came - outputs).max())
        except Exception as error:
            found[path.name] = f"{type(error).__name__}: {error}"
    return found


if __name__ == "__main__":
    print(json.dumps(distances(Path(sys.argv[1]), sys.argv[2:])))
