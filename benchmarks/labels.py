"""How often does a default classifier label sequences right, beside aeon's DTW and ROCKET?

``legato.train`` at its default settings on a CSV file with a row for each time step, once for each
seed, and ``classify`` on the file of the test part. The data sets are those of the UCR and UEA
archives that aeon has on disk, in their published split. Beside it 1-NN with dynamic time warping,
and ROCKET under the same seeds. The column *expected* is the accuracy that legato expected of
itself: that of its cross-validation on the training part.

    python benchmarks/labels.py --python rivals=/path/to/python --json labels.json
"""

import legato  # noqa: I001  before Keras, so that it runs on JAX
import argparse
import csv
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _bench import Worker, facts, progress, save, table

NAMES = (
    "ItalyPowerDemand",
    "GunPoint",
    "BasicMotions",
    "JapaneseVowels",
    "ArrowHead",
    "OSULeaf",
    "ACSF1",
    "PickupGestureWiimoteZ",
)
METHODS = {"1-NN-DTW": False, "ROCKET": True}  # whether it depends on a seed


def write(path: Path, part: dict[str, Any]) -> Path:
    """A part of the data as a file: case, columns, label; a row for each time step."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        columns = len(part["sequences"][0][0])
        rows.writerow(["case", *(f"x{at}" for at in range(columns)), "label"])
        for at, (steps, label) in enumerate(zip(part["sequences"], part["labels"], strict=True)):
            rows.writerows([f"case {at}", *step, f"label {label}"] for step in steps)
    return path


def by_legato(train: Path, test: Path, truth: list[str], seed: int) -> dict[str, Any]:
    """Accuracy on the test part, what was expected, cross-entropy in bits, seconds."""
    began, cpu = time.perf_counter(), time.process_time()
    trained = legato.train(train, group="case", seed=seed, verbose=0)
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    found = trained.classify(test)
    right = np.array(found.labels) == [f"label {each}" for each in truth]
    index = [found.classes.index(f"label {each}") for each in truth]
    chances = found.probabilities[np.arange(len(index)), index]
    return {
        "accuracy": float(right.mean()),
        "expected": trained.scores["model"]["accuracy"],
        "bits": float(-np.log2(np.maximum(chances, 1e-7)).mean()),
        "wall_s": wall_s,
        "cpu_s": cpu_s,
    }


def measure(name: str, rivals: Worker, seeds: int) -> dict[str, Any]:
    """The results of all methods on one data set, a list over seeds each, and its sizes."""
    data = rivals.ask("measure", network="aeon", what="data", name=name)
    with tempfile.TemporaryDirectory() as folder:
        train = write(Path(folder) / "train.csv", data["train"])
        test = write(Path(folder) / "test.csv", data["test"])
        truth = data["test"]["labels"]
        found: dict[str, Any] = {
            "legato": [by_legato(train, test, truth, seed) for seed in range(seeds)]
        }
    for method, is_random in METHODS.items():
        given = {"what": "accuracy", "name": name, "method": method}
        found[method] = [
            rivals.ask("measure", network="aeon", seed=seed, **given)
            for seed in range(seeds if is_random else 1)
        ]
    lengths = [len(each) for each in data["train"]["sequences"]]
    found["sizes"] = {
        "train": len(lengths),
        "test": len(truth),
        "steps": [min(lengths), max(lengths)],
        "columns": len(data["train"]["sequences"][0][0]),
        "labels": len(set(truth)),
    }
    return found


def row(name: str, found: dict[str, Any]) -> list[str]:
    """The cells of a data set: sizes, accuracies (means over seeds), and seconds of training."""
    sizes, runs = found["sizes"], found["legato"]
    shortest, longest = sizes["steps"]
    steps = f"{longest}" if shortest == longest else f"{shortest}-{longest}"
    own = [each["accuracy"] for each in runs]
    mean = {name: np.mean([each[name] for each in runs]) for name in runs[0]}
    others = [np.mean([each["accuracy"] for each in found[method]]) for method in METHODS]
    return [
        name,
        *(str(sizes[each]) for each in ("train", "test")),
        steps,
        *(str(sizes[each]) for each in ("columns", "labels")),
        *(f"{each:.3f}" for each in others),
        f"{np.mean(own):.3f}",
        f"{min(own):.3f}",
        f"{mean['expected']:.3f}",
        f"{mean['bits']:.2f}",
        f"{mean['wall_s']:.0f}",
        f"{mean['cpu_s']:.0f}",
    ]


HEAD = [
    *("data set", "train", "test", "steps", "columns", "labels", *METHODS, "legato", "worst"),
    *("expected", "bits", "wall s", "cpu s"),
]


def main() -> None:
    """Measure, save after each data set if asked, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these data sets")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    parser.add_argument("--python", metavar="rivals=PATH", help="interpreter that has aeon")
    given = parser.parse_args()
    name, _, python = (given.python or "rivals=").partition("=")
    if name != "rivals":
        parser.error(f"--python {given.python}: write rivals=/path/to/python")
    if given.seeds < 1:
        parser.error("--seeds is at least 1")
    rivals = Worker("rivals", python or sys.executable, ["with_aeon.py"])
    if rivals.missing:
        sys.exit(rivals.missing)
    print((__doc__ or "").splitlines()[0], facts({"rivals": rivals.versions}), sep="\n", flush=True)
    rows, results = [], {}
    for each in given.only or NAMES:
        results[each] = measure(each, rivals, given.seeds)
        rows.append(row(each, results[each]))
        progress(f"{rows[-1]}")
        save(given.json, {"rivals": rivals.versions}, results)
    rivals.close()
    print(f"\n{table(HEAD, rows)}")


if __name__ == "__main__":
    main()
