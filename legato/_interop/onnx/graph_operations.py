"""Converts operations of ``keras.ops`` in a functional model, such as ``x[:, -1]`` and ``x + 1``.

Three tables name them by Keras's class: ``ELEMENTWISE`` and ``REDUCTIONS`` have the operator of
ONNX, ``OPERATIONS`` functions of the graph, the operation and its arguments, tensors of the graph
or plain values, that add operators and return the output's name. To support an operation, add its
line, and a case to ``tests/interop/test_onnx_operations.py``.
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import keras
import numpy as np

from legato._interop.onnx.onnx_graph import OnnxGraph, OnnxTensor, unsupported

# On inputs of one dtype.
ELEMENTWISE = {
    "Absolute": "Abs",
    "Add": "Add",
    "Divide": "Div",
    "Equal": "Equal",
    "Exp": "Exp",
    "Floor": "Floor",
    "Greater": "Greater",
    "GreaterEqual": "GreaterOrEqual",
    "Less": "Less",
    "LessEqual": "LessOrEqual",
    "Log": "Log",
    "LogicalAnd": "And",
    "LogicalNot": "Not",
    "LogicalOr": "Or",
    "Maximum": "Max",
    "Minimum": "Min",
    "Multiply": "Mul",
    "Negative": "Neg",
    "NotEqual": "Equal",  # and then Not
    "Power": "Pow",
    "Relu": "Relu",
    "Sigmoid": "Sigmoid",
    "Sqrt": "Sqrt",
    "Subtract": "Sub",
    "Tanh": "Tanh",
    "TrueDivide": "Div",
}
REDUCTIONS = {
    "All": "ReduceMin",
    "Any": "ReduceMax",
    "Max": "ReduceMax",
    "Mean": "ReduceMean",
    "Min": "ReduceMin",
    "Sum": "ReduceSum",
}
_ENDS = np.iinfo(np.int64)


def add_operation(graph: OnnxGraph, operation, args: Sequence, kwargs: dict) -> OnnxTensor:
    """Add an operation.

    Args:
        graph: the graph that it is added to.
        operation: an operation of a functional model.
        args, kwargs: what it is called with; tensors are those of the graph.

    Raises:
        UnsupportedError: an operation, or an argument of it, that the tables do not have.
    """
    name = type(operation).__name__
    known = {**ELEMENTWISE, **REDUCTIONS, **OPERATIONS}
    if name not in known:
        raise unsupported(operation, f"of operations outside layers, known are {', '.join(known)}")
    dtype = _dtype(operation)
    if "float" in dtype and dtype != "float32":
        raise unsupported(operation, f"it computes in {dtype}, not in float32")
    if name in ELEMENTWISE:
        return OnnxTensor(_elementwise(graph, operation, dtype, args), dtype=dtype)
    if name in REDUCTIONS:
        return OnnxTensor(_reduction(graph, operation, dtype, *args), dtype=dtype)
    return OnnxTensor(OPERATIONS[name](graph, operation, *args, **kwargs), dtype=dtype)


def moves_time_steps(operation, args: Sequence) -> bool:
    """Whether the time steps of an operation's output may be others than those of its input."""
    name = type(operation).__name__
    if name == "GetItem":
        keys = list(args[1]) if isinstance(args[1], tuple | list) else [args[1]]
        inside = keys[0] is Ellipsis and len(keys) == 2 and operation.output.ndim > 1
        return not inside and keys[:2] != [slice(None), slice(None)]
    if name in OPERATIONS:
        return name not in _KEEP_STEPS and getattr(operation, "axis", None) != -1
    return any(np.ndim(each) > 1 for each in args if not isinstance(each, OnnxTensor))


def _dtype(operation) -> str:
    """The dtype that JAX computes an operation in."""
    return np.dtype(jax.dtypes.canonicalize_dtype(operation.output.dtype)).name


def _elementwise(graph: OnnxGraph, operation, dtype: str, args: Sequence) -> str:
    """An operator on arguments of one dtype: the result's, or that of what is compared."""
    name = type(operation).__name__
    if name.startswith("Logical"):
        dtype = "bool"
    elif dtype == "bool":
        dtype = keras.backend.result_type(*map(_type_of, args))
    inputs = [_tensor(graph, operation, each, dtype) for each in args]
    y = graph.add(ELEMENTWISE[name], *inputs)
    return graph.add("Not", y) if name == "NotEqual" else y


