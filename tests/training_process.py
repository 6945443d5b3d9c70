"""One of several processes that train one model together, for ``execution/test_processes.py``.

``main``, in a process with the arguments WHAT INDEX COUNT PORT FOLDER TIMEOUT_S, writes what it
found as lines of JSON.
"""

import atexit
import json
import os
import re
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

import jax
import keras
import numpy as np
import polars

import legato
from legato import layers
from legato._execution import process_sums
from legato._platform import row_devices
from legato._recurrent import native_kernel

ROWS, SAMPLES, STEPS, FEATURES = 4, 12, 5, 3


def own_rows(array: np.ndarray, index: int, count: int) -> np.ndarray:
    """The rows of each batch that a process computes."""
    batches = array.reshape(-1, count, ROWS // count, *array.shape[1:])
    return batches[:, index].reshape(-1, *array.shape[1:])


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, targets, and where sequences begin."""
    X = np.random.default_rng(0).normal(size=(SAMPLES, STEPS, FEATURES)).astype("float32")
    return X, X[:, 0, :1], np.arange(SAMPLES) == 6


def make() -> legato.Sequential:
    """A stateful model with dropout, compiled."""
    keras.utils.set_random_seed(3)
    model = legato.Sequential(
        [
            layers.Input((STEPS, FEATURES)),
            layers.GRU(4, stateful=True, dropout=0.2, return_sequences=True),
            layers.LSTM(3, stateful=True),
            layers.Dense(1),
        ]
    )
    model.compile("adam", "mse", metrics=["mae"])
    return model


def train(index: int = 0, count: int = 1, **options) -> dict:
    """Train on a process's rows, with validation; evaluate, and predict.

    Returns:
        What came out, as lists: history, weights, states by layer, evaluation, prediction.
    """
    model = make()
    X, y, starts = (own_rows(each, index, count) for each in data())
    batch = ROWS // count
    fit = {"epochs": 3, "starts": starts, "reset": "never", "verbose": 0, **options}
    history = model.fit(X, y, batch, validation_data=(X, 2 * y), **fit).history
    found = {
        "history": history,
        "weights": [each.tolist() for each in model.get_weights()],
        "states": [each.tolist() for parts in model.states.values() for each in parts],
        "evaluation": model.evaluate(X, y, batch, verbose=0),
        "prediction": model.predict(X, batch, verbose=0).tolist(),
        "again": model.predict(X, batch, verbose=0).tolist(),
    }
    return found | {"trained again": model.fit(X, y, batch, **fit).history}


def small(rows: int = 2) -> tuple:
    """A compiled model, and data of six samples."""
    keras.utils.set_random_seed(5)
    model = legato.Sequential([layers.Input((4, 2)), layers.GRU(2), layers.Dense(1)])
    model.compile("sgd", "mse")
    X = np.random.default_rng(1).normal(size=(3 * rows, 4, 2)).astype("float32")
    return model, X, X[:, 0, :1]


def write_files(folder: str) -> None:
    """Write nine sequences, whose targets are the first value of each, as three Parquet files."""
    lengths = np.random.default_rng(2).integers(2, 30, 9)
    values = np.random.default_rng(3).normal(size=(2, lengths.sum())).astype("float32")
    first = np.repeat(values[0][np.cumsum(lengths) - lengths], lengths)
    names = np.repeat(np.arange(9), lengths)
    table = polars.DataFrame({"id": names, "a": values[0], "b": values[1], "y": first})
    Path(folder, "data").mkdir()
    for number, begin in enumerate(range(0, table.height, 60)):
        table[begin : begin + 60].write_parquet(f"{folder}/data/{number}.parquet")


def train_from_files(folder: str, shard: tuple[int, int] | None = None, **options) -> dict:
    """Train on a shard of the files; returns history, weights and states, as lists."""
    keras.utils.set_random_seed(3)
    model = legato.Sequential(
        [
            layers.Input((None, 2)),
            layers.GRU(4, stateful=True, return_sequences=True),
            layers.Dense(1),
        ]
    )
    model.compile("adam", "mse")
    columns = {"inputs": ["a", "b"], "targets": "y", "group": "id"}
    files = legato.FileLanes(
        f"{folder}/data", rows=ROWS, steps=STEPS, shard=shard, shuffle_seed=1, **columns
    )
    history = model.fit(files, epochs=2, verbose=0, **options).history
    return {
        "history": history,
        "weights": [each.tolist() for each in model.get_weights()],
        "states": [each.tolist() for parts in model.states.values() for each in parts],
        "evaluation": model.evaluate(files, verbose=0),
    }


class StopAfter(keras.callbacks.Callback):
    """Stops training after an epoch, or after a batch of it."""

    def __init__(self, epoch: int, batch: int | None = None):
        super().__init__()
        self.at, self.batch, self.epoch = epoch, batch, 0
        if batch is not None:
            self.on_train_batch_end = self.after_batch

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        if self.batch is None and epoch == self.at:
            self.model.stop_training = True

    def after_batch(self, batch, logs=None):
        if self.epoch == self.at and batch == self.batch:
            self.model.stop_training = True


class Failing(keras.callbacks.Callback):
    """Raises an error at the end of an epoch."""

    def __init__(self, epoch: int, error: Exception):
        super().__init__()
        self.at, self.error = epoch, error

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.at:
            raise self.error


class Killed(keras.callbacks.Callback):
    """Kills its process at the end of an epoch."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            os.kill(os.getpid(), signal.SIGKILL)


def losses(callbacks=(), shuffle=False, data: tuple | None = None, **options) -> list:
    """The losses of a small training, by epoch; or the message of its error."""
    model, X, y = small()
    X, y = data or (X, y)
    fit = {"epochs": 4, "verbose": 0, "shuffle": shuffle, "callbacks": list(callbacks), **options}
    try:
        return model.fit(X, y, fit.pop("batch_size", 2), **fit).history["loss"]
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]


