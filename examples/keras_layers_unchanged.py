"""Carry the state of plain ``keras.layers`` in a ``legato.Model``.

A functional model with a nested model inside, written with Keras's own layers: only the two model
classes are legato's. Keras needs the batch size of a stateful functional model at construction;
legato then takes any other as well. The layers stay the same objects; their states are found by
path, at any depth. In a plain ``keras.Model`` on JAX the same layers silently lose their state.
"""

import legato  # before Keras, which then runs on JAX

# isort: split
import keras
import numpy as np

lower = legato.Sequential([keras.layers.GRU(4, stateful=True, name="low")], name="block")
upper = keras.layers.LSTM(3, stateful=True, name="high")

signal = keras.Input((None, 2), batch_size=1, name="signal")  # the size Keras asks for
both = keras.layers.Concatenate()([lower(signal), upper(signal)])
model = legato.Model(signal, keras.layers.Dense(1)(both))
model.compile(loss="mse", optimizer="sgd")

X = np.ones((1, 5, 2))
answers = [model.predict(X, verbose=0).item() for _ in range(3)]
print("different answers to one input:", len(set(answers)))
model.reset_states()
print("after a reset, the first again:", model.predict(X, verbose=0).item() == answers[0])
print("states:", {path: [part.shape for part in parts] for path, parts in model.states.items()})
print("the very layer:", model.layers[2] is upper, isinstance(upper, keras.layers.LSTM))

rng = np.random.default_rng(7)
X, y = rng.normal(size=(12, 5, 2)), rng.normal(size=(12, 1))
model.reset_states()
seen: list[int] = []
watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
model.fit(X, y, batch_size=3, epochs=3, callbacks=[watch], verbose=0)
print("epochs a callback saw:", seen)
print("rows remembered:", model.states.rows)
