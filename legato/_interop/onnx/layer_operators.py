"""Converts Keras layers without state to ONNX operators.

``LAYER_OPERATORS`` has one line per layer: a function of the graph, the layer and the names of its
inputs that adds operators and returns the output's name. To support a layer, add its line, and a
case to ``tests/interop/test_layer_operators.py``. Layers that do nothing in inference (dropout,
noise) add no operator.
"""

from collections.abc import Callable
from functools import reduce

import keras
import numpy as np

from legato._interop.onnx.activation_operators import activated
from legato._interop.onnx.attention_operators import add_attention, add_multi_head_attention
from legato._interop.onnx.convolution_operators import (
    add_convolution,
    add_global_pooling,
    add_pooling,
)
from legato._interop.onnx.onnx_graph import OnnxGraph, unsupported, weight_array


def _dense(graph: OnnxGraph, layer, x: str) -> str:
    if layer.quantization_mode is not None:
        raise unsupported(layer, f"it is quantized ({layer.quantization_mode})")
    x = graph.add("MatMul", x, graph.constant(weight_array(layer.kernel), f"{layer.name}.kernel"))
    if layer.use_bias:
        x = graph.add("Add", x, graph.constant(weight_array(layer.bias), f"{layer.name}.bias"))
    return activated(graph, layer, x)


def _embedding(graph: OnnxGraph, layer, x: str) -> str:
    if layer.quantization_mode is not None:
        raise unsupported(layer, f"it is quantized ({layer.quantization_mode})")
    table = graph.constant(weight_array(layer.embeddings), f"{layer.name}.embeddings")
    return graph.add("Gather", table, graph.cast(x, "int64"))


def _layer_normalization(graph: OnnxGraph, layer, x: str) -> str:
    size = _last_axis(layer)
    if layer.rms_scaling:
        raise unsupported(layer, "it scales by the root mean square")
    scale = weight_array(layer.gamma) if layer.gamma is not None else np.ones(size, "float32")
    shift = weight_array(layer.beta) if layer.beta is not None else np.zeros(size, "float32")
    return graph.add("LayerNormalization", x, scale, shift, axis=-1, epsilon=layer.epsilon)


def _last_axis(layer) -> int:
    """The size of the last axis, which must be the one that is normalized."""
    shape = layer.get_build_config()["input_shape"]
    axis = layer.axis if isinstance(layer.axis, int) else tuple(layer.axis)
    if axis not in (-1, len(shape) - 1, (-1,), (len(shape) - 1,)):
        raise unsupported(layer, f"it normalizes axis {layer.axis}, not the last one alone")
    return shape[-1]


def _batch_normalization(graph: OnnxGraph, layer, x: str) -> str:
    """In inference, with the moving mean and variance: one factor and one term per feature."""
    _last_axis(layer)
    factor = 1 / np.sqrt(weight_array(layer.moving_variance) + np.float32(layer.epsilon))
    if layer.scale:
        factor = factor * weight_array(layer.gamma)
    term = -weight_array(layer.moving_mean) * factor
    if layer.center:
        term = term + weight_array(layer.beta)
    return graph.add("Add", graph.add("Mul", x, factor), term)


def _normalization(graph: OnnxGraph, layer, x: str) -> str:
    mean, variance = weight_array(layer.mean), weight_array(layer.variance)
    if mean.size not in (1, mean.shape[-1]):
        raise unsupported(layer, f"it normalizes axis {layer.axis}, not the last one alone")
    spread = np.maximum(np.sqrt(variance), np.float32(keras.backend.epsilon()))
    if layer.invert:
        return graph.add("Add", graph.add("Mul", x, spread), mean)
    return graph.add("Div", graph.add("Sub", x, mean), spread)


def _discretization(graph: OnnxGraph, layer, x: str) -> str:
    """The number of boundaries that are not above a value."""
    if layer.output_mode != "int":
        raise unsupported(layer, f"its output_mode is {layer.output_mode!r}, not 'int'")
    bounds = np.asarray(layer.bin_boundaries, "float32")
    passed = graph.add("GreaterOrEqual", graph.add("Unsqueeze", x, [-1]), bounds)
    return graph.add("ReduceSum", graph.cast(passed, "int32"), [-1], keepdims=0)


def _relu(graph: OnnxGraph, layer, x: str) -> str:
    if layer.threshold or layer.negative_slope:
        raise unsupported(layer, "it has a threshold or a negative slope")
    x = graph.add("Relu", x)
    return x if layer.max_value is None else graph.add("Min", x, float(layer.max_value))


def _concatenate(graph: OnnxGraph, layer, *xs: str) -> str:
    return graph.add("Concat", *xs, axis=layer.axis)


