"""How much longer do many training runs in parallel take than one?

`legato.replicate` under many seeds against one `fit`: warm (a model that was fitted before, so that
nothing is built or compiled), and cold (build, compile and fit). Also compared with the same number
of runs one after another: on one thread of the compiled program, and each built and compiled anew
as in a loop over seeds (measured on three, scaled to their number). Alternating, in one process.

    python benchmarks/replicates.py
    python benchmarks/replicates.py --networks 5 --seeds 128 --rounds 1
"""

import legato  # noqa: I001  before Keras, so that it runs on JAX
import argparse
import time
from pathlib import Path
from statistics import median

import keras
from _bench import machine, progress, save, significant, table

from legato import alphabet
from legato._analysis import parallel_training

SEEDS = {1: 32, 5: 128}


def options(network: alphabet.Network) -> dict:
    """The arguments of `fit` for a network."""
    return {"epochs": network.epochs, **network.fit_options}


def seconds(do, *arguments, **keywords) -> float:
    """Wall time of a call."""
    began = time.perf_counter()
    do(*arguments, **keywords)
    return time.perf_counter() - began


def cold(network: alphabet.Network, data: alphabet.Samples, seed: int) -> legato.Sequential:
    """Build, compile and fit one seed."""
    keras.utils.set_random_seed(seed)
    model = network.build()
    model.fit(data.x, data.y, verbose=0, **options(network))
    return model


def warm(model, network: alphabet.Network, data: alphabet.Samples) -> None:
    """Fit a model that was fitted before."""
    model.reset_states()
    model.fit(data.x, data.y, verbose=0, **options(network))


def many(network: alphabet.Network, data: alphabet.Samples, count: int) -> None:
    """Replicate all seeds in parallel."""
    legato.replicate(network.build, data.x, data.y, n=count, verbose=0, **options(network))


def on_one_thread(*arguments) -> None:
    """Replicate all seeds on one thread."""
    cores = parallel_training._worker_count
    parallel_training._worker_count = lambda _: 1
    try:
        many(*arguments)
    finally:
        parallel_training._worker_count = cores


def measure(network: alphabet.Network, count: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of every kind of run, in rounds."""
    data = network.samples()
    model = cold(network, data, 0)
    times: dict[str, list[float]] = {}
    for number in range(rounds):
        progress(f"network {network.number}: round {number + 1} of {rounds}")
        measured = {
            "one, warm": median(seconds(warm, model, network, data) for _ in range(5)),
            "one, cold": seconds(cold, network, data, number),
            f"{count} in parallel": seconds(many, network, data, count),
            f"{count} on one thread": seconds(on_one_thread, network, data, count),
            f"{count} built one by one": count
            / 3
            * sum(seconds(cold, network, data, seed) for seed in range(3)),
        }
        for name, each in measured.items():
            times.setdefault(name, []).append(each)
    return times


def main() -> None:
    """Measure, print, and save if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", nargs="+", type=int, default=[*SEEDS])
    parser.add_argument("--seeds", type=int, help="number (default: 32, of network 5 128)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    given, results = parser.parse_args(), {}
    print((__doc__ or "").splitlines()[0], ", ".join(machine().values()), sep="\n")
    for number in given.networks:
        count = given.seeds or SEEDS.get(number, 32)
        times = measure(alphabet.NETWORKS[number - 1], count, given.rounds)
        results[f"network {number}"] = times
        rows = [
            [
                name,
                *[
                    significant(median(a / b for a, b in zip(each, times[one], strict=True)))
                    for one in ("one, warm", "one, cold")
                ],
                f"{significant(median(each))} s",
            ]
            for name, each in times.items()
        ]
        print(f"\n{table([f'network {number}', '× warm', '× cold', 'time'], rows)}", flush=True)
    save(given.json, {}, {"seconds": results})


if __name__ == "__main__":
    main()
