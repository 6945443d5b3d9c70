"""The cells and model shapes that every law is tested on: one list, one line each.

A new cell is one line in ``CELLS``. Every model takes (rows, time steps, FEATURES) and gives
(rows, time steps, units), so that one law reads the same for all of them. Weights and biases are
drawn so that all differ and none is zero; so are the inputs (``inputs``). A cell on which a law
cannot hold says so beside its line, with the reason.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import jax
import keras
import numpy as np

import legato
from legato import layers
from legato._execution.program_cache import ProgramCache

FEATURES, UNITS = 3, 4
ROWS, STEPS = 3, 6

# Tolerances for two computations of one number, by the dtype the state is computed in.
TOLERANCE = {
    "float32": {"rtol": 1e-5, "atol": 2e-6},
    "bfloat16": {"rtol": 2e-2, "atol": 2e-2},
}


@dataclass(frozen=True)
class Cell:
    """One line of the list.

    Attributes:
        name: its name in test ids.
        build: the model, given the layers to put before the first recurrent one.
        carried: outputs along the last axis that depend on the past only; None for all.
        masks: whether a mask of time steps reaches the recurrent layer.
        dtype: the dtype the state is computed in.
    """

    name: str
    build: Callable[[list], legato.Model]
    carried: int | None = None
    masks: bool = True
    dtype: str = "float32"

    def make(self, masked: bool = False, stateful: bool = True):
        """A new model with the cell's weights, and seeds of dropout, the same every time."""
        keras.utils.set_random_seed(1)
        model = self.build([layers.Masking(0.0)] if masked else [])
        if not model.built:  # a subclassed one
            predict(model, inputs())
            model.reset_states()
        set_weights(model)
        if not stateful:
            for layer in model._flatten_layers():
                if isinstance(layer, keras.layers.RNN):
                    layer.stateful = False
        return with_shared_programs(model, self, masked, stateful)

    @property
    def tolerance(self) -> dict:
        return TOLERANCE[self.dtype]


def set_weights(model, seed: int = 3) -> None:
    """Give a model weights that all differ, none zero."""
    rng = np.random.default_rng(seed)
    model.set_weights([spread(rng, *weight.shape) for weight in model.weights])


def spread(rng, *shape) -> np.ndarray:
    """Numbers of either sign with sizes between 0.1 and 0.9: none zero, all different."""
    return (rng.uniform(0.1, 0.9, shape) * rng.choice([-1, 1], shape)).astype("float32")


def inputs(rows: int = ROWS, steps: int = STEPS, seed: int = 0) -> np.ndarray:
    """Inputs (rows, steps, FEATURES)."""
    return spread(np.random.default_rng(seed), rows, steps, FEATURES)


_FIRST: dict = {}


def with_shared_programs(model, *key):
    """The compiled model, which runs the programs of the first one of this key.

    Models of one key are built and compiled alike, so that they differ in their variables' values
    only; nothing is compiled, or traced, for each of them anew.
    """
    first = _FIRST.setdefault(key, model)
    if first is not model:
        ProgramCache(model._model_state).share(ProgramCache(first._model_state))
    return model


@cache
def _made(cell: Cell, masked: bool):
    return cell.make(masked)


def ready(cell: Cell, masked: bool = False):
    """The cell's model, built once in a process, with its state reset; not to be trained."""
    model = _made(cell, masked)
    model.reset_states()
    return model


def predict(model, X, **options) -> np.ndarray:
    """All rows as one batch."""
    return model.predict(X, batch_size=len(X), verbose=0, **options)


def state_after(cell: Cell, *batches, begin: legato.State | None = None) -> legato.State:
    """The state of the cell's model after some batches, each predicted as a whole."""
    model = ready(cell)
    if begin is not None:
        model.states = begin
    for batch in batches:
        predict(model, batch)
    return model.states


def assert_same_states(one: legato.State, other: legato.State, cell: Cell | None = None) -> None:
    """Check that both hold the same values, within the cell's tolerance, or to the bit without one.

    Names are not compared: Keras numbers layers through a process.
    """
    for mine, theirs in zip(one.values(), other.values(), strict=True):
        for part, its in zip(mine, theirs, strict=True):
            tolerance = cell.tolerance if cell else {"rtol": 0, "atol": 0}
            assert part.dtype == its.dtype
            np.testing.assert_allclose(
                np.asarray(part, "float32"), np.asarray(its, "float32"), **tolerance
            )


class Counter:
    """Counts the programs that XLA is asked to compile.

    Attributes:
        count: all of them.
        new: those that were not found among the programs that are kept between processes.
    """

    def __init__(self):
        self.count = self.new = 0
        jax.monitoring.register_event_duration_secs_listener(self._count)
        jax.monitoring.register_event_listener(self._count_new)

    def _count(self, event: str, duration: float, **_) -> None:
        self.count += event == "/jax/core/compile/backend_compile_duration"

    def _count_new(self, event: str, **_) -> None:
        self.new += event == "/jax/compilation_cache/cache_misses"


class _LeakyCell(keras.layers.Layer):
    """h ← h/2 + tanh(W x + U h)/2; the subclasses define the initial state."""

    def __init__(self, units: int, **options):
        super().__init__(**options)
        self.units = self.state_size = self.output_size = units

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")
        self.recurrent = self.add_weight(shape=(self.units, self.units), name="recurrent")
        self.built = True

    def call(self, inputs, states, training=False):
        moved = keras.ops.matmul(inputs, self.kernel) + keras.ops.matmul(states[0], self.recurrent)
        state = 0.5 * states[0] + 0.5 * keras.ops.tanh(moved)
        return state, [state]

    def get_config(self):
        return super().get_config() | {"units": self.units}


