"""A model as an ONNX file whose recurrent state is an input and an output, by name.

ONNX has no memory between runs, so nothing in the file hides any: each state array of each
recurrent layer goes in under a name and comes out under that name with ``.next``, whether the model
was trained stateful or not. The graph is written here, with the operators ONNX has for recurrent
layers. A converter of JAX programs, jax2onnx, was tried in their place: it knows any layer and any
cell, but it brings some forty packages, puts its own functions into JAX's modules while it traces,
and makes of a recurrent layer a loop of small operators where every runtime has one for the whole.
Keras's own ``model.export`` goes through TensorFlow and hides the state.

Limits: functional and Sequential models of the layers in ``layer_operators`` and
``recurrent_operators``, computed in float32, under the 2 GB of an ONNX file; anything else is
refused by name. A layer that runs backwards starts every run fresh, and so has no state to hand on.
With a mask, the state is right in runtimes that heed ``sequence_lens``, as ONNX Runtime does.
"""

import os
from pathlib import Path

import keras
import numpy as np

from legato._errors import InputError, MissingError, OutputError
from legato._platform.atomic_files import write_whole


def export_onnx(model, path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Write a model for ONNX runtimes, with its recurrent state as named inputs and outputs.

    The inputs are the model's own, by name, and ``"lstm:0"``, ``"lstm:1"``, … for the state of
    layer ``lstm``: the paths of ``model.states`` with the place of the array, each (rows, units).
    The outputs are the model's own, by the names of the layers that make them, and, in the order of
    the state inputs, ``"lstm:0.next"``, …. Any number of rows fits, and any number of time steps
    where the model's layers allow it. A layer that is given its ``initial_state=`` in the model
    starts there and has no state of its own.

    Args:
        model: a functional or Sequential model, built; legato's or plain Keras's. What it
            remembers now is not written.
        path: the file, whose folder must exist. An old one is replaced whole or not at all.

    Returns:
        What to feed as the first state of one row: input name → array (1, units), float32. The file
        holds the same as JSON in its metadata, under ``"initial_states"``.

    Raises:
        InputError: not a Keras model, or one that is not built.
        UnsupportedError: a layer that cannot be written as ONNX, by name.
        MissingError: the package onnx is not installed.
        OutputError: the folder is missing or cannot be written.

    Example:
        >>> import legato
        >>> layers = [legato.layers.Input((None, 3)), legato.layers.LSTM(2, name="memory")]
        >>> first = legato.export_onnx(legato.Sequential(layers), "model.onnx")
        >>> {name: state.shape for name, state in first.items()}
        {'memory:0': (1, 2), 'memory:1': (1, 2)}
    """
    _check(model, path)
    try:
        from legato._interop.onnx.onnx_export import OnnxExport
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise MissingError(
            "ONNX files are written with the package onnx, which is not installed: "
            'pip install "legato[onnx]".'
        ) from error
    export = OnnxExport(model)
    content = export.made().SerializeToString()
    write_whole(path, lambda file: file.write_bytes(content))
    return export.initial_states


def _check(model, path: str | os.PathLike) -> None:
    """Refuse what is not a built model, and a folder in the place of a file."""
    if not isinstance(model, keras.Model):
        raise InputError(
            f"A Keras model was expected, and {type(model).__name__} came. Put layers into a "
            "legato.Sequential or legato.Model first."
        )
    if not model.built:
        raise InputError(
            f"Model {model.name!r} is not built yet, so it has no weights to write: begin it with "
            "an Input, or run it once."
        )
    if Path(path).is_dir():
        raise OutputError(f"{path} is a folder. Name the file, for instance {path}/model.onnx.")
