"""Predictions of a trained network, letter by letter."""

from collections.abc import Sequence

import numpy as np

from legato.alphabet._networks import LETTERS, Network, Samples, random_runs


def run_demonstrations(
    model, network: Network, samples: Samples, seed: int
) -> dict[str, list[tuple[str, str]]]:
    """Predict in each demonstration of the published text.

    Returns:
        For each demonstration its heading and its lines (pattern, predicted letter).
    """
    if network.stateful:
        return {
            "seeded with A and fed its own answers": recite(model, network, "A", 25),
            "the same, started cold at K": recite(model, network, "K", 5),
        }
    if network.random_runs:
        return {"twenty random runs": answers(model, network, random_runs(20, seed + 1))}
    demonstrations = {"every pattern": answers(model, network, samples.patterns)}
    if network.name == "batch":
        picked = np.random.RandomState(seed).randint(len(LETTERS) - 1, size=20)
        demonstrations["twenty letters at random"] = answers(
            model, network, [LETTERS[at] for at in picked]
        )
    return demonstrations


def answers(model, network: Network, patterns: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs (pattern, predicted letter), predicted one pattern at a time.

    Examples:
        >>> from legato import alphabet
        >>> network = alphabet.NETWORKS[4]
        >>> model = network.build()  # untrained
        >>> [pattern for pattern, letter in alphabet.answers(model, network, ["A", "B"])]
        ['A', 'B']
    """
    pairs: list[tuple[str, str]] = []
    for pattern in patterns:
        prediction = model.predict(network.encode([pattern]), verbose=0)
        pairs.append((pattern, LETTERS[int(prediction.argmax())]))
    return pairs


def recite(model, network: Network, letter: str, count: int) -> list[tuple[str, str]]:
    """Pairs (letter, predicted letter) from a fresh state; each prediction is the next input.

    Examples:
        >>> from legato import alphabet
        >>> network = alphabet.NETWORKS[4]
        >>> model = network.build()  # untrained
        >>> recited = alphabet.recite(model, network, "A", 3)
        >>> recited[1][0] == recited[0][1]  # an answer is the next question
        True
    """
    model.reset_states()
    pairs = []
    for _ in range(count):
        pairs += answers(model, network, [letter])
        letter = pairs[-1][1]
    return pairs


def next_letter_probabilities(model, network: Network) -> np.ndarray:
    """Probabilities (26, 26): row i after a pattern that ends in letter i; NaN without a pattern.

    The stateful network is fed the alphabet in order, so that row i is predicted after A … i.

    Examples:
        >>> from legato import alphabet
        >>> network = alphabet.NETWORKS[4]
        >>> model = network.build()  # untrained
        >>> alphabet.next_letter_probabilities(model, network).shape
        (26, 26)
    """
    table = np.full((len(LETTERS), len(LETTERS)), np.nan, "float32")
    model.reset_states()
    for end in range(0 if network.random_runs else network.window - 1, len(LETTERS)):
        pattern = LETTERS[max(end - network.window + 1, 0) : end + 1]
        table[end] = model.predict(network.encode([pattern]), verbose=0)[0]
    return table
