"""The file formats that legato reads: a whole file of each, how it is damaged, and how it is read.

Files are made once (``make_files``) and read in child processes (``processes``), one for each
format, of copies that are damaged in all ways of ``tests/mutations.py``, or by one flipped bit.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import keras
import numpy as np
from mutations import json_mutations, mutations
from typer.testing import CliRunner

import legato
from legato import LegatoError, layers
from legato._execution.backup import BackupAndRestore
from legato.cli import _stream_command, app

FEATURES = 3
UNITS = 140  # so that the smallest file has more than 10,000 bits
SMALL_UNITS = 2
COMMENT, MODEL_CONFIG = "comment", "model_config"  # of an archive, of an HDF5 file
EVICTED = f"evicted/{hashlib.sha256(repr('ada').encode()).hexdigest()[:32]}.state"
Load = Callable[[Path], object]


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
        file: name of the whole file.
        open: given the folder with all files, makes the function that reads a file of a path.
        part: of the file that is damaged: ``""`` for all of it, else a member of an archive.
        is_json: whether values of JSON are changed, and not bytes.
        has_checksum: whether every flipped bit must be refused.
        may_be_cut: whether it may end early, as a kill leaves a log.
        beside: files that reading may change, and that are put back each time.
        title: what it is called in tables; default: the file and the part.
    """

    file: str
    open: Callable[[Path], Load]
    part: str = ""
    is_json: bool = False
    has_checksum: bool = False
    may_be_cut: bool = False
    beside: tuple[str, ...] = ()
    title: str = ""

    @property
    def name(self) -> str:
        """What it is called in tables."""
        part = f", {self.part}" if self.part else ""
        return self.title or f"{self.file}{part}{' (values)' if self.is_json else ''}"

    def damaged(self, whole: bytes, count: int, seed: int) -> Iterator[bytes]:
        """Contents of the file with damage of all kinds, all of them other than the whole."""
        part, wrap = take_apart(whole, self.part)
        if self.is_json:
            contents = json_mutations(json.loads(part), 2 * count, seed)
        else:
            contents = mutations(part, 2 * count, seed)
        others = (each for each in contents if each != part)
        return map(wrap, islice(others, count))


