"""The state of one stateful layer between samples, in Keras variables of any number of rows.

Keras's own state variables have a fixed batch size and are not listed by any layer, so that its JAX
trainer drops their updates. The model lists these, and Keras's own pure ``train_step`` carries
them; axis 0, the row, has the size that the data have. Beside a layer's arrays there is one flag a
row, *fresh*: the layer starts such a row from its initial state inside the step, so that a learnt
initial state is trained and a random one is drawn. To reset a row is to raise its flag.
"""

from collections.abc import Callable, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType

import jax
import jax.numpy as jnp
import keras
import numpy as np

from legato._errors import StateError
from legato._platform import keras_private, keras_variables
from legato._platform.jax_arrays import to_jax
from legato._platform.locks import TRACING
from legato._recurrent.reset_rules import start_of_rows


class StateVariable(keras.Variable):
    """A variable of shape (rows, …) that holds any number of rows."""

    before_assign: Callable[[], None] | None = None

    def _initialize_layout(self):
        """Stay on one device, whatever ``keras.distribution`` is set: rows are split in runs."""

    def assign(self, value):
        """Set the value, unless a pure call is running that does not carry this variable."""
        if keras_private.in_stateless_scope():
            return super().assign(value) if keras_private.is_carried(self) else value
        if self.before_assign is not None:
            self.before_assign()
        return super().assign(to_jax(self.name, value))

    def set_value(self, value) -> None:
        """Set a value of any number of rows."""
        keras_variables.set_values([self], [value])
        keras_variables.resize(self, value.shape)


class LayerMemory:
    """The state variables of one layer.

    Args:
        layer: a built recurrent layer; its initial state has the number of arrays and their shapes.

    Attributes:
        states: the variables (rows, …), structured as the layer's state.
        fresh: the variable of the fresh flags, booleans (rows,).
        variables: all of them, flat, the fresh flags last.
        times_called: calls of the layer, traced or not, that read this memory.
        times_given_initial_state: those that had ``initial_state=``.
    """

    def __init__(self, layer):
        self.layer = layer
        one_row = layer.get_initial_state(1)
        parent, _, name = layer.path.rpartition("/")
        with keras.name_scope(name, override_parent=parent):
            parts = [
                StateVariable(
                    np.zeros((0, *part.shape[1:]), jnp.dtype(layer.variable_dtype)),
                    trainable=False,
                    dtype=layer.variable_dtype,
                    name=f"state_{index}",
                )
                for index, part in enumerate(keras.tree.flatten(one_row))
            ]
            self.fresh = StateVariable(
                np.zeros(0, bool), trainable=False, dtype="bool", name="fresh"
            )
        self.states = keras.tree.pack_sequence_as(one_row, parts)
        self.variables = [*parts, self.fresh]
        self.times_called = self.times_given_initial_state = 0
        self._running = False
        for part in parts:
            part.before_assign = self._fill_fresh_rows

    @property
    def rows(self) -> int:
        """Rows remembered; 0 when nothing is."""
        return self.fresh.shape[0]

    @property
    def is_fresh(self) -> bool:
        """Whether every row was reset and not fed since, so that any number of rows fits."""
        return bool(self.fresh.value.all())

    def allocate(self, rows: int) -> None:
        """Make room for ``rows`` fresh rows, unless there are as many rows already.

        Raises:
            StateError: there are another number of rows, and not all of them are fresh.
        """
        if self.rows == rows:
            return
        if self.rows and not self.is_fresh:
            raise StateError(row_count_message(self.rows, rows))
        self.set_values(self.fresh_values(rows))

    def fresh_values(self, rows: int) -> list:
        """Values of every variable for ``rows`` fresh rows; nothing is compiled."""
        return [*map(jax.device_put, self.fresh_arrays(rows, np))]

    def fresh_arrays(self, rows: int, numpy: ModuleType) -> list:
        """The same as arrays of NumPy, or of ``jax.numpy``, to be traced."""
        *states, _ = self.variables
        zeros = [numpy.zeros((rows, *part.shape[1:]), jnp.dtype(part.dtype)) for part in states]
        return [*zeros, numpy.ones(rows, bool)]

    def clear(self) -> None:
        """Drop all rows, after which any number of rows fits."""
        self.set_values(self.fresh_values(0))

    def start_state(self, initial):
        """The state each row starts from: the initial one where it is fresh, else the carried one.

        Args:
            initial: arrays of shape (rows, …), structured as the layer's state.
        """
        fresh = self.fresh.value
        return keras.tree.map_structure(
            lambda first, variable: start_of_rows(fresh, first, variable.value),
            initial,
            self.states,
        )

    @contextmanager
    def while_running(self):
        """A context for a call of the layer, which assigns all states; then no row is fresh."""
        self._running = True
        self.times_called += 1
        try:
            yield
            self.fresh.assign(jnp.zeros(self.fresh.shape, bool))
        finally:
            self._running = False

    def _fill_fresh_rows(self) -> None:
        """Write the initial state into fresh rows and lower their flags.

        It precedes a user's assignment of a part of the state, which a fresh row would not use.
        """
        if self._running or not self.fresh.value.any():
            return
        parts = keras.tree.flatten(self.start_state(self.layer.get_initial_state(self.rows)))
        self.set_values([*parts, jax.device_put(np.zeros(self.rows, bool))])

    def set_states(self, states) -> None:
        """Set the state of the layer.

        Args:
            states: arrays of shape (rows, …) in the order of the layer's state, or the array of a
                layer that has one.

        Raises:
            StateError: another number of arrays, other shapes, or different numbers of rows.
        """
        parts = [to_jax("states", part) for part in keras.tree.flatten(states)]
        expected = [each.shape[1:] for each in self.variables[:-1]]
        if [part.shape[1:] for part in parts] != expected or len({len(p) for p in parts}) != 1:
            raise StateError(
                f"Layer {self.layer.name!r} was given a state of shapes "
                f"{[part.shape for part in parts]}; "
                f"{[('rows', *shape) for shape in expected]} were expected."
            )
        given = [
            part.astype(each.dtype) for part, each in zip(parts, self.variables[:-1], strict=True)
        ]
        self.set_values([*given, jax.device_put(np.zeros(len(parts[0]), bool))])

    def set_values(self, values: list) -> None:
        """Set every variable, in the order of ``variables``, to any number of rows."""
        for variable, value in zip(self.variables, values, strict=True):
            variable.set_value(value)


