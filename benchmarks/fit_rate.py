"""How many training steps a second, for each of the six networks?

legato's `fit` without callbacks against Keras on JAX, Keras on TensorFlow, a PyTorch loop, and the
same arithmetic by hand in C as a lower bound. Compared is the time of a training step once
everything is compiled. Also reported: the first `fit` of a fresh model, including compilation, and
the whole published run: the first `fit` and the remaining epochs at the steady rate.

    python benchmarks/fit_rate.py --networks 1 5 --rounds 3
    python benchmarks/fit_rate.py --check           # do all rivals compute the same losses?
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass, field
from statistics import median

import _bench
from rivals._networks import NETWORKS, Network

QUESTION = "How many training steps a second, for each of the six networks?"
WHOLE_RUN = {"legato", "c"}  # fast enough to train the published number of epochs each time
TOLERANCE = 1e-4
KNOWN = {("keras-jax", 5): "Keras on JAX drops the state silently"}


@dataclass
class Measured:
    """One rival on one network."""

    first_s: float
    first_epochs: int
    step_us: list[float] = field(default_factory=list)
    accuracy: float = 0.0

    def whole_run_s(self, network: Network) -> float:
        """The published run from a fresh model, extrapolated where not all epochs were run."""
        rest = (network.epochs - self.first_epochs) * network.steps_per_epoch
        return self.first_s + rest * median(self.step_us) * 1e-6


def warm_up(worker: _bench.Worker, network: Network, seconds: float) -> tuple[Measured, int]:
    """The first fit of a fresh model, and the number of epochs that fill a round."""
    epochs = network.epochs if worker.name in WHOLE_RUN else 1
    first = worker.ask("fit", network=network.number, epochs=epochs)
    measured = Measured(first["seconds"], epochs, accuracy=first["accuracy"])
    if worker.name in WHOLE_RUN:
        return measured, epochs
    second = worker.ask("fit", network=network.number, epochs=1)
    return measured, min(network.epochs, max(1, round(seconds / second["seconds"])))


def measure(
    workers: dict[str, _bench.Worker], network: Network, rounds: int, seconds: float
) -> dict[str, Measured]:
    """Measurements of all rivals on one network, in rounds that alternate between rivals."""
    results, epochs = {}, {}
    for name, worker in workers.items():
        _bench.progress(f"network {network.number}: first fit of {name}")
        results[name], epochs[name] = warm_up(worker, network, seconds)
    for number in range(rounds):
        for name in _bench.in_turn(list(workers), number):
            _bench.progress(f"network {network.number}: round {number + 1} of {rounds}, {name}")
            answer = workers[name].ask("fit", network=network.number, epochs=epochs[name])
            steps = epochs[name] * network.steps_per_epoch
            results[name].step_us.append(answer["seconds"] / steps * 1e6)
            results[name].accuracy = answer["accuracy"]
    for worker in workers.values():
        worker.ask("forget")
    return results


def report(network: Network, results: dict[str, Measured]) -> str:
    """The table of one network, ratios first."""
    baseline = "legato" if "legato" in results else next(iter(results))
    rows = []
    for name, measured in results.items():
        ratio = _bench.ratios(measured.step_us, results[baseline].step_us)
        about = "" if measured.first_epochs == network.epochs else "~"
        rows.append(
            [
                name,
                _bench.spread(ratio, 2),
                _bench.spread(measured.step_us),
                _bench.significant(1e6 / median(measured.step_us)),
                f"{measured.first_s:.2f} s",
                f"{about}{_bench.significant(measured.whole_run_s(network), 2)} s",
            ]
        )
    head = ["", f"× {baseline}", "µs a step", "steps a second", "first fit", "whole run"]
    return f"{network.describe()}\n{_bench.table(head, rows)}\n"


def check(workers: dict[str, _bench.Worker], network: Network) -> str:
    """The largest difference of any step's loss from the plain NumPy computation."""
    losses = {
        name: worker.ask("losses", network=network.number)["losses"]
        for name, worker in workers.items()
    }
    rows = []
    for name, own in losses.items():
        difference = max(abs(a - b) for a, b in zip(own, losses["numpy"], strict=True))
        verdict = "equal" if difference <= TOLERANCE else "DIFFERS"
        why = KNOWN.get((name, network.number), "") if verdict == "DIFFERS" else ""
        rows.append([name, f"{difference:.1e}", verdict, f"{own[0]:.4f}", f"{own[-1]:.4f}", why])
    head = ["", "largest difference", f"to {TOLERANCE:g}", "first loss", "last loss", ""]
    return f"{network.describe()}\n{_bench.table(head, rows)}\n"


def parse() -> argparse.Namespace:
    """Parse the arguments."""
    rivals = ["legato", "keras-jax", "keras-tf", "torch", "c"]
    parser = _bench.arguments(QUESTION, rivals, rounds=3)
    parser.add_argument("--networks", nargs="+", type=int, choices=NETWORKS, default=[*NETWORKS])
    parser.add_argument("--seconds", type=float, default=1.0, help="seconds a round, slow rivals")
    parser.add_argument("--check", action="store_true", help="compare losses instead of times")
    return parser.parse_args()


def main() -> None:
    """Measure, print, and save if asked."""
    given = parse()
    names = list(dict.fromkeys([*given.rivals, "numpy"])) if given.check else given.rivals
    workers = _bench.start(names, _bench.interpreters(given.python))
    versions = {name: worker.versions for name, worker in workers.items()}
    results = {}
    print(f"{QUESTION}\n{_bench.facts(versions)}\n")
    for network in map(NETWORKS.__getitem__, given.networks):
        if given.check:
            print(check(workers, network), flush=True)
        else:
            measured = measure(workers, network, given.rounds, given.seconds)
            results[network.number] = {name: asdict(each) for name, each in measured.items()}
            print(report(network, measured), flush=True)
    for worker in workers.values():
        worker.close()
    _bench.save(given.json, versions, results)


if __name__ == "__main__":
    main()
