"""Exports a model to an ONNX file whose recurrent state is a named input and output.

ONNX models keep nothing between runs, so each state array of each recurrent layer is an input, and
an output of the same name with ``.next``, whether the model was trained stateful or not. The graph
is built from ONNX's own operators for recurrent layers. The converter jax2onnx was tried instead:
it takes any layer and any cell, but it needs some forty packages, patches JAX's modules while it
traces, and turns a recurrent layer into a loop of small operators where every runtime has one for
the whole. Keras's own ``model.export`` goes through TensorFlow and hides the state.

Limits: functional and Sequential models of the layers in ``layer_operators`` and
``recurrent_operators`` and the operations in ``graph_operations``, computed in float32, below
ONNX's 2 GB per file; anything else is refused by name. A layer that runs backwards starts every run
from its initial state, and has no state input; nor has one that is not stateful behind operations
that choose or move time steps, such as the last steps of a window. With a mask, the state is right
in runtimes that honour ``sequence_lens``, such as ONNX Runtime.
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
    layer ``lstm``: the layer's path in ``model.states`` and the number of the array, each (rows,
    units). The outputs are the model's own, by the names of their layers, and, in the order of the
    state inputs, ``"lstm:0.next"``, …. Any number of rows fits, and any number of time steps where
    the model's layers allow it. A layer that gets ``initial_state=`` in the model starts from that
    and has no state input; one that reads backwards, or is not stateful and sees other time steps
    than the model (a window of them, say), starts every run from its initial state.

    Args:
        model: a built functional or Sequential model, legato's or plain Keras's; of what
            ``legato.train`` returns, its ``model``. Its present state is not written.
        path: path of the file, in an existing folder. An existing file is replaced whole or not at
            all.

    Returns:
        The initial state of one row, name of each state input → array (1, units), float32. The file
        has the same as JSON in its metadata, under ``"initial_states"``.

    Raises:
        InputError: not a Keras model, or one that is not built.
        UnsupportedError: a layer that cannot be written as ONNX, by name.
        MissingError: the package onnx is not installed.
        OutputError: the folder is missing or cannot be written.

    Examples:
        >>> import legato
        >>> layers = [legato.layers.Input((None, 3)), legato.layers.LSTM(2, name="memory")]
        >>> first = legato.export_onnx(legato.Sequential(layers), "model.onnx")
        >>> {name: state.shape for name, state in first.items()}
        {'memory:0': (1, 2), 'memory:1': (1, 2)}
    """
    _check_arguments(model, path)
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
    content = export.to_proto().SerializeToString()
    write_whole(path, lambda file: file.write_bytes(content))
    return export.initial_states


def _check_arguments(model, path: str | os.PathLike) -> None:
    """Refuse anything but a built model, and a path that is a folder."""
    if isinstance(getattr(model, "model", None), keras.Model):
        raise InputError(
            f"A Keras model was expected, and {type(model).__name__} came. It has one: give its "
            ".model."
        )
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
