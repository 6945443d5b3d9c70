"""Ctrl-C for a process that runs a command."""

import signal
import subprocess


def interrupted(process: subprocess.Popen) -> str:
    """What it says last when it is interrupted now; it ends as one that was."""
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    return errors.strip().splitlines()[-1]
