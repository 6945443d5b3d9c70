"""How long does an epoch take on two devices of one processor?

An LSTM on batches of sequences (forward, backward, Adam) in ``fit``, on one device and with
``devices=2``, with the native kernel and without (``LEGATO_NATIVE=off``), each in a process of its
own; rounds alternate. XLA uses one core for most of the scan on one device; the native kernel uses
all of them.

    python benchmarks/devices.py
    python benchmarks/devices.py --units 256 --batch 32 --rounds 7
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import _bench

QUESTION = "How long does an epoch take on two devices of one processor?"
FEATURES, BATCHES = 64, 4
WAYS = {
    "native kernel, one device": ("on", 1),
    "native kernel, two devices": ("on", 2),
    "JAX, one device": ("off", 1),
    "JAX, two devices": ("off", 2),
}


def worker(units: int, batch: int, steps: int, devices: int) -> None:
    """Answer each line of the input with the milliseconds of a batch, of an epoch's mean."""
    import time

    import numpy as np

    import legato
    from legato import layers

    shape = (batch * BATCHES, steps, FEATURES)
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    model = legato.Sequential([layers.Input(shape[1:]), layers.LSTM(units), layers.Dense(1)])
    model.compile("adam", "mse")

    def epochs(count: int) -> None:
        model.fit(x, x[:, -1, :1], batch, epochs=count, shuffle=False, verbose=0, devices=devices)

    epochs(3)
    for _ in sys.stdin:
        began = time.perf_counter()
        epochs(3)
        print(json.dumps(1000 * (time.perf_counter() - began) / (3 * BATCHES)), flush=True)


def start(native: str, devices: int, given: argparse.Namespace) -> subprocess.Popen:
    """A process that measures one way."""
    environment = {"LEGATO_NATIVE": native, "JAX_NUM_CPU_DEVICES": "2"}
    sizes = [str(each) for each in (given.units, given.batch, given.steps, devices)]
    return subprocess.Popen(
        [sys.executable, __file__, "--worker", *sizes],
        env={**os.environ, **environment, "PYTHONPATH": str(_bench.REPOSITORY)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ask(process: subprocess.Popen) -> float:
    """The next measurement of a process."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def parse() -> argparse.Namespace:
    """Parse the arguments."""
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument("--units", type=int, default=128)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    parser.add_argument("--worker", nargs=4, type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure, print, and save if asked."""
    given = parse()
    if given.worker:
        worker(*given.worker)
        return
    processes = {name: start(*way, given) for name, way in WAYS.items()}
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    for number in range(given.rounds):
        for name in _bench.in_turn(list(WAYS), number):
            found[name].append(ask(processes[name]))
            _bench.progress(f"{name}: {found[name][-1]:.1f} ms")
    for each in processes.values():
        each.communicate()
    rows = []
    for name, own in found.items():
        one = found[name.replace("two devices", "one device")]
        rows.append([name, _bench.spread(own), _bench.spread(_bench.ratios(one, own))])
    print(f"{QUESTION}\nLSTM of {given.units} units, batch {given.batch}, {given.steps} steps\n")
    print(_bench.table(["", "ms a batch", "times as fast as one device"], rows))
    print(_bench.facts({}))
    _bench.save(given.json, {}, {name: {"wall_ms": own} for name, own in found.items()})


if __name__ == "__main__":
    main()
