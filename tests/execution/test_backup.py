"""Runs continued from a backup end as if never stopped, to the bit.

An uninterrupted run is compared with one that is stopped and started again by the same lines, in
this process and, killed at random moments, in processes of its own.
"""

import json
import random
import signal
import time
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import jax
import keras
import numpy as np
import pytest
from cells import FEATURES, ROWS, STEPS, UNITS, inputs, spread, with_shared_programs
from damage import assert_flips_refused, contents, flips_accepted, rewrite_as_version_1
from forked import forked

import legato
from legato import layers
from legato._execution import run_ahead
from legato._execution.backup import BackupAndRestore

X = inputs(4 * ROWS + 1, seed=4)
y = spread(np.random.default_rng(5), len(X), UNITS)
EPOCHS = 6


class StoppedError(Exception):
    """Stops a run."""


class StopsAt(keras.callbacks.Callback):
    """Stops a run at a batch of an epoch."""

    def __init__(self, epoch: int, batch: int):
        super().__init__()
        self.where = (epoch, batch)
        self.epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == self.where:
            raise StoppedError


class Patience(keras.callbacks.Callback):
    """A user's callback with a count and other attributes."""

    def on_train_begin(self, logs=None):
        self.count, self.best, self.seen = 0, np.inf, np.zeros(2)

    def on_epoch_end(self, epoch, logs=None):
        self.count += 1
        self.best = min(self.best, logs["loss"])
        self.seen = np.append(self.seen[-1:], logs["loss"])


class Data(keras.utils.PyDataset):
    """Batches by number."""

    @property
    def num_batches(self):
        return 4

    def __getitem__(self, number):
        at = slice(number * ROWS, (number + 1) * ROWS)
        return X[at], y[at]


def model(stateful: bool, seed: int):
    """A compiled model, its weights and its dropout drawn from a seed."""
    keras.utils.set_random_seed(seed)
    made = legato.Sequential(
        [
            keras.Input((STEPS, FEATURES)),
            layers.GRU(UNITS, stateful=stateful, return_sequences=True, dropout=0.2),
            layers.LSTM(UNITS, stateful=stateful, recurrent_dropout=0.2),
        ]
    )
    made.compile(keras.optimizers.Adam(0.02), "mse", metrics=["mae"])
    return made


def counting() -> list:
    """Callbacks that depend on earlier epochs."""
    return [
        keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1.0),
        keras.callbacks.EarlyStopping("mae", patience=3, min_delta=1.0, restore_best_weights=True),
        Patience(),
    ]


RUNS = {
    "stateful": {"stateful": True},
    "shuffled": {"stateful": False, "shuffle": True},
    "runs on": {"stateful": True, "reset": "never"},
    "validated": {"stateful": True, "validation_data": (X[:ROWS], y[:ROWS])},
    "looks back": {"stateful": False, "callbacks": counting},
    "batches": {"stateful": True, "x": Data},
    "shuffled batches": {"stateful": False, "x": Data, "shuffle": True},
    "eagerly": {"stateful": True, "run_eagerly": True},
}


def fit(run: dict, backup: keras.callbacks.Callback | None, *stops, seed=1):
    """Run ``fit``; returns history, attributes of callbacks, variables and states."""
    options = {"shuffle": False, "epochs": EPOCHS, "verbose": 0} | run
    stateful, eagerly = options.pop("stateful"), options.pop("run_eagerly", False)
    made = model(stateful, seed)
    made.run_eagerly = eagerly
    made.steps_per_execution = options.pop("steps_per_execution", 1)
    with_shared_programs(made, "backed up", stateful, eagerly)
    kind = options.pop("x", None)
    data = {"x": kind()} if kind else {"x": X, "y": y, "batch_size": ROWS}
    counts = options.pop("callbacks", list)()
    callbacks = [*([backup] if backup else []), *counts, *stops]
    made.predict(X[:ROWS], verbose=0)  # a state to begin with, and a built model
    history = made.fit(**data, callbacks=callbacks, **options).history
    counted = [
        {name: vars(each).get(name) for name in ("wait", "best", "count")} for each in counts
    ]
    variables = [*made.variables, *made.optimizer.variables]
    return history, counted, [np.asarray(each) for each in variables], made.states


