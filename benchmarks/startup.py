"""How long from the start of the process to the first result?

The time a user of the command line waits: a new process, its imports, building, compiling, training
and the result. Cold means that legato's cache of compiled programs is empty, warm that the same
command ran before. Compared with bare imports, and with network 1 as a script in plain Keras on
JAX. `legato forecast` and `legato stream` open a model that was trained before; their CPU time,
which a busy machine changes less, is compared with importing Keras and JAX as a user would. Every
command runs once before the measurement, so that all files have been read and all bytecode is
written. Peak memory is that of the process.

    python benchmarks/startup.py --rounds 5
    python benchmarks/startup.py --only forecast stream import
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
DATA = str(_bench.REPOSITORY / "examples" / "passengers.csv")

KERAS_ON_JAX = "import os; os.environ['KERAS_BACKEND'] = 'jax'; import keras"
IMPORTS = "import keras and jax"  # of the ratios of CPU time


@dataclass
class Command:
    """A command line, whether its cache is empty, a file of its input, and its measurements."""

    name: str
    arguments: list[str]
    cold: bool = False
    rival: str = "legato"
    lines: str | None = None
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    peak_mib: list[float] = field(default_factory=list)


def commands(model: str) -> list[Command]:
    """All commands that are measured, the reference of the ratios first; the model is a file."""
    alphabet = ["-m", "legato", "alphabet"]
    forecast = ["-m", "legato", "forecast", model, DATA, "-n", "12"]
    stream = ["-m", "legato", "stream", model]
    return [
        Command("legato alphabet 1, warm", [*alphabet, "1"]),
        Command("legato alphabet 1, cold", [*alphabet, "1"], cold=True),
        Command("legato alphabet, warm", alphabet),
        Command("legato alphabet, cold", alphabet, cold=True),
        Command("legato forecast, warm", forecast),
        Command("legato forecast, cold", forecast, cold=True),
        Command("legato stream, warm", stream, lines=DATA),
        Command("legato stream, cold", stream, cold=True, lines=DATA),
        Command("network 1 in plain Keras", [SCRIPT], rival="keras-jax"),
        Command("legato --help", ["-m", "legato", "--help"]),
        Command("import legato", ["-c", "import legato"]),
        Command("from legato import Sequential", ["-c", "from legato import Sequential"]),
        Command("import keras, on JAX", ["-c", KERAS_ON_JAX], rival="keras-jax"),
        Command(IMPORTS, ["-c", f"{KERAS_ON_JAX}, jax"], rival="keras-jax"),
        Command("import jax", ["-c", "import jax"], rival="keras-jax"),
        Command("python alone", ["-c", "pass"]),
    ]


def run(
    line: list[str], cache: str, folder: str, lines: str | None = None
) -> tuple[float, float, float, str]:
    """Seconds, CPU seconds and peak MiB of one process, and its last line if it failed."""
    environment = _bench.environment(cache)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # it would compile legato's sources each time
    with tempfile.TemporaryFile("w+") as output, open(lines or os.devnull) as given:
        started = time.perf_counter()
        process = subprocess.Popen(
            line, env=environment, cwd=folder, stdin=given, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        printed = output.read().split("\n")
    scale = 1024 * 1024 if sys.platform == "darwin" else 1024
    last_line = next((each for each in reversed(printed) if each.strip()), "no output")
    cpu_seconds = usage.ru_utime + usage.ru_stime
    return seconds, cpu_seconds, usage.ru_maxrss / scale, last_line if process.returncode else ""


def measure_once(command: Command, python: dict[str, str], warm_cache: str) -> str:
    """Run a command and record its time and memory; return why it failed, or an empty string."""
    line = [python.get(command.rival, sys.executable), *command.arguments]
    with tempfile.TemporaryDirectory(prefix="legato-benchmark-") as scratch:
        empty_cache = os.path.join(scratch, "cache")
        cache = empty_cache if command.cold else warm_cache
        seconds, cpu_seconds, peak, failure = run(line, cache, scratch, command.lines)
    command.seconds.append(seconds)
    command.cpu_seconds.append(cpu_seconds)
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
        command.cpu_seconds.clear()
        command.peak_mib.clear()
        kept.append(command)
    return kept


def report(measured: list[Command]) -> str:
    """A table with one row for each command, ratios first."""
    reference = measured[0]
    imports = next((each for each in measured if each.name == IMPORTS), reference)
    rows = []
    for command in measured:
        ratio = median(_bench.ratios(command.seconds, reference.seconds))
        rows.append(
            [
                command.name,
                _bench.significant(ratio, 2),
                f"{_bench.spread(command.seconds)} s",
                f"{_bench.spread(command.cpu_seconds)} s",
                _bench.significant(
                    median(_bench.ratios(command.cpu_seconds, imports.cpu_seconds)), 2
                ),
                f"{median(command.peak_mib):.0f} MiB",
            ]
        )
    heads = ["", f"× {reference.name!r}", "time", "CPU time", f"× {imports.name!r}", "peak memory"]
    return _bench.table(heads, rows)


def train(python: str, folder: str) -> str:
    """Train a model for the commands that open one; returns its file."""
    model = os.path.join(folder, "model.keras")
    words = ["train", DATA, "--time", "month", "--epochs", "20", "--out", model]
    *_, failure = run([python, "-m", "legato", *words], "off", folder)
    if failure:
        raise SystemExit(f"no model could be trained: {failure}")
    return model


def parse() -> argparse.Namespace:
    """Parse the arguments."""
    parser = _bench.arguments(QUESTION, ["legato", "keras-jax"], rounds=3)
    parser.add_argument("--only", nargs="+", metavar="WORD", help="commands with one of the words")
    return parser.parse_args()


def main() -> None:
    """Measure, print, and save if asked."""
    given = parse()
    python = _bench.interpreters(given.python)
    with (
        tempfile.TemporaryDirectory(prefix="legato-benchmark-") as warm_cache,
        tempfile.TemporaryDirectory(prefix="legato-benchmark-") as folder,
    ):
        model = train(python.get("legato", sys.executable), folder)
        candidates = [
            each
            for each in commands(model)
            if each.rival in given.rivals and any(word in each.name for word in given.only or [""])
        ]
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
