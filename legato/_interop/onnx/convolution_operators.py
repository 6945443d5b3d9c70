"""Converts convolutions and pooling, over time or over images, to ONNX operators.

ONNX has the channels before the places, Keras by default behind them.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from legato._interop.onnx.activation_operators import activated
from legato._interop.onnx.onnx_graph import OnnxGraph, weight_array

_AUTO_PAD = {"valid": "VALID", "same": "SAME_UPPER"}


def add_convolution(graph: OnnxGraph, layer, x: str) -> str:
    """A convolution with its bias and activation."""
    places = layer.rank
    kernel = weight_array(layer.kernel)  # (*sizes, channels, filters)
    inputs = [np.moveaxis(kernel, (-1, -2), (0, 1))]
    if layer.use_bias:
        inputs.append(weight_array(layer.bias))
    pads: dict[str, Any] = {"auto_pad": _AUTO_PAD.get(layer.padding)}
    if layer.padding == "causal" or (layer.padding == "same" and max(layer.strides) == 1):
        # ONNX Runtime has no SAME_UPPER of a dilated kernel.
        beyond = np.multiply(layer.dilation_rate, np.subtract(layer.kernel_size, 1))
        before = beyond if layer.padding == "causal" else beyond // 2
        pads = {"pads": [*before, *(beyond - before)]}
    y = _channels_first(
        graph,
        layer,
        x,
        places,
        lambda x: graph.add(
            "Conv",
            x,
            *inputs,
            strides=layer.strides,
            dilations=layer.dilation_rate,
            group=layer.groups,
            **pads,
        ),
    )
    return y if layer.activation is None else activated(graph, layer, y)


def add_pooling(graph: OnnxGraph, layer, x: str) -> str:
    """The largest value, or the mean without padding, of each window."""
    operator = {"max": "MaxPool", "average": "AveragePool"}[layer.pool_mode]
    options = {"kernel_shape": layer.pool_size, "strides": layer.strides}
    pad = _AUTO_PAD[layer.padding]
    return _channels_first(
        graph,
        layer,
        x,
        len(layer.pool_size),
        lambda x: graph.add(operator, x, auto_pad=pad, **options),
    )


def add_global_pooling(graph: OnnxGraph, layer, x: str) -> str:
    """The largest value, or the mean, over all places."""
    means = (keras.layers.GlobalAveragePooling1D, keras.layers.GlobalAveragePooling2D)
    operator = "ReduceMean" if isinstance(layer, means) else "ReduceMax"
    first = 1 if layer.data_format == "channels_last" else 2
    spec: Any = layer.input_spec
    axes = list(range(first, first + spec.ndim - 2))
    return graph.add(operator, x, axes=axes, keepdims=int(layer.keepdims))


def add_masked_mean(graph: OnnxGraph, layer, x: str, mask: str) -> str:
    """The mean over the time steps that are not masked."""
    axis = 1 if layer.data_format == "channels_last" else 2
    kept = graph.add("Unsqueeze", mask, [3 - axis])
    total, count = (
        graph.add("ReduceSum", each, [axis], keepdims=int(layer.keepdims))
        for each in (graph.add("Where", kept, x, 0.0), graph.cast(kept, "float32"))
    )
    return graph.add("Div", total, count)


def _channels_first(
    graph: OnnxGraph, layer, x: str, places: int, operator: Callable[[str], str]
) -> str:
    """An operator that takes the channels first, on the input of a layer."""
    if layer.data_format == "channels_first":
        return operator(x)
    inner = list(range(1, places + 1))
    x = graph.add("Transpose", x, perm=[0, places + 1, *inner])
    return graph.add("Transpose", operator(x), perm=[0, *[each + 1 for each in inner], 1])
