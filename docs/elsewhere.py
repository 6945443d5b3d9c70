"""Test a stateful LSTM in plain Keras on the backend of ``KERAS_BACKEND``, or in legato.

Prints one line for each question of the table in ``keras.md``: run ``KERAS_BACKEND=jax python
docs/elsewhere.py``, the same with ``tensorflow`` and ``torch``, and ``python docs/elsewhere.py
legato``.
"""

import sys

if sys.argv[1:] == ["legato"]:
    from legato import Sequential, layers
else:
    from keras import Sequential, layers

import keras
import numpy as np

rng = np.random.default_rng(0)
X, y = rng.normal(size=(6, 2, 1)).astype("float32"), rng.normal(size=(6, 1)).astype("float32")
quiet = {"batch_size": 1, "verbose": 0}


class WarmCell(layers.SimpleRNNCell):
    """Its initial state is 2, not 0."""

    def get_initial_state(self, batch_size=None):
        return [keras.ops.full((batch_size, self.units), 2.0)]


def network(stateful: bool, rows: int = 1):
    """A compiled LSTM with the same weights every time."""
    keras.utils.set_random_seed(7)
    model = Sequential(
        [keras.Input(batch_shape=(rows, 2, 1)), layers.LSTM(4, stateful=stateful), layers.Dense(1)]
    )
    model.compile("sgd", "mse")
    return model


def losses(stateful: bool, **options) -> list[float]:
    return network(stateful).fit(X, y, epochs=2, shuffle=False, **quiet, **options).history["loss"]


def numbers(outputs) -> list:
    """Outputs of any backend as Python numbers."""
    return keras.ops.convert_to_numpy(outputs).tolist()


def fit_carries() -> str:
    return "no" if losses(True) == losses(False) else "yes"


def predict_carries() -> str:
    model = network(True)
    return "yes" if len({model.predict(X[:1], **quiet).item() for _ in range(3)}) == 3 else "no"


def last_smaller_batch() -> str:
    outputs = network(True, rows=2).predict(X[:3], batch_size=2, verbose=0)
    return f"{len(outputs)} outputs for 3 samples"


def validation_is_apart() -> str:
    apart = losses(True) == losses(True, validation_data=(X, y))
    return ("yes" if apart else "no") + (" (nothing is carried)" * (fit_carries() == "no"))


def model_can_reset() -> str:
    return "yes" if hasattr(network(True), "reset_states") else "no"


def reset_is_the_cells_own() -> str:
    model = Sequential([keras.Input(batch_shape=(1, 2, 1)), layers.RNN(WarmCell(1), stateful=True)])
    first = numbers(model(X[:1]))
    model.layers[0].reset_state()
    return "yes" if first == numbers(model(X[:1])) else "no"


for question in (
    fit_carries,
    predict_carries,
    last_smaller_batch,
    validation_is_apart,
    model_can_reset,
    reset_is_the_cells_own,
):
    try:
        answer = question()
    except Exception as error:
        answer = f"{type(error).__name__}: {str(error).splitlines()[0][:60]}"
    print(f"{question.__name__:24}{answer}")
