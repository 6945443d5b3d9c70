"""Several processes that train one model together give the numbers of one with as many devices.

The laws of the state hold on one device (``tests/test_laws.py``); so they hold here. One pair of
processes answers most questions, since starting them takes seconds.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import training_process

CHILD = Path(training_process.__file__)
SECONDS = 120


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def start(*arguments, **environment: str) -> subprocess.Popen:
    """A child process with these arguments."""
    path = os.pathsep.join([str(CHILD.parents[1]), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, str(CHILD), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answers(processes: list[subprocess.Popen]) -> list[dict]:
    """What each process found, when all are done."""
    found = []
    try:
        for each in processes:
            output, errors = each.communicate(timeout=SECONDS)
            assert each.returncode == 0, errors
            found.append(json.loads(output.splitlines()[-1]))
    finally:
        for each in processes:
            each.kill()
            each.wait()
    return found


@pytest.fixture(scope="module")
def two() -> list[dict]:
    """What two processes of one device each found."""
    port = free_port()
    return answers([start(at, 2, port) for at in range(2)])


@pytest.fixture(scope="module")
def one() -> dict:
    """What one process of two devices found."""
    return json.loads(json.dumps(training_process.train(devices=2)))


def of_all(processes: list[dict], name: str) -> np.ndarray:
    """Arrays (samples, …) of all processes, with the rows of each batch side by side."""
    parts = [np.array(each[name]) for each in processes]
    rows = training_process.ROWS // len(parts)
    parts = [each.reshape(-1, rows, *each.shape[1:]) for each in parts]
    return np.concatenate(parts, axis=1).reshape(-1, *parts[0].shape[2:])


def test_training_of_two_processes_is_that_of_two_devices(one, two):
    for each in two:
        for part in ("history", "trained again"):
            assert each[part].keys() == one[part].keys()
            for name, values in one[part].items():
                np.testing.assert_allclose(each[part][name], values, rtol=2e-5)
        for mine, theirs in zip(each["weights"], one["weights"], strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=2e-6)
        np.testing.assert_allclose(each["evaluation"], one["evaluation"], rtol=1e-5)


def test_each_process_has_the_states_and_predictions_of_its_rows(one, two):
    for at, state in enumerate(one["states"]):
        found = np.concatenate([each["states"][at] for each in two])
        np.testing.assert_allclose(found, state, rtol=1e-5, atol=2e-6)
    for name in ("prediction", "again"):
        np.testing.assert_allclose(of_all(two, name), one[name], rtol=1e-5, atol=2e-6)
    assert not np.allclose(one["prediction"], one["again"])  # state is carried