def assert_same_end(one, other, epochs: int) -> None:
    """Check that both ended alike; of the logs, the last epochs are compared."""
    for name, values in one[0].items():
        assert values[-epochs:] == other[0][name], name
    assert one[1] == other[1]
    for mine, theirs in zip(one[2], other[2], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for mine, theirs in zip(one[3].values(), other[3].values(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.quick_cases(3)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "eagerly")) for name in RUNS]
)
def test_stopped_after_an_epoch(name, tmp_path):
    run = RUNS[name]
    alone = fit(run, keras.callbacks.BackupAndRestore(tmp_path))
    stopped_in = 3
    with pytest.raises(StoppedError):
        fit(run, keras.callbacks.BackupAndRestore(tmp_path), StopsAt(stopped_in, 1))
    random.seed(99)
    np.random.seed(99)
    again = fit(run, keras.callbacks.BackupAndRestore(tmp_path), seed=2)
    assert_same_end(alone, again, len(alone[0]["loss"]) - stopped_in)
    assert not list(tmp_path.glob("*"))  # no backup after the end of a run


@pytest.mark.quick_cases(4)
@pytest.mark.parametrize("name", ["stateful", "shuffled", "validated", "batches"])
@pytest.mark.parametrize("every", [1, 3])
def test_stopped_in_the_middle_of_an_epoch(name, every, tmp_path):
    run = RUNS[name]
    alone = fit(run, keras.callbacks.BackupAndRestore(tmp_path))
    with pytest.raises(StoppedError):
        fit(run, keras.callbacks.BackupAndRestore(tmp_path, save_freq=every), StopsAt(3, 2))
    again = fit(run, keras.callbacks.BackupAndRestore(tmp_path, save_freq=every), seed=2)
    assert_same_end(alone, again, len(again[0]["loss"]))
    assert EPOCHS - 4 <= len(again[0]["loss"]) <= EPOCHS - 2


@pytest.mark.parametrize("name", ["stateful", "shuffled", "batches"])
@pytest.mark.parametrize("steps_per_execution", [1, 2])
def test_stopped_in_an_epoch_and_resumed_in_calls_of_another_length(
    name, steps_per_execution, tmp_path
):
    """The rest of the epoch is run, whatever the callbacks of the second run allow a call."""
    run = RUNS[name]
    alone = fit(run, None)
    with pytest.raises(StoppedError):
        fit(run, keras.callbacks.BackupAndRestore(tmp_path, save_freq=1), StopsAt(1, 1))
    executions = "epoch" if steps_per_execution == 1 else 2
    backup = keras.callbacks.BackupAndRestore(tmp_path, save_freq=executions)
    again = fit(run | {"steps_per_execution": steps_per_execution}, backup, seed=2)
    assert_same_end(alone, again, EPOCHS - 1)


