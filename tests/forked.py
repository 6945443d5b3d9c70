"""Child processes that are forked from one that has imported Keras and JAX, which takes 2 s each.

That one, the fork server of ``multiprocessing``, imports ``tests/fork_server.py``, and computes
nothing itself: JAX starts threads with the first computation, and a fork would not have them.
"""

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import IO
from unittest.mock import patch


@cache
def forks() -> ForkServerContext:
    """The context of ``multiprocessing`` whose processes are forked, with its server running."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fork_server"])
    path = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    with patch.dict(os.environ, PYTHONPATH=os.pathsep.join(path)):
        forkserver.ensure_running()
    return context


@contextmanager
def forked(run: Callable, *arguments):
    """A process that calls ``run(*arguments, connection)``, killed at the end if it still runs.

    Yields:
        The process, and the connection to receive what it sends.
    """
    received, sent = forks().Pipe(duplex=False)
    process = forks().Process(target=run, args=(*arguments, sent))
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
    _set_environment(environment)
    for number, file in enumerate(printed, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    warnings.resetwarnings()
    warnings.simplefilter("error")
    for script in scripts:
        sys.argv = [str(script)]
        runpy.run_path(str(script), run_name="__main__")


COMMAND = "from legato.cli import main; main()"  # as ``python -m legato ARGUMENTS``


class ForkedPython:
    """A child process that does what ``python -c CODE ARGUMENTS`` does, forked instead of started.

    It has the attributes and methods of ``subprocess.Popen`` that tests use, with pipes of text.
    The interpreter's own start and end, such as the last writing of its output, are not the same.

    Args:
        code: what it runs; for a command of legato ``COMMAND``.
        arguments: ``sys.argv[1:]``.
        stdin: the file to read from. Default: a pipe.
        environment: its environment variables. Default: those of this process.
        strict: every warning is an error.
    """

    def __init__(
        self,
        code: str,
        arguments: Sequence = (),
        stdin: IO | None = None,
        environment: Mapping[str, str] | None = None,
        strict: bool = False,
    ):
        pipes = [os.pipe() for _ in range(3)]
        its = [pipes[0][0], pipes[1][1], pipes[2][1]]
        streams = [Connection(each) for each in its]
        if stdin is not None:
            os.dup2(stdin.fileno(), its[0])
        self._process = forks().Process(
            target=_run_code,
            args=(
                *(code, [*map(str, arguments)], dict(environment or os.environ), streams),
                *(strict, signal.getsignal(signal.SIGINT) == signal.SIG_IGN),
            ),
        )
        self._process.start()
        for each in streams:
            each.close()
        self.stdin = os.fdopen(pipes[0][1], "w", encoding="utf-8")
        self.stdout = os.fdopen(pipes[1][0], encoding="utf-8")
        self.stderr = os.fdopen(pipes[2][0], encoding="utf-8")

    @property
    def pid(self) -> int:
        """Its number."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its status; minus the signal that killed it; None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, and close the pipes."""
        self._process.kill()
        self.wait()
        for each in (self.stdin, self.stdout, self.stderr):
            each.close()

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until it has ended; returns its status."""
        self._process.join(timeout)
        return self.returncode

    def communicate(self, timeout: float = 600) -> tuple[str, str]:
        """Close its input, and wait for its end; returns what is left of its output and errors.

        Raises:
            TimeoutError: it ran for longer, and was killed.
        """
        self.stdin.close()
        with ThreadPoolExecutor(2) as readers:
            reads = [readers.submit(each.read) for each in (self.stdout, self.stderr)]
            try:
                output, errors = (each.result(timeout) for each in reads)
            except TimeoutError:
                self._process.kill()
                raise
        self.wait()
        self.kill()
        return output, errors


def _run_code(
    code: str,
    arguments: list[str],
    environment: dict[str, str],
    streams: Sequence[Connection],
    strict: bool,
    ignores_sigint: bool,
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN if ignores_sigint else signal.default_int_handler)
    for number, each in enumerate(streams):
        os.dup2(each.fileno(), number)
        each.close()
    _set_environment(environment)
    encoding = environment.get("PYTHONIOENCODING", "utf-8")
    sys.stdin = os.fdopen(0, encoding=encoding, closefd=False)
    lines = 1 if "PYTHONUNBUFFERED" in environment else -1
    sys.stdout = os.fdopen(1, "w", lines, encoding=encoding, closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, encoding=encoding, errors="backslashreplace", closefd=False)
    sys.argv = ["-c", *arguments]
    if strict:
        warnings.resetwarnings()
        warnings.simplefilter("error")
    try:
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    finally:
        atexit._run_exitfuncs()  # which multiprocessing does not do


def _set_environment(environment: Mapping[str, str]) -> None:
    """Set this process's environment variables, and what JAX read from them in the fork server."""
    os.environ.clear()
    os.environ.update(environment)
    import jax

    for name in ("disable_most_optimizations", "enable_x64"):
        value = environment.get(f"JAX_{name.upper()}", "0") not in ("0", "")
        jax.config.update(f"jax_{name}", value)
    jax.config.update("jax_num_cpu_devices", int(environment.get("JAX_NUM_CPU_DEVICES", "-1")))
