"""Every name legato uses that Keras does not export, in one place, with the reason.

Keras has no public way to ask which of these hold, or to do them: ``tests/platform/``
exercises each in ``test_keras_private.py``, so that a Keras that changes them is noticed there and
not in a user's run.
"""

from collections.abc import Callable, Iterable
from contextlib import contextmanager
from typing import Any

import keras
from keras.src import api_export as _api_export
from keras.src import backend as _backend
from keras.src.backend.common import global_state as _global_state
from keras.src.backend.common import stateless_scope as _stateless_scope
from keras.src.backend.common import symbolic_scope as _symbolic_scope
from keras.src.models.functional import Functional  # not exported by Keras
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR as _SEED_GENERATOR
from keras.src.saving import object_registration as _registration
from keras.src.trainers.epoch_iterator import EpochIterator as _EpochIterator
from keras.src.utils import io_utils as _io
from keras.src.utils.rng_utils import GLOBAL_RANDOM_SEED as _RANDOM_SEED


def in_stateless_scope() -> bool:
    """Whether variable updates are being collected instead of made (a pure call is running)."""
    return _stateless_scope.in_stateless_scope()


def in_symbolic_scope() -> bool:
    """Whether Keras is only working out shapes, so that no value means anything."""
    return _symbolic_scope.in_symbolic_scope()


def is_carried(variable) -> bool:
    """Whether the pure call that is running was given a value for this variable."""
    scope = _stateless_scope.get_stateless_scope()
    return scope is not None and scope.get_current_value(variable) is not None


def register_saved_name(cls: type, keras_cls: type) -> None:
    """Let ``cls`` be written to files under the name of the Keras class it extends.

    What legato saves then opens in plain Keras. Keras's own tables of exported and of registered
    names are the only things its serializer asks. A user's class keeps the name it is registered
    under, without which no file that names it opens.
    """
    names = _api_export.REGISTERED_OBJS_TO_NAMES
    if keras_cls in names or keras_cls.__module__.startswith("keras."):
        names[cls] = names.get(keras_cls) or f"{keras_cls.__module__}.{keras_cls.__qualname__}"
    else:
        known = _registration.GLOBAL_CUSTOM_NAMES
        known[cls] = known.get(keras_cls) or keras_cls.__name__


def may_overwrite(path) -> bool:
    """Ask at the terminal whether a file may be overwritten, as Keras does for overwrite=False."""
    return _io.ask_to_proceed_with_overwrite(str(path))


def flatten_layers(layer) -> list:
    """The layer and every layer below it, however deeply nested, in order."""
    return list(layer._flatten_layers())


def sublayers(layer) -> list:
    """The layers straight below a layer, in the order they are called or were attached in.

    ``flatten_layers`` turns the order round inside nested ones.
    """
    return list(layer._flatten_layers(include_self=False, recursive=False))


def set_input_shape(layer, shape: tuple) -> None:
    """Give a layer the ``input_shape=`` of Keras 2, without the warning Keras 3 attaches to it."""
    layer._input_shape_arg = shape


def graph_of(model) -> Functional | None:
    """The graph of layers that a model is.

    None if the model has a ``call`` of the user's own, or is Sequential and does not know its input
    yet.
    """
    if isinstance(model, keras.Sequential) and type(model).call is keras.Sequential.call:
        return model._functional
    known = isinstance(model, Functional) and type(model).call is Functional.call
    return model if known else None


def walk_graph(graph: Functional, values: list, visit) -> list:
    """Run through a graph of layers with other things than tensors.

    Args:
        graph: from ``graph_of``.
        values: one thing for each input, in order.
        visit: called as ``visit(layer, *args, **kwargs)`` for every layer in order, with such
            things in the place of tensors; returns them for the layer's outputs.

    Returns:
        One thing for each output, in order.
    """
    return keras.tree.flatten(graph._run_through_graph(values, call_fn=visit))


def output_names(graph: Functional) -> list[str]:
    """The names of the layers that make a graph's outputs, in order."""
    return list(graph.output_names)


