"""What does a stream cost: a step, many streams at once, generation, memory, ten million steps?

An LSTM of 50 units and a softmax over 26 letters, fed one letter at a time with carried state.

* step: NumPy in, NumPy out; legato's stream against ONNX Runtime, a PyTorch cell and Keras, all
  with carried state. The outputs of every method are compared with plain NumPy before it is timed.
* pool: a step of each of 1,000 streams in one feed, against the same one by one; and feeds of 1 to
  10,000 streams of a pool of 10,000.
* generate: 10,000 steps that choose the most probable letter, against a Python loop that does so.
* memory: memory of 100,000 streams in a fresh process, and the time of forks, evictions and
  restorations there.
* long: a stream of ten million steps: memory, and its outputs against `predict` on the same steps.

    python benchmarks/streams.py
    python benchmarks/streams.py --only step generate --rounds 9
    python benchmarks/streams.py --only long --steps 1000000
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median
from typing import Any

import _bench
from rivals._networks import NETWORKS

QUESTION = "What does a stream cost?"
NETWORK = 5
CHECKED, TOLERANCE = 60, 1e-5  # steps compared with plain NumPy; largest allowed difference
POOL = ["pool.feed, all at once", "stream.feed, 1,000 streams", "pool.feed, one by one"]
SUBSETS = [1, 10, 100, 1000, 10_000]
GENERATED = 10_000
GENERATING = ["legato", "onnxruntime", "torch"]
STREAMS = 100_000
PARTS = 10
LEAST = 10_000  # steps of the long stream

Way = tuple[str, str]  # a rival, and one of its ways to be fed
Section = Callable[[argparse.Namespace, dict[str, dict[str, str]]], Any]


# Workers.


def started(names: list[str], given: argparse.Namespace, versions: dict) -> dict:
    """Start the workers of those rivals that were selected."""
    selected = [name for name in names if name in given.rivals or name == "numpy"]
    workers = _bench.start(selected, _bench.interpreters(given.python))
    versions |= {name: worker.versions for name, worker in workers.items()}
    return workers


def close(workers: dict[str, _bench.Worker]) -> None:
    """End the workers."""
    for worker in workers.values():
        worker.close()


def legato_alone(given: argparse.Namespace, versions: dict) -> _bench.Worker:
    """Start legato in a fresh process."""
    return started(["legato"], given, versions)["legato"]


def measured(worker: _bench.Worker, what: str, **how: Any) -> dict[str, Any]:
    """Request a measurement that only legato offers."""
    return worker.ask("measure", network=NETWORK, what=what, **how)


def agreeing(workers: dict[str, _bench.Worker]) -> dict[Way, float]:
    """The ways whose outputs agree with plain NumPy, and their largest difference from it."""

    def answers(name: str, way: str) -> list[float]:
        outputs = workers[name].ask("answers", network=NETWORK, way=way, steps=CHECKED)
        return [each for step in outputs["answers"] for each in step]

    truth, differences = answers("numpy", "float64"), {}
    for name in workers:
        if name == "numpy":
            continue
        for way in workers[name].ask("ways", network=NETWORK)["ways"]:
            pairs = zip(answers(name, way), truth, strict=True)
            difference = max(abs(mine - theirs) for mine, theirs in pairs)
            if difference <= TOLERANCE:
                differences[name, way] = difference
            elif name == "legato":
                raise SystemExit(f"legato's {way} differs from plain NumPy by {difference:.1e}.")
            else:
                reason = f"its outputs differ from plain NumPy by up to {difference:.1e}"
                print(f"{name}, {way}, is not timed: {reason}.")
    return differences


def rounds(ways: list, number: int, what: str, measure: Callable[[Any], float]) -> dict:
    """Measurements in rounds that alternate between the ways."""
    values: dict[Any, list[float]] = {way: [] for way in ways}
    for each in range(number):
        _bench.progress(f"{what}: round {each + 1} of {number}")
        for way in _bench.in_turn(ways, each):
            values[way].append(measure(way))
    return values


# Sections.


def step(given: argparse.Namespace, versions: dict) -> Any:
    """Time of one step, NumPy in, NumPy out."""
    names = [name for name in given.rivals if name != "numpy"]
    workers = started([*names, "numpy"], given, versions)
    differences = agreeing(workers)
    workers.pop("numpy").close()

    def microseconds(way: Way) -> float:
        return workers[way[0]].ask("step", network=NETWORK, way=way[1])["microseconds"]

    times = rounds(list(differences), given.rounds, "step", microseconds)
    close(workers)
    rows = [
        [f"{name}, {way}", *compared(values, times), f"{differences[name, way]:.0e}"]
        for (name, way), values in times.items()
    ]
    head = ["a step", f"× {', '.join(next(iter(times)))}", "µs", "from NumPy"]
    print(_bench.table(head, rows) + "\n", flush=True)
    return [
        {"rival": name, "way": way, "microseconds": values, "difference": differences[name, way]}
        for (name, way), values in times.items()
    ]


def compared(values: list[float], times: dict[Any, list[float]]) -> list[str]:
    """Ratios to the first way, round by round, and the times."""
    first = next(iter(times.values()))
    return [_bench.spread(_bench.ratios(values, first), 3), _bench.spread(values)]


def pool(given: argparse.Namespace, versions: dict) -> Any:
    """Time of a step of many streams, at once and one by one."""
    worker = legato_alone(given, versions)

    def of_thousand(way: str) -> float:
        return measured(worker, "pool", way=way)["microseconds"]

    def of_some(count: int) -> float:
        return measured(worker, "subset", count=count)["microseconds"]

    times = rounds(POOL, given.rounds, "pool", of_thousand)
    subsets = rounds(SUBSETS, given.rounds, "subsets", of_some)
    worker.close()
    rows = [
        [way, *compared(values, times), f"{1e9 / median(values):,.0f}"]
        for way, values in times.items()
    ]
    head = ["a step of each of 1,000 streams", f"× {POOL[0]}", "µs", "steps a second"]
    print(_bench.table(head, rows) + "\n")
    rows = [
        [
            f"{count:,}",
            _bench.spread(values),
            _bench.significant(median(values) / count),
            f"{1e6 * count / median(values):,.0f}",
        ]
        for count, values in subsets.items()
    ]
    head = ["fed at once, of 10,000", "µs a feed", "µs a step", "steps a second"]
    print(_bench.table(head, rows) + "\n", flush=True)
    return {"microseconds": times, "subset_microseconds": subsets}


def generate(given: argparse.Namespace, versions: dict) -> Any:
    """Time of many steps that choose the most probable letter."""
    workers = started(GENERATING, given, versions)
    ways: list[Way] = [("legato", "generate")]
    for name, worker in workers.items():
        ways += [(name, way) for way in worker.ask("ways", network=NETWORK)["ways"]]
    letters: dict[Way, list[int]] = {}

    def seconds(way: Way) -> float:
        name, how = way
        if how == "generate":
            result = measured(workers[name], "generate", steps=GENERATED)
        else:
            result = workers[name].ask("generate", network=NETWORK, way=how, steps=GENERATED)
        letters[way] = result["letters"]
        return result["seconds"] * 1e3

    times = rounds(ways, given.rounds, "generate", seconds)
    close(workers)
    same = {
        way: sum(a == b for a, b in zip(mine, letters["legato", "generate"], strict=True))
        for way, mine in letters.items()
    }
    rows = [
        [
            f"{name}, {way if way == 'generate' else f'a loop of {way}'}",
            *compared(values, times),
            f"{same[name, way]:,}",
        ]
        for (name, way), values in times.items()
    ]
    head = [f"{GENERATED:,} generated steps", "× generate", "ms", "same letters"]
    print(_bench.table(head, rows) + "\n", flush=True)
    return [
        {"rival": name, "way": way, "milliseconds": values, "same_letters": same[name, way]}
        for (name, way), values in times.items()
    ]


def memory(given: argparse.Namespace, versions: dict) -> Any:
    """Memory of many streams, in a fresh process each time, and the time to move one."""
    takes, moves = [], []
    for number in range(given.rounds):
        _bench.progress(f"memory: round {number + 1} of {given.rounds}")
        worker = legato_alone(given, versions)
        takes.append(measured(worker, "memory", streams=STREAMS))
        moves.append(measured(worker, "moves"))
        worker.close()
    labels = {
        "resident_mib": "resident memory grows by",
        "peak_mib": "its peak is higher by",
        "nbytes_mib": "pool.nbytes",
    }
    rows = [[what, *spread_mib([each[key] for each in takes])] for key, what in labels.items()]
    each = takes[0]["bytes_each"]
    head = [f"{STREAMS:,} streams of {each} bytes and a name", "MiB", "MB"]
    print(_bench.table(head, rows) + "\n")
    rows = [[what, _bench.spread([each[what] for each in moves])] for what in moves[0]]
    head = [f"among {STREAMS:,} streams, median of many", "µs"]
    print(_bench.table(head, rows) + "\n", flush=True)
    return {"memory": takes, "moves_us": moves}


def spread_mib(values: list[float]) -> list[str]:
    """Memory in MiB and in millions of bytes."""
    return [_bench.spread(values), _bench.spread([each * 2**20 / 1e6 for each in values])]


def long(given: argparse.Namespace, versions: dict) -> Any:
    """Memory and outputs of a long stream, compared with `predict` on the same steps."""
    worker, parts = legato_alone(given, versions), []
    for part in range(PARTS):
        _bench.progress(f"long: part {part + 1} of {PARTS}")
        parts.append(measured(worker, "long stream", part=part, steps=given.steps))
    for part in range(PARTS):
        _bench.progress(f"long: predict, part {part + 1} of {PARTS}")
        parts[part] |= measured(worker, "one predict", part=part, steps=given.steps)
    worker.close()
    kinds = {
        "stream.warm, a hundredth at a time": "warm_microseconds",
        "stream.feed, a hundredth at a time": "feed_microseconds",
        "stream.feed, one by one": "one_by_one_microseconds",
    }
    rows = [[what, _bench.spread([each[key] for each in parts])] for what, key in kinds.items()]
    print(_bench.table([f"{parts[-1]['steps']:,} steps", "µs a step"], rows))
    resident = [each["resident_mib"] for each in parts]
    points = sum(each["points"] for each in parts)
    difference = max(each["difference"] for each in parts)
    print(
        f"resident memory: {resident[0]:.1f} MiB after a tenth, {resident[-1]:.1f} MiB at the end, "
        f"{max(resident):.1f} MiB at most after one of the tenths\n"
        f"at {points:,} random points the outputs differ by at most {difference:.1e} from those of "
        f"`predict` of a stateful model in {PARTS} calls\n",
        flush=True,
    )
    return parts


SECTIONS: dict[str, Section] = {
    "step": step,
    "pool": pool,
    "generate": generate,
    "memory": memory,
    "long": long,
}


def parse() -> argparse.Namespace:
    """Parse the arguments."""
    rivals = ["legato", "onnxruntime", "torch", "keras-jax", "keras-tf"]
    parser = _bench.arguments(QUESTION, rivals, rounds=5)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--steps", type=int, default=10_000_000, help="steps of the long stream")
    given = parser.parse_args()
    if "legato" not in given.rivals:
        parser.error("legato must be among the rivals")
    if given.steps < LEAST:
        parser.error(f"--steps {given.steps} is less than {LEAST:,}: too few to compare answers at")
    given.rivals.sort(key=lambda name: name != "legato")
    return given


def main() -> None:
    """Measure, print, and save if asked."""
    given = parse()
    print(f"{QUESTION}\n{NETWORKS[NETWORK].describe()}\n", flush=True)
    versions: dict[str, dict[str, str]] = {}
    results = {name: SECTIONS[name](given, versions) for name in given.only}
    print(_bench.facts(versions))
    _bench.save(given.json, versions, results)


if __name__ == "__main__":
    main()
