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
    product,
)


@dataclass(frozen=True)
class ResetBeforeArithmetic(CellArithmetic):
    """A GRU whose reset gate multiplies the state before its product (``reset_after=False``).

    Its step needs a product between the gates: ``NativeRecurrence`` has it.
    """


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

    def _advance(self, operands: Operands, of_input: list, states: tuple) -> tuple[tuple, tuple]:
        if not isinstance(self.cell, ResetBeforeArithmetic):
            return super()._advance(operands, of_input, states)
        (hidden,), first = states, 2 * states[0].shape[-1]  # columns of the gates
        matrix, dropout = operands["recurrent_kernel"], operands.get("recurrent_dropout")
        of_gates, of_candidate = (None, None) if dropout is None else (dropout[:2], dropout[2:])
        of_state = jnp.split(product(hidden, matrix[:, :first], of_gates), 2, axis=-1)
        z, r = map(self.cell.recurrent_activation, map(jnp.add, of_input[:2], of_state))
        of_state = product(r * hidden, matrix[:, first:], of_candidate)
        candidate = self.cell.activation(of_input[2] + of_state)
        return (z * hidden + (1 - z) * candidate,), ()

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
