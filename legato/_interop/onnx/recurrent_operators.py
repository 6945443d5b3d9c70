"""Recurrent layers as the LSTM, GRU and RNN operators of ONNX, their state in and out.

The cells are Keras's LSTMCell, GRUCell and SimpleRNNCell, alone or stacked; a subclass may give its
own initial state, but not its own ``call``. ONNX orders the gates of an LSTM i, o, f, c where Keras
has i, f, c, o; a GRU's are z, r, h in both. A stack of cells is one operator after another.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

from legato import layers
from legato._interop.onnx.layer_operators import activation_name
from legato._interop.onnx.masked_steps import Steps
from legato._interop.onnx.onnx_graph import OnnxGraph, Value, array, refuse

RECURRENT = (
    *(keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN, keras.layers.RNN),
    *(layers.LSTM, layers.GRU, layers.SimpleRNN, layers.RNN),
)
BIDIRECTIONAL = (keras.layers.Bidirectional, layers.Bidirectional)

# What the recurrent operators call an activation of Keras's: name, alpha, beta.
_INSIDE: dict[str, tuple[str, float | None, float | None]] = {
    "elu": ("Elu", 1.0, None),
    "hard_sigmoid": ("HardSigmoid", 1 / 6, 0.5),
    "leaky_relu": ("LeakyRelu", 0.2, None),
    "linear": ("Affine", 1.0, 0.0),
    "relu": ("Relu", None, None),
    "sigmoid": ("Sigmoid", None, None),
    "softplus": ("Softplus", None, None),
    "softsign": ("Softsign", None, None),
    "tanh": ("Tanh", None, None),
}


class Computed(NamedTuple):
    """How the operators compute a cell.

    Attributes:
        operator: its name.
        order: Keras's places of the gates, in the operator's order.
        activations: of the gates, of what is new, and so on, as the operator takes them.
        attributes: what else it is told.
    """

    operator: str
    order: tuple[int, ...]
    activations: list[Callable]
    attributes: dict[str, Any]


def _lstm(cell) -> Computed:
    i, f, c, o = range(4)
    inner = [cell.recurrent_activation, cell.activation, cell.activation]
    return Computed("LSTM", (i, o, f, c), inner, {})


def _gru(cell) -> Computed:
    inner = [cell.recurrent_activation, cell.activation]
    return Computed("GRU", (0, 1, 2), inner, {"linear_before_reset": int(cell.reset_after)})


def _simple(cell) -> Computed:
    return Computed("RNN", (0,), [cell.activation], {})


_CELLS: dict[type, Callable[..., Computed]] = {
    keras.layers.LSTMCell: _lstm,
    keras.layers.GRUCell: _gru,
    keras.layers.SimpleRNNCell: _simple,
}


def cells_of(layer) -> list:
    """The cells of a recurrent layer, the first one first."""
    stacked = type(layer.cell) is keras.layers.StackedRNNCells
    return list(layer.cell.cells) if stacked else [layer.cell]


def initial_state(layer) -> list[np.ndarray]:
    """What one row of a layer starts from: arrays of shape (1, units)."""
    return [array(part) for part in keras.tree.flatten(layer.get_initial_state(1))]


def recurrent(
    graph: OnnxGraph, layer, x: Value, states: list[str]
) -> tuple[Value | list[Value], list[str]]:
    """A recurrent layer.

    Args:
        graph: where its operators are added.
        layer: one of ``RECURRENT``.
        x: its input, (rows, time steps, features).
        states: the state it starts from, each (rows, units).

    Returns:
        What the layer returns, and the state it ends in.

    Raises:
        UnsupportedError: a cell or an activation the operators cannot compute.
    """
    if x.mask is not None and layer.unroll:
        raise refuse(layer, "it is unrolled and a mask reaches it")
    sequence, mask = x.name, x.mask
    if layer.go_backwards:
        sequence = graph.flipped(sequence)
        mask = None if mask is None else graph.flipped(mask)
    steps = None if mask is None else Steps(graph, mask)
    if steps is not None:
        sequence = steps.to_the_front(sequence)
    outputs, ended = _through_cells(graph, layer, sequence, states, steps)
    last, last_start = _outputs_of_last_cell(layer, ended), _outputs_of_last_cell(layer, states)
    if layer.return_sequences:
        outputs = graph.add("Transpose", outputs, perm=[1, 0, 2])
        if steps is not None:
            outputs = steps.back_in_place(outputs, last_start, layer.zero_output_for_mask)
    elif steps is not None and layer.zero_output_for_mask:
        outputs = graph.add("Where", steps.last, last, 0.0)
    else:
        outputs = last
    output = Value(outputs, x.mask if layer.return_sequences else None)
    return [output, *map(Value, ended)] if layer.return_state else output, ended


def _through_cells(graph: OnnxGraph, layer, sequence: str, states: list[str], steps: Steps | None):
    """The outputs of the last cell, (time steps, rows, units), and the states of all at the end."""
    x = graph.add("Transpose", sequence, perm=[1, 0, 2])
    ended, rest = [], list(states)
    for cell in cells_of(layer):
        parts = 2 if isinstance(cell, keras.layers.LSTMCell) else 1
        started, rest = rest[:parts], rest[parts:]
        x, after = _one_cell(graph, layer, cell, x, started, steps)
        if steps is not None:
            after = [steps.moved(*each) for each in zip(started, after, strict=True)]
        ended += after
    return x, ended


def _one_cell(graph: OnnxGraph, layer, cell, x: str, states: list[str], steps: Steps | None):
    """One operator: its outputs (time steps, rows, units) and its states (rows, units)."""
    operator, order, activations, attributes = _computed(layer, cell)
    weights = [
        graph.constant(_gates(array(weight), order), f"{cell.path}.{name}")
        for name, weight in (("kernel", cell.kernel), ("recurrent_kernel", cell.recurrent_kernel))
    ]
    y, *ended = graph.add_several(
        1 + len(states),
        operator,
        x,
        *weights,
        graph.constant(_bias(cell, order), f"{cell.path}.bias") if cell.use_bias else "",
        "" if steps is None else steps.lengths,
        *[graph.add("Unsqueeze", state, [0]) for state in states],
        hidden_size=cell.units,
        **_activations(layer, activations),
        **attributes,
    )
    return graph.add("Squeeze", y, [1]), [graph.add("Squeeze", each, [0]) for each in ended]


def _computed(layer, cell) -> Computed:
    """How a cell of a layer is computed.

    Raises:
        UnsupportedError: it is none of the cells that ONNX knows.
    """
    if cell.compute_dtype != "float32":
        raise refuse(layer, f"it computes in {cell.compute_dtype}, not in float32")
    for known, computed in _CELLS.items():
        if isinstance(cell, known) and type(cell).call is known.call:
            return computed(cell)
    raise refuse(
        layer,
        f"its cell {type(cell).__name__} has a call of its own, and ONNX has operators for "
        f"{', '.join(known.__name__ for known in _CELLS)} only",
    )


def _gates(kernel: np.ndarray, order) -> np.ndarray:
    """A kernel (features, gates · units) as the operators have it: (1, gates · units, features)."""
    return _ordered(kernel, order).T[np.newaxis]


def _bias(cell, order) -> np.ndarray:
    """The biases of the input and of the recurrent kernel, (1, 2 · gates · units)."""
    bias = array(cell.bias)
    both = bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)])
    return _ordered(both, order).reshape(1, -1)


def _ordered(weight: np.ndarray, order) -> np.ndarray:
    gates = np.split(weight, len(order), axis=-1)
    return np.concatenate([gates[each] for each in order], axis=-1)


def _activations(layer, functions: list) -> dict[str, Any]:
    """The attributes that name an operator's activations and their parameters."""
    names = [activation_name(layer, function) for function in functions]
    for name in names:
        if name not in _INSIDE:
            raise refuse(layer, f"its activation {name} is none of {', '.join(_INSIDE)}")
    given, alphas, betas = zip(*[_INSIDE[name] for name in names], strict=True)
    attributes: dict[str, Any] = {"activations": list(given)}
    for name, values in (("activation_alpha", alphas), ("activation_beta", betas)):
        attributes[name] = [each for each in values if each is not None]
    return {name: values for name, values in attributes.items() if values}


def _outputs_of_last_cell(layer, states: list[str]) -> str:
    """The part of a state that the last cell put out: its h."""
    last = cells_of(layer)[-1]
    return states[-2 if isinstance(last, keras.layers.LSTMCell) else -1]