def forget_built_state(layer) -> None:
    """Drop the fixed-size state variables a plain Keras layer made for itself when it was built."""
    layer.__dict__.pop("states", None)
    layer._expected_batch_size = None


def change_built_shapes(layer, change: Callable) -> None:
    """Let a layer say that it was built for other shapes, which its build config repeats."""
    shapes = layer._build_shapes_dict or {}
    layer._build_shapes_dict = {name: change(shape) for name, shape in shapes.items()}


def build_variables(model, x, y=None, sample_weight=None, loss: bool = True) -> None:
    """Create every variable the model still lacks.

    Args:
        model: a Keras model.
        x, y, sample_weight: ``keras.KerasTensor``s in the place of a batch's arrays.
        loss: whether those of its loss, its metrics and its optimizer are wanted too.
    """
    if loss:
        model._symbolic_build(data_batch=(x, y, sample_weight))
    elif not all(layer.built for layer in flatten_layers(model)):
        _backend.compute_output_spec(model, x, training=False)


def epoch_batches(x, steps: int | None, shuffle: Any = False, batch_size: int | None = None):
    """Keras's iterator over the batches of an epoch, for everything it takes that is no array.

    Generators, ``PyDataset``, ``tf.data``, ``DataLoader`` and Grain each have their own rules of
    when an epoch begins, ends and goes on; Keras's adapters know them. Arrays are taken too, as
    ``(x, y, sample_weight)``.

    Args:
        x: the data.
        steps: batches in an epoch; None for all there are.
        shuffle, batch_size: as in ``fit``, where the data leave it open.

    Raises:
        ValueError: it is nothing that Keras knows.
    """
    y = weight = None
    if isinstance(x, tuple):
        x, y, weight = x
    return _Batches(x, y, weight, batch_size, steps, shuffle)


class _Batches(_EpochIterator):
    """Keras's iterator, keeping quiet where it ends: it warns wherever the end was not foreseen."""

    def _interrupted_warning(self):
        pass


def is_optional(tensor) -> bool:
    """Whether None may stand in a model's input's place; only its layer says so."""
    return getattr(tensor._keras_history.operation, "optional", True)


def known_inputs(model) -> list | None:
    """The model's input tensors, flat; None while they are not known."""
    try:
        return list(keras.tree.flatten(model.inputs))
    except (AttributeError, ValueError):
        return None


def check_inputs(model, x) -> None:
    """Refuse what does not fit the model's ``input_spec``; a pure call leaves that check out."""
    model._assert_input_compatibility(x)


def values_of(variables: Iterable) -> list:
    """The variables' values, outside of any scope; the property looks for scopes each time."""
    return [variable._value for variable in variables]


def set_values(variables: Iterable, values: Iterable) -> None:
    """Put a finished run's values into variables, as Keras's trainer does between steps.

    ``Variable.assign`` converts and checks what the program has just made with the right shape and
    dtype, at ten times the cost of everything else a small call does.
    """
    for variable, value in zip(variables, values, strict=True):
        variable._value = value


@contextmanager
def without_values(variables: list):
    """Let variables have no values for a while, as Keras's trainer does while a step runs."""
    values = values_of(variables)
    set_values(variables, [None] * len(values))
    try:
        yield
    finally:
        set_values(variables, values)


def resize(variable, shape: tuple) -> None:
    """Let a variable expect another shape: Keras fixes it at construction, rows come and go."""
    variable._shape = shape


def global_seeds() -> tuple:
    """Keras's global random seed and the generator made of it; None for either that is not set."""
    names = (_RANDOM_SEED, _SEED_GENERATOR)
    return tuple(_global_state.get_global_attribute(name) for name in names)


def set_global_seeds(seed: int | None, generator=None) -> None:
    """Set what ``global_seeds`` gives; without a generator Keras makes one of the seed."""
    _global_state.set_global_attribute(_RANDOM_SEED, seed)
    _global_state.set_global_attribute(_SEED_GENERATOR, generator)
