"""Which settings of `legato train` matter: framing, steps, carrying, resets, units, epochs, rows?

A row is one set of settings, trained by ``legato.train`` under several seeds, all others at their
defaults; numbers are means ± standard deviations over the seeds. Errors and accuracies are on the
test part, where each prediction sees all earlier actual values. The rivals need no training:
persistence, the same month a year before, chance.

    python benchmarks/train_settings.py --seeds 10
    python benchmarks/train_settings.py --only framing far_back --seeds 3
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _bench import REPOSITORY, machine, progress, table

import legato
from legato import Column, Lanes, Sequences

PASSENGERS = REPOSITORY / "examples" / "passengers.csv"
MONTHS = 115  # in the training part of the passengers
LAG = 8  # steps between a sign and the label equal to it
SIGNS = ("minus", "plus"), (0.0, 1.0)


class Table(NamedTuple):
    """A table: title, column heads, rows."""

    title: str
    head: list[str]
    rows: list[list[str]]


def spread(values, digits: int = 1, unit: str = "") -> str:
    """Mean ± standard deviation over seeds."""
    deviation = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return f"{np.mean(values):.{digits}f} ± {deviation:.{digits}f}{unit}"


def percent(shares) -> str:
    """Mean ± standard deviation of shares, in percent."""
    return spread([100 * share for share in shares], 1, " %")


# The passengers: one series with a season, a month ahead.


def passengers(seeds: range, **choices: Any) -> tuple[list[str], dict[str, float]]:
    """The errors of all seeds as cells of a row, and the errors of the baselines."""
    series = legato.read(PASSENGERS, time="month")
    options = {"framing": "chunks", "refit": False, "verbose": 0, **choices}
    runs = [legato.train(series, seed=seed, **options).known for seed in seeds]
    errors = [run["scores"]["model"]["mae"] for run in runs]
    beside = {name: each["mae"] for name, each in runs[0]["scores"]["baselines"].items()}
    beaten = [sum(error < other for error in errors) for other in beside.values()]
    cells = [f"{count} of {len(errors)}" for count in beaten]
    return [spread(errors), f"{max(errors):.1f}", *cells], beside


def of_passengers(title: str, heads: list[str], choices: list[tuple], seeds: range) -> Table:
    """A table of settings; each is its first cells and the arguments of ``train``."""
    rows, beside = [], {}
    for *cells, options in choices:
        progress(f"{title}: {', '.join(cells)}")
        found, beside = passengers(seeds, **options)
        rows.append([*cells, *found])
    blank = [""] * (len(heads) - 1)
    rows += [[name, *blank, f"{mae:.1f}", "", "", ""] for name, mae in beside.items()]
    measured = ["MAE", "worst seed", "beats persistence", "beats the year before"]
    return Table(title, heads + measured, rows)


def framing(seeds: range) -> Table:
    """Framings, and their numbers of steps."""
    choices: list[tuple] = [("default", "", {})]
    for name, options in (
        ("chunks, carried", {"framing": "chunks"}),
        ("chunks, not carried", {"framing": "chunks", "stateful": False}),
    ):
        choices += [(name, str(n), {"steps": n, **options}) for n in (3, 6, 12, 24, MONTHS)]
    for kind, steps in (
        ("window", (1, 3, 6, 12, 24)),
        ("features", (3, 6, 12, 24)),
        ("prefix", (12, 24)),
        ("runs", (12, 24)),
    ):
        choices += [(kind, str(n), {"framing": kind, "steps": n}) for n in steps]
    return of_passengers("passengers: framing and steps", ["framing", "steps"], choices, seeds)


def size(seeds: range) -> Table:
    """Units, cells, layers, rows and epochs."""
    choices: list[tuple] = [(f"units={n}", {"units": n}) for n in (4, 8, 16, 32, 64, 128)]
    choices += [(f"cell={cell!r}", {"cell": cell}) for cell in ("gru", "simple")]
    choices += [("layers=2", {"layers": 2})]
    choices += [(f"rows={n}", {"rows": n}) for n in (2, 4, 8)]
    choices += [(f"epochs={n}", {"epochs": n}) for n in (50, 100, 200, 400, 800)]
    choices += [("epochs=800, early_stop=50", {"epochs": 800, "early_stop": 50})]
    return of_passengers("passengers: size and length of training", ["choice"], choices, seeds)


def logs(seeds: range) -> Table:
    """Values of very different sizes in one column, with and without logarithms."""
    series, factors, rows = legato.read(PASSENGERS, time="month").values[:, 0], (1, 100, 10_000), []
    months = np.concatenate([factor * series for factor in factors])
    for name, values in (("as they are", months), ("logarithms", np.log(months))):
        data = Sequences(
            values[:, None], np.full(3, len(series)), (Column("passengers"),), ("x", "y", "z")
        )
        shares: list[list[float]] = [[] for _ in factors]
        for seed in seeds:
            progress(f"logs: {name}, seed {seed}")
            run = legato.train(data, season=12, framing="chunks", seed=seed, refit=False, verbose=0)
            for at, found in enumerate(shares):
                scores = run.score(data.select([at]), np.array([MONTHS]), None).as_numbers()
                found.append(1 - scores["skill"])
        rows.append([name, *map(percent, shares)])
    title = "three series, one a hundred times the other: error as a share of persistence's"
    return Table(title, ["values", *(f"× {factor:,}" for factor in factors)], rows)


# The label is the sign of the first step, and is scored at the last step.


def far_signs(lengths: np.ndarray, seed: int) -> Sequences:
    """Sequences that begin with their label, the rest noise."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, len(lengths))
    signal = rng.normal(scale=0.3, size=lengths.sum())
    signal[np.cumsum(lengths) - lengths] = 2 * label - 1
    columns = (Column("signal"), Column("sign", *SIGNS))
    values = np.column_stack([signal, np.repeat(label, lengths)])
    return Sequences(values, lengths, columns, tuple(f"{at} of {seed}" for at in range(len(label))))


