"""Stream three alphabet networks, with carried state or with a window, as each was trained.

Network 5 was trained with carried state. From the initial state it treats any letter as the first:
its prediction for K is right only after A to J. Its stream then generates, is saved, and is forked
at M; no fork affects another. A fork that is fed A, B, C in place of N, O, P predicts as if it had
been fed those, and Z 25 times yields the alphabet too: the network has learnt to count. Networks 3
and 6 were trained stateless, on three letters and on one to five padded in front with zeros. Their
streams see a window of the last letters, as in training, and are right; with carried state their
predictions are wrong.
"""

import tempfile
from pathlib import Path

import numpy as np

from legato.alphabet import LETTERS, find, train

INPUTS = LETTERS[:-1]  # A to Y, the letters that have a next one


def encode(text: str) -> np.ndarray:
    """Letters as time steps of one feature, between 0 and 1."""
    return np.array([[LETTERS.index(letter)] for letter in text]) / len(LETTERS)


def spelt(numbers: np.ndarray) -> str:
    """Numbers of letters as text."""
    return "".join(LETTERS[number] for number in numbers)


def best(answers: np.ndarray) -> str:
    """The most probable letter of each output; a dot while a window is not full."""
    silent = np.isnan(answers).any(axis=-1)
    likeliest = spelt(answers.argmax(axis=-1))
    return "".join("." if none else letter for none, letter in zip(silent, likeliest, strict=True))


def scored(answers: np.ndarray) -> str:
    """The predictions for A to Y, and how many are right."""
    letters = best(answers)
    right = sum(one == other for one, other in zip(letters, LETTERS[1:], strict=True))
    return f"{letters}, {right} of {len(letters)} right"


def generated(stream, count: int) -> str:
    """Letters that the stream generates, each fed back in."""
    return spelt(stream.generate(count, encode=lambda number: number / len(LETTERS)))


three, five, six = find(["3", "5", "6"])

model, _ = train(five)
stream = model.stream()
print("Network 5, its state carried")
print("  A to Z, each cold:      ", "".join(best(stream.peek(encode(each))) for each in LETTERS))
print("  K, cold:                ", best(stream.peek(encode("K"))))
stream.warm(encode("ABCDEFGHIJ"))
print("  K, after A to J:        ", best(stream.feed(encode("K"))))
with tempfile.TemporaryDirectory() as folder:
    stream.save(Path(folder) / "K.state")
    loaded = model.stream().load(Path(folder) / "K.state")
print("  generated from there:   ", generated(stream, 15))
print("  saved at K, loaded:     ", generated(loaded, 15))

at_m = model.stream().warm(encode("ABCDEFGHIJKLM"))
other, restarted = at_m.fork(2)
print("  a fork at M, fed ABC:   ", best(other.feed(encode("ABC"))))
print(
    "  another, reset first:   ", best(restarted.feed(encode("ABC"), starts=[True, False, False]))
)
print("  generated at M:         ", generated(at_m, 13))
print("  Z, 25 times:            ", best(model.stream().feed(encode("Z" * 25))))

for network, pad in ((three, None), (six, 0.0)):
    model, _ = train(network)
    answers = model.stream(pad=pad).feed(encode(INPUTS))
    print(f"Network {network.number}, {network.title}, trained stateless")
    print("  the last letters seen:  ", scored(answers))
    seen = [INPUTS[max(at - network.window, 0) : at] for at in range(1, len(INPUTS) + 1)]
    full = ~np.isnan(answers).any(axis=1)
    predicted = model.predict(network.encode(seen), verbose=0)
    print("  the same as predict:    ", np.allclose(answers[full], predicted[full], atol=1e-5))
    print("  its state carried:      ", scored(model.stream(window=None).feed(encode(INPUTS))))
