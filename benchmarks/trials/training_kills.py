"""Kills of training with ``BackupAndRestore``: each run goes on from the backup, until one ends."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from trials.kills import EARLY, FEATURES, UNITS, Tally, bits_of, killed, spread
from trials.processes import Child

import legato
from legato import layers

EPOCHS, BATCHES, ROWS, STEPS = 400, 5, 3, 6


@dataclass(frozen=True)
class Training:
    """A run: whether its layers are stateful, and what ``save_freq`` is."""

    is_stateful: bool
    save_freq: str | int


TRAININGS = [
    Training(True, "epoch"),
    Training(False, "epoch"),
    Training(True, 3),
    Training(False, 2),
]


class Reports(keras.callbacks.Callback):
    """Reports the number of every epoch that begins, or of every batch of the run."""

    def __init__(self, connection, by_batch: bool, is_early: bool):
        super().__init__()
        self._connection, self._by_batch, self._epoch = connection, by_batch, 0
        self._begins = -1 if is_early else 1  # in which report

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        if not self._by_batch:
            self._report(epoch)

    def on_train_batch_begin(self, batch, logs=None):
        if self._by_batch:
            self._report(self._epoch * BATCHES + batch)

    def _report(self, number):
        if self._begins == 0:
            self._connection.send(("begun",))
        self._begins -= 1
        self._connection.send(("done", number))


def run_training(
    connection, training: Training, folder: Path | None, seed: int, is_early: bool = True
) -> None:
    """In the child: train a model to the end, with a backup if a folder is given.

    It has begun before ``fit`` if ``is_early``, and else with the second epoch or batch, when all
    is compiled.
    """
    rng = np.random.default_rng(5)
    x, y = spread(rng, ROWS * BATCHES, STEPS, FEATURES), spread(rng, ROWS * BATCHES, UNITS)
    keras.utils.set_random_seed(seed)
    options: dict[str, Any] = {"stateful": training.is_stateful, "dropout": 0.2}
    model = legato.Sequential([layers.Input((STEPS, FEATURES)), layers.GRU(UNITS, **options)])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    callbacks: list[Any] = []
    if folder is not None:
        by_batch = training.save_freq != "epoch"
        backup = keras.callbacks.BackupAndRestore(folder, save_freq=training.save_freq)
        callbacks = [backup, Reports(connection, by_batch, is_early)]
    if is_early:
        connection.send(("begun",))
    history = model.fit(
        x, y, ROWS, EPOCHS, verbose=0, shuffle=not training.is_stateful, callbacks=callbacks
    )
    values = [history.history["loss"][-1], *model.variables, *model.optimizer.variables]
    bits = [np.asarray(each).tobytes() for each in values] + [bits_of(model.states)]
    connection.send(("end", bits))


def check_resumed(tally: Tally, before: list[int], first: int, every: int, last: int) -> None:
    """Check where a run resumes.

    Args:
        before: the epochs, or batches, that the killed run began.
        first: the one at which the next run begins.
        every: how many there are from backup to backup.
        last: the last one of the whole run.
    """
    saved = (before[-1] - before[0]) // every * every + before[0]
    is_over = before[-1] == last and first == 0  # a run that ends removes its backup
    if first < saved and not is_over:
        tally.add("lost", f"resumed at {first} instead of {saved} or the next backup")
    elif first > min(saved + every, before[-1] + 1):
        tally.add("different", f"resumed at {first}, but {before[-1]} was the last to begin")


def kill_training(kills: int, folder: Path, rng: np.random.Generator) -> Iterator[Tally]:
    """Kill training runs until they have ended; yields the tally after each kill."""
    tally = Tally("training")
    alone = []
    for training in TRAININGS:
        child = Child(run_training, training, None, 1)
        while child.receive_one(120):
            pass
        child.end()
        alone.append(child.messages[-1])
    for number in itertools.cycle(range(len(TRAININGS))):
        training, before, end = TRAININGS[number], [], None
        by_batch = training.save_freq != "epoch"
        every, last = (
            (int(training.save_freq), EPOCHS * BATCHES - 1) if by_batch else (1, EPOCHS - 1)
        )
        while end is None:
            is_kept = any((folder / "backup").glob("*.safetensors"))
            seed = int(rng.integers(2, 1000)) if is_kept else 1  # a backup has its own
            is_early = rng.uniform() < EARLY
            child = killed(tally, rng, run_training, training, folder / "backup", seed, is_early)
            begun = [each[1] for each in child.messages if each[0] == "done"]
            tally.done += len(begun)
            if before and begun:
                check_resumed(tally, before, begun[0], every, last)
            before = begun or before
            end = next((each for each in child.messages if each[0] == "end"), None)
            yield tally
        if end != alone[number]:
            tally.add("different", f"the end of {training}")
        shutil.rmtree(folder / "backup", ignore_errors=True)
        if tally.trials >= kills:
            return
