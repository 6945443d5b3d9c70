"""Sums over the rows of a batch that devices share, joined so that one message carries many.

XLA partitions a program (``row_devices``) and adds up every sum over rows, such as each gradient,
by an all-reduce of its own. Between processes the number of their messages takes more time than
their size. So ``joining_sums`` traces a function, finds its sums over rows, and computes those that
do not need one another together: each device adds up its rows, the results are laid end to end, and
one all-reduce adds these.

Sums are products that contract the axis of rows (``dot_general``), ``reduce_sum`` and
``scatter-add``, the gradient of an embedding. Which axis is that of rows is followed from the
arguments through the operations. Where it gets lost, or inside a loop, a sum stays as it is, and
XLA adds it up: only times depend on that, since the sum over any axis may be split.
"""

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal
from jax.sharding import Mesh, PartitionSpec

Axis = int | None  # that of rows; None: there is none, or it is unknown


class Adder(NamedTuple):
    """What adds up arrays over devices in the place of all-reduces.

    Attributes:
        add: takes arrays of a device, and axes of the mesh; returns the sums.
        dtypes: the names of those that it takes.
    """

    add: Callable[[list, Any], list]
    dtypes: frozenset[str]


class _Operation(NamedTuple):
    """An operation of a traced function; its operands and results are the numbers of values."""

    equation: JaxprEqn
    operands: list[int]
    results: list[int]


class _RowSum(NamedTuple):
    """A sum over rows.

    Attributes:
        axes: the axis of each operand that is split over the devices; None: whole on each.
        of_part: the sum of a device, from its parts of the operands.
        added_to: which operand the sum of all devices is added to; None: to none.
    """

    axes: list[Axis]
    of_part: Callable
    added_to: int | None = None


class _Trace:
    """The operations of a function in order, with those of functions under ``jax.jit`` in it.

    Attributes:
        values: by number; None for a value that is computed.
        types: by number.
        operations: in order.
        arguments, results: of the function, by number.
    """

    def __init__(self, function: ClosedJaxpr):
        self.values: list[Any] = []
        self.types: list[Any] = []
        self.operations: list[_Operation] = []
        self.arguments = [self._number(each.aval) for each in function.jaxpr.invars]
        self.results = self._add(function, self.arguments)

    def _number(self, kind, value=None) -> int:
        self.types.append(kind)
        self.values.append(value)
        return len(self.types) - 1

    def _add(self, function: ClosedJaxpr, arguments: list[int]) -> list[int]:
        """Add the operations of a function; returns its results."""
        jaxpr = function.jaxpr
        numbers = dict(zip(jaxpr.invars, arguments, strict=True))
        for variable, constant in zip(jaxpr.constvars, function.consts, strict=True):
            numbers[variable] = self._number(variable.aval, constant)

        def number(atom) -> int:
            return self._number(atom.aval, atom.val) if isinstance(atom, Literal) else numbers[atom]

        for equation in jaxpr.eqns:
            operands = list(map(number, equation.invars))
            if equation.primitive.name == "jit":
                results = self._add(equation.params["jaxpr"], operands)
            else:
                results = [self._number(each.aval) for each in equation.outvars]
                self.operations.append(_Operation(equation, operands, results))
            numbers.update(zip(equation.outvars, results, strict=True))
        return list(map(number, jaxpr.outvars))


def joining_sums(
    function: Callable, mesh: Mesh, split: PartitionSpec, adder: Adder | None = None
) -> Callable:
    """A function with its sums over rows joined.

    Args:
        function: takes two trees of arrays: whole on each device, and (rows, …).
        mesh: the devices.
        split: how the axis of rows is split over them; they divide it.
        adder: used if it takes the dtypes of all sums. Default: all-reduces.

    Returns:
        The function, to be traced. A result that is an argument stays that very object.
    """

    def joined(whole, rows):
        traced, shapes = jax.make_jaxpr(function, return_shape=True)(whole, rows)
        if traced.effects:
            return function(whole, rows)
        trace = _Trace(traced)
        values = trace.values.copy()
        for at, value in zip(trace.arguments, jax.tree.leaves((whole, rows)), strict=True):
            values[at] = value
        first = len(jax.tree.leaves(whole))
        sums = _row_sums(trace, dict.fromkeys(trace.arguments[first:], 0), mesh.size)
        dtypes = {trace.types[at].dtype.name for at in sums}
        add = all_reduced
        if adder is not None and dtypes <= adder.dtypes:
            add = adder.add
        for operations, added in _rounds(trace, sums):
            for operation in operations:
                results = _computed(operation, [values[at] for at in operation.operands])
                for at, value in zip(operation.results, results, strict=True):
                    values[at] = value
            parts = [
                (sums[each.results[0]], [values[at] for at in each.operands]) for each in added
            ]
            totals = _added_together(parts, mesh, split, add)
            for operation, total in zip(added, totals, strict=True):
                values[operation.results[0]] = total
        return jax.tree.unflatten(jax.tree.structure(shapes), [values[at] for at in trace.results])

    return joined


