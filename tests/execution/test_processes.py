"""Several processes that train one model together give the numbers of one with as many devices.

The laws of the state hold on one device (``tests/test_laws.py``); so they hold here. One pair of
processes answers most questions, since starting them takes seconds.
"""

import json
import os
import shutil
import signal
import socket
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import training_process
from forked import ForkedPython

import legato
from legato._platform.row_devices import check_rows
from legato._recurrent import native_kernel

SECONDS = 200


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def start(
    what: str,
    index: int,
    count: int,
    port: int,
    folder: Path | str,
    timeout_s: float = 60,
    **environment: str,
):
    """A process that does what ``training_process.py`` has under that name."""
    return ForkedPython(
        "import training_process; training_process.main()",
        [what, index, count, port, folder, timeout_s],
        environment={**os.environ, "JAX_NUM_CPU_DEVICES": "1", **environment},
    )


def answers(processes: list[ForkedPython]) -> tuple[list[list], list[tuple[int | None, str]]]:
    """The lines of JSON, and the status and errors, of processes that have ended."""
    found, ends = [], []
    try:
        for each in processes:
            output, errors = each.communicate(timeout=SECONDS)
            lines = [line for line in output.splitlines() if line.startswith(("{", '"'))]
            found.append(list(map(json.loads, lines)))
            ends.append((each.returncode, errors))
    finally:
        for each in processes:
            each.kill()
    return found, ends


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the processes of ``two`` write files."""
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def two(folder) -> list[dict]:
    """What two processes of one device each found; the first has what it was told at the end."""
    training_process.write_files(folder)
    port = free_port()
    found, ends = answers([start("all", at, 2, port, folder) for at in range(2)])
    assert [status for status, _ in ends] == [0, -signal.SIGKILL], ends
    assert all(found), ends
    return [found[0][0] | found[0][1], found[1][0]]


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


def assert_same(processes: list[dict], one: dict, last: int | None = None) -> None:
    """Each process has the numbers of one process, and the states of its rows.

    Args:
        processes: what each found.
        one: what one process with all rows found.
        last: how many of the last epochs are compared; None: all.
    """
    begin = None if last is None else -last
    for each in processes:
        assert each["history"].keys() == one["history"].keys()
        for name, values in one["history"].items():
            np.testing.assert_allclose(each["history"][name], values[begin:], rtol=2e-5)
        for mine, theirs in zip(each["weights"], one["weights"], strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=2e-6)
        np.testing.assert_allclose(each["evaluation"], one["evaluation"], rtol=1e-5)
        for name, values in one["trained again"].items():
            np.testing.assert_allclose(each["trained again"][name], values, rtol=2e-5)
    for at, state in enumerate(one["states"]):
        found = np.concatenate([each["states"][at] for each in processes])
        np.testing.assert_allclose(found, state, rtol=1e-5, atol=2e-6)
    for name in ("prediction", "again"):
        np.testing.assert_allclose(of_all(processes, name), one[name], rtol=1e-5, atol=2e-6)
    assert not np.allclose(one["prediction"], one["again"])  # state is carried


@pytest.mark.slow
def test_training_of_two_processes_is_that_of_two_devices(one, two):
    assert_same([each["train"] for each in two], one)
    assert all(each["joined"] for each in two)  # their sums go in one message
    if native_kernel.unavailable() is None and sys.platform == "linux":
        assert all(each["shared"] for each in two)


@pytest.mark.slow
def test_processes_that_keras_joined_train_as_well_without_memory_that_they_share(one, tmp_path):
    port, native = free_port(), {"LEGATO_NATIVE": "off"}
    found, ends = answers([start("keras", at, 2, port, tmp_path, **native) for at in range(2)])
    assert_same([each[0]["train"] for each in found], one)
    (killed, _), (status, errors) = ends
    assert killed == -signal.SIGKILL
    assert status != 0
    assert "rocess 0 on" in errors or "leader task was preempted/died" in errors  # JAX was first


@pytest.mark.slow
def test_four_processes(one, tmp_path):
    port = free_port()
    found, ends = answers([start("train", at, 4, port, tmp_path) for at in range(4)])
    assert all(status == 0 for status, _ in ends), ends
    assert_same([each[0]["train"] for each in found], one)


@pytest.mark.slow
def test_processes_that_read_shards_of_files_have_the_numbers_of_one_that_reads_all(two, folder):
    one = training_process.train_from_files(folder, devices=2)
    shards = [each["files"] for each in two]
    for each in shards:
        np.testing.assert_allclose(each["history"]["loss"], one["history"]["loss"], rtol=2e-5)
        for mine, theirs in zip(each["weights"], one["weights"], strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=2e-6)
        np.testing.assert_allclose(each["evaluation"], one["evaluation"], rtol=1e-5)
    first, second = (each["states"] for each in shards)
    for mine, others, all_rows in zip(first, second, one["states"], strict=True):
        np.testing.assert_allclose([*mine, *others], all_rows, rtol=1e-5, atol=2e-6)


# Callbacks and files.


@pytest.mark.slow
def test_callbacks_may_be_in_one_process_only(two):
    first, second = (each["callbacks"] for each in two)
    alone = training_process.losses(batch_size=4, data=of_two(), devices=2)
    for each in (first, second):
        np.testing.assert_allclose(each["batches"], alone, rtol=1e-5)
        np.testing.assert_allclose(each["stopped after an epoch"], alone[:2], rtol=1e-5)
        assert len(each["stopped after a batch"]) == 2
    assert first["stopped after a batch"] == second["stopped after a batch"]
    assert (first["seen"], second["seen"]) == ([], [0, 1, 2] * 4)
    assert first["shuffled"] == second["shuffled"] != first["batches"]


def of_two() -> tuple:
    """The data of the small training of two processes, which have the same, as one has them."""
    _, X, y = training_process.small()
    return tuple(
        each.reshape(3, 2, *each.shape[1:])[:, [0, 1, 0, 1]].reshape(12, *each.shape[1:])
        for each in (X, y)
    )


@pytest.mark.slow
def test_process_0_writes_the_files(two, folder):
    written = sorted(each.name for each in folder.glob("*.keras"))
    assert written == [f"model{epoch}.0.keras" for epoch in (1, 2, 3)]


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_an_interrupted_run_continues_with_any_number_of_processes(
    count, one, two, folder, tmp_path
):
    continued = [each["continued"] for each in two]
    if count == 1:
        shutil.copytree(folder / "copy", tmp_path / "backup")
        continued = [training_process.interrupted(0, 1, f"{tmp_path}/backup", devices=2)]
    assert_same(json.loads(json.dumps(continued)), one, last=2)


def test_rows_of_a_backup_that_the_processes_cannot_share_are_refused():
    from legato._execution.agreement import Agreement

    class Three:
        index, count = 1, 3

    agreement = Agreement(Three(), "train")
    assert [each.tolist() for each in agreement.own_rows([np.arange(6)])] == [[2, 3]]
    with pytest.raises(legato.StateError, match="4 rows, which 3 processes cannot share equally"):
        agreement.own_rows([np.arange(4)])


# Processes that differ, fail, or are lost.

DIFFER = {
    "samples": r"differ in the batches of an epoch: process 0 on .* has 3, process 1 on .* 2\.",
    "batch": r"differ in the samples of a batch: process 0 on .* has 2, and 2 .* 3, and 3 in the",
    "epochs": r"differ in the epochs: process 0 on .* has 0 to 3, process 1 on .* 0 to 4\.",
    "reset": r"differ in reset: process 0 on .* has epoch, process 1 on .* batch\.",
    "model": r"differ in the shapes of the model's variables: .* \(2, 6\).* \(3, 9\)",
    "seed": r"differ in the values of the model's variables.*set the same random seed in all",
    "order": r"process 0 and process 1 on .* draw other sample orders\. Call keras\.utils\.set_ra",
    "kernel": r"differ in the kernel of recurrent layers \(LEGATO_NATIVE.*has native, .* JAX",
    "generator": r"process 0 is at step 2 of 'train', process 1 on .* has ended 'train'",
    "backups": r"differ in the callbacks BackupAndRestore: process 0 on .* has 1, .* 0\.",
    "verb": r"process 0 agrees on the callbacks of 'test', process 1 on .* on the callbacks of fit",
}


@pytest.mark.slow
@pytest.mark.parametrize("what", DIFFER)
def test_processes_that_differ_are_named(what, two):
    for each in two:
        (said,) = np.ravel(each["disagreements"][what])
        with pytest.raises(legato.InputError, match=DIFFER[what]):
            raise legato.InputError(said.removeprefix("InputError: "))


@pytest.mark.slow
def test_an_error_in_one_process_is_said_in_the_others(two):
    first, second = (each["disagreements"] for each in two)
    assert first["empty"][0].startswith("ProcessError: Process 1 on ")
    assert second["empty"][0] in first["empty"][0]
    assert second["empty"] == [
        "InputError: The data are empty: x has no samples. At least one is needed."
    ]
    assert "failed: InputError: x[0, 0, 0] is nan" in first["nan"][0]
    assert first["failure"] == ["OSError: disk is full"]
    assert second["failure"][0].endswith("failed: OSError: disk is full")
    assert first["after all of it"] == second["after all of it"] == two[0]["callbacks"]["batches"]


@pytest.mark.slow
def test_a_lost_process_is_named_and_the_others_go_on_to_say_so(two):
    assert "Process 1 on " in two[0]["lost"][0]
    assert "was lost: killed, or its machine or network failed" in two[0]["lost"][0]
    assert two[0]["seconds"] < 60


def test_rows_that_the_devices_of_each_process_cannot_share_are_refused():
    class Mesh:
        shape = {"processes": 2, "devices": 4}  # noqa: RUF012

    with pytest.raises(
        legato.InputError,
        match=r"6 rows .* 4 devices of each process. Give batch"
        r"_size=4 or 8, or 3 devices to each process",
    ):
        check_rows(6, Mesh())
    check_rows(8, Mesh())


# Joining.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "coordinator is missing: .*KERAS_DISTRIBUTION_JOB_ADDRESSES"),
        ({"coordinator": "here"}, "coordinator is 'here'; host:port of process 0"),
        ({"coordinator": "a:1"}, "processes is missing"),
        ({"coordinator": "a:1", "processes": 0, "process_id": 0}, "processes is 0"),
        ({"coordinator": "a:1", "processes": 2, "process_id": 2}, "process_id is 2 of 2 processes"),
        ({"coordinator": "a:1", "processes": 2, "process_id": 1}, "JAX was used before"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, message, monkeypatch):
    for name in list(os.environ):
        if name.startswith("KERAS_DISTRIBUTION"):
            monkeypatch.delenv(name)
    keras.ops.ones(1)
    with pytest.raises(legato.InputError, match=message):
        legato.join_processes(**arguments)


def test_processes_share_the_cores_of_a_machine_and_end_well_in_any_order(tmp_path):
    port = free_port()
    found, ends = answers([start("join", at, 2, port, tmp_path) for at in range(2)])
    threads = max(len(os.sched_getaffinity(0)) // 2, 1)
    joined = {"processes": 2, "threads": threads, "ends on SIGTERM": True}
    assert [each[0] for each in found] == [joined] * 2
    assert ends[0][0] == ends[1][0] == 0, ends


def test_one_process_needs_nobody():
    legato.join_processes("127.0.0.1:1", 1, 0, seed=4)
    first = np.random.random()
    legato.join_processes("127.0.0.1:1", 1, 0, seed=4)
    assert np.random.random() == first