_IN_USE: ContextVar[list[LayerMemory] | None] = ContextVar("memories in use", default=None)


@contextmanager
def using_memories(memories: list[LayerMemory]):
    """A context in which layers carry state in these memories in the place of their own.

    A step of a stream is traced in it. Layers that have a memory here carry state whether they are
    stateful or not; the others carry none.
    """
    token = _IN_USE.set(memories)
    try:
        yield
    finally:
        _IN_USE.reset(token)


def memories_in_use() -> list[LayerMemory] | None:
    """The memories of the innermost ``using_memories``; None outside of one."""
    return _IN_USE.get()


def memory_in_use(layer) -> LayerMemory | None:
    """The memory of a layer in the innermost ``using_memories``; None if it has none there."""
    return next((each for each in _IN_USE.get() or () if each.layer is layer), None)


def row_count_message(remembered: int, came: int) -> str:
    """The message of a call whose rows differ from those of a state that is not fresh."""
    return (
        f"The model remembers {remembered} row{'s' * (remembered != 1)}, but this call has {came}: "
        "row r of a batch goes on where row r of the last one ended. Feed batches of "
        f"{remembered} (batch_size={remembered}), forget with model.reset_states(), or choose rows "
        "with model.states = model.states.select([...]) or .repeat(n)."
    )


@contextmanager
def expecting_rows(variables: Iterable[StateVariable], rows: int):
    """A context for tracing a step, in which state variables have the shape of ``rows`` rows.

    One thread at a time is in it, as Keras's layers and variables change while they are traced.
    """
    variables = list(variables)
    with TRACING:
        before = [variable.shape for variable in variables]
        try:
            for variable, shape in zip(variables, before, strict=True):
                keras_variables.resize(variable, (rows, *shape[1:]))
            yield
        finally:
            for variable, shape in zip(variables, before, strict=True):
                keras_variables.resize(variable, shape)
