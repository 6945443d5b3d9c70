"""What do kills, flipped bits and damaged files do: is anything lost, or wrong without a word?

Not a measurement of time: a trial at large of what the tests show at small. It ends with status 1
if anything is lost, done twice or different after a kill; if a flipped bit is accepted in a file
with a checksum; or if a damaged file raises what is no error of legato, hangs, or takes memory.

    python benchmarks/damage.py --kills 200 --flips 10000 --files 5000
    python benchmarks/damage.py --only kills --kills 40 --seed 7
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _bench import machine, progress, table
from trials import processes

QUESTION = "What do kills, flipped bits and damaged files do?"
MOST_GROWN_MIB = 512
SECONDS_BETWEEN_LINES = 10.0  # of progress
NOTES_SHOWN = 20


class Trial(NamedTuple):
    """A trial: its table, and a note for each fault."""

    title: str
    head: list[str]
    rows: list[list[str]]
    notes: list[str]


def last_of(title: str, results: Iterable[Any]) -> Any:
    """The last of a trial's results; prints lines of progress in between."""
    result, said = None, time.monotonic()
    for result in results:
        if time.monotonic() - said > SECONDS_BETWEEN_LINES:
            said = time.monotonic()
            progress(f"{title}: {result.trials:,}, {len(result.notes)} faults")
    progress(f"{title}: done, {result.trials:,}, {len(result.notes)} faults")
    return result


def try_kills(given: argparse.Namespace, folder: Path) -> Trial:
    """Kill processes at random moments, as many in each kind of work."""
    from trials.kills import FAULTS
    from trials.pool_kills import kill_pools
    from trials.save_kills import kill_saves
    from trials.stream_kills import kill_stream
    from trials.training_kills import kill_training

    kinds = {
        "pool": kill_pools,
        "legato stream, line by line": partial(kill_stream, batch_lines=1),
        "legato stream, lines together": partial(kill_stream, batch_lines=1024),
        "training": kill_training,
        "saves": kill_saves,
    }
    rows, notes = [], []
    for number, (name, kill) in enumerate(kinds.items()):
        home = folder / f"kills {number}"
        home.mkdir()
        rng = np.random.default_rng([given.seed, number])
        tally = last_of(f"kills, {name}", kill(-(-given.kills // len(kinds)), home, rng))
        counts = [tally.trials, tally.done, *tally.faults.values()]
        rows.append([name, *(f"{each:,}" for each in counts)])
        notes += tally.notes
    return Trial("Kills", ["work", "kills", "changes done", *FAULTS], rows, notes)


def try_flips(given: argparse.Namespace, folder: Path) -> Trial:
    """Flip bits of every format with a checksum, so many of each."""
    from trials.formats import FORMATS

    numbers = [number for number, form in enumerate(FORMATS) if form.has_checksum]
    return _try_files("Flipped bits", numbers, True, given.flips, given.seed, folder)


def try_files(given: argparse.Namespace, folder: Path) -> Trial:
    """Read damaged files of every format, so many in all."""
    from trials.formats import FORMATS

    numbers = range(len(FORMATS))
    count = -(-given.files // len(numbers))
    return _try_files("Damaged files", numbers, False, count, given.seed, folder)


def _try_files(
    title: str, numbers: Iterable[int], is_flipped: bool, count: int, seed: int, folder: Path
) -> Trial:
    """Read damaged files of some formats."""
    from trials.damaged_files import read_damaged
    from trials.formats import FORMATS, make_files

    whole = folder / title
    whole.mkdir()
    make_files(whole)
    rows, notes = [], []
    for number in numbers:
        name = f"{title}, {FORMATS[number].name}"
        found = last_of(name, read_damaged(whole, number, is_flipped, count, seed))
        counts = [found.trials, found.refused, found.read, found.accepted]
        counts += [found.unexpected, found.hangs]
        rows.append([found.name, *(f"{each:,}" for each in counts), f"{found.grown_mib:.0f} MiB"])
        notes += found.notes
        if found.grown_mib > MOST_GROWN_MIB:
            notes.append(f"{found.name}: memory grew by {found.grown_mib:.0f} MiB")
    head = ["file", "damaged", "refused", "read", "accepted", "other errors", "hangs", "memory"]
    return Trial(title, head, rows, notes)


TRIALS = {"kills": try_kills, "flips": try_flips, "files": try_files}


def parse() -> argparse.Namespace:
    """Parse the arguments."""
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument("--only", nargs="+", choices=TRIALS, default=list(TRIALS), metavar="TRIAL")
    parser.add_argument("--kills", type=int, default=200, help="number of kills in all")
    parser.add_argument(
        "--flips", type=int, default=10_000, help="number of flipped bits of each format"
    )
    parser.add_argument("--files", type=int, default=5_000, help="number of damaged files in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    return parser.parse_args()


def main() -> int:
    """Try, print, and save if asked; returns the exit status."""
    given = parse()
    trials = []
    with tempfile.TemporaryDirectory(prefix="legato-damage-") as folder:
        processes.set_up(str(Path(folder) / "cache"))
        for name in given.only:
            trials.append(TRIALS[name](given, Path(folder)))
    print(f"{QUESTION}\n{', '.join(machine().values())}; seed {given.seed}")
    for trial in trials:
        print(f"\n{trial.title}\n{table(trial.head, trial.rows)}")
    notes = [note for trial in trials for note in trial.notes]
    print(f"\n{len(notes)} faults" if notes else "\nNo fault.")
    print("\n".join(notes[:NOTES_SHOWN]))
    if given.json is not None:
        record = {"machine": machine(), "seed": given.seed, "trials": [t._asdict() for t in trials]}
        given.json.write_text(json.dumps(record, indent=1) + "\n")
    return int(bool(notes))


if __name__ == "__main__":
    sys.exit(main())
