"""Small data and models that the tests of forecasting share, and a prediction step by step."""

import csv
from pathlib import Path

import numpy as np

from legato import Column, Sequences, Trained

TINY = {"units": 3, "epochs": 2, "verbose": 0, "refit": False}
LENGTHS = {"north": 30, "south": 24, "east": 17}
LATER = 6  # months after the end of the training file
SHOPS = {"group": "shop", "time": "month", "target": ["stock", "sold"], "horizon": 2}
TEXT = "the rain in spain falls mainly on the plain; " * 6


def shop_sales(months: int = 0, seed: int = 1) -> dict[str, list]:
    """Monthly sales of three shops, with that many months after the end of the training file."""
    rng = np.random.default_rng(seed)
    table: dict[str, list] = {"shop": [], "month": [], "sold": [], "stock": []}
    for at, (name, length) in enumerate(LENGTHS.items()):
        walk = 50 * (at + 1) + rng.normal(0, at + 1, (60, 2)).cumsum(0)
        for step in range(length + months):
            month = np.datetime64("2019-01") + step
            for column, value in zip(table, (name, str(month), *walk[step]), strict=True):
                table[column].append(value)
    return table


def write_csv(path: Path, table: dict[str, list]) -> Path:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(table)
        rows.writerows(zip(*table.values(), strict=True))
    return path


def labelled_machines(count: int = 12, seed: int = 3) -> Sequences:
    """Sequences with one label each."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(4, 8, count)
    labels = np.repeat(np.arange(count) % 2, lengths)
    columns = (Column("hum"), Column("state", ("good", "worn"), (0.0, 1.0)))
    values = np.column_stack([rng.normal(labels, 0.5), labels])
    return Sequences(values, lengths, columns, tuple(f"m{at} of {seed}" for at in range(count)))


def weight_bytes(trained: Trained) -> list[bytes]:
    return [np.asarray(each).tobytes() for each in trained.model.get_weights()]


def predict_step_by_step(trained: Trained, values: np.ndarray) -> np.ndarray:
    """The outputs of every step of one sequence (time steps, inputs), one call a step."""
    trained.model.reset_states()
    steps = [trained.model.predict_on_batch(step[None, None])[0, 0] for step in values]
    trained.model.reset_states()
    return np.array(steps)
