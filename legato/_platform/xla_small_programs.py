"""``jit`` for programs so small that starting their operations is most of what they cost.

XLA:CPU runs a program as a chain of small calls ("thunks"), each of which costs more than the
arithmetic of a small recurrent step. A computation marked as below is emitted as one function
instead. The mark is not documented, and XLA aborts the process on some programs it cannot emit: so
it is put only on programs made of operations known to be emitted, with every argument used, and
where XLA refuses, a plain ``jit`` takes its place. ``is_small`` says where it pays
(``benchmarks/small_programs.py`` measures it), and a test notices a jaxlib that ignores it.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend.core import subjaxprs

_ONE_FUNCTION = {"xla_cpu_small_call": "true", "inlineable": "false"}
_ONE_FUNCTION_OPTIONS = {
    "xla_backend_optimization_level": 1,
    "xla_cpu_experimental_ynn_fusion_type": "",  # its products cannot be emitted inside a function
    "xla_cpu_prefer_vector_width": "512",  # as wide as the processor has; XLA stops at 256 bits
}
ONE_ROW_WEIGHTS = 100_000  # trainable weights up to which it pays for a batch of one
SEVERAL_ROWS_WEIGHTS = 10_000  # rows times weights up to which it pays for larger batches
_EMITTED = frozenset(
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
    """``jit`` of a program that XLA:CPU emits as one function, or plain ``jit`` where it cannot."""

    def __init__(self, run: Callable):
        self._run = run
        self._compiled: Callable | None = None

    def __call__(self, *arguments):
        if self._compiled is None:
            return self._compile(*arguments)
        return self._compiled(*arguments)

    def _compile(self, *arguments):
        """Choose by what the program is made of; returns the first call's results."""
        marked = self._marked()
        if all(each.size for each in jax.tree.leaves(arguments)):
            made_of = _operations(marked.trace(*arguments).jaxpr.jaxpr)
            if made_of <= _EMITTED:
                try:
                    results, _ = marked(*arguments)
                except jax.errors.JaxRuntimeError:  # XLA says no to what it cannot emit this way
                    pass
                else:
                    self._compiled = lambda *arguments: marked(*arguments)[0]
                    return results
        self._compiled = jax.jit(self._run)
        return self._compiled(*arguments)

    def _marked(self) -> Any:
        def with_every_argument(*arguments):
            # An argument that nothing in the function reads makes XLA abort: read one element each.
            leaves = jax.tree.leaves(arguments)
            read = jnp.stack([each.ravel()[0].astype(jnp.float32) for each in leaves])
            return self._run(*arguments), read

        inner = jax.jit(with_every_argument, inline=False)

        def run(*arguments):
            results = inner(*arguments)
            return jax.tree.map(lambda each: set_xla_metadata(each, **_ONE_FUNCTION), results)

        return jax.jit(run, compiler_options=_ONE_FUNCTION_OPTIONS)


def jit_one_row(run: Callable, weights: int) -> Callable:
    """``jit`` of a loop over steps of a batch of one.

    Args:
        run: pure.
        weights: numbers that a step reads.
    """
    return SingleFunctionProgram(run) if _takes_little(weights) else jax.jit(run)


def jit_several_rows(run: Callable, weights: int) -> Callable:
    """``jit`` of a step, or of steps, of several rows; as for ``jit_one_row``."""
    return (
        jax.jit(run, compiler_options=_known_options()) if _takes_little(weights) else jax.jit(run)
    )


def _takes_little(weights: int) -> bool:
    return jax.default_backend() == "cpu" and weights <= ONE_ROW_WEIGHTS


@cache
def _known_options() -> dict:
    """The options for small steps; none if XLA does not know one of them."""
    try:
        jax.jit(lambda x: x + 1, compiler_options=_ONE_FUNCTION_OPTIONS)(np.float32(0))
    except jax.errors.JaxRuntimeError:
        return {}
    return _ONE_FUNCTION_OPTIONS


def is_small(rows: int, weights: int, training: bool) -> bool:
    """Whether one step is so little arithmetic that starting each operation is most of its cost.

    Emitted as one function, matrix products are plain loops. For a batch of one they are products
    with a vector, and that pays far; for more rows XLA's own products soon win, so that only a
    training step gains, and an evaluation stays what Keras computes, to the bit.

    Args:
        rows: in a batch.
        weights: trainable ones.
        training: whether the step changes them.
    """
    if rows == 1:
        return _takes_little(weights)
    on_cpu = jax.default_backend() == "cpu"
    return on_cpu and training and rows * weights <= SEVERAL_ROWS_WEIGHTS


def _operations(jaxpr) -> set[str]:
    """The names of all operations in a traced program, at any depth."""
    own = {equation.primitive.name for equation in jaxpr.eqns}
    return own.union(*map(_operations, subjaxprs(jaxpr)))
