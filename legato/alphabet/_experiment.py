"""Experiments: train under many seeds, score the predictions, and format the scores."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import legato
from legato.alphabet._networks import Network, Samples


@dataclass(frozen=True)
class Experiment:
    """Whether an experiment is full or quick, and the calls that train for it.

    Attributes:
        quick: use fewer seeds and settings.
        report_progress: called with a description of each step.
        executor: trains, as for ``legato.replicate``; None: threads of this process do.
    """

    quick: bool = False
    report_progress: Callable[[str], None] = lambda message: None
    executor: Any = None

    def choose(self, full, quick) -> Any:
        """The setting for a full experiment, or for a quick one."""
        return quick if self.quick else full

    def train(self, message: str, build: Callable, X, y=None, **fit) -> "legato.Replicates":
        """Call ``legato.replicate``, after reporting the message."""
        self.report_progress(message)
        return legato.replicate(build, X, y, verbose=0, executor=self.executor, **fit)

    def train_network(self, message: str, network: Network, n: int, **fit) -> "legato.Replicates":
        """Train a network under n seeds with the settings of the 2016 tutorial, except ``fit``."""
        options = {"epochs": network.epochs, **network.fit_options, **fit}
        return self.train(message, network.build, network.data, n=n, **options)


def correct_predictions(
    runs: "legato.Replicates", samples: Samples, batch_size: int | None = None
) -> np.ndarray:
    """Whether each replicate predicts the target of each sample, (seeds, samples)."""
    size = batch_size or len(samples.x)
    return runs.predict(samples.x, batch_size=size).argmax(-1) == samples.y.argmax(-1)


def accuracies(correct: np.ndarray) -> np.ndarray:
    """The share of correct predictions under each seed: (seeds, samples) → (seeds,)."""
    return correct.mean(axis=1)


def format_scores(scores: np.ndarray) -> str:
    """Mean ± standard deviation in percent; the mean alone if all scores are the same."""
    spread = "" if np.ptp(scores) == 0 else f" ± {100 * scores.std(ddof=1):.1f}"
    return f"{100 * scores.mean():.1f}{spread} %"


def count_perfect(scores: np.ndarray) -> str:
    """The number of seeds with score 1: ``2 of 3 seeds``."""
    return f"{(scores == 1).sum()} of {len(scores)} seeds"


def prefix_sentence(prefix: str, sentence: str | legato.Comparison) -> str:
    """The text of a sentence or ``Comparison``, with a prefix such as ``"No: "``."""
    text = sentence if isinstance(sentence, str) else sentence.as_numbers()["sentence"]
    return f"{prefix}{text[0].lower()}{text[1:]}" if prefix else text
