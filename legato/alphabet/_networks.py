"""The six networks: their samples of the alphabet, their layers and their training settings."""

import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import keras
import numpy as np

import legato
from legato import layers

LETTERS = string.ascii_uppercase
LONGEST_RUN = 5  # letters, in network 6


@dataclass(frozen=True)
class Samples:
    """Patterns of letters and the letter after each.

    Attributes:
        patterns: the letters of each sample.
        targets: the letter after each.
        x: the encoded patterns, (samples, time steps, features).
        y: the targets, one-hot, (samples, 26).

    Examples:
        >>> from legato import alphabet
        >>> samples = alphabet.NETWORKS[2].samples()
        >>> samples.x.shape, samples.y.shape
        ((23, 3, 1), (23, 26))
    """

    patterns: list[str]
    targets: list[str]
    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Network:
    """One of the six, with its published result.

    Attributes:
        number: 1 to 6, as in the tutorial.
        name: one word, for the command line.
        title: what a sample is, in words.
        units: units of its LSTM.
        epochs: epochs of its training.
        batch_size: samples of a batch.
        stateful: whether state is carried from sample to sample; if so samples stay in order.
        in_order: whether samples keep their order for another reason.
        window: letters in a pattern; ``LONGEST_RUN`` at most for network 6.
        as_features: whether a pattern's letters are features of one time step, not time steps.
        published_accuracy: on the training set, one run.
        published_behaviour: its predictions as published.
        random_runs: number of random runs it is trained on; 0: the alphabet in order.

    Examples:
        >>> from legato import alphabet
        >>> (window,) = alphabet.find(["window"])
        >>> window.samples().x.shape, window.published_accuracy
        ((23, 1, 3), 0.8696)
    """

    number: int
    name: str
    title: str
    units: int
    epochs: int
    batch_size: int
    published_accuracy: float
    published_behaviour: str
    stateful: bool = False
    in_order: bool = False
    window: int = 1
    as_features: bool = False
    random_runs: int = 0

    def encode(self, patterns: Iterable[str]) -> np.ndarray:
        """Letters → inputs: 0–25 divided by 26; shorter patterns are padded on the left with 0."""
        codes = [[LETTERS.index(letter) for letter in pattern] for pattern in patterns]
        padded = keras.utils.pad_sequences(codes, maxlen=self.window, dtype="float32")
        shape = (-1, 1, self.window) if self.as_features else (-1, self.window, 1)
        return np.reshape(padded, shape) / len(LETTERS)

    def samples(self, seed: int = 7) -> Samples:
        """The samples it is trained on; only random runs depend on the seed."""
        if self.random_runs:
            patterns = random_runs(self.random_runs, seed)
        else:
            ends = range(self.window, len(LETTERS))
            patterns = [LETTERS[end - self.window : end] for end in ends]
        return self.samples_of(patterns)

    def data(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets of its samples, as ``legato.replicate`` takes them."""
        samples = self.samples(seed)
        return samples.x, samples.y

    def samples_of(self, patterns: Sequence[str]) -> Samples:
        """Patterns of letters, each with the letter after its last; after Z comes A."""
        targets = [letter_after(pattern) for pattern in patterns]
        return Samples([*patterns], targets, self.encode(patterns), one_hot(targets))

    @property
    def fit_options(self) -> dict:
        """Arguments of ``fit`` besides samples and epochs."""
        in_order = self.stateful or self.in_order
        return {"batch_size": self.batch_size, "shuffle": False if in_order else None}

    def build(self) -> "legato.Sequential":
        """Build the network, untrained; initial weights depend on Python's global random state."""
        model = legato.Sequential()
        model.add(layers.Input(self.encode(["A"]).shape[1:]))
        model.add(layers.LSTM(self.units, stateful=self.stateful))
        model.add(layers.Dense(len(LETTERS), activation="softmax"))
        model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
        return model


NETWORKS = (
    Network(
        1, "naive", "one letter → one letter", 32, 500, 1, 0.84,
        "right for A–T and Y; U→W, V→Y, W→Z, X→Z",
    ),
    Network(
        2, "window", "three letters as features", 32, 500, 1, 0.8696,
        "wrong on TUV, UVW, VWX (→ Y, Z, Z)", window=3, as_features=True,
    ),
    Network(
        3, "steps", "three letters as time steps", 32, 500, 1, 1.0,
        "any three letters in a row → the next", window=3,
    ),
    Network(
        4, "batch", "the whole data set in one batch", 16, 5000, 25, 1.0,
        "also right for 20 letters picked at random", in_order=True,
    ),
    Network(
        5, "stateful", "state carried from letter to letter", 50, 300, 1, 1.0,
        "recites A…Z from A; started cold at K it answers B, then C, D, E, F", stateful=True,
    ),
    Network(
        6, "variable", "runs of one to five letters", 32, 500, 1, 0.989,
        "any run of up to five letters → the next", window=LONGEST_RUN, random_runs=1000,
    ),
)  # fmt: skip


def find(names: Sequence[str]) -> list[Network]:
    """The networks with these names or numbers, in the order of the six; all if none is given.

    Raises:
        legato.InputError: an unknown name.

    Examples:
        >>> from legato import alphabet
        >>> [network.title for network in alphabet.find(["stateful", "2"])]
        ['three letters as features', 'state carried from letter to letter']
    """
    wanted = {name.lower() for name in names}
    known = {each for network in NETWORKS for each in (network.name, str(network.number))}
    unknown = [name for name in names if name.lower() not in known]
    if unknown:
        choices = ", ".join(f"{network.number} {network.name}" for network in NETWORKS)
        raise legato.InputError(
            f"There is no network {unknown[0]!r}; the six are {choices}. Name some by word or "
            "number, or none for all."
        )
    return [each for each in NETWORKS if not wanted or wanted & {each.name, str(each.number)}]


def random_runs(count: int, seed: int, longest: int = LONGEST_RUN) -> list[str]:
    """Random runs of letters, of length 1 to ``longest``; none ends in Z.

    Examples:
        >>> from legato import alphabet
        >>> alphabet.random_runs(3, seed=7)
        ['PQRST', 'W', 'O']
    """
    drawn = np.random.RandomState(seed)  # the published script's generator
    runs: list[str] = []
    for _ in range(count):
        start = drawn.randint(len(LETTERS) - 2)
        end = drawn.randint(start, min(start + longest, len(LETTERS) - 1))
        runs.append(LETTERS[start : end + 1])
    return runs


def letter_after(pattern: str) -> str:
    """The letter after the last of a pattern; after Z comes A.

    Examples:
        >>> from legato import alphabet
        >>> alphabet.letter_after("ABC"), alphabet.letter_after("Z")
        ('D', 'A')
    """
    return LETTERS[(LETTERS.index(pattern[-1]) + 1) % len(LETTERS)]


def one_hot(letters: Iterable[str]) -> np.ndarray:
    """Letters as one-hot targets, (letters, 26)."""
    return np.eye(len(LETTERS), dtype="float32")[[LETTERS.index(letter) for letter in letters]]
