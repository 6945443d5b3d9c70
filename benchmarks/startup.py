"""How long from the start of the process to the first result?

The time a user of the command line waits: a new process, its imports, building, compiling, training
and the result. Cold means that legato's cache of compiled programs is empty, warm that the same
command ran before. Compared with bare imports, and with network 1 as a script in plain Keras on
JAX. Every command runs once before the measurement, so that all files have been read and all
bytecode is written. Peak memory is that of the process.

    python benchmarks/startup.py --rounds 5
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from statistics import median

import _bench

QUESTION = "How long from the start of the process to the first result?"
SCRIPT = str(_bench.HERE / "rivals" / "keras_script.py")

KERAS_ON_JAX = "import os; os.environ['KERAS_BACKEND'] = 'jax'; import keras"


@dataclass
class Command:
    """A command line, whether its cache is empty, and its measurements."""

    name: str
    arguments: list[str]
    cold: bool = False
    rival: str = "legato"
    seconds: list[float] = field(default_factory=list)
    peak_mib: list[float] = field(default_factory=list)


def commands() -> list[Command]:
    """All commands that are measured, the reference of the ratios first."""
    alphabet = ["-m", "legato", "alphabet"]
    return [
        Command("legato alphabet 1, warm", [*alphabet, "1"]),
        Command("legato alphabet 1, cold", [*alphabet, "1"], cold=True),
        Command("legato alphabet, warm", alphabet),
        Command("legato alphabet, cold", alphabet, cold=True),
        Command("network 1 in plain Keras", [SCRIPT], rival="keras-jax"),
        Command("legato --help", ["-m", "legato", "--help"]),
        Command("import legato", ["-c", "import legato"]),
        Command("from legato import Sequential", ["-c", "from legato import Sequential"]),
        Command("import keras, on JAX", ["-c", KERAS_ON_JAX], rival="keras-jax"),
        Command("import jax", ["-c", "import jax"], rival="keras-jax"),
        Command("python alone", ["-c", "pass"]),
    ]


def run(line: list[str], cache: str, folder: str) -> tuple[float, float, str]:
    """Seconds and peak MiB of one process, and the last line of its output if it failed."""
    with tempfile.TemporaryFile("w+") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            line, env=_bench.environment(cache), cwd=folder, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        lines = output.read().split("\n")
    scale = 1024 * 1024 if sys.platform == "darwin" else 1024
    last_line = next((each for each in reversed(lines) if each.strip()), "no output")
    return seconds, usage.ru_maxrss / scale, last_line if process.returncode else ""


def measure_once(command: Command, python: dict[str, str], warm_cache: str) -> str:
    """Run a command and record its time and memory; return why it failed, or an empty string."""
    line = [python.get(command.rival, sys.executable), *command.arguments]
    with tempfile.TemporaryDirectory(prefix="legato-benchmark-") as scratch:
        empty_cache = os.path.join(scratch, "cache")
        cache = empty_cache if command.cold else warm_cache
        seconds, peak, failure = run(line, cache, scratch)
    command.seconds.append(seconds)
    command.peak_mib.append(peak)
    return failure


def usable(candidates: list[Command], python: dict[str, str], cache: str) -> list[Command]:
    """Run each command once, unmeasured; return those that succeed."""
    kept = []
    for command in candidates:
        _bench.progress(f"once, unmeasured: {command.name}")
        if failure := measure_once(command, python, cache):
            _bench.progress(f"{command.name} is skipped, because it failed: {failure.strip()}")
            continue
        command.seconds.clear()
        command.peak_mib.clear()
        kept.append(command)
    return kept


def report(measured: list[Command]) -> str:
    """A table with one row for each command, ratios first."""
    reference = measured[0]
    rows = []
    for command in measured:
        ratio = median(_bench.ratios(command.seconds, reference.seconds))
        rows.append(
            [
                command.name,
                _bench.significant(ratio, 2),
                f"{_bench.spread(command.seconds)} s",
                f"{median(command.peak_mib):.0f} MiB",
            ]
        )
    return _bench.table(["", f"× {reference.name!r}", "time", "peak memory"], rows)


def parse() -> argparse.Namespace:
    """Parse the arguments."""
    parser = _bench.arguments(QUESTION, ["legato", "keras-jax"], rounds=3)
    return parser.parse_args()


def main() -> None:
    """Measure, print, and save if asked."""
    given = parse()
    python = _bench.interpreters(given.python)
    candidates = [command for command in commands() if command.rival in given.rivals]
    with tempfile.TemporaryDirectory(prefix="legato-benchmark-") as warm_cache:
        measured = usable(candidates, python, warm_cache)
        for number in range(given.rounds):
            for command in measured if number % 2 == 0 else reversed(measured):
                _bench.progress(f"round {number + 1} of {given.rounds}: {command.name}")
                measure_once(command, python, warm_cache)
    workers = _bench.start(given.rivals, python)
    versions = {name: worker.versions for name, worker in workers.items()}
    for worker in workers.values():
        worker.close()
    print(f"{QUESTION}\n{_bench.facts(versions)}\n\n{report(measured)}")
    _bench.save(given.json, versions, [vars(command) for command in measured])


if __name__ == "__main__":
    main()
