"""Processes of this machine that work for a command, and end with it."""

import multiprocessing
import signal
from collections.abc import Generator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial

from legato._errors import InputError


@contextmanager
def worker_processes(count: int | None) -> Generator[Executor | None]:
    """An executor of that many processes; None for one, which is this.

    Ctrl-C ends them at once.

    Args:
        count: as the user gave it; None is 1.

    Raises:
        InputError: it is no number from 1 up.
    """
    if count is None or count == 1:
        yield None
        return
    if count < 1:
        raise InputError(f"--processes is {count}; a whole number from 1 up was expected.")
    pool = ProcessPoolExecutor(
        count,
        multiprocessing.get_context("spawn"),  # threads of JAX do not survive a fork
        partial(signal.signal, signal.SIGINT, signal.SIG_IGN),
    )
    try:
        yield pool
    except BaseException:
        for each in multiprocessing.active_children():
            each.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
