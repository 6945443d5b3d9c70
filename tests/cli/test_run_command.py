"""``legato run``: what its processes are told, and that they end together.

The scripts here import nothing of legato; ``execution/test_process_examples.py`` trains.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_runs import run_legato

from legato.cli import _run_command

SCRIPT = """
import json, os, signal, sys, time
index = int(os.environ["KERAS_DISTRIBUTION_PROCESS_ID"])
given = {name[19:]: value for name, value in os.environ.items() if name.startswith("KERAS_DIST")}
print(json.dumps([index, os.getpid(), given, sys.argv[1:]]) + "\\n", end="", flush=True)
what = sys.argv[1]
if what == "stubborn":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("ready\\n", end="", flush=True)
if what == "fail" and index == 1:
    sys.exit(3)
if what == "killed" and index == 1:
    os.kill(os.getpid(), signal.SIGKILL)
if what != "end":
    for _ in range(600):  # a signal that came just before a sleep would not end it
        time.sleep(0.1)
"""


@pytest.fixture
def script(tmp_path) -> Path:
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    return path


def started(*words, **options) -> subprocess.Popen:
    """The command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "legato", "run", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def outcome(process: subprocess.Popen) -> tuple[int, list[list], str]:
    """Status, what the script's processes wrote, and errors."""
    output, errors = process.communicate(timeout=100)
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("[")]
    return process.returncode, sorted(lines), errors


def assert_ended(found: list[list]) -> None:
    for _, number, *_ in found:
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)


def test_each_process_is_told_where_the_others_are(script):
    status, found, errors = outcome(started("--processes", 3, script, "end", "-n", "5"))
    assert (status, errors) == (0, "")
    assert [index for index, *_ in found] == [0, 1, 2]
    (address,) = {given.pop("JOB_ADDRESSES") for _, _, given, _ in found}
    assert address.startswith("127.0.0.1:")
    for index, _, given, arguments in found:
        assert given == {"NUM_PROCESSES": "3", "PROCESS_ID": str(index)}
        assert arguments == ["end", "-n", "5"]


@pytest.mark.parametrize(
    ("what", "expected", "message"),
    [
        ("fail", 3, "legato: Process 1 ended with status 3; the other process is stopped.\n"),
        ("killed", 137, "legato: Process 1 was ended by SIGKILL; the other process is stopped.\n"),
    ],
)
def test_all_end_with_the_first_that_fails(script, what, expected, message):
    status, found, errors = outcome(started("-n", 2, script, what))
    assert (status, errors) == (expected, message)
    assert_ended(found)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_all_end_with_the_command(script, number, expected):
    process = started("-n", 2, script, "wait")
    assert process.stdout is not None
    found = sorted(json.loads(process.stdout.readline()) for _ in range(2))
    process.send_signal(number)
    status, _, errors = outcome(process)
    assert status == expected
    assert ("Interrupted" in errors) == (number == signal.SIGINT)
    assert_ended(found)


def test_processes_that_do_not_end_are_killed(script, monkeypatch):
    monkeypatch.setattr(_run_command, "STOP_S", 0.2)
    process = subprocess.Popen(
        [sys.executable, str(script), "stubborn"],
        env={**os.environ, **_run_command.process_environment("a:1", 1, 0)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        assert process.stdout is not None
        while process.stdout.readline() != "ready\n":
            time.sleep(0.01)
        _run_command._stop([process], signal.SIGTERM)
        assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("words", "variables", "index"),
    [
        (["--process-id", "1"], {}, "1"),
        ([], {"SLURM_PROCID": "2"}, "2"),
        ([], {"JOB_COMPLETION_INDEX": "0"}, "0"),
        (["--process-id", "1"], {"SLURM_PROCID": "2"}, "1"),
    ],
)
def test_of_several_machines_one_process_is_started(script, words, variables, index):
    words = ["--coordinator", "10.0.0.1:1234", "--processes", 3, *words, script, "end"]
    process = started(*words, env={**os.environ, **variables})
    status, [(_, number, given, _)], errors = outcome(process)
    assert (status, errors) == (0, "")
    assert given == {
        "JOB_ADDRESSES": "10.0.0.1:1234", "NUM_PROCESSES": "3", "PROCESS_ID": index
    }  # fmt: skip
    assert number == process.pid  # which signals reach


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train.py", "--processes", "2"], "--processes is missing. Options .* before the script"),
        (["-n", "2", "nowhere.py"], "There is no script nowhere.py"),
        (["-n", "2", "--process-id", "1", "train.py"], "--process-id is 1.*give --coordinator too"),
        (["-n", "2", "--coordinator", "a:1", "train.py"], "--process-id is missing.*SLURM_PROCID"),
        (
            ["-n", "2", "--coordinator", "a:1", "--process-id", "2", "train.py"],
            "--process-id is 2 of 2 processes",
        ),
    ],
)
def test_options_that_do_not_fit(script, words, message, monkeypatch):
    monkeypatch.chdir(script.parent)
    for name in _run_command.INDEX_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    result = run_legato("run", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.search(message, result.stderr)


def test_the_help_has_examples_and_every_option():
    output = run_legato("run", "--help").output
    assert "Example" in output
    for name in ("--processes", "--coordinator", "--process-id"):
        assert name in output
