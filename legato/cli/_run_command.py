"""``legato run``: starts a script of the user's as the processes of one training.

Each process finds in Keras's environment variables where the others are, so that
``legato.join_processes()`` joins them. On one machine this command starts all and ends all if one
fails; of several machines each starts its own, and the processes tell each other of a loss.

Limits: if this command is killed by SIGKILL, its processes go on.
"""

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from legato._errors import InputError
from legato.cli._error_reporting import report_errors
from legato.cli._options import Debug

STOP_S = 10.0  # for which processes may end by themselves after a signal
Events = queue.SimpleQueue[int | signal.Signals]  # processes that ended, and signals
INDEX_VARIABLES = ("SLURM_PROCID", "JOB_COMPLETION_INDEX")  # of Slurm and Kubernetes


def run(
    script: Annotated[Path, typer.Argument(help="A Python script.", metavar="SCRIPT")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(help="What follows SCRIPT is for the script.", metavar="ARGUMENTS"),
    ] = None,
    processes: Annotated[
        int | None, typer.Option("--processes", "-n", help="Processes of all machines.", min=1)
    ] = None,
    coordinator: Annotated[
        str | None,
        typer.Option(
            help="Of several machines: host:port of process 0, the same on each. This command then "
            "starts one process."
        ),
    ] = None,
    process_id: Annotated[
        int | None,
        typer.Option(
            help="With --coordinator: the number of this machine's process, from 0; default: that "
            "of a job of Slurm (SLURM_PROCID) or Kubernetes (JOB_COMPLETION_INDEX).",
            min=0,
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Run a script of your own as several processes that train one model together.

    The script calls `legato.join_processes()` first of all. If a process fails or is killed, the
    others are stopped, and the command ends with its status. Ctrl-C stops all.

    Examples:

    - `legato run --processes 4 train.py`
    - `legato run --coordinator 10.0.0.1:1234 --processes 2 --process-id 0 train.py data.csv`
    """
    with report_errors(debug):
        if processes is None:
            raise InputError(
                "--processes is missing. Options of legato run stand before the script: "
                f"legato run --processes 2 {script}"
            )
        if not script.is_file():
            raise InputError(f"There is no script {script}.")
        command = [sys.executable, str(script), *(arguments or [])]
        if coordinator is None:
            if process_id is not None:
                raise InputError(
                    f"--process-id is {process_id}, the number of a process among those of several "
                    "machines: give --coordinator too, or leave it out to start all processes here."
                )
            status = run_together(command, processes)
        else:
            index = _index(process_id)
            if index >= processes:
                raise InputError(f"--process-id is {index} of {processes} processes: from 0 on.")
            _become(command, process_environment(coordinator, processes, index))
    raise typer.Exit(status)


def process_environment(coordinator: str, count: int, index: int) -> dict[str, str]:
    """The environment variables by which a process joins the others."""
    return {
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": coordinator,
        "KERAS_DISTRIBUTION_NUM_PROCESSES": str(count),
        "KERAS_DISTRIBUTION_PROCESS_ID": str(index),
    }


def run_together(command: Sequence[str], count: int) -> int:
    """Run a command as processes of this machine; all end with the first that fails.

    Returns:
        0, or the status of the one that failed; of a signal, as a shell has it.

    Raises:
        KeyboardInterrupt: after Ctrl-C, once they have ended.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        coordinator = f"127.0.0.1:{server.getsockname()[1]}"
    running: dict[int, subprocess.Popen] = {}
    events: Events = queue.SimpleQueue()
    with _queuing_signals(events):
        try:
            for index in range(count):
                environment = os.environ | process_environment(coordinator, count, index)
                running[index] = subprocess.Popen(
                    command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True
                )
                wait = threading.Thread(
                    target=_report_end, args=(index, running[index], events), daemon=True
                )
                wait.start()
            while running:
                event = events.get()
                if isinstance(event, signal.Signals):
                    _stop(running.values(), event)
                    if event == signal.SIGINT:
                        raise KeyboardInterrupt
                    return 128 + event
                status = running.pop(event).returncode
                if status:
                    print(_describe_end(event, status, len(running)), file=sys.stderr)
                    return status if status > 0 else 128 - status
            return 0
        finally:
            _stop(running.values(), signal.SIGTERM)


def _report_end(index: int, process: subprocess.Popen, events: Events) -> None:
    process.wait()
    events.put(index)


def _describe_end(index: int, status: int, others: int) -> str:
    """How a process failed, in a sentence."""
    how = f"ended with status {status}"
    if status < 0:
        how = f"was ended by {signal.Signals(-status).name}"
    stopped = f"; the other {'process is' if others == 1 else 'processes are'} stopped"
    return f"legato: Process {index} {how}{stopped * (others > 0)}."


def _stop(processes, number: signal.Signals) -> None:
    """Send a signal to processes and what they started; kill those that do not end in time."""
    left = list(processes)
    for each in left:
        _signal(each, number)
    until = time.monotonic() + STOP_S
    for each in left:
        with suppress(subprocess.TimeoutExpired):
            each.wait(max(until - time.monotonic(), 0))
    for each in left:
        if each.poll() is None:
            _signal(each, signal.SIGKILL)
            each.wait()


def _signal(process: subprocess.Popen, number: signal.Signals) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)  # a session of its own, so that it gets each once


@contextmanager
def _queuing_signals(events: Events):
    """A context in which signals that end a command are events, and interrupt nothing."""

    def note(number: int, frame) -> None:
        events.put(signal.Signals(number))

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {each: signal.getsignal(each) for each in numbers}
    try:
        for each, handler in before.items():
            if handler != signal.SIG_IGN:  # nohup, and commands in the background of a script
                signal.signal(each, note)
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _index(given: int | None) -> int:
    """The number of this machine's process, given or from the job scheduler.

    Raises:
        InputError: there is none.
    """
    found = [os.environ[name] for name in INDEX_VARIABLES if os.environ.get(name, "").isdigit()]
    if given is None and not found:
        raise InputError(
            "--process-id is missing: number the machines' processes from 0, that of the "
            f"coordinator. Only jobs that set {' or '.join(INDEX_VARIABLES)} need none."
        )
    return int(found[0]) if given is None else given


def _become(command: list[str], variables: dict[str, str]) -> NoReturn:
    """Go on as that command, so that signals and the status are its own."""
    sys.stdout.flush()
    os.execve(command[0], command, os.environ | variables)
