"""How wrong are the default forecasts of real series, beside automatic classical methods?

``legato.train`` and ``forecast`` at their default settings, and AutoETS (MSTL where the season is
above 24), AutoARIMA and AutoTheta of statsforecast, from rolling origins: the last h, 2h, 3h steps
are held out in turn. Errors are MASE, and in the summary MASE over that of seasonal naive, as
geometric means. A verdict is wrong where it said that the model beats every baseline and its mean
absolute error on the steps held out is not below that of each; so is a claim that it is better, or
worse, than one baseline, where the errors on those steps are not so.

The series are those that pmdarima and statsmodels have on disk, or the CSV files of a folder, with
times in the first column and values in the second. AutoARIMA is left out where the season is above
12 or the series above 2,500 steps: AutoETS's error, marked *, stands for it. The LSTM networks of
NeuralForecast and Darts take part if an interpreter that has one of them is named.

    python benchmarks/series.py --python rivals=/path/to/python --json series.json
    python benchmarks/series.py --python rivals=/path/to/python recurrent=/path/to/python
    python benchmarks/series.py --folder my-series --origins 1 --seeds 3
"""

import legato  # noqa: I001  before Keras, so that it runs on JAX
import argparse
import csv
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from _bench import Worker, facts, progress, save, table

from legato._forecasting.ensemble_layout import default_horizon
from legato._forecasting.seasons import season_of

KNOWN = {  # steps ahead, and the season of MASE and of the rivals
    "airpassengers": (12, 12),
    "ausbeer": (8, 4),
    "austres": (8, 4),
    "co2": (52, 52),
    "cpi": (8, 4),
    "elnino": (12, 12),
    "heartrate": (20, 1),
    "infl": (8, 4),
    "lynx": (12, 1),
    "msft": (20, 1),
    "nile": (12, 1),
    "realgdp": (8, 4),
    "sunspots": (24, 12),
    "sunspots yearly": (12, 1),
    "taylor": (96, 48),
    "unemp": (8, 4),
    "wineind": (12, 12),
    "woolyrnq": (8, 4),
}
METHODS = ["seasonal naive", "legato", "AutoARIMA", "AutoETS", "AutoTheta"]
WORKERS = {"rivals": "with_statsforecast.py", "recurrent": "with_recurrent_forecasters.py"}
LEVEL = 0.8


class Series(NamedTuple):
    """A series: name, values, times or None, steps ahead, season (1: none)."""

    name: str
    values: np.ndarray
    times: list[str] | None
    horizon: int
    season: int


def from_folder(folder: Path) -> Iterator[Series]:
    """The series of a folder; files that cannot be read as one are named and left out."""
    for path in sorted(folder.glob("*.csv")):
        with path.open(newline="", errors="replace") as file:
            at, value, *_ = [*next(csv.reader(file), []), "", ""]
        try:
            read = legato.read(path, time=at, columns=[value], missing="forward")
            if len(read) != 1 or read.times is None:
                raise legato.InputError("there are no times in its first column.")
        except legato.InputError as error:
            progress(f"{path.name} is left out: {error}")
            continue
        season = season_of(read, None)
        usual = default_horizon(len(read.values), (season,) if season else ())
        horizon, season = KNOWN.get(path.stem, (usual, season or 1))
        times = [str(each) for each in read.times]
        yield Series(path.stem, read.of(0).ravel().astype("float64"), times, horizon, season)


def from_libraries(rivals: Worker) -> Iterator[Series]:
    """The series that the rivals' libraries have on disk."""
    for each in rivals.ask("measure", network="classical", what="series")["series"]:
        values = np.array(each["values"])
        yield Series(each["name"], values, each["times"], *KNOWN[each["name"]])


def seasonal_naive(values: np.ndarray, horizon: int, season: int) -> np.ndarray:
    """The last season, again and again."""
    return values[len(values) - season + np.arange(horizon) % season]


def baseline(name: str, values: np.ndarray, horizon: int) -> np.ndarray:
    """A baseline by its name in the scores, computed apart from legato."""
    ahead, steps = np.arange(1, horizon + 1), name.partition("(")[2].partition(" ")[0]
    if name == "drift":
        return values[-1] + ahead * (values[-1] - values[0]) / (len(values) - 1)
    if name.startswith("line"):
        return values[-1] + ahead * (values[-1] - values[-1 - int(steps)]) / int(steps)
    return seasonal_naive(values, horizon, int(steps or 1))


