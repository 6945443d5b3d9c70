"""Whether a model can be fed step by step, and what of it carries.

A stream's answers are those that ``predict`` gives on the whole sequence. That holds where nothing
but recurrent layers that read forward looks across time steps. Of chains of layers known to keep to
their step it is known; all else is tried, on numbers drawn at random.
"""

import keras

from legato._errors import UnsupportedError
from legato._platform import keras_private
from legato._recurrent.stateful_layers import StatefulLayer

_KEEP_TO_THEIR_STEP = (
    "Activation Dense Discretization Dropout ELU Embedding GaussianDropout GaussianNoise Identity "
    "InputLayer LeakyReLU Masking ReLU Rescaling"
).split()
_KINDS = tuple(getattr(keras.layers, name) for name in _KEEP_TO_THEIR_STEP)


def carriers(model) -> list[StatefulLayer]:
    """The recurrent layers that carry from step to step, in order.

    Not those that read backwards, and not those that ``TimeDistributed`` runs inside each step.
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
    """Refuse a model that reads the future, or carries nothing.

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
    if not carriers(model):
        raise UnsupportedError(
            f"Model {model.name!r} has no recurrent layer, so a stream of it has nothing to carry. "
            "window=n lets it see the last n steps at once."
        )


def keeps_to_steps(model) -> bool:
    """Whether the model is a graph of layers that are known not to look across time steps."""
    graph = keras_private.graph_of(model)
    return graph is not None and all(map(_keeps_to_its_step, graph.operations))


def _keeps_to_its_step(operation) -> bool:
    if isinstance(operation, keras.Model):
        return keeps_to_steps(operation)
    activation = getattr(operation, "activation", None)
    own = activation is not None and not activation.__module__.startswith("keras.")
    return (isinstance(operation, StatefulLayer) or type(operation) in _KINDS) and not own


def looks_across(model) -> UnsupportedError:
    """What to raise where trying showed that something does."""
    known = (*_KINDS, StatefulLayer)
    others = [each.name for each in _straight_below(model) if not isinstance(each, known)]
    seems = f", maybe one of {', '.join(map(repr, others))}," if others else ""
    return UnsupportedError(
        f"Model {model.name!r} cannot be streamed: fed step by step it answers otherwise than to "
        f"the whole sequence, so something in it{seems} looks across time steps without carrying "
        "a state. window=n lets it see the last n steps at once."
    )


def _straight_below(model) -> list:
    """A model's layers, and those of models in it."""
    return [
        layer
        for each in keras_private.sublayers(model)
        for layer in (_straight_below(each) if isinstance(each, keras.Model) else [each])
    ]