UNEVEN = np.random.default_rng(0).integers(40, 80, 200)


def far_back(seeds: range) -> Table:
    """Carried state, and the length of chunks."""
    data, longer = far_signs(UNEVEN, 1), far_signs(np.full(200, 300), 2)
    rows = []
    for carried in (True, False):
        for steps in (5, 10, 20, int(UNEVEN.max())):
            progress(f"far back: carried {carried}, {steps} steps")
            runs = [
                legato.train(
                    data,
                    target="sign",
                    steps=steps,
                    stateful=carried,
                    seed=seed,
                    refit=False,
                    verbose=0,
                )
                for seed in seeds
            ]
            kept = [run.known["scores"]["model"]["accuracy"] for run in runs]
            far = [run.evaluate(longer).model.accuracy for run in runs]
            name = "carried" if carried else "not carried"
            rows.append([name, str(steps), percent(kept), percent(far)])
    head = ["state", "steps", "40 to 79 steps", "300 steps"]
    return Table("label given at the first step, scored at the last; chance: 50 %", head, rows)


def resets(seeds: range) -> Table:
    """Accuracy if sequences are not reset at their beginnings."""
    data, others = far_signs(UNEVEN, 1), far_signs(UNEVEN, 3)
    lanes, last = Lanes(others.lengths, rows=8, steps=10), others.offsets[1:] - 1
    right: dict[str, list[float]] = {"at every beginning": [], "never": []}
    for seed in seeds:
        progress(f"resets: seed {seed}")
        run = legato.train(data, target="sign", steps=10, seed=seed, refit=False, verbose=0)
        x = lanes.lay(run.inputs_of(others), run.pad)
        for name, starts in zip(right, (lanes.starts, None), strict=True):
            run.model.reset_states()
            outputs = run.model.predict(x, batch_size=lanes.rows, starts=starts, verbose=0)
            answers = lanes.gather(outputs).argmax(-1)[last]
            right[name].append(float((answers == others.values[last, 1]).mean()))
    rows = [[name, percent(shares)] for name, shares in right.items()]
    return Table("the same task, 25 sequences in each row", ["reset", "accuracy"], rows)


