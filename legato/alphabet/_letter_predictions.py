"""What a trained network answers, letter by letter."""

from collections.abc import Sequence

import numpy as np

from legato.alphabet._networks import LETTERS, Network, Samples, random_runs


def examine(
    model, network: Network, samples: Samples, seed: int
) -> dict[str, list[tuple[str, str]]]:
    """Ask a trained network what the published text asks it.

    Returns:
        For each demonstration its heading and lines (asked, answered).
    """
    if network.stateful:
        return {
            "seeded with A and fed its own answers": recite(model, network, "A", 25),
            "the same, started cold at K": recite(model, network, "K", 5),
        }
    if network.random_runs:
        return {"twenty random runs": answers(model, network, random_runs(20, seed + 1))}
    asked = {"every pattern": answers(model, network, samples.patterns)}
    if network.name == "batch":
        picked = np.random.RandomState(seed).randint(len(LETTERS) - 1, size=20)
        asked["twenty letters at random"] = answers(model, network, [LETTERS[at] for at in picked])
    return asked


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
