"""Train on many uneven sequences of one file together, and forecast each.

A log has the load and the temperature of many machines in one table, in order of time. Each machine
follows its load with its own lag and from its own base temperature, so a forecast needs the history
of the machine, which the carried state holds. ``group=`` and ``time=`` make a sequence of each
machine. The sequences are assigned to rows of a batch with little padding, trained, scored on the
last fifth of each, where each forecast sees all earlier actual values, and forecast. The command
line does the same in one line.
"""

import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import legato

MACHINES, AHEAD = 24, 5


def write_log(path: Path) -> None:
    """Write a synthetic log: machine, at, load, temperature; rows in order of time."""
    rng = np.random.default_rng(7)
    rows = []
    for machine in range(MACHINES):
        lag, base, gain = rng.uniform(3, 15), rng.uniform(20, 35), rng.uniform(20, 60)
        begin, length = rng.integers(0, 200), rng.integers(100, 500)
        load = np.repeat(rng.uniform(0, 1, length // 12 + 1), 12)[:length]
        warmth = base
        for step in range(length):
            warmth += (base + gain * load[step] - warmth) / lag
            at = np.datetime64("2026-01-05T06:00") + np.timedelta64(int(begin + step), "m")
            measured = warmth + rng.normal(scale=0.2)
            rows.append((f"m{machine:02}", str(at), f"{load[step]:.3f}", f"{measured:.2f}"))
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("machine", "at", "load", "temperature"))
        table.writerows(sorted(rows, key=lambda row: row[1]))


with tempfile.TemporaryDirectory() as folder:
    log = Path(folder) / "machines.csv"
    write_log(log)
    machines = legato.read(log, group="machine", time="at")
    print(machines)
    print(legato.Lanes(machines.lengths))

    trained = legato.train(machines, target="temperature", horizon=AHEAD, epochs=60, verbose=0)
    scores = trained.scores
    print(scores["verdict"])
    one = machines.select([machines.names.index("m03")])
    print(f"the next {AHEAD} minutes of {one.names[0]}, with 80 % intervals:")
    forecast = trained.forecast(one)
    (low, high), values = forecast.ends[0, :, 0, :, 0], forecast.values[0, :, 0]
    for row in zip(forecast.times[0].astype("M8[m]"), values, low, high, strict=True):
        print("  {}  {:.1f}  ({:.1f} to {:.1f})".format(*row))

    line = f"train machines.csv --group machine --time at --target temperature --horizon {AHEAD}"
    line += " --epochs 60"
    print(f"legato {line}")
    command = [sys.executable, "-m", "legato", *line.split(), "--json"]
    printed = subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout
    print("scores the same:", json.loads(printed)["scores"]["model"] == scores["model"])
