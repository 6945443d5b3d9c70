"""Every layer of ``keras.layers``; the recurrent ones carry their state as legato's contract says.

The recurrent ones are defined in ``legato/_recurrent/stateful_layers.py``; everything else is
``keras.layers`` itself, under the same name.
"""

from typing import TYPE_CHECKING

import keras

from legato._recurrent.stateful_layers import (  # noqa: F401  offered to users
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    ConvLSTM1D,
    ConvLSTM2D,
    ConvLSTM3D,
    SimpleRNN,
    adopt,
)

if TYPE_CHECKING:
    from keras.layers import *  # noqa: F403


def __getattr__(name: str):
    return getattr(keras.layers, name)


def __dir__() -> list[str]:
    return sorted({*dir(keras.layers), "adopt"})
