"""Kernels: run the cell of a recurrent layer over the time steps of a batch.

Every recurrent layer of legato computes here, and only here. There are three kernels:

* ``keras``: Keras's own scan (``inner_loop`` of the layer's class), which any layer can take;
* ``jax`` (``jax_kernel.py``): a scan with fewer products, and a backward pass of its own;
* ``native`` (``native_kernel.py``): C++, in float32 on the CPU, where it is built.

``run_over_time`` chooses. A kernel must

* give the numbers of Keras's scan, in outputs, final states and gradients with respect to weights,
  inputs and initial state, within the rounding of the layer's compute dtype;
* leave a row's state unchanged at a masked step, and repeat the row's hidden state there, or give
  zeros where ``layer.zero_output_for_mask`` is true;
* read the steps in reverse where ``layer.go_backwards`` is true;
* be pure, since it is traced by ``jit``, ``scan``, ``vmap``, ``grad`` and ``jvp``.

Another kernel may be chosen only for a layer whose loop and cell are Keras's own and whose options
it implements; every other layer needs Keras's scan.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import keras

from legato._platform import custom_derivatives
from legato._platform.row_devices import over_rows
from legato._platform.single_function import is_small
from legato._recurrent import native_kernel
from legato._recurrent.jax_kernel import (
    CellArithmetic,
    GRUArithmetic,
    JaxRecurrence,
    LSTMArithmetic,
    SimpleRNNArithmetic,
)
from legato._recurrent.native_recurrence import (
    NATIVE_NAMES,
    NativeRecurrence,
    ResetBeforeArithmetic,
)
from legato._recurrent.recomputation import run_in_segments, segment_steps

_ARITHMETIC: dict[type, type[CellArithmetic]] = {
    keras.layers.LSTMCell: LSTMArithmetic,
    keras.layers.GRUCell: GRUArithmetic,
    keras.layers.SimpleRNNCell: SimpleRNNArithmetic,
}
_RECURRENCE = {"jax": JaxRecurrence, "native": NativeRecurrence}
_LOOPS = tuple(
    each.inner_loop
    for each in (keras.layers.RNN, keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN)
)
# By benchmarks/kernel_sizes.py. Keras's scan is slower than the JAX kernel from this number of rows
# times weights on.
_JAX_PRODUCTS = 10_000
# One row of a GRU with so many inputs is slow in one function from this number of steps times
# weights on.
_GRU_INPUTS, _GRU_PRODUCTS = 16, 30_000
# One row takes the native kernel in preference to one function from these numbers on.
_NATIVE_STEPS, _NATIVE_WEIGHTS = 50, 10_000
_KEEPS_ALL = (0.0, 1.0)  # rates at which Keras's cells apply no dropout
_ROW_AXES = {"inputs": 0, "mask": 0, "recurrent_dropout": 1, "state_0": 0, "state_1": 0}


class Kernel(NamedTuple):
    """The kernel for a layer.

    Attributes:
        name: ``"keras"``, ``"jax"`` or ``"native"``.
        reason: why, a clause.
    """

    name: str
    reason: str


def run_over_time(layer: Any, sequences, initial_state: list, mask, training: bool) -> tuple:
    """Run a layer's cell over all time steps.

    Args:
        layer: the built layer; its ``keras_inner_loop`` is that of its ``keras_class``.
        sequences: inputs, (rows, steps, …).
        initial_state: the states that the rows start from, arrays (rows, …) in the order of the
            cell's states.
        mask: booleans (rows, steps), False at steps to skip; None if every step counts.
        training: whether dropout is applied.

    Returns:
        The last output, (rows, …); the outputs of all steps, (rows, steps, …), of which only the
        last need be right if the layer does not return sequences; and the final states.
    """
    length = segment_steps(sequences.shape[1])
    if length is not None and not layer.unroll:
        run = partial(_run, layer, training=training)
        return run_in_segments(run, length, layer, sequences, initial_state, mask)
    return _run(layer, sequences, initial_state, mask, training)


def _run(layer: Any, sequences, initial_state: list, mask, training: bool) -> tuple:
    kernel = choose_kernel(layer, sequences, mask, initial_state)
    if kernel.name == "keras":
        return layer.keras_inner_loop(sequences, initial_state, mask, training)
    return _run_recurrence(kernel.name, layer, sequences, initial_state, mask, training)


def choose_kernel(layer: Any, sequences, mask, initial_state: list | None = None) -> Kernel:
    """The kernel for a layer and arrays, of which only shapes and dtypes are read.

    Arrays that do not fit each other or the weights get Keras's scan, and so its errors.
    """
    if reason := _why_keras(layer, layer.cell, sequences, mask, initial_state or []):
        return Kernel("keras", reason)
    reason = _why_not_native(layer.cell)
    if reason is None:
        return Kernel("native", f"it is built, for {native_kernel.instruction_set()}")
    if _arithmetic(layer.cell) is ResetBeforeArithmetic:
        return Kernel("keras", f"{reason}; and the GRU has reset_after=False")
    if _is_scan_faster(layer.cell, sequences.shape[0]):
        return Kernel("keras", f"{reason}; and Keras's scan is faster than JAX's at this size")
    return Kernel("jax", reason)


def _why_keras(layer: Any, cell: Any, sequences, mask, initial_state: list) -> str | None:
    """Why a layer is computed by Keras's scan; None if it need not be."""
    if type(cell) not in _ARITHMETIC or layer.keras_class.inner_loop not in _LOOPS:
        return "the cell or the loop is not Keras's LSTM, GRU or SimpleRNN"
    rows, steps = sequences.shape[:2]
    if not (isinstance(rows, int) and isinstance(steps, int)):
        return "the shapes are not known yet"
    reasons = {
        "the layer is unrolled": layer.unroll,
        "cuDNN may run it": getattr(layer, "use_cudnn", None) is True or _is_on_gpu(),
        "the inputs are not of the shape or dtype of the computation": not _fits(
            sequences, (rows, steps, cell.kernel.shape[0]), cell.compute_dtype
        ),
        "the initial state is not of the shape or dtype of the computation": not all(
            _fits(each, (rows, cell.units), cell.compute_dtype) for each in initial_state
        ),
        "the mask is not of shape (rows, steps)": mask is not None
        and jnp.shape(mask) != (rows, steps),
        "there is nothing to compute, or one step": rows == 0 or steps <= 1,
        "one row and so few weights are fastest inside one compiled function": (
            _is_fastest_in_one_function(cell, rows, steps)
        ),
        "an activation is not a function of Keras or JAX": not all(
            map(_is_library_function, _activations(cell))
        ),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _is_fastest_in_one_function(cell: Any, rows: int, steps: int) -> bool:
    """Whether Keras's scan in one function (``single_function.py``) is faster than all kernels."""
    weights = _weights(cell)
    many_inputs = isinstance(cell, keras.layers.GRUCell) and cell.kernel.shape[0] >= _GRU_INPUTS
    slow = many_inputs and steps * weights >= _GRU_PRODUCTS
    if steps >= _NATIVE_STEPS and weights >= _NATIVE_WEIGHTS and _why_not_native(cell) is None:
        slow = True
    return rows == 1 and not slow and is_small(rows, weights, training=True)


def _is_scan_faster(cell: Any, rows: int) -> bool:
    """Whether Keras's scan is faster than the JAX kernel."""
    return rows * _weights(cell) < _JAX_PRODUCTS


def _arithmetic(cell: Any) -> type[CellArithmetic]:
    if getattr(cell, "reset_after", True):
        return _ARITHMETIC[type(cell)]
    return ResetBeforeArithmetic


def _activations(cell: Any) -> tuple[Callable, Callable]:
    """Of the state and of the gates."""
    return cell.activation, getattr(cell, "recurrent_activation", keras.activations.sigmoid)


def _weights(cell: Any) -> int:
    return math.prod(cell.kernel.shape) + math.prod(cell.recurrent_kernel.shape)


def _is_on_gpu() -> bool:
    return jax.default_backend() == "gpu"


def _why_not_native(cell: Any) -> str | None:
    """Why a layer that need not take Keras's scan cannot take the native kernel."""
    if reason := native_kernel.unavailable():
        return f"the native kernel is not available: {reason}"
    reasons = {
        "the native kernel computes in float32": cell.compute_dtype != "float32",
        "the native kernel has the activations tanh and sigmoid only": native_name(cell) is None,
        "the native kernel has dropout of inputs or of states, not of both": (
            cell.dropout > 0 and cell.recurrent_dropout > 0
        ),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def native_name(cell: Any) -> str | None:
    """The native kernel's name for a cell of Keras's with its default activations, else None."""
    default = keras.activations.tanh, keras.activations.sigmoid
    if type(cell) not in _ARITHMETIC or _activations(cell) != default:
        return None
    return NATIVE_NAMES[_arithmetic(cell)]


def _fits(array, shape: tuple, dtype: str) -> bool:
    return array.shape == shape and array.dtype == dtype


def _is_library_function(activation: Callable) -> bool:
    """Whether an activation is a function that Keras or JAX defines.

    Others may read what changes between calls, draw random numbers or have weights; and a compiled
    kernel, which is kept for each activation, would keep them, too.
    """
    library = str(getattr(activation, "__module__", None)).split(".")[0]
    return library in {"keras", "jax"} and hasattr(activation, "__qualname__")


def _run_recurrence(
    kernel: str, layer: Any, sequences, initial_state: list, mask, training: bool
) -> tuple:
    cell = layer.cell
    if layer.go_backwards:
        sequences, mask = sequences[:, ::-1], None if mask is None else mask[:, ::-1]
    operands = {
        **_inputs(cell, sequences, training),
        "recurrent_kernel": _value(cell, cell.recurrent_kernel),
        **{f"state_{k}": each for k, each in enumerate(initial_state)},
    }
    if mask is not None:
        operands["mask"] = mask.astype(bool)
    if training and cell.recurrent_dropout not in _KEEPS_ALL:
        masks = cell.get_recurrent_dropout_mask(initial_state[0])
        operands["recurrent_dropout"] = jnp.stack(masks if isinstance(masks, list) else [masks])
    arithmetic = _arithmetic(cell)(*_activations(cell))
    recurrence = _RECURRENCE[kernel](arithmetic, layer.return_sequences)
    results = over_rows(partial(custom_derivatives.call, recurrence), operands, _ROW_AXES)
    final_states = results[-len(initial_state) :]
    outputs = results[0] if layer.return_sequences else final_states[0][:, None]
    if mask is not None and layer.zero_output_for_mask:
        counted = operands["mask"] if layer.return_sequences else operands["mask"][:, -1:]
        outputs = jnp.where(counted[:, :, None], outputs, 0)
    return outputs[:, -1], outputs, final_states


def _inputs(cell: Any, sequences, training: bool) -> dict:
    """The operands for the inputs; dropout is applied to them, or to their product."""
    kernel = _value(cell, cell.kernel)
    bias = {} if cell.bias is None else {"bias": _value(cell, cell.bias)}
    if bias and bias["bias"].ndim == 2:  # a GRU's biases of both products
        bias = {"bias": bias["bias"][0], "recurrent_bias": bias["bias"][1]}
    if not training or cell.dropout in _KEEPS_ALL:
        return {"inputs": sequences, "kernel": kernel, **bias}
    masks = cell.get_dropout_mask(sequences[:, 0])
    if not isinstance(masks, list):
        return {"inputs": sequences * masks[:, None], "kernel": kernel, **bias}
    parts = zip(masks, jnp.split(kernel, len(masks), axis=1), strict=True)
    products = [(sequences * each[:, None]) @ part for each, part in parts]
    return {"inputs": jnp.concatenate(products, -1), **bias}


def _value(cell: Any, variable) -> Any:
    return keras.ops.cast(variable, cell.compute_dtype)