def callbacks_in_one_process(index: int) -> dict:
    """Losses of trainings whose callbacks only one process has."""
    seen: list[int] = []
    batches = keras.callbacks.LambdaCallback(on_train_batch_end=lambda at, logs: seen.append(at))
    return {
        "stopped after an epoch": losses([StopAfter(1)] if index == 0 else []),
        "stopped after a batch": losses([StopAfter(1, 1)] if index == 1 else []),
        "batches": losses([batches] if index == 1 else []),
        "seen": seen,
        "shuffled": losses(shuffle=True),
    }


def disagreements(index: int, folder: str) -> dict:
    """What is said to processes that differ."""
    first = index == 0
    model, X, y = small()
    other = legato.Sequential([layers.Input((4, 2)), layers.GRU(2 + index), layers.Dense(1)])
    other.compile("sgd", "mse")

    def error_of(call) -> str:
        try:
            call()
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return "none"

    def another_seed():
        keras.utils.set_random_seed(index)
        mine = legato.Sequential([layers.Input((4, 2)), layers.GRU(2), layers.Dense(1)])
        mine.compile("sgd", "mse")
        mine.fit(X, y, 2, verbose=0)

    def another_order():
        np.random.seed(index)
        model.fit(X, y, 2, shuffle=True, verbose=0)

    def another_kernel():
        why = None if first else "it is turned off"
        with patch.object(native_kernel, "unavailable", return_value=why):
            model.fit(X, y, 2, verbose=0)

    def batches():
        return ((X[at : at + 2], y[at : at + 2]) for at in range(0, 6 if first else 4, 2))

    backup = keras.callbacks.BackupAndRestore(folder)
    length = 6 if first else 4
    return {
        "samples": losses(data=(X[:length], y[:length])),
        "empty": losses(data=(X[: length - 4], y[: length - 4])),
        "nan": losses(data=(X if first else X * np.nan, y)),
        "batch": losses(batch_size=2 if first else 3),
        "epochs": losses(epochs=3 if first else 4),
        "reset": losses(reset="epoch" if first else "batch"),
        "model": error_of(lambda: other.fit(X, y, 2, verbose=0)),
        "seed": error_of(another_seed),
        "order": error_of(another_order),
        "kernel": error_of(another_kernel),
        "generator": error_of(lambda: model.fit(batches(), verbose=0)),
        "backups": losses([backup] if first else []),
        "failure": losses([Failing(1, OSError("disk is full"))] if first else []),
        "verb": error_of(
            lambda: model.evaluate(X, y, 2, verbose=0) if first else model.fit(X, y, 2, verbose=0)
        ),
        "twice": error_of(lambda: legato.join_processes("127.0.0.1:1", 2, index)),
        "after all of it": losses(),
    }


