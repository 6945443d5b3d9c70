"""What does a training step on a long sequence take, with and without recomputation?

CPU seconds of one training step of 32 samples and the peak memory of the process, each case in a
new process, because a peak never decreases.

    python benchmarks/long_sequences.py --steps 1000 10000 --units 64
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _bench

QUESTION = "What does a training step on a long sequence take, with and without recomputation?"


def measure(steps: int, units: int, remat: int | bool | None) -> dict[str, float]:
    """CPU seconds of a training step, and the peak MiB of this process."""
    import numpy as np

    from legato import Sequential, layers

    model = Sequential([layers.Input((steps, 1)), layers.LSTM(units), layers.Dense(1)])
    model.compile("adam", "mse")
    model.remat = remat
    xs, ys = np.ones((32, steps, 1), "float32"), np.ones((32, 1), "float32")
    model.fit(xs, ys, verbose=0)  # compiles
    begin = time.process_time()
    model.fit(xs, ys, epochs=2, verbose=0)
    seconds = (time.process_time() - begin) / 2
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "peak_mib": peak / 2**10}


def in_new_process(case: dict) -> dict[str, float]:
    """``measure`` of a case in a new process with an empty cache."""
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, __file__, "--case", json.dumps(case)]
        environment = _bench.environment(cache)
        return json.loads(subprocess.check_output(command, text=True, env=environment))


def main() -> None:
    """Measure, print, and save if asked."""
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument("--steps", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--units", type=int, default=128)
    parser.add_argument("--most", type=int, default=10_000, help="steps without recomputation")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        print(json.dumps(measure(**given.case)))
        return
    results = []
    for steps in given.steps:
        for remat in (None, True) if steps <= given.most else (True,):
            case = {"steps": steps, "units": given.units, "remat": remat}
            _bench.progress(f"{case}")
            results.append(case | in_new_process(case))
    rows = [
        [
            f"{each['steps']:,}",
            str(each["remat"]),
            _bench.significant(each["seconds"]),
            f"{each['peak_mib']:,.0f}",
        ]
        for each in results
    ]
    print(f"{QUESTION}\n{_bench.facts({})}\nLSTM of {given.units} units, 32 samples\n")
    print(_bench.table(["time steps", "remat", "CPU s", "peak MiB"], rows))
    names = [f"{each['steps']} steps, remat {each['remat']}" for each in results]
    _bench.save(given.json, {}, dict(zip(names, results, strict=True)))


if __name__ == "__main__":
    main()