# The label of each step is the sign of some steps before.


def echoes(seed: int) -> Sequences:
    """Random signs; the label of each step is the sign ``LAG`` steps before."""
    signs = np.random.default_rng(seed).integers(0, 2, (40, 100 + LAG))
    values = np.stack([2 * signs[:, LAG:] - 1, signs[:, :-LAG]], axis=-1).reshape(-1, 2)
    columns = (Column("signal"), Column("then", *SIGNS))
    return Sequences(values.astype(float), np.full(40, 100), columns, tuple(map(str, range(40))))


def truncation(seeds: range) -> Table:
    """Chunk length for a given lag."""
    data, rows = echoes(1), []
    for steps in (2, 4, 8, 12, 16, 32, 80):
        cells = []
        for carried in (True, False):
            progress(f"truncation: {steps} steps, carried {carried}")
            found = [
                legato.train(
                    data,
                    target="then",
                    steps=steps,
                    stateful=carried,
                    seed=seed,
                    refit=False,
                    verbose=0,
                ).known["scores"]["model"]["accuracy"]
                for seed in seeds
            ]
            cells.append(percent(found))
        rows.append([str(steps), *cells])
    title = f"the sign of {LAG} steps before; chance: 50 %"
    return Table(title, ["steps", "carried", "not carried"], rows)


# Sequences of many lengths.


def side_by_side(seeds: range) -> Table:
    """Rows of a batch, with few epochs."""
    data, rows = far_signs(UNEVEN, 1), []
    for count in (4, 8, 16, 32, 64):
        cells = []
        for epochs in (2, 5, 20):
            progress(f"rows: {count}, {epochs} epochs")
            options = {"rows": count, "steps": 10, "epochs": epochs, "refit": False, "verbose": 0}
            runs = [legato.train(data, target="sign", seed=seed, **options) for seed in seeds]
            cells.append(percent([run.known["scores"]["model"]["accuracy"] for run in runs]))
            course = runs[0].known["training"]["course"]
        batches = course["samples"] // count
        rows.append([str(count), str(batches), f"{100 * course['padding']:.1f} %", *cells])
    head = ["rows", "updates an epoch", "padding", "2 epochs", "5 epochs", "20 epochs"]
    return Table("label given at the first step, chunks of 10", head, rows)


def lanes(seeds: range) -> Table:
    """The share of padding."""
    del seeds
    lengths = np.random.default_rng(0).geometric(1 / 60, 500) + 4
    longest = int(lengths.max())
    plans: list[tuple[str, dict]] = [("one chunk a sequence", {"rows": 32, "steps": longest})]
    plans += [(f"steps={n}", {"rows": 32, "steps": n}) for n in (64, 32, 16, 8)]
    plans += [("legato's choice", {})]
    rows = []
    for name, options in plans:
        plan = Lanes(lengths, **options)
        shape = [str(plan.rows), str(plan.steps), str(plan.batches)]
        rows.append([name, *shape, f"{plan.samples * plan.steps:,}", f"{100 * plan.padding:.1f} %"])
    title = f"500 sequences of {lengths.min()} to {longest} steps, {lengths.sum():,} in all"
    return Table(title, ["lanes", "rows", "steps", "batches", "steps computed", "padding"], rows)


TABLES: dict[str, Callable[[range], Table]] = {
    each.__name__: each
    for each in (framing, size, logs, far_back, resets, truncation, side_by_side, lanes)
}


def main() -> None:
    """Measure, print, and save if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="number of seeds of each row")
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--json", type=Path, help="also write the tables to this file")
    given = parser.parse_args()
    print(f"{given.seeds} seeds; {', '.join(machine().values())}", flush=True)
    tables = {}
    for name in given.only:
        tables[name] = TABLES[name](range(given.seeds))
        print(f"\n{tables[name].title}\n{table(*tables[name][1:])}", flush=True)
    if given.json:
        numbers = {name: made._asdict() for name, made in tables.items()}
        given.json.write_text(json.dumps({"machine": machine(), **numbers}, indent=1) + "\n")


if __name__ == "__main__":
    main()