def _type_of(value):
    """The type of an argument, as Keras promotes it; numbers adapt to tensors."""
    if isinstance(value, bool | int | float):
        return type(value)
    dtype = value.dtype if isinstance(value, OnnxTensor) else np.asarray(value).dtype
    return np.dtype(jax.dtypes.canonicalize_dtype(dtype)).name


def _reduction(graph: OnnxGraph, operation, dtype: str, x: OnnxTensor) -> str:
    """An operator along axes; ONNX has none for truth values."""
    operator, keep = REDUCTIONS[type(operation).__name__], int(operation.keepdims)
    axes = None if operation.axis is None else np.atleast_1d(operation.axis).tolist()
    number = _tensor(graph, operation, x, "float32" if dtype == "bool" else dtype)
    if operator == "ReduceSum":
        return graph.add(operator, number, "" if axes is None else axes, keepdims=keep)
    y = graph.add(operator, number, axes=axes, keepdims=keep)
    return graph.cast(y, "bool") if dtype == "bool" else y


def _tensor(graph: OnnxGraph, operation, value, dtype: str) -> str:
    """The name of an argument as a tensor of some dtype."""
    if isinstance(value, OnnxTensor):
        return value.name if value.dtype == dtype else graph.cast(value.name, dtype)
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise unsupported(operation, f"it is called with {value!r}, which is no number")
    return graph.constant(array.astype(dtype))


def _one_axis(operation) -> int:
    if operation.axis is None:
        raise unsupported(operation, "it has no axis, and an axis was expected")
    return operation.axis


def _axes(operation) -> list[int]:
    return np.atleast_1d(_one_axis(operation)).tolist()


def _cast(graph: OnnxGraph, operation, x: OnnxTensor) -> str:
    return graph.cast(x.name, _dtype(operation))


def _clip(graph: OnnxGraph, operation, x: OnnxTensor) -> str:
    values = [x, operation.x_min, operation.x_max]
    name, low, high = (_tensor(graph, operation, each, _dtype(operation)) for each in values)
    return graph.add("Min", graph.add("Max", name, low), high)


def _einsum(graph: OnnxGraph, operation, *xs) -> str:
    names = [_tensor(graph, operation, each, _dtype(operation)) for each in xs]
    return graph.add("Einsum", *names, equation=operation.subscripts)


def _constant_like(value: float, graph: OnnxGraph, operation, x: OnnxTensor) -> str:
    one = np.asarray(value, _dtype(operation))
    return graph.add("Expand", one, graph.add("Shape", x.name))


def _joined(graph: OnnxGraph, operation, xs: Sequence) -> str:
    """Concatenate, or stack, which puts a new axis in each."""
    names = [_tensor(graph, operation, each, _dtype(operation)) for each in xs]
    if type(operation).__name__ == "Stack":
        names = [graph.add("Unsqueeze", each, [operation.axis]) for each in names]
    return graph.add("Concat", *names, axis=operation.axis)


def _cumulative_sum(graph: OnnxGraph, operation, x: OnnxTensor) -> str:
    number = _tensor(graph, operation, x, _dtype(operation))
    return graph.add("CumSum", number, _one_axis(operation))


def _first_place(operator: str, graph: OnnxGraph, operation, x: OnnxTensor) -> str:
    keep = int(operation.keepdims)
    place = graph.add(operator, x.name, axis=_one_axis(operation), keepdims=keep)
    return graph.cast(place, _dtype(operation))


def _flip(graph: OnnxGraph, operation, x: OnnxTensor) -> str:
    name = x.name
    for axis in _axes(operation):
        name = graph.flipped(name, axis)
    return name


