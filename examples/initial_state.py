"""Train the initial state of a cell.

A tank holds an unknown amount at first; only the flow in and out is measured. The state of the cell
is the level, and its initial level is a weight. Fresh rows start from that weight, so training
changes it; other rows start from the level at the end of the previous sample.
"""

import legato  # before Keras, which then runs on JAX

# isort: split
import keras
import numpy as np

AT_FIRST = 3.0


class Tank(keras.layers.Layer):
    """level ← level + gain * flow; begins at ``first``. Both are weights."""

    state_size = output_size = 1

    def build(self, input_shape):
        self.first = self.add_weight(shape=(1,), initializer="zeros", name="first")
        self.gain = self.add_weight(shape=(input_shape[-1], 1), initializer="zeros", name="gain")
        self.built = True

    def call(self, inputs, states, training=False):
        level = states[0] + keras.ops.matmul(inputs, self.gain)
        return level, [level]

    def get_initial_state(self, batch_size=None):
        return [keras.ops.broadcast_to(self.first, (batch_size, 1))]


rng = np.random.default_rng(7)
flow = rng.normal(size=(8, 4, 5, 1))  # (sequences, chunks, time steps, features)
level = AT_FIRST + np.cumsum(flow.reshape(8, 20, 1), axis=1).reshape(flow.shape)
X = flow.swapaxes(0, 1).reshape(-1, 5, 1)  # chunk k of every sequence is batch k
y = level.swapaxes(0, 1).reshape(-1, 5, 1)

model = legato.Sequential(
    [
        keras.layers.Input((None, 1)),
        legato.layers.RNN(Tank(), return_sequences=True, stateful=True, name="tank"),
    ]
)
model.compile(loss="mse", optimizer=keras.optimizers.Adam(0.05))
print(f"a fresh row before training: {model.initial_states()['tank'][0].item():.2f}")
loss = model.fit(X, y, batch_size=8, epochs=300, verbose=0).history["loss"]
print(f"a fresh row after training:  {model.initial_states()['tank'][0].item():.2f}")
print("the error is gone:", loss[-1] < 1e-3 < loss[0])

model.reset_states()
still = np.zeros((2, 1, 1))
print(f"a fresh tank, nothing flowing:  {model.predict(still, verbose=0)[0].item():.2f}")
model.predict(still + 1, verbose=0)
model.reset_states([0])  # row 0 is another tank now; row 1 goes on
print("one row reset, one carried:    ", model.predict(still, verbose=0)[:, 0, 0].round(2).tolist())
