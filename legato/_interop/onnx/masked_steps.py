"""Time steps that are left out: a mask of any shape, for operators that only know lengths.

The steps that count are moved to the front of their row, the recurrent operators stop at their
number (``sequence_lens``), and each step of the output takes what the last step that counted gave.
So a step that is left out moves no state, wherever it stands.
"""

import numpy as np
from onnx import TensorProto

from legato._interop.onnx.onnx_graph import OnnxGraph


class Steps:
    """Which time steps count.

    Args:
        graph: where operators are added.
        mask: the name of a boolean tensor (rows, time steps), True where a step counts.

    Attributes:
        lengths: how many count, as the operators take it, at least 1: int32 (rows,).
    """

    def __init__(self, graph: OnnxGraph, mask: str):
        self._graph, self._mask = graph, mask
        ones = graph.add("Cast", mask, to=TensorProto.INT64)
        self._seen = graph.add("CumSum", ones, 1)  # how many have counted up to each step
        self._count = graph.add("ReduceSum", ones, [1], keepdims=1)  # (rows, 1)
        lengths = graph.add("Squeeze", graph.add("Max", self._count, 1), [1])
        self.lengths = graph.add("Cast", lengths, to=TensorProto.INT32)

    def to_the_front(self, x: str) -> str:
        """A sequence with the steps that count in front in each row, and the others behind."""
        add = self._graph.add
        others = add("Cast", add("Not", self._mask), to=TensorProto.INT64)
        behind = add("Add", self._count, add("CumSum", others, 1))
        place = add("Sub", add("Where", self._mask, self._seen, behind), 1)
        return add("ScatterElements", x, self._along(place, x), x, axis=1)

    def back_in_place(self, outputs: str, before: str, zero: bool) -> str:
        """Outputs at their own steps again.

        Args:
            outputs: (rows, time steps, units), those that count in front.
            before: what was put out before the first step, (rows, units).
            zero: whether a step that does not count gives 0, or what the step before it gave.
        """
        add = self._graph.add
        last = add("Max", add("Sub", self._seen, 1), 0)
        outputs = add("GatherElements", outputs, self._along(last, outputs), axis=1)
        if zero:
            return add("Where", add("Unsqueeze", self._mask, [2]), outputs, 0.0)
        none_yet = add("Equal", add("Unsqueeze", self._seen, [2]), 0)
        return add("Where", none_yet, add("Unsqueeze", before, [1]), outputs)

    def moved(self, before: str, after: str) -> str:
        """A state (rows, units) after the steps; the one before them where none counts."""
        return self._graph.add("Where", self._graph.add("Equal", self._count, 0), before, after)

    @property
    def last(self) -> str:
        """Whether the last step counts, (rows, 1)."""
        return self._graph.add("Slice", self._mask, [-1], [np.iinfo(np.int64).max], [1])

    def _along(self, places: str, x: str) -> str:
        """Places (rows, time steps) for every feature of ``x``."""
        add = self._graph.add
        return add("Expand", add("Unsqueeze", places, [2]), add("Shape", x))
