"""Classifiers of aeon, and the data sets of labelled sequences that aeon has on disk: no download.

They are of the UCR and UEA archives, in the split that those publish. Where sequences are of unlike
length, the rivals get aeon's own version of equal length.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
from _worker import Loaded, MissingError, Rival, serve


class Aeon(Rival):
    def __init__(self, _: None) -> None:
        warnings.filterwarnings("ignore")

    def measures(self) -> dict[str, Callable[..., dict[str, Any]]]:
        return {"data": _data, "accuracy": _accuracy}


def _load(name: str, part: str, equal: bool) -> tuple[Any, Any]:
    from aeon.datasets import load_classification

    return load_classification(name, split=part, load_equal_length=equal)


def _data(name: str) -> dict[str, Any]:
    """Both parts: sequences as lists (time steps, columns), and their labels."""
    found = {}
    for part in ("train", "test"):
        sequences, labels = _load(name, part, equal=False)
        steps = [np.asarray(each, float).T.tolist() for each in sequences]
        found[part] = {"sequences": steps, "labels": [str(each) for each in labels]}
    return found


def _accuracy(name: str, method: str, seed: int) -> dict[str, Any]:
    """The accuracy of a method on the test part, and its processor time."""
    from aeon.classification.convolution_based import RocketClassifier
    from aeon.classification.distance_based import KNeighborsTimeSeriesClassifier

    makes: dict[str, Callable[[], Any]] = {
        "1-NN-DTW": lambda: KNeighborsTimeSeriesClassifier(n_neighbors=1, distance="dtw"),
        "ROCKET": lambda: RocketClassifier(random_state=seed),
    }
    began = time.process_time()
    classifier = makes[method]().fit(*_load(name, "train", equal=True))
    sequences, labels = _load(name, "test", equal=True)
    right = classifier.predict(sequences) == labels
    return {"accuracy": float(np.mean(right)), "cpu_s": time.process_time() - began}


def load() -> Loaded:
    try:
        return Aeon, {"aeon": version("aeon")}
    except ImportError as error:  # PackageNotFoundError
        raise MissingError(
            f"{error.name} is not installed, and it has the data: install it, or name an "
            "interpreter that has it with --python rivals=/path/to/python."
        ) from None


if __name__ == "__main__":
    serve(load, {"aeon": None})
