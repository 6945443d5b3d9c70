"""Converts a Keras model to an ONNX model: layers, states, masks, names and shapes."""

import json
from dataclasses import replace
from functools import reduce
from typing import Any

import keras
import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, checker, helper

from legato._errors import UnsupportedError
from legato._interop.onnx.convolution_operators import add_masked_mean
from legato._interop.onnx.graph_operations import add_operation, moves_time_steps
from legato._interop.onnx.layer_operators import LAYER_OPERATORS
from legato._interop.onnx.onnx_graph import FILE_VERSION, OPSET, OnnxGraph, OnnxTensor, unsupported
from legato._interop.onnx.recurrent_operators import (
    BIDIRECTIONAL,
    RECURRENT,
    add_recurrent,
    initial_state,
)
from legato._platform import keras_private

NEXT = ".next"
ROWS, STEPS = "rows", "time_steps"
_MERGES = {"sum": "Add", "mul": "Mul", "ave": "Mean"}
_RESHAPES = (keras.layers.Flatten, keras.layers.Permute, keras.layers.Reshape)
_WITHOUT_MASK = (  # layers whose masks are not written
    *(keras.layers.AdditiveAttention, keras.layers.Attention, keras.layers.MultiHeadAttention),
    keras.layers.Softmax,
)
_NUMBERS = (  # layers that take numbers of any dtype
    *(keras.layers.Discretization, keras.layers.Embedding),
    *(keras.layers.Normalization, keras.layers.Rescaling),
)