@keras.saving.register_keras_serializable("tests")
class WarmCell(_LeakyCell):
    """Its initial state is not zero."""

    def get_initial_state(self, batch_size=None):
        first = keras.ops.arange(1, self.units + 1, dtype="float32") / 10
        return [keras.ops.broadcast_to(first, (batch_size, self.units))]


@keras.saving.register_keras_serializable("tests")
class LearntCell(_LeakyCell):
    """Its initial state is a weight."""

    def build(self, input_shape):
        self.first = self.add_weight(shape=(self.units,), name="first")
        super().build(input_shape)

    def get_initial_state(self, batch_size=None):
        return [keras.ops.broadcast_to(self.first, (batch_size, self.units))]


class _Subclassed(legato.Model):
    """Two recurrent layers side by side in a user's own ``call``."""

    def __init__(self, front: list):
        super().__init__()
        self.front = front
        self.left = layers.GRU(UNITS, **CARRY)
        self.right = layers.SimpleRNN(UNITS, **CARRY)
        self.mixed = layers.Dense(UNITS)

    def call(self, x):
        for layer in self.front:
            x = layer(x)
        return self.mixed(self.left(x) * self.right(x))


BFLOAT16 = "mixed_bfloat16"  # weights and carried state in float32, arithmetic in bfloat16
CARRY = {"return_sequences": True, "stateful": True}


def _input():
    return keras.Input((None, FEATURES))


def _sequential(*make_layers: Callable) -> Callable:
    def build(front: list):
        return legato.Sequential([_input(), *front, *[make() for make in make_layers]])

    return build


def _functional(make_layer: Callable) -> Callable:
    def build(front: list):
        first = x = _input()
        for layer in [*front, make_layer()]:
            x = layer(x)
        return legato.Model(first, layers.Dense(UNITS)(x))

    return build


def _sequential_in_functional(front: list):
    first = x = _input()
    inner = legato.Sequential([*front, layers.GRU(UNITS, **CARRY), layers.LSTM(UNITS, **CARRY)])
    for layer in front:
        x = layer(x)
    return legato.Model(first, layers.Add()([inner(first), layers.SimpleRNN(UNITS, **CARRY)(x)]))


def _functional_in_sequential(front: list):
    first = _input()
    inner = legato.Model(first, layers.LSTM(UNITS, **CARRY)(first))
    return legato.Sequential([_input(), *front, inner, layers.GRU(UNITS, **CARRY)])


def _stacked_cells():
    return layers.StackedRNNCells([layers.LSTMCell(UNITS), layers.GRUCell(UNITS + 1)])


CELLS = [
    Cell("LSTM", _sequential(lambda: layers.LSTM(UNITS, **CARRY))),
    Cell("GRU", _sequential(lambda: layers.GRU(UNITS, **CARRY))),
    Cell("GRU-reset-before", _sequential(lambda: layers.GRU(UNITS, reset_after=False, **CARRY))),
    Cell("SimpleRNN", _sequential(lambda: layers.SimpleRNN(UNITS, **CARRY))),
    Cell("RNN-of-a-cell", _sequential(lambda: layers.RNN(layers.LSTMCell(UNITS), **CARRY))),
    Cell("StackedRNNCells", _sequential(lambda: layers.RNN(_stacked_cells(), **CARRY))),
    Cell(
        "two-layers",
        _sequential(lambda: layers.LSTM(UNITS, **CARRY), lambda: layers.GRU(UNITS, **CARRY)),
    ),
    # The backward half reads each sample from its end: it has no past to carry, so only the forward
    # half's outputs and state can obey the laws about carrying, (a) and (c).
    Cell(
        "Bidirectional",
        _sequential(lambda: layers.Bidirectional(layers.GRU(UNITS, **CARRY))),
        carried=UNITS,
    ),
    Cell("warm-initial-state", _sequential(lambda: layers.RNN(WarmCell(UNITS), **CARRY))),
    Cell("learnt-initial-state", _sequential(lambda: layers.RNN(LearntCell(UNITS), **CARRY))),
    Cell(
        "dropout",
        _sequential(lambda: layers.LSTM(UNITS, dropout=0.2, recurrent_dropout=0.2, **CARRY)),
    ),
    Cell("plain-Keras", _sequential(lambda: keras.layers.LSTM(UNITS, **CARRY))),
    Cell("functional", _functional(lambda: layers.LSTM(UNITS, **CARRY))),
    Cell("Sequential-in-functional", _sequential_in_functional),
    # A nested functional model passes no mask on: Keras warns of it.
    Cell("functional-in-Sequential", _functional_in_sequential, masks=False),
    Cell("subclassed", _Subclassed),
    # Reshape, which makes images of the features, passes no mask on.
    Cell(
        "ConvLSTM1D",
        _sequential(
            lambda: layers.Reshape((-1, FEATURES, 1)),
            lambda: layers.ConvLSTM1D(2, 2, padding="same", **CARRY),
            lambda: layers.Reshape((-1, 2 * FEATURES)),
        ),
        masks=False,
    ),
    Cell(
        "bfloat16",
        _sequential(lambda: layers.SimpleRNN(UNITS, dtype=BFLOAT16, **CARRY)),
        dtype="bfloat16",
    ),
]
BY_NAME = {cell.name: cell for cell in CELLS}
