"""From which size on is which kernel of a recurrent layer the fastest?

legato against itself: the same `fit` and `predict` with every recurrent layer computed by Keras's
scan, by the kernel in JAX and by the native one, alternating, in one process. Times are processor
time of all threads, which other work on the machine hardly changes; ratios are to Keras's scan. The
rules in `legato/_recurrent/kernels.py` come from these figures; `chosen` is what they choose.

    python benchmarks/kernel_sizes.py
    python benchmarks/kernel_sizes.py --sizes LSTM,1,64,8,50 GRU,32,100,8,50 --rounds 9
"""

import legato  # noqa: I001  before Keras, so that it runs on JAX
import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from _bench import facts, in_turn, progress, save, significant, table

from legato import layers
from legato._recurrent import kernels, native_kernel

KERNELS = ["keras", "jax", "native"]
SIZES = [  # cell, rows, units, inputs, time steps
    *(("LSTM", 1, units, 1, 25) for units in (16, 32, 64, 100, 128)),
    ("LSTM", 1, 128, 64, 100), ("LSTM", 1, 192, 64, 100), ("GRU", 1, 64, 1, 25),
    ("GRU", 1, 128, 64, 100), ("LSTM", 2, 64, 8, 50), ("LSTM", 4, 32, 8, 50),
    ("LSTM", 4, 64, 8, 50), ("LSTM", 4, 100, 8, 50), ("LSTM", 8, 50, 8, 50),
    ("LSTM", 32, 16, 1, 10), ("LSTM", 32, 32, 1, 25), ("LSTM", 32, 50, 8, 50),
    ("LSTM", 32, 64, 8, 50), ("LSTM", 32, 100, 8, 50), ("LSTM", 128, 16, 8, 50),
    ("LSTM", 128, 32, 8, 50), ("LSTM", 128, 64, 8, 50), ("GRU", 32, 32, 1, 25),
    ("GRU", 32, 64, 8, 50), ("GRU", 32, 100, 8, 50), ("SimpleRNN", 32, 64, 8, 50),
    ("SimpleRNN", 32, 128, 8, 50), ("SimpleRNN", 32, 256, 8, 50),
]  # fmt: skip
BATCHES = 8
SECONDS = 0.15  # of processor time in a round
CHOOSE = kernels.choose_kernel


def read_size(text: str) -> tuple:
    """A size as it is written after `--sizes`."""
    cell, *numbers = text.split(",")
    rows, units, inputs, steps = map(int, numbers)
    return cell, rows, units, inputs, steps


def build(size: tuple) -> legato.Sequential:
    """A recurrent layer and one output."""
    cell, _, units, inputs, steps = size
    model = legato.Sequential(
        [layers.Input((steps, inputs)), getattr(layers, cell)(units), layers.Dense(1)]
    )
    model.compile(optimizer="adam", loss="mse")
    return model


def cpu_seconds(task: Callable[[int], object], epochs: int) -> float:
    """Processor time of some epochs of a task."""
    began = time.process_time()
    task(epochs)
    return time.process_time() - began


def tasks(size: tuple, kernel: str) -> dict:
    """Training and prediction of one model with a kernel: functions of a number of epochs."""
    kernels.choose_kernel = lambda *_: kernels.Kernel(kernel, "it is measured")
    _, rows, _, inputs, steps = size
    x = np.random.default_rng(0).normal(size=(rows * BATCHES, steps, inputs)).astype("float32")
    y, model, options = x[:, -1, :1], build(size), {"batch_size": rows, "verbose": 0}
    model.fit(x, y, shuffle=False, **options)  # compiles
    model.predict(x, **options)
    return {
        "training": lambda epochs: model.fit(x, y, epochs=epochs, shuffle=False, **options),
        "prediction": lambda epochs: [model.predict(x, **options) for _ in range(epochs)],
    }


def measure(size: tuple, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Microseconds of processor time a batch: task -> kernel -> one of each round."""
    found = {name: tasks(size, name) for name in KERNELS if name != "native" or NATIVE}
    times: dict[str, dict[str, list[float]]] = {}
    for task in ("training", "prediction"):
        once = cpu_seconds(found["keras"][task], 4) / 4
        epochs = max(1, round(SECONDS / once))
        times[task] = {name: [] for name in found}
        for number in range(rounds):
            for name in in_turn(list(found), number):
                seconds = cpu_seconds(found[name][task], epochs)
                times[task][name].append(seconds / epochs / BATCHES * 1e6)
    return times


NATIVE = native_kernel.unavailable() is None


def chosen(size: tuple) -> str:
    """What the rules choose with the native kernel, and without it."""
    _, rows, _, inputs, steps = size
    layer = build(size).layers[0]
    sequences = np.zeros((rows, steps, inputs), "float32")
    unavailable, found = native_kernel.unavailable, [CHOOSE(layer, sequences, None).name]
    native_kernel.unavailable = lambda: "it is not asked"
    found.append(CHOOSE(layer, sequences, None).name)
    native_kernel.unavailable = unavailable
    return " / ".join(found)


def main() -> None:
    """Print one row for each size, ratios first; save if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    sizes = "other sizes: cell, rows of a batch, units, inputs, time steps"
    parser.add_argument("--sizes", nargs="+", type=read_size, default=SIZES, help=sizes)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    given = parser.parse_args()
    rows, results = [], {}
    for size in given.sizes:
        name = "{} {} x {}, {} inputs, {} steps".format(*size)
        progress(name)
        results[name] = measure(size, given.rounds)
        kernels.choose_kernel = CHOOSE
        cells = []
        for times in results[name].values():
            keras = median(times["keras"])
            cells += [f"{median(each) / keras:.2f}" for each in list(times.values())[1:]]
            cells.append(significant(keras))
        weights = sum(w.size for w in build(size).layers[0].get_weights()[:2])
        rows.append([name, f"{weights:,}", f"{weights * size[1]:,}", *cells, chosen(size)])
        progress(" ".join(rows[-1]))
    others = KERNELS[1:] if NATIVE else KERNELS[1:2]
    head = [f"{task}: {what}" for task in ("training", "prediction")
            for what in [*others, "keras, CPU us"]]  # fmt: skip
    print((__doc__ or "").splitlines()[0], facts({}), sep="\n")
    print(table(["", "weights", "x rows", *head, "chosen, with / without native"], rows))
    save(given.json, {}, {"cpu_us": results})


if __name__ == "__main__":
    main()