class OnnxExport:
    """The ONNX graph of a Keras model.

    Args:
        model: a built Keras model.

    Attributes:
        initial_states: name of each state input → initial state of one row, (1, units).

    Raises:
        UnsupportedError: a layer that cannot be written, by name.
    """

    def __init__(self, model):
        self.model = model
        self.graph = OnnxGraph()
        self.initial_states: dict[str, np.ndarray] = {}
        self._final_states: dict[str, str] = {}  # name of state input → name of the final state
        self._paths = _state_paths(model)
        self._visited: set[int] = set()  # ids of recurrent layers
        self._reshaped = False  # whether a layer may have changed the time axis
        layers = _layer_graph(model)
        self._inputs = {self.graph.name(tensor.name): tensor for tensor in model.inputs}
        inputs = [OnnxTensor(name, dtype=each.dtype) for name, each in self._inputs.items()]
        values = keras_private.walk_graph(layers, inputs, self.visit)
        self._outputs = list(
            zip(values, keras_private.output_names(layers), model.outputs, strict=True)
        )
        self._sort_states()

    # Layers.

    def visit(self, layer, *args, **kwargs):
        """Add the operators of a layer or operation, also of a nested model; return its outputs."""
        if isinstance(layer, keras.layers.Layer):
            moves, outputs = type(layer) in _RESHAPES, self._layer(layer, *args, **kwargs)
        else:
            moves = moves_time_steps(layer, args)
            outputs = add_operation(self.graph, layer, args, kwargs)
        self._reshaped |= moves
        came = [each for each in keras.tree.flatten((args, kwargs)) if isinstance(each, OnnxTensor)]
        if moves or any(each.moved for each in came):
            outputs = keras.tree.map_structure(lambda each: replace(each, moved=True), outputs)
        return outputs

    def _layer(self, layer, *args, **kwargs) -> Any:
        """A layer or a nested model."""
        first: Any
        first, *more = args or (None,)
        arguments = {
            name: value
            for name, value in kwargs.items()
            if value is not None and value is not False
        }
        arguments.pop("training", None)
        mask = arguments.pop("mask", None)
        if isinstance(mask, OnnxTensor) and isinstance(first, OnnxTensor):
            first, mask = replace(first, mask=mask.name), None
        state = None
        if type(layer) is keras.layers.MultiHeadAttention:
            named = [arguments.pop(name, None) for name in ("query", "value", "key")]
            first, more = [each for each in (first, *more, *named) if each is not None], []
        if type(layer) in RECURRENT:
            state = arguments.pop("initial_state", None) or (more.pop() if more else None)
        own = all(isinstance(each, OnnxTensor) for each in keras.tree.flatten(first))
        if not own or isinstance(first, dict) or mask is not None or more or arguments:
            raise unsupported(layer, "it is called with other arguments than its input")
        if isinstance(layer, keras.Model):
            return keras_private.walk_graph(
                _layer_graph(layer), keras.tree.flatten(first), self.visit
            )
        first = self._check_types(layer, first)
        if type(layer) in RECURRENT:
            return self._recurrent(layer, first, state)
        if type(layer) in BIDIRECTIONAL:
            return self._bidirectional(layer, first)
        return self._plain(layer, keras.tree.flatten(first))

    def _check_types(self, layer, first):
        """The input of a layer; refuse those that do not compute in float32."""
        if type(layer) is keras.layers.TimeDistributed:
            return first  # that of the layer in it is checked
        if type(layer) is not keras.layers.Discretization and layer.compute_dtype != "float32":
            raise unsupported(layer, f"it computes in {layer.compute_dtype}, not in float32")
        if type(layer) in _NUMBERS and first.dtype != "float32":
            if type(layer) is keras.layers.Embedding:
                return first
            return OnnxTensor(self.graph.cast(first.name, "float32"), first.mask)
        for each in keras.tree.flatten(first):
            if each.dtype != "float32":
                known = ", ".join(kind.__name__ for kind in _NUMBERS)
                raise unsupported(layer, f"its input is {each.dtype}, which only {known} take")
        return first

    def _plain(self, layer, xs: list[OnnxTensor]) -> OnnxTensor:
        """A layer without state."""
        if type(layer) is keras.layers.Masking:
            return self._masking(layer, xs[0].name)
        if type(layer) is keras.layers.TimeDistributed:
            return self._time_distributed(layer, xs[0])
        if type(layer) is keras.layers.GlobalAveragePooling1D and xs[0].mask is not None:
            return OnnxTensor(add_masked_mean(self.graph, layer, xs[0].name, xs[0].mask))
        if type(layer) not in LAYER_OPERATORS:
            known = ["LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "Masking"]
            known += ["TimeDistributed"]
            known += [each.__name__ for each in LAYER_OPERATORS]
            raise unsupported(layer, f"known are models of {', '.join(known)}")
        y = LAYER_OPERATORS[type(layer)](self.graph, layer, *[each.name for each in xs])
        if type(layer) is keras.layers.Embedding and layer.mask_zero:
            return OnnxTensor(y, self.graph.cast(xs[0].name, "bool"))
        dtype = "int32" if type(layer) is keras.layers.Discretization else "float32"
        return OnnxTensor(y, self._mask_behind(layer, [each.mask for each in xs]), dtype)

    def _time_distributed(self, layer, x: OnnxTensor) -> OnnxTensor:
        """The wrapped layer or model, with time steps as rows."""
        inner, shape = layer.layer, tuple(layer.get_build_config()["input_shape"])
        for each in keras_private.flatten_layers(inner):
            if type(each) in (*RECURRENT, *BIDIRECTIONAL):
                raise unsupported(layer, f"the state of {each.name!r} in it is not carried")
        if None in shape[2:]:
            raise unsupported(layer, f"its input has the shape {shape}, of unknown size inside")
        ending = inner.compute_output_shape((None, *shape[2:]))[1:]
        add, reshaped = self.graph.add, self._reshaped
        rows_and_steps = add("Shape", x.name, start=0, end=2)
        each_step = replace(x, name=add("Reshape", x.name, [-1, *shape[2:]]), mask=None)
        (y,) = keras.tree.flatten(self.visit(inner, each_step))
        self._reshaped = reshaped  # what moves inside a time step is no time step
        whole = add("Reshape", y.name, add("Concat", rows_and_steps, list(ending), axis=0))
        return replace(y, name=whole, mask=x.mask, moved=x.moved)

    def _mask_behind(self, layer, masks: list[str | None]) -> str | None:
        """The mask of a layer's output: its input's; of several, unmasked where any of them is."""
        known = [each for each in masks if each is not None]
        if known and (
            type(layer) in _WITHOUT_MASK
            or (type(layer) is keras.layers.Concatenate and layer.axis != -1)
        ):
            raise unsupported(layer, "a mask reaches it")
        if len(known) < len(masks) or not layer.supports_masking:
            return None
        return reduce(lambda one, other: self.graph.add("Or", one, other), known)

    def _masking(self, layer, x: str) -> OnnxTensor:
        """Mask the steps whose features all equal the mask value, and set them to 0."""
        add = self.graph.add
        other = add("Not", add("Equal", x, float(layer.mask_value)))
        kept = add("ReduceMax", add("Cast", other, to=TensorProto.FLOAT), axes=[-1], keepdims=1)
        mask = add("Cast", add("Squeeze", kept, [-1]), to=TensorProto.BOOL)
        return OnnxTensor(add("Mul", x, kept), mask)

    def _recurrent(self, layer, x: OnnxTensor, state=None):
        """A recurrent layer.

        Its state is an input and an output of the file, unless the layer is given one in the model,
        runs backwards, or is not stateful and sees other time steps than the model.
        """
        if id(layer) in self._visited:
            raise unsupported(layer, "it is used twice, and both uses would share one state")
        self._visited.add(id(layer))
        if state is not None:
            if layer.stateful:
                raise unsupported(layer, "it is stateful and given an initial_state in the model")
            states = [each.name for each in keras.tree.flatten(state)]
            return add_recurrent(self.graph, layer, x, states)[0]
        initial = initial_state(layer)
        if layer.go_backwards or (x.moved and not layer.stateful):
            states = [self._every_row(one_row, x.name) for one_row in initial]
            return add_recurrent(self.graph, layer, x, states)[0]
        states = [f"{self._paths[id(layer)]}:{place}" for place in range(len(initial))]
        self.initial_states |= zip(states, initial, strict=True)
        outputs, final = add_recurrent(self.graph, layer, x, states)
        self._final_states |= zip(states, final, strict=True)
        return outputs

    def _every_row(self, one_row: np.ndarray, x: str) -> str:
        """An initial state (1, units), repeated for every row of an input."""
        shape = self.graph.add("Concat", self.graph.rows(x), [one_row.shape[1]], axis=0)
        return self.graph.add("Expand", one_row, shape)

    def _bidirectional(self, layer, x: OnnxTensor):
        """Both halves, with the backward one's output sequence reversed."""
        if x.mask is not None and layer.merge_mode is None:
            raise unsupported(layer, "it does not merge its halves, and a mask reaches it")
        halves = []
        for half in (layer.forward_layer, layer.backward_layer):
            if type(half) not in RECURRENT:
                raise unsupported(layer, f"one half is a {type(half).__name__}")
            x = self._check_types(half, x)
            halves.append(self._recurrent(half, x))
        forward, backward = [each if isinstance(each, list) else [each] for each in halves]
        one, other = forward[0].name, backward[0].name
        if layer.return_sequences:
            other = self.graph.flipped(other)
        outputs = [one, other]
        if layer.merge_mode == "concat":
            outputs = [self.graph.add("Concat", one, other, axis=-1)]
        elif layer.merge_mode is not None:
            outputs = [self.graph.add(_MERGES[layer.merge_mode], one, other)]
        merged = [OnnxTensor(each, forward[0].mask) for each in outputs]
        return [*merged, *forward[1:], *backward[1:]]

    # Names and shapes.

    def _sort_states(self) -> None:
        """Order the states as in ``model.states``, not as the graph runs."""
        paths = list(self._paths.values())
        names = sorted(self.initial_states, key=lambda name: paths.index(name.rpartition(":")[0]))
        self.initial_states = {name: self.initial_states[name] for name in names}

    def to_proto(self) -> ModelProto:
        """The model as ONNX, checked against the standard."""
        states = {name: (ROWS, one_row.shape[1]) for name, one_row in self.initial_states.items()}
        inputs = [
            _value_info(name, tensor.dtype, self._input_shape(name, tensor))
            for name, tensor in self._inputs.items()
        ]
        inputs += [_value_info(name, "float32", shape) for name, shape in states.items()]
        outputs = [
            self._output(value, name, _output_shape(tensor))
            for value, name, tensor in self._outputs
        ]
        outputs += [
            self._output(OnnxTensor(self._final_states[name]), name + NEXT, shape)
            for name, shape in states.items()
        ]
        proto = helper.make_model(
            helper.make_graph(
                self.graph.nodes, self.model.name, inputs, outputs, self.graph.constants
            ),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=FILE_VERSION,
            producer_name="legato",
        )
        initial = {name: one_row.tolist() for name, one_row in self.initial_states.items()}
        helper.set_model_props(proto, {"initial_states": json.dumps(initial)})
        checker.check_model(proto, full_check=True)
        return proto

    def _output(self, tensor: OnnxTensor, name: str, shape) -> ValueInfoProto:
        """Declare a tensor as an output of the file, under the output's name."""
        name = self.graph.add("Identity", tensor.name, into=self.graph.name(name))
        return _value_info(name, tensor.dtype, shape)

    def _input_shape(self, name: str, tensor) -> list:
        """The shape of an input: any number of rows, and of time steps unless a layer reshapes."""
        axes = [ROWS, *tensor.shape[1:]]
        in_time = len(axes) > 2 or tensor.dtype != "float32"
        if axes[1:] and (axes[1] is None or (in_time and not self._reshaped)):
            # Several inputs may differ in their time steps.
            axes[1] = STEPS if len(self._inputs) == 1 else f"{name}.{STEPS}"
        return axes


def _state_paths(model) -> dict[int, str]:
    """Ids of the recurrent layers that carry state → their paths, as in ``model.states``."""
    paths: dict[int, str] = {}
    for layer in keras_private.flatten_layers(model):
        if type(layer) in RECURRENT and not layer.go_backwards:
            path = layer.path.removeprefix(f"{model.name}/")
            unique, number = path, 1
            while unique in paths.values():
                unique, number = f"{path}_{number}", number + 1
            paths[id(layer)] = unique
    return paths


def _value_info(name: str, dtype: str, shape) -> ValueInfoProto:
    """An input or output; None is an axis of any size without a name."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, kind, shape)


def _output_shape(tensor) -> tuple:
    """The shape of an output: any size between the rows and the last axis."""
    rows, inner = tensor.shape[:1], tensor.shape[1:]
    return (*[ROWS for _ in rows], *[None for _ in inner[:-1]], *inner[-1:])


def _layer_graph(model) -> keras_private.Functional:
    """A model's graph of layers.

    Raises:
        UnsupportedError: it has none; its ``call`` is Python code.
    """
    graph = keras_private.graph_of(model)
    if graph is None:
        raise UnsupportedError(
            f"Model {model.name!r} ({type(model).__name__}) cannot be written as ONNX: it has a "
            "call of its own, or was never built from one input. Build it as a functional or "
            "Sequential model that begins with an Input."
        )
    return graph
