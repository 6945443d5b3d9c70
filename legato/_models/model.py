"""``Model`` and ``Sequential``: Keras's models with recurrent state that is carried.

This module has the classes, and the methods that read, set, reset and save the state; ``fit``,
``predict`` and the other methods that run a model are in ``verbs``. The state contract is in
``docs/contract.md``.
"""

import keras

from legato._models.conversion import convert_model, register_model_class
from legato._models.verbs import KerasVerbs
from legato._platform import keras_private
from legato._platform.backend import set_up_jax
from legato._platform.checks import check_count
from legato._recurrent.state import State
from legato._recurrent.stateful_layers import adopt

set_up_jax()


class StateMethods(KerasVerbs):
    """The recurrent state of a model as a value, mixed into Keras's model classes."""

    @property
    def stateful(self) -> bool:
        """Whether any layer carries state."""
        return bool(self._model_state.stateful_layers)

    @property
    def states(self) -> State:
        """The state that the recurrent layers hold now, as a value. Assign one to put it back.

        Raises:
            StateError: (when assigned) it is another model's: other layers, shapes or dtypes.
            UnsupportedError: (when assigned) ``fit`` of the model runs in another thread.
        """
        return self._model_state.state()

    @states.setter
    def states(self, state: State) -> None:
        self._model_lock.run("states =", self._model_state.set_state, state)

    def initial_states(self, rows: int = 1) -> State:
        """The initial state of ``rows`` rows, as each cell's ``get_initial_state`` gives it.

        Raises:
            InputError: ``rows`` is no whole number from 0 up.
            StateError: the model is not built yet.
        """
        check_count("rows", rows, least=0)
        return self._model_state.initial_state(rows)

    def reset_states(self, rows=None) -> None:
        """Put state back to its initial value.

        Args:
            rows: row indices, or a boolean mask of shape (rows,). Default: all rows, after which
                the next call may have any number of rows.

        Raises:
            StateError: a row that the model does not remember.
            UnsupportedError: ``fit`` of the model runs in another thread.
        """
        self._model_lock.run("reset_states", self._model_state.reset, rows)

    reset_state = reset_states

    def save_states(self, path) -> None:
        """Write the state to a safetensors file, whole or not at all.

        Raises:
            OutputError: the folder is missing or cannot be written.
        """
        self.states.save(path)

    def load_states(self, path) -> None:
        """Load a state that ``save_states`` wrote, equal to the bit.

        Raises:
            StateError: no such file, a damaged one, or the state of another model.
        """
        self.states = State.load(path)

    def __deepcopy__(self, memo):
        """A copy with the same weights and state. Keras copies by its file, which has no state."""
        rebuild, content = self.__reduce__()
        copied = rebuild(*content)
        state = self.states
        if state.rows:
            copied.states = state
        return copied

    @property
    def non_trainable_variables(self) -> list:
        """Keras's non-trainable variables, followed by those that hold recurrent state.

        Keras's pure ``train_step``, ``test_step`` and ``predict_step`` carry the variables that are
        listed here, and no others.
        """
        memory = [each for memory in self._model_state.memories for each in memory.variables]
        return [*super().non_trainable_variables, *memory]


class Model(StateMethods, keras.Model):
    """``keras.Model``, functional or subclassed, with recurrent state that is carried.

    ``Model(inputs, outputs)`` is a functional model; a subclass with a ``call`` of its own is used
    as in Keras. Layers may be plain ``keras.layers`` or ``legato.layers``.

    Examples:
        >>> import legato
        >>> inputs = legato.layers.Input((None, 3))
        >>> outputs = legato.layers.GRU(4, stateful=True)(inputs)
        >>> model = legato.Model(inputs, outputs)
        >>> model.predict([[[0.1, 0.2, 0.3]]], verbose=0).shape
        (1, 4)
        >>> model.states.rows
        1
    """

    def __new__(cls, *args, **kwargs):
        if cls is Model and _is_functional(args, kwargs):
            return super().__new__(Functional, *args, **kwargs)
        return super().__new__(cls, *args, **kwargs)

    def __init__(self, *args, **kwargs):
        if _is_functional(args, kwargs) and not isinstance(self, Functional):
            _inject_functional(type(self))
            Functional.__init__(self, *args, **kwargs)
        else:
            super().__init__(*args, **kwargs)


class Functional(Model, keras_private.Functional):
    """A functional model, as ``legato.Model(inputs, outputs)`` returns it."""

    def __init__(self, inputs, outputs, name=None, **kwargs):
        super().__init__(inputs, outputs, name=name, **kwargs)
        adopt(self)


class Sequential(Model, keras.Sequential):
    """``keras.Sequential`` with recurrent state that is carried.

    Args:
        layers: the layers in order, plain ``keras.layers`` or ``legato.layers``. Default: none;
            ``add`` appends them.
        trainable, name: as in Keras.

    Examples:
        >>> import legato
        >>> model = legato.Sequential([legato.layers.LSTM(5, stateful=True)])
        >>> model.predict([[[0.1], [0.2]]], verbose=0).shape
        (1, 5)
        >>> [part.shape for part in model.states["lstm"]]
        [(1, 5), (1, 5)]
    """

    def __init__(self, layers=None, trainable=True, name=None):
        super().__init__(layers, trainable=trainable, name=name)

    def add(self, layer, rebuild=True):
        """Add a layer, as in Keras; ``batch_input_shape=`` of the first makes the input."""
        if isinstance(layer, keras.layers.Layer):
            adopt(layer)
            rows = getattr(layer, "batch_input_rows", None)
            if not self.layers and rows is not None:
                super().add(
                    keras.layers.InputLayer(batch_shape=(rows, *layer._input_shape_arg)), rebuild
                )
        super().add(layer, rebuild)
        self._forget_programs()

    def pop(self, rebuild=True):
        """Remove the last layer and return it, as in Keras."""
        self._forget_programs()
        return super().pop(rebuild)


register_model_class(Model, keras.Model)
register_model_class(Functional, keras_private.Functional)
register_model_class(Sequential, keras.Sequential)
keras_private.convert_clones(Model, convert_model)


def _is_functional(args: tuple, kwargs: dict) -> bool:
    """Whether the constructor's arguments are those of a functional model: inputs and outputs."""
    return len(args) == 2 or "outputs" in kwargs


def _inject_functional(cls: type) -> None:
    """Replace ``Model`` by ``Functional`` among a user's base classes, as Keras does."""
    if Model in cls.__bases__:
        cls.__bases__ = tuple(Functional if base is Model else base for base in cls.__bases__)
    else:
        for base in cls.__bases__:
            if issubclass(base, Model):
                _inject_functional(base)
