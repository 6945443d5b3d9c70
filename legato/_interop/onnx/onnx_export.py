"""One walk through a model's graph that makes the ONNX graph: layers, states, masks and names."""

import json
from functools import reduce

import keras
import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, checker, helper

from legato._errors import UnsupportedError
from legato._interop.onnx.layer_operators import OPERATIONS, PLAIN
from legato._interop.onnx.onnx_graph import FILE_VERSION, OPSET, OnnxGraph, Value, refuse
from legato._interop.onnx.recurrent_operators import (
    BIDIRECTIONAL,
    RECURRENT,
    initial_state,
    recurrent,
)
from legato._platform import keras_private

NEXT = ".next"
ROWS, STEPS = "rows", "time_steps"
_MERGES = {"sum": "Add", "mul": "Mul", "ave": "Mean"}
_RESHAPES = (keras.layers.Flatten, keras.layers.Permute, keras.layers.Reshape)


class OnnxExport:
    """A model on its way into an ONNX file.

    Args:
        model: a built Keras model.

    Attributes:
        initial_states: state input → what one row starts from, (1, units).

    Raises:
        UnsupportedError: a layer that cannot be written, by name.
    """

    def __init__(self, model):
        self.model = model
        self.graph = OnnxGraph()
        self.initial_states: dict[str, np.ndarray] = {}
        self._ended: dict[str, str] = {}  # state input → the tensor that holds the state at the end
        self._paths = _paths(model)
        self._met: set[int] = set()  # recurrent layers
        self._reshaped = False  # whether a layer makes something else of the time axis
        layers = _graph(model)
        self._inputs = {self.graph.name(tensor.name): tensor for tensor in model.inputs}
        values = keras_private.walk(layers, list(map(Value, self._inputs)), self.visit)
        self._outputs = list(
            zip(values, keras_private.output_names(layers), model.outputs, strict=True)
        )
        self._put_in_order()

    # Layers.

    def visit(self, layer, *args, **kwargs):
        """What a layer of the model, or of one inside it, makes of its inputs."""
        if not isinstance(layer, keras.layers.Layer):
            return self._operation(layer, args)
        first, *more = args or (None,)
        arguments = {name: given for name, given in kwargs.items() if given is not None}
        arguments.pop("training", None)
        mask = arguments.pop("mask", None)
        if isinstance(mask, Value) and isinstance(first, Value):
            first, mask = Value(first.name, mask.name), None
        given = None
        if type(layer) in RECURRENT:
            given = arguments.pop("initial_state", None) or (more.pop() if more else None)
        if first is None or isinstance(first, dict) or mask is not None or more or arguments:
            raise refuse(layer, "it is called with more or other things than its input")
        if isinstance(layer, keras.Model):
            return keras_private.walk(_graph(layer), keras.tree.flatten(first), self.visit)
        self._check_types(layer, first)
        if type(layer) in RECURRENT:
            return self._recurrent(layer, first, given)
        if type(layer) in BIDIRECTIONAL:
            return self._bidirectional(layer, first)
        return self._plain(layer, keras.tree.flatten(first))

    def _check_types(self, layer, first) -> None:
        """Refuse what is not computed in float32; only an Embedding takes integers."""
        if layer.compute_dtype != "float32":
            raise refuse(layer, f"it computes in {layer.compute_dtype}, not in float32")
        for each in keras.tree.flatten(first):
            dtype = self._dtype(each)
            if dtype != "float32" and type(layer) is not keras.layers.Embedding:
                raise refuse(layer, f"it is fed {dtype}, and only an Embedding takes that")

    def _dtype(self, value: Value) -> str:
        """The dtype of a tensor: float32, unless an input of the model says otherwise."""
        tensor = self._inputs.get(value.name)
        return "float32" if tensor is None else tensor.dtype

    def _operation(self, operation, args: tuple) -> Value:
        """One of the few operations outside layers: sums and products, and what makes masks."""
        known = OPERATIONS.get(type(operation).__name__)
        if known is None or not all(isinstance(each, Value | int | float) for each in args):
            raise refuse(
                operation, f"of operations outside layers, known are {_listed(OPERATIONS)}"
            )
        number = np.dtype(next(self._dtype(each) for each in args if isinstance(each, Value))).type
        inputs = [each.name if isinstance(each, Value) else number(each) for each in args]
        return Value(known(self.graph, operation, *inputs))

    def _plain(self, layer, xs: list[Value]) -> Value:
        """A layer without state."""
        if type(layer) is keras.layers.Masking:
            return self._masking(layer, xs[0].name)
        if type(layer) not in PLAIN:
            known = ["LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "Masking"]
            known += [each.__name__ for each in PLAIN]
            raise refuse(layer, f"known are models of {_listed(known)}")
        self._reshaped |= type(layer) in _RESHAPES
        y = PLAIN[type(layer)](self.graph, layer, *[each.name for each in xs])
        if type(layer) is keras.layers.Embedding and layer.mask_zero:
            return Value(y, self.graph.add("Cast", xs[0].name, to=TensorProto.BOOL))
        return Value(y, self._mask_behind(layer, [each.mask for each in xs]))

    def _mask_behind(self, layer, masks: list[str | None]) -> str | None:
        """The mask of a layer's output: its input's, or where any of several inputs counts."""
        given = [each for each in masks if each is not None]
        if given and type(layer) in (keras.layers.Concatenate, keras.layers.Softmax):
            raise refuse(layer, "a mask reaches it")
        if len(given) < len(masks) or not layer.supports_masking:
            return None
        return reduce(lambda one, other: self.graph.add("Or", one, other), given)

    def _masking(self, layer, x: str) -> Value:
        """Steps whose features all are the mask value do not count, and become 0."""
        add = self.graph.add
        other = add("Not", add("Equal", x, float(layer.mask_value)))
        counts = add("ReduceMax", add("Cast", other, to=TensorProto.FLOAT), axes=[-1], keepdims=1)
        mask = add("Cast", add("Squeeze", counts, [-1]), to=TensorProto.BOOL)
        return Value(add("Mul", x, counts), mask)

    def _recurrent(self, layer, x: Value, given=None):
        """A recurrent layer, its state from outside unless it has nothing to hand on."""
        if id(layer) in self._met:
            raise refuse(layer, "it is used twice, and one state cannot be handed on for both")
        self._met.add(id(layer))
        if given is not None:
            if layer.stateful:
                raise refuse(layer, "it is stateful and given an initial_state in the model")
            states = [each.name for each in keras.tree.flatten(given)]
            return recurrent(self.graph, layer, x, states)[0]
        first = initial_state(layer)
        if layer.go_backwards:
            states = [self._every_row(one_row, x.name) for one_row in first]
            return recurrent(self.graph, layer, x, states)[0]
        states = [f"{self._paths[id(layer)]}:{place}" for place in range(len(first))]
        self.initial_states |= zip(states, first, strict=True)
        outputs, ended = recurrent(self.graph, layer, x, states)
        self._ended |= zip(states, ended, strict=True)
        return outputs

    def _every_row(self, one_row: np.ndarray, x: str) -> str:
        """An initial state (1, units) for every row of an input."""
        shape = self.graph.add("Concat", self.graph.rows(x), [one_row.shape[1]], axis=0)
        return self.graph.add("Expand", one_row, shape)

    def _bidirectional(self, layer, x: Value):
        """Both halves; the outputs of the backward one are put in order again."""
        if x.mask is not None and layer.merge_mode is None:
            raise refuse(layer, "it does not merge its halves, and a mask reaches it")
        halves = []
        for half in (layer.forward_layer, layer.backward_layer):
            if type(half) not in RECURRENT:
                raise refuse(layer, f"one half is a {type(half).__name__}")
            self._check_types(half, x)
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
        return [*[Value(each, forward[0].mask) for each in outputs], *forward[1:], *backward[1:]]

    # Names and shapes.

    def _put_in_order(self) -> None:
        """Let the states follow one another as in ``model.states``, not as the graph runs."""
        paths = list(self._paths.values())
        names = sorted(self.initial_states, key=lambda name: paths.index(name.rpartition(":")[0]))
        self.initial_states = {name: self.initial_states[name] for name in names}

    def made(self) -> ModelProto:
        """The file's content, checked against the standard."""
        states = {name: (ROWS, one_row.shape[1]) for name, one_row in self.initial_states.items()}
        inputs = [
            _declared(name, tensor.dtype, self._input_shape(name, tensor))
            for name, tensor in self._inputs.items()
        ]
        inputs += [_declared(name, "float32", shape) for name, shape in states.items()]
        outputs = [
            self._called(value.name, name, _output_shape(tensor))
            for value, name, tensor in self._outputs
        ]
        outputs += [
            self._called(self._ended[name], name + NEXT, shape) for name, shape in states.items()
        ]
        made = helper.make_model(
            helper.make_graph(
                self.graph.nodes, self.model.name, inputs, outputs, self.graph.constants
            ),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=FILE_VERSION,
            producer_name="legato",
        )
        first = {name: one_row.tolist() for name, one_row in self.initial_states.items()}
        helper.set_model_props(made, {"initial_states": json.dumps(first)})
        checker.check_model(made, full_check=True)
        return made

    def _called(self, tensor: str, name: str, shape) -> ValueInfoProto:
        """An output of the file: a tensor under the name it shall have there."""
        name = self.graph.add("Identity", tensor, into=self.graph.name(name))
        return _declared(name, "float32", shape)

    def _input_shape(self, name: str, tensor) -> list:
        """The axes of an input: rows open, and time steps unless a layer reshapes them."""
        axes = [ROWS, *tensor.shape[1:]]
        in_time = len(axes) > 2 or tensor.dtype != "float32"
        if axes[1:] and (axes[1] is None or (in_time and not self._reshaped)):
            # Several inputs may differ in their time steps.
            axes[1] = STEPS if len(self._inputs) == 1 else f"{name}.{STEPS}"
        return axes


def _paths(model) -> dict[int, str]:
    """Recurrent layers with a state to hand on → their paths below the model, in order; named and
    numbered as in ``model.states``."""
    paths: dict[int, str] = {}
    for layer in keras_private.flatten_layers(model):
        if type(layer) in RECURRENT and not layer.go_backwards:
            path = layer.path.removeprefix(f"{model.name}/")
            unique, number = path, 1
            while unique in paths.values():
                unique, number = f"{path}_{number}", number + 1
            paths[id(layer)] = unique
    return paths


def _listed(names) -> str:
    return ", ".join(names)


def _declared(name: str, dtype: str, shape) -> ValueInfoProto:
    """An input or output; None is an axis of any size without a name."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, kind, shape)


def _output_shape(tensor) -> tuple:
    """The axes of an output: of those between the rows and the last one nothing is said."""
    _, *between, last = tensor.shape
    return (ROWS, *[None] * len(between), last)


def _graph(model) -> keras_private.Functional:
    """A model's graph of layers.

    Raises:
        UnsupportedError: it has none, so that its call could do anything.
    """
    graph = keras_private.graph_of(model)
    if graph is None:
        raise UnsupportedError(
            f"Model {model.name!r} ({type(model).__name__}) cannot be written as ONNX: it has a "
            "call of its own, or was never built from one input. Build it as a functional or "
            "Sequential model that begins with an Input."
        )
    return graph
