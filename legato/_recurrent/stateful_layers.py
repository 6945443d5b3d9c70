"""Keras's recurrent layers with state that is carried as the state contract says.

``LSTM``, ``GRU``, ``SimpleRNN``, ``RNN`` and the ``ConvLSTM`` family are Keras's own classes with
another way of keeping state: no batch size is needed, any number of rows fits at any time, and the
initial state is the cell's own. They also take the ``input_shape=`` and ``batch_input_shape=`` of
Keras 2. ``legato.layers`` is their public address.

A plain Keras layer inside a legato model is adopted: the very object becomes one of these.
"""

import inspect
import warnings
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import keras
from jax.core import Tracer

from legato._errors import InputError, StateError
from legato._platform import keras_private
from legato._recurrent.layer_memory import LayerMemory, memory_in_use

PUBLIC_MODULE = "legato.layers"  # where users import the classes

_KerasRNN = keras.layers.RNN if TYPE_CHECKING else object  # what the carrying is mixed into


class StatefulLayer(_KerasRNN):
    """Mixed into a recurrent layer: state carried from sample to sample, for any number of rows.

    A stateless layer is exactly Keras's. A stateful one starts row r of a batch where row r of the
    batch before ended, or from its initial state (``initial_state=`` of the call, else the cell's
    ``get_initial_state``) where the row is fresh. A layer with ``go_backwards=True`` reads the
    future first and so has nothing to carry: it starts every sample fresh.
    """

    def __init__(self, *args, **kwargs):
        shape, batch = _take_input_shape(kwargs)
        super().__init__(*args, **kwargs)
        if shape is not None:
            keras_private.set_input_shape(self, shape)
            self.batch_input_rows = batch
        _warn_if_backward(self)

    @property
    def stateful(self) -> bool:
        """Whether state is carried. Switched, the layer forgets, and no program made before is used
        again; switched on, it starts fresh. Switch it between calls, not in a callback."""
        return self.__dict__.get("stateful", False) or memory_in_use(self) is not None

    @stateful.setter
    def stateful(self, carries: bool) -> None:
        before = self.__dict__.get("stateful")
        self.__dict__["stateful"] = carries
        if before is None or bool(before) == bool(carries):
            return
        self.__dict__.pop("_legato_memory", None)
        for model in list(self.__dict__.get("_legato_runs_in", ())):
            model._forget_programs()
        _warn_if_backward(self)

    def runs_in(self, model) -> None:
        """Note a model that is to hear (``_forget_programs``) when carrying is switched."""
        self.__dict__.setdefault("_legato_runs_in", WeakSet()).add(model)

    @property
    def memory(self) -> LayerMemory | None:
        """What the layer remembers; None if it carries nothing or is not built yet."""
        if (lent := memory_in_use(self)) is not None:
            return lent
        if not self.stateful or self.go_backwards:
            return None
        memory = self.__dict__.get("_legato_memory")
        if memory is None and self.built and not keras_private.in_stateless_scope():
            memory = self.__dict__["_legato_memory"] = LayerMemory(self)
        return memory

    @property
    def states(self):
        """The state variables, structured as the cell's state; [] while there are none."""
        if not self.stateful:
            return None
        memory = self.memory
        return [] if memory is None else memory.states

    @states.setter
    def states(self, _):
        """Keras sets None at construction; the variables are the memory's."""

    def get_build_config(self) -> dict | None:
        """The shapes the layer was built for, with a number of rows if it is stateful: the declared
        one, else that of the rows it remembers, else 1.

        A plain Keras layer cannot be stateful without one, and takes it from here when a file is
        opened. Nothing else in the file tells of rows, so that in legato any number still fits.
        """
        config = super().get_build_config()
        if not self.stateful or not config:
            return config
        return {key: with_rows(shape, self.rows_to_save) for key, shape in config.items()}

    @property
    def rows_to_save(self) -> int:
        """The rows a file tells plain Keras of where none are declared: those remembered here, or,
        by a layer that runs backwards and remembers nothing, beside it."""
        if self.memory is not None:
            return self.memory.rows or 1
        models = list(self.__dict__.get("_legato_runs_in", ()))
        return max((model.states.rows for model in models), default=0) or 1

    def reset_state(self, states=None):
        """Forget everything, so that every row starts from the initial state again, or remember
        given values.

        Args:
            states: arrays of shape (rows, …) in the order of the cell's state, or the one array.

        Raises:
            StateError: they do not fit, or the layer is not built yet or carries nothing.
        """
        if states is None:
            if self.memory is not None:
                self.memory.clear()
        elif self.memory is None:
            raise StateError(
                f"Layer {self.name!r} has no place for a state: it is not built yet, or it is not "
                "stateful. Run the model once, or make the layer stateful=True."
            )
        else:
            self.memory.take(states)

    reset_states = reset_state

    def call(self, sequences, initial_state=None, mask=None, training=False):
        if not self.stateful:
            return super().call(
                sequences, initial_state=initial_state, mask=mask, training=training
            )
        rows = sequences.shape[0]
        given = initial_state if initial_state is not None else self.get_initial_state(rows)
        if not keras.tree.is_nested(given):
            given = [given]
        memory = self._carried_memory(sequences, rows)
        if memory is None:
            return super().call(sequences, initial_state=given, mask=mask, training=training)
        memory.times_begun += initial_state is not None
        start = memory.start(list(given))
        with memory.feeding():
            return super().call(sequences, initial_state=start, mask=mask, training=training)

    def _carried_memory(self, sequences, rows: int) -> LayerMemory | None:
        """The memory this call carries on; None where there is none to carry.

        Raises:
            StateError: another number of rows is remembered, or nobody would carry the state.
        """
        memory = self.memory
        if self.go_backwards or keras_private.in_symbolic_scope():
            return None
        if memory is not None and not keras_private.in_stateless_scope():
            if isinstance(sequences, Tracer):
                raise StateError(
                    f"Layer {self.name!r} is stateful and was called inside a JAX transformation, "
                    "which cannot keep what it would remember. Use model.stateless_call there: it "
                    "takes the state and gives it back."
                )
            memory.open(rows)
        elif memory is None or not keras_private.is_carried(memory.fresh):
            raise StateError(
                f"Layer {self.name!r} is stateful, but the model that runs it does not carry state "
                "(a plain keras.Model on JAX loses it without a word). Use legato.Model or "
                "legato.Sequential in the place of keras.Model or keras.Sequential."
            )
        elif memory.rows != rows:
            raise StateError(
                f"Layer {self.name!r} sees {rows} rows where the batch has {memory.rows}. legato "
                "carries one state for each row of the batch: a stateful layer cannot stand behind "
                "something that folds other axes into the batch."
            )
        return memory