class Fails(keras.callbacks.Callback):
    """Fails after an epoch."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 4:
            raise StoppedError


@pytest.mark.parametrize("name", ["stateful", "shuffled", "validated"])
def test_stopped_where_epochs_run_ahead_of_callbacks(name, tmp_path, monkeypatch):
    monkeypatch.setattr(run_ahead, "AHEAD_SECONDS", 0)
    alone = fit(RUNS[name], keras.callbacks.BackupAndRestore(tmp_path))
    monkeypatch.setattr(run_ahead, "AHEAD_SECONDS", 1e9)
    with pytest.raises(StoppedError):
        fit(RUNS[name], keras.callbacks.BackupAndRestore(tmp_path), Fails())
    again = fit(RUNS[name], keras.callbacks.BackupAndRestore(tmp_path), seed=2)
    assert_same_end(alone, again, EPOCHS - 4)


def test_stopped_twice(tmp_path):
    run = RUNS["stateful"]
    alone = fit(run, None)
    for seed, epoch in ((1, 2), (5, 4)):
        with pytest.raises(StoppedError):
            fit(run, keras.callbacks.BackupAndRestore(tmp_path), StopsAt(epoch, 0), seed=seed)
    again = fit(run, keras.callbacks.BackupAndRestore(tmp_path), seed=9)
    assert_same_end(alone, again, EPOCHS - 4)


def test_a_second_fit_begins_at_epoch_0(tmp_path):
    """Keras would continue from the epoch at which an earlier fit of the same model resumed."""
    made = model(True, 1)
    with pytest.raises(StoppedError):
        made.fit(
            X, y, ROWS, 3, verbose=0,
            callbacks=[keras.callbacks.BackupAndRestore(tmp_path), StopsAt(1, 0)],
        )  # fmt: skip
    backup = [keras.callbacks.BackupAndRestore(tmp_path)]
    assert made.fit(X, y, ROWS, 3, verbose=0, callbacks=backup).epoch == [1, 2]
    assert made.fit(X, y, ROWS, 3, verbose=0).epoch == [0, 1, 2]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    backup = keras.callbacks.BackupAndRestore(tmp_path / "file" / "below")
    with pytest.raises(legato.OutputError, match="below cannot be made"):
        fit(RUNS["stateful"], backup)


def test_a_backup_of_plain_keras_is_continued(tmp_path):
    plain = keras.Sequential([keras.Input((STEPS, FEATURES)), keras.layers.LSTM(UNITS)])
    plain.compile("sgd", "mse")
    callbacks = [keras.callbacks.BackupAndRestore(tmp_path), StopsAt(2, 0)]
    with pytest.raises(StoppedError):
        plain.fit(X, y, ROWS, 4, verbose=0, callbacks=callbacks)
    mine = legato.Sequential([layers.Input((STEPS, FEATURES)), layers.LSTM(UNITS)])
    mine.compile(keras.optimizers.SGD(0.0), "mse")
    history = mine.fit(
        X, y, ROWS, 4, verbose=0, callbacks=[keras.callbacks.BackupAndRestore(tmp_path)]
    )
    assert history.epoch == [2, 3]
    assert int(mine.optimizer.iterations) == 4 * -(-len(X) // ROWS)


# Invalid backups.


@pytest.mark.parametrize("content", ["", "{}", "[" * 100_000, '{"epoch"'])
def test_a_damaged_backup_of_plain_keras_is_refused(content, tmp_path):
    backup = BackupAndRestore(tmp_path)
    backup.set_model(model(True, 1))
    Path(backup._training_metadata_path).write_text(content)
    with pytest.raises(legato.InputError, match=r"is not a whole backup .*delete the folder"):
        backup._load_model()


@cache
def backup_bytes() -> bytes:
    """The file of a stopped run."""
    with TemporaryDirectory() as folder:
        callbacks = [keras.callbacks.BackupAndRestore(folder), StopsAt(2, 0)]
        with pytest.raises(StoppedError):
            model(True, 1).fit(X, y, ROWS, 3, verbose=0, callbacks=callbacks)
        return (Path(folder) / "training.safetensors").read_bytes()


@pytest.fixture
def kept(tmp_path):
    """The file of a stopped run, a copy for each test."""
    path = tmp_path / "training.safetensors"
    path.write_bytes(backup_bytes())
    return path


def test_a_truncated_backup_is_refused(kept):
    kept.write_bytes(kept.read_bytes()[:-9])
    with pytest.raises(legato.StateError, match="not a whole backup file"):
        model(True, 1).fit(
            X, y, ROWS, verbose=0, callbacks=[keras.callbacks.BackupAndRestore(kept.parent)]
        )


def test_a_backup_of_another_model_is_refused(kept):
    other = legato.Sequential([keras.Input((STEPS, FEATURES)), layers.GRU(UNITS)])
    other.compile("sgd", "mse")
    before = other.get_weights()
    with pytest.raises(legato.StateError, match="was made by training another model"):
        other.fit(X, y, ROWS, verbose=0, callbacks=[keras.callbacks.BackupAndRestore(kept.parent)])
    for mine, theirs in zip(other.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def opens(kept: Path) -> None:
    """Open a backup, for a model that it fits."""
    callback: Any = BackupAndRestore(kept.parent)
    callback.training = SimpleNamespace(restore=lambda content: True)
    callback.set_model(SimpleNamespace(_initial_epoch=None))
    callback._load_model()


def test_a_flipped_bit_anywhere_is_refused(kept):
    assert_flips_refused(kept, lambda: opens(kept))


def test_a_backup_of_version_1_is_continued(kept):
    rewrite_as_version_1(kept)
    again = model(True, 2)
    backup = keras.callbacks.BackupAndRestore(kept.parent)
    assert again.fit(X, y, ROWS, 3, verbose=0, callbacks=[backup]).epoch == [2]


def test_in_backups_of_version_1_only_the_content_can_be_altered_unnoticed(kept):
    rewrite_as_version_1(kept)
    whole = kept.read_bytes()
    at = whole.index(b'"content":"')
    content = range(8 * at, 8 * (whole.index(b'}"', at) + 2))
    accepted = flips_accepted(kept, lambda: opens(kept))
    assert [bit for bit in accepted if bit not in content] == []


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("step"),
        lambda content: content.update(epoch="3"),
        lambda content: content.update(step=-1),
        lambda content: content.update(variables=3),
        lambda content: content.update(random={}),
        lambda content: content["random"].update(numpy=["MT19937"]),
        lambda content: content["random"]["python"].__setitem__(2, "0"),
        lambda content: content.update(logs=[1]),
        lambda content: content.update(callbacks=[["a"]]),
        lambda content: content["variables"].append(content["variables"][0]),
        lambda content: content["variables"].pop(),
        lambda content: content["variables"][0].update(array="no"),
    ],
)
def test_content_that_is_no_backup_is_refused(change, kept):
    content = json.loads(contents(kept)[1]["content"])
    change(content)
    rewrite_as_version_1(kept, content=json.dumps(content))
    with pytest.raises(legato.StateError, match="not a whole backup file"):
        opens(kept)


@pytest.mark.parametrize("content", ["[" * 100_000, "{", "[]", "null", "{}"])
def test_content_that_does_not_parse_is_refused(content, kept):
    rewrite_as_version_1(kept, content=content)
    with pytest.raises(legato.StateError, match="not a whole backup file"):
        opens(kept)


# Killed.


class Slow(keras.callbacks.Callback):
    """Leaves time to kill the run, and sends that it has begun."""

    def __init__(self, begun):
        super().__init__()
        self._begun = begun

    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.02)

    def on_epoch_begin(self, epoch, logs=None):
        self._begun.send_bytes(b"an epoch")


def fit_and_save(name: str, folder: Path, end: Path, begun) -> None:
    """Fit in a process of its own, with a backup unless the process is to run alone."""
    jax.config.update("jax_compilation_cache_dir", f"{end.parent}/programs")  # killed, it may tear
    alone = end.stem == "alone"
    backup = None if alone else keras.callbacks.BackupAndRestore(folder, save_freq=2)
    history, _, variables, states = fit(RUNS[name], backup, *([] if alone else [Slow(begun)]))
    arrays = variables + [part for parts in states.values() for part in parts]
    np.savez(end, *arrays, loss=history["loss"][-1])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stateful", "shuffled"])
def test_killed_at_any_moment(name, tmp_path):
    ends = [tmp_path / "alone.npz", tmp_path / "again.npz"]
    with forked(fit_and_save, name, tmp_path / "backup", ends[0]) as (process, _):
        process.join()
    kills = 0
    drawn = random.Random(20_161_124)
    while True:
        with forked(fit_and_save, name, tmp_path / "backup", ends[1]) as (process, begun):
            if kills < 4:
                begun.recv_bytes()
                time.sleep(drawn.uniform(0.02, 0.2))
                process.kill()
            process.join()
        if process.exitcode != -signal.SIGKILL:
            break
        kills += 1
    assert kills
    assert process.exitcode == 0
    with np.load(ends[0]) as alone, np.load(ends[1]) as again:
        assert alone.files == again.files
        for each in alone.files:
            np.testing.assert_array_equal(alone[each], again[each], err_msg=each)
