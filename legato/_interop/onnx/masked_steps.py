"""Applies masks of any pattern to recurrent operators, which take only sequence lengths.

The steps that are not masked are moved to the front of their row, the operator stops at their
number (``sequence_lens``), and each step of the output gets the output of the last unmasked step.
So a masked step changes no state, wherever it is.
"""

import numpy as np
from onnx import TensorProto

from legato._interop.onnx.onnx_graph import OnnxGraph


class MaskedSteps:
    """The masked time steps of a sequence.

    Args:
        graph: the graph that operators are added to.
        mask: name of a boolean tensor (rows, time steps), False at masked steps.

    Attributes:
        lengths: name of the number of unmasked steps, at least 1, as the recurrent operators take
            it: int32 (rows,).
    """

    def __init__(self, graph: OnnxGraph, mask: str):
        self._graph, self._mask = graph, mask
        ones = graph.add("Cast", mask, to=TensorProto.INT64)
        self._seen = graph.add("CumSum", ones, 1)  # unmasked steps up to each one
        self._count = graph.add("ReduceSum", ones, [1], keepdims=1)  # (rows, 1)
        lengths = graph.add("Squeeze", graph.add("Max", self._count, 1), [1])
        self.lengths = graph.add("Cast", lengths, to=TensorProto.INT32)

    def unmasked_first(self, x: str) -> str:
        """A sequence with the unmasked steps of each row first, and the masked ones behind."""
        add = self._graph.add
        others = add("Cast", add("Not", self._mask), to=TensorProto.INT64)
        behind = add("Add", self._count, add("CumSum", others, 1))
        place = add("Sub", add("Where", self._mask, self._seen, behind), 1)
        return add("ScatterElements", x, self._along(place, x), x, axis=1)

    def restore_order(self, outputs: str, before: str, zero: bool) -> str:
        """Outputs moved back to their own steps.

        Args:
            outputs: (rows, time steps, units), those of unmasked steps first.
            before: the output before the first step, (rows, units).
            zero: whether masked steps give 0; else they repeat the output of the step before.
        """
        add = self._graph.add
        last = add("Max", add("Sub", self._seen, 1), 0)
        outputs = add("GatherElements", outputs, self._along(last, outputs), axis=1)
        if zero:
            return add("Where", add("Unsqueeze", self._mask, [2]), outputs, 0.0)
        none_yet = add("Equal", add("Unsqueeze", self._seen, [2]), 0)
        return add("Where", none_yet, add("Unsqueeze", before, [1]), outputs)

    def final_state(self, before: str, after: str) -> str:
        """The state (rows, units) after all steps; where every step is masked, the one before."""
        return self._graph.add("Where", self._graph.add("Equal", self._count, 0), before, after)

    @property
    def last(self) -> str:
        """Whether the last step is unmasked, (rows, 1)."""
        return self._graph.add("Slice", self._mask, [-1], [np.iinfo(np.int64).max], [1])

    def _along(self, places: str, x: str) -> str:
        """Indices (rows, time steps), repeated for every feature of ``x``."""
        add = self._graph.add
        return add("Expand", add("Unsqueeze", places, [2]), add("Shape", x))
