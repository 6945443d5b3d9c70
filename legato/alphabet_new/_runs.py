"""Six small LSTM networks that learn the alphabet: given a letter, predict the next.

Letters are the integers 0–25 divided by 26, targets are one-hot. Each network is one LSTM and a
softmax; they differ in how the alphabet is cut into samples, and in where the recurrent state is
carried: not at all (1–4, 6) or from letter to letter (5). Written as a user would write it, on
legato's public names only: ``train("stateful")`` is the whole of it, the rest asks the network
what it has learnt.

The problem, the settings and the published figures come from a tutorial of 2016 (J. Brownlee,
*Understanding Stateful LSTM Recurrent Neural Networks in Python with Keras*), one run each.
"""

import random
import string
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import keras
import numpy as np

import legato
from legato import layers

LETTERS = string.ascii_uppercase
LONGEST_RUN = 5  # letters, in network 6


@dataclass(frozen=True)
class Samples:
    """Patterns of letters and what follows them.

    Attributes:
        patterns: the letters of each sample.
        targets: the letter after each.
        x: the patterns as the network takes them, (samples, time steps, features).
        y: the targets, one-hot, (samples, 26).
    """

    patterns: list[str]
    targets: list[str]
    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Network:
    """One of the six, with its published result.

    Attributes:
        number, name, title: what it is called.
        units: units of its LSTM.
        epochs, batch_size: how long it is trained.
        stateful: whether state is carried from sample to sample; if so samples stay in order.
        in_order: whether samples keep their order for another reason.
        window: letters in a pattern; ``LONGEST_RUN`` at most for network 6.
        as_features: whether a pattern's letters are features of one time step, not time steps.
        published_accuracy: on the training set, one run.
        published_behaviour: what was said of its answers.
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

    def samples(self) -> Samples:
        """What it is trained on; random runs are drawn with NumPy's global generator."""
        if self.random_runs:
            spans = [random_span() for _ in range(self.random_runs)]
        else:
            spans = [(at, at + self.window - 1) for at in range(len(LETTERS) - self.window)]
        patterns = [LETTERS[start : end + 1] for start, end in spans]
        targets = [LETTERS[end + 1] for _, end in spans]
        y = np.eye(len(LETTERS), dtype="float32")[[LETTERS.index(letter) for letter in targets]]
        return Samples(patterns, targets, self.encode(patterns), y)

    @property
    def fit_options(self) -> dict:
        """What ``fit`` is given beside samples and epochs."""
        in_order = self.stateful or self.in_order
        return {"batch_size": self.batch_size, "shuffle": False if in_order else None}

    def build(self) -> "legato.Sequential":
        """The network, untrained, its weights drawn from Python's global generator."""
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


@dataclass
class Outcome:
    """A trained network and what it answers.

    Attributes:
        network: which of the six.
        seed: what it was drawn from.
        accuracy, loss: on the training set, after training.
        history: loss and accuracy of every epoch.
        seconds: building, compiling and training, wall time; side by side, its share of it.
        steps_per_s: training steps a second, compilation left out.
        answers: for each demonstration of the published text its heading and lines (asked,
            answered).
        probabilities: (26, 26): for a pattern ending in each letter, the probability of each next
            one; NaN where the network has no such pattern.
    """

    network: Network
    seed: int
    accuracy: float
    loss: float
    history: dict[str, list[float]]
    seconds: float
    steps_per_s: float
    answers: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    probabilities: np.ndarray = field(default_factory=lambda: np.empty(0))


