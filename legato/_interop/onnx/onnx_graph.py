"""Builds an ONNX graph operator by operator.

Operators have their names in the ONNX standard, which defines them in ``onnx/docs/Operators.md``.
Opset 17 is the oldest that has all of them (LayerNormalization came last), so that runtimes since
2022 read the file.
"""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from legato._errors import UnsupportedError

OPSET, FILE_VERSION = 17, 8


@dataclass(frozen=True)
class OnnxTensor:
    """The tensor of the graph that stands for a Keras tensor.

    Attributes:
        name: the tensor's name.
        mask: name of a boolean tensor (rows, time steps), False at masked steps; None without mask.
        dtype: its dtype.
        moved: whether its time steps may be others than those of the model's inputs.
    """

    name: str
    mask: str | None = None
    dtype: str = "float32"
    moved: bool = False


class OnnxGraph:
    """The operators of a graph, in the order in which they run, and its constants."""

    def __init__(self):
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self._names: set[str] = set()

    def name(self, wanted: str) -> str:
        """A name that no tensor has yet: the wanted one, if necessary with a number."""
        name, number = wanted, 1
        while name in self._names:
            name, number = f"{wanted}_{number}", number + 1
        self._names.add(name)
        return name

    def constant(self, value, wanted: str = "/constant") -> str:
        """Add a constant and return its name; Python numbers become int64 or float32."""
        array = np.asarray(value)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        name = self.name(wanted)
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def add(self, operator: str, *inputs, into: str | None = None, **attributes) -> str:
        """Add an operator with one output.

        Args:
            operator: the operator's name in the ONNX standard.
            inputs: names of tensors, or numbers and arrays, which become constants.
            into: name of its output. Default: a slash and the operator's name; no Keras name
                begins with a slash.
            attributes: attributes of the operator.

        Returns:
            The name of the output.
        """
        return self.add_several(1, operator, *inputs, into=into, **attributes)[0]

    def add_several(
        self, count: int, operator: str, *inputs, into: str | None = None, **attributes
    ) -> list[str]:
        """Add an operator with several outputs, and return their names."""
        names = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        outputs = [into or self.name(f"/{operator}") for _ in range(count)]
        self.nodes.append(helper.make_node(operator, names, outputs, name=outputs[0], **attributes))
        return outputs

    def cast(self, name: str, dtype: str) -> str:
        """A tensor in another dtype."""
        return self.add("Cast", name, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def flipped(self, name: str, axis: int = 1) -> str:
        """A tensor reversed along an axis."""
        before_the_first = np.iinfo(np.int64).min
        return self.add("Slice", name, [-1], [before_the_first], [axis], [-1])

    def rows(self, name: str) -> str:
        """The number of rows of a tensor, as a tensor of shape (1,)."""
        return self.add("Shape", name, start=0, end=1)


def unsupported(layer: Any, why: str) -> UnsupportedError:
    """The error for a layer, or an operation outside layers, that cannot be exported."""
    kind = "Layer" if isinstance(layer, keras.layers.Layer) else "Operation"
    return UnsupportedError(
        f"{kind} {layer.name!r} ({type(layer).__name__}) cannot be written as ONNX: {why}."
    )


def weight_array(weight) -> np.ndarray:
    """A weight's value."""
    return np.asarray(keras.ops.convert_to_numpy(weight))
