"""Ctrl-C: a ``KeyboardInterrupt`` is never lost, and ends the process at once.

A command that was started with SIGINT ignored goes on ignoring it, as shell scripts arrange for
commands in the background: Python then raises no ``KeyboardInterrupt``, and nothing here changes
the handler. SIGTERM ends such a command; files are written whole or not at all either way.
"""

import _thread
import os
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from typing import NoReturn


class InterruptedAfterError(Exception):
    """Ctrl-C, with a message that says what had been done before."""


@contextmanager
def resent_interrupts():
    """Send SIGINT again if its ``KeyboardInterrupt`` was lost.

    Python cannot raise an exception from garbage collection, where JAX runs a callback: it reports
    a ``KeyboardInterrupt`` there to ``sys.unraisablehook`` and drops it.
    """
    report_unraisable = sys.unraisablehook

    def resend(unraisable) -> None:
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            threading.Timer(0.05, _interrupt_main_thread).start()
        else:
            report_unraisable(unraisable)

    sys.unraisablehook = resend
    try:
        yield
    finally:
        sys.unraisablehook = report_unraisable


def _interrupt_main_thread() -> None:
    """Send SIGINT to the main thread; where the system can, also if the thread waits."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()


def exit_at_once(status: int, message: str = "") -> NoReturn:
    """End the process without clean-up: XLA's threads may still compile, and would crash it."""
    if message:
        with suppress(OSError):
            print(message, file=sys.stderr, flush=True)
            sys.stdout.flush()
    os._exit(status)
