"""legato: the state of recurrent networks, explicit, correct, fast and portable. Keras 3 on JAX.

Every public name, one path each, loaded on first use: ``import legato`` loads neither Keras nor
JAX, it only settles that Keras will run on JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from legato._backend import choose_jax

__version__ = "0.1.0"

choose_jax()

_HOME = {
    "BackendError": "legato._errors",
    "Column": "legato._sequences",
    "Comparison": "legato._statistics",
    "Explanation": "legato._explaining",
    "Forecast": "legato._forecast",
    "Frames": "legato._framing",
    "Influence": "legato._influence",
    "InputError": "legato._errors",
    "Interval": "legato._statistics",
    "Labelled": "legato._labelled",
    "Lanes": "legato._lanes",
    "LegatoError": "legato._errors",
    "MissingError": "legato._errors",
    "Model": "legato._model",
    "OutputError": "legato._errors",
    "Plan": "legato._learning",
    "Proportion": "legato._statistics",
    "Replicates": "legato._replicates",
    "Sequences": "legato._sequences",
    "Sequential": "legato._model",
    "State": "legato._state",
    "StateError": "legato._errors",
    "Stream": "legato._stream",
    "Streams": "legato._streams",
    "Trace": "legato._trace",
    "Trained": "legato._trained",
    "UnsupportedError": "legato._errors",
    "argmax": "legato._choosing",
    "compare": "legato._statistics",
    "corrected": "legato._statistics",
    "export_onnx": "legato._onnx",
    "frame": "legato._framing",
    "from_torch": "legato._torch",
    "influence": "legato._influence",
    "interval": "legato._statistics",
    "load_model": "legato._loading",
    "plan": "legato._learning",
    "proportion": "legato._statistics",
    "read": "legato._reading",
    "replicate": "legato._replicates",
    "sample": "legato._choosing",
    "to_torch": "legato._torch",
    "train": "legato._learning",
}
_NAMESPACES = ("alphabet", "layers", "report")

__all__ = [
    "BackendError",
    "Column",
    "Comparison",
    "Explanation",
    "Forecast",
    "Frames",
    "Influence",
    "InputError",
    "Interval",
    "Labelled",
    "Lanes",
    "LegatoError",
    "MissingError",
    "Model",
    "OutputError",
    "Plan",
    "Proportion",
    "Replicates",
    "Sequences",
    "Sequential",
    "State",
    "StateError",
    "Stream",
    "Streams",
    "Trace",
    "Trained",
    "UnsupportedError",
    "alphabet",
    "argmax",
    "compare",
    "corrected",
    "export_onnx",
    "frame",
    "from_torch",
    "influence",
    "interval",
    "layers",
    "load_model",
    "plan",
    "proportion",
    "read",
    "replicate",
    "report",
    "sample",
    "to_torch",
    "train",
]

if TYPE_CHECKING:
    from legato import alphabet as alphabet
    from legato import layers as layers
    from legato import report as report
    from legato._choosing import argmax as argmax
    from legato._choosing import sample as sample
    from legato._errors import BackendError as BackendError
    from legato._errors import InputError as InputError
    from legato._errors import LegatoError as LegatoError
    from legato._errors import MissingError as MissingError
    from legato._errors import OutputError as OutputError
    from legato._errors import StateError as StateError
    from legato._errors import UnsupportedError as UnsupportedError
    from legato._explaining import Explanation as Explanation
    from legato._forecast import Forecast as Forecast
    from legato._framing import Frames as Frames
    from legato._framing import frame as frame
    from legato._influence import Influence as Influence
    from legato._influence import influence as influence
    from legato._labelled import Labelled as Labelled
    from legato._lanes import Lanes as Lanes
    from legato._learning import Plan as Plan
    from legato._learning import plan as plan
    from legato._learning import train as train
    from legato._loading import load_model as load_model
    from legato._model import Model as Model
    from legato._model import Sequential as Sequential
    from legato._onnx import export_onnx as export_onnx
    from legato._reading import read as read
    from legato._replicates import Replicates as Replicates
    from legato._replicates import replicate as replicate
    from legato._sequences import Column as Column
    from legato._sequences import Sequences as Sequences
    from legato._state import State as State
    from legato._statistics import Comparison as Comparison
    from legato._statistics import Interval as Interval
    from legato._statistics import Proportion as Proportion
    from legato._statistics import compare as compare
    from legato._statistics import corrected as corrected
    from legato._statistics import interval as interval
    from legato._statistics import proportion as proportion
    from legato._stream import Stream as Stream
    from legato._streams import Streams as Streams
    from legato._torch import from_torch as from_torch
    from legato._torch import to_torch as to_torch
    from legato._trace import Trace as Trace
    from legato._trained import Trained as Trained

else:

    def __getattr__(name: str):
        if name in _HOME:
            value = getattr(import_module(_HOME[name]), name)
        elif name in _NAMESPACES:
            value = import_module(f"legato.{name}")
        else:
            raise AttributeError(f"module 'legato' has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
