"""How experiments are made: trainings under many seeds, and their answers scored and told."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import legato
from legato.alphabet._networks import Network, Samples


@dataclass(frozen=True)
class Experiment:
    """How much is done to find something out.

    Attributes:
        quick: with fewer seeds and settings.
        tell: called with what is being tried.
    """

    quick: bool = False
    tell: Callable[[str], None] = lambda what: None

    def of(self, full, quick) -> Any:
        """The one or the other."""
        return quick if self.quick else full

    def train(self, what: str, build: Callable, X, y=None, **fit) -> "legato.Replicates":
        """``legato.replicate``, silent but for what is being trained."""
        self.tell(what)
        return legato.replicate(build, X, y, verbose=0, **fit)

    def train_network(self, what: str, network: Network, n: int, **fit) -> "legato.Replicates":
        """A network as it is published, but for what is given to ``fit``."""
        options = {"epochs": network.epochs, **network.fit_options, **fit}
        return self.train(what, network.build, network.data, n=n, **options)


def right(runs: "legato.Replicates", samples: Samples, batch_size: int | None = None) -> np.ndarray:
    """Whether each replicate answers each sample rightly, (seeds, samples)."""
    size = batch_size or len(samples.x)
    return runs.predict(samples.x, batch_size=size).argmax(-1) == samples.y.argmax(-1)


def shares(answers: np.ndarray) -> np.ndarray:
    """Of right answers, one a seed: (seeds, samples) → (seeds,)."""
    return answers.mean(axis=1)


def told(scores: np.ndarray) -> str:
    """Scores as mean ± standard deviation in percent; the mean alone of those that are the same."""
    spread = "" if np.ptp(scores) == 0 else f" ± {100 * scores.std(ddof=1):.1f}"
    return f"{100 * scores.mean():.1f}{spread} %"


def perfect(scores: np.ndarray) -> str:
    """How many seeds are right every time."""
    return f"{(scores == 1).sum()} of {len(scores)} seeds"


def after(lead: str, said: object) -> str:
    """A sentence, such as a comparison's, after other words, such as ``"No: "``."""
    words = str(said)
    return f"{lead}{words[0].lower()}{words[1:]}" if lead else words
