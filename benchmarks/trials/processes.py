"""Child processes that are killed, or watched: forks of a server that has imported all they need.

The server does not run JAX, so a fork of it can; a child begins in a few hundredths of a second.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parents[1]
PRELOADED = ["h5py", "trials.pool_kills", "trials.stream_kills", "trials.training_kills"]
_context = multiprocessing.get_context("forkserver")


def set_up(cache: str) -> None:
    """Let child processes find this checkout and a cache of compiled programs.

    Args:
        cache: folder of compiled programs, in which the first child leaves them for the others.
    """
    paths = [str(BENCHMARKS), str(BENCHMARKS.parent / "tests"), str(BENCHMARKS.parent)]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    os.environ["LEGATO_CACHE_DIR"] = cache
    os.environ["KERAS_BACKEND"] = "jax"  # modules here import Keras before legato
    sys.path[:0] = [path for path in paths if path not in sys.path]
    _context.set_forkserver_preload(PRELOADED)


class Child:
    """A process that runs a function and sends messages.

    Args:
        run: the function; called with a connection and the arguments.
        arguments: of the function.

    Attributes:
        connection: to the process.
        messages: what it has sent so far.
    """

    def __init__(self, run: Callable[..., None], *arguments: Any):
        self.connection, theirs = _context.Pipe()
        self.messages: list[Any] = []
        self.process = _context.Process(target=_run, args=(run, theirs, *arguments), daemon=True)
        self.process.start()
        theirs.close()

    def receive(self, seconds: float) -> bool:
        """Add what it sends in so many seconds to ``messages``; false once it has ended."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self.connection.poll(left) and not self._receive_one():
                return False
        return True

    def receive_one(self, seconds: float) -> bool:
        """Add one message; false if it has ended, or sends none in so many seconds."""
        return self.connection.poll(seconds) and self._receive_one()

    def kill(self) -> bool:
        """Kill it with SIGKILL, and receive the rest; false if it had ended before."""
        self.process.kill()
        while self._receive_one():
            pass
        return self.end() != 0

    def end(self) -> int | None:
        """Wait until it has ended; returns its exit status, negative if it was killed."""
        self.process.join()
        self.connection.close()
        return self.process.exitcode

    def _receive_one(self) -> bool:
        try:
            self.messages.append(self.connection.recv())
        except (EOFError, OSError):  # a message that a kill cut short, too
            return False
        return True


def _run(run: Callable[..., None], connection: Connection, *arguments: Any) -> None:
    """In the child: run a function; what it raises is its last message."""
    try:
        run(connection, *arguments)
    except Exception as error:
        connection.send(("error", f"{type(error).__name__}: {error}"))
