"""How long does `legato alphabet questions` take?

The command as a user starts it, with `--quick` and with the default numbers of seeds, from an empty
compilation cache and again. Seconds for each question are those in its JSON output; the total is
the wall time of the process.

    python benchmarks/alphabet_questions.py
    python benchmarks/alphabet_questions.py --only quick
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _bench import machine, progress, save, table


def run_questions(words: list[str], cache: str) -> tuple[dict[str, float], float]:
    """Seconds of each question, and of the process."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "legato", "alphabet", "questions", "--json", *words],
        capture_output=True,
        check=True,
        env={**os.environ, "LEGATO_CACHE_DIR": cache},
    )
    took = time.perf_counter() - began
    answers = json.loads(done.stdout)["answers"]
    return {each["question"]: each["seconds"] for each in answers}, took


def main() -> None:
    """Print the table, and save if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=["quick", "default"], help="one of the two")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    given = parser.parse_args()
    columns: dict[str, tuple[dict[str, float], float]] = {}
    for name, words in {"quick": ["--quick"], "default": []}.items():
        if given.only in (None, name):
            with tempfile.TemporaryDirectory() as cache:
                for again in ("cold", "warm"):
                    progress(f"{name}, {again}")
                    columns[f"{name}, {again}"] = run_questions(words, cache)
    questions = next(iter(columns.values()))[0]
    rows = [
        [question, *(f"{seconds[question]:.1f}" for seconds, _ in columns.values())]
        for question in questions
    ]
    rows.append(["the process, s", *(f"{whole:.1f}" for _, whole in columns.values())])
    print((__doc__ or "").splitlines()[0], ", ".join(machine().values()), sep="\n")
    print(f"\n{table(['question', *columns], rows)}")
    seconds = {name: {**each, "process": whole} for name, (each, whole) in columns.items()}
    save(given.json, {}, {"seconds": seconds})


if __name__ == "__main__":
    main()
