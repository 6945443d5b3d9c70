"""Functions with a backward pass of their own, which have every other derivative too.

``jax.custom_vjp`` takes a backward pass, but refuses forward mode and, where a pass calls native
code, second derivatives. ``call`` runs a function that has an equal of plain JAX operations, its
``reference``. A gradient takes the function's own backward pass; whatever else is asked for
(``jvp``, derivatives of gradients) is that of the reference. ``vmap`` is that of the passes.

The method is that of any JAX primitive (https://docs.jax.dev/en/latest/jax-primitives.html). There
are three: the function, which also returns what its backward pass needs where a derivative is
taken; the change of its results, linear in the changes of its operands; and the transpose of that,
the backward pass. All of their derivatives are functions of the operands, so that nothing is
differentiated with respect to what was kept.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

Operands = dict[str, Any]


class Function(Protocol):
    """A pure function of named arrays. It is hashable, and equal to another one only if that
    computes the same.
    """

    @property
    def result_count(self) -> int:
        """The number of arrays it returns."""
        ...

    def reference(self, operands: Operands) -> Sequence:
        """The results, by JAX operations, which have all derivatives."""
        ...

    def run(self, operands: Operands) -> Sequence:
        """The results, equal to those of ``reference`` to rounding."""
        ...

    def run_and_keep(self, operands: Operands) -> tuple[Sequence, Sequence]:
        """The results, and arrays for ``backward``."""
        ...

    def backward(
        self, operands: Operands, kept: Sequence, cotangents: Sequence, wanted: Sequence[str]
    ) -> Sequence:
        """The cotangents of some operands.

        Args:
            operands: as for ``run_and_keep``.
            kept: the arrays that it returned for this.
            cotangents: of its results.
            wanted: the names of the operands whose cotangents are returned, in the operands' order.
        """
        ...


def call(function: Function, operands: Operands) -> list:
    """The results of a function, differentiable in every way."""
    names, arrays = tuple(operands), _varying_alike(operands.values())
    return _run_p.bind(*arrays, function=function, names=names, keep=False, vmaps=())


def _varying_alike(arrays) -> list:
    """The arrays, all of them varying over the mesh axes that one of them varies over: inside
    ``jax.shard_map``, that is how derivatives of an array that all devices share are summed."""
    own = [getattr(jax.typeof(each), "manual_axis_type", None) for each in arrays]
    all_axes = frozenset[str]().union(*(each.varying for each in own if each is not None))
    return [
        jax.lax.pcast(each, tuple(all_axes - kind.varying), to="varying")
        if kind is not None and all_axes - kind.varying
        else each
        for each, kind in zip(arrays, own, strict=True)
    ]


# What the primitives compute, from a flat list of arrays: the operands with these ``names``; then
# ``kept``, as many as that; then the changes of the operands in ``wanted``, or the cotangents.


def _run(*operands, function: Function, names, keep):
    named = dict(zip(names, operands, strict=True))
    if not keep:
        return tuple(function.run(named))
    results, kept = function.run_and_keep(named)
    return *results, *kept


def _change(*arrays, function: Function, names, kept, wanted):
    operands, changes = arrays[: len(names)], arrays[len(names) + kept :]
    by_name = dict(zip(wanted, changes, strict=True))
    reference = partial(_reference, function=function, names=names)
    return _jvp(reference, operands, [by_name.get(name) for name in names])


def _backward(*arrays, function: Function, names, kept, wanted):
    operands, rest = arrays[: len(names)], arrays[len(names) :]
    named = dict(zip(names, operands, strict=True))
    return tuple(function.backward(named, rest[:kept], rest[kept:], wanted))


# Arrays of the shapes and dtypes of those, without a derivative, which takes long to trace.


def _like_change(*arrays, function: Function, names, **_):
    return _run(*arrays[: len(names)], function=function, names=names, keep=False)


def _like_backward(*arrays, names, wanted, **_):
    operands = dict(zip(names, arrays[: len(names)], strict=True))
    return tuple(operands[name] for name in wanted)


# The same by JAX operations.


def _reference(*operands, function: Function, names):
    return tuple(function.reference(dict(zip(names, operands, strict=True))))


def _reference_run(*operands, function: Function, names, keep):
    results = _reference(*operands, function=function, names=names)
    run = partial(_run, function=function, names=names, keep=keep)
    kept = jax.eval_shape(run, *operands)[len(results) :]  # which _reference_backward does not read
    return *results, *(jnp.zeros(each.shape, each.dtype) for each in kept)


def _reference_backward(*arrays, function: Function, names, kept, wanted):
    operands, cotangents = arrays[: len(names)], arrays[len(names) + kept :]
    reference = partial(_reference, function=function, names=names)
    among, values = _only([name in wanted for name in names], reference, operands)
    return jax.vjp(among, *values)[1](cotangents)


def _jvp(function: Callable, arguments: Sequence, changes: Sequence) -> tuple:
    """The change of a function's results, from those of its arguments; None for no change."""
    among, values = _only([change is not None for change in changes], function, arguments)
    return jax.jvp(among, values, tuple(c for c in changes if c is not None))[1]


def _only(chosen: Sequence[bool], function: Callable, arguments: Sequence):
    """A function of the chosen arguments, the others as given; and the chosen arguments."""

    def of_chosen(*values):
        left = iter(values)
        return function(*(next(left) if c else a for c, a in zip(chosen, arguments, strict=True)))

    return of_chosen, tuple(a for c, a in zip(chosen, arguments, strict=True) if c)


def _vmapped(function: Callable, vmaps: Sequence[tuple]) -> Callable:
    """A function under ``vmap``, several times; each with the axes of its arguments."""
    for axes in vmaps:
        function = jax.vmap(function, in_axes=axes)
    return function


