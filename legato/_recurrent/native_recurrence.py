"""The native kernel as a function with derivatives, a drop-in for ``JaxRecurrence``."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp

from legato._platform.custom_derivatives import Operands
from legato._recurrent import native_kernel
from legato._recurrent.jax_kernel import (
    CellArithmetic,
    GRUArithmetic,
    JaxRecurrence,
    LSTMArithmetic,
    SimpleRNNArithmetic,
    plus,
    product,
)


@dataclass(frozen=True)
class ResetBeforeArithmetic(CellArithmetic):
    """A GRU whose reset gate multiplies the state before its product (``reset_after=False``).

    Its two sums are the update gate and the candidate state, since the latter needs the reset gate.
    """

    adds_products = False

    def advance(self, sums, states):
        z, candidate = sums
        return (z * states[0] + (1 - z) * candidate,), ()


NATIVE_NAMES: dict[type[CellArithmetic], str] = {
    LSTMArithmetic: "lstm",
    GRUArithmetic: "gru",
    SimpleRNNArithmetic: "simple_rnn",
    ResetBeforeArithmetic: "gru_reset_before",
}


@dataclass(frozen=True)
class NativeRecurrence(JaxRecurrence):
    """A ``JaxRecurrence`` with native passes; derivatives of other kinds stay those in JAX.

    It takes float32 arrays, a ``kernel``, and the activations tanh and sigmoid.
    """

    def run(self, operands: Operands) -> tuple:
        return self._results(operands, keep=False)[0]

    def run_and_keep(self, operands: Operands) -> tuple[tuple, tuple]:
        results, residuals = self._results(operands, keep=True)
        return results, (residuals.gates, residuals.hidden)

    def _results(self, operands: Operands, keep: bool) -> tuple:
        bias = _joined_bias(operands)
        arguments = _arguments(self.cell, operands)
        hidden, last, residuals = native_kernel.forward(
            NATIVE_NAMES[type(self.cell)],
            **arguments,
            b=bias,
            keep=keep,
            sequences=self.sequences,
        )
        return ((hidden, *last) if self.sequences else last), residuals

    def _sums(self, operands: Operands, of_input, hidden) -> tuple:
        if not isinstance(self.cell, ResetBeforeArithmetic):
            return super()._sums(operands, of_input, hidden)
        first = 2 * hidden.shape[-1]  # columns of the gates; those of the candidate follow
        matrix, dropout = operands["recurrent_kernel"], operands.get("recurrent_dropout")
        of_gates, of_candidate = (None, None) if dropout is None else (dropout[:2], dropout[2:])
        of_input = plus(of_input, operands.get("bias"))
        gates = of_input[:, :first] + product(hidden, matrix[:, :first], of_gates)
        z, r = jnp.split(self.cell.recurrent_activation(gates), 2, axis=-1)
        of_state = product(r * hidden, matrix[:, first:], of_candidate)
        return z, self.cell.activation(of_input[:, first:] + of_state)

    def backward(
        self, operands: Operands, kept: Sequence, cotangents: Sequence, wanted: Sequence[str]
    ) -> tuple:
        gates, hidden = kept
        arguments = _arguments(self.cell, operands)
        dx, d_states, dW, dU, db = native_kernel.backward(
            NATIVE_NAMES[type(self.cell)],
            native_kernel.Residuals(gates, hidden, **arguments),
            cotangents[0] if self.sequences else None,
            tuple(cotangents[self.sequences :]),
            needs_dx="inputs" in wanted,
        )
        biases = db if db.ndim == 2 else [db]
        found = {
            "inputs": dx,
            "kernel": dW,
            "recurrent_kernel": dU,
            **dict(zip(("bias", "recurrent_bias"), biases, strict=False)),
            **{f"state_{k}": each for k, each in enumerate(d_states)},
        }
        return tuple(found[name] for name in wanted)


def _arguments(cell: CellArithmetic, operands: Operands) -> dict:
    """The arguments that both passes of the native kernel take."""
    return {
        "x": operands["inputs"],
        "states": tuple(operands[f"state_{k}"] for k in range(cell.state_count)),
        "W": operands["kernel"],
        "U": operands["recurrent_kernel"],
        "mask": operands.get("mask"),
        "recurrent_scale": operands.get("recurrent_dropout"),
    }


def _joined_bias(operands: Operands):
    """The bias as Keras's cells have it; None if there is none."""
    if "recurrent_bias" in operands:
        return jnp.stack([operands["bias"], operands["recurrent_bias"]])
    return operands.get("bias")
