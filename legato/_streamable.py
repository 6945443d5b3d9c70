"""Whether a model can be fed step by step, and what of it carries.

A stream's answers are those that ``predict`` gives on the whole sequence. That holds where nothing
but recurrent layers that read forward looks across time steps. Of layers known to keep to their
step it is known; of all others it is tried, on numbers drawn at random.
"""

import keras

from legato import _keras
from legato._errors import UnsupportedError
from legato.layers import Carries

_KEEP_TO_THEIR_STEP = (
    "Activation Add Average Bidirectional Concatenate Dense Discretization Dropout ELU Embedding "
    "GaussianDropout GaussianNoise Identity InputLayer LeakyReLU Masking Maximum Minimum Multiply "
    "Normalization ReLU Rescaling Subtract"
).split()
_KINDS = tuple(getattr(keras.layers, name) for name in _KEEP_TO_THEIR_STEP)


def carriers(model) -> list[Carries]:
    """The recurrent layers that carry from step to step, in order.

    Not those that read backwards, and not those that ``TimeDistributed`` runs inside each step.
    """
    inside = {
        id(each)
        for layer in _keras.flatten_layers(model)
        if isinstance(layer, keras.layers.TimeDistributed)
        for each in _keras.flatten_layers(layer.layer)
    }
    return [
        each
        for each in _keras.flatten_layers(model)
        if isinstance(each, Carries) and not each.go_backwards and id(each) not in inside
    ]


def check_reads_forward(model) -> None:
    """Refuse a model that reads the future, or carries nothing.

    Raises:
        UnsupportedError: one of its layers runs backwards, or none is recurrent.
    """
    for layer in _keras.flatten_layers(model):
        if isinstance(layer, Carries) and layer.go_backwards:
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
    graph = _keras.graph_of(model)
    if graph is None:
        return False
    for each in graph.operations:
        if isinstance(each, keras.Model):
            if not keeps_to_steps(each):
                return False
        elif not (isinstance(each, Carries) or type(each) in _KINDS):
            return False
    return True


def looks_across(model) -> UnsupportedError:
    """What to raise where trying showed that something does."""
    known = (*_KINDS, keras.Model, Carries)
    others = [each.name for each in _keras.flatten_layers(model) if not isinstance(each, known)]
    seems = f", maybe one of {', '.join(map(repr, others))}," if others else ""
    return UnsupportedError(
        f"Model {model.name!r} cannot be streamed: fed step by step it answers otherwise than to "
        f"the whole sequence, so something in it{seems} looks across time steps without carrying "
        "a state. window=n lets it see the last n steps at once."
    )
