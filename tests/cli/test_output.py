"""Output on a terminal: the current task, and a progress line that fits."""

import contextlib
import fcntl
import os
import re
import struct
import sys
import termios

from legato._execution.progress import Progress
from legato.cli import _output


def on_a_terminal(columns: int, act) -> str:
    """The output on a terminal while a function, given the terminal, runs."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(slave, "w") as terminal:
        act(terminal)
    shown = b""
    with os.fdopen(master, "rb", 0) as screen, contextlib.suppress(OSError):  # at its end
        while part := screen.read(65536):
            shown += part
    return shown.decode()


def test_a_terminal_shows_the_current_task(monkeypatch):
    def act(terminal):
        monkeypatch.setattr(sys, "stderr", terminal)
        with _output.show_status("reading [bold]x[/]", quiet=False):
            pass
        with _output.show_status("nothing", quiet=True):
            pass

    output = on_a_terminal(80, act)
    assert "reading [bold]x[/]" in output
    assert "nothing" not in output


def test_the_progress_line_fits_the_terminal():
    def act(terminal):
        progress = Progress(1, epochs=400, steps=10, stream=terminal)
        progress.begin(0)
        progress.steps(0, 5)
        progress.epoch(0, {"loss": 0.5, "accuracy": 0.25, "val_loss": 0.125})
        progress.end()

    output = on_a_terminal(40, act)
    lines = [line for line in re.split("[\r\n]+", output) if line]
    assert lines
    assert all(line.startswith("epoch ") and len(line) == 39 for line in lines)
