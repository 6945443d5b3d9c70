"""What one stateful layer remembers between samples, as Keras variables that any row count fits.

Keras's own state variables are made for one batch size and belong to nobody, so its JAX trainer
drops their updates. These are listed by the model and carried through Keras's own pure
``train_step``; axis 0, the row, comes and goes with the data. Beside a layer's arrays stands one
flag a row, *fresh*: the layer starts such a row from its initial state, inside the step, so that a
learnt initial state is learnt and a random one is drawn. To reset is to raise the flag.
"""

from collections.abc import Callable, Iterable
from contextlib import contextmanager
from contextvars import ContextVar

import jax.numpy as jnp
import keras
import numpy as np

from legato._errors import StateError
from legato._platform import keras_private
from legato._recurrent.reset_rules import start_of_rows


class StateVariable(keras.Variable):
    """A variable of shape (rows, …) that holds any number of rows."""

    before_assign: Callable[[], None] | None = None

    def assign(self, value):
        """Take a value, unless a pure call is running that nobody asked to carry this state."""
        if keras_private.in_stateless_scope():
            return super().assign(value) if keras_private.is_carried(self) else value
        if self.before_assign is not None:
            self.before_assign()
        return super().assign(value)

    def hold(self, value) -> None:
        """Take a value with any number of rows."""
        keras_private.set_values([self], [value])
        keras_private.resize(self, value.shape)


class LayerMemory:
    """The state variables of one layer.

    Args:
        layer: a built recurrent layer; its initial state says how many arrays there are and of
            what shape.

    Attributes:
        times_fed: how often the layer was called, or traced, with it.
        times_begun: in how many of these with an initial state that was given in the call.
    """

    def __init__(self, layer):
        self.layer = layer
        one_row = layer.get_initial_state(1)
        parent, _, name = layer.path.rpartition("/")
        with keras.name_scope(name, override_parent=parent):
            parts = [
                StateVariable(
                    np.zeros((0, *part.shape[1:])),
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
        self.times_fed = self.times_begun = 0
        self._being_fed = False
        for part in parts:
            part.before_assign = self._settle

    @property
    def rows(self) -> int:
        """Rows remembered; 0 when nothing is."""
        return self.fresh.shape[0]

    @property
    def is_fresh(self) -> bool:
        """Whether no row has been fed since its last reset, so that any number of rows fits."""
        return bool(self.fresh.value.all())

    def open(self, rows: int) -> None:
        """Make room for ``rows`` rows that have seen nothing, if nothing is remembered yet.

        Raises:
            StateError: another number of rows is remembered.
        """
        if self.rows == rows:
            return
        if self.rows and not self.is_fresh:
            raise StateError(row_count_message(self.rows, rows))
        self.put(self.blank(rows))

    def blank(self, rows: int) -> list:
        """Values of every variable for ``rows`` rows that have seen nothing."""
        *states, _ = self.variables
        blank = [jnp.zeros((rows, *part.shape[1:]), part.dtype) for part in states]
        return [*blank, jnp.ones(rows, bool)]

    def clear(self) -> None:
        """Forget everything: any number of rows fits again."""
        self.put(self.blank(0))

    def start(self, initial):
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
    def feeding(self):
        """While the layer is called: it assigns all its states, and then no row is fresh."""
        self._being_fed = True
        self.times_fed += 1
        try:
            yield
            self.fresh.assign(jnp.zeros(self.fresh.shape, bool))
        finally:
            self._being_fed = False

    def _settle(self) -> None:
        """Let fresh rows hold their initial state, and be fresh no more: a user assigns a part of
        the state, and a fresh row would not look at it."""
        if self._being_fed or not self.fresh.value.any():
            return
        parts = keras.tree.flatten(self.start(self.layer.get_initial_state(self.rows)))
        self.put([*parts, jnp.zeros(self.rows, bool)])

    def take(self, states) -> None:
        """Remember given values.

        Args:
            states: arrays of shape (rows, …) in the order of the layer's state; of a layer that
                has one, that array alone will do.

        Raises:
            StateError: they are not as many, not of these shapes, or not of one number of rows.
        """
        parts = [jnp.asarray(part) for part in keras.tree.flatten(states)]
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
        self.put([*given, jnp.zeros(len(parts[0]), bool)])

    def put(self, values: list) -> None:
        """Hold values for every variable, whatever their rows."""
        for variable, value in zip(self.variables, values, strict=True):
            variable.hold(value)


_LENT: ContextVar[list[LayerMemory] | None] = ContextVar("lent memories", default=None)


@contextmanager
def using_memories(memories: list[LayerMemory]):
    """While a step is being traced, let a model's layers carry these and no others.

    Layers carry what is lent to them whether they are stateful or not, and keep no memory of it.
    """
    token = _LENT.set(memories)
    try:
        yield
    finally:
        _LENT.reset(token)


def memories_in_use() -> list[LayerMemory] | None:
    """What is lent to layers just now; None if nothing is."""
    return _LENT.get()


def memory_in_use(layer) -> LayerMemory | None:
    """What is lent to a layer just now; None if nothing is."""
    return next((each for each in _LENT.get() or () if each.layer is layer), None)


def row_count_message(remembered: int, came: int) -> str:
    """Rule 3 of the state contract, as a sentence."""
    return (
        f"The model remembers {remembered} row{'s' * (remembered != 1)}, but this call has {came}: "
        "row r of a batch goes on where row r of the last one ended. Feed batches of "
        f"{remembered} (batch_size={remembered}), forget with model.reset_states(), or choose rows "
        "with model.states = model.states.select([...]) or .repeat(n)."
    )


@contextmanager
def expecting_rows(variables: Iterable[StateVariable], rows: int):
    """While a step is being traced, let state variables expect batches of ``rows`` rows."""
    variables = list(variables)
    before = [variable.shape for variable in variables]
    try:
        for variable, shape in zip(variables, before, strict=True):
            keras_private.resize(variable, (rows, *shape[1:]))
        yield
    finally:
        for variable, shape in zip(variables, before, strict=True):
            keras_private.resize(variable, shape)
