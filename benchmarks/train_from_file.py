"""`legato train` on a file: seconds before training, steps a second, memory?

A CSV of uneven sequences (a group, a time, three quantities, a label) is read, framed and laid out
in lanes; then ``legato.train`` trains on it. The rival is a plain ``Sequential`` of an LSTM and a
Dense layer on the same arrays, without scaling, vocabulary, padding mask and last value. Peak
memory is that of a fresh process that reads and trains, compared with one that does the same with a
hundredth of the rows.

    python benchmarks/train_from_file.py
    python benchmarks/train_from_file.py --rows 3000000 --groups 5000 --rounds 1
"""

import legato  # noqa: I001  before Keras, so that it runs on JAX
import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import keras
import numpy as np
import polars
from _bench import machine, ratios, save, significant, spread, table

from legato import layers
from legato._series.lanes import Lanes
from legato._forecasting.train_config import TrainConfig
from legato._forecasting.network import Shape
from legato._forecasting.partition import split_parts
from legato._forecasting.trainer import Trainer
from legato._forecasting.task import infer_task

COLUMNS = {"group": "machine", "time": "at"}
EPOCHS = 3


def write(path: Path, rows: int, groups: int, seed: int = 0) -> None:
    """Write sensor-like sequences of lognormal lengths; rows in order of time, machines mixed."""
    rng = np.random.default_rng(seed)
    shares = rng.lognormal(0, 0.5, groups)
    lengths = np.maximum(20, (rows * shares / shares.sum()).astype(int))
    machine_of = np.repeat(np.arange(groups), lengths)
    step = np.concatenate([np.arange(length) for length in lengths])
    load = rng.normal(size=len(step)).cumsum() * 0.1
    frame = polars.DataFrame(
        {
            "machine": [f"m{each:05d}" for each in machine_of],
            "at": np.datetime64("2026-01-01T00:00:00", "us") + step * np.timedelta64(600, "s"),
            "mode": np.array(["idle", "low", "high"])[rng.integers(0, 3, len(step))],
            "load": load.round(4),
            "pressure": rng.normal(5, 1, len(step)).round(4),
            "temperature": (20 + np.roll(load, 3) + rng.normal(size=len(step)) * 0.1).round(4),
        }
    ).sort("at", maintain_order=True)
    frame.write_csv(path)


def prepared(path: Path) -> tuple[dict[str, float], tuple]:
    """Seconds of each step before training; and the training set with its networks."""
    began = time.perf_counter()
    data = legato.read(path, **COLUMNS)
    read = time.perf_counter()
    task = infer_task(data)
    config = TrainConfig(epochs=EPOCHS, verbose=0)
    training = split_parts(data, task, config).training(data)
    trainer = Trainer(task, Shape(steps=Lanes(training.lengths).steps), config)
    networks, _ = trainer.fit(training)
    begun = time.perf_counter()
    training_set = trainer.training_set(networks, training, 0 * training.lengths)
    laid = time.perf_counter() - begun
    return {"read": read - began, "laid out in lanes": laid}, (training_set, networks)


def bare(training_set, networks) -> tuple[keras.Model, np.ndarray]:
    """A plain network of the same size, and the same inputs, scaled beforehand."""
    encoder = keras.Model(networks.core.input, networks.core.get_layer("features").output)
    x = np.asarray(encoder.predict(training_set.x, verbose=0))
    model = legato.Sequential(
        [
            layers.Input((None, x.shape[-1])),
            layers.LSTM(32, stateful=True, return_sequences=True),
            layers.Dense(training_set.y.shape[-1]),
        ]
    )
    model.compile(keras.optimizers.Adam(0.003), "mse")
    return model, x


def fit_seconds(model, x, training_set) -> float:
    """Seconds an epoch of one fit."""
    began = time.perf_counter()
    model.fit(
        x,
        training_set.y,
        batch_size=training_set.rows,
        sample_weight=training_set.weight,
        starts=training_set.starts,
        epochs=EPOCHS,
        verbose=0,
    )
    return (time.perf_counter() - began) / EPOCHS


def peak_mib(path: Path) -> float:
    """Peak memory of a fresh process that trains on a file."""
    code = (
        "import sys, legato; legato.train(sys.argv[1], group='machine', time='at', epochs=1, "
        "refit=False, verbose=0); print(open('/proc/self/status').read())"
    )
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    """Measure, print, and save if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--groups", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, small = Path(folder, "sensors.csv"), Path(folder, "few.csv")
        write(path, arguments.rows, arguments.groups)
        write(small, max(arguments.rows // 100, 1000), max(arguments.groups // 100, 5))
        size = path.stat().st_size / 2**20
        print(", ".join(machine().values()))
        print(f"{arguments.rows:,} rows, {arguments.groups:,} groups, {size:.1f} MiB\n")

        parts: dict[str, list[float]] = {}
        for _ in range(arguments.rounds):
            seconds, (training_set, networks) = prepared(path)
            for name, each in seconds.items():
                parts.setdefault(name, []).append(each)
        print(table(["before training", "seconds"], [[n, spread(e)] for n, e in parts.items()]))
        print(f"\n{training_set.lanes}\n".split("\n[", maxsplit=1)[0] + "\n")

        plain, given = bare(training_set, networks)
        times: dict[str, list[float]] = {"legato train": [], "plain Sequential": []}
        for number in range(arguments.rounds + 1):
            pair = (
                fit_seconds(networks.core, training_set.x, training_set),
                fit_seconds(plain, given, training_set),
            )
            if number:
                for name, each in zip(times, pair, strict=True):
                    times[name].append(each)
        share = ratios(times["plain Sequential"], times["legato train"])
        rows = [[name, f"{spread(each)} s an epoch"] for name, each in times.items()]
        print(table(["training", ""], rows))
        print(f"share of the plain Sequential's rate: {significant(median(share), 3)}\n")

        peaks = [(peak_mib(small), peak_mib(path)) for _ in range(arguments.rounds)]
        few, all_of_it = zip(*peaks, strict=True)
        above = (median(all_of_it) - median(few)) / size
        print(f"peak memory, MiB: {spread(all_of_it)}; of a small file {spread(few)}")
        print(f"the difference of the medians is {significant(above, 2)} times the file")
    results = {"seconds": parts | times, "peak_mib": {"small file": few, "file": all_of_it}}
    save(arguments.json, {}, results)


if __name__ == "__main__":
    main()
