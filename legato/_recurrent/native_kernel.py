"""The native kernel: LSTM, GRU and SimpleRNN over time in C++, called by compiled programs.

The library is built when legato is installed, if there is a C++ compiler (`native/build.py`), and
loaded when it is first asked for. It computes in float32 on the CPU, with Keras's default
activations (tanh, and sigmoid for gates), and divides the rows of a batch over the threads of XLA;
of few rows and many units, the units of each step (`native/team.h`). Its numbers do not depend
on the number of threads: the same instruction set gives the same bits.
`unavailable` says why it cannot be used; the kernels in JAX then take its place.

The environment variable `LEGATO_NATIVE` chooses: `off`, or the name of an instruction set
(`baseline`, `avx2`, `avx512`); by default it is the best of the processor.

`forward` and `backward` may be called wherever JAX traces: in `jit` and `scan`, and under `vmap`,
which calls them one by one. They have no derivatives of their own: `backward` is for a
`jax.custom_vjp`; `jvp` and higher derivatives need another kernel.
"""

from __future__ import annotations

import ctypes
import functools
import os
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array
from jax import numpy as jnp

from legato._errors import UnsupportedError
from legato._recurrent.native import build


@dataclass(frozen=True)
class _Cell:
    number: int  # of `legato::Cell` in recurrence.h
    gates: int
    states: int
    kept_blocks: int  # of the residual `gates`, each as wide as the padded units


CELLS = {
    "lstm": _Cell(0, 4, 2, 5),
    "gru": _Cell(1, 3, 1, 4),
    "gru_reset_before": _Cell(2, 3, 1, 4),
    "simple_rnn": _Cell(3, 1, 1, 1),
}
_WIDEST_VECTOR = 16  # floats; units are padded to whole vectors


class Residuals(NamedTuple):
    """What `forward` hands to `backward`: gates, and the arrays of the call itself.

    gates: floats that only the library reads, (steps, rows, blocks * padded units); blocks are
        written down in `native/recurrence.cpp`. `backward` overwrites them.
    hidden: the hidden states, (rows, steps, units).
    x, states, W, U, mask, recurrent_scale: the arguments of `forward`.
    """

    gates: Array
    hidden: Array
    x: Array
    states: tuple[Array, ...]
    W: Array
    U: Array
    mask: Array | None
    recurrent_scale: Array | None


def _open_library() -> ctypes.CDLL:
    """Open the library and choose its instruction set; the message of an OSError says why not."""
    wish = os.environ.get("LEGATO_NATIVE", "").lower()
    if wish == "off":
        raise OSError("it is turned off: the environment variable LEGATO_NATIVE is 'off'")
    again = f"run python {build.__file__}"
    if not build.LIBRARY.exists():
        raise OSError(
            f"it is not built: install legato again where there is a C++ compiler, or {again}"
        )
    library = ctypes.CDLL(str(build.LIBRARY))
    for name in ("legato_sources", "legato_choose", "legato_chosen", "legato_usable"):
        getattr(library, name).restype = ctypes.c_char_p
    if library.legato_sources().decode() != build.sources_version():
        raise OSError(f"it is built from other sources: {again}")
    if library.legato_choose(wish.encode() if wish not in {"", "on"} else None) is None:
        raise OSError(f"this processor has no kernel {wish!r}, which LEGATO_NATIVE asks for")
    return library


@functools.cache
def _load() -> tuple[ctypes.CDLL | None, str]:
    """Load and register the library, or say why it is unavailable."""
    try:
        library = _open_library()
    except (OSError, AttributeError) as error:
        return None, str(error)
    try:
        for name in ("legato_forward", "legato_backward", "legato_sum"):
            call = jax.ffi.pycapsule(getattr(library, name))
            jax.ffi.register_ffi_target(name, call, platform="cpu")
    except Exception as error:  # a jaxlib with another interface
        return None, f"this version of jaxlib does not take the library: {error}"
    return library, ""


def unavailable() -> str | None:
    """Why the native kernel cannot be used; None if it can."""
    library, reason = _load()
    if library is not None and jax.default_backend() != "cpu":
        reason = f"JAX computes on {jax.default_backend()}; the native kernel is for the CPU"
    return reason or None


def library() -> ctypes.CDLL | None:
    """The library, for `native_chain`; None if the native kernel is unavailable."""
    return None if unavailable() else _load()[0]


@functools.cache
def library_with_gil() -> ctypes.PyDLL:
    """The library, called while Python's lock is kept: for calls of a few microseconds."""
    return ctypes.PyDLL(str(build.LIBRARY))


def instruction_set() -> str:
    """The instruction set of the kernel in use: baseline, avx2 or avx512; empty if unavailable."""
    library, _ = _load()
    return library.legato_chosen().decode() if library else ""


def instruction_sets() -> list[str]:
    """The instruction sets that this processor has a kernel for, the best first."""
    library, _ = _load()
    return library.legato_usable().decode().split() if library else []


def use_instruction_set(name: str) -> None:
    """Use another kernel from the next call on, in all programs of this process; for tests."""
    library, reason = _load()
    if library is None or library.legato_choose(name.encode()) is None:
        raise ValueError(f"no native kernel {name!r} here: {reason or instruction_sets()}")


def _float(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, np.float32)


