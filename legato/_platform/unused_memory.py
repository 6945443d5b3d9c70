"""Memory that a process has freed, and its allocator keeps for later."""

import ctypes
from functools import cache


@cache
def _malloc_trim():
    """glibc's function, or one that does nothing where the C library has none."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # TypeError: on Windows
        return lambda _: 0


def return_unused_memory() -> None:
    """Return freed memory to the system, where the C library can: a few milliseconds.

    Tables that grew by copies leave holes, which later tables do not fit into.
    """
    _malloc_trim()(0)