def with_rows(shape, rows: int | None, over: bool = False):
    """A shape, or a structure of shapes, with a number of rows where there is none.

    Args:
        over: whether to put it in the place of another number, too.
    """
    if isinstance(shape, dict):
        return {key: with_rows(each, rows, over) for key, each in shape.items()}
    if not shape or isinstance(shape[0], (list, tuple, dict)):
        return shape and [with_rows(each, rows, over) for each in shape]
    return (rows if over or shape[0] is None else shape[0], *shape[1:])


def _take_input_shape(kwargs: dict) -> tuple[tuple | None, int | None]:
    """Take Keras 1's and 2's ways to give an input shape out of a layer's arguments.

    Returns:
        The shape of one sample and the batch size, each None if it was not given.
    """
    if "batch_input_shape" in kwargs:
        batch, *shape = kwargs.pop("batch_input_shape")
        kwargs.pop("input_shape", None)
        return tuple(shape), batch
    if "input_shape" in kwargs:
        return tuple(kwargs.pop("input_shape")), None
    if "input_dim" in kwargs:
        return (kwargs.pop("input_length", None), kwargs.pop("input_dim")), None
    return None, None


def _warn_if_backward(layer) -> None:
    if layer.stateful and layer.go_backwards:
        warnings.warn(
            f"Layer {layer.name!r} is stateful and runs backwards in time: it begins each sample "
            "at its end, so there is nothing to carry, and it starts every sample fresh. "
            "(Of a stateful Bidirectional the forward half carries.)",
            stacklevel=4,
        )