def flipped(whole: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Contents with one flipped bit each, every bit at most once."""
    for bit in np.random.default_rng(seed).permutation(8 * len(whole))[:count].tolist():
        altered = bytearray(whole)
        altered[bit // 8] ^= 1 << bit % 8
        yield bytes(altered)


def take_apart(whole: bytes, part: str) -> tuple[bytes, Callable[[bytes], bytes]]:
    """A part of a file, and a function that makes the file of another content of the part."""
    if not part:
        return whole, bytes
    if part == MODEL_CONFIG:
        with h5py.File(io.BytesIO(whole)) as file:
            return file.attrs[part].encode(), partial(with_attribute, whole, part)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        members = {each: archive.read(each) for each in archive.namelist()}
        comment = archive.comment
    if part == COMMENT:
        return comment, lambda changed: archive_of(members, changed)
    return members[part], lambda changed: archive_of(members | {part: changed}, comment)


def with_attribute(whole: bytes, name: str, value: bytes) -> bytes:
    """An HDF5 file with another value of an attribute."""
    content = io.BytesIO(whole)
    with h5py.File(content, "r+") as file:
        file.attrs[name] = value
    return content.getvalue()


def archive_of(members: dict[str, bytes], comment: bytes = b"") -> bytes:
    """A ``.zip`` file of named contents."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
        archive.comment = comment
    return content.getvalue()


# Whole files.


def make_model(units: int, features: int = FEATURES) -> Any:
    """A compiled model with weights that all differ."""
    rng = np.random.default_rng(3)
    model = legato.Sequential(
        [
            layers.Input((None, features), batch_size=1),
            layers.LSTM(units, stateful=True, dropout=0.1),
            layers.Dense(1),
        ]
    )
    model.set_weights([rng.normal(size=each.shape) for each in model.weights])
    model.compile("adam", keras.losses.MeanSquaredError())
    return model


def make_files(folder: Path) -> None:
    """Write a whole file of every format."""
    make_data_files(folder)
    model, large = make_model(SMALL_UNITS), make_model(UNITS)
    model.save(folder / "m.keras")
    model.save(folder / "m.h5")
    model.save_weights(folder / "m.weights.h5")
    large.save(folder / "large.keras")
    large.predict_on_batch(np.ones((1, 2, FEATURES)))
    large.states.save(folder / "m.state")
    stream = large.stream().warm(np.ones((2, FEATURES)))
    stream.save(folder / "stream.state")
    names = {name: np.ones(FEATURES) for name in ("ada", "bob")}
    pool = large.streams(folder=folder / "evicted")
    pool.feed(names)
    pool.save(folder / "pool.state")
    pool.evict("ada")
    shutil.copy(folder / "pool.state", folder / "used.state")
    with large.streams(file=folder / "used.state") as pool:
        pool.feed(names)
        pool.feed(names)
        pool.drop("bob")
        for name in ("used.state", "used.state.log"):  # as a kill would leave them
            shutil.copy(folder / name, folder / f"killed.{name}")
    for name in ("used.state", "used.state.log"):
        (folder / f"killed.{name}").replace(folder / name)
    make_backup(folder / "backup", large)
    make_plain_backup(folder / "plain")
    table = legato.read(folder / "t.csv", time="t")
    legato.train(table, units=SMALL_UNITS, epochs=1, verbose=0).save(folder / "trained.keras")
    (folder / "lines.jsonl").write_text('{"user": "ada", "x": [0.1, 0.2, 0.3]}\n' * 20)
    (folder / "lines.csv").write_text("user,a,b,c\n" + "ada,0.1,0.2,0.3\nbob,1,2e-1,3\n" * 20)


def make_data_files(folder: Path) -> None:
    """Write a table in every format that ``legato.read`` takes, and a text."""
    import polars

    rows = [(at, round(float(np.sin(at)), 3), "ab"[at % 2]) for at in range(40)]
    frame = polars.DataFrame(rows, ["t", "x", "label"], orient="row")
    text = "t,x,label\n" + "".join(f"{t},{x},{label}\n" for t, x, label in rows)
    content = text.encode()
    for suffix, separator in ((".csv", ","), (".tsv", "\t"), (".psv", "|")):
        (folder / f"t{suffix}").write_text(text.replace(",", separator))
    (folder / "t.txt").write_bytes(b"It was the best of times,\nit was the worst of times.\n" * 9)
    for pack, suffix in ((gzip.compress, "gz"), (bz2.compress, "bz2"), (lzma.compress, "xz")):
        (folder / f"t.csv.{suffix}").write_bytes(pack(content))
    (folder / "t.zip").write_bytes(archive_of({"t.csv": content}))
    (folder / "t.json").write_text(json.dumps(frame.to_dicts()))
    frame.write_ndjson(folder / "t.jsonl")
    frame.write_parquet(folder / "t.parquet")
    np.save(folder / "t.npy", frame["x"].to_numpy())
    np.savez_compressed(folder / "t.npz", x=frame["x"].to_numpy())


class StoppedError(Exception):
    """Stops a run."""


def stop_in_epoch_2(epoch, logs):
    """A callback's method."""
    if epoch == 2:
        raise StoppedError


def fit_until_stopped(model: Any, folder: Path) -> None:
    """Train a model, with a backup that is left behind."""
    stop = keras.callbacks.LambdaCallback(on_epoch_begin=stop_in_epoch_2)
    x, y = np.ones((4, 2, FEATURES)), np.ones((4, 1))
    with suppress(StoppedError):
        backup = keras.callbacks.BackupAndRestore(folder)
        model.fit(x, y, 1, 3, verbose=0, shuffle=False, callbacks=[backup, stop])


def make_backup(folder: Path, model: Any) -> None:
    """Leave the backup of a stopped run."""
    fit_until_stopped(model, folder)


def make_plain_backup(folder: Path) -> None:
    """Leave the backup of a stopped run of plain Keras."""
    cell = keras.layers.LSTM(SMALL_UNITS)
    plain = keras.Sequential([keras.Input((2, FEATURES)), cell, keras.layers.Dense(1)])
    plain.compile("adam", "mse")
    fit_until_stopped(plain, folder)


# How they are read.


def read_table(_: Path) -> Load:
    """Reads a table and settles how a network would be trained on it."""

    def load(path: Path) -> None:
        sequences = legato.read(path)
        with suppress(LegatoError):  # which is about the content, and need not name the file
            legato.plan(sequences)

    return load


def read_model(_: Path) -> Load:
    return legato.load_model


def read_trained(folder: Path) -> Load:
    """Shows a trained model, reads it and classifies with it."""
    table = legato.read(folder / "t.csv", time="t")

    def load(path: Path) -> None:
        run_command("show", str(path))
        trained = legato.Trained.load(path)
        with suppress(LegatoError):  # which is about the table
            trained.classify(table)

    return load


def read_weights(folder: Path) -> Load:
    return legato.load_model(folder / "m.keras").load_weights


def read_state(_: Path) -> Load:
    return legato.State.load


def read_stream(folder: Path) -> Load:
    model = legato.load_model(folder / "large.keras")
    return model.stream().load


def read_pool(folder: Path) -> Load:
    model = legato.load_model(folder / "large.keras")
    return model.streams().load


def open_pool(folder: Path) -> Load:
    """Opens a pool's file and its log, whichever is damaged."""
    model = legato.load_model(folder / "large.keras")
    return lambda path: model.streams(file=folder / "used.state").close()


def restore_evicted(folder: Path) -> Load:
    model = legato.load_model(folder / "large.keras")
    return lambda path: model.streams(folder=path.parent).restore("ada")


def read_backup(_: Path) -> Load:
    """Opens a backup as ``fit`` does, for a model that it fits."""

    def load(path: Path) -> None:
        callback: Any = BackupAndRestore(path.parent)
        callback.training = SimpleNamespace(restore=lambda content: True)
        callback.set_model(SimpleNamespace(_initial_epoch=None))
        callback._load_model()

    return load


def read_plain_backup(folder: Path) -> Load:
    """Opens a backup of plain Keras."""
    model = make_model(SMALL_UNITS)

    def load(path: Path) -> None:
        callback: Any = BackupAndRestore(path.parent)
        callback.set_model(model)
        callback._load_model()

    return load


def feed_lines(folder: Path) -> Load:
    """Feeds lines to ``legato stream``, whose model is loaded once."""
    model = legato.load_model(folder / "large.keras")
    _stream_command._load = lambda path: model

    def load(path: Path) -> None:
        words = ["stream", "large.keras", "--key", "user", "--keep-going"]
        run_command(*words, lines=path.read_bytes())

    return load


def run_command(*words: str, lines: bytes | None = None) -> None:
    """Run a command in this process, and check that its error, if any, is one of legato's.

    Raises:
        AssertionError: it is another one.
    """
    result = CliRunner().invoke(app, words, input=lines)
    if result.exit_code not in (0, 2) or "nexpected" in result.stderr:
        raise AssertionError(f"exit status {result.exit_code}: {result.stderr[-500:]}")


_DATA = ["t.csv", "t.tsv", "t.psv", "t.txt", "t.csv.gz", "t.csv.bz2", "t.csv.xz", "t.zip"]
_DATA += ["t.json", "t.jsonl", "t.parquet", "t.npy", "t.npz"]
_MEMBERS = ["config.json", "metadata.json", "model.weights.h5", COMMENT]
FORMATS = [
    *[Format(name, read_table) for name in _DATA],
    Format("t.json", read_table, is_json=True),
    Format("t.npz", read_table, "x.npy"),
    Format("lines.jsonl", feed_lines),
    Format("lines.csv", feed_lines),
    Format("m.keras", read_model),
    *[Format("m.keras", read_model, member) for member in _MEMBERS],
    *[Format("m.keras", read_model, each, is_json=True) for each in ("config.json", COMMENT)],
    Format("trained.keras", read_trained),
    Format("trained.keras", read_trained, "legato.json"),
    Format("trained.keras", read_trained, "legato.json", is_json=True),
    Format("m.h5", read_model),
    Format("m.h5", read_model, MODEL_CONFIG, is_json=True),
    Format("m.weights.h5", read_weights),
    Format("m.state", read_state, has_checksum=True),
    Format("stream.state", read_stream, has_checksum=True),
    Format("pool.state", read_pool, has_checksum=True),
    Format("used.state", open_pool, has_checksum=True, beside=("used.state.log",)),
    Format("used.state.log", open_pool, "", False, True, True, beside=("used.state",)),
    Format(EVICTED, restore_evicted, has_checksum=True, title="evicted/….state"),
    Format("backup/training.safetensors", read_backup, has_checksum=True),
    Format("plain/latest.weights.h5", read_plain_backup),
    Format("plain/training_metadata.json", read_plain_backup),
    Format("plain/training_metadata.json", read_plain_backup, is_json=True),
]
