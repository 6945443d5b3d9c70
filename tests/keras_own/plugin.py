"""A pytest plugin that puts legato's layers in the place of Keras's, for Keras's own tests.

Keras's tests say ``from keras.src import layers`` and ``layers.LSTM``: the names in that module are
exchanged before a test module is imported. What came of each test is written to the file named by
``LEGATO_KERAS_OWN_OUTCOMES``, one JSON object: test name → outcome.
"""

import json
import os
from pathlib import Path

import keras
import keras.src.layers

import legato  # noqa: F401  chooses the backend, so it comes before keras
from legato import layers

EXCHANGED = "RNN LSTM GRU SimpleRNN ConvLSTM1D ConvLSTM2D ConvLSTM3D Bidirectional".split()

_outcomes: dict[str, str] = {}


def pytest_configure() -> None:
    """Exchange the layers, unless a baseline is wanted."""
    if os.environ.get("LEGATO_KERAS_OWN_BASELINE"):
        return
    for name in EXCHANGED:
        made = getattr(layers, name)
        assert issubclass(made, getattr(keras.layers, name))
        setattr(keras.src.layers, name, made)


def pytest_runtest_logreport(report) -> None:
    """Keep the worst of a test's three phases."""
    name = report.nodeid.split("::", 1)[1]
    module = Path(report.fspath).stem
    if report.when == "call" or report.outcome != "passed":
        _outcomes[f"{module}::{name}"] = report.outcome


def pytest_sessionfinish() -> None:
    """Write down what came of each test."""
    Path(os.environ["LEGATO_KERAS_OWN_OUTCOMES"]).write_text(json.dumps(_outcomes))