def _reduced(operator: str) -> Callable:
    """A layer that combines all its inputs by a binary operator."""
    return lambda graph, layer, *xs: reduce(lambda x, y: graph.add(operator, x, y), xs)


def _rms_normalization(graph: OnnxGraph, layer, x: str) -> str:
    _last_axis(layer)
    square = graph.add("ReduceMean", graph.add("Mul", x, x), axes=[-1], keepdims=1)
    size = graph.add("Sqrt", graph.add("Add", square, float(layer.epsilon)))
    return graph.add("Mul", graph.add("Div", x, size), weight_array(layer.scale))


def _zero_padding(graph: OnnxGraph, layer, x: str) -> str:
    before, after = layer.padding
    pads = [0, before, 0, 0, after, 0]
    return graph.add("Pad", x, pads if layer.data_format == "channels_last" else np.roll(pads, 1))


def _cropping(graph: OnnxGraph, layer, x: str) -> str:
    before, after = layer.cropping
    return graph.add("Slice", x, [before], [-after or np.iinfo(np.int64).max], [1])


def _up_sampling(graph: OnnxGraph, layer, x: str) -> str:
    features = layer.get_build_config()["input_shape"][-1]
    repeated = graph.add("Tile", graph.add("Unsqueeze", x, [2]), [1, 1, layer.size, 1])
    return graph.add("Reshape", repeated, [0, -1, features])


def _repeat_vector(graph: OnnxGraph, layer, x: str) -> str:
    return graph.add("Tile", graph.add("Unsqueeze", x, [1]), [1, layer.n, 1])


INFERENCE_IDENTITIES = (
    keras.layers.ActivityRegularization,
    keras.layers.AlphaDropout,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.Identity,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
)

LAYER_OPERATORS: dict[type, Callable[..., str]] = {
    **dict.fromkeys(INFERENCE_IDENTITIES, lambda graph, layer, x: x),
    keras.layers.Activation: activated,
    keras.layers.Add: _reduced("Add"),
    keras.layers.AdditiveAttention: add_attention,
    keras.layers.Attention: add_attention,
    keras.layers.Average: lambda graph, layer, *xs: graph.add("Mean", *xs),
    keras.layers.AveragePooling1D: add_pooling,
    keras.layers.AveragePooling2D: add_pooling,
    keras.layers.BatchNormalization: _batch_normalization,
    keras.layers.Concatenate: _concatenate,
    keras.layers.Conv1D: add_convolution,
    keras.layers.Conv2D: add_convolution,
    keras.layers.Cropping1D: _cropping,
    keras.layers.Dense: _dense,
    keras.layers.Discretization: _discretization,
    keras.layers.ELU: lambda graph, layer, x: graph.add("Elu", x, alpha=float(layer.alpha)),
    keras.layers.Embedding: _embedding,
    keras.layers.Flatten: lambda graph, layer, x: graph.add("Flatten", x, axis=1),
    keras.layers.GlobalAveragePooling1D: add_global_pooling,
    keras.layers.GlobalAveragePooling2D: add_global_pooling,
    keras.layers.GlobalMaxPooling1D: add_global_pooling,
    keras.layers.GlobalMaxPooling2D: add_global_pooling,
    keras.layers.LayerNormalization: _layer_normalization,
    keras.layers.LeakyReLU: lambda graph, layer, x: graph.add(
        "LeakyRelu", x, alpha=float(layer.negative_slope)
    ),
    keras.layers.MaxPooling1D: add_pooling,
    keras.layers.MaxPooling2D: add_pooling,
    keras.layers.Maximum: _reduced("Max"),
    keras.layers.Minimum: _reduced("Min"),
    keras.layers.MultiHeadAttention: add_multi_head_attention,
    keras.layers.Multiply: _reduced("Mul"),
    keras.layers.Normalization: _normalization,
    keras.layers.Permute: lambda graph, layer, x: graph.add("Transpose", x, perm=[0, *layer.dims]),
    keras.layers.RMSNormalization: _rms_normalization,
    keras.layers.ReLU: _relu,
    keras.layers.RepeatVector: _repeat_vector,
    # 0 leaves the rows as they are.
    keras.layers.Reshape: lambda graph, layer, x: graph.add("Reshape", x, [0, *layer.target_shape]),
    keras.layers.Rescaling: lambda graph, layer, x: graph.add(
        "Add", graph.add("Mul", x, float(layer.scale)), float(layer.offset)
    ),
    keras.layers.Softmax: lambda graph, layer, x: graph.add("Softmax", x, axis=layer.axis),
    keras.layers.Subtract: _reduced("Sub"),
    keras.layers.UpSampling1D: _up_sampling,
    keras.layers.ZeroPadding1D: _zero_padding,
}
