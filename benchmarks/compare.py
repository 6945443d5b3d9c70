"""What became slower, and what faster, from one JSON file of benchmarks to another?

The files are those of `all.py --json`, or of one benchmark. A line is a list of measurements under
a key with a unit, of time or memory. Its ratio is the new median divided by the old one. A line is
slower (or larger) if its smallest new value exceeds the largest old one; a range counts as 5 % of
the median on both sides at least. Compare files of the same machine only, and look at the rivals'
lines: if they changed as well, it was the machine.

    python benchmarks/compare.py old.json new.json
    python benchmarks/compare.py old.json new.json --changed
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import _bench

UNIT = re.compile(r"(^|_)(s|ms|us|seconds|milliseconds|microseconds|mib|bytes)(_|$)")
NAMES = ("name", "what", "rival", "way")  # keys of strings that tell entries of a list apart
LEAST_SPREAD = 0.05


def read(path: Path) -> dict[str, Any]:
    """A file of numbers."""
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        sys.exit(f"{path} cannot be read as the JSON of a benchmark: {error}")
    if not isinstance(record, dict) or not {"benchmarks", "results"} & set(record):
        sys.exit(f"{path} has neither `benchmarks` nor `results`: it is not of a benchmark.")
    return record


def lines(record: dict[str, Any]) -> dict[str, list[float]]:
    """The measurements of a file: name of a line -> its values."""
    parts = record.get("benchmarks", {"": record})
    found: dict[str, list[float]] = {}
    for name, part in parts.items():
        for path, value in _values(part.get("results"), (name,) if name else (), False):
            found.setdefault(": ".join(path), []).append(value)
    return found


def _values(part: Any, path: tuple[str, ...], unit: bool) -> Iterator[tuple[tuple, float]]:
    """Every number below a key with a unit, with its path; lists add names, if any, to the path."""
    if isinstance(part, dict):
        names = tuple(str(part[key]) for key in NAMES if isinstance(part.get(key), str))
        for key, below in part.items():
            if key not in NAMES:
                yield from _values(below, (*path, *names, key), unit or bool(UNIT.search(key)))
    elif isinstance(part, list):
        for below in part:
            yield from _values(below, path, unit)
    elif unit and isinstance(part, int | float) and not isinstance(part, bool):
        yield path, part


def change(old: list[float], new: list[float]) -> str:
    """`slower` or `faster` if the ranges do not meet, else nothing."""
    (old_low, old_high), (new_low, new_high) = _range(old), _range(new)
    return "slower" if new_low > old_high else "faster" if new_high < old_low else ""


def _range(values: list[float]) -> tuple[float, float]:
    middle = median(values)
    return (
        min(*values, middle * (1 - LEAST_SPREAD)),
        max(*values, middle * (1 + LEAST_SPREAD)),
    )


def compare(old: dict[str, list[float]], new: dict[str, list[float]]) -> list[list[str]]:
    """A row for each line that both have, the greatest ratio first."""
    ratios = {
        name: median(new[name]) / median(old[name])
        for name in old
        if name in new and median(old[name])
    }
    return [
        [
            name,
            f"{ratios[name]:.2f}",
            change(old[name], new[name]),
            _bench.spread(old[name]),
            _bench.spread(new[name]),
        ]
        for name in sorted(ratios, key=lambda each: -ratios[each])
    ]


def about(record: dict[str, Any]) -> str:
    """Machine, date and peak of a file."""
    peak = record.get("peak") or (record.get("results") or {}).get("peak")
    words = [*record.get("machine", {}).values()]
    return ", ".join([*words, f"peak {peak['gflops']:.0f} GFLOP/s"] if peak else words)


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--changed", action="store_true", help="only what is slower or faster")
    given = parser.parse_args()
    records = read(given.old), read(given.new)
    old, new = map(lines, records)
    rows = compare(old, new)
    print(f"old: {about(records[0])}\nnew: {about(records[1])}\n")
    shown = [row for row in rows if row[2]] if given.changed else rows
    print(_bench.table(["", "new / old", "", "old", "new"], shown))
    for what in ("slower", "faster"):
        print(f"{what} beyond the spread: {sum(row[2] == what for row in rows)} of {len(rows)}")
    for side, names in (("old", old.keys() - new.keys()), ("new", new.keys() - old.keys())):
        if names:
            print(f"only in the {side} file: {len(names)} lines")


if __name__ == "__main__":
    main()
