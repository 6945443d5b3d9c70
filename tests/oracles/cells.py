"""Recurrent cells in plain NumPy float64, the oracles of the fast code.

Each step function is one published set of equations, row by row and step by step, with nothing
fused: the long short-term memory of Hochreiter & Schmidhuber (1997, Neural Computation 9:1735)
with the forget gate of Gers, Schmidhuber & Cummins (2000, Neural Computation 12:2451); the gated
recurrent unit of Cho et al. (2014, arXiv:1406.1078), whose version 3 resets the state before its
matrix product and whose version 1 after it; and the simple recurrent network of Elman (1990,
Cognitive Science 14:179). Weights lie as Keras keeps them, kernel, recurrent kernel, bias, with the
gates side by side in the order input, forget, candidate, output (LSTM) and update, reset,
candidate (GRU). Limits: default activations, a bias always, no dropout, forward in time only.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

State = tuple[np.ndarray, ...]  # each (rows, units)
Step = Callable[[Sequence[np.ndarray], np.ndarray, State], tuple[np.ndarray, State]]


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return the logistic function of `x`."""
    return 1.0 / (1.0 + np.exp(-x))


def softmax(x: np.ndarray) -> np.ndarray:
    """Return `x` as probabilities over its last axis."""
    raised = np.exp(x - x.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def lstm_step(weights, x, state):
    """Take one LSTM step: inputs (rows, features), state (h, c) -> h, (h, c)."""
    kernel, recurrent_kernel, bias = weights  # (F, 4U), (U, 4U), (4U,)
    h, c = state
    gates = x @ kernel + h @ recurrent_kernel + bias  # (rows, 4U)
    i, f, candidate, o = np.split(gates, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(candidate)
    h = sigmoid(o) * np.tanh(c)
    return h, (h, c)


def gru_step(weights, x, state):
    """Take one GRU step, the reset gate after the matrix product (Keras's default)."""
    kernel, recurrent_kernel, bias = weights  # (F, 3U), (U, 3U), (2, 3U)
    (h,) = state
    x_z, x_r, x_h = np.split(x @ kernel + bias[0], 3, axis=-1)
    h_z, h_r, h_h = np.split(h @ recurrent_kernel + bias[1], 3, axis=-1)
    z = sigmoid(x_z + h_z)
    r = sigmoid(x_r + h_r)
    candidate = np.tanh(x_h + r * h_h)
    h = z * h + (1.0 - z) * candidate
    return h, (h,)


def gru_reset_before_step(weights, x, state):
    """Take one GRU step, the reset gate before the matrix product (`reset_after=False`)."""
    kernel, recurrent_kernel, bias = weights  # (F, 3U), (U, 3U), (3U,)
    (h,) = state
    x_z, x_r, x_h = np.split(x @ kernel + bias, 3, axis=-1)
    u_z, u_r, u_h = np.split(recurrent_kernel, 3, axis=-1)
    z = sigmoid(x_z + h @ u_z)
    r = sigmoid(x_r + h @ u_r)
    candidate = np.tanh(x_h + (r * h) @ u_h)
    h = z * h + (1.0 - z) * candidate
    return h, (h,)


def simple_rnn_step(weights, x, state):
    """Take one step of Elman's network, with the hyperbolic tangent Keras gives it."""
    kernel, recurrent_kernel, bias = weights  # (F, U), (U, U), (U,)
    (h,) = state
    h = np.tanh(x @ kernel + h @ recurrent_kernel + bias)
    return h, (h,)


class Cell(NamedTuple):
    """One cell the laws are tested on, and the Keras layer that stands for it."""

    step: Step
    state_count: int  # state arrays, each (rows, units)
    layer_name: str  # in keras.layers and in legato.layers
    layer_arguments: dict[str, bool]


CELLS: dict[str, Cell] = {
    "LSTM": Cell(lstm_step, 2, "LSTM", {}),
    "GRU": Cell(gru_step, 1, "GRU", {"reset_after": True}),
    "GRU reset before": Cell(gru_reset_before_step, 1, "GRU", {"reset_after": False}),
    "SimpleRNN": Cell(simple_rnn_step, 1, "SimpleRNN", {}),
}


def fresh_state(cell: Cell, rows: int, units: int) -> State:
    """Return the state every row begins with: zeros, as each of these cells' Keras layer has it."""
    return tuple(np.zeros((rows, units)) for _ in range(cell.state_count))


def run(step, weights, xs, state, mask=None, *, starts=None, masked_output=None):
    """Drive a step function over time, one step after another.

    A masked step keeps the row's state and repeats the row's previous output. Before the first
    step the two Keras backends part: on JAX the previous output is the first state array, which
    for these cells is what the row last put out, so it carries on; on TensorFlow it is zero.

    Args:
        step: a step function of this module.
        weights: what the Keras layer's `get_weights()` returns.
        xs: (rows, steps, features).
        state: tuple of arrays, each (rows, units).
        mask: (rows, steps) booleans, False where a step is to be skipped; none are by default.
        starts: (rows, steps) booleans, True where a row is reset to zeros before that step.
        masked_output: (rows, units), the output repeated by masked steps at the very beginning;
            the first state array by default.

    Returns:
        The outputs of every step, (rows, steps, units), and the final state.
    """
    weights = [np.asarray(array, np.float64) for array in weights]
    xs = np.asarray(xs, np.float64)
    state = tuple(np.asarray(array, np.float64) for array in state)
    mask = np.ones(xs.shape[:2], bool) if mask is None else np.asarray(mask, bool)
    starts = np.zeros(xs.shape[:2], bool) if starts is None else np.asarray(starts, bool)
    previous = state[0] if masked_output is None else np.asarray(masked_output, np.float64)
    outputs = []
    for t in range(xs.shape[1]):
        begins, valid = starts[:, t, None], mask[:, t, None]  # (rows, 1)
        state = tuple(np.where(begins, 0.0, array) for array in state)
        previous = np.where(begins, 0.0, previous)
        output, moved = step(weights, xs[:, t], state)
        previous = np.where(valid, output, previous)
        state = tuple(np.where(valid, new, old) for new, old in zip(moved, state, strict=True))
        outputs.append(previous)
    return np.stack(outputs, axis=1), state
