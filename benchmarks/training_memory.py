"""How much memory does training need?

The peak resident memory of a process that imports a rival, builds network 6 (1000 samples) and fits
it, each in a new process, because a peak never decreases. Also the peak after the imports alone;
the difference is the memory of the training itself.

    python benchmarks/training_memory.py
"""

from __future__ import annotations

import argparse
from statistics import median

import _bench
from rivals._networks import NETWORKS

QUESTION = "How much memory does training need?"
WHOLE_RUN = {"legato", "c"}


def measure(name: str, python: dict[str, str], network: int) -> tuple[dict, float, float] | None:
    """Versions, peak MiB after the imports and after training; None if the rival cannot run."""
    workers = _bench.start([name], python)
    if not workers:
        return None
    worker = workers[name]
    imported = worker.ask("memory")["peak_mib"]
    epochs = NETWORKS[network].epochs if name in WHOLE_RUN else 2
    worker.ask("fit", network=network, epochs=epochs)
    trained = worker.ask("memory")["peak_mib"]
    worker.close()
    return worker.versions, imported, trained


def report(results: dict[str, list[tuple[float, float]]]) -> str:
    """A table with one row for each rival, ratios first."""
    baseline = "legato" if "legato" in results else next(iter(results))
    peaks = {name: [trained for _, trained in each] for name, each in results.items()}
    rows = []
    for name, each in results.items():
        imported = median(first for first, _ in each)
        ratio = _bench.ratios(peaks[name], peaks[baseline])
        training = median(trained - first for first, trained in each)
        rows.append(
            [
                name,
                _bench.significant(median(ratio), 2),
                f"{_bench.spread(peaks[name])} MiB",
                f"{imported:.0f} MiB",
                f"{training:.0f} MiB",
            ]
        )
    head = ["", f"× {baseline}", "peak", "imports alone", "training adds"]
    return _bench.table(head, rows)


def parse() -> argparse.Namespace:
    """Parse the arguments."""
    rivals = ["legato", "keras-jax", "keras-tf", "torch", "c"]
    parser = _bench.arguments(QUESTION, rivals, rounds=2)
    parser.add_argument("--network", type=int, choices=NETWORKS, default=6)
    return parser.parse_args()


def main() -> None:
    """Measure, print, and save if asked."""
    given = parse()
    python = _bench.interpreters(given.python)
    versions: dict[str, dict] = {}
    results: dict[str, list[tuple[float, float]]] = {}
    for number in range(given.rounds):
        for name in _bench.in_turn(given.rivals, number):
            _bench.progress(f"round {number + 1} of {given.rounds}: {name}")
            if number and name not in versions:
                continue
            if measured := measure(name, python, given.network):
                versions[name], *peaks = measured
                results.setdefault(name, []).append((peaks[0], peaks[1]))
    print(f"{QUESTION}\n{_bench.facts(versions)}\n{NETWORKS[given.network].describe()}\n")
    print(report(results))
    print("\nlegato and c train the whole published run, the others two epochs of it.")
    peaks = {
        name: {"imported": [first for first, _ in each], "trained": [last for _, last in each]}
        for name, each in results.items()
    }
    _bench.save(given.json, versions, {"peak_mib": peaks})


if __name__ == "__main__":
    main()