def _get_item(graph: OnnxGraph, operation, x: OnnxTensor, key) -> str:
    """Slices, integers, new axes and an ellipsis."""
    keys = list(key) if isinstance(key, tuple | list) else [key]
    whole = [each for each in keys if not isinstance(each, slice)]
    numbers = [each for each in whole if isinstance(each, int)]
    rank = operation.output.ndim + len(numbers) - whole.count(None)
    if Ellipsis in keys:
        place = keys.index(Ellipsis)
        keys[place : place + 1] = [slice(None)] * (rank + whole.count(None) - len(keys) + 1)
    axis, name, picked, new = 0, x.name, [], []
    for each in keys:
        if each is None:
            new.append(axis - len(picked) + len(new))
            continue
        if isinstance(each, int):
            picked.append((axis, each))
        elif each != slice(None):
            start, stop, step = each.start, each.stop, 1 if each.step is None else each.step
            begin, end = (0, _ENDS.max) if step > 0 else (-1, _ENDS.min)
            start, stop = begin if start is None else start, end if stop is None else stop
            name = graph.add("Slice", name, [start], [stop], [axis], [step])
        axis += 1
    for axis, place in reversed(picked):
        name = graph.add("Gather", name, place, axis=axis)
    return graph.add("Unsqueeze", name, new) if new else name


def _matmul(graph: OnnxGraph, operation, x, y) -> str:
    return graph.add("MatMul", *[_tensor(graph, operation, each, "float32") for each in (x, y)])


def _one_hot(graph: OnnxGraph, operation, x: OnnxTensor) -> str:
    """All zeros for a number out of range, where ONNX's OneHot would count from the end."""
    if operation.axis != -1:
        raise unsupported(operation, f"its axis is {operation.axis}, not the last one")
    number = graph.add("Unsqueeze", graph.cast(x.name, "int64"), [-1])
    same = graph.add("Equal", number, np.arange(operation.num_classes))
    return graph.cast(same, _dtype(operation))


def _pad(graph: OnnxGraph, operation, x: OnnxTensor, constant_values=None) -> str:
    if operation.mode != "constant":
        raise unsupported(operation, f"its mode is {operation.mode!r}, not 'constant'")
    widths = list(operation.pad_width)
    widths *= operation.output.ndim if len(widths) == 1 else 1
    value = _tensor(graph, operation, constant_values or 0, x.dtype)
    pads = [before for before, _ in widths] + [after for _, after in widths]
    return graph.add("Pad", x.name, pads, value)


def _take(graph: OnnxGraph, operation, x, indices) -> str:
    chosen = _tensor(graph, operation, indices, "int64")
    table = _tensor(graph, operation, x, _dtype(operation))
    return graph.add("Gather", table, chosen, axis=_one_axis(operation))


def _transpose(graph: OnnxGraph, operation, x: OnnxTensor) -> str:
    return graph.add("Transpose", x.name, perm=operation.axes or None)


def _where(graph: OnnxGraph, operation, condition: OnnxTensor, x, y) -> str:
    dtype = _dtype(operation)
    chosen = [_tensor(graph, operation, each, dtype) for each in (x, y)]
    return graph.add("Where", _tensor(graph, operation, condition, "bool"), *chosen)


OPERATIONS: dict[str, Callable[..., str]] = {
    "Argmax": partial(_first_place, "ArgMax"),
    "Argmin": partial(_first_place, "ArgMin"),
    "Cast": _cast,
    "Clip": _clip,
    "Concatenate": _joined,
    "Cumsum": _cumulative_sum,
    "Einsum": _einsum,
    "ExpandDims": lambda graph, operation, x: graph.add("Unsqueeze", x.name, _axes(operation)),
    "Flip": _flip,
    "GetItem": _get_item,
    "Matmul": _matmul,
    "OneHot": _one_hot,
    "OnesLike": partial(_constant_like, 1.0),
    "Pad": _pad,
    "Reshape": lambda graph, operation, x: graph.add("Reshape", x.name, [*operation.newshape]),
    "Softmax": lambda graph, operation, x: graph.add("Softmax", x.name, axis=operation.axis),
    "Square": lambda graph, operation, x: graph.add("Mul", x.name, x.name),
    "Squeeze": lambda graph, operation, x: graph.add("Squeeze", x.name, _axes(operation)),
    "Stack": _joined,
    "Take": _take,
    "Transpose": _transpose,
    "Where": _where,
    "ZerosLike": partial(_constant_like, 0.0),
}
_KEEP_STEPS = ("Cast", "Clip", "OneHot", "OnesLike", "Square", "Where", "ZerosLike")
