"""Save a state, restore it, and fork it into two rows.

The network outputs the running sum of its inputs. It is fed a history once; its state is saved,
restored, and forked into two rows with ``repeat``. One row continues upwards, the other downwards,
each from the end of the history, and the saved file still holds the state of that moment.
"""

import random
import tempfile
from pathlib import Path

import numpy as np

from legato import Sequential, State, layers


def feed(model: Sequential, *rows: list[int]) -> list[list[int]]:
    """The running sums the network gives, row by row, for steps of +1 and -1."""
    X = np.array(rows, "float32")[..., np.newaxis]
    outputs = model.predict(X, batch_size=len(rows), verbose=0)
    return np.rint(10 * outputs[..., 0]).astype(int).tolist()


random.seed(7)  # Keras draws initial weights from Python's generator
rng = np.random.default_rng(7)
X = rng.choice([-1, 1], (400, 10, 1))
y = np.cumsum(X, axis=1) / 10

model = Sequential(
    [
        layers.Input((None, 1)),
        layers.LSTM(16, return_sequences=True, stateful=True),
        layers.Dense(1),
    ]
)
model.compile(loss="mse", optimizer="adam")
model.fit(X, y, batch_size=20, epochs=100, reset="batch", verbose=0)

model.reset_states()
print("history:    ", feed(model, [1, 1, -1, 1, 1])[0])
past = model.states
print("its state:  ", past.rows, "row,", past.nbytes, "bytes")

with tempfile.TemporaryDirectory() as folder:
    past.save(Path(folder) / "past.state")
    saved = State.load(Path(folder) / "past.state")
print("saved and loaded is the same to the bit:", saved == past)

model.states = saved.repeat(2)
up, down = feed(model, [1, 1, 1], [-1, -1, -1])
print("going up:   ", up)
print("going down: ", down)

model.states = model.states.select([1])
print("down, and on:", feed(model, [-1, 1])[0])

model.states = past
print("the past is still there:", feed(model, [1, 1, 1])[0] == up)
