"""A pytest plugin that puts legato's classes in the place of Keras's, for Keras's own tests.

Keras's tests use ``from keras.src import layers`` and ``layers.LSTM``, or take ``Sequential`` from
the module that defines it: the names there are exchanged before a test module is imported. Keras's
own modules imported theirs before that, and keep using Keras's classes: the model that a
``Sequential`` has inside is Keras's, so the tests that compare its class get Keras's name back.
Where a test makes a model by mixing Keras's trainer into a layer, legato's verbs go before it.

One check of Keras's is weakened: after a layer was written as JSON and read back it compares both
with ``dir``, and legato's names are left out of those lists, because files that legato writes open
as plain Keras layers. The outcome of each test is written to the file named by
``LEGATO_KERAS_OWN_OUTCOMES``: one JSON object, test → outcome. If ``LEGATO_KERAS_OWN_BASELINE``
names such a file, the tests that did not pass there are run with Keras's classes.
"""

import environment  # noqa: F401, I001  as for all tests

import builtins
import json
import os
from pathlib import Path

import keras
import keras.src.layers
import keras.src.models
from initial_weights import draw_with_one_program
from keras.src.backend.jax import trainer
from keras.src.testing import test_case
from shared_contexts import share_contexts

from legato import layers
from legato._models import model as model_module

RECURRENT = "RNN LSTM GRU SimpleRNN ConvLSTM1D ConvLSTM2D ConvLSTM3D Bidirectional".split()
MODELS = {
    "Model": (keras, keras.models, keras.src, keras.src.models, keras.src.models.model),
    "Sequential": (keras, keras.models, keras.src, keras.src.models, keras.src.models.sequential),
    "Functional": (keras.src, keras.src.models, keras.src.models.functional),
}

KerasFunctional = keras.src.Functional
BASELINE = os.environ.get("LEGATO_KERAS_OWN_BASELINE", "")

_outcomes: dict[str, str] = {}


class Trainer(model_module.StateMethods, trainer.JAXTrainer):
    """Keras's trainer with legato's verbs, for models that are a layer mixed in with a trainer."""


def pytest_configure() -> None:
    """Exchange the classes, unless the baseline is wanted."""
    draw_with_one_program()
    share_contexts()
    if BASELINE:
        return
    own = {"_auto_config_error_args"}  # Keras sets it where it sees that __init__ takes *args
    for name in RECURRENT:
        own |= _exchange(name, getattr(layers, name), (keras.src.layers,))
    for name, places in MODELS.items():
        own |= _exchange(name, getattr(model_module, name), places)
    _exchange("JAXTrainer", Trainer, (trainer,))
    test_case.dir = lambda thing: [name for name in builtins.dir(thing) if name not in own]


def _exchange(name: str, legato_class: type, places: tuple) -> set[str]:
    """Put legato's class under a name in some modules; returns the attributes it adds."""
    keras_class = getattr(places[-1], name)
    assert issubclass(legato_class, keras_class)
    assert legato_class is not keras_class
    for place in places:
        setattr(place, name, legato_class)
    return {*dir(legato_class)} - {*dir(keras_class)}


def pytest_collection_modifyitems(items) -> None:
    """Give Keras's name back to the tests that check the class of the model in a Sequential.

    For the baseline, leave out what needs none.
    """
    if BASELINE:
        found = json.loads(Path(BASELINE).read_text())
        items[:] = [item for item in items if found.get(item.nodeid) != "passed"]
    for item in items:
        if item.path.name == "sequential_test.py":
            item.module.Functional = KerasFunctional


def pytest_runtest_logreport(report) -> None:
    """Record the outcome of a test: of its call, or of an error before or after it."""
    if report.when == "call" or report.outcome != "passed":
        _outcomes[report.nodeid] = report.outcome


def pytest_sessionfinish() -> None:
    """Write the outcome of each test."""
    Path(os.environ["LEGATO_KERAS_OWN_OUTCOMES"]).write_text(json.dumps(_outcomes))
