"""Keras's recurrent layers, carrying state from sample to sample for any number of rows.

``LSTM``, ``GRU``, ``SimpleRNN``, ``RNN`` and the ``ConvLSTM`` family are Keras's own classes with
another way of keeping state: they need no batch size, take any number of rows at any time, and
start from the cell's own initial state (docs/contract.md has all rules). They also take
``input_shape=`` and ``batch_input_shape=`` as in Keras 2. Users import them from ``legato.layers``.

``adopt`` changes the class of plain Keras layers inside a legato model to one of these.
"""

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import keras
from jax.core import Tracer

from legato._errors import InputError, StateError
from legato._platform import keras_private
from legato._platform.locks import TRACING
from legato._recurrent.kernels import run_over_time
from legato._recurrent.layer_memory import LayerMemory, memory_in_use

PUBLIC_MODULE = "legato.layers"  # where users import the classes

_KerasRNN = keras.layers.RNN if TYPE_CHECKING else object  # the class that the mixin extends


@dataclass(eq=False)
class LayerRunner:
    """The callbacks of a model that runs stateful layers; see ``StatefulLayer.register_runner``.

    A layer has a weak reference to it only, so the model must keep it.

    Attributes:
        forget_programs: called when ``stateful`` of one of the layers is switched: programs that
            were compiled before no longer do what the layer does.
        remembered_rows: gives the number of rows that the layers of the model remember.
    """

    forget_programs: Callable[[], None]
    remembered_rows: Callable[[], int]


class StatefulLayer(_KerasRNN):
    """A mixin for recurrent layers that carries state from sample to sample, for any rows.

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
        """Whether state is carried. A layer that is switched forgets its state, and the models that
        run it compile new programs. Switch it between calls, not in a callback."""
        return self.__dict__.get("stateful", False) or memory_in_use(self) is not None

    @stateful.setter
    def stateful(self, carries: bool) -> None:
        before = self.__dict__.get("stateful")
        self.__dict__["stateful"] = carries
        if before is None or bool(before) == bool(carries):
            return
        self.__dict__.pop("_legato_memory", None)
        for runner in self._runners:
            runner.forget_programs()
        _warn_if_backward(self)

    def register_runner(self, runner: LayerRunner) -> None:
        """Register a model that runs this layer; again has no effect."""
        self.__dict__.setdefault("_legato_runners", WeakSet()).add(runner)

    @property
    def _runners(self) -> list[LayerRunner]:
        return list(self.__dict__.get("_legato_runners", ()))

    @property
    def memory(self) -> LayerMemory | None:
        """The memory of the layer's state; None if it carries nothing or is not built yet."""
        if (in_use := memory_in_use(self)) is not None:
            return in_use
        if not self.stateful or self.go_backwards:
            return None
        memory = self.__dict__.get("_legato_memory")
        if memory is None and self.built and not keras_private.in_stateless_scope():
            with TRACING:
                memory = self.__dict__.get("_legato_memory")
                if memory is None:
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
        """Ignore the None that Keras sets at construction: the memory owns the variables."""

    def get_build_config(self) -> dict | None:
        """The shapes the layer was built for; of a stateful layer with a number of rows: the
        declared one, else that of the rows it remembers, else 1.

        A plain Keras layer cannot be stateful without a number of rows, and takes it from here when
        a file is opened. Nothing else in the file has rows, so that legato opens it for any number.
        """
        config = super().get_build_config()
        if not self.stateful or not config:
            return config
        return {key: with_rows(shape, self.rows_to_save) for key, shape in config.items()}

    @property
    def rows_to_save(self) -> int:
        """The rows that a file declares for plain Keras, where the user declared none: the rows
        that the layer remembers; of a backward layer, which has no memory, those that the other
        layers of its models remember; 1 if there are none."""
        if self.memory is not None:
            return self.memory.rows or 1
        return max((runner.remembered_rows() for runner in self._runners), default=0) or 1

    def reset_state(self, states=None):
        """Reset the layer, so that every row starts from the initial state, or set its state.

        Args:
            states: arrays of shape (rows, …) in the order of the cell's state, or the array of a
                cell that has one. Default: reset.

        Raises:
            StateError: the arrays do not fit, or the layer is not built yet or carries nothing.
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
            self.memory.set_states(states)

    reset_states = reset_state

    def call(self, sequences, initial_state=None, mask=None, training=False):
        run = partial(super().call, sequences, mask=mask, training=training)
        if not self.stateful:
            return run(initial_state=initial_state)
        rows = sequences.shape[0]
        given = initial_state if initial_state is not None else self.get_initial_state(rows)
        if not keras.tree.is_nested(given):
            given = [given]
        memory = self._carried_memory(sequences, rows)
        if memory is None:
            return run(initial_state=given)
        memory.times_given_initial_state += initial_state is not None
        start = memory.start_state(list(given))
        with memory.while_running():
            return run(initial_state=start)

    def inner_loop(self, sequences, initial_state, mask, training=False):
        return run_over_time(self, sequences, initial_state, mask, training)

    def keras_inner_loop(self, sequences, initial_state, mask, training) -> tuple:
        """The loop over time of Keras's class, or of the user's subclass of it."""
        return super().inner_loop(sequences, initial_state, mask=mask, training=training)

    def _carried_memory(self, sequences, rows: int) -> LayerMemory | None:
        """The memory that this call reads and updates; None if the layer carries nothing in it.

        Raises:
            StateError: another number of rows is remembered, or the model would lose the state.
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
            memory.allocate(rows)
        elif memory is None or not keras_private.is_carried(memory.fresh):
            raise StateError(
                f"Layer {self.name!r} is stateful, but the model that runs it does not carry state "
                "(a plain keras.Model on JAX loses it without a word). Use legato.Model or "
                "legato.Sequential in the place of keras.Model or keras.Sequential."
            )
        elif memory.rows != rows:
            raise StateError(
                f"Layer {self.name!r} sees {rows} rows where the batch has {memory.rows}. legato "
                "carries one state for each row of the batch: a stateful layer cannot follow "
                "a layer that folds other axes into the batch."
            )
        return memory


