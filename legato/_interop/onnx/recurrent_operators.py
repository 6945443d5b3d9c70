"""Converts recurrent layers to the LSTM, GRU and RNN operators of ONNX, with state in and out.

The cells are Keras's LSTMCell, GRUCell and SimpleRNNCell, alone or stacked; a subclass may have its
own initial state, but not its own ``call``. The gates of an LSTM are in the order i, o, f, c in
ONNX and i, f, c, o in Keras; those of a GRU are z, r, h in both. Stacked cells become one operator
after another.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

from legato import layers
from legato._interop.onnx.activation_operators import activation_name
from legato._interop.onnx.masked_steps import MaskedSteps
from legato._interop.onnx.onnx_graph import OnnxGraph, OnnxTensor, unsupported, weight_array

RECURRENT = (
    *(keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN, keras.layers.RNN),
    *(layers.LSTM, layers.GRU, layers.SimpleRNN, layers.RNN),
)
BIDIRECTIONAL = (keras.layers.Bidirectional, layers.Bidirectional)

# Keras's activation → its name in the recurrent operators, alpha, beta.
_ACTIVATIONS: dict[str, tuple[str, float | None, float | None]] = {
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


class OperatorSpec(NamedTuple):
    """The operator that computes a cell.

    Attributes:
        operator: the operator's name.
        order: Keras's indices of the gates, in the operator's order.
        activations: Keras's activation functions, in the operator's order: that of the gates first.
        attributes: other attributes of the operator.
    """

    operator: str
    order: tuple[int, ...]
    activations: list[Callable]
    attributes: dict[str, Any]


def _lstm(cell) -> OperatorSpec:
    i, f, c, o = range(4)
    inner = [cell.recurrent_activation, cell.activation, cell.activation]
    return OperatorSpec("LSTM", (i, o, f, c), inner, {})


def _gru(cell) -> OperatorSpec:
    inner = [cell.recurrent_activation, cell.activation]
    return OperatorSpec("GRU", (0, 1, 2), inner, {"linear_before_reset": int(cell.reset_after)})


def _simple_rnn(cell) -> OperatorSpec:
    return OperatorSpec("RNN", (0,), [cell.activation], {})


_CELLS: dict[type, Callable[..., OperatorSpec]] = {
    keras.layers.LSTMCell: _lstm,
    keras.layers.GRUCell: _gru,
    keras.layers.SimpleRNNCell: _simple_rnn,
}


def cells_of(layer) -> list:
    """The cells of a recurrent layer, in order."""
    stacked = type(layer.cell) is keras.layers.StackedRNNCells
    return list(layer.cell.cells) if stacked else [layer.cell]


def initial_state(layer) -> list[np.ndarray]:
    """The initial state of one row of a layer: arrays of shape (1, units)."""
    return [weight_array(part) for part in keras.tree.flatten(layer.get_initial_state(1))]


def add_recurrent(
    graph: OnnxGraph, layer, x: OnnxTensor, states: list[str]
) -> tuple[OnnxTensor | list[OnnxTensor], list[str]]:
    """Add the operators of a recurrent layer.

    Args:
        graph: the graph that they are added to.
        layer: a layer of a class in ``RECURRENT``.
        x: its input, (rows, time steps, features).
        states: names of its initial state's arrays, each (rows, units).

    Returns:
        The layer's outputs, and the names of its final state's arrays.

    Raises:
        UnsupportedError: a cell or an activation that the operators do not have.
    """
    if x.mask is not None and layer.unroll:
        raise unsupported(layer, "it is unrolled and a mask reaches it")
    sequence, mask = x.name, x.mask
    if layer.go_backwards:
        sequence = graph.flipped(sequence)
        mask = None if mask is None else graph.flipped(mask)
    steps = None if mask is None else MaskedSteps(graph, mask)
    if steps is not None:
        sequence = steps.unmasked_first(sequence)
    outputs, ended = _add_cells(graph, layer, sequence, states, steps)
    last, last_start = _last_output(layer, ended), _last_output(layer, states)
    if layer.return_sequences:
        outputs = graph.add("Transpose", outputs, perm=[1, 0, 2])
        if steps is not None:
            outputs = steps.restore_order(outputs, last_start, layer.zero_output_for_mask)
    elif steps is not None and layer.zero_output_for_mask:
        outputs = graph.add("Where", steps.last, last, 0.0)
    else:
        outputs = last
    output = OnnxTensor(outputs, x.mask if layer.return_sequences else None)
    return [output, *map(OnnxTensor, ended)] if layer.return_state else output, ended


def _add_cells(
    graph: OnnxGraph, layer, sequence: str, states: list[str], steps: MaskedSteps | None
):
    """The outputs of the last cell, (time steps, rows, units), and the final states of all."""
    x = graph.add("Transpose", sequence, perm=[1, 0, 2])
    ended, rest = [], list(states)
    for cell in cells_of(layer):
        parts = 2 if isinstance(cell, keras.layers.LSTMCell) else 1
        started, rest = rest[:parts], rest[parts:]
        x, after = _add_cell(graph, layer, cell, x, started, steps)
        if steps is not None:
            after = [steps.final_state(*each) for each in zip(started, after, strict=True)]
        ended += after
    return x, ended


def _add_cell(graph: OnnxGraph, layer, cell, x: str, states: list[str], steps: MaskedSteps | None):
    """The outputs (time steps, rows, units) and final states (rows, units) of one operator."""
    operator, order, activations, attributes = _operator_spec(layer, cell)
    weights = [
        graph.constant(_kernel(weight_array(weight), order), f"{cell.path}.{name}")
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
        **_activation_attributes(layer, activations),
        **attributes,
    )
    return graph.add("Squeeze", y, [1]), [graph.add("Squeeze", each, [0]) for each in ended]


def _operator_spec(layer, cell) -> OperatorSpec:
    """The operator of a layer's cell.

    Raises:
        UnsupportedError: ONNX has no operator for it.
    """
    if cell.compute_dtype != "float32":
        raise unsupported(layer, f"it computes in {cell.compute_dtype}, not in float32")
    for known, computed in _CELLS.items():
        if isinstance(cell, known) and type(cell).call is known.call:
            return computed(cell)
    raise unsupported(
        layer,
        f"its cell {type(cell).__name__} has a call of its own, and ONNX has operators for "
        f"{', '.join(known.__name__ for known in _CELLS)} only",
    )


def _kernel(kernel: np.ndarray, order) -> np.ndarray:
    """A kernel (features, gates · units) as operators take it: (1, gates · units, features)."""
    return _reorder_gates(kernel, order).T[np.newaxis]


def _bias(cell, order) -> np.ndarray:
    """The biases of the input and of the recurrent kernel, (1, 2 · gates · units)."""
    bias = weight_array(cell.bias)
    both = bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)])
    return _reorder_gates(both, order).reshape(1, -1)


def _reorder_gates(weight: np.ndarray, order) -> np.ndarray:
    gates = np.split(weight, len(order), axis=-1)
    return np.concatenate([gates[each] for each in order], axis=-1)


def _activation_attributes(layer, functions: list) -> dict[str, Any]:
    """The attributes that name an operator's activations and their parameters."""
    names = [activation_name(layer, function) for function in functions]
    for name in names:
        if name not in _ACTIVATIONS:
            raise unsupported(layer, f"its activation {name} is none of {', '.join(_ACTIVATIONS)}")
    onnx_names, alphas, betas = zip(*[_ACTIVATIONS[name] for name in names], strict=True)
    attributes: dict[str, Any] = {"activations": list(onnx_names)}
    for name, values in (("activation_alpha", alphas), ("activation_beta", betas)):
        attributes[name] = [each for each in values if each is not None]
    return {name: values for name, values in attributes.items() if values}


def _last_output(layer, states: list[str]) -> str:
    """The array of a state that is the last cell's output, h."""
    last = cells_of(layer)[-1]
    return states[-2 if isinstance(last, keras.layers.LSTMCell) else -1]
