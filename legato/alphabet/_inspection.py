"""Inside a trained network: what flows from sample to sample, and what its LSTM holds.

The samples are taken in alphabetical order, in batches as the network was trained on them. The map
is the derivative of what ``predict`` computes for them (``legato.influence``); the states are those
of a stream that is fed them, step by step, and begins anew wherever the network does: before every
sample, or before the first one only where state is carried.
"""

from dataclasses import dataclass

import numpy as np

import legato
from legato.alphabet._networks import LETTERS, LONGEST_RUN, Network

STATES = ("h", "c")  # of an LSTM, in the order in which it carries them


@dataclass(frozen=True, eq=False)
class Look:
    """What is seen inside a trained network.

    Attributes:
        network: which of the six.
        patterns: the letters of each sample, in alphabetical order of the last ones.
        influence: how much the prediction of each sample depends on each sample.
        trace: of every time step of every sample, in order; a pattern's padding is steps, too.
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
        """What the LSTM holds after the last step of each sample: h and c, (samples, units)."""
        steps = self.trace.steps // len(self.patterns)
        (arrays,) = self.trace.states.values()
        return {
            name: np.asarray(each)[steps - 1 :: steps]
            for name, each in zip(STATES, arrays, strict=True)
        }


def look(model, network: Network) -> Look:
    """Look inside a trained network; it is left as it was.

    Args:
        model: the network, trained.
        network: which of the six it is.

    Returns:
        A map of the samples that it learnt from, of network 6 the longest run that ends in each
        letter, and what it holds when they go through it.

    Example:
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
    """What ends in each letter that has one after it."""
    if network.random_runs:
        return [LETTERS[max(end - LONGEST_RUN, 0) : end] for end in range(1, len(LETTERS))]
    return network.samples().patterns
