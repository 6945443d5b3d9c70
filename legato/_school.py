"""How a network is trained: built, fitted, and led on; and for how many epochs that is worth it."""

import random
import time as clock
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from legato._errors import InputError
from legato._lessons import Lessons, in_lanes, lanes_for, standing_alone
from legato._network import Networks, Shape, build
from legato._parts import Parts
from legato._sequences import Sequences, ranges
from legato._task import Task


@dataclass(frozen=True)
class Course:
    """How a network is trained; see ``train``."""

    epochs: int
    early_stop: int
    learning_rate: float
    seed: int
    verbose: int | str


class School:
    """Trains networks of one kind for one task."""

    def __init__(self, task: Task, shape: Shape, course: Course, rows: int | None):
        self.task, self.shape, self.course, self.rows = task, shape, course, rows

    def trial(self, parts: Parts, sequences: Sequences) -> dict[str, Any]:
        """Find how many epochs are worth it: the part that decides is not fitted to."""
        stop = keras.callbacks.EarlyStopping(patience=self.course.early_stop, monitor="val_loss")
        decides = parts.stopping(sequences)
        _, told = self.teach(parts.fitting(sequences), decides, [stop])
        losses = told["history"]["val_loss"]
        return {**told, "best_epochs": int(np.nanargmin(losses)) + 1}

    def teach(
        self, learnt: Sequences, judged=None, callbacks: list | None = None
    ) -> tuple[Networks, dict[str, Any]]:
        """Build a network and train it; returns it, and what the training was like.

        Args:
            learnt: what it is fitted on.
            judged: sequences and (sequences,) the first step of each from which on they judge
                every epoch.
            callbacks: Keras's.
        """
        begun, course = clock.perf_counter(), self.course
        with _planted(course.seed):
            networks = build(self.task, self.shape, *_fitted_on(self.task, learnt))
            core = networks.core
            core.compile(
                optimizer=keras.optimizers.Adam(course.learning_rate),
                loss="mse" if networks.scale else "sparse_categorical_crossentropy",
                weighted_metrics=None if networks.scale else ["accuracy"],
            )
            lessons = self.lessons(networks, learnt, 0 * learnt.lengths)
            options: dict[str, Any] = {}
            if judged is not None:
                tests = self.lessons(networks, *judged)
                options["validation_data"] = tests.validation
                options["validation_batch_size"] = tests.rows
            ready = clock.perf_counter()
            history = core.fit(
                lessons.x,
                lessons.y,
                batch_size=lessons.rows,
                sample_weight=lessons.weight,
                starts=lessons.starts,
                epochs=course.epochs,
                verbose=course.verbose,
                callbacks=callbacks,
                **options,
            ).history
        core.reset_states()
        losses = history["loss"]
        if not np.isfinite(losses).all():
            raise InputError(
                f"The loss is no longer a number from epoch {np.argmin(np.isfinite(losses)) + 1} "
                f"on: the training ran away. Take a smaller learning rate than "
                f"{course.learning_rate:g} (--learning-rate)."
            )
        return networks, {
            "history": history,
            "samples": len(lessons.x),
            "rows": lessons.rows,
            "padding": lessons.lanes.padding if lessons.lanes else 0.0,
            "seconds_preparing": ready - begun,
            "seconds": clock.perf_counter() - ready,
        }

    def lessons(self, networks: Networks, led: Sequences, begins: np.ndarray) -> Lessons:
        """What ``fit`` takes of some sequences, asked for what comes from ``begins`` on."""
        task, shape, seed = self.task, self.shape, self.course.seed
        x, (y, there) = task.inputs_of(led), task.answers_of(led)
        step = ranges(0 * led.lengths, led.lengths)
        there &= step + task.horizon >= np.repeat(begins, led.lengths)
        if networks.scale is not None:
            mean, spread = networks.scale
            y = (y - np.tile(x[:, task.places], task.horizon) - mean) / spread
        y = y.astype("float32" if networks.scale else "int32")
        if shape.framing != "chunks":
            return standing_alone(led.lengths, shape, x, y, there, networks.pad, seed)
        lanes = lanes_for(led.lengths, self.rows, shape.steps)
        return in_lanes(lanes, shape, x, y, there, networks.pad)


def _fitted_on(task: Task, fit: Sequences) -> tuple[np.ndarray, np.ndarray | None]:
    """The inputs that scaling is fitted on, and the changes a forecast adds to the last value."""
    values = task.inputs_of(fit)
    if task.kind != "forecast":
        return values, None
    answers, there = task.answers_of(fit)
    return values, (answers - np.tile(values[:, task.places], task.horizon))[there]


@contextmanager
def _planted(seed: int):
    """Initial weights from a seed; the process's own generator is left as it was."""
    kept = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(kept)
