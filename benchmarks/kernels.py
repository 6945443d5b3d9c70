"""How fast is training and prediction at the sizes people train?

Recurrent models of 16 to 512 units on batches of whole sequences: a training step (`fit`: forward,
backward and Adam) and prediction (`predict`), in legato with the kernel that it chooses and without
the native one, in Keras on JAX, in PyTorch on one thread and on all cores, and in ONNX Runtime
(prediction of the exported model). Ratios are to legato; `wall / CPU` are those of wall time and of
the processor time of all threads of a process. The rate counts the operations of the matrix
products that a step needs. `of peak` is its share of the processor's peak on all cores, measured in
the same round; `by CPU` is the same for processor time and the peak of one core, whatever else the
machine does.

    python benchmarks/kernels.py --python torch=/path/to/python
    python benchmarks/kernels.py --only "LSTM 32 x 128" --rounds 9
    python benchmarks/kernels.py --check            # do all compute the same?
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import _bench
from _peak import Peak
from rivals._sequences import MODELS, SequenceModel

QUESTION = "How fast is training and prediction at the sizes people train?"
SCRIPT = "with_sequences.py"
COMMANDS = {
    "legato": [SCRIPT, "legato"],
    "legato, native off": [SCRIPT, "legato", "off"],
    "keras-jax": [SCRIPT, "keras"],
    "torch, 1 thread": [SCRIPT, "torch", "1"],
    "torch, all cores": [SCRIPT, "torch", "all"],
    "onnxruntime, 1 thread": [SCRIPT, "onnxruntime", "1"],
    "onnxruntime, all cores": [SCRIPT, "onnxruntime", "all"],
}
RIVALS = list(dict.fromkeys(name.partition(",")[0] for name in COMMANDS))
TASKS = ["training", "prediction"]
TOLERANCE = 1e-5


@dataclass
class Measured:
    """Milliseconds a batch of one rival, and the processor's peak, one of each round."""

    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    peak_gflops: list[float] = field(default_factory=list)

    def add(self, answer: dict[str, Any], batches: int, peak: Peak) -> None:
        """Append the times of one answer of a worker, and the last peak."""
        scale = 1e3 if "seconds" in answer else 1e-3
        unit = "seconds" if "seconds" in answer else "microseconds"
        self.wall_ms.append(answer[unit] * scale / batches)
        self.cpu_ms.append(answer[f"cpu_{unit}"] * scale / batches)
        self.peak_gflops.append(peak.rounds[-1])


Results = dict[str, Measured]  # of rivals


def epochs_in(worker: _bench.Worker, model: str, seconds: float) -> int:
    """The number of epochs that fill some seconds; builds and compiles the model."""
    worker.ask("fit", network=model, epochs=1)
    second = worker.ask("fit", network=model, epochs=1)
    return max(1, round(seconds / second["seconds"]))


def measure(
    workers: dict[str, _bench.Worker], model: SequenceModel, given: argparse.Namespace, peak: Peak
) -> dict[str, Results]:
    """Training and prediction of one model, in rounds that alternate between rivals."""
    trainers = [name for name in workers if not name.startswith("onnxruntime")]
    if "training" not in given.tasks:
        trainers = []
    epochs = {name: epochs_in(workers[name], model.name, given.seconds) for name in trainers}
    results: dict[str, Results] = {"training": {}, "prediction": {}}
    for number in range(given.rounds):
        _bench.progress(f"{model.name}: round {number + 1} of {given.rounds}")
        peak.measure()
        for name in _bench.in_turn(trainers, number):
            answer = workers[name].ask("fit", network=model.name, epochs=epochs[name])
            times = results["training"].setdefault(name, Measured())
            times.add(answer, epochs[name] * model.batches, peak)
        for name in _bench.in_turn(list(workers), number):
            if "prediction" in given.tasks:
                answer = workers[name].ask("call", network=model.name, what="predict")
                times = results["prediction"].setdefault(name, Measured())
                times.add(answer, model.batches, peak)
    for worker in workers.values():
        worker.ask("forget")
    return {task: each for task, each in results.items() if each}


def best_of_each(results: Results) -> Results:
    """Of the numbers of threads of a rival the best one, by wall and by processor time."""
    settings: dict[str, list[Measured]] = {}
    for name, measured in results.items():
        rival = name if name.startswith("legato") else name.partition(",")[0]
        settings.setdefault(rival, []).append(measured)
    return {
        rival: Measured(
            min((each.wall_ms for each in measured), key=median),
            min((each.cpu_ms for each in measured), key=median),
            measured[0].peak_gflops,
        )
        for rival, measured in settings.items()
    }


def compared(results: Results, other: str) -> str:
    """A rival's wall and processor time in multiples of legato's."""
    if other not in results:
        return "–"
    mine, theirs = results["legato"], results[other]
    wall = median(_bench.ratios(theirs.wall_ms, mine.wall_ms))
    cpu = median(_bench.ratios(theirs.cpu_ms, mine.cpu_ms))
    return f"{wall:.2f} / {cpu:.2f}"