def _call(name: str, results: tuple, arguments: tuple, cell: _Cell, threads: int, **options) -> Any:
    library, reason = _load()
    if library is None:
        raise UnsupportedError(f"the native kernel is unavailable: {reason}")
    call = jax.ffi.ffi_call(name, results, vmap_method="sequential", **options)
    return call(*arguments, cell=np.int64(cell.number), threads=np.int64(threads))


def _optional(states: tuple, mask: Array | None, recurrent_scale: Array | None) -> tuple:
    """The second state, mask and scale as the library takes them: empty if there are none."""
    rows = states[0].shape[0]
    c = states[1] if len(states) > 1 else jnp.zeros((rows, 0), np.float32)
    mask = jnp.zeros((0, 0), bool) if mask is None else mask.astype(bool)
    scale = jnp.zeros((0, 0, 0), np.float32) if recurrent_scale is None else recurrent_scale
    return c, mask, scale


def _bias_size(cell: str, gates_units: int) -> tuple[int, ...]:
    return (2, gates_units) if cell == "gru" else (gates_units,)


def forward(
    cell: str,
    x: Array,
    states: tuple[Array, ...],
    W: Array,
    U: Array,
    b: Array | None,
    mask: Array | None = None,
    recurrent_scale: Array | None = None,
    *,
    keep: bool,
    sequences: bool = True,
    threads: int = 0,
) -> tuple[Array | None, tuple[Array, ...], Residuals | None]:
    """Run a cell over all time steps.

    Args:
        cell: "lstm", "gru" (reset after the product with U), "gru_reset_before" or "simple_rnn".
        x: inputs, (rows, steps, features), float32 as all other arrays.
        states: initial states, (rows, units): h, and c for "lstm".
        W: kernel, (features, gates * units), gates in the order of Keras.
        U: recurrent kernel, (units, gates * units).
        b: bias, (gates * units,), of "gru" (2, 3 * units); None for none.
        mask: booleans (rows, steps); a step that is False leaves the states as they are.
        recurrent_scale: recurrent dropout, (gates, rows, units): gate k is computed from
            h * recurrent_scale[k], in the order of Keras's `get_recurrent_dropout_mask`.
        keep: whether `backward` will follow; without, nothing is kept and the residuals are None.
        sequences: whether the hidden states of all steps are wanted; `keep` needs them anyway.
        threads: the most threads of XLA to use; 0 for all.

    Returns:
        The hidden state after every step, (rows, steps, units), None if neither wanted nor kept;
        the final states, as `states`; and the residuals.
    """
    kind = CELLS[cell]
    rows, steps, _ = x.shape
    units = states[0].shape[-1]
    c, given_mask, scale = _optional(states, mask, recurrent_scale)
    bias = jnp.zeros(_bias_size(cell, kind.gates * units), np.float32) if b is None else b
    padded = -(-units // _WIDEST_VECTOR) * _WIDEST_VECTOR
    gates = (steps, rows, kind.kept_blocks * padded) if keep else (0,)
    sequences = sequences or keep
    of_steps = (rows, steps, units) if sequences else (0,)
    results = (_float(*of_steps), _float(rows, units), _float(*c.shape), _float(*gates))
    arguments = (x, states[0], c, W, U, bias, given_mask, scale)
    hidden, h, c, kept = _call("legato_forward", results, arguments, kind, threads)
    residuals = Residuals(kept, hidden, x, states, W, U, mask, recurrent_scale) if keep else None
    return hidden if sequences else None, (h, c)[: kind.states], residuals


def backward(
    cell: str,
    residuals: Residuals,
    d_hidden: Array | None,
    d_final_states: tuple[Array, ...],
    *,
    needs_dx: bool = True,
    threads: int = 0,
) -> tuple[Array | None, tuple[Array, ...], Array, Array, Array]:
    """Derivatives of what `forward` computed with `keep=True`.

    Args:
        cell: as in `forward`.
        residuals: what `forward` returned.
        d_hidden: cotangent of the hidden states, (rows, steps, units); None if it is zero.
        d_final_states: cotangents of the final states.
        needs_dx: whether the derivative with respect to x is wanted.
        threads: as in `forward`.

    Returns:
        dx (None if not wanted), the derivatives with respect to the initial states, dW, dU and db,
        db in the shape of Keras's bias also where there was none.
    """
    kind = CELLS[cell]
    gates, hidden, x, states, W, U, mask, recurrent_scale = residuals
    rows, units = states[0].shape
    c, given_mask, scale = _optional(states, mask, recurrent_scale)
    d_c = d_final_states[1] if kind.states > 1 else c
    if d_hidden is None:
        d_hidden = jnp.zeros((0, 0, 0), np.float32)
    results = (
        _float(*gates.shape),
        _float(*(x.shape if needs_dx else (0,))),
        _float(rows, units),
        _float(*c.shape),
        _float(*W.shape),
        _float(*U.shape),
        _float(*_bias_size(cell, kind.gates * units)),
    )
    arguments = (gates, hidden, x, states[0], c, W, U, given_mask, scale)
    arguments += d_hidden, d_final_states[0], d_c
    _, dx, dh, dc, dW, dU, db = _call(
        "legato_backward", results, arguments, kind, threads, input_output_aliases={0: 0}
    )
    return dx if needs_dx else None, (dh, dc)[: kind.states], dW, dU, db