def find(names: Sequence[str]) -> list[Network]:
    """The networks of these names or numbers, in the order of the six; all if none is named.

    Raises:
        legato.InputError: a name that is none of them.
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


def train(network: Network, seed: int = 7, verbose=0) -> tuple["legato.Sequential", Outcome]:
    """Train a network and examine it.

    Args:
        network: one of ``NETWORKS``.
        seed: for the initial weights, the sample orders and the random runs.
        verbose: what ``fit`` shows: 0 nothing, 1 one line, 2 a line an epoch.

    Returns:
        The trained model, its state reset, and what came out.
    """
    plant(seed)
    began = time.perf_counter()
    samples, model, fit = network.samples(), network.build(), network.fit_options
    first = model.fit(samples.x, samples.y, epochs=1, verbose=0, **fit)  # compiles
    model.reset_states()
    compiled = time.perf_counter()
    rest = model.fit(
        samples.x, samples.y, epochs=network.epochs, initial_epoch=1, verbose=verbose, **fit
    )
    ended = time.perf_counter()
    history = {name: first.history[name] + rest.history[name] for name in first.history}
    steps = -(-len(samples.x) // network.batch_size) * (network.epochs - 1)
    speed = steps / (ended - compiled)
    return model, outcome_of(model, network, seed, samples, history, ended - began, speed)


def train_side_by_side(network: Network, seeds: Sequence[int], verbose=0) -> list[Outcome]:
    """Train a network that has the same samples under every seed; as ``train`` of each.

    Args:
        network: one of ``NETWORKS`` without random runs.
        seeds: two or more.
        verbose: 0 nothing, 1 one line for all, 2 a line a seed.
    """
    began = time.perf_counter()
    samples = network.samples()
    runs = legato.replicate(
        network.build, samples.x, samples.y,
        seeds=seeds, epochs=network.epochs, verbose=verbose, **network.fit_options,
    )  # fmt: skip
    share = (time.perf_counter() - began) / len(runs)
    steps = -(-len(samples.x) // network.batch_size) * network.epochs
    speeds = [steps / seconds for seconds in runs.seconds[1:]]  # the first one compiled
    outcomes = []
    for k, speed in enumerate([sum(speeds) / len(speeds), *speeds]):
        seed, model = runs.seeds[k], runs.model(k)
        plant(seed)  # nothing has been drawn when a network that stays in order is examined
        given = (network, seed, samples, runs.histories[k], share, speed)
        outcomes.append(outcome_of(model, *given))
    return outcomes


def outcome_of(
    model: "legato.Sequential",
    network: Network,
    seed: int,
    samples: Samples,
    history: dict[str, list[float]],
    seconds: float,
    steps_per_s: float,
) -> Outcome:
    """Score and examine a trained network; its state is reset."""
    model.reset_states()
    loss, accuracy = model.evaluate(samples.x, samples.y, batch_size=network.batch_size, verbose=0)
    outcome = Outcome(network, seed, accuracy, loss, history, seconds, steps_per_s)
    examine(model, samples, outcome)
    model.reset_states()
    return outcome


def examine(model: "legato.Sequential", samples: Samples, outcome: Outcome) -> None:
    """Ask a trained network what the published text asks it, and fill in its answers."""
    network = outcome.network
    if network.stateful:
        outcome.answers = {
            "seeded with A and fed its own answers": recite(model, network, "A", 25),
            "the same, started cold at K": recite(model, network, "K", 5),
        }
    elif network.random_runs:
        runs = [LETTERS[start : end + 1] for start, end in (random_span() for _ in range(20))]
        outcome.answers = {"twenty random runs": answers(model, network, runs)}
    else:
        outcome.answers = {"every pattern": answers(model, network, samples.patterns)}
    if network.name == "batch":
        picked = [LETTERS[at] for at in np.random.randint(len(LETTERS) - 1, size=20)]
        outcome.answers["twenty letters at random"] = answers(model, network, picked)
    outcome.probabilities = next_letter_probabilities(model, network)


def answers(model, network: Network, patterns: Sequence[str]) -> list[tuple[str, str]]:
    """(pattern, answer), one pattern at a time."""
    told = []
    for pattern in patterns:
        prediction = model.predict(network.encode([pattern]), verbose=0)
        told.append((pattern, LETTERS[int(prediction.argmax())]))
    return told


def recite(model, network: Network, letter: str, count: int) -> list[tuple[str, str]]:
    """(letter, answer), from a fresh state and one letter, each answer fed back in."""
    model.reset_states()
    told = []
    for _ in range(count):
        told += answers(model, network, [letter])
        letter = told[-1][1]
    return told


def next_letter_probabilities(model, network: Network) -> np.ndarray:
    """(26, 26): row i is what the network gives after a pattern that ends in letter i.

    The stateful network hears the alphabet in order, so that row i is given after A … i.
    """
    table = np.full((len(LETTERS), len(LETTERS)), np.nan, "float32")
    model.reset_states()
    for end in range(0 if network.random_runs else network.window - 1, len(LETTERS)):
        pattern = LETTERS[max(end - network.window + 1, 0) : end + 1]
        table[end] = model.predict(network.encode([pattern]), verbose=0)[0]
    return table


def random_span() -> tuple[int, int]:
    """First and last letter of a random run, with a letter left to follow it."""
    start = np.random.randint(len(LETTERS) - 2)
    return start, np.random.randint(start, min(start + LONGEST_RUN, len(LETTERS) - 1))


def plant(seed: int) -> None:
    """Seed everything a run draws from: Python's and NumPy's global generators.

    ``keras.utils.set_random_seed`` does that too, and imports TensorFlow where it is installed.
    """
    random.seed(seed)
    np.random.seed(seed)


def train_all(
    networks: Sequence[Network],
    seeds: Sequence[int],
    verbose=0,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
    on_begin: Callable[[Network, Sequence[int]], None] = lambda network, seeds: None,
) -> list[Outcome]:
    """Train each network under each seed; what came out, network by network.

    The seeds of a network are trained side by side, unless each has samples of its own.

    Args:
        networks, seeds: which.
        verbose: as in ``train``.
        on_outcome: called with each outcome as it comes.
        on_begin: called before a training with the network and the seeds trained together.
    """
    outcomes = []
    for network in networks:
        together = len(seeds) > 1 and not network.random_runs
        for group in [seeds] if together else [[seed] for seed in seeds]:
            on_begin(network, group)
            if together:
                ended = train_side_by_side(network, group, verbose)
            else:
                ended = [train(network, group[0], verbose)[1]]
            for outcome in ended:
                outcomes.append(outcome)
                on_outcome(outcome)
    return outcomes
