"""Converts models that Keras made to legato's classes.

A model that Keras has loaded, cloned or unpickled is converted in place: every layer and variable
stays the same object.
"""

import keras

from legato._platform import keras_private
from legato._recurrent.stateful_layers import StatefulLayer, adopt, with_rows

_LEGATO_CLASSES: dict[type, type] = {}  # Keras's model class → legato's


def register_model_class(cls: type, keras_cls: type) -> None:
    """Save ``cls`` under the name of the Keras class it extends; load that class as ``cls``."""
    keras_private.register_saved_name(cls, keras_cls)
    _LEGATO_CLASSES[keras_cls] = cls


def convert_model(model):
    """Convert a Keras model, and every model and recurrent layer inside it, to legato's classes.

    The objects are changed in place. A user's subclass of a Keras model class keeps its own methods
    and gets legato's as an additional base class.

    Returns:
        The same model.
    """
    layers, legato_classes = keras_private.flatten_layers(model), tuple(_LEGATO_CLASSES.values())
    for each in layers:
        if isinstance(each, keras.Model) and not isinstance(each, legato_classes):
            each.__class__ = _legato_class(type(each))
    adopt(model)
    inputs = keras_private.known_inputs(model)
    if inputs and inputs[0].shape[0] is None:
        for each in layers:
            if isinstance(each, StatefulLayer):
                keras_private.change_built_shapes(
                    each, lambda shape: with_rows(shape, None, over=True)
                )
    return model


def _legato_class(keras_cls: type) -> type:
    """legato's class for a Keras model class, or for a user's subclass of one."""
    if keras_cls not in _LEGATO_CLASSES:
        kinds = (keras_private.Functional, keras.Sequential, keras.Model)
        kind = next(each for each in kinds if issubclass(keras_cls, each))
        names = {"__module__": keras_cls.__module__, "__qualname__": keras_cls.__qualname__}
        cls = type(keras_cls.__name__, (keras_cls, _LEGATO_CLASSES[kind]), names)
        register_model_class(cls, keras_cls)
    return _LEGATO_CLASSES[keras_cls]
