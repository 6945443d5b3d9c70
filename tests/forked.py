"""Child processes that are forked from one that has imported Keras and JAX, which takes 2 s each.

That one, the fork server of ``multiprocessing``, computes nothing itself: JAX starts threads with
the first computation, and a fork would not have them.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

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


def run_scripts(
    scripts: Sequence[Path], folder: Path, environment: Mapping[str, str], timeout_s: float = 600
) -> subprocess.CompletedProcess:
    """Run scripts one after the other in one process, as ``python -W error`` runs one.

    Args:
        scripts: the files.
        folder: for what it prints.
        environment: the process's environment variables.
        timeout_s: seconds after which it is killed.

    Returns:
        The outcome, as ``subprocess.run`` gives it, with what was printed as text.
    """
    printed = [folder / "printed.txt", folder / "errors.txt"]
    with forked(_run_scripts, scripts, printed, dict(environment)) as (process, _):
        process.join(timeout_s)
        if process.exitcode is None:
            raise subprocess.TimeoutExpired([*map(str, scripts)], timeout_s)
        output, errors = (file.read_text(encoding="utf-8") for file in printed)
        return subprocess.CompletedProcess(scripts, process.exitcode, output, errors)


def _run_scripts(
    scripts: Sequence[Path], printed: Sequence[Path], environment: Mapping[str, str], _
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    import jax  # whose settings were read by the fork server

    quick = environment.get("JAX_DISABLE_MOST_OPTIMIZATIONS", "0") != "0"
    jax.config.update("jax_disable_most_optimizations", quick)
    for number, file in enumerate(printed, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    warnings.resetwarnings()
    warnings.simplefilter("error")
    for script in scripts:
        sys.argv = [str(script)]
        runpy.run_path(str(script), run_name="__main__")
