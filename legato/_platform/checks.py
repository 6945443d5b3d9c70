"""Checks of arguments that several folders share."""

from collections.abc import Iterable

import numpy as np

from legato._errors import InputError

SEED_LIMIT = 2**32  # the random seeds that NumPy's global generator takes are below it


_MOST_DIGITS = 18  # of a number that 64 bits hold; Python refuses to read thousands of digits


def is_count(value, least: int = 1) -> bool:
    """Whether a value is an integer of at least ``least``; booleans are not integers."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return whole and int(value) >= least


def parse_count(text: str) -> int | None:
    """The whole number that a text of ASCII digits is; None if it is none, or beyond 18 digits."""
    is_number = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    return int(text) if is_number else None


def check_count(
    name: str, value, least: int = 1, noun: str = "a whole number", remedy: str = ""
) -> int:
    """An argument that must be an integer of at least ``least``.

    Args:
        name: the argument's name.
        value: as the user gave it.
        least: the smallest value allowed.
        noun: the unit, as in ``"a number of time steps"``.
        remedy: a sentence to add to the message.

    Returns:
        The value as ``int``.

    Raises:
        InputError: the value is no integer, or too small.
    """
    if not is_count(value, least):
        message = f"{name} is {value!r}; {noun} of at least {least} was expected."
        raise InputError(f"{message} {remedy}".rstrip())
    return int(value)


def check_seed(seed, name: str = "seed") -> int:
    """A random seed that Python, NumPy and JAX all take.

    Args:
        seed: as the user gave it.
        name: the argument's name.

    Returns:
        The seed as ``int``.

    Raises:
        InputError: the seed is no integer from 0 to 2**32 - 1.
    """
    if not is_count(seed, 0) or seed >= SEED_LIMIT:
        raise InputError(f"{name} is {seed!r}; a whole number from 0 to 2**32 - 1 was expected.")
    return int(seed)


def check_choice(name: str, value, choices: Iterable) -> None:
    """Refuse a value that is not among an option's choices.

    Args:
        name: the option's name.
        value: as the user gave it.
        choices: all that the option takes.

    Raises:
        InputError: it is another value; the message lists the choices.
    """
    choices = tuple(choices)
    try:
        known = value in frozenset(choices)
    except TypeError:  # arrays, lists and other values without a hash
        known = False
    if not known:
        raise InputError(
            f"{name} is {value!r}; one of {', '.join(map(repr, choices))} was expected."
        )


def check_flag(name: str, value) -> None:
    """Refuse a value that is neither True nor False.

    Args:
        name: the argument's name.
        value: as the user gave it; 0 and 1 are taken, too.

    Raises:
        InputError: it is something else.
    """
    if value is not True and value is not False:  # usual, and faster
        check_choice(name, value, (False, True))


def check_share(name: str, value) -> None:
    """Refuse a value that is no share of samples that leaves others.

    Args:
        name: the argument's name.
        value: as the user gave it.

    Raises:
        InputError: the value is no number from 0 to below 1.
    """
    if not isinstance(value, (int, float, np.number)) or not 0 <= value < 1:
        raise InputError(f"{name} is {value!r}; a number from 0 to below 1 was expected.")
