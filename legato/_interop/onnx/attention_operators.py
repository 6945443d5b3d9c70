"""Converts attention to ONNX operators: every time step looks at all time steps of the run."""

import math

import keras

from legato._interop.onnx.onnx_graph import OnnxGraph, unsupported, weight_array


def add_attention(graph: OnnxGraph, layer, query: str, value: str, key: str | None = None) -> str:
    """Attention by products, or by sums as Bahdanau's, of (rows, time steps, features)."""
    key = key or value
    if isinstance(layer, keras.layers.AdditiveAttention):
        both = graph.add(
            "Add", graph.add("Unsqueeze", query, [2]), graph.add("Unsqueeze", key, [1])
        )
        scores = graph.add("Tanh", both)
        if layer.scale is not None:
            scores = graph.add("Mul", scores, weight_array(layer.scale))
        scores = graph.add("ReduceSum", scores, [-1], keepdims=0)
    elif layer.score_mode == "dot":
        scores = graph.add("MatMul", query, graph.add("Transpose", key, perm=[0, 2, 1]))
        if layer.scale is not None:
            scores = graph.add("Mul", scores, weight_array(layer.scale))
    else:
        raise unsupported(layer, f"its score_mode is {layer.score_mode!r}, not 'dot'")
    return graph.add("MatMul", graph.add("Softmax", scores, axis=-1), value)


def add_multi_head_attention(
    graph: OnnxGraph, layer, query: str, value: str, key: str | None = None
) -> str:
    """Attention by products of projections: rows b, time steps t and s, features d, heads h."""
    config = layer.get_config()
    if (
        config.get("use_gate")
        or config.get("sliding_window")
        or layer.output_dense.kernel.ndim != 3
    ):
        raise unsupported(layer, "it has a gate, a sliding window, or more axes than one of steps")

    def projected(dense, x: str, equation: str) -> str:
        y = graph.add("Einsum", x, weight_array(dense.kernel), equation=equation)
        return y if dense.bias is None else graph.add("Add", y, weight_array(dense.bias))

    q = projected(layer.query_dense, query, "btd,dhk->bthk")
    k = projected(layer.key_dense, key or value, "bsd,dhk->bshk")
    v = projected(layer.value_dense, value, "bsd,dhk->bshk")
    q = graph.add("Mul", q, 1 / math.sqrt(layer.key_dim))
    weights = graph.add("Softmax", graph.add("Einsum", q, k, equation="bthk,bshk->bhts"), axis=-1)
    seen = graph.add("Einsum", weights, v, equation="bhts,bshk->bthk")
    return projected(layer.output_dense, seen, "bthk,hkd->btd")
