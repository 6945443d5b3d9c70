"""Kills at random moments: what a process had answered or saved must be there, once, and the same.

Each kind of work runs in a child process (``processes``) that reports what it has done, as soon as
it is done, until SIGKILL ends it; then its files are compared with those of work that never
stopped. One more change than was reported may be in the files, since a kill may come between the
two. The next child continues from the files, and is killed in its turn. Children begin to count
before they open their files, so that kills hit the opening, too.

All comparisons are to the bit, with one exception: answers of ``legato stream`` to lines that are
fed together, whose number changes the last digits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from trials.processes import Child

import legato
from legato import layers

FEATURES, UNITS = 3, 4
LONGEST_S = 0.3  # from the beginning of a child's work to its kill
EARLY = 0.25  # of the kills, the share that comes as early as while the files are opened
LOG_BYTES = 3000  # of a log that is merged into its file, so that this is often killed, too
FAULTS = ("lost", "twice", "different", "error")


@dataclass
class Tally:
    """What the kills of one kind of work have shown.

    Attributes:
        kind: of the work.
        trials: number of kills.
        done: number of changes that were reported before kills, and looked at.
        faults: number of each kind of fault.
        notes: for each change that was lost, made twice or different, which it was.
    """

    kind: str
    trials: int = 0
    done: int = 0
    faults: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FAULTS, 0))
    notes: list[str] = field(default_factory=list)

    def add(self, fault: str, note: str) -> None:
        """Count a fault."""
        self.faults[fault] += 1
        self.notes.append(f"{self.kind}, kill {self.trials}: {fault}: {note}")


def spread(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Numbers that all differ, none of them zero."""
    return (rng.uniform(0.1, 0.9, shape) * rng.choice([-1, 1], shape)).astype("float32")


def make_model(number: int = 3) -> legato.Sequential:
    """A model with weights of a number."""
    model = legato.Sequential(
        [layers.Input((None, FEATURES)), layers.LSTM(UNITS, stateful=True), layers.Dense(2)]
    )
    set_weights(model, number)
    return model


def set_weights(model: Any, number: int) -> None:
    """Give a model the weights of a number."""
    rng = np.random.default_rng(number)
    model.set_weights([spread(rng, *weight.shape) for weight in model.weights])


def killed(tally: Tally, rng: np.random.Generator, run: Callable, *arguments: Any) -> Child:
    """A child that was killed at a random moment after it had begun, or has ended before."""
    child = Child(run, *arguments)
    longest = LONGEST_S * (EARLY if rng.uniform() < EARLY else 1)
    while child.receive_one(120) and ("begun",) not in child.messages:
        pass
    if ("begun",) in child.messages and child.receive(rng.uniform(0, longest)):
        tally.trials += child.kill()
    else:
        child.end()
    if not child.messages:
        tally.add("error", "the process did not begin")
    for message in child.messages:
        if message[0] == "error":
            tally.add("error", message[1])
    return child


def numbers_of(state: legato.State) -> np.ndarray:
    """The numbers of a state, whatever its layers are called."""
    parts = [np.ravel(part) for parts in state.values() for part in parts]
    return np.concatenate([np.empty(0, "float32"), *parts])


def bits_of(state: legato.State) -> bytes:
    """The bits of a state's numbers."""
    return numbers_of(state).tobytes()
