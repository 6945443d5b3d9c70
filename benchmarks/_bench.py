"""Shared by all benchmarks: rivals in separate processes, rounds, tables, facts on the machine.

A rival runs in its own process, because Keras has one backend for a process and because peak memory
is measured for a process. Only one process works at a time, and rounds alternate between rivals, so
that a slow minute of a shared machine affects all of them.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent

RIVALS = {
    "legato": ["with_legato.py"],
    "keras-jax": ["with_keras.py", "jax"],
    "keras-tf": ["with_keras.py", "tensorflow"],
    "torch": ["with_torch.py"],
    "onnxruntime": ["with_onnxruntime.py"],
    "c": ["with_c.py"],
    "numpy": ["with_numpy.py"],
}


class Worker:
    """One rival in its own process: sends requests, receives answers."""

    def __init__(self, name: str, python: str, command: Sequence[str] | None = None) -> None:
        script, *words = command or RIVALS[name]
        self.name = name
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by close)
        self._cache = tempfile.TemporaryDirectory(prefix="legato-benchmark-")  # empty: a cold start
        self._process = subprocess.Popen(
            [python, str(HERE / "rivals" / script), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment(self._cache.name),
        )
        hello = self._read()
        self.missing: str | None = hello.get("missing")
        self.versions: dict[str, str] = hello.get("versions", {})

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Send one request and wait for its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """End the process."""
        self._process.communicate()
        self._errors.close()
        self._cache.cleanup()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            output = self._errors.read()[-2000:]
            raise RuntimeError(f"The rival {self.name!r} ended. Its last output:\n{output}")
        return json.loads(line)


def environment(cache: str) -> dict[str, str]:
    """Environment variables of a rival: this checkout, legato's cache, no backend chosen."""
    inherited = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    path = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**inherited, "PYTHONPATH": os.pathsep.join(path), "LEGATO_CACHE_DIR": cache}


def start(
    names: Iterable[str],
    pythons: dict[str, str],
    commands: Mapping[str, Sequence[str]] = RIVALS,
) -> dict[str, Worker]:
    """Start the rivals that can run here; print the reason for each that cannot.

    What follows a comma in a rival's name is a setting: its interpreter is that of the same rival
    without the setting.
    """
    workers = {}
    for name in names:
        progress(f"starting {name}")
        python = pythons.get(name.partition(",")[0], sys.executable)
        worker = Worker(name, python, commands[name])
        if worker.missing is None:
            workers[name] = worker
        else:
            progress(f"{name} is skipped: {worker.missing}")
            worker.close()
    return workers


def in_turn(names: Sequence[str], round_number: int) -> list[str]:
    """The order of the rivals in one round: forwards, then backwards."""
    return list(names if round_number % 2 == 0 else reversed(names))


def arguments(question: str, rivals: Sequence[str], rounds: int) -> argparse.ArgumentParser:
    """The arguments that every benchmark with rivals takes; rivals are names of `RIVALS`."""
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--rounds", type=int, default=rounds, help="number of measurements of each")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    parser.add_argument("--rivals", nargs="+", choices=RIVALS, default=list(rivals), metavar="NAME")
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="RIVAL=PATH",
        help="Python interpreter of one rival (default: the one that runs this file)",
    )
    return parser


def interpreters(pairs: Iterable[str]) -> dict[str, str]:
    """The `--python` arguments as a dictionary: rival to interpreter."""
    halves = (pair.partition("=") for pair in pairs)
    table = {name: path for name, _, path in halves}
    if unknown := set(table) - set(RIVALS):
        raise SystemExit(f"--python names {sorted(unknown)}, but the rivals are {list(RIVALS)}.")
    return table


def progress(line: str) -> None:
    """Print a progress line to standard error, apart from the results."""
    print(line, file=sys.stderr, flush=True)


def spread(values: Sequence[float], digits: int = 3) -> str:
    """The median, with the smallest and the largest value in brackets."""
    shown = [significant(value, digits) for value in (median(values), min(values), max(values))]
    return f"{shown[0]} ({shown[1]}–{shown[2]})"


def significant(value: float, digits: int = 3) -> str:
    """A number rounded to some significant digits, never in scientific notation."""
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - int(f"{value:e}".partition("e")[2]))
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.{decimals}f}"


def ratios(values: Sequence[float], baseline: Sequence[float]) -> list[float]:
    """The value divided by the baseline's, round by round."""
    return [value / base for value, base in zip(values, baseline, strict=True)]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of text; the first is aligned left, the others right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        rest = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
        return "  ".join([cells[0].ljust(widths[0]), *rest]).rstrip()

    return "\n".join([line(head), line(["-" * width for width in widths]), *map(line, rows)])


def machine() -> dict[str, str]:
    """The machine, Python version and date of the measurement."""
    return {
        "processor": f"{_processor()}, {core_count()} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
        "load": f"load {os.getloadavg()[0]:.1f}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def core_count() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def facts(versions: dict[str, dict[str, str]]) -> str:
    """Machine, date and every rival's versions, one line each."""
    lines = [", ".join(machine().values())]
    for name, parts in versions.items():
        lines.append(
            f"{name}: " + ", ".join(f"{part} {version}" for part, version in parts.items())
        )
    return "\n".join(lines)


def save(path: Path | None, versions: dict[str, dict[str, str]], results: Any) -> None:
    """Write machine, versions and numbers as JSON, if a path was given."""
    if path is not None:
        record = {"machine": machine(), "versions": versions, "results": results}
        path.write_text(json.dumps(record, indent=1) + "\n")
