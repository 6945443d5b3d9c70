"""All benchmarks, one after the other, with their numbers in one JSON file.

The file has the machine, the processor's peak, each benchmark's versions and numbers, and why one
failed, if it did. `compare.py` compares two such files. `damage.py`, `train_settings.py` and
`series.py` are not about speed and are left out.

    python benchmarks/all.py --json new.json                   # an hour and a half
    python benchmarks/all.py --json new.json --quick           # a quarter of an hour
    python benchmarks/all.py --json new.json --only kernels streams --python torch=/path/to/python
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import _bench
from _peak import Peak

QUICK = {  # the arguments of each with --quick
    "kernels": "--rounds 2 --seconds 0.2 --tasks training",
    "kernel_sizes": "--rounds 2 --sizes GRU,1,64,8,50 LSTM,8,50,8,50 LSTM,32,64,8,50",
    "fit_rate": "--networks 1 5 --rounds 2 --seconds 0.3",
    "adam": "--networks 1 --rounds 5",
    "calls": "--networks 1 --rounds 2",
    "startup": "--rounds 2",
    "streams": "--only step pool generate --rounds 2",
    "serve": "--only single several --rounds 1 --seconds 1",
    "callbacks": "--rounds 2",
    "devices": "--steps 10 --rounds 2",
    "step_time": "--steps 10 --rounds 2",
    "generators": "--gigabytes 0.1",
    "large_files": "--gb 0.1",
    "train_from_file": "--rows 10000 --groups 50 --rounds 2",
    "replicates": "--networks 1 --seeds 8 --rounds 2",
    "influence": "--steps 250 500 --rounds 2",
    "training_memory": "--rounds 1",
    "long_sequences": "--steps 1000 10000 --units 32",
    "alphabet_questions": "--only quick",
}
WITH_RIVALS = {"kernels", "fit_rate", "calls", "startup", "streams", "training_memory"}


def run(name: str, words: list[str]) -> dict[str, Any]:
    """Run one benchmark; return the record that it saves, or how it failed."""
    with tempfile.TemporaryDirectory(prefix="legato-benchmark-") as folder:
        file, began = Path(folder, "numbers.json"), time.perf_counter()
        command = [sys.executable, str(_bench.HERE / f"{name}.py"), "--json", str(file), *words]
        status = subprocess.run(command, env=_bench.environment(folder), check=False).returncode
        if status or not file.exists():
            return {"failed": f"status {status}"}
        return json.loads(file.read_text()) | {"took_minutes": (time.perf_counter() - began) / 60}


def parse() -> argparse.Namespace:
    """Parse the arguments."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, help="the file to write")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and sizes")
    parser.add_argument("--only", nargs="+", choices=QUICK, default=list(QUICK), metavar="NAME")
    parser.add_argument("--python", action="append", default=[], metavar="RIVAL=PATH")
    given = parser.parse_args()
    _bench.interpreters(given.python)
    if not given.json.resolve().parent.is_dir():
        parser.error(f"--json {given.json}: there is no such folder")
    return given


def main() -> None:
    """Run all and save after each; the status is 1 if one failed."""
    given = parse()
    record: dict[str, Any] = {
        "machine": _bench.machine(),
        "peak": Peak().facts(),
        "quick": given.quick,
        "benchmarks": {},
    }
    for name in given.only:
        print(f"\n# {name}\n", flush=True)
        words = QUICK[name].split() if given.quick else []
        if name in WITH_RIVALS:
            words += [word for pair in given.python for word in ("--python", pair)]
        record["benchmarks"][name] = run(name, words)
        given.json.write_text(json.dumps(record, indent=1) + "\n")
    failed = [name for name, each in record["benchmarks"].items() if "failed" in each]
    if failed:
        sys.exit(f"these benchmarks failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
