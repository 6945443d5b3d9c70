"""Converts Keras's activation functions to ONNX operators."""

import math
from collections.abc import Callable

import keras

from legato._interop.onnx.onnx_graph import OnnxGraph, unsupported


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
