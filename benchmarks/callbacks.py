"""How much do callbacks, validation after every epoch and the progress line cost?

One `fit` of an alphabet network with class weights and metrics: without callbacks, with validation
after every epoch, with an epoch callback, with a batch callback. legato against Keras on JAX, in
one process, alternating; both have run before, so that nothing compiles. The last line is the share
of a run that the progress line takes: the same run with `verbose=1` at a terminal and with
`verbose=0`.

    python benchmarks/callbacks.py
"""

import legato  # noqa: I001  before Keras, so that it runs on JAX
import argparse
import io
import time
from pathlib import Path
from statistics import median

import keras
import numpy as np
from _bench import machine, save, significant, table
from rivals._networks import NETWORKS, samples

ROUNDS = 5
EPOCHS = {"legato": 200, "keras": 3}


class Terminal(io.StringIO):
    """A text stream that reports to be a terminal."""

    def isatty(self) -> bool:
        return True


def callbacks_of(what: str) -> list:
    """The callbacks of a kind of run."""
    if what == "an epoch callback":
        return [keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)]
    if what == "a batch callback":
        return [keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)]
    return []


KINDS = ["validation each epoch", "no callbacks", "an epoch callback", "a batch callback"]


def build(package, network):
    """The network in legato or in Keras."""
    model = package.Sequential(
        [
            package.layers.Input((network.time_steps, network.features)),
            package.layers.LSTM(network.units),
            package.layers.Dense(26, activation="softmax"),
        ]
    )
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return model


def seconds_an_epoch(model, x, y, what: str, epochs: int) -> float:
    """Seconds an epoch of one fit."""
    options = {"validation_data": (x, y)} if "validation" in what else {}
    began = time.perf_counter()
    model.fit(
        x, y, batch_size=1, epochs=epochs, verbose=0, class_weight={0: 2.0, 3: 0.5},
        callbacks=callbacks_of(what), **options,
    )  # fmt: skip
    return (time.perf_counter() - began) / epochs


def compare(number: int, rounds: int) -> list[dict]:
    """Every kind of run of one network."""
    network = NETWORKS[number]
    x, labels = samples(network)
    x = x.reshape(-1, network.time_steps, network.features)
    y = np.eye(26, dtype="float32")[labels]
    models = {name: build(package, network) for name, package in RIVALS.items()}
    rows = []
    for what in KINDS:
        times: dict[str, list[float]] = {name: [] for name in models}
        for number_of_round in range(rounds + 1):
            for name, model in models.items():
                seconds = seconds_an_epoch(model, x, y, what, EPOCHS[name])
                if number_of_round:  # the first one compiles
                    times[name].append(seconds)
        ratio = median(k / m for m, k in zip(times["legato"], times["keras"], strict=True))
        rows.append({"what": what, "ratio": ratio, "seconds_an_epoch": times})
        print(f"network {number}: {what}: {ratio:.1f}", flush=True)
    return rows


RIVALS = {"legato": legato, "keras": keras}


def progress_share(number: int) -> float:
    """The extra time of a run with a progress line, as a share."""
    network = NETWORKS[number]
    x, labels = samples(network)
    x = x.reshape(-1, network.time_steps, network.features)
    y = np.eye(26, dtype="float32")[labels]
    model = build(legato, network)
    times: dict[int, list[float]] = {0: [], 1: []}
    for _ in range(9):
        for verbose in (0, 1):
            shown = {"stream": Terminal()}
            progress = legato._execution.progress.Progress(verbose, 3000, len(x), **shown)
            legato._models.verbs.Progress = lambda *_, shown=progress, **__: shown
            began = time.perf_counter()
            model.fit(x, y, batch_size=1, epochs=3000, verbose=verbose)
            times[verbose].append(time.perf_counter() - began)
    legato._models.verbs.Progress = legato._execution.progress.Progress
    return median(times[1]) / median(times[0]) - 1


def main() -> None:
    """Measure, print, and save if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    given = parser.parse_args()
    print(__doc__.splitlines()[0], *machine().values(), sep="\n")
    results = {number: compare(number, given.rounds) for number in (1, 5)}
    for number, rows in results.items():
        shown = [
            [
                row["what"],
                significant(row["ratio"], 2),
                significant(median(row["seconds_an_epoch"]["legato"]) * 1e6),
                significant(median(row["seconds_an_epoch"]["keras"]) * 1e6),
            ]
            for row in rows
        ]
        head = [f"network {number}", "Keras / legato", "legato, µs an epoch", "Keras, µs an epoch"]
        print(f"\n{table(head, shown)}")
    print(f"\nthe progress line takes {progress_share(1):.1%} of a run of network 1")
    save(given.json, {}, {f"network {number}": rows for number, rows in results.items()})


if __name__ == "__main__":
    main()
