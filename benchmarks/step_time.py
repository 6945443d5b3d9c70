"""What does a training step on several processes take, and can that be computed beforehand?

A step is the computation of a process's rows, and one sum of all gradients over the processes.
Both parts are measured by themselves: the computation in one process that may use one core, the sum
of all gradients and the loss through the memory that the processes share, and for comparison by
Gloo, over the loopback interface: of one array with all of them, of one number, which is its
latency, and of each array by itself, one after another. Computation and sum together are printed
beside the time of a step in ``fit`` with 1, 2 and 4 processes. The same model then says what it
would be on 64 machines of an assumed network. All processes live from the beginning, one way works
at a time, and rounds alternate.

    python benchmarks/step_time.py
    python benchmarks/step_time.py --units 256 --rounds 9
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import _bench

QUESTION = "What does a training step on several processes take?"
FEATURES, BATCHES, EPOCHS, SUMS = 64, 8, 2, 50
HOSTS, HOP_S, BYTES_PER_S = 64, 50e-6, 1.1e9  # 10 Gbit/s Ethernet, TCP, in one data centre


class Way(NamedTuple):
    """A way to compute a batch.

    Attributes:
        name: in the table.
        processes: their number.
        devices: of each process.
        rows: of each process.
        cores: that each may use; None: all.
        accumulate: steps whose gradients the optimizer adds up before it uses them.
    """

    name: str
    processes: int
    devices: int
    rows: int
    cores: int | None = None
    accumulate: int = 1


def worker(way: Way, index: int, port: int, units: int, steps: int) -> None:
    """Answer each line of the input with measurements in milliseconds."""
    if way.cores is not None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: way.cores])
    import time

    import numpy as np

    import legato
    from legato import layers

    if way.processes > 1:
        legato.join_processes(f"127.0.0.1:{port}", way.processes, index, seed=1)
    import jax
    import keras

    shape = (way.rows * BATCHES, steps, FEATURES)
    x = np.random.default_rng(index).normal(size=shape).astype("float32")
    model = legato.Sequential([layers.Input(shape[1:]), layers.LSTM(units), layers.Dense(1)])
    several = way.accumulate if way.accumulate > 1 else None
    model.compile(keras.optimizers.Adam(gradient_accumulation_steps=several), "mse")
    weights = model.get_weights()

    def step_ms() -> float:
        options = {"epochs": EPOCHS, "shuffle": False, "verbose": 0}
        if way.devices > 1:
            options["devices"] = way.devices
        began = time.perf_counter()
        model.fit(x, x[:, -1, :1], way.rows, **options)
        return 1000 * (time.perf_counter() - began) / (EPOCHS * BATCHES)

    def make_sum(arrays: Sequence[np.ndarray], add_up: Callable = jax.lax.psum):
        """Sum arrays over the processes, as often as ``SUMS``; each sum needs the one before."""
        mesh = jax.make_mesh((way.processes,), ("processes",))
        whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
        placed = [jax.make_array_from_process_local_data(whole, each) for each in arrays]

        def sums(*given):
            def add(_, kept):
                return tuple(each / way.processes for each in add_up(kept, "processes"))

            return jax.lax.fori_loop(0, SUMS, add, given)

        spec = jax.sharding.PartitionSpec()
        mapped = jax.shard_map(sums, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
        return jax.jit(mapped), placed

    def sum_ms(prepared) -> float:
        run, placed = prepared
        began = time.perf_counter()
        jax.block_until_ready(run(*placed))
        return 1000 * (time.perf_counter() - began) / SUMS

    prepared = []
    step_ms()  # the processes share memory from now on
    if way.processes > 1:
        from legato._execution.process_sums import process_adder

        adder = process_adder()
        assert adder is not None, "no memory is shared: build legato's native library first"
        arrays = [*weights, np.zeros((), "float32")]  # gradients and the loss
        joined = np.concatenate([np.ravel(each) for each in arrays])
        prepared = [make_sum(arrays, adder.add), *map(make_sum, (arrays[-1:], [joined], arrays))]
    for _ in range(2):  # compile
        step_ms()
        for each in prepared:
            sum_ms(each)
    print(json.dumps({"bytes": sum(each.nbytes for each in weights), "arrays": len(weights)}))
    for _ in sys.stdin:
        answer = [step_ms(), *map(sum_ms, prepared)]
        print(json.dumps(answer), flush=True)


class Running:
    """The processes of a way."""

    def __init__(self, way: Way, given: argparse.Namespace):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        shared = {"JAX_NUM_CPU_DEVICES": str(way.devices), "PYTHONPATH": str(_bench.REPOSITORY)}
        arguments = [json.dumps(way), port, given.units, given.steps]
        self._processes = [
            subprocess.Popen(
                [sys.executable, __file__, "--worker", str(index), *map(str, arguments)],
                env={**os.environ, **shared},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for index in range(way.processes)
        ]
        self.facts = self._answers()[0]

    def ask(self) -> list[float]:
        """The next measurements, of the slowest process each."""
        for each in self._processes:
            assert each.stdin is not None
            each.stdin.write("\n")
            each.stdin.flush()
        return [max(values) for values in zip(*self._answers(), strict=True)]

    def close(self) -> None:
        """End the processes."""
        for each in self._processes:
            assert each.stdin is not None
            each.stdin.close()
        for each in self._processes:
            each.wait()

    def _answers(self) -> list:
        found = []
        for each in self._processes:
            assert each.stdout is not None
            line = each.stdout.readline()
            while line.startswith("[Gloo]"):
                line = each.stdout.readline()
            if not line:
                raise SystemExit("A process ended; what it wrote is above.")
            found.append(json.loads(line))
        return found


def ways(batch: int, cores: int) -> list[Way]:
    """What is measured: whole steps, and the computation alone."""
    found = [
        Way("one process", 1, 1, batch),
        Way("one process, two devices", 1, 2, batch),
    ]
    for count in (2, 4):
        found.append(Way(f"{count} processes", count, 1, batch // count))
        found.append(
            Way(f"computation of {batch // count} rows on one core", 1, 1, batch // count, 1)
        )
    found.append(Way("2 processes, gradients of 4 steps", 2, 1, batch // 2, None, 4))
    return found


def ring_ms(count: int, hop_s: float, size: int, bytes_per_s: float) -> float:
    """A ring all-reduce: 2 (count - 1) messages of a count-th part, one after another."""
    hops = 2 * (count - 1)
    return 1000 * hops * (hop_s + size / count / bytes_per_s)


def parse() -> argparse.Namespace:
    """Parse the arguments."""
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument("--units", type=int, default=128)
    parser.add_argument("--batch", type=int, default=64, help="rows of a batch, of all processes")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    parser.add_argument("--worker", nargs=5, help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(given: argparse.Namespace, chosen: list[Way]) -> tuple[dict, dict]:
    """The measurements of each way, by its name, and facts on the gradients."""
    running = {}
    for each in chosen:
        _bench.progress(f"starting {each.name}")
        running[each.name] = Running(each, given)
    found: dict[str, list[list[float]]] = {name: [] for name in running}
    for number in range(given.rounds):
        for name in _bench.in_turn(list(running), number):
            found[name].append(running[name].ask())
            _bench.progress(f"{name}: {found[name][-1][0]:.1f} ms")
    facts = running["one process"].facts
    for each in running.values():
        each.close()
    return {name: list(zip(*own, strict=True)) for name, own in found.items()}, facts


def main() -> None:
    """Measure, print, and save if asked."""
    given = parse()
    if given.worker:
        index, way, port, units, steps = given.worker
        worker(Way(*json.loads(way)), int(index), int(port), int(units), int(steps))
        return
    cores, batch = _bench.core_count(), given.batch
    found, facts = measure(given, ways(batch, cores))
    print(f"{QUESTION}\nLSTM of {given.units} units, batch {batch}, {given.steps} steps; ", end="")
    print(f"gradients: {facts['arrays']} arrays, {facts['bytes']:,} bytes\n")
    one, two = found["one process"][0], found["one process, two devices"][0]
    rows = [
        [
            name,
            *map(_bench.spread, (own[0], _bench.ratios(one, own[0]), _bench.ratios(two, own[0]))),
        ]
        for name, own in found.items()
    ]
    head = ["", "ms a step", "times as fast as one process", "as two devices"]
    print(_bench.table(head, rows), "\n")
    rows = []
    for count in (2, 4):
        alone = found[f"computation of {batch // count} rows on one core"][0]
        step, shared, *_ = found[f"{count} processes"]
        share = max(count / cores, 1)  # of a core's time, where they are more than the cores
        expected = [share * a + b for a, b in zip(alone, shared, strict=True)]
        rows.append(
            [
                f"{count} processes",
                *map(_bench.spread, (shared, expected, step)),
                _bench.spread(_bench.ratios(step, expected)),
            ]
        )
    head = ["", "sum", "computed", "measured", "ratio"]
    print(_bench.table(head, rows), "\n")
    rows = [[name, *map(_bench.spread, own[1:])] for name, own in found.items() if len(own) > 1]
    head = ["", "shared memory", "Gloo: one number", "Gloo: one array", "Gloo: every array"]
    print(_bench.table(head, rows), "\n")
    sums = ring_ms(HOSTS, HOP_S, facts["bytes"], BYTES_PER_S)
    whole = median(one)
    print(
        f"Computed, not measured: {HOSTS} such machines with {batch} rows each, a ring over 10 "
        f"Gbit/s Ethernet ({1e6 * HOP_S:.0f} µs a message, {BYTES_PER_S / 1e9:.1f} GB/s):\n"
        f"  {sums:.1f} ms beside {whole:.1f} ms of computation, "
        f"{100 * whole / (whole + sums):.0f} % efficient\n"
    )
    print(_bench.facts({}))
    _bench.save(given.json, {}, {name: {"ms": own} for name, own in found.items()})


if __name__ == "__main__":
    main()
