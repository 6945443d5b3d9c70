"""What does one call cost?

When training step by step or predicting single samples, the overhead of a call exceeds the
arithmetic. Every call is repeated on a model that was called before, for legato, Keras on JAX and
TensorFlow, and PyTorch where it has an equivalent. `fit` is one epoch of 25 samples and `evaluate`
takes the same 25, both with the network's batch size; the others take one sample and return a NumPy
array.

    python benchmarks/calls.py --networks 1 5
"""

from __future__ import annotations

import argparse
from statistics import median

import _bench
from rivals._networks import NETWORKS

QUESTION = "What does one call cost?"
CALLS = [
    "fit, one epoch",
    "evaluate",
    "predict, one sample",
    "predict_on_batch, one sample",
    "model(x), one sample",
]
Times = dict[str, dict[str, list[float]]]  # call -> rival -> µs a call, one for each round


def measure(workers: dict[str, _bench.Worker], network: int, rounds: int) -> Times:
    """Microseconds of every call, in rounds that alternate between rivals."""
    times: Times = {}
    for what in CALLS:
        times[what] = {}
        for number in range(rounds):
            _bench.progress(f"network {network}: {what}: round {number + 1} of {rounds}")
            for name in _bench.in_turn(list(workers), number):
                answer = workers[name].ask("call", network=network, what=what)
                if answer["microseconds"] is not None:
                    times[what].setdefault(name, []).append(answer["microseconds"])
    for worker in workers.values():
        worker.ask("forget")
    return times


def report(network: int, times: Times, rivals: list[str]) -> str:
    """Two tables of one network: ratios first, then microseconds."""
    head = [f"network {network}", *rivals]
    ratios, costs = [], []
    for what, of_rival in times.items():
        baseline = of_rival.get("legato") or next(iter(of_rival.values()), [])
        ratio, cost = [what], [what]
        for name in rivals:
            values = of_rival.get(name, [])
            each = _bench.ratios(values, baseline) if values else []
            ratio.append(_bench.significant(median(each), 2) if each else "–")
            cost.append(_bench.spread(values) if values else "–")
        ratios.append(ratio)
        costs.append(cost)
    reference = "legato's" if "legato" in rivals else f"{rivals[0]}'s"
    return (
        f"Multiples of {reference} time\n{_bench.table(head, ratios)}\n\n"
        f"µs a call, median (smallest–largest of the rounds)\n{_bench.table(head, costs)}\n"
    )


def parse() -> argparse.Namespace:
    """Parse the arguments."""
    parser = _bench.arguments(QUESTION, ["legato", "keras-jax", "keras-tf", "torch"], rounds=3)
    parser.add_argument("--networks", nargs="+", type=int, choices=NETWORKS, default=[1, 5])
    return parser.parse_args()


def main() -> None:
    """Measure, print, and save if asked."""
    given = parse()
    workers = _bench.start(given.rivals, _bench.interpreters(given.python))
    versions = {name: worker.versions for name, worker in workers.items()}
    print(f"{QUESTION}\n{_bench.facts(versions)}\n")
    results = {}
    for network in given.networks:
        results[network] = measure(workers, network, given.rounds)
        print(report(network, results[network], list(workers)), flush=True)
    for worker in workers.values():
        worker.close()
    _bench.save(given.json, versions, {"us_a_call": results})


if __name__ == "__main__":
    main()
