"""Recurrent layers over time in JAX, with a backward pass that multiplies once for each weight.

The derivative that JAX makes of a scan adds a product to the gradient of each weight matrix at
every step, and keeps every intermediate value. Here backpropagation through time (Werbos, 1990)
walks back over the steps for the cotangents of the weighted sums alone; the gradient of each weight
matrix is then one product over all steps and rows. The forward pass keeps the weighted sums and the
states before each step; activations are computed again, which costs less than to store them.

Limits: LSTM, GRU (``reset_after=True``) and SimpleRNN as Keras computes them, with any activations
that are pure functions. Memory grows with the number of steps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import lax

from legato._platform.custom_derivatives import Operands


@dataclass(frozen=True)
class CellArithmetic:
    """What a cell does in one step, between the products with its weights.

    Attributes:
        activation: of the candidate state, and of an LSTM's output.
        recurrent_activation: of the gates.
        state_count: number of state arrays.
    """

    activation: Callable
    recurrent_activation: Callable
    state_count: ClassVar[int] = 1

    def sums(self, of_input, of_state, bias, recurrent_bias) -> tuple:
        """The weighted sums that ``advance`` takes: one array of all gates, (rows, gates · units);
        or two, of the input and of the state.

        Args:
            of_input: product of the input and its weights, (rows, gates · units).
            of_state: product of the state and its weights, as large.
            bias: (gates · units,), or None.
            recurrent_bias: bias of the state's product, or None.
        """
        raise NotImplementedError

    def advance(self, sums: tuple, states: tuple) -> tuple:
        """The states after a step, each (rows, units)."""
        raise NotImplementedError


class LSTMArithmetic(CellArithmetic):
    state_count = 2

    def sums(self, of_input, of_state, bias, recurrent_bias):
        return (plus(of_input + of_state, bias),)

    def advance(self, sums, states):
        gate, activation = self.recurrent_activation, self.activation
        i, f, candidate, o = jnp.split(sums[0], 4, axis=-1)
        carry = gate(f) * states[1] + gate(i) * activation(candidate)
        return gate(o) * activation(carry), carry


class GRUArithmetic(CellArithmetic):
    """The reset gate multiplies the state's product, so that sums of input and state stay apart."""

    def sums(self, of_input, of_state, bias, recurrent_bias):
        return plus(of_input, bias), plus(of_state, recurrent_bias)

    def advance(self, sums, states):
        gate, activation = self.recurrent_activation, self.activation
        (z, r, candidate), (z_state, r_state, candidate_state) = (
            jnp.split(each, 3, axis=-1) for each in sums
        )
        z, r = gate(z + z_state), gate(r + r_state)
        return (z * states[0] + (1 - z) * activation(candidate + r * candidate_state),)


class SimpleRNNArithmetic(CellArithmetic):
    def sums(self, of_input, of_state, bias, recurrent_bias):
        return (plus(of_input, bias) + of_state,)

    def advance(self, sums, states):
        return (self.activation(sums[0]),)


def plus(array, bias):
    return array if bias is None else array + bias


