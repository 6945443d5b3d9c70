"""How fast does a model train on files that are larger than memory, and in how much memory?

Parquet files of sequences of 200 to 200,000 time steps, with eight inputs and a target, are read by
`legato.FileLanes` alone, then by `fit`, and read again in every epoch. The rival reads all of them
with Polars, lays them out in memory with the same plan, and trains on the arrays. Each is a process
of its own: its peak memory before the first row is read, after the first epoch and at the end, and
rows a second once the model has been compiled.

    python benchmarks/large_files.py
    python benchmarks/large_files.py --gb 5 --epochs 4 --folder /data/scratch   # 20 GB are read
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _bench import environment, machine, progress, save, significant, table

INPUTS, FILE_ROWS, SPAN = [f"x{at}" for at in range(8)], 4_000_000, (200, 200_000)
COLUMNS = {"inputs": INPUTS, "targets": "y", "group": "id"}
ROWS, STEPS, UNITS = 64, 64, 32
ROW_BYTES = 4 * (len(INPUTS) + 1)
PARTS = {
    "read": "files, read alone",
    "fit": "files, fit",
    "fit-memory": "all in memory, fit",
}


def write_files(folder: Path, gigabytes: float) -> int:
    """Write the files; returns their rows. Sequences go on from one file to the next."""
    import polars

    rng, total = np.random.default_rng(0), int(gigabytes * 1e9 / ROW_BYTES)
    ends = np.zeros(0, int)
    while not len(ends) or ends[-1] < total:
        more = np.exp(rng.uniform(*np.log(SPAN), 100)).astype(int)
        ends = np.concatenate([ends, np.cumsum(more) + (ends[-1] if len(ends) else 0)])
    for number, begin in enumerate(range(0, total, FILE_ROWS)):
        rows = np.arange(begin, min(begin + FILE_ROWS, total))
        values = {name: rng.standard_normal(len(rows), "float32") for name in INPUTS}
        values["y"] = sum(values.values()) / 8 + 0.1 * rng.standard_normal(len(rows), "float32")
        frame = polars.DataFrame({"id": np.searchsorted(ends, rows, side="right"), **values})
        frame.write_parquet(folder / f"part-{number}.parquet")
    return total


def peak_mib() -> float:
    """This process's peak memory so far, pages of files that are mapped into it included."""
    status = Path("/proc/self/status").read_text()  # what rusage says begins with the parent's
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def make_model():
    """A stateful LSTM with an output at each time step, compiled; the same every time."""
    import legato  # noqa: I001  before Keras, so that it runs on JAX
    import keras

    keras.utils.set_random_seed(0)
    model = legato.Sequential(
        [
            legato.layers.Input((None, len(INPUTS))),
            legato.layers.LSTM(UNITS, stateful=True, return_sequences=True),
            legato.layers.Dense(1),
        ]
    )
    model.compile("adam", "mse")
    return model


def measure(part: str, folder: str, epochs: int) -> dict[str, Any]:
    """Read or train; what it took."""
    import legato  # noqa: I001  before Keras, so that it runs on JAX
    import keras

    began = time.perf_counter()
    files = legato.FileLanes(folder, rows=ROWS, steps=STEPS, **COLUMNS)
    opened, losses, peaks = time.perf_counter() - began, [], []
    if part == "read":
        before, began = peak_mib(), time.perf_counter()
        for _ in range(epochs):
            for _ in files:
                pass
            peaks.append(peak_mib())
    else:
        model, data = make_model(), {"x": files}
        warm_up(model)
        before = peak_mib()
        if part == "fit-memory":
            data, opened = in_memory(files, folder)
        began = time.perf_counter()
        watch = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: peaks.append(peak_mib())
        )
        history = model.fit(**data, epochs=epochs, verbose=0, callbacks=[watch]).history
        losses = history["loss"]
    seconds = time.perf_counter() - began
    return {
        "rows": int(files.lengths.sum()),
        "opened_s": opened,
        "seconds": seconds,
        "rows_per_s": int(files.lengths.sum()) * epochs / seconds,
        "before_mib": before,
        "first_mib": peaks[0],
        "peak_mib": peak_mib(),
        "losses": losses,
    }


def warm_up(model) -> None:
    """Compile the model's program, on batches of zeros of the shapes that come."""
    x = np.zeros((ROWS * 3, STEPS, len(INPUTS)), "float32")
    starts, weight = np.arange(len(x)) < ROWS, np.ones(x.shape[:2], "float32")
    values = model.get_weights()
    model.fit(x, x[..., :1], sample_weight=weight, starts=starts, batch_size=ROWS, verbose=0)
    model.reset_states()
    model.set_weights(values)


def in_memory(files, folder: str) -> tuple[dict, float]:
    """All the files as arrays in the layout of the plan, and the seconds that this took."""
    import polars

    began = time.perf_counter()
    paths = [f"{folder}/part-{number}.parquet" for number in range(len(os.listdir(folder)))]
    frame = polars.read_parquet(paths, columns=[*INPUTS, "y"])
    x = files.lanes.lay(frame.select(INPUTS).to_numpy())
    y = files.lanes.lay(frame.select("y").to_numpy())
    lanes = files.lanes
    data = {"x": x, "y": y, "sample_weight": lanes.weights, "starts": lanes.starts}
    return data | {"batch_size": ROWS}, time.perf_counter() - began


def ask(part: str, folder: Path, epochs: int) -> dict[str, Any]:
    """Measure in a process of its own."""
    progress(f"measuring: {PARTS[part]}")
    command = [sys.executable, __file__, "--part", part, "--folder", str(folder)]
    with tempfile.TemporaryDirectory() as cache:
        found = subprocess.run(
            [*command, "--epochs", str(epochs)],
            stdout=subprocess.PIPE,
            check=True,
            text=True,
            env=environment(cache),
        )
    return json.loads(found.stdout.splitlines()[-1])


def main() -> None:
    """Measure, print, and save if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gb", type=float, default=0.5, help="size of the values, in 10⁹ bytes")
    parser.add_argument("--epochs", type=int, default=2, help="how often fit reads the files")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--folder", type=Path, help="where the files are written and removed")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    given = parser.parse_args()
    if given.part:
        print(json.dumps(measure(given.part, str(given.folder), given.epochs)))
        return
    print(__doc__.splitlines()[0], ", ".join(machine().values()), sep="\n")
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        progress("writing files")
        rows = write_files(folder, given.gb)
        size = sum(each.stat().st_size for each in folder.iterdir()) / 1e9
        print(
            f"{rows:,} rows, {given.gb:g} GB of values, {size:.2f} GB of files; {given.epochs} "
            f"epochs, so {given.gb * given.epochs:g} GB are read by each"
        )
        found = {part: ask(part, folder, given.epochs) for part in given.only}
    lines = [
        [
            PARTS[part],
            significant(each["opened_s"]),
            f"{each['rows_per_s']:,.0f}",
            *[f"{each[name]:,.0f}" for name in ("before_mib", "first_mib", "peak_mib")],
        ]
        for part, each in found.items()
    ]
    head = ["", "s to open", "rows a second", "peak MiB before", "after one epoch", "at the end"]
    print(table(head, lines))
    if {"fit", "fit-memory"} <= found.keys():
        print("losses of both fits:", found["fit"]["losses"], found["fit-memory"]["losses"])
    save(given.json, {}, found)


if __name__ == "__main__":
    main()
