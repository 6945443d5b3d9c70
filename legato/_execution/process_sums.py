"""Sums over the processes of one machine, through memory that they share.

XLA adds up arrays of several CPU processes by Gloo, over TCP, with threads that have to be woken:
that takes longer than the bytes do. Where all processes are on one machine and have one device
each, a call of the native library (``native/process_sums.h``) takes its place.

Limits: Linux, processes that see each other in ``/proc``. Anywhere else, without the native
library, for arrays of other dtypes, and in programs that have other sums, Gloo adds up.
"""

import os
import re
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from contextvars import ContextVar

import jax

from legato._platform.joined_sums import Adder
from legato._platform.process_group import ProcessGroup
from legato._platform.processes import machine
from legato._platform.single_function import jit_wide
from legato._recurrent import native_kernel

_DTYPES = ("float32", "float64", "int32")  # of the library
_WIDENED = ("float16", "bfloat16")  # added up in float32
_WHAT = "the memory for sums"
_CALL = "legato_sum"
_OF_XLA = re.compile(r" (all-\w+|reduce-scatter|collective-\w+)(-start)?\(")  # messages of devices
_shared: list[bool] = []  # whether the processes share memory; empty until they have tried
_LEFT_TO_GLOO: ContextVar[bool] = ContextVar("sums are left to Gloo", default=False)


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
            try:
                file = os.memfd_create("legato")
            except OSError:  # a container that does not let it
                able = False
            else:
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
    usable = are_shared() and not _LEFT_TO_GLOO.get()
    return Adder(_added_up, frozenset({*_DTYPES, *_WIDENED})) if usable else None


def jit_with_sums(run: Callable) -> Callable:
    """``jit`` of a program that has sums by ``process_adder``, if any.

    XLA may add sums of its own, which nobody sees before it has compiled: where it spreads over the
    devices what each could compute as a whole. Such a program is compiled again, and all of its
    sums are left to Gloo: a process that waits in one way would hold up another that waits in the
    other. All calls have arguments of the same shapes.
    """
    program = jit_wide(run)
    if not are_shared():
        return program
    chosen: list[Callable] = []

    def left_to_gloo(*arguments):
        token = _LEFT_TO_GLOO.set(True)
        try:
            return run(*arguments)
        finally:
            _LEFT_TO_GLOO.reset(token)

    def call(*arguments):
        if not chosen:
            text = (
                program.lower(*arguments).compile().as_text() or ""
            )  # ``jit`` keeps what is compiled
            mixed = _CALL in text and _OF_XLA.search(text)
            chosen.append(jit_wide(left_to_gloo) if mixed else program)
        return chosen[0](*arguments)

    return call


def _added_up(arrays: list, axes) -> list:
    wide = [each.astype("float32") if each.dtype.name in _WIDENED else each for each in arrays]
    kinds = [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in wide]
    sums = jax.ffi.ffi_call(_CALL, kinds)(*wide)
    return [total.astype(each.dtype) for total, each in zip(sums, arrays, strict=True)]