def _rounds(trace: _Trace, sums: dict[int, _RowSum]) -> list[tuple[list, list]]:
    """The operations between two joined sums, and the sums that follow them, in order."""
    round_of: dict[int, int] = defaultdict(int)  # in which a value is there
    rounds: dict[int, tuple[list, list]] = defaultdict(lambda: ([], []))
    for operation in trace.operations:
        now = max((round_of[at] for at in operation.operands), default=0)
        is_sum = any(at in sums for at in operation.results)
        rounds[now][is_sum].append(operation)
        round_of.update(dict.fromkeys(operation.results, now + is_sum))
    return [rounds[now] for now in sorted(rounds)]


def _computed(operation: _Operation, given: list) -> list:
    """The results of an operation, as an interpreter of JAX's traced functions computes them
    (https://docs.jax.dev/en/latest/notebooks/Writing_custom_interpreters_in_Jax.html)."""
    equation = operation.equation
    params = equation.primitive.get_bind_params(equation.params)
    with equation.ctx.manager:
        results = equation.primitive.bind(*given, **params)
    return results if equation.primitive.multiple_results else [results]


def _added_together(
    parts: list[tuple[_RowSum, list]], mesh: Mesh, split: PartitionSpec, add: Callable
) -> list:
    """Sums over all rows.

    Args:
        parts: the sums, with their operands.
        mesh: the devices.
        split: how the axis of rows is split over them.
        add: what adds up arrays over the devices, as that of an ``Adder``.
    """
    if not parts:
        return []
    (over,) = split
    specs = [
        PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, over)
        for each, _ in parts
        for axis in each.axes
    ]

    def of_device(*operands):
        given = iter(operands)
        return add([each.of_part(*[next(given) for _ in each.axes]) for each, _ in parts], over)

    mapped = jax.shard_map(
        of_device, mesh=mesh, in_specs=tuple(specs), out_specs=PartitionSpec(), check_vma=False
    )
    totals = mapped(*(operand for _, operands in parts for operand in operands))
    return [
        total if each.added_to is None else operands[each.added_to] + total
        for (each, operands), total in zip(parts, totals, strict=True)
    ]


def all_reduced(arrays: list, axes) -> list:
    """The sums of arrays over devices, by one all-reduce for each dtype.

    Args:
        arrays: of a device.
        axes: of the mesh.
    """
    totals: dict[int, Any] = {}
    for dtype in dict.fromkeys(each.dtype for each in arrays):
        chosen = [at for at, each in enumerate(arrays) if each.dtype == dtype]
        flat = jax.lax.psum(jnp.concatenate([arrays[at].ravel() for at in chosen]), axes)
        begin = 0
        for at in chosen:
            totals[at] = flat[begin : begin + arrays[at].size].reshape(arrays[at].shape)
            begin += arrays[at].size
    return [totals[at] for at in range(len(arrays))]


# Which operations are sums over rows, and which axis is that of rows.


def _row_sums(trace: _Trace, axes: dict[int, Axis], devices: int) -> dict[int, _RowSum]:
    """The sums over rows, by the number of their result.

    Args:
        trace: the operations.
        axes: the axis of rows of the arguments that have one.
        devices: their number.
    """
    sums, axes = {}, axes.copy()
    for operation in trace.operations:
        given = [axes.get(at) for at in operation.operands]
        if all(axis is None for axis in given):
            continue
        equation = operation.equation
        name, params = equation.primitive.name, equation.params
        found = _row_sum(name, params, given)
        if found is not None:
            sums[operation.results[0]] = found
            continue
        shapes = [trace.types[at].shape for at in operation.operands]
        for at, result in enumerate(operation.results):
            if name == "shard_map":
                names = list(params["out_specs"][at])
                axes[result] = next((k for k, each in enumerate(names) if each is not None), None)
            else:
                shape = trace.types[result].shape
                axes[result] = _row_axis(name, params, given, shapes, shape, devices)
    return sums


