"""Network 1 as a script in plain Keras on JAX: the rival of `legato alphabet 1`."""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "jax"

import keras
from _networks import LETTERS, NETWORKS, one_hot, samples

network = NETWORKS[1]
inputs, letters = samples(network)
targets = one_hot(letters)
model = keras.Sequential(
    [
        keras.Input((network.time_steps, network.features)),
        keras.layers.LSTM(network.units),
        keras.layers.Dense(LETTERS, activation="softmax"),
    ]
)
model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
model.fit(inputs, targets, epochs=network.epochs, batch_size=network.batch_size, verbose=0)
loss, accuracy = model.evaluate(inputs, targets, batch_size=network.batch_size, verbose=0)
print(f"accuracy {100 * accuracy:.2f} %")