# The primitives. Under ``vmap`` they stay primitives, with their rules for derivatives; the axes
# are added to ``vmaps``.


def _primitive(
    name: str, compute: Callable, like: Callable, reference: Callable, *options: str
) -> Primitive:
    """A primitive that is evaluated and compiled as ``compute``, which has options and returns
    arrays of the shapes and dtypes of those of ``like``; where a program is exported
    (``jax.export``), as its ``reference``, which every machine can run."""
    primitive = Primitive(f"legato_{name}")
    primitive.multiple_results = True

    def vmapped(function: Callable) -> Callable:
        @partial(jax.jit, static_argnames=("vmaps", *options), inline=True)
        def run(*arrays, vmaps, **static):
            return _vmapped(partial(function, **static), vmaps)(*arrays)

        return run

    run, run_reference = vmapped(compute), vmapped(reference)
    run_like = run if like is compute else vmapped(like)

    def shapes(*arrays, **static):
        given = [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in arrays]
        results = jax.eval_shape(partial(run_like, **static), *given)
        return [_typed_as(arrays[0], each.shape, each.dtype) for each in results]

    def lowered(context, *values, **static):
        exported = context.module_context.lowering_parameters.for_export
        chosen = partial(run_reference if exported else run, **static)
        bare = [ShapedArray(each.shape, each.dtype) for each in context.avals_in]
        lower = mlir.lower_fun(chosen, multiple_results=True)
        return lower(context.replace(avals_in=bare), *values)

    def batched(arrays, axes, *, vmaps, **static):
        results = primitive.bind(*arrays, vmaps=(*vmaps, tuple(axes)), **static)
        return results, [0] * len(results)

    primitive.def_impl(lambda *arrays, **static: list(run(*arrays, **static)))
    primitive.def_abstract_eval(shapes)
    batching.primitive_batchers[primitive] = batched
    mlir.register_lowering(primitive, lowered)
    return primitive


def _typed_as(array: ShapedArray, shape: tuple, dtype) -> ShapedArray:
    """The type of an array that varies over the mesh axes that another varies over."""
    sharding = array.sharding.update(spec=[None] * len(shape))
    return array.update(shape=shape, dtype=dtype, weak_type=False, sharding=sharding)


_OF_DERIVATIVES = "function", "names", "kept", "wanted"
_run_p = _primitive("run", _run, _run, _reference_run, "function", "names", "keep")
_change_p = _primitive("change", _change, _like_change, _change, *_OF_DERIVATIVES)
_backward_p = _primitive(
    "backward", _backward, _like_backward, _reference_backward, *_OF_DERIVATIVES
)


# Their derivatives. A change that JAX knows to be zero is an object of its class ``Zero``.


def _run_jvp(operands, changes, *, function: Function, names, keep, vmaps):
    static = {"function": function, "names": names}
    arrays = _run_p.bind(*operands, **static, keep=True, vmaps=vmaps)
    results, kept = arrays[: function.result_count], arrays[function.result_count :]
    chosen = [k for k, change in enumerate(changes) if not _is_zero(change)]
    changed = _change_p.bind(
        *operands,
        *kept,
        *(changes[k] for k in chosen),
        **static,
        kept=len(kept),
        wanted=tuple(names[k] for k in chosen),
        vmaps=tuple((*axes, *[0] * len(kept), *(axes[k] for k in chosen)) for axes in vmaps),
    )
    if not keep:
        return results, changed
    return arrays, [*changed, *(ad.Zero(jax.typeof(each).to_tangent_aval()) for each in kept)]


def _change_jvp(arrays, changes, **static):
    return _change_p.bind(*arrays, **static), _jvp_without_kept(_change, arrays, changes, **static)


def _change_transpose(cotangents, *arrays, function: Function, names, kept, wanted, vmaps):
    first = len(names) + kept
    chosen = [k for k, each in enumerate(arrays) if ad.is_undefined_primal(each)]
    found = _backward_p.bind(
        *arrays[:first],
        *map(ad.instantiate_zeros, cotangents),
        function=function,
        names=names,
        kept=kept,
        wanted=tuple(wanted[k - first] for k in chosen),
        vmaps=tuple((*axes[:first], *[0] * len(cotangents)) for axes in vmaps),
    )
    results = dict(zip(chosen, found, strict=True))
    for k in chosen:
        results[k] = _with_axes(results[k], [axes[k] for axes in vmaps])
    return [results.get(k) for k in range(len(arrays))]


def _with_axes(array, axes: Sequence[int | None]):
    """The cotangent of an argument that has these axes under several ``vmap``, from an array with
    all of them in front, the last first; over those that it has not, it is the sum."""
    for k, axis in enumerate(axes):
        front = len(axes) - 1 - k
        array = array.sum(front) if axis is None else jnp.moveaxis(array, front, front + axis)
    return array


def _backward_jvp(arrays, changes, **static):
    changed = _jvp_without_kept(_reference_backward, arrays, changes, **static)
    return _backward_p.bind(*arrays, **static), changed


def _jvp_without_kept(compute: Callable, arrays, changes, *, vmaps, **static) -> tuple:
    """The change of what is computed by JAX operations, which do not read what was kept."""
    kept = range(len(static["names"]), len(static["names"]) + static["kept"])
    known = [None if _is_zero(c) or k in kept else c for k, c in enumerate(changes)]
    return _jvp(_vmapped(partial(compute, **static), vmaps), arrays, known)


def _is_zero(change) -> bool:
    return isinstance(change, ad.Zero)


ad.primitive_jvps[_run_p] = _run_jvp
ad.primitive_jvps[_change_p] = _change_jvp
ad.primitive_jvps[_backward_p] = _backward_jvp
ad.primitive_transposes[_change_p] = _change_transpose
