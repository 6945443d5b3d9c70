"""How a network is trained: built, fitted, and led on; and for how many epochs that is worth it."""

import time as clock
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from legato._errors import InputError
from legato._forecasting.network import Networks, Shape, build
from legato._forecasting.partition import Partition
from legato._forecasting.task import Task
from legato._forecasting.training_set import TrainingSet, in_lanes, lanes_for, standing_alone
from legato._platform.checks import check_count, check_seed
from legato._platform.random_state import temporary_seed
from legato._series.sequences import Sequences, expand_ranges


@dataclass(frozen=True)
class TrainingOptions:
    """How a network is trained; see ``train``."""

    epochs: int
    early_stop: int
    learning_rate: float
    seed: int
    verbose: int | str

    def __post_init__(self):
        check_count("epochs", self.epochs)
        check_count("early_stop", self.early_stop, 0)
        check_seed(self.seed)
        if not 0 < self.learning_rate < np.inf:
            raise InputError(
                f"learning_rate is {self.learning_rate}; a number above 0 was expected, such as "
                "0.003."
            )


class Trainer:
    """Trains networks of one kind for one task."""

    def __init__(self, task: Task, shape: Shape, course: TrainingOptions, rows: int | None):
        if rows is not None:
            check_count("rows", rows)
        self.task, self.shape, self.course, self.rows = task, shape, course, rows

    def trial(self, parts: Partition, sequences: Sequences) -> dict[str, Any]:
        """Find how many epochs are worth it: the part that decides is not fitted to."""
        stop = keras.callbacks.EarlyStopping(patience=self.course.early_stop, monitor="val_loss")
        decides = parts.stopping(sequences)
        if decides is None:
            raise InputError(
                f"early_stop is {self.course.early_stop}, and validation 0 leaves nothing to "
                "decide by when to stop. Give a share for validation, or leave early_stop out."
            )
        _, told = self.teach(parts.fitting(sequences), decides, [stop])
        losses = np.array(told["history"]["val_loss"])
        best = int(np.where(np.isfinite(losses), losses, np.inf).argmin())
        return {**told, "best_epochs": best + 1}

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
        _check_enough(self.task, self.shape, learnt)
        with temporary_seed(course.seed):
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

    def lessons(self, networks: Networks, led: Sequences, begins: np.ndarray) -> TrainingSet:
        """What ``fit`` takes of some sequences, asked for what comes from ``begins`` on."""
        task, shape, seed = self.task, self.shape, self.course.seed
        x, (y, there) = task.inputs_of(led), task.answers_of(led)
        step = expand_ranges(0 * led.lengths, led.lengths)
        there &= step + task.horizon >= np.repeat(begins, led.lengths)
        if networks.scale is not None:
            mean, spread = networks.scale
            y = (y - np.tile(x[:, task.places], task.horizon) - mean) / spread
        y = y.astype("float32" if networks.scale else "int32")
        if shape.framing != "chunks":
            pad, rows = networks.pad, self.rows
            return standing_alone(led.lengths, shape, x, y, there, pad, seed, rows)
        lanes = lanes_for(led.lengths, self.rows, shape.steps)
        return in_lanes(lanes, shape, x, y, there, networks.pad)


def _check_enough(task: Task, shape: Shape, learnt: Sequences) -> None:
    """Raise an InputError if sequences are too short to learn anything from."""
    window = shape.steps if shape.framing in ("window", "features") else 1
    most = int(learnt.lengths.max())
    short = np.flatnonzero(learnt.lengths < window)
    if len(short):
        raise InputError(
            f"Sequence {learnt.names[short[0]]!r} has {learnt.lengths[short[0]]} steps to learn "
            f"from, and a window takes {window}. Take a smaller one, steps={most} at most (--steps)"
            f", or leave out the {len(short):,} of {len(learnt):,} sequences that are too short."
        )
    if most < window + task.horizon:
        raise InputError(
            f"The longest sequence has {most} steps to learn from, and to {task.kind} "
            f"{window + task.horizon} are needed: {window} to see and {task.horizon} ahead. Give "
            "longer sequences, or take a smaller window, horizon or test part."
        )


def _fitted_on(task: Task, fit: Sequences) -> tuple[np.ndarray, np.ndarray | None]:
    """The inputs that scaling is fitted on, and the changes a forecast adds to the last value."""
    values = task.inputs_of(fit)
    if task.kind != "forecast":
        return values, None
    answers, there = task.answers_of(fit)
    return values, (answers - np.tile(values[:, task.places], task.horizon))[there]