def rates(measured: Measured, flop: int) -> list[str]:
    """GFLOP/s, and the share of the peak by wall time and by processor time."""
    wall, cpu = (
        median(flop / 1e6 / ms / peak for ms, peak in zip(each, measured.peak_gflops, strict=True))
        for each in (measured.wall_ms, measured.cpu_ms)
    )
    gflops = flop / median(measured.wall_ms) / 1e6
    return [_bench.significant(gflops), f"{wall:.0%}", f"{cpu * _bench.core_count():.0%}"]


def summary(task: str, found: dict[str, dict[str, Results]]) -> str:
    """Ratios of all models, and legato's times and rates."""
    best = {model: best_of_each(each[task]) for model, each in found.items()}
    others = list(dict.fromkeys(name for each in best.values() for name in each))[1:]
    rows = []
    for model, results in best.items():
        flop = MODELS[model].flop(task == "training")
        times = [
            _bench.significant(median(each))
            for each in (results["legato"].wall_ms, results["legato"].cpu_ms)
        ]
        ratios = [compared(results, name) for name in others]
        rows.append([model, *ratios, *times, *rates(results["legato"], flop)])
    head = [f"{task}, × legato, wall / CPU", *others]
    return _bench.table([*head, "legato, ms", "CPU ms", "GFLOP/s", "of peak", "by CPU"], rows)


def details(model: SequenceModel, task: str, results: Results) -> str:
    """Times and rates of all rivals on one model."""
    rows = [
        [
            name,
            _bench.spread(_bench.ratios(each.wall_ms, results["legato"].wall_ms)),
            _bench.spread(each.wall_ms),
            _bench.spread(each.cpu_ms),
            *rates(each, model.flop(task == "training")),
        ]
        for name, each in results.items()
    ]
    head = [f"{model.name}, {task}", "× legato", "ms a batch", "CPU ms a batch"]
    return _bench.table([*head, "GFLOP/s", "of peak", "by CPU"], rows) + "\n"


def check(workers: dict[str, _bench.Worker], model: SequenceModel) -> tuple[str, bool]:
    """Differences of predictions and losses from the first rival's; whether all are small."""
    found = {
        name: worker.ask("losses", network=model.name)["losses"] for name, worker in workers.items()
    }
    first, rows = next(iter(found.values())), []
    for name, values in found.items():
        difference = max(abs(a - b) for a, b in zip(values, first, strict=False))
        verdict = "equal" if difference <= TOLERANCE else "DIFFERS"
        loss = "–" if name.startswith("onnxruntime") else f"{values[-1]:.5f}"
        rows.append([name, f"{difference:.1e}", verdict, f"{values[0]:.5f}", loss])
    head = [model.name, "largest difference", f"to {TOLERANCE:g}", "an output", "last loss"]
    return _bench.table(head, rows) + "\n", all(row[2] == "equal" for row in rows)


def parse() -> argparse.Namespace:
    """Parse the arguments."""
    parser = _bench.arguments(QUESTION, RIVALS, rounds=5)
    parser.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS), metavar="MODEL")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--seconds", type=float, default=0.4, help="seconds of training a round")
    parser.add_argument("--check", action="store_true", help="compare numbers instead of times")
    given = parser.parse_args()
    if "legato" not in given.rivals:
        parser.error("legato must be among the rivals")
    return given


def main() -> None:
    """Measure, print, and save if asked."""
    given = parse()
    names = [name for name in COMMANDS if name.partition(",")[0] in given.rivals]
    workers = _bench.start(names, _bench.interpreters(given.python), COMMANDS)
    versions = {name: worker.versions for name, worker in workers.items()}
    print(f"{QUESTION}\n{_bench.facts(versions)}\n", flush=True)
    models = [MODELS[name] for name in given.only]
    if given.check:
        found = [check(workers, model) for model in models]
        print(*(text for text, _ in found), sep="\n")
        raise SystemExit(0 if all(equal for _, equal in found) else 1)
    peak, found = Peak(), {}
    for model in models:
        found[model.name] = measure(workers, model, given, peak)
        for task, results in found[model.name].items():
            print(details(model, task, results), flush=True)
    for worker in workers.values():
        worker.close()
    for task in given.tasks:
        print(summary(task, found) + "\n")
    print(f"peak: {_bench.spread(peak.rounds)} GFLOP/s, {peak.method}; {_bench.facts({})}")
    times = {
        model: {task: {name: vars(m) for name, m in each.items()} for task, each in tasks.items()}
        for model, tasks in found.items()
    }
    _bench.save(given.json, versions, {"peak": peak.facts(), "times": times})


if __name__ == "__main__":
    main()
