"""How fast is training from a generator, and how much memory does an endless one take?

A mid-size model (LSTM of 128 units, batches of 32, 100 time steps of 64 features) trains on arrays
held as a whole, on a generator of the same batches, and on arrays fed in blocks because
`LEGATO_DATA_SHARE` allows them none of the device's memory; Keras on JAX trains on the same
generator. Then a small model trains on ten gigabytes of batches made while they are read: peak
memory after the first tenth and at the end.

    python benchmarks/generators.py
    python benchmarks/generators.py --gigabytes 1
"""

import legato  # noqa: I001  before Keras, so that it runs on JAX
import argparse
import itertools
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import keras
import numpy as np
from _bench import machine, save, significant, table

UNITS, ROWS, STEPS, FEATURES, BATCHES, ROUNDS = 128, 32, 100, 64, 12, 4


def build(package, units: int):
    """An LSTM and one output a sample."""
    model = package.Sequential(
        [
            package.layers.Input((STEPS, FEATURES)),
            package.layers.LSTM(units),
            package.layers.Dense(1),
        ]
    )
    model.compile("adam", "mse")
    return model


def batches(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The same batches, endlessly repeated."""
    for at in itertools.cycle(range(0, len(x), ROWS)):
        yield x[at : at + ROWS], y[at : at + ROWS]


def rates() -> dict[str, list[float]]:
    """Milliseconds a step of each source, round by round."""
    x = np.random.rand(ROWS * BATCHES, STEPS, FEATURES).astype("float32")
    y = x[:, -1, :1]
    models = {name: build(legato, UNITS) for name in ("arrays", "generator", "arrays in blocks")}
    models["Keras, generator"] = build(keras, UNITS)
    times: dict[str, list[float]] = {name: [] for name in models}
    for number_of_round in range(ROUNDS + 1):
        for name, model in models.items():
            os.environ["LEGATO_DATA_SHARE"] = "0" if "blocks" in name else "0.25"
            options = {"epochs": 3, "verbose": 0, "shuffle": False}
            began = time.perf_counter()
            if "generator" in name:
                model.fit(batches(x, y), steps_per_epoch=BATCHES, **options)
            else:
                model.fit(x, y, batch_size=ROWS, **options)
            if number_of_round:  # the first one compiles
                times[name].append((time.perf_counter() - began) / (3 * BATCHES) * 1e3)
    return times


def peak_mib() -> float:
    """This process's peak memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def stream(gigabytes: float) -> dict[str, float]:
    """Train on batches made while they are read; print and return the peak memory, in MiB."""
    batch_bytes = ROWS * STEPS * FEATURES * 4
    count = int(gigabytes * 2**30 / batch_bytes)
    rng, peaks = np.random.default_rng(0), {}

    def made() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for number in range(count):
            if number in (count // 10, count - 1):
                peaks[number] = peak_mib()
            x = rng.random((ROWS, STEPS, FEATURES), "float32")
            yield x, x[:, -1, :1]

    model = build(legato, 8)
    before, began = peak_mib(), time.perf_counter()
    model.fit(made(), steps_per_epoch=count, verbose=0)
    seconds = time.perf_counter() - began
    tenth, end = peaks.values()
    print(
        f"\n{gigabytes:g} GiB in {count:,} batches, {seconds:.0f} s: peak memory {before:.0f} MiB "
        f"before, {tenth:.0f} MiB after a tenth, {end:.0f} MiB at the end"
    )
    return {"before": before, "after a tenth": tenth, "at the end": end}


def main() -> None:
    """Measure, print, and save if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=10.0, help="size of the generated data")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    given = parser.parse_args()
    print(__doc__.splitlines()[0], ", ".join(machine().values()), sep="\n")
    times = rates()
    rows = [
        [
            name,
            significant(median(a / b for a, b in zip(times["arrays"], each, strict=True)), 3),
            significant(median(each)),
        ]
        for name, each in times.items()
    ]
    print(table(["", "rate, arrays = 1", "ms a step"], rows))
    peaks = stream(given.gigabytes)
    save(given.json, {}, {"ms_a_step": times, "peak_mib": peaks})


if __name__ == "__main__":
    main()
