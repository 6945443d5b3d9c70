"""Which models can be fed step by step, and which of their layers carry state.

A stream answers as ``predict`` does on the whole sequence. That holds if only recurrent layers that
read forward combine time steps. Graphs of known per-step layers are accepted; any other model is
compared with ``predict`` on a short random sequence first (``ModelStep.differs_from_predict``), a
check that can miss a difference on other inputs.
"""

import keras
import numpy as np

from legato._errors import UnsupportedError
from legato._platform import keras_private
from legato._recurrent.stateful_layers import StatefulLayer

_STEPWISE_LAYERS = (
    "Activation Dense Discretization Dropout ELU Embedding GaussianDropout GaussianNoise Identity "
    "InputLayer LeakyReLU Masking ReLU Rescaling"
).split()
_STEPWISE_CLASSES = tuple(getattr(keras.layers, name) for name in _STEPWISE_LAYERS)
_LAST_AXIS_LAYERS = (keras.layers.Add, keras.layers.Concatenate, keras.layers.Normalization)
_LAST_AXIS_FUNCTIONS = ("any", "not_equal", "take")  # of keras.ops


def carried_layers(model) -> list[StatefulLayer]:
    """The recurrent layers whose state is carried from step to step, in order.

    Excludes layers that read backwards and layers that ``TimeDistributed`` runs inside each step.
    """
    inside = {
        id(each)
        for layer in keras_private.flatten_layers(model)
        if isinstance(layer, keras.layers.TimeDistributed)
        for each in keras_private.flatten_layers(layer.layer)
    }
    return [
        each
        for each in keras_private.flatten_layers(model)
        if isinstance(each, StatefulLayer) and not each.go_backwards and id(each) not in inside
    ]


def check_reads_forward(model) -> None:
    """Check that a model reads forward and has a recurrent layer.

    Raises:
        UnsupportedError: one of its layers runs backwards, or none is recurrent.
    """
    for layer in keras_private.flatten_layers(model):
        if isinstance(layer, StatefulLayer) and layer.go_backwards:
            raise UnsupportedError(
                f"Model {model.name!r} cannot be streamed: its layer {layer.name!r} reads a "
                "sequence from its end, so it has no answer before the end has come. window=n "
                "lets it see the last n steps at once."
            )
    if not carried_layers(model):
        raise UnsupportedError(
            f"Model {model.name!r} has no recurrent layer, so a stream of it has nothing to carry. "
            "window=n lets it see the last n steps at once."
        )


def is_stepwise(model) -> bool:
    """Whether the model is a graph of layers known to treat each time step by itself."""
    graph = keras_private.graph_of(model)
    return graph is not None and all(map(_is_stepwise_operation, graph.operations))


def _is_stepwise_operation(operation) -> bool:
    if isinstance(operation, keras.Model):
        return is_stepwise(operation)
    activation = getattr(operation, "activation", None)
    own = activation is not None and not activation.__module__.startswith("keras.")
    if isinstance(operation, StatefulLayer) or type(operation) in _STEPWISE_CLASSES:
        return not own
    return _works_on_last_axis(operation)


def _works_on_last_axis(operation) -> bool:
    """Whether an operation is known to combine no numbers but those along the last axis.

    Its inputs must have a time axis that is not the last one, and all as many axes; constants are
    numbers, or one for each place on the last axis.
    """
    known = type(operation) in _LAST_AXIS_LAYERS or keras_private.is_function(
        operation, _LAST_AXIS_FUNCTIONS
    )
    if not known:
        return False
    axis = getattr(operation, "axis", -1)
    tensors, constants = keras_private.arguments_of(operation)
    return (
        (tuple(axis) if isinstance(axis, (list, tuple)) else (axis,)) == (-1,)
        and len({len(each.shape) for each in tensors}) == 1
        and len(tensors[0].shape) > 2
        and all(np.ndim(each) < 2 for each in constants)
        and (len(tensors) == 1 or type(operation) in _LAST_AXIS_LAYERS)
    )


def mixed_steps_error(model) -> UnsupportedError:
    """The error for a model that answers otherwise step by step than on the whole sequence."""
    known = (*_STEPWISE_CLASSES, StatefulLayer)
    others = [each.name for each in _direct_layers(model) if not isinstance(each, known)]
    seems = f", maybe one of {', '.join(map(repr, others))}," if others else ""
    return UnsupportedError(
        f"Model {model.name!r} cannot be streamed: fed step by step it answers otherwise than to "
        f"the whole sequence, so something in it{seems} looks across time steps without carrying "
        "a state. window=n lets it see the last n steps at once."
    )


def _direct_layers(model) -> list:
    """A model's layers, with nested models replaced by their layers."""
    return [
        layer
        for each in keras_private.sublayers(model)
        for layer in (_direct_layers(each) if isinstance(each, keras.Model) else [each])
    ]
