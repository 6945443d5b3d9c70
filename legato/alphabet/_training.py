"""Training of the six networks under one seed or many, with scores and predictions."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import legato
from legato.alphabet._letter_predictions import next_letter_probabilities, run_demonstrations
from legato.alphabet._networks import Network


@dataclass(frozen=True)
class Outcome:
    """The scores and predictions of a trained network.

    Attributes:
        network: one of the six.
        seed: random seed of the run.
        accuracy: share of right predictions on the training set, after training.
        loss: cross-entropy on the training set, after training.
        history: loss and accuracy of every epoch.
        seconds: wall time of building, compiling and training; of several seeds that were trained
            together, an equal share.
        steps_per_s: training steps per second, without compilation.
        answers: for each demonstration of the published text its heading and lines (pattern,
            predicted letter).
        probabilities: (26, 26): for a pattern ending in each letter, the probability of each next
            one; NaN where the network has no such pattern.

    Examples:
        >>> from dataclasses import replace
        >>> from legato import alphabet
        >>> network = replace(alphabet.NETWORKS[3], epochs=2)  # of 5,000
        >>> model, outcome = alphabet.train(network)
        >>> len(outcome.history["loss"]), outcome.probabilities.shape
        (2, (26, 26))
    """

    network: Network
    seed: int
    accuracy: float
    loss: float
    history: dict[str, list[float]]
    seconds: float
    steps_per_s: float
    answers: dict[str, list[tuple[str, str]]]
    probabilities: np.ndarray


def train(network: Network, seed: int = 7, verbose=0) -> tuple["legato.Sequential", Outcome]:
    """Train a network, score it and predict.

    Args:
        network: one of ``NETWORKS``.
        seed: for the random runs, the initial weights and the sample orders.
        verbose: of ``fit``: 0 silent, 1 one line, 2 a line per epoch.

    Returns:
        The trained model, its state reset, and its outcome.

    Examples:
        >>> from dataclasses import replace
        >>> from legato import alphabet
        >>> network = replace(alphabet.NETWORKS[3], epochs=2)  # of 5,000
        >>> model, outcome = alphabet.train(network)
        >>> outcome.network.name, outcome.seed, [*outcome.answers]
        ('batch', 7, ['every pattern', 'twenty letters at random'])
    """
    samples = network.samples(seed)
    plant(seed)
    began = time.perf_counter()
    model, fit = network.build(), network.fit_options
    first = model.fit(samples.x, samples.y, epochs=1, verbose=0, **fit)  # compiles
    model.reset_states()
    compiled = time.perf_counter()
    rest = model.fit(
        samples.x, samples.y, epochs=network.epochs, initial_epoch=1, verbose=verbose, **fit
    )
    ended = time.perf_counter()
    history = {name: first.history[name] + rest.history[name] for name in first.history}
    speed = _count_steps(network, network.epochs - 1) / (ended - compiled)
    return model, _evaluate(model, network, seed, history, ended - began, speed)


def train_replicates(
    network: Network, seeds: Sequence[int], verbose=0, executor: Any = None
) -> Iterator[tuple["legato.Sequential", Outcome]]:
    """Train a network under several seeds together; yields what ``train`` returns for each.

    Args:
        network: one of ``NETWORKS``.
        seeds: two or more.
        verbose: 0 silent, 1 one line for all, 2 a line per seed.
        executor: as for ``legato.replicate``.
    """
    began = time.perf_counter()
    runs = legato.replicate(
        network.build,
        network.data,
        seeds=seeds,
        epochs=network.epochs,
        verbose=verbose,
        executor=executor,
        **network.fit_options,
    )
    share = (time.perf_counter() - began) / len(runs)
    speeds = [_count_steps(network, network.epochs) / each for each in runs.seconds]
    speeds[0] = sum(speeds[1:]) / len(speeds[1:])  # its time includes compilation
    for k, (seed, speed) in enumerate(zip(runs.seeds, speeds, strict=True)):
        model = runs.model(k)
        yield model, _evaluate(model, network, seed, runs.histories[k], share, speed)


def _count_steps(network: Network, epochs: int) -> int:
    """Number of training steps in some epochs."""
    return -(-len(network.samples().x) // network.batch_size) * epochs


def _evaluate(model, network: Network, seed: int, history, seconds, steps_per_s) -> Outcome:
    """Score a trained network and predict with it; its state is reset."""
    samples = network.samples(seed)
    model.reset_states()
    loss, accuracy = model.evaluate(samples.x, samples.y, batch_size=network.batch_size, verbose=0)
    answers = run_demonstrations(model, network, samples, seed)
    table = next_letter_probabilities(model, network)
    model.reset_states()
    return Outcome(network, seed, accuracy, loss, history, seconds, steps_per_s, answers, table)


def plant(seed: int) -> None:
    """Seed everything that is random in a run: Python's and NumPy's global generators.

    ``keras.utils.set_random_seed`` does that too, but imports TensorFlow if it is installed.

    Examples:
        >>> import random
        >>> from legato import alphabet
        >>> alphabet.plant(7)
        >>> random.randrange(100)
        41
    """
    random.seed(seed)
    np.random.seed(seed)


def train_all(
    networks: Sequence[Network],
    seeds: Sequence[int],
    verbose=0,
    on_outcome: Callable[[Outcome, "legato.Sequential"], None] = lambda outcome, model: None,
    on_begin: Callable[[Network], None] = lambda network: None,
    executor: Any = None,
) -> list[Outcome]:
    """Train each network under all seeds together; returns the outcomes, network by network.

    Args:
        networks: some of ``NETWORKS``.
        seeds: random seeds, one or more.
        verbose: as in ``train``.
        on_outcome: called with each outcome and its model, once they are ready.
        on_begin: called before a network is trained.
        executor: trains two seeds or more in other processes or on other machines, as for
            ``legato.replicate``.

    Examples:
        >>> from dataclasses import replace
        >>> from legato import alphabet
        >>> network = replace(alphabet.NETWORKS[3], epochs=2)  # of 5,000
        >>> [outcome.seed for outcome in alphabet.train_all([network], seeds=[7])]
        [7]
    """
    outcomes = []
    for network in networks:
        on_begin(network)
        alone = len(seeds) == 1
        several = (
            [train(network, seeds[0], verbose)]
            if alone
            else train_replicates(network, seeds, verbose, executor)
        )
        for model, outcome in several:
            outcomes.append(outcome)
            on_outcome(outcome, model)
    return outcomes
