"""All uses of Keras's private names, each behind a function that says what it is for.

Keras has no public interface for these. ``tests/platform/test_keras_private.py`` exercises each, so
that a change in a new Keras version fails there and not in a user's run.
"""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import keras
from keras.src import api_export as _api_export
from keras.src import backend as _backend
from keras.src.backend.common import global_state as _global_state
from keras.src.backend.common import stateless_scope as _stateless_scope
from keras.src.backend.common import symbolic_scope as _symbolic_scope
from keras.src.models import cloning as _cloning
from keras.src.models.functional import Functional  # not exported by Keras
from keras.src.ops import numpy as _numpy_operations
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR as _SEED_GENERATOR
from keras.src.saving import object_registration as _registration
from keras.src.trainers.epoch_iterator import EpochIterator as _EpochIterator
from keras.src.utils import io_utils as _io
from keras.src.utils.rng_utils import GLOBAL_RANDOM_SEED as _RANDOM_SEED


def in_stateless_scope() -> bool:
    """Whether a stateless call is running, in which variable updates are collected, not made."""
    return _stateless_scope.in_stateless_scope()


def trains_as_keras(model) -> bool:
    """Whether the model has Keras's own training step, not one of the user's."""
    return type(model).train_step is keras.Model.train_step


def in_symbolic_scope() -> bool:
    """Whether Keras is only computing shapes, with symbolic tensors in place of values."""
    return _symbolic_scope.in_symbolic_scope()


def is_carried(variable) -> bool:
    """Whether the running stateless call was given a value for this variable."""
    scope = _stateless_scope.get_stateless_scope()
    return scope is not None and scope.get_current_value(variable) is not None


def register_saved_name(cls: type, keras_cls: type) -> None:
    """Register ``cls`` under the name by which Keras saves the class it extends.

    Files that legato saves then open in plain Keras. Keras's serializer looks names up only in its
    tables of exported and of registered names. A user's class keeps its registered name, so that
    files that have this name open.
    """
    names = _api_export.REGISTERED_OBJS_TO_NAMES
    if keras_cls in names or keras_cls.__module__.startswith("keras."):
        names[cls] = names.get(keras_cls) or f"{keras_cls.__module__}.{keras_cls.__qualname__}"
    else:
        known = _registration.GLOBAL_CUSTOM_NAMES
        known[cls] = known.get(keras_cls) or keras_cls.__name__


def convert_clones(cls: type, convert: Callable) -> None:
    """Convert what ``keras.models.clone_model`` makes of the models of a class.

    Keras makes a ``keras.Sequential`` of each Sequential model, and a ``keras.Model`` of each
    functional one whose class has a constructor of its own.

    Args:
        cls: the class of the models.
        convert: called with each clone; its result is the clone that the user gets.
    """
    for name in ("_clone_sequential_model", "_clone_functional_model"):
        setattr(_cloning, name, _converted(getattr(_cloning, name), cls, convert))


def _converted(clone: Callable, cls: type, convert: Callable) -> Callable:
    @wraps(clone)
    def converted(model, *args, **kwargs):
        made = clone(model, *args, **kwargs)
        return convert(made) if isinstance(model, cls) else made

    return converted


def may_overwrite(path) -> bool:
    """Ask at the terminal whether a file may be overwritten, as Keras does for overwrite=False."""
    return _io.ask_to_proceed_with_overwrite(str(path))


def keep_compile_config(model, save: Callable) -> Callable:
    """A function that saves a model, and leaves it with the compile options that it had.

    Keras takes the optimizer out of them when it writes the HDF5 format, so that later files of the
    model lack it and are loaded with the default one.
    """

    @wraps(save)
    def keeping(*arguments, **options):
        config = getattr(model, "_compile_config", None)
        before = None if config is None else dict(config.config)
        try:
            return save(*arguments, **options)
        finally:
            if config is not None:
                config.config = before

    return keeping


def flatten_layers(layer) -> list:
    """The layer and every layer below it, however deeply nested, in order."""
    return list(layer._flatten_layers())


def sublayers(layer) -> list:
    """The direct sublayers of a layer, in the order in which they are called or were attached.

    ``flatten_layers`` reverses the order inside nested ones.
    """
    return list(layer._flatten_layers(include_self=False, recursive=False))


def set_input_shape(layer, shape: tuple) -> None:
    """Set a layer's ``input_shape=`` of Keras 2, without the warning that Keras 3 gives."""
    layer._input_shape_arg = shape


def graph_of(model) -> Functional | None:
    """The graph of layers of a functional or Sequential model.

    None if the user overrides the model's ``call``, or the input of a Sequential model is not
    defined yet.
    """
    if isinstance(model, keras.Sequential) and type(model).call is keras.Sequential.call:
        return model._functional
    known = isinstance(model, Functional) and type(model).call is Functional.call
    return model if known else None


def walk_graph(graph: Functional, values: list, visit) -> list:
    """Call a function on each layer of a graph, passing values along its edges in place of tensors.

    Args:
        graph: from ``graph_of``.
        values: one value for each input, in order.
        visit: called as ``visit(layer, *args, **kwargs)`` for every layer in order, with values in
            place of tensors; returns the values of the layer's outputs.

    Returns:
        One value for each output, in order.
    """
    return keras.tree.flatten(graph._run_through_graph(values, call_fn=visit))


