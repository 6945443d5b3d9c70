"""A batch of ``predict`` as a function of numbers, its derivatives, and whether its rows mix.

**The function.** (state before, inputs) → (state after, outputs), as ``predict``'s own compiled
step computes it, each side an array (lanes, numbers). A lane is a row, or the batch where rows mix.

**Whether rows mix** is found by the derivative too: for each bit of the row number, the rows with
that bit set, and those without, are moved in a random direction, and no other row may change.

**Limits.** Derivatives are float32. Integer inputs and states are held constant. A dependence
between rows whose derivative is zero everywhere on the data is not seen.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from legato._execution.compiled_loop import CompiledLoop, LoopPlan


class DifferentiatedStep:
    """The step of a model's ``predict``, compiled with its derivatives once for each shape.

    Args:
        loop: of ``predict``.
        state: floating point numbers of state in a row.
        output: index on the last axis of the outputs; None for all of them.

    Attributes:
        scan: ``scan(values, memory, variables, x, starts)`` runs some batches: the final memory and
            variables, the memory before each batch, and whether rows mix.
        derivatives: ``derivatives(forward_mode, one_lane, values, directions, memory, x, starts)``
            → (batches, directions, lanes, numbers); in forward mode directions are of state and
            inputs, in reverse mode of state and outputs.
    """

    def __init__(self, loop: CompiledLoop, state: int, output: int | None):
        self._loop, self._state, self._output = loop, state, output
        self.scan = jax.jit(self._scan)
        self.derivatives = jax.jit(self._derivatives, static_argnums=(0, 1))

    @classmethod
    def of(cls, loop: CompiledLoop, state: int, output: int | None) -> "DifferentiatedStep":
        """The step of a loop, which keeps it: a second run of the same shapes compiles nothing."""
        known = loop.differentiated.get((state, output))
        if known is None:
            known = loop.differentiated[state, output] = cls(loop, state, output)
        return known

    def _scan(self, values, memory, variables, x, starts):
        """Run some batches: the final carry, the memory before each, and whether rows mix."""

        def body(carry, batch):
            memory, variables = carry
            now, (x, starts) = values._replace(non_trainable=variables), batch
            step = step_of(self._loop, len(jax.tree.leaves(x)[0]))
            _, changed, after = step(now, memory, (x,), starts)
            mixed = self._rows_mix(now, memory, x, starts)
            return (after, changed.non_trainable), (memory, mixed)

        carry, (before, mixed) = jax.lax.scan(body, (memory, variables), (x, starts))
        return carry, before, mixed.any()

    def _rows_mix(self, values, memory, x, starts):
        """Whether any row depends on another; any two rows differ in a bit of their number."""
        function, at = self._flat_function(values, memory, x, starts, 1)
        rows = np.arange(len(at))
        bits = [rows >> bit & 1 == 1 for bit in range((len(rows) - 1).bit_length())]
        if not bits:
            return jnp.array(False)
        groups = np.array([*bits, *[~each for each in bits]])
        direction = np.random.default_rng(0).normal(size=at.shape).astype("float32")

        def changes_others(group):
            change = jax.jvp(function, (at,), (jnp.where(group[:, None], direction, 0),))[1]
            return jnp.any(jnp.where(group[:, None], 0, change) != 0)

        return jax.vmap(changes_others)(groups).any()

    def _flat_function(self, values, memory, x, starts, samples: int) -> tuple[Callable, jax.Array]:
        """A batch as a function of arrays (lanes, numbers), state first, and its argument.

        ``samples`` is the number of samples in a lane.
        """
        leaves, structure = jax.tree.flatten((memory, x))
        differentiable = [at for at, each in enumerate(leaves) if is_floating(each)]
        rows = len(jax.tree.leaves(x)[0])
        lanes, state = rows // samples, self._state

        def joined(carried: list, others: list):
            parts = [_flattened(each, rows) for each in (carried, others)]
            return jnp.concatenate([each.reshape(lanes, -1) for each in parts], axis=1)

        def function(flat):
            parts = jnp.split(flat, [samples * state], axis=1)
            flat = jnp.concatenate([each.reshape(rows, -1) for each in parts], axis=1)
            arguments, begin = list(leaves), 0
            for at in differentiable:
                size = leaves[at].size // rows
                part = flat[:, begin : begin + size].reshape(leaves[at].shape)
                arguments[at], begin = part.astype(leaves[at].dtype), begin + size
            before, inputs = jax.tree.unflatten(structure, arguments)
            outputs, _, after = step_of(self._loop, rows)(values, before, (inputs,), starts)
            outputs = jax.tree.leaves(outputs)
            if self._output is not None:
                outputs = [each[..., self._output] for each in outputs]
            return joined(floating(after), outputs)

        return function, joined(floating(memory), floating(jax.tree.leaves(x)))

    def _derivatives(
        self, forward_mode: bool, one_lane: bool, values, directions, memory, x, starts
    ):
        """``_along`` for several batches of one size, (batches, …)."""
        along = partial(self._along, forward_mode, one_lane)
        return jax.vmap(along, in_axes=(None, None, 0, 0, 0))(values, directions, memory, x, starts)

    def _along(self, forward_mode: bool, one_lane: bool, values, directions, memory, x, starts):
        """Derivatives along directions, each the same in every lane: (directions, lanes, numbers).

        In forward mode directions are of state and inputs, in reverse mode of state and outputs.
        """
        samples = len(jax.tree.leaves(x)[0]) if one_lane else 1
        function, at = self._flat_function(values, memory, x, starts, samples)

        def forward(direction):
            return jax.jvp(function, (at,), (jnp.broadcast_to(direction, at.shape),))[1]

        if forward_mode:
            return jax.vmap(forward)(directions)
        result, pull = jax.vjp(function, at)
        return jax.vmap(lambda each: pull(jnp.broadcast_to(each, result.shape))[0])(directions)


def step_of(loop: CompiledLoop, rows: int) -> Callable:
    """(values, memory, data, starts) → (outputs, changed values, memory), as in ``predict``."""
    return loop.single_batch(LoopPlan(rows, rows, rows, 1, "never", 1, 1), compiled=False)


def is_floating(array) -> bool:
    return jnp.issubdtype(array.dtype, jnp.floating)


def floating(arrays: list) -> list:
    """The arrays that can be differentiated."""
    return [each for each in arrays if is_floating(each)]


def _flattened(arrays: list, rows: int) -> jax.Array:
    """The numbers of each row side by side, (rows, numbers)."""
    flat = [each.reshape(rows, -1).astype("float32") for each in arrays]
    return jnp.concatenate([jnp.zeros((rows, 0), "float32"), *flat], axis=1)
