"""Recurrent layers over time in JAX, with a backward pass that multiplies once for each weight.

The derivative that JAX makes of a scan adds a product to the gradient of each weight matrix at
every step, and keeps every intermediate value. Here backpropagation through time (Werbos, 1990)
walks back over the steps for the cotangents of the weighted sums alone; the gradient of each weight
matrix is then one product over all steps and rows.

* Inputs are multiplied for all steps at once, before the scan.
* The forward pass keeps what the backward pass needs of a step: the states before it, and the
  activated gates. The derivatives of sigmoid and tanh follow from their values; of other
  activations, the arguments are kept, and JAX derives.
* What a scan reads or keeps for each gate is an array of its own: XLA reads a part of a step's
  slice several times as slowly as a whole one.

Limits: LSTM, GRU (``reset_after=True``) and SimpleRNN as Keras computes them, with any activations
that are pure functions. Memory grows with the number of steps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import keras
from jax import lax

from legato._platform.custom_derivatives import Operands


def _sigmoid_slope(value):
    return value * (1 - value)


def _tanh_slope(value):
    return 1 - value * value


# The derivatives of activations, from their values.
_SLOPES: dict[Callable, Callable] = {
    keras.activations.sigmoid: _sigmoid_slope,
    jax.nn.sigmoid: _sigmoid_slope,
    keras.activations.tanh: _tanh_slope,
    jnp.tanh: _tanh_slope,
}


def activate(activation: Callable, sums) -> tuple:
    """The value of an activation, and what ``reactivate`` takes."""
    value = activation(sums)
    return value, value if activation in _SLOPES else sums


def reactivate(activation: Callable, kept) -> tuple:
    """The value of an activation; and the function from its cotangent to that of its argument."""
    if slope := _SLOPES.get(activation):
        return kept, lambda d_value: d_value * slope(kept)
    value, vjp = jax.vjp(activation, kept)
    return value, lambda d_value: vjp(d_value)[0]


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

    def advance(self, of_input: Sequence, of_state: Sequence, states: tuple) -> tuple[tuple, tuple]:
        """The states after a step, and arrays for ``retreat``, each (rows, units).

        Args:
            of_input: for each gate, the product of the input and its weights, (rows, units); with
                the bias, if there is one.
            of_state: the same of the state.
            states: before the step.
        """
        raise NotImplementedError

    def retreat(self, kept: Sequence, states: tuple, d_states: tuple) -> tuple[tuple, tuple]:
        """Back over a step, from the cotangents of the states after it.

        Returns:
            The cotangents of the state's product, (rows, gates · units), and of what
            ``d_of_input`` also needs; and those of the states before the step, but for what comes
            through the state's product, where None is zero.
        """
        raise NotImplementedError

    def d_of_input(self, d_sums: tuple) -> list:
        """The cotangents of the input's product, (…, rows, columns), side by side its columns."""
        return [d_sums[0]]


class LSTMArithmetic(CellArithmetic):
    state_count = 2

    @property
    def _activations(self) -> tuple:
        gate = self.recurrent_activation
        return gate, gate, self.activation, gate

    def advance(self, of_input, of_state, states):
        sums = map(jnp.add, of_input, of_state)
        values, kept = zip(*map(activate, self._activations, sums), strict=True)
        i, f, candidate, o = values
        carry = f * states[1] + i * candidate
        return (o * self.activation(carry), carry), kept

    def retreat(self, kept, states, d_states):
        (i, to_i), (f, to_f), (candidate, to_candidate), (o, to_o) = map(
            reactivate, self._activations, kept
        )
        output, to_carry = jax.vjp(self.activation, f * states[1] + i * candidate)
        d_hidden, d_carry = d_states
        d_carry = d_carry + to_carry(d_hidden * o)[0]
        d_sums = [
            to_i(d_carry * candidate),
            to_f(d_carry * states[1]),
            to_candidate(d_carry * i),
            to_o(d_hidden * output),
        ]
        return (jnp.concatenate(d_sums, -1),), (None, d_carry * f)


class GRUArithmetic(CellArithmetic):
    """The reset gate multiplies the state's product, so that sums of input and state stay apart."""

    def advance(self, of_input, of_state, states):
        (z, r, candidate), (z_state, r_state, candidate_state) = of_input, of_state
        z, kept_z = activate(self.recurrent_activation, z + z_state)
        r, kept_r = activate(self.recurrent_activation, r + r_state)
        candidate, kept = activate(self.activation, candidate + r * candidate_state)
        after = z * states[0] + (1 - z) * candidate
        return (after,), (kept_z, kept_r, kept, candidate_state)

    def retreat(self, kept, states, d_states):
        z, to_z = reactivate(self.recurrent_activation, kept[0])
        r, to_r = reactivate(self.recurrent_activation, kept[1])
        candidate, to_candidate = reactivate(self.activation, kept[2])
        d_z = to_z(d_states[0] * (states[0] - candidate))
        d_candidate = to_candidate(d_states[0] * (1 - z))
        d_r = to_r(d_candidate * kept[3])
        d_of_state = jnp.concatenate([d_z, d_r, d_candidate * r], -1)
        return (d_of_state, d_candidate), (d_states[0] * z,)

    def d_of_input(self, d_sums):
        d_of_state, d_candidate = d_sums
        return [d_of_state[..., : 2 * d_candidate.shape[-1]], d_candidate]


