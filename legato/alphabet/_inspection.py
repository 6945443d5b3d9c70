"""Inspection of a trained network: influence between samples, and states of its LSTM.

The samples are in alphabetical order, in batches as in training. The influence is the derivative of
what ``predict`` computes (``legato.influence``). The states are those of a stream that is fed the
samples step by step. It is reset where the network is: before every sample; if state is carried,
before the first one.
"""

from dataclasses import dataclass

import numpy as np

import legato
from legato.alphabet._networks import LETTERS, LONGEST_RUN, Network

STATES = ("h", "c")  # of an LSTM, in Keras's order


@dataclass(frozen=True, eq=False)
class Look:
    """Influence and states of a trained network.

    Attributes:
        network: one of the six.
        patterns: the letters of each sample, in alphabetical order of the last ones.
        influence: how much the prediction of each sample depends on each sample.
        trace: states after every time step of every sample, in order, padding included.

    Examples:
        >>> from legato import alphabet
        >>> network = alphabet.NETWORKS[0]
        >>> seen = alphabet.look(network.build(), network)
        >>> seen.letters[:3], seen.influence.matrix.shape, seen.held["c"].shape
        (('A', 'B', 'C'), (25, 25), (25, 32))
    """

    network: Network
    patterns: tuple[str, ...]
    influence: legato.Influence
    trace: legato.Trace

    @property
    def letters(self) -> tuple[str, ...]:
        """The last letter of each sample."""
        return tuple(pattern[-1] for pattern in self.patterns)

    @property
    def held(self) -> dict[str, np.ndarray]:
        """h and c after the last step of each sample, (samples, units)."""
        steps = self.trace.steps // len(self.patterns)
        (arrays,) = self.trace.states.values()
        return {
            name: np.asarray(each)[steps - 1 :: steps]
            for name, each in zip(STATES, arrays, strict=True)
        }


def look(model, network: Network) -> Look:
    """Compute influence and states of a trained network; the model is not changed.

    Args:
        model: the trained network.
        network: which of the six it is.

    Returns:
        Influence and states on the samples of training; for network 6, on the longest run that ends
        in each letter.

    Examples:
        >>> from legato import alphabet
        >>> (naive,) = alphabet.find(["naive"])
        >>> seen = alphabet.look(naive.build(), naive)
        >>> seen.influence.matrix.shape, seen.held["h"].shape
        ((25, 25), (25, 32))
    """
    patterns = tuple(_patterns(network))
    x = network.encode(patterns)
    samples, steps, features = x.shape
    influence = legato.influence(
        model,
        x,
        batch_size=network.batch_size,
        names=[pattern[-1] for pattern in patterns],
        verbose=0,
    )
    starts = np.arange(samples * steps) % (samples * steps if network.stateful else steps) == 0
    stream = model.stream(window=None)
    trace = stream.trace(x.reshape(-1, features), starts=starts)
    return Look(network, patterns, influence, trace)


def _patterns(network: Network) -> list[str]:
    """Patterns of letters, one for each letter from the first possible end to Y."""
    if network.random_runs:
        return [LETTERS[max(end - LONGEST_RUN, 0) : end] for end in range(1, len(LETTERS))]
    return network.samples().patterns
