"""Padding of arrays on the host."""

import numpy as np

from legato._errors import InputError
from legato._platform.plain_arrays import check_keeps_meaning


def broadcast_padding(pad, values: np.ndarray) -> np.ndarray:
    """Broadcast a value of padding to one time step.

    Args:
        pad: a number, or an array of the shape of one step, as the user gave it.
        values: the array to be padded, (time steps, ...).

    Returns:
        (...), of the dtype of ``values``.

    Raises:
        InputError: that dtype cannot hold ``pad``, or its shape is not that of a step.
    """
    check_keeps_meaning("pad", pad)
    given, shape = np.asarray(pad), values.shape[1:]
    with np.errstate(all="ignore"):
        step = given.astype(values.dtype)
    if not np.issubdtype(values.dtype, np.inexact) and not np.array_equal(step, given):
        raise InputError(
            f"pad={pad!r} cannot be held by {values.dtype} values; give a value that can, or "
            "values of another dtype."
        )
    try:
        return np.broadcast_to(step, shape)
    except ValueError as error:
        raise InputError(
            f"pad has shape {given.shape}, and a step of these values {shape}; give a number or an "
            "array like one step."
        ) from error


def pad_with_zeros(array: np.ndarray, length: int, axis: int = 0) -> np.ndarray:
    """Append zeros to an axis up to a length; an array of that length is returned as it is.

    ``np.pad`` takes 25 times as long, which matters at every step of a stream.
    """
    if array.shape[axis] == length:
        return array
    padded = np.zeros((*array.shape[:axis], length, *array.shape[axis + 1 :]), array.dtype)
    padded[(*[slice(None)] * axis, slice(array.shape[axis]))] = array
    return padded
