"""Checks of arguments that several folders share."""

from collections.abc import Iterable

import numpy as np

from legato._errors import InputError


def is_count(value, least: int = 1) -> bool:
    """Whether it is an integer, and at least so many."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return whole and int(value) >= least


def padded_step(pad, values: np.ndarray) -> np.ndarray:
    """What a padded time step holds.

    Args:
        pad: a number, or an array like one step, as the user gave it.
        values: (time steps, ...), what is padded.

    Returns:
        (...), of the dtype of ``values``.

    Raises:
        InputError: that dtype cannot hold it, or it is not like a step.
    """
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


def check_choice(name: str, value, choices: Iterable) -> None:
    """Refuse a value that is none of an option's choices.

    Args:
        name: the option's name.
        value: as the user gave it.
        choices: all that the option takes.

    Raises:
        InputError: the value is none of them.
    """
    choices = tuple(choices)
    if value not in choices:
        raise InputError(
            f"{name} is {value!r}; one of {', '.join(map(repr, choices))} was expected."
        )
