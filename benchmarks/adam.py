"""How long does Adam's update of a small network take, compiled by XLA and in C?

Keras's Adam, as it runs inside legato's compiled loop (one function, see
``legato/_platform/single_function.py``), against the update of ``rivals/lstm.c``. Both apply the
same gradient again and again. Processor time of one process, alternating.

    python benchmarks/adam.py
"""

import argparse
import ctypes
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

sys.path.append(str(Path(__file__).parent / "rivals"))

from legato._platform.single_function import SingleFunctionProgram  # noqa: I001  before Keras

import jax
import keras
import numpy as np
from _bench import machine, save, significant, table
from rivals import with_c
from rivals._networks import NETWORKS, Network, first_weights

QUESTION = "How long does Adam's update of a small network take, compiled by XLA and in C?"
UPDATES = 4_000


def keras_adam(weights: list[np.ndarray], gradient: list[np.ndarray]) -> Callable[[], object]:
    """A function that updates in one compiled loop."""
    optimizer = keras.optimizers.Adam()
    optimizer.build([keras.Variable(each) for each in weights])

    def update(_, values):
        changed, state, given = values
        changed, state = optimizer.stateless_apply(state, given, changed)
        return list(changed), list(state), given

    def run(values, count):
        return jax.lax.fori_loop(0, count, update, values)[:2]

    program = SingleFunctionProgram(run)
    values = weights, [each.value for each in optimizer.variables], gradient
    jax.block_until_ready(program(values, np.int32(UPDATES)))
    assert program.is_one_function
    return lambda: jax.block_until_ready(program(values, np.int32(UPDATES)))


def c_adam(network: Network, weights: list[np.ndarray], folder: Path) -> Callable[[], object]:
    """A function that updates in C."""
    library = with_c.compile_for(network, folder)
    model = np.empty(library.model_bytes() // 4, "float32")
    flat = np.concatenate([each.ravel() for each in weights])
    library.start(ctypes.c_void_p(model.ctypes.data), ctypes.c_void_p(flat.ctypes.data))
    model[flat.size : 2 * flat.size] = 0.01  # the gradient
    return lambda: library.updates(ctypes.c_void_p(model.ctypes.data), UPDATES)


def update_us(run: Callable[[], object]) -> float:
    """Microseconds of processor time an update."""
    began = time.process_time()
    run()
    return 1e6 * (time.process_time() - began) / UPDATES


def main() -> None:
    """Measure, print, and save if asked."""
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    parser.add_argument("--networks", nargs="+", type=int, choices=NETWORKS, default=[1, 2, 3, 5])
    given = parser.parse_args()
    print(QUESTION, *machine().values(), sep="\n")
    rows, results = [], {}
    for network in map(NETWORKS.__getitem__, given.networks):
        weights = [np.ascontiguousarray(each, "float32") for each in first_weights(network)]
        gradient = [np.full_like(each, 0.01) for each in weights]
        with tempfile.TemporaryDirectory() as folder:
            runs = {
                "legato": keras_adam(weights, gradient),
                "c": c_adam(network, weights, Path(folder)),
            }
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(given.rounds):
            for name, run in runs.items():
                times[name].append(update_us(run))
        ratio = median(own / c for own, c in zip(times["legato"], times["c"], strict=True))
        results[network.number] = {name: {"update_us": each} for name, each in times.items()}
        shown = [significant(median(each)) for each in times.values()]
        count = sum(each.size for each in weights)
        rows.append([str(network.number), f"{count:,}", significant(ratio), *shown])
    print(table(["network", "weights", "XLA / C", "XLA, µs an update", "C, µs an update"], rows))
    save(given.json, {"legato": {"keras": keras.__version__, "jax": jax.__version__}}, results)


if __name__ == "__main__":
    main()
