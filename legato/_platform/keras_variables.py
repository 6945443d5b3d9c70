"""Keras's variables: values read and set as Keras's trainer does, hidden, drawn late; resized.

All of it uses what Keras does not export; ``keras_private`` has the rest, of models and layers.
"""

from collections.abc import Callable, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from operator import attrgetter, is_
from typing import Any

import jax
import keras
import numpy as np
from keras.src.initializers.random_initializers import RandomInitializer as _RandomInitializer

_VALUE = attrgetter("_value")  # of a variable, as ``values_of`` reads it
_UNDRAWN: ContextVar[list | None] = ContextVar("variables without initial values", default=None)


@contextmanager
def drawing_initial_values_last():
    """A context in which random initial values are drawn at its end, for what has no value by then.

    Keras builds a model and then reads its weights from the file. Drawing the weights that are read
    afterwards takes most of the time of loading a small model: each initializer compiles programs
    of its own. The context is that of one thread.
    """
    undrawn: list = []
    token = _UNDRAWN.set(undrawn)
    try:
        yield
    finally:
        _UNDRAWN.reset(token)
    for variable, initializer, zeros in undrawn:
        if variable._value is zeros:
            variable._initialize_with_initializer(initializer)


def _draw_last(draw: Callable) -> Callable:
    @wraps(draw)
    def initialize(variable, initializer):
        undrawn = _UNDRAWN.get()
        if undrawn is None or not _is_of_keras(initializer):
            draw(variable, initializer)
            return
        zeros = np.zeros(variable.shape, jax.dtypes.canonicalize_dtype(variable.dtype))
        variable._initialize(jax.device_put(zeros))
        undrawn.append((variable, initializer, variable._value))

    return initialize


def _is_of_keras(initializer) -> bool:
    """Whether it is Keras's: one that draws, one of zeros, or a function inside a layer."""
    module = getattr(initializer, "__module__", "")
    return (
        module == _RandomInitializer.__module__
        or module.startswith("keras.src.layers.")
        or type(initializer) is keras.initializers.Zeros
    )


_Variable: Any = keras.Variable
_Variable._initialize_with_initializer = _draw_last(_Variable._initialize_with_initializer)


def values_of(variables: Iterable) -> list:
    """The variables' values; faster than ``Variable.value``, which searches the open scopes."""
    return [variable._value for variable in variables]


def have_values(variables: Iterable, values: Iterable) -> bool:
    """Whether each variable has that very value, as ``values_of`` gave it before.

    True only if all had them at one moment, even while another thread sets them.
    """
    return all(map(is_, map(_VALUE, variables), values))


def set_values(variables: Iterable, values: Iterable) -> None:
    """Set variables to the results of a program, as Keras's trainer does between steps.

    ``Variable.assign`` would convert and check values that have the right shape and dtype, at ten
    times the cost of the rest of a small call.
    """
    for variable, value in zip(variables, values, strict=True):
        variable._value = value


_READERS: dict[int, Callable[[], None]] = {}  # by the id of a variable without a value


def hide_values(variables: list, reader: Callable[[], None]) -> None:
    """Take the variables' values away; whoever reads one has ``reader`` called first.

    Args:
        variables: the variables.
        reader: gives all of them values again (``show_values``, ``forget_readers``). It may be
            called in any thread.
    """
    _READERS.update(dict.fromkeys(map(id, variables), reader))
    for variable in variables:
        vars(variable).pop("_value", None)


def values_set_since(pairs: list[tuple]) -> list[tuple]:
    """The variables that were set since ``hide_values``, and their values.

    Args:
        pairs: the variables and the values that they had.
    """
    now = [(variable, vars(variable).get("_value", value)) for variable, value in pairs]
    return [new for new, (_, value) in zip(now, pairs, strict=True) if new[1] is not value]


def show_values(pairs: list[tuple]) -> None:
    """Set variables to values of any shape."""
    for variable, value in pairs:
        variable._value = value
        resize(variable, value.shape)


def forget_readers(variables: list) -> None:
    """End what ``hide_values`` began: all of the variables have values."""
    for variable in variables:
        _READERS.pop(id(variable), None)


def _read_hidden(variable, name: str):
    """What Python calls for an attribute that a variable does not have."""
    own = vars(variable)
    while name == "_value" and name not in own:
        if (reader := _READERS.get(id(variable))) is None:
            break
        reader()
    if name == "_value" and (value := own.get(name, _READERS)) is not _READERS:
        return value
    raise AttributeError(f"{type(variable).__name__!r} object has no attribute {name!r}")


def _content(variable) -> dict:
    """What Python copies of a variable."""
    hasattr(variable, "_value")  # which reads it if it is hidden
    return vars(variable).copy()


CAN_HIDE_VALUES = not hasattr(_Variable, "__getattr__")  # flax's variables have one
if CAN_HIDE_VALUES:
    _Variable.__getattr__, _Variable.__getstate__ = _read_hidden, _content


@contextmanager
def without_values(variables: list):
    """A context in which variables have no values, as in Keras's trainer while a step runs."""
    values = values_of(variables)
    set_values(variables, [None] * len(values))
    try:
        yield
    finally:
        set_values(variables, values)


def keep_in_process(variables: list, own_part: Callable) -> None:
    """Give each process variables of its own, which ``keras.distribution`` shares between all.

    Of a shared variable Keras compares the values of all processes whenever it is set. So the
    processes would have to set all variables in step, also those of a model that only one uses.

    Args:
        variables: the variables.
        own_part: what of a shared value is of this process.
    """
    for variable in variables:
        if variable._layout is not None:
            variable._layout, variable._value = None, own_part(variable._value)


def resize(variable, shape: tuple) -> None:
    """Change a variable's shape, which Keras fixes at construction: the number of rows varies."""
    variable._shape = shape