def _row_sum(name: str, params: dict, axes: list[Axis]) -> _RowSum | None:
    """The sum over rows that an operation is; None: it is none."""
    if name == "reduce_sum" and axes[0] in params["axes"]:
        return _RowSum(axes, _with(jax.lax.reduce_sum, params, "axes"))
    if name == "dot_general":
        names = "dimension_numbers", "precision", "preferred_element_type"
        product = _with(jax.lax.dot_general, params, *names)
        for axis, side in zip(axes, params["dimension_numbers"][0], strict=True):
            if axis in side:
                at = list(side).index(axis)
                return _RowSum([each[at] for each in params["dimension_numbers"][0]], product)
    if name == "scatter-add" and axes[0] is None and None not in axes[1:]:
        names = "dimension_numbers", "indices_are_sorted", "unique_indices", "mode"
        scatter = _with(jax.lax.scatter_add, params, *names)

        def of_part(before, indices, updates):
            return scatter(jnp.zeros_like(before), indices, updates)

        return _RowSum(axes, of_part, added_to=0)
    return None


def _with(function: Callable, params: dict, *names: str) -> Callable:
    return partial(function, **{name: params[name] for name in names})


def _row_axis(
    name: str, params: dict, axes: list[Axis], shapes: list[tuple], shape: tuple, devices: int
) -> Axis:
    """The axis of rows of a result.

    Args:
        name, params: of the operation, which is no sum over rows.
        axes: those of rows of its operands.
        shapes: of its operands.
        shape: of the result.
        devices: their number.
    """
    axis, *_ = axes
    found: Axis = None
    if name == "dot_general":
        found = _axis_of_product(params["dimension_numbers"], axes, shapes)
    elif name == "gather":
        offsets = params["dimension_numbers"].offset_dims
        kept = [k for k in range(len(shape)) if k not in offsets]
        found = None if axes[1] is None else kept[axes[1]]
    elif axis is None or name not in {*_REMOVING, "transpose", "broadcast_in_dim", "reshape"}:
        found = _axis_of_like(axes, shapes, shape)
    elif name == "transpose":
        found = params["permutation"].index(axis)
    elif name == "broadcast_in_dim":
        found = params["broadcast_dimensions"][axis]
    elif name == "reshape":
        before = prod(shapes[0][:axis])
        same = (k for k, size in enumerate(shape) if size > 1 and prod(shape[:k]) == before)
        found = next(same, None)
    else:
        removed = params[_REMOVING[name]]
        found = None if axis in removed else axis - sum(each < axis for each in removed)
    return found if found is not None and shape[found] % devices == 0 else None


_REMOVING = {  # operations that remove axes, and what these are called
    "squeeze": "dimensions",
    **dict.fromkeys(("reduce_sum", "reduce_max", "reduce_min", "reduce_prod"), "axes"),
    **dict.fromkeys(("reduce_and", "reduce_or", "argmax", "argmin"), "axes"),
}


def _axis_of_product(dimension_numbers: tuple, axes: list[Axis], shapes: list[tuple]) -> Axis:
    """The axis of rows of a product: axes of both come first, then those of the first operand."""
    contracted, both = dimension_numbers
    before = len(both[0])
    for axis, shape, gone, shared in zip(axes, shapes, contracted, both, strict=True):
        free = [k for k in range(len(shape)) if k not in (*gone, *shared)]
        if axis in shared:
            return list(shared).index(axis)
        if axis in free:
            return before + free.index(axis)
        before += len(free)
    return None


def _axis_of_like(axes: list[Axis], shapes: list[tuple], shape: tuple) -> Axis:
    """The axis of rows of an operand with as many axes, and as many rows, as the result."""
    for axis, its in zip(axes, shapes, strict=True):
        if axis is not None and len(its) == len(shape) and its[axis] == shape[axis]:
            return axis
    return None
