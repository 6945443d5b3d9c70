"""Recurrent and dense layers one after the other, advanced step by step in C++ without JAX.

``NativeChain`` has the layers' weights packed, and advances rows of carried states by one step or
several. A row is the states of the cells, then the last answer, all float32. The numbers of a row
depend neither on the other rows nor on how its steps are divided into calls: to the bit.
"""

import ctypes
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from legato._platform.locks import Lock
from legato._recurrent import native_kernel
from legato._recurrent.native_kernel import CELLS

DENSE, ACTIVATION = 4, 5  # kinds of operations after the cells' numbers, as in `native/chain.h`
ACTIVATIONS = ("linear", "tanh", "sigmoid", "relu", "softmax")  # numbered as in `native/dense.h`


@dataclass(frozen=True)
class Operation:
    """A layer of a chain.

    Attributes:
        kind: a name of ``CELLS``, ``"dense"`` or ``"activation"``.
        inputs: numbers that it takes.
        units: numbers that it gives.
        activation: of a dense layer, or alone; one of ``ACTIVATIONS``.
        state: where the cell's states begin in a row, one after the other; the flag of a fresh row,
            which starts from zeros, follows them.
    """

    kind: str
    inputs: int
    units: int
    activation: str = "linear"
    state: int = 0

    @property
    def number(self) -> int:
        """The kind as the library counts it."""
        if self.kind in CELLS:
            return CELLS[self.kind].number
        return DENSE if self.kind == "dense" else ACTIVATION


class _Operation(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("kind", "activation", "inputs", "units", "state")),
        *((name, ctypes.c_void_p) for name in ("W", "U", "b")),
    )


class _Steps(ctypes.Structure):
    _fields_ = (
        ("rows", ctypes.c_int64),
        ("steps", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("x", "counts", "starts", "states", "emitted")),
        ("emit_from", ctypes.c_int64),
    )


class _Generation(ctypes.Structure):
    _fields_ = (
        ("steps", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("states", "table", "classes", "answers")),
    )


class NativeChain:
    """Layers with weights of one moment. Threads may share it.

    Args:
        operations: the layers, in order; each takes what the one before gives.
        weights: for each, its arrays in float32: kernel, recurrent kernel and bias of a cell, as
            Keras shapes them; kernel and bias of a dense layer. None for no bias.
        width: numbers of a row before the answer.

    Raises:
        MemoryError: there is no memory for the packed weights.
        RuntimeError: the native kernel is unavailable.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        weights: Sequence[Sequence[np.ndarray | None]],
        width: int,
    ):
        library = native_kernel.library()
        if library is None:
            raise RuntimeError(f"no native kernel: {native_kernel.unavailable()}")
        self._width, self._inputs = width, operations[0].inputs
        self._row = width + operations[-1].units
        described = (_Operation * len(operations))()
        kept = []  # until the weights are packed
        for to, operation, arrays in zip(described, operations, weights, strict=True):
            to.kind, to.inputs, to.units = operation.number, operation.inputs, operation.units
            to.activation, to.state = ACTIVATIONS.index(operation.activation), operation.state
            for name, array in zip(_names(operation, len(arrays)), arrays, strict=True):
                if array is not None:
                    kept.append(np.ascontiguousarray(array, np.float32))
                    setattr(to, name, _address(kept[-1]))
        make, free = library.legato_chain_make, library.legato_chain_free
        make.restype, free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
        address = make(described, ctypes.c_int64(len(operations)), ctypes.c_int64(width))
        if address is None:
            raise MemoryError("no memory for the weights of a stream's step")
        weakref.finalize(self, free, address).atexit = False
        self._chain = ctypes.c_void_p(address)
        self._run_steps, self._generate = library.legato_chain_run, library.legato_chain_generate
        self._prepare_one_row()

    def __deepcopy__(self, memo) -> "NativeChain":
        return self  # it never changes

    def _prepare_one_row(self) -> None:
        """Prepare a call for one step of one row.

        Its arrays stay in one place, because to find an array's address takes longer than to copy
        it. Such a call keeps Python's lock, which would take longer to give back and take again.
        """
        self._lock = Lock()  # of what follows
        self._states = np.empty((1, self._row), np.float32)
        self._x = np.empty(self._inputs, np.float32)
        self._steps = _Steps(1, 1, self._x.ctypes.data, None, None, self._states.ctypes.data)
        library = native_kernel.library_with_gil()
        self._one_step = library.legato_chain_run
        self._arguments = (self._chain, ctypes.byref(self._steps))

    def step_one_row(self, rows: Any, x: np.ndarray) -> np.ndarray:
        """One step of one row.

        Args:
            rows: (1, width and answer), of NumPy or JAX.
            x: (inputs,).

        Returns:
            (1, width and answer), a new array.
        """
        with self._lock:
            states = self._states
            states[...] = rows
            self._x[...] = x
            if self._one_step(*self._arguments):
                raise MemoryError("no memory for a step")
            return states.copy()

    def run(
        self,
        rows: Any,
        x: np.ndarray,
        counts: np.ndarray | None = None,
        starts: np.ndarray | None = None,
        emit_from: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Steps of several rows.

        Args:
            rows: (rows, width) or (rows, width and answer); unknown answers are NaN.
            x: (rows, steps, inputs).
            counts: (rows,), how many of the steps each row has. Default: all.
            starts: booleans (rows, steps): where true, a row is reset before that step.
            emit_from: from which place on the rows are returned for every step; None: not at all.

        Returns:
            The rows after their steps, (rows, width and answer), and those of every step, (steps,
            rows, width and answer - emit_from), or None.
        """
        states = np.full((len(x), self._row), np.nan, np.float32)
        rows = np.asarray(rows)
        states[:, : rows.shape[1]] = rows
        x = np.ascontiguousarray(x, np.float32)
        counts = None if counts is None else np.ascontiguousarray(counts, np.int64)
        starts = None if starts is None else np.ascontiguousarray(starts, bool)
        steps, emitted = x.shape[1], None
        if emit_from is not None:
            emitted = np.empty((steps, len(x), self._row - emit_from), np.float32)
        arrays = map(_address, (x, counts, starts, states, emitted))
        described = _Steps(len(x), steps, *arrays, emit_from or 0)
        if self._run_steps(self._chain, ctypes.byref(described)):
            raise MemoryError("no memory for a stream's steps")
        return states, emitted

    def generate(
        self, rows: Any, steps: int, table: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Feed a row its own answers.

        Args:
            rows: (1, width and answer).
            steps: how many.
            table: (classes, inputs), what is fed for each class, of which the likeliest is chosen;
                None: the answer itself is fed.

        Returns:
            The row after the steps, and the choices: int32 (steps,), or answers (steps, answer).
        """
        states = np.array(rows, np.float32)
        chosen = np.empty(steps, np.int32)
        if table is None:
            chosen = np.empty((steps, self._row - self._width), np.float32)
        else:
            table = np.ascontiguousarray(table, np.float32)
        outputs = (_address(chosen), None) if table is not None else (None, _address(chosen))
        described = _Generation(steps, _address(states), _address(table), *outputs)
        if self._generate(self._chain, ctypes.byref(described)):
            raise MemoryError("no memory to generate")
        return states, chosen


def _names(operation: Operation, count: int) -> tuple[str, ...]:
    return ("W", "U", "b") if operation.kind in CELLS else ("W", "b")[:count]


def _address(array: np.ndarray | None) -> int | None:
    return None if array is None else array.ctypes.data
