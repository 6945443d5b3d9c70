"""Child processes that are forked from one that has imported Keras and JAX, which takes 2 s each.

That one, the fork server of ``multiprocessing``, computes nothing itself: JAX starts threads with
the first computation, and a fork would not have them.
"""

import multiprocessing
from collections.abc import Callable
from contextlib import contextmanager
from multiprocessing.connection import Connection

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["legato", "keras"])


@contextmanager
def forked(run: Callable, *arguments):
    """A process that calls ``run(*arguments, connection)``, killed at the end if it still runs.

    Yields:
        The process, and the connection to receive what it sends.
    """
    received, sent = _FORKS.Pipe(duplex=False)
    process = _FORKS.Process(target=run, args=(*arguments, sent))
    process.start()
    sent.close()
    try:
        yield process, received
    finally:
        process.kill()
        process.join()
        received.close()


def all_received(connection: Connection) -> list[bytes]:
    """Everything a process has sent that is received whole, until its end."""
    messages = []
    while True:
        try:
            messages.append(connection.recv_bytes())
        except EOFError:
            return messages