def is_function(operation, names: Iterable[str]) -> bool:
    """Whether an operation of a graph is a call of one of these functions of ``keras.ops``."""
    classes = [getattr(_numpy_operations, name.title().replace("_", "")) for name in names]
    return type(operation) in classes


def arguments_of(operation) -> tuple[list, list]:
    """The tensors and the other arguments that an operation of a graph is called with.

    Empty if the operation is used more than once.
    """
    if len(operation._inbound_nodes) != 1:
        return [], []
    given = operation._inbound_nodes[0].arguments
    values = [*given.args, *given.kwargs.values()]
    if values and isinstance(values[0], (list, tuple)):  # several inputs
        values = [*values[0], *values[1:]]
    tensors = [each for each in values if isinstance(each, keras.KerasTensor)]
    others = [each for each in values if not isinstance(each, keras.KerasTensor)]
    return tensors, others


def output_names(graph: Functional) -> list[str]:
    """The names of the layers that make a graph's outputs, in order."""
    return list(graph.output_names)


def forget_built_state(layer) -> None:
    """Drop the state variables of fixed size that a plain Keras layer creates when it is built."""
    layer.__dict__.pop("states", None)
    layer._expected_batch_size = None


def change_built_shapes(layer, change: Callable) -> None:
    """Change the shapes for which a layer was built, as its build config has them.

    Args:
        layer: the layer.
        change: a function from a shape to the new one.
    """
    shapes = layer._build_shapes_dict or {}
    layer._build_shapes_dict = {name: change(shape) for name, shape in shapes.items()}


def build_variables(model, x, y=None, sample_weight=None, loss: bool = True) -> None:
    """Create all variables of a model that do not exist yet.

    Args:
        model: a Keras model.
        x, y, sample_weight: ``keras.KerasTensor``s in place of a batch's arrays.
        loss: whether to create those of the loss, the metrics and the optimizer, too.
    """
    if loss:
        _trace_loss_and_metrics(model, x, y, sample_weight)
        model._symbolic_build(data_batch=(x, y, sample_weight))
    elif not all(layer.built for layer in flatten_layers(model)):
        _backend.compute_output_spec(model, x, training=False)


_TRACED_ROWS = 83  # unlike the usual numbers of features, units and time steps


def _trace_loss_and_metrics(model, x, y, sample_weight) -> None:
    """Create the variables of loss and metrics where the shapes of the outputs are declared.

    Keras traces the whole model to know those shapes, with a symbolic number of rows, which takes
    four times as long as all of this. Otherwise nothing is done, and Keras builds all.
    """
    graph = graph_of(model)
    if graph is None or not all(layer.built for layer in flatten_layers(model)):
        return
    outputs = graph._outputs_struct
    flat = list(keras.tree.flatten(outputs) or ())
    if any(None in each.shape[1:] or each.sparse for each in flat):
        return
    declared = {each.shape[0] for each in flat} - {None}
    rows = declared.pop() if declared else _TRACED_ROWS

    def with_rows(each):
        return keras.KerasTensor((each.shape[0] or rows, *each.shape[1:]), each.dtype)

    given = (x, y, outputs, sample_weight)
    batch: Any = keras.tree.map_structure(with_rows, given, none_is_leaf=False)
    if model._compile_metrics is not None and not model._compile_metrics.built:
        _backend.compute_output_spec(model.compute_metrics, *batch)
    if model._compile_loss is not None and not model._compile_loss.built:
        _backend.compute_output_spec(model._compute_loss, *batch, training=False)


def epoch_batches(x, steps: int | None, shuffle: Any = False, batch_size: int | None = None):
    """Keras's iterator over the batches of an epoch, for all types of data that Keras takes.

    Generators, ``PyDataset``, ``tf.data``, ``DataLoader`` and Grain differ in when an epoch begins
    and ends; Keras's adapters implement these rules.

    Args:
        x: the data; arrays as ``(x, y, sample_weight)``.
        steps: batches in an epoch; None: all.
        shuffle, batch_size: as in ``fit``, for data that do not define them.

    Raises:
        ValueError: Keras has no adapter for the data.
    """
    y = weight = None
    if isinstance(x, tuple):
        x, y, weight = x
    return _Batches(x, y, weight, batch_size, steps, shuffle)


class _Batches(_EpochIterator):
    """Keras's iterator without its warning at an end of the data that was not declared."""

    def _interrupted_warning(self):
        pass


def is_optional(tensor) -> bool:
    """Whether None may be given for an input of a model; its layer has the flag."""
    return getattr(tensor._keras_history.operation, "optional", True)


def known_inputs(model) -> list | None:
    """The model's input tensors, flat; None while they are not known."""
    try:
        return list(keras.tree.flatten(model.inputs))
    except (AttributeError, ValueError):
        return None


def check_inputs(model, x) -> None:
    """Check inputs against the model's ``input_spec``, which a stateless call does not."""
    model._assert_input_compatibility(x)


def global_seeds() -> tuple:
    """Keras's global random seed, and the generator made from it; each None if it is not set."""
    names = (_RANDOM_SEED, _SEED_GENERATOR)
    return tuple(_global_state.get_global_attribute(name) for name in names)


def set_global_seeds(seed: int | None, generator=None) -> None:
    """Set what ``global_seeds`` gives; without a generator, Keras makes one from the seed."""
    _global_state.set_global_attribute(_RANDOM_SEED, seed)
    _global_state.set_global_attribute(_SEED_GENERATOR, generator)
