"""``jit`` for small programs on the CPU, whose time is mostly the overhead of starting operations.

XLA:CPU runs a program as a sequence of small calls ("thunks"), each of which costs more than the
arithmetic of a small recurrent step. With the frontend attribute ``xla_cpu_small_call`` the program
is compiled to a single function instead. Limits: the attribute is not documented, and XLA aborts
the process on some programs that it cannot compile this way. It is therefore set only on programs
that consist of operations known to work, with every argument used; if XLA raises an error, plain
``jit`` is used. ``is_small`` has the sizes up to which it is faster, measured by
``benchmarks/small_programs.py``; a test fails if a jaxlib ignores the attribute.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend.core import subjaxprs
from jax.stages import Wrapped

_ONE_FUNCTION = {"xla_cpu_small_call": "true", "inlineable": "false"}
# In bits, or what the processor has. XLA's default is 256.
_WIDE_VECTORS = {"xla_cpu_prefer_vector_width": "512"}
_ONE_FUNCTION_OPTIONS = {
    "xla_cpu_experimental_ynn_fusion_type": "",  # its products cannot be part of one function
    **_WIDE_VECTORS,
}
ONE_ROW_WEIGHTS = 100_000  # trainable weights up to which it is faster for a batch of one
SEVERAL_ROWS_WEIGHTS = 10_000  # rows times weights up to which it is faster for larger batches
_SUPPORTED_OPERATIONS = frozenset(
    """
    abs add add_any and and_p argmax argmin atan2 bitcast_convert_type broadcast_in_dim cbrt ceil
    clamp concatenate cond convert_element_type copy copy_p cos custom_jvp_call custom_vjp_call
    custom_vjp_call_jaxpr div dot_general dynamic_slice dynamic_update_slice eq erf exp exp2 expm1
    floor gather ge gt integer_pow iota is_finite jit le log log1p logistic lt max min mul ne neg
    not or pad pjit pow random_bits random_fold_in random_seed random_split random_unwrap
    random_wrap reduce_and reduce_max reduce_min reduce_or reduce_prod reduce_sum rem reshape rev
    round rsqrt scan scatter select_n shift_left shift_right_arithmetic shift_right_logical sign
    sin slice split sqrt square squeeze stack stop_gradient sub tan tanh threefry2x32 transpose
    while xla_metadata_value xor
    """.split()
)


class SingleFunctionProgram:
    """A program that XLA:CPU compiles to one function; plain ``jit`` if that is not possible.

    Attributes:
        is_one_function: whether it was possible; False before the first call.
    """

    def __init__(self, run: Callable):
        self.is_one_function = False
        self._run: Any = jax.jit(run, inline=True)  # whose trace is kept, for both ways to compile
        self._compiled: Callable | None = None

    def __call__(self, *arguments):
        if self._compiled is None:
            return self._compile(*arguments)
        return self._compiled(*arguments)

    def _compile(self, *arguments):
        """Choose the way to compile by the operations; returns the first call's results."""
        if all(each.size for each in jax.tree.leaves(arguments)):
            operations = _operations(self._run.trace(*arguments).jaxpr.jaxpr)
            if operations <= _SUPPORTED_OPERATIONS:
                marked = self._marked()
                try:
                    results, _ = marked(*arguments)
                except jax.errors.JaxRuntimeError:  # XLA cannot compile it to one function
                    pass
                else:
                    self._compiled = lambda *arguments: marked(*arguments)[0]
                    self.is_one_function = True
                    return results
        self._compiled = jax.jit(self._run)
        return self._compiled(*arguments)

    def _marked(self) -> Any:
        """``jit`` of the program with the attribute; returns the results and an unused array."""

        def with_every_argument(*arguments):
            # XLA aborts if the function does not read an argument: read one element of each.
            leaves = jax.tree.leaves(arguments)
            read = jnp.stack([each.ravel()[0].astype(jnp.float32) for each in leaves])
            return self._run(*arguments), read

        inner = jax.jit(with_every_argument, inline=False)

        def run(*arguments):
            results = inner(*arguments)
            return jax.tree.map(lambda each: set_xla_metadata(each, **_ONE_FUNCTION), results)

        return jax.jit(run, compiler_options=_options())


def jit_one_row(run: Callable, weights: int) -> Callable:
    """``jit`` of a loop over steps of a batch of one.

    Args:
        run: a pure function.
        weights: number of weights that a step reads.
    """
    return SingleFunctionProgram(run) if _is_small_step(weights) else jax.jit(run)


def jit_several_rows(run: Callable, weights: int) -> Callable:
    """``jit`` of a step, or of steps, of several rows; as for ``jit_one_row``."""
    small = _is_small_step(weights) and _are_options_supported()
    return jax.jit(run, compiler_options=_options() if small else None)


def jit_wide(run: Callable) -> Wrapped:
    """``jit`` of a program of any size, with vectors as wide as the processor has on a CPU."""
    wide = jax.default_backend() == "cpu" and _are_options_supported()
    return jax.jit(run, compiler_options=_WIDE_VECTORS if wide else None)


def _is_small_step(weights: int) -> bool:
    return jax.default_backend() == "cpu" and weights <= ONE_ROW_WEIGHTS


def _options() -> dict:
    """The compiler options; level 0 where JAX is set to compile with few optimizations."""
    level = 0 if jax.config.read("jax_disable_most_optimizations") else 1
    return {"xla_backend_optimization_level": level, **_ONE_FUNCTION_OPTIONS}


@cache
def _are_options_supported() -> bool:
    """Whether this XLA knows all of the options."""
    try:
        jax.jit(lambda x: x + 1, compiler_options=_options())(np.float32(0))
    except jax.errors.JaxRuntimeError:
        return False
    return True


def is_small(rows: int, weights: int, training: bool) -> bool:
    """Whether a step is so small that it runs faster as one function.

    Inside one function, matrix products are plain loops. With one row they are products with a
    vector, for which plain loops stay faster up to large sizes. With more rows XLA's own products
    are faster from small sizes on: only training steps gain, so an evaluation keeps the program,
    and with it the exact results, of Keras.

    Args:
        rows: rows of a batch.
        weights: number of trainable weights.
        training: whether the step is a training step.
    """
    if rows == 1:
        return _is_small_step(weights)
    on_cpu = jax.default_backend() == "cpu"
    return on_cpu and training and rows * weights <= SEVERAL_ROWS_WEIGHTS


def _operations(jaxpr) -> set[str]:
    """The names of all operations in a traced program, at any depth."""
    own = {equation.primitive.name for equation in jaxpr.eqns}
    return own.union(*map(_operations, subjaxprs(jaxpr)))