def held(low: np.ndarray, high: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """The share of values ``inside`` intervals at ``LEVEL``, and their mean interval ``score``.

    The score is the width, and 2 / (1 - LEVEL) times what lies beyond (Gneiting and Raftery, JASA
    102, 2007): the less, the better.
    """
    beyond = np.maximum(low - truth, 0) + np.maximum(truth - high, 0)
    score = np.mean(high - low + 2 / (1 - LEVEL) * beyond)
    return {"inside": float(np.mean(beyond <= 0)), "score": float(score)}


def by_legato(series: Series, end: int, seed: int) -> dict[str, Any]:
    """Train on the steps before ``end``, forecast those after; what the verdict said and what came.

    Returns:
        ``values``, the shares ``inside`` and the interval ``score`` of the intervals at ``LEVEL``,
        ``claimed`` and ``wrong``, the number of ``claims`` on single baselines and of those
        ``refuted``, seconds.
    """
    known, truth = series.values[:end], series.values[end : end + series.horizon]
    data: dict[str, Any] = {"value": known}
    if series.times is not None:
        data = {"time": series.times[:end], **data}
    began, cpu = time.perf_counter(), time.process_time()
    at = "time" if series.times is not None else None
    trained = legato.train(data, time=at, horizon=series.horizon, seed=seed, verbose=0)
    ahead = trained.forecast(data, series.horizon)
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    values = ahead.values[0, :, 0].astype("float64")
    assert ahead.ends is not None  # a part is held out by default
    low, high = ahead.ends[ahead.levels.index(LEVEL), :, 0, :, 0]
    claimed = "it beats" in trained.scores["verdict"]
    error = np.abs(values - truth).mean()
    differences = trained.scores["differences"]
    others = {
        name: np.abs(baseline(name, known, series.horizon) - truth).mean() for name in differences
    }
    better = [error < others[name] for name, own in differences.items() if (own["high"] or 0) < 0]
    worse = [error > others[name] for name, own in differences.items() if (own["low"] or 0) > 0]
    return {
        "values": values.tolist(),
        **held(low, high, truth),
        "claimed": claimed,
        "wrong": claimed and bool(error >= min(others.values())),
        "claims": len(better) + len(worse),
        "refuted": int(np.sum(~np.array([*better, *worse], bool))),
        "wall_s": [wall_s],
        "cpu_s": [cpu_s],
    }


def measure(
    series: Series, rivals: Worker, recurrent: Worker | None, origins: int, seeds: int
) -> list[dict[str, Any]]:
    """MASE of every method, and what legato said, at each origin; the last origin first."""
    found = []
    for number in range(1, origins + 1):
        end = len(series.values) - number * series.horizon
        known, truth = series.values[:end], series.values[end : end + series.horizon]
        runs = [by_legato(series, end, seed) for seed in range(seeds)]
        asked = {"values": known.tolist(), "horizon": series.horizon, "season": series.season}
        asked["level"] = round(100 * LEVEL)
        classical = rivals.ask("measure", network="classical", what="forecasts", **asked)
        networks = {}
        if recurrent is not None:
            asked = {"values": known.tolist(), "horizon": series.horizon}
            networks = recurrent.ask("measure", network="recurrent", what="forecasts", **asked)
        forecasts = {name: each["values"] for name, each in {**classical, **networks}.items()}
        forecasts["seasonal naive"] = seasonal_naive(known, series.horizon, series.season)
        usual = np.abs(known[series.season :] - known[: -series.season]).mean()
        mase = {
            name: [float(np.abs(truth - ahead).mean() / usual)] for name, ahead in forecasts.items()
        }
        mase["legato"] = [float(np.abs(truth - run.pop("values")).mean() / usual) for run in runs]
        for its in classical.values():
            its.update(held(np.array(its.pop("low")), np.array(its.pop("high")), truth))
        for each in [*runs, *classical.values()]:
            each["score"] /= usual
        found.append({"mase": mase, "legato": runs, "classical": classical})
    return found


def methods(found: list[dict[str, Any]]) -> list[str]:
    """The names of all methods, those of ``METHODS`` first."""
    return list(dict.fromkeys([*METHODS, *found[0]["mase"]]))


def relative(found: list[dict[str, Any]], method: str) -> float:
    """The geometric mean over origins and seeds of MASE over seasonal naive's."""
    logs = []
    for each in found:
        mase = each["mase"]
        [base] = mase["seasonal naive"]
        own = mase.get(method) or mase["AutoETS"]
        logs.append(np.mean(np.log(np.array(own) + 1e-9) - np.log(base + 1e-9)))
    return float(np.exp(np.mean(logs)))


def row(series: Series, found: list[dict[str, Any]]) -> list[str]:
    """The cells of a series: its lengths, and each method's MASE, the mean over origins."""
    cells = [series.name, f"{len(series.values):,}", str(series.horizon), str(series.season)]
    for method in methods(found):
        errors = [np.mean(each["mase"].get(method, each["mase"]["AutoETS"])) for each in found]
        stands = "" if all(method in each["mase"] for each in found) else "*"
        cells.append(f"{np.mean(errors):.2f}{stands}")
    return [*cells, f"{relative(found, 'legato'):.2f}"]


def summary(results: dict[str, list[dict[str, Any]]]) -> str:
    """The geometric means over all series, verdicts, coverage and seconds, a line each."""
    every = list(results.values())
    means = {
        method: np.exp(np.mean([np.log(relative(found, method)) for found in every]))
        for method in methods(every[0])
    }
    runs = [run for found in every for each in found for run in each["legato"]]
    claimed = sum(run["claimed"] for run in runs)
    wrong = sum(run["wrong"] for run in runs)
    claims, refuted = (sum(run[what] for run in runs) for what in ("claims", "refuted"))
    kept = {"legato": runs}
    for each in (each for found in every for each in found):
        for method, its in each["classical"].items():
            kept.setdefault(method, []).append(its)
    intervals = [
        f"{method} {np.mean([own['inside'] for own in its]):.0%} of {len(its)}, score "
        f"{np.exp(np.mean([np.log(own['score']) for own in its])):.2f}"
        for method, its in kept.items()
    ]
    wall, cpu = (median(run[unit][0] for run in runs) for unit in ("wall_s", "cpu_s"))
    lines = [
        "MASE over seasonal naive, geometric mean over series: "
        + ", ".join(f"{name} {mean:.3f}" for name, mean in means.items()),
        f"verdicts: {claimed} of {len(runs)} said 'beats', {wrong} of them wrong",
        f"claims on single baselines: {claims}, {refuted} of them wrong",
        f"coverage of the {LEVEL:.0%} intervals, and interval score over the mean absolute "
        f"seasonal change, geometric mean: {'; '.join(intervals)}",
        f"training and forecast: median {wall:.1f} s, {cpu:.1f} s of processor time",
    ]
    if len(every[0][0]["legato"]) > 1:
        deviations = [np.std(np.log(found[0]["mase"]["legato"]), ddof=1) for found in every]
        lines.append(
            f"spread between seeds at the last origin: median {np.median(deviations):.1%} of the "
            f"error, largest {max(deviations):.1%}"
        )
    return "\n".join(lines)


def parse() -> tuple[argparse.Namespace, dict[str, str]]:
    """The arguments, and the interpreters by the names of ``WORKERS``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, help="CSV files: times, values")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these series")
    parser.add_argument("--origins", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    parser.add_argument(
        "--python",
        nargs="+",
        default=[],
        metavar="NAME=PATH",
        help="rivals: interpreter with statsforecast and the series; recurrent: one with "
        "NeuralForecast or Darts",
    )
    given = parser.parse_args()
    paths = dict(each.partition("=")[::2] for each in given.python)
    if not paths.keys() <= WORKERS.keys():
        parser.error(f"--python {' '.join(given.python)}: write {' or '.join(WORKERS)}=PATH")
    if given.folder and not given.folder.is_dir():
        parser.error(f"--folder {given.folder}: there is no such folder")
    if min(given.origins, given.seeds) < 1:
        parser.error("--origins and --seeds are at least 1")
    return given, paths


def main() -> None:
    """Measure, save after each series if asked, and print."""
    given, paths = parse()
    workers = {
        name: Worker(name, path, [WORKERS[name]])
        for name, path in {"rivals": sys.executable, **paths}.items()
    }
    for missing in (each.missing for each in workers.values() if each.missing):
        sys.exit(missing)
    versions = {name: each.versions for name, each in workers.items()}
    rivals, recurrent = workers["rivals"], workers.get("recurrent")
    print((__doc__ or "").splitlines()[0], facts(versions), sep="\n", flush=True)
    rows, results = [], {}
    for series in from_folder(given.folder) if given.folder else from_libraries(rivals):
        if given.only and series.name not in given.only:
            continue
        progress(f"{series.name}: {len(series.values):,} steps")
        try:
            found = measure(series, rivals, recurrent, given.origins, given.seeds)
        except legato.InputError as error:  # too short for so many origins
            progress(f"{series.name} is left out: {error}")
            continue
        progress(f"  {row(series, found)}")
        rows.append(row(series, found))
        results[series.name] = found
        save(given.json, versions, results)
    for each in workers.values():
        each.close()
    if not results:
        sys.exit("There is no series to forecast: see --folder and --only.")
    names = methods(next(iter(results.values())))
    print(f"\n{table(['series', 'steps', 'ahead', 'season', *names, 'relative'], rows)}")
    print(f"\n{summary(results)}")


if __name__ == "__main__":
    main()