class SimpleRNNArithmetic(CellArithmetic):
    def advance(self, of_input, of_state, states):
        value, kept = activate(self.activation, of_input[0] + of_state[0])
        return (value,), (kept,)

    def retreat(self, kept, states, d_states):
        return (reactivate(self.activation, kept[0])[1](d_states[0]),), (None,)


def plus(array, other):
    return array if other is None else array + other


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
        """The results; and the states before each step and what the cell keeps of it, (steps,
        rows, units) each."""
        xs, masks = _by_step(operands)
        if "kernel" in operands:
            xs = [xs @ each for each in _by_gate(operands["kernel"], operands)]
        else:
            xs = _by_gate(xs, operands)

        def step(states, read):
            x, mask = read
            biases = _by_gate(operands.get("bias"), operands)
            after, kept = self._advance(operands, list(map(plus, x, biases)), states)
            after = _where(mask, after, states)
            hidden = after[0] if self.sequences else None
            return after, (hidden, (*states, *kept) if keep else ())

        first = tuple(operands[f"state_{k}"] for k in range(self.cell.state_count))
        last, (hidden, kept) = lax.scan(step, first, (xs, masks))
        if hidden is None:
            return last, kept
        return (jnp.swapaxes(hidden, 0, 1), *last), kept

    def _advance(self, operands: Operands, of_input: list, states: tuple) -> tuple[tuple, tuple]:
        """A step of the cell, from the product of the input."""
        matrix, scales = operands["recurrent_kernel"], operands.get("recurrent_dropout")
        of_state = plus(product(states[0], matrix, scales), operands.get("recurrent_bias"))
        return self.cell.advance(of_input, _by_gate(of_state, operands), states)

    def backward(
        self, operands: Operands, kept: Sequence, cotangents: Sequence, wanted: Sequence[str]
    ) -> tuple:
        xs, masks = _by_step(operands)
        scales, transposed = operands.get("recurrent_dropout"), operands["recurrent_kernel"].T
        count = self.cell.state_count

        def step(d_states, read):
            d_hidden, mask, states, kept = read
            d_after = (plus(d_states[0], d_hidden), *d_states[1:])
            d_new = _where(mask, d_after, (0,) * len(d_after))
            d_sums, d_before = self.cell.retreat(kept, states, d_new)
            through_product = _d_values(d_sums[0], transposed, scales)
            d_before = (plus(through_product, d_before[0]), *d_before[1:])
            if mask is not None:
                d_before = map(jnp.add, d_before, _where(~mask, d_after, (0,) * len(d_after)))
            return tuple(d_before), d_sums

        d_hidden = jnp.swapaxes(cotangents[0], 0, 1) if self.sequences else None
        d_last = tuple(cotangents[self.sequences :])
        read = (d_hidden, masks, tuple(kept[:count]), tuple(kept[count:]))
        d_first, d_sums = lax.scan(step, d_last, read, reverse=True)
        found = {f"state_{k}": each for k, each in enumerate(d_first)}
        found["recurrent_kernel"] = _d_matrix(kept[0], d_sums[0], scales)
        found["recurrent_bias"] = d_sums[0].sum((0, 1))
        d_of_input = self.cell.d_of_input(d_sums)
        found["bias"] = jnp.concatenate([each.sum((0, 1)) for each in d_of_input])
        d_inputs = jnp.concatenate(d_of_input, -1)
        if (kernel := operands.get("kernel")) is not None:
            parts = [_d_matrix(xs, each, None) for each in d_of_input]
            found["kernel"] = jnp.concatenate(parts, -1)
            d_inputs = d_inputs @ kernel.T
        found["inputs"] = jnp.swapaxes(d_inputs, 0, 1)
        return tuple(found[name] for name in wanted)


def _by_step(operands: Operands) -> tuple:
    """The inputs, (steps, rows, …), and the mask, (steps, rows), or None."""
    mask = operands.get("mask")
    return jnp.swapaxes(operands["inputs"], 0, 1), None if mask is None else mask.T


def _by_gate(array, operands: Operands) -> list:
    """The parts of an array (…, gates · units); for each gate None, if there is no array."""
    units, columns = operands["recurrent_kernel"].shape
    count = columns // units
    return [None] * count if array is None else jnp.split(array, count, -1)


def _where(mask, some: tuple, others: tuple) -> tuple:
    """Rows of some arrays where the mask, (rows,), is True or there is none; else of others."""
    if mask is None:
        return some
    return tuple(jnp.where(mask[:, None], a, b) for a, b in zip(some, others, strict=True))


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
