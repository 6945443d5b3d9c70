"""What one learns: a stateful network knows where it is only by what it was fed.

The network sees one letter at a time, so its memory lies in the carried state alone. Seeded with A
and fed its own answers it recites the alphabet. At K it is right only if it has heard A to J first:
``reset_states`` makes it forget, and feeding letters makes it remember.
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
    """The letter the network puts after this one, given all it has been fed."""
    return LETTERS[model.predict(encode(letter), verbose=0).argmax()]


def recite(model: Sequential, letter: str, count: int) -> str:
    """A letter, and ``count`` answers, each fed back in."""
    said = letter
    while len(said) <= count:
        said += answer(model, said[-1])
    return said


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
