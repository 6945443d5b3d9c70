"""What one learns: a network is streamed as it was trained, carrying its state or seeing a window.

Three of the six alphabet networks. Network 5 was trained with its state carried from letter to
letter. Cold, it takes any letter for the first: at K it is right only if its stream was warmed with
A to J. Then it goes on by itself, is saved, and is forked at M, and no branch disturbs another. A
branch that hears A, B, C where N, O, P are due answers as if those had come, and Z all along brings
out the alphabet as well: what it has learnt is to count. Networks 3 and 6 were trained stateless,
on three letters and on one to five padded in front with zeros. Their streams see the last letters,
as training did, and are right; with its state carried on past that, either is lost.
"""

import tempfile
from pathlib import Path

import numpy as np

from legato.alphabet import LETTERS, find, train

HEARD = LETTERS[:-1]  # A to Y: after each of them one is to come


def encode(text: str) -> np.ndarray:
    """Letters as steps of one feature, between 0 and 1."""
    return np.array([[LETTERS.index(letter)] for letter in text]) / len(LETTERS)


def spelt(numbers: np.ndarray) -> str:
    """Letters by their numbers."""
    return "".join(LETTERS[number] for number in numbers)


def said(answers: np.ndarray) -> str:
    """The likeliest letter of each answer; a dot while a window is not full."""
    silent = np.isnan(answers).any(axis=-1)
    likeliest = spelt(answers.argmax(axis=-1))
    return "".join("." if none else letter for none, letter in zip(silent, likeliest, strict=True))


def judged(answers: np.ndarray) -> str:
    """What was said to A to Y, and how much of it is right."""
    letters = said(answers)
    right = sum(one == other for one, other in zip(letters, LETTERS[1:], strict=True))
    return f"{letters}, {right} of {len(letters)} right"


def going_on(stream, count: int) -> str:
    """Letters that the stream says by itself, each answer fed back in."""
    return spelt(stream.generate(count, encode=lambda number: number / len(LETTERS)))


three, five, six = find(["3", "5", "6"])

model, _ = train(five)
stream = model.stream()
print("Network 5, its state carried")
print("  A to Z, each cold:      ", "".join(said(stream.peek(encode(each))) for each in LETTERS))
print("  K, cold:                ", said(stream.peek(encode("K"))))
stream.warm(encode("ABCDEFGHIJ"))
print("  K, after A to J:        ", said(stream.feed(encode("K"))))
with tempfile.TemporaryDirectory() as folder:
    stream.save(Path(folder) / "K.state")
    loaded = model.stream().load(Path(folder) / "K.state")
print("  and on, by itself:      ", going_on(stream, 15))
print("  saved at K, loaded:     ", going_on(loaded, 15))

trunk = model.stream().warm(encode("ABCDEFGHIJKLM"))
astray, anew = trunk.fork(2)
print("  a fork at M hears ABC:  ", said(astray.feed(encode("ABC"))))
print("  another, begun anew:    ", said(anew.feed(encode("ABC"), starts=[True, False, False])))
print("  the trunk goes on:      ", going_on(trunk, 13))
print("  Z, 25 times:            ", said(model.stream().feed(encode("Z" * 25))))

for network, pad in ((three, None), (six, 0.0)):
    model, _ = train(network)
    answers = model.stream(pad=pad).feed(encode(HEARD))
    print(f"Network {network.number}, {network.title}, trained stateless")
    print("  the last letters seen:  ", judged(answers))
    seen = [HEARD[max(at - network.window, 0) : at] for at in range(1, len(HEARD) + 1)]
    full = ~np.isnan(answers).any(axis=1)
    predicted = model.predict(network.encode(seen), verbose=0)
    print("  as predict has it:      ", np.allclose(answers[full], predicted[full], atol=1e-5))
    print("  its state carried:      ", judged(model.stream(window=None).feed(encode(HEARD))))
