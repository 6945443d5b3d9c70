"""Sums over the processes of one machine, through memory that they share.

XLA adds up arrays of several CPU processes by Gloo, over TCP, with threads that have to be woken:
that takes longer than the bytes do. Where all processes are on one machine and have one device
each, a call of the native library (``native/process_sums.h``) takes its place.

Limits: Linux, processes that see each other in ``/proc``. Anywhere else, without the native
library, and for arrays of other dtypes, Gloo adds up.
"""

import os
import sys
from contextlib import ExitStack, suppress

import jax

from legato._platform.joined_sums import Adder
from legato._platform.process_group import ProcessGroup
from legato._platform.processes import machine
from legato._recurrent import native_kernel

_DTYPES = ("float32", "float64", "int32")  # of the library
_WIDENED = ("float16", "bfloat16")  # added up in float32
_WHAT = "the memory for sums"
_shared: list[bool] = []  # whether the processes share memory; empty until they have tried


def share_sums(group: ProcessGroup) -> None:
    """Share memory with all processes of the group, if all can and have not tried yet.

    Raises:
        ProcessError: a process has gone.
    """
    if not _shared:
        _shared.append(_share(group))


def are_shared() -> bool:
    """Whether the processes share memory for their sums."""
    return _shared == [True]


def _share(group: ProcessGroup) -> bool:
    library = native_kernel.library()
    able = library is not None and jax.local_device_count() == 1 and sys.platform == "linux"
    with ExitStack() as stack:
        file, place = -1, None
        if able and group.index == 0:
            file = os.memfd_create("legato")
            stack.callback(os.close, file)
            place = f"/proc/{os.getpid()}/fd/{file}", _identity(file)
        offers = group.gather(_WHAT, {"able": able, "machine": machine(), "place": place})
        first = offers[0]
        if not all(each["able"] and each["machine"] == first["machine"] for each in offers):
            return False
        path, identity = first["place"]
        if group.index:
            with suppress(OSError):  # a container that does not see that process
                file = os.open(path, os.O_RDWR)
                stack.callback(os.close, file)
        assert library is not None
        shared = file >= 0 and _identity(file) == identity
        shared = shared and library.legato_share_sums(file, group.index, group.count) == 0
        if shared:
            group.call_when_gone(library.legato_end_sums)
        return all(group.gather(_WHAT, shared))


def _identity(file: int) -> list[int]:
    """What tells an open file from all others of the machine."""
    found = os.fstat(file)
    return [found.st_dev, found.st_ino]


def process_adder() -> Adder | None:
    """What adds up over all processes in their shared memory; None if they have none."""
    return Adder(_added_up, frozenset({*_DTYPES, *_WIDENED})) if are_shared() else None


def _added_up(arrays: list, axes) -> list:
    wide = [each.astype("float32") if each.dtype.name in _WIDENED else each for each in arrays]
    kinds = [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in wide]
    sums = jax.ffi.ffi_call("legato_sum", kinds)(*wide)
    return [total.astype(each.dtype) for total, each in zip(sums, arrays, strict=True)]
