"""Trains a network, and chooses the number of epochs by early stopping."""

import time as clock
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from legato._errors import InputError
from legato._forecasting.network import Networks, Shape, build_networks
from legato._forecasting.partition import Partition
from legato._forecasting.task import Task
from legato._forecasting.train_config import TrainConfig
from legato._forecasting.training_set import (
    TrainingSet,
    independent_samples,
    lane_samples,
    plan_lanes,
)
from legato._platform.random_state import temporary_seed
from legato._series.sequences import Sequences, expand_ranges


@dataclass(frozen=True)
class Trainer:
    """Trains networks of one architecture for one task."""

    task: Task
    shape: Shape
    config: TrainConfig

    def find_epochs(self, parts: Partition, sequences: Sequences) -> dict[str, Any]:
        """Train on a part of the training data, and find the epoch with the least validation loss.

        Returns:
            The record of that training, with ``"best_epochs"``.
        """
        stop = keras.callbacks.EarlyStopping(patience=self.config.early_stop, monitor="val_loss")
        validation = parts.validation(sequences)
        _, record = self.fit(parts.fitting(sequences), validation, [stop])
        losses = np.array(record["history"]["val_loss"])
        best = int(np.where(np.isfinite(losses), losses, np.inf).argmin())
        return {**record, "best_epochs": best + 1}

    def fit(
        self,
        sequences: Sequences,
        validation: tuple[Sequences, np.ndarray] | None = None,
        callbacks: list | None = None,
    ) -> tuple[Networks, dict[str, Any]]:
        """Build a network and train it.

        Args:
            sequences: the data it is fitted on.
            validation: sequences, and (sequences,) the first step of each that is part of the
                validation loss.
            callbacks: Keras's.

        Returns:
            The network, and the record of its training: history, samples, seconds.
        """
        begun, config = clock.perf_counter(), self.config
        check_enough(self.task, self.shape, sequences)
        with temporary_seed(config.seed):
            networks = build_networks(self.task, self.shape, *_scaling_data(self.task, sequences))
            core = networks.core
            core.compile(
                optimizer=keras.optimizers.Adam(config.learning_rate),
                loss="mse" if networks.scale else "sparse_categorical_crossentropy",
                weighted_metrics=None if networks.scale else ["accuracy"],
            )
            training_set = self.training_set(networks, sequences, 0 * sequences.lengths)
            options: dict[str, Any] = {}
            if validation is not None:
                held_out = self.training_set(networks, *validation)
                options["validation_data"] = held_out.validation
                options["validation_batch_size"] = held_out.rows
            ready = clock.perf_counter()
            history = core.fit(
                training_set.x,
                training_set.y,
                batch_size=training_set.rows,
                sample_weight=training_set.weight,
                starts=training_set.starts,
                epochs=config.epochs,
                verbose=config.verbose,
                callbacks=callbacks,
                **options,
            ).history
        core.reset_states()
        losses = history["loss"]
        if not np.isfinite(losses).all():
            raise InputError(
                f"The loss is no longer a number from epoch {np.argmin(np.isfinite(losses)) + 1} "
                f"on: the training diverged. Take a smaller learning rate than "
                f"{config.learning_rate:g} (--learning-rate)."
            )
        return networks, {
            "history": history,
            "samples": len(training_set.x),
            "rows": training_set.rows,
            "padding": training_set.lanes.padding if training_set.lanes else 0.0,
            "seconds_preparing": ready - begun,
            "seconds": clock.perf_counter() - ready,
        }

    def training_set(
        self, networks: Networks, sequences: Sequences, begins: np.ndarray
    ) -> TrainingSet:
        """Arrays for ``fit`` from sequences, with weight 0 for targets before ``begins``."""
        task, shape = self.task, self.shape
        x, (y, there) = task.inputs_of(sequences), task.answers_of(sequences)
        step = expand_ranges(0 * sequences.lengths, sequences.lengths)
        there &= step + task.horizon >= np.repeat(begins, sequences.lengths)
        if networks.scale is not None:
            mean, spread = networks.scale
            y = (y - np.tile(x[:, task.places], task.horizon) - mean) / spread
        y = y.astype("float32" if networks.scale else "int32")
        pad, rows, seed = networks.pad, self.config.rows, self.config.seed
        if shape.framing != "chunks":
            return independent_samples(sequences.lengths, shape, x, y, there, pad, seed, rows)
        return lane_samples(
            plan_lanes(sequences.lengths, rows, shape.steps), shape, x, y, there, pad
        )


def check_enough(task: Task, shape: Shape, training: Sequences) -> None:
    """Refuse sequences that are too short to train one network on.

    Args:
        task, shape: of the network.
        training: the steps that it learns from.

    Raises:
        InputError: they are shorter than a window, or than a window and the horizon.
    """
    window = shape.steps if shape.framing in ("window", "features") else 1
    most = int(training.lengths.max())
    short = np.flatnonzero(training.lengths < window)
    if len(short):
        raise InputError(
            f"Sequence {training.names[short[0]]!r} has {training.lengths[short[0]]} steps to "
            f"learn from, and a window takes {window}. Take a smaller one, steps={most} at most "
            f"(--steps), or leave out the {len(short):,} of {len(training):,} sequences that are "
            "too short."
        )
    if most < window + task.horizon:
        raise InputError(
            f"The longest sequence has {most} steps to learn from, and to {task.kind} "
            f"{window + task.horizon} are needed: {window} to see and {task.horizon} ahead. Give "
            "longer sequences, or take a smaller window, horizon or test part."
        )


def _scaling_data(task: Task, training: Sequences) -> tuple[np.ndarray, np.ndarray | None]:
    """The inputs that scaling is fitted on, and the changes a forecast adds to the last value."""
    values = task.inputs_of(training)
    if task.kind != "forecast":
        return values, None
    answers, there = task.answers_of(training)
    return values, (answers - np.tile(values[:, task.places], task.horizon))[there]