@dataclass(frozen=True)
class JaxRecurrence:
    """A cell over all steps, a ``custom_derivatives.Function``.

    Its operands, of which the last six may be missing:

    * ``inputs``, (rows, steps, features);
    * ``recurrent_kernel``, (units, gates · units);
    * ``state_0`` and, for an LSTM, ``state_1``, (rows, units) each, in Keras's order;
    * ``kernel``, (features, gates · units); without it, ``inputs`` are multiplied already;
    * ``bias`` of the input's product and ``recurrent_bias`` of the state's, (gates · units,) each;
    * ``mask``, booleans (rows, steps): where it is False, the states stay as they are;
    * ``recurrent_dropout``, (1 or gates, rows, units): multiplies the state before its product.

    Its results are the hidden states after all steps, (rows, steps, units), and the last states.

    Attributes:
        cell: what a step computes.
        sequences: whether the hidden states of all steps are among the results.
    """

    cell: CellArithmetic
    sequences: bool

    @property
    def result_count(self) -> int:
        return self.sequences + self.cell.state_count

    def reference(self, operands: Operands) -> tuple:
        return self._scan(operands, keep=False)[0]

    run = reference

    def run_and_keep(self, operands: Operands) -> tuple[tuple, tuple]:
        return self._scan(operands, keep=True)

    def _scan(self, operands: Operands, keep: bool) -> tuple[tuple, tuple]:
        """The results, and the weighted sums and the states before each step, (steps, rows, …)."""

        def step(states, read):
            x, mask = read
            sums = self._sums(operands, x, states[0])
            after = self._advance(sums, states, mask)
            return after, (after[0] if self.sequences else None, (*sums, *states) if keep else ())

        first = tuple(operands[f"state_{k}"] for k in range(self.cell.state_count))
        last, (hidden, kept) = lax.scan(step, first, _by_step(operands))
        if hidden is None:
            return last, kept
        return (jnp.swapaxes(hidden, 0, 1), *last), kept

    def _sums(self, operands: Operands, x, hidden) -> tuple:
        kernel = operands.get("kernel")
        of_input = x if kernel is None else x @ kernel
        of_state = product(hidden, operands["recurrent_kernel"], operands.get("recurrent_dropout"))
        return self.cell.sums(
            of_input, of_state, operands.get("bias"), operands.get("recurrent_bias")
        )

    def _advance(self, sums: tuple, states: tuple, mask) -> tuple:
        after = self.cell.advance(sums, states)
        if mask is None:
            return after
        pairs = zip(after, states, strict=True)
        return tuple(jnp.where(mask[:, None], new, old) for new, old in pairs)

    def backward(
        self, operands: Operands, kept: Sequence, cotangents: Sequence, wanted: Sequence[str]
    ) -> tuple:
        count = self.cell.state_count
        sums, states = tuple(kept[:-count]), tuple(kept[-count:])
        xs, masks = _by_step(operands)
        kernel, scales = operands.get("kernel"), operands.get("recurrent_dropout")
        transposed = operands["recurrent_kernel"].T

        def step(d_states, read):
            d_hidden, sums, states, mask = read
            if d_hidden is not None:
                d_states = (d_states[0] + d_hidden, *d_states[1:])
            _, vjp = jax.vjp(partial(self._advance, mask=mask), sums, states)
            d_sums, (d_first, *others) = vjp(d_states)
            return (d_first + _d_values(d_sums[-1], transposed, scales), *others), d_sums

        d_hidden = jnp.swapaxes(cotangents[0], 0, 1) if self.sequences else None
        d_last = tuple(cotangents[self.sequences :])
        d_first, d_sums = lax.scan(step, d_last, (d_hidden, sums, states, masks), reverse=True)
        d_input, d_state = d_sums[0], d_sums[-1]  # the same where there is one sum
        found = {f"state_{k}": each for k, each in enumerate(d_first)}
        found["recurrent_kernel"] = _d_matrix(states[0], d_state, scales)
        found["bias"], found["recurrent_bias"] = d_input.sum((0, 1)), d_state.sum((0, 1))
        if kernel is None:
            found["inputs"] = jnp.swapaxes(d_input, 0, 1)
        else:
            found["inputs"] = jnp.swapaxes(d_input @ kernel.T, 0, 1)
            found["kernel"] = _d_matrix(xs, d_input, None)
        return tuple(found[name] for name in wanted)


def _by_step(operands: Operands) -> tuple:
    """The inputs, (steps, rows, …), and the mask, (steps, rows), or None."""
    mask = operands.get("mask")
    return jnp.swapaxes(operands["inputs"], 0, 1), None if mask is None else mask.T


def product(values, matrix, scales):
    """``values @ matrix``; with scales, the values are multiplied by one of them for each gate.

    Args:
        values: (…, rows, units).
        matrix: (units, gates · units).
        scales: (1 or gates, rows, units), or None.
    """
    if scales is None:
        return values @ matrix
    parts = jnp.split(matrix, len(scales), axis=1)
    return jnp.concatenate([(values * s) @ m for s, m in zip(scales, parts, strict=True)], -1)


def _d_values(d_product, transposed, scales):
    """The cotangent of the values of ``product``, from the transposed matrix."""
    if scales is None:
        return d_product @ transposed
    gates = len(scales)
    parts = zip(jnp.split(d_product, gates, -1), jnp.split(transposed, gates), scales, strict=True)
    return sum((d @ t) * s for d, t, s in parts)


def _d_matrix(values, d_product, scales):
    """The gradient of the matrix of ``product``, over all steps and rows."""

    def over_steps(values, d_product):
        return lax.dot_general(values, d_product, (((0, 1), (0, 1)), ((), ())))

    if scales is None:
        return over_steps(values, d_product)
    parts = zip(jnp.split(d_product, len(scales), -1), scales, strict=True)
    return jnp.concatenate([over_steps(values * s, d) for d, s in parts], -1)