def with_rows(shape, rows: int | None, over: bool = False):
    """A shape, or a structure of shapes, with a number of rows where it has None.

    Args:
        shape: the shape, a list or a dictionary of shapes.
        rows: the number of rows, or None.
        over: whether to replace another number, too.
    """
    if isinstance(shape, dict):
        return {key: with_rows(each, rows, over) for key, each in shape.items()}
    if not shape or isinstance(shape[0], (list, tuple, dict)):
        return shape and [with_rows(each, rows, over) for each in shape]
    return (rows if over or shape[0] is None else shape[0], *shape[1:])


def _take_input_shape(kwargs: dict) -> tuple[tuple | None, int | None]:
    """Remove the input shape, given as in Keras 1 and 2, from a layer's arguments.

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


def _make_stateful(keras_class: type) -> Any:
    """A subclass of a Keras recurrent layer that carries state and is saved under its name."""
    made: Any = type(
        keras_class.__name__, (StatefulLayer, keras_class), {"__doc__": keras_class.__doc__}
    )
    made.keras_class = keras_class
    made.__module__ = PUBLIC_MODULE
    made.__signature__ = inspect.signature(keras_class)
    keras_private.register_saved_name(made, keras_class)
    return made


RNN = _make_stateful(keras.layers.RNN)
LSTM = _make_stateful(keras.layers.LSTM)
GRU = _make_stateful(keras.layers.GRU)
SimpleRNN = _make_stateful(keras.layers.SimpleRNN)
ConvLSTM1D = _make_stateful(keras.layers.ConvLSTM1D)
ConvLSTM2D = _make_stateful(keras.layers.ConvLSTM2D)
ConvLSTM3D = _make_stateful(keras.layers.ConvLSTM3D)


class Bidirectional(keras.layers.Bidirectional):
    """Keras's Bidirectional. If stateful, the forward half carries state, and the backward half
    starts each sample fresh."""

    def __init__(self, layer, *args, **kwargs):
        shape, batch = _take_input_shape(kwargs)
        super().__init__(layer, *args, **kwargs)
        if shape is not None:
            keras_private.set_input_shape(self, shape)
            self.batch_input_rows = batch
        adopt(self)


Bidirectional.__module__ = PUBLIC_MODULE
keras_private.register_saved_name(Bidirectional, keras.layers.Bidirectional)

_STATEFUL_CLASSES = {
    made.__mro__[2]: made
    for made in (RNN, LSTM, GRU, SimpleRNN, ConvLSTM1D, ConvLSTM2D, ConvLSTM3D)
}


def adopt(layer) -> None:
    """Make every plain recurrent Keras layer in a layer or model carry state as legato's do.

    The class of the object is changed, so that weights, names and references to it stay the same.

    Args:
        layer: a layer or model; the layers below it are included.

    Raises:
        InputError: it is not a Keras layer.

    Examples:
        >>> import legato, keras
        >>> layer = keras.layers.GRU(2, stateful=True)
        >>> legato.layers.adopt(layer)
        >>> isinstance(layer, legato.layers.GRU)
        True
    """
    if not isinstance(layer, keras.layers.Layer):
        raise InputError(
            f"A layer was expected, and {type(layer).__name__} came: {layer!r}. "
            "Give an object made by one of legato.layers or keras.layers."
        )
    for each in keras_private.flatten_layers(layer):
        if isinstance(each, keras.layers.TimeDistributed):
            _check_not_distributed(each)
        if isinstance(each, keras.layers.RNN) and not isinstance(each, StatefulLayer):
            each.__class__ = _stateful_class(type(each))
            keras_private.forget_built_state(each)
            _warn_if_backward(each)


def _check_not_distributed(layer) -> None:
    inside = keras_private.flatten_layers(layer.layer)
    if any(isinstance(each, keras.layers.RNN) and each.stateful for each in inside):
        raise InputError(
            f"Layer {layer.name!r} distributes a stateful layer over time: it would carry state "
            "from one slice to the next, which no row owns. Make the layer inside stateful=False."
        )


def _stateful_class(keras_class: type) -> type:
    """The stateful class for a Keras layer class or a user's subclass of one."""
    if keras_class not in _STATEFUL_CLASSES:
        made = _make_stateful(keras_class)
        made.__module__ = keras_class.__module__
        made.__qualname__ = keras_class.__qualname__
        _STATEFUL_CLASSES[keras_class] = made
    return _STATEFUL_CLASSES[keras_class]
