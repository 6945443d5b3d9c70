"""Which settings of the networks in a default forecast matter, on real series?

The recurrent networks that are members of an ensemble (`window_networks`), alone, with one setting
changed at a time. The last h and 2h steps of each series are held out in turn, and the networks
learn all windows before. Errors are mean absolute errors over those of seasonal naive, as geometric
means over series and origins, with the spread over seeds; the ratio to the usual settings is taken
pair by pair.

    python benchmarks/network_settings.py --python rivals=/path/to/python
    python benchmarks/network_settings.py --folder my-series --only dropout --seeds 5
"""

import legato  # noqa: I001  before Keras, so that it runs on JAX
import argparse
import contextlib
import functools
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import keras
import numpy as np
from _bench import Worker, facts, progress, save, spread, table
from series import Series, from_folder, from_libraries, seasonal_naive

from legato._forecasting import window_networks
from legato._forecasting.task import infer_task
from legato._forecasting.window_networks import Architecture, WindowNetworks

RATE, STEPS = 0.003, 24  # as an ensemble has them
LONG = 2500  # steps, above which a series is left out


@dataclass(frozen=True)
class Setting:
    """How networks are made and trained; the defaults are those of an ensemble.

    Attributes:
        seeds: networks, whose mean forecasts.
        units: of each.
        is_seasonal: whether they see and forecast changes from a season before.
        by_window: whether changes are in units of the window's own (reversible instance
            normalization), and not of those in training.
        in_logarithms: whether they see logarithms, where all values are positive.
        steps: of a window, in those of the usual one.
        change: changes how networks are trained while it is entered.
    """

    seeds: int = 3
    units: int = 32
    is_seasonal: bool = True
    by_window: bool = False
    in_logarithms: bool = False
    steps: float = 1.0
    change: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext


def with_constant_rate() -> contextlib.AbstractContextManager:
    """Adam's rate does not fall."""
    return patch.object(keras.optimizers.schedules, "CosineDecay", lambda rate, updates: rate)


def with_averaged_weights() -> contextlib.AbstractContextManager:
    """Weights are means over the last hundred updates or so."""
    adam = functools.partial(keras.optimizers.Adam, use_ema=True, ema_momentum=0.99)
    return patch.object(keras.optimizers, "Adam", adam)


def with_dropout(**rates: float) -> contextlib.AbstractContextManager:
    """Cells drop inputs, or states."""
    cells = {n: functools.partial(cell, **rates) for n, cell in window_networks.CELLS.items()}
    return patch.object(window_networks, "CELLS", cells)


SETTINGS = {
    "usual": Setting(),
    "one network": Setting(seeds=1),
    "ten networks": Setting(seeds=10),
    "16 units": Setting(units=16),
    "64 units": Setting(units=64),
    "constant learning rate": Setting(change=with_constant_rate),
    "averaged weights": Setting(change=with_averaged_weights),
    "dropout 0.2": Setting(change=functools.partial(with_dropout, dropout=0.2)),
    "recurrent dropout 0.2": Setting(change=functools.partial(with_dropout, recurrent_dropout=0.2)),
    "windows twice as long": Setting(steps=2),
    "units of the window": Setting(by_window=True),
    "without the season": Setting(is_seasonal=False),
    "logarithms": Setting(in_logarithms=True),
}


def forecast(series: Series, end: int, setting: Setting, seed: int) -> np.ndarray:
    """Train on the steps before ``end``; returns the forecast of those after."""
    known = series.values[:end].astype("float64")
    logarithms = setting.in_logarithms and (known > 0).all()
    known = np.log(known) if logarithms else known
    season = series.season if setting.is_seasonal else 1
    most = max(season + 2, (len(known) - series.horizon) // 2)
    steps = min(most, int(setting.steps * (STEPS + (season if season > 1 else 0))))
    windows = np.lib.stride_tricks.sliding_window_view(known, steps + series.horizon)
    past, truth = windows[:, :steps, None], windows[:, steps:, None]
    task = infer_task(legato.read({"value": known}), "forecast", None, series.horizon)
    shape = Architecture("lstm", setting.units, 1, setting.seeds, steps, season)
    with setting.change():
        networks = WindowNetworks(task, shape, past, not setting.by_window, RATE, seed)
        networks.fit(past, truth, verbose=0)
    values = networks.predict(known[None, -steps:, None])[0, :, 0]
    return np.exp(values) if logarithms else values


def measure(series: Series, names: list[str], seeds: int) -> dict[str, np.ndarray]:
    """Errors over those of seasonal naive by setting, (origins, seeds)."""
    found: dict[str, list] = {name: [] for name in names}
    for end in (len(series.values) - series.horizon * each for each in (1, 2)):
        truth = series.values[end : end + series.horizon]
        naive = seasonal_naive(series.values[:end], series.horizon, series.season)
        base = np.abs(naive - truth).mean()
        for name in names:
            made = [forecast(series, end, SETTINGS[name], seed) for seed in range(seeds)]
            found[name].append([np.abs(each - truth).mean() / base for each in made])
    progress(f"{series.name}: usual {np.mean(found['usual']):.2f}")
    return {name: np.array(each) for name, each in found.items()}


def parse() -> tuple[argparse.Namespace, str | None]:
    """Parse the arguments; returns the interpreter of the rivals too."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, help="of CSV files: times, values")
    parser.add_argument("--only", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    parser.add_argument("--python", metavar="rivals=PATH", help="that has pmdarima, statsmodels")
    given = parser.parse_args()
    if (given.folder is None) == (given.python is None):
        parser.error("give either --folder or --python rivals=PATH.")
    return given, given.python and given.python.partition("=")[2]


def main() -> None:
    """Measure every setting on every series."""
    given, python = parse()
    names = list(dict.fromkeys(["usual", *given.only]))
    with ExitStack() as opened:
        if python is None:
            every = list(from_folder(given.folder))
        else:
            rivals = Worker("rivals", python, ["with_statsforecast.py"])
            opened.callback(rivals.close)
            every = list(from_libraries(rivals))
        every = [each for each in every if len(each.values) <= LONG and each.season <= 12]
        results = {each.name: measure(each, names, given.seeds) for each in every}
    usual = np.stack([each["usual"] for each in results.values()])
    rows = []
    for name in names:
        own = np.stack([each[name] for each in results.values()])
        by_seed = np.exp(np.log(own).mean((0, 1)))
        ratio = np.exp(np.log(own / usual).mean((0, 1)))
        better = (own.mean((1, 2)) < usual.mean((1, 2))).sum()
        shown = "" if name == "usual" else f"{better} of {len(results)}"
        rows.append([name, spread(by_seed.tolist()), spread(ratio.tolist()), shown])
    print(table(["networks alone", "of seasonal naive", "of usual", "better on"], rows))
    versions = {"legato": {"keras": keras.__version__, "numpy": np.__version__}}
    print(facts(versions))
    record = {name: {s: e.tolist() for s, e in each.items()} for name, each in results.items()}
    save(given.json, versions, record)


if __name__ == "__main__":
    main()