def _recurrent(keras_class: type) -> Any:
    """Keras's recurrent layer class, carrying state; saved to files under Keras's own name."""
    made = type(
        keras_class.__name__, (StatefulLayer, keras_class), {"__doc__": keras_class.__doc__}
    )
    made.__module__ = PUBLIC_MODULE
    made.__signature__ = inspect.signature(keras_class)  # type: ignore[attr-defined]
    keras_private.saved_as(made, keras_class)
    return made


RNN = _recurrent(keras.layers.RNN)
LSTM = _recurrent(keras.layers.LSTM)
GRU = _recurrent(keras.layers.GRU)
SimpleRNN = _recurrent(keras.layers.SimpleRNN)
ConvLSTM1D = _recurrent(keras.layers.ConvLSTM1D)
ConvLSTM2D = _recurrent(keras.layers.ConvLSTM2D)
ConvLSTM3D = _recurrent(keras.layers.ConvLSTM3D)


class Bidirectional(keras.layers.Bidirectional):
    """Keras's Bidirectional; of a stateful one the forward half carries, the backward half starts
    each sample fresh."""

    def __init__(self, layer, *args, **kwargs):
        shape, batch = _take_input_shape(kwargs)
        super().__init__(layer, *args, **kwargs)
        if shape is not None:
            keras_private.set_input_shape(self, shape)
            self.batch_input_rows = batch
        adopt(self)


Bidirectional.__module__ = PUBLIC_MODULE
keras_private.saved_as(Bidirectional, keras.layers.Bidirectional)

_CARRYING = {
    made.__mro__[2]: made
    for made in (RNN, LSTM, GRU, SimpleRNN, ConvLSTM1D, ConvLSTM2D, ConvLSTM3D)
}


def adopt(layer) -> None:
    """Let every plain recurrent Keras layer, here and below, carry as legato's own do if stateful.

    The very object is changed, so that weights, names and references to it stay what they were.

    Args:
        layer: a layer or model.

    Raises:
        InputError: what came is not a Keras layer.
    """
    if not isinstance(layer, keras.layers.Layer):
        raise InputError(
            f"A layer was expected, and {type(layer).__name__} came: {layer!r}. "
            "Give an object made by one of legato.layers or keras.layers."
        )
    for each in keras_private.flatten_layers(layer):
        if isinstance(each, keras.layers.TimeDistributed):
            _refuse_distributed(each)
        if isinstance(each, keras.layers.RNN) and not isinstance(each, StatefulLayer):
            each.__class__ = _carrying(type(each))
            keras_private.forget_built_state(each)
            _warn_if_backward(each)


def _refuse_distributed(layer) -> None:
    inside = keras_private.flatten_layers(layer.layer)
    if any(isinstance(each, keras.layers.RNN) and each.stateful for each in inside):
        raise InputError(
            f"Layer {layer.name!r} distributes a stateful layer over time: it would carry state "
            "from one slice to the next, which no row owns. Make the layer inside stateful=False."
        )


def _carrying(keras_class: type) -> type:
    """The class that carries for a Keras layer class or a user's subclass of one."""
    if keras_class not in _CARRYING:
        made = _recurrent(keras_class)
        made.__module__ = keras_class.__module__
        made.__qualname__ = keras_class.__qualname__
        _CARRYING[keras_class] = made
    return _CARRYING[keras_class]
