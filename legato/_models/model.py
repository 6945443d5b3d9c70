"""``Model`` and ``Sequential``: Keras's models, with recurrent state carried as the contract says.

What they do is ``verbs``'s; here they are put together with Keras's classes.
"""

import keras

from legato._models.saving import stands_for
from legato._models.verbs import KerasVerbs
from legato._platform import keras_private
from legato._platform.backend import set_up_jax
from legato._recurrent.stateful_layers import adopt

set_up_jax()


class Model(KerasVerbs, keras.Model):
    """``keras.Model``, functional or subclassed, with recurrent state that is carried.

    ``Model(inputs, outputs)`` is a functional model; a subclass with a ``call`` of its own is used
    as in Keras. Layers may be plain ``keras.layers`` or ``legato.layers``.

    Example:
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
    """A functional model; what ``legato.Model(inputs, outputs)`` makes."""

    def __init__(self, inputs, outputs, name=None, **kwargs):
        super().__init__(inputs, outputs, name=name, **kwargs)
        adopt(self)


class Sequential(Model, keras.Sequential):
    """``keras.Sequential`` with recurrent state that is carried.

    Args:
        layers: layers in order, plain ``keras.layers`` or ``legato.layers``; none to ``add`` later.
        trainable, name: as in Keras.

    Example:
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
        """Add a layer, as in Keras; ``batch_input_shape=`` of a first layer makes the input."""
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


stands_for(Model, keras.Model)
stands_for(Functional, keras_private.Functional)
stands_for(Sequential, keras.Sequential)


def _is_functional(args: tuple, kwargs: dict) -> bool:
    """Whether the arguments are a functional model's: inputs and outputs."""
    return len(args) == 2 or "outputs" in kwargs


def _inject_functional(cls: type) -> None:
    """Make a user's subclass of ``Model`` a functional one, as Keras does for its own."""
    if Model in cls.__bases__:
        cls.__bases__ = tuple(Functional if base is Model else base for base in cls.__bases__)
    else:
        for base in cls.__bases__:
            if issubclass(base, Model):
                _inject_functional(base)
