"""Outcomes of runs and answers to questions, made up."""

import dataclasses

import numpy as np

import legato
from legato.alphabet import Answer, Found, Group, Outcome, Question


def outcome(network, seed: int, **others) -> Outcome:
    """A possible outcome of a run; all its numbers differ."""
    rng = np.random.default_rng([network.number, seed])
    epochs = 300 + network.number
    history = {
        "loss": list(3 * np.exp(-np.linspace(0, 3, epochs)) * rng.uniform(0.9, 1, epochs)),
        "accuracy": list(np.sort(rng.uniform(0, 1, epochs))),
    }
    probabilities = rng.dirichlet(np.ones(26), 26)
    probabilities[: 0 if network.random_runs else network.window - 1] = np.nan
    answers_by_pattern = {"every <pattern>": [("A", "B"), ("U", "W"), ("XYZ", "A")]}
    made = Outcome(
        network,
        seed,
        0.8 + 0.01 * network.number + 0.003 * seed,
        history["loss"][-1],
        history,
        2.0 + seed,
        1000.0 * network.number + seed,
        answers_by_pattern,
        probabilities,
    )
    return dataclasses.replace(made, **others)


def answered(verdict="holds", scores=((0.84, 0.88, 0.8), (0.92, 0.9, 0.88)), unit="%", **others):
    """A possible answer to a question."""
    groups = tuple(Group(f"group {at}", np.array(each)) for at, each in enumerate(scores))
    compared = ()
    if len(groups) == 2 and all(len(each.scores) > 1 for each in groups):
        compared = (legato.compare(groups[1].scores, groups[0].scores, unit=unit),)
    found = Found(verdict, "It is by 6 points.", groups, compared, ("A remark.",))
    words = {"name": "lift", "asks": "Is it real?", "claimed": "It may be.", **others}
    question = Question(experiment=lambda effort: found, unit=unit, **words)
    return Answer(question, found, True, 12.34)