def interrupted(index: int, count: int, folder: str, epochs: int = 3, **options) -> dict:
    """A training with a backup, interrupted in the second epoch and then continued."""
    backup = [keras.callbacks.BackupAndRestore(folder, save_freq=2)]
    if epochs == 2:
        error = Failing(1, KeyError("interrupted"))
        try:
            train(index, count, epochs=3, callbacks=[*backup, error], **options)
        except KeyError:
            return {}
    return train(index, count, epochs=3, callbacks=backup, **options)


def lose_one(index: int) -> dict:
    """Train until process 1 is killed; what the other is told, and after how many seconds."""
    began = time.monotonic()
    message = losses([Killed()] if index == 1 else [], epochs=1000, data=None)
    return {"lost": message, "seconds": time.monotonic() - began}


def answer(index: int, count: int, folder: str) -> dict:
    """All answers of one of two processes, of which the second is killed at the end."""
    saved = Path(folder) / f"model{{epoch}}.{index}.keras"
    checkpoint = keras.callbacks.ModelCheckpoint(saved)
    with patch.object(row_devices, "joining_sums", wraps=row_devices.joining_sums) as joining:
        trained = train(index, count, callbacks=[checkpoint])
    found = {
        "train": trained,
        "joined": joining.call_count,
        "shared": process_sums.are_shared(),
        "callbacks": callbacks_in_one_process(index),
        "disagreements": disagreements(index, f"{folder}/other"),
        "files": train_from_files(folder, (index, count)),
    }
    interrupted(index, count, f"{folder}/backup", epochs=2)
    if index == 0:
        shutil.copytree(f"{folder}/backup", f"{folder}/copy")
    found["continued"] = interrupted(index, count, f"{folder}/backup")
    print(json.dumps(found), flush=True)
    return lose_one(index)


def xla_threads() -> int:
    """The threads of this process on which XLA divides a computation."""
    count = 0
    for each in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # a thread that has ended meanwhile
            count += "XLAEigen" in (each / "comm").read_text()
    return count


def ends_on_sigterm() -> bool:
    """Whether neither Python nor a library has a handler of that signal."""
    caught = re.search(r"SigCgt:\s*(\w+)", Path("/proc/self/status").read_text())
    assert caught is not None
    return not int(caught[1], 16) >> (signal.SIGTERM - 1) & 1


def main() -> None:
    """Train with the other processes."""
    what, index, count, port, folder = sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5]
    coordinator = f"127.0.0.1:{port}"
    if what == "keras":
        keras.distribution.initialize(coordinator, count, index)
        keras.distribution.set_distribution(keras.distribution.DataParallel())
        print(json.dumps({"train": train(index, count)}), flush=True)
        losses([Killed()] if index == 0 else [], epochs=1000)
        return
    if what == "join":
        atexit.register(time.sleep, 2 * index)  # process 0 has ended before JAX ends here
    try:
        legato.join_processes(coordinator, count, index, seed=1, timeout_s=float(sys.argv[6]))
    except legato.LegatoError as error:
        print(json.dumps(f"{type(error).__name__}: {error}"))
        return
    if what == "join":
        found = {"processes": jax.process_count(), "threads": xla_threads()}
        print(json.dumps(found | {"ends on SIGTERM": ends_on_sigterm()}))
    elif what == "train":
        print(json.dumps({"train": train(index, count)}))
    else:
        print(json.dumps(answer(index, count, folder)))
