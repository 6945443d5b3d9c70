"""Recite the alphabet with carried state, and reset it.

Each sample is one letter, so all information on earlier letters is in the carried state. Started
with A and fed its own predictions, the network recites the alphabet. Its prediction for K is right
after A to J, and wrong after ``reset_states``.
"""

import random
import string

import numpy as np

from legato import Sequential, layers

LETTERS = string.ascii_uppercase


def encode(text: str) -> np.ndarray:
    """Letters as samples of one time step and one feature, between 0 and 1."""
    return np.array([LETTERS.index(letter) for letter in text]).reshape(-1, 1, 1) / len(LETTERS)


def answer(model: Sequential, letter: str) -> str:
    """The predicted next letter, given all letters fed so far."""
    return LETTERS[model.predict(encode(letter), verbose=0).argmax()]


def recite(model: Sequential, letter: str, count: int) -> str:
    """A letter and ``count`` predictions, each fed back in."""
    recited = letter
    while len(recited) <= count:
        recited += answer(model, recited[-1])
    return recited


random.seed(7)  # Keras draws initial weights from Python's generator
model = Sequential(
    [
        layers.Input((1, 1)),
        layers.LSTM(50, stateful=True),
        layers.Dense(26, activation="softmax"),
    ]
)
model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
X, y = encode(LETTERS[:-1]), np.eye(26)[1:]
history = model.fit(X, y, batch_size=1, epochs=300, verbose=0).history
print(f"accuracy in the last epoch: {history['accuracy'][-1]:.0%}")

model.reset_states()
print("from A, fed its own answers:", recite(model, "A", 25))

model.reset_states()
print("K, with nothing remembered: ", answer(model, "K"))

model.reset_states()
for letter in "ABCDEFGHIJ":
    answer(model, letter)
print("K, after A to J:            ", answer(model, "K"))
