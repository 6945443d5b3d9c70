"""Ctrl-C in tests: the handler of SIGINT, and the interruption of a child process.

A shell script starts its background commands with SIGINT ignored, and child processes inherit that:
tests that send SIGINT set Python's own handler first (the fixture ``interruptible``).
"""

import signal
from contextlib import contextmanager

from forked import ForkedPython


@contextmanager
def sigint_handled_by(handler):
    """Handle SIGINT with this handler meanwhile; child processes inherit it if it is ``SIG_IGN``.

    Args:
        handler: ``signal.SIG_IGN``, or a function, such as ``signal.default_int_handler``: a child
            process then starts with the default.
    """
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def interrupted(process: ForkedPython) -> str:
    """Send SIGINT to a process that runs a command; returns the last line of its errors."""
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    return errors.strip().splitlines()[-1]
