"""Converts Keras layers without state, and activations, to ONNX operators.

``LAYER_OPERATORS`` has one line per layer: a function of the graph, the layer and the names of its
inputs that adds operators and returns the output's name. To support a layer, add its line, and a
case to ``tests/interop/test_onnx_export.py``. Layers that do nothing in inference (dropout, noise)
add no operator.
"""

import math
from collections.abc import Callable
from functools import reduce

import keras
import numpy as np
from onnx import TensorProto

from legato._interop.onnx.onnx_graph import OnnxGraph, unsupported, weight_array


def _gelu(graph: OnnxGraph, x: str) -> str:
    """x Φ(x), with Φ by the error function."""
    share = graph.add("Add", graph.add("Erf", graph.add("Mul", x, math.sqrt(0.5))), 1.0)
    return graph.add("Mul", graph.add("Mul", x, share), 0.5)


# Activations by Keras's name, each a function of the graph and the name of its input.
ACTIVATIONS: dict[str, Callable[[OnnxGraph, str], str]] = {
    "linear": lambda graph, x: x,
    "relu": lambda graph, x: graph.add("Relu", x),
    "relu6": lambda graph, x: graph.add("Clip", x, 0.0, 6.0),
    "leaky_relu": lambda graph, x: graph.add("LeakyRelu", x, alpha=0.2),
    "elu": lambda graph, x: graph.add("Elu", x),
    "selu": lambda graph, x: graph.add("Selu", x),
    "celu": lambda graph, x: graph.add("Celu", x),
    "sigmoid": lambda graph, x: graph.add("Sigmoid", x),
    "hard_sigmoid": lambda graph, x: graph.add("HardSigmoid", x, alpha=1 / 6, beta=0.5),
    "log_sigmoid": lambda graph, x: graph.add("Log", graph.add("Sigmoid", x)),
    "tanh": lambda graph, x: graph.add("Tanh", x),
    "hard_tanh": lambda graph, x: graph.add("Clip", x, -1.0, 1.0),
    "softplus": lambda graph, x: graph.add("Softplus", x),
    "softsign": lambda graph, x: graph.add("Softsign", x),
    "softmax": lambda graph, x: graph.add("Softmax", x, axis=-1),
    "log_softmax": lambda graph, x: graph.add("LogSoftmax", x, axis=-1),
    "exponential": lambda graph, x: graph.add("Exp", x),
    "silu": lambda graph, x: graph.add("Mul", x, graph.add("Sigmoid", x)),
    "hard_silu": lambda graph, x: graph.add("HardSwish", x),
    "mish": lambda graph, x: graph.add("Mul", x, graph.add("Tanh", graph.add("Softplus", x))),
    "gelu": _gelu,
}


def activation_name(layer, function) -> str:
    """Keras's name of an activation function.

    Raises:
        UnsupportedError: it is not one of Keras's own.
    """
    name = getattr(function, "__name__", type(function).__name__)
    if getattr(keras.activations, name, None) is not function:
        raise unsupported(layer, f"its activation {name} is not one of Keras's own")
    return name


def activated(graph: OnnxGraph, layer, x: str) -> str:
    """Add a layer's activation function, and return the output's name."""
    name = activation_name(layer, layer.activation)
    if name not in ACTIVATIONS:
        raise unsupported(layer, f"its activation {name} is none of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name](graph, x)


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
    return graph.add("Gather", table, graph.add("Cast", x, to=7))  # 7: int64


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


def _time_distributed(graph: OnnxGraph, layer, x: str) -> str:
    """The wrapped layer, if it acts on the last axis alone."""
    inner = layer.layer
    if type(inner) not in (keras.layers.Dense, keras.layers.Activation, *INFERENCE_IDENTITIES):
        kind = type(inner).__name__
        raise unsupported(layer, f"it distributes a {kind}, not a Dense or Activation")
    if inner.compute_dtype != "float32":
        raise unsupported(layer, f"it computes in {inner.compute_dtype}, not in float32")
    return LAYER_OPERATORS[type(inner)](graph, inner, x)


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
)

LAYER_OPERATORS: dict[type, Callable[..., str]] = {
    **dict.fromkeys(INFERENCE_IDENTITIES, lambda graph, layer, x: x),
    keras.layers.Activation: activated,
    keras.layers.Add: _reduced("Add"),
    keras.layers.Average: lambda graph, layer, *xs: graph.add("Mean", *xs),
    keras.layers.BatchNormalization: _batch_normalization,
    keras.layers.Concatenate: _concatenate,
    keras.layers.Dense: _dense,
    keras.layers.ELU: lambda graph, layer, x: graph.add("Elu", x, alpha=float(layer.alpha)),
    keras.layers.Embedding: _embedding,
    keras.layers.Flatten: lambda graph, layer, x: graph.add("Flatten", x, axis=1),
    keras.layers.LayerNormalization: _layer_normalization,
    keras.layers.LeakyReLU: lambda graph, layer, x: graph.add(
        "LeakyRelu", x, alpha=float(layer.negative_slope)
    ),
    keras.layers.Maximum: _reduced("Max"),
    keras.layers.Minimum: _reduced("Min"),
    keras.layers.Multiply: _reduced("Mul"),
    keras.layers.Permute: lambda graph, layer, x: graph.add("Transpose", x, perm=[0, *layer.dims]),
    keras.layers.ReLU: _relu,
    keras.layers.RepeatVector: _repeat_vector,
    # 0 leaves the rows as they are.
    keras.layers.Reshape: lambda graph, layer, x: graph.add("Reshape", x, [0, *layer.target_shape]),
    keras.layers.Rescaling: lambda graph, layer, x: graph.add(
        "Add", graph.add("Mul", x, float(layer.scale)), float(layer.offset)
    ),
    keras.layers.Softmax: lambda graph, layer, x: graph.add("Softmax", x, axis=layer.axis),
    keras.layers.Subtract: _reduced("Sub"),
    keras.layers.TimeDistributed: _time_distributed,
}


def _any_true(graph: OnnxGraph, operation, x: str) -> str:
    """Whether any value is true along an axis, which ONNX has no operator for."""
    number = graph.add("Cast", x, to=TensorProto.FLOAT)
    keep = int(operation.keepdims)
    found = graph.add(
        "ReduceMax", number, axes=np.atleast_1d(operation.axis).tolist(), keepdims=keep
    )
    return graph.add("Cast", found, to=TensorProto.BOOL)


# Operations of keras.ops in a functional model, by Keras's name.
OPERATIONS: dict[str, Callable[..., str]] = {
    "Add": lambda graph, operation, x, y: graph.add("Add", x, y),
    "Any": _any_true,
    "Divide": lambda graph, operation, x, y: graph.add("Div", x, y),
    "LogicalOr": lambda graph, operation, x, y: graph.add("Or", x, y),
    "Multiply": lambda graph, operation, x, y: graph.add("Mul", x, y),
    "NotEqual": lambda graph, operation, x, y: graph.add("Not", graph.add("Equal", x, y)),
    "Subtract": lambda graph, operation, x, y: graph.add("Sub", x, y),
    "TrueDivide": lambda graph, operation, x, y: graph.add("Div", x, y),
}
