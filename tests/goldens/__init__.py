"""Outputs of Keras on TensorFlow, as files; `make.py` made them and describes them."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

_HERE = Path(__file__).parent
_DOCUMENT = json.loads((_HERE / "cases.json").read_text())

CASES: list[str] = list(_DOCUMENT["cases"])
OPTIMIZERS: dict[str, list] = _DOCUMENT["optimizers"]
ROWS: int = _DOCUMENT["rows"]
FEATURES: int = _DOCUMENT["features"]
UNITS: int = _DOCUMENT["units"]
CLASSES: int = _DOCUMENT["classes"]
EPOCHS: int = _DOCUMENT["epochs"]


class Golden(NamedTuple):
    """One case: the network, and every array of its file by name."""

    layers: list  # of [name in keras.layers, arguments], the recurrent ones in order
    stateful: bool
    masked: bool
    arrays: dict[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def numbered(self, name: str) -> list[np.ndarray]:
        """Return `name_0`, `name_1`, … as a list."""
        count = sum(key.rpartition("_")[0] == name for key in self.arrays)
        return [self.arrays[f"{name}_{index}"] for index in range(count)]


def load(case: str) -> Golden:
    """Return one of `CASES`."""
    with np.load(_HERE / f"{case}.npz", allow_pickle=False) as file:
        return Golden(arrays=dict(file), **_DOCUMENT["cases"][case])
