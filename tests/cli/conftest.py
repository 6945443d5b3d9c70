"""Small files and models for all tests of the commands."""

import contextlib
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import polars
import pytest
from cells import set_weights
from command_runs import SMALL, output_of
from stream_runs import load_once

import legato
from legato.cli import _stream_command


@pytest.fixture(autouse=True)
def _load_once(monkeypatch):
    """``legato stream`` loads each model file once in a process: it never changes a model."""
    monkeypatch.setattr(_stream_command, "_load", load_once)


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    """A model of plain Keras: three features a step, two outputs."""
    path = tmp_path_factory.mktemp("plain") / "plain.keras"
    model = keras.Sequential(
        [keras.Input((None, 3)), keras.layers.LSTM(4), keras.layers.Dense(2, activation="softmax")]
    )
    set_weights(model)
    model.save(path)
    return path


@pytest.fixture(scope="session")
def sensors(tmp_path_factory):
    """A model of ``legato train`` that forecasts two columns two steps ahead."""
    rng = np.random.default_rng(4)
    data = {
        "machine": [name for name in "ab" for _ in range(40)],
        "load": rng.normal(size=80).tolist(),
        "mode": [("up", "down")[each] for each in rng.integers(2, size=80)],
        "heat": np.sin(np.arange(80) / 3).tolist(),
    }
    trained = legato.train(
        data,
        target=["heat", "load"],
        horizon=2,
        group="machine",
        units=3,
        epochs=1,
        refit=False,
        verbose=0,
    )
    path = tmp_path_factory.mktemp("sensors") / "sensors.keras"
    trained.save(path)
    return path


@pytest.fixture(scope="session")
def modes(tmp_path_factory):
    """A model of ``legato train`` that classifies by windows of three steps."""
    rng = np.random.default_rng(4)
    load = rng.normal(size=80)
    data = {
        "load": load.tolist(),
        "mode": [("low", "high")[each] for each in (load > 0).astype(int)],
    }
    trained = legato.train(
        data, framing="window", steps=3, stateful=False, units=3, epochs=1, refit=False, verbose=0
    )
    path = tmp_path_factory.mktemp("modes") / "modes.keras"
    trained.save(path)
    return path


BOOK = "It was the best of times, it was the worst of times. " * 12


def write_data(folder: Path) -> None:
    """Small files of every kind, all rows different."""
    rng = np.random.default_rng(1)
    count = 48
    months = [f"{2010 + at // 12}-{at % 12 + 1:02d}" for at in range(count)]
    sold = 50 + 10 * np.sin(np.arange(count) * np.pi / 6) + rng.normal(size=count)
    sales = polars.DataFrame({"month": months, "sold": sold.round(3)})
    sales.write_csv(folder / "sales.csv")
    sales.write_csv(folder / "sales.tsv", separator="\t")
    machines = {
        "machine": [name for name in "abc" for _ in range(count)],
        "at": [f"2024-01-{at // 24 + 1:02d} {at % 24:02d}:00" for at in range(count)] * 3,
        "load": rng.normal(size=3 * count),
        "temperature": 20 + 3 * np.sin(np.arange(3 * count) / 4),
    }
    polars.DataFrame(machines).write_parquet(folder / "sensors.parquet")
    walks = {
        "walk": [at for at in range(20) for _ in range(6)],
        "x": rng.normal(size=120),
        "y": rng.normal(size=120),
        "who": ["bob" if at % 2 else "ann" for at in range(20) for _ in range(6)],
    }
    polars.DataFrame(walks).write_csv(folder / "walks.csv")
    polars.DataFrame(walks).drop("who").write_csv(folder / "new.csv")
    np.save(folder / "wave.npy", np.sin(np.arange(60) / 3))
    np.savez(folder / "waves.npz", a=np.sin(np.arange(60) / 3), b=np.cos(np.arange(60) / 3))
    (folder / "book.txt").write_text(BOOK)


@pytest.fixture(scope="session")
def shop(tmp_path_factory):
    """A folder of data, and the output of training a model of each kind on them."""
    folder = tmp_path_factory.mktemp("shop")
    write_data(folder)
    output = {}
    with contextlib.chdir(folder):
        for name, words in {
            "sales": ("sales.csv", "--time", "month"),
            "sensors": ("sensors.parquet", "--group", "machine", "--time", "at", "--horizon", "3"),
            "walks": ("walks.csv", "--group", "walk"),
            "book": ("book.txt",),
        }.items():
            output[name] = output_of("train", *words, "-o", f"{name}.keras", *SMALL)
    return SimpleNamespace(folder=folder, output=output)


@pytest.fixture
def in_shop(shop, monkeypatch):
    """The current folder is that of ``shop``."""
    monkeypatch.chdir(shop.folder)
