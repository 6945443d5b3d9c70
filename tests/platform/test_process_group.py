"""Processes meet, agree and notice who is gone; here they are threads of one process."""

import errno
import os
import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from legato import InputError, ProcessError
from legato._platform.process_group import Link, ProcessGroup
from legato._platform.process_meeting import meet


@pytest.fixture(autouse=True)
def ended(monkeypatch) -> list[str]:
    """What processes said that would have ended; here they go on."""
    said: list[str] = []
    monkeypatch.setattr("legato._platform.process_group.end_process", said.append)
    return said


@pytest.fixture
def port() -> int:
    """A port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture
def groups(port):
    """Three processes that have met."""
    with ThreadPoolExecutor(3) as pool:
        found = [pool.submit(meet, "127.0.0.1", port, at, 3, 20, {"at": at}) for at in range(3)]
        made = [each.result() for each in found]
    assert all(about == [{"at": 0}, {"at": 1}, {"at": 2}] for _, about in made)
    groups = [group for group, _ in made]
    everyone = list(groups)
    yield groups
    for each in reversed(everyone):
        each.leave()


def in_all(groups: list[ProcessGroup], call) -> list:
    """The results of a function of each process, or their errors."""

    def run(group):
        try:
            return call(group)
        except (InputError, ProcessError) as error:
            return error

    with ThreadPoolExecutor(len(groups)) as pool:
        return list(pool.map(run, groups))


def test_all_get_what_all_give_turn_by_turn(groups):
    for turn in range(3):
        found = in_all(groups, lambda group, turn=turn: group.gather("x", [turn, group.index]))
        assert found == [[[turn, 0], [turn, 1], [turn, 2]]] * 3


def test_a_failure_is_told_once_and_the_turns_go_on(groups):
    error = ValueError("no rows")

    def call(group):
        if group.index == 1:
            group.fail(error)
            group.fail(error)  # an outer call
            return None
        return group.gather("x", 1)

    first, none, third = in_all(groups, call)
    assert none is None
    for each in (first, third):
        assert str(each).startswith("Process 1 on ")
        assert str(each).endswith(" failed: ValueError: no rows")
    assert in_all(groups, lambda group: group.gather("y", group.index)) == [[0, 1, 2]] * 3


def test_other_calls_are_named(groups):
    for each in in_all(groups, lambda group: group.gather("ab"[group.index // 2], 0)):
        assert "process 0 agrees on a, process 2 on" in str(each)
        assert isinstance(each, InputError)


def test_whoever_has_ended_is_named(groups):
    groups[2].leave()
    for each in in_all(groups[:2], lambda group: group.gather("x", 0)):
        assert isinstance(each, ProcessError)
        assert str(each).startswith("Process 2 on ")
        assert "has ended" in str(each)


def test_whoever_is_lost_is_named_also_in_a_program(groups):
    gone = groups[1]._links[0]
    gone._connection.shutdown(socket.SHUT_RDWR)
    groups.remove(groups[1])
    for each in in_all(groups, lambda group: group.gather("x", 0)):
        assert "Process 1 on" in str(each)
        assert "was lost" in str(each)
    with (
        pytest.raises(ProcessError, match=r"Process 1 on .* was lost") as raised,
        groups[0].program(),
    ):
        raise RuntimeError("Connection closed by peer")
    assert "closed by peer" in str(raised.value.__cause__)


def test_a_connection_that_the_probes_ended_is_a_loss():
    class Ended:
        def readline(self, _):
            raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    with socket.create_server(("127.0.0.1", 0)) as server:
        link = Link(socket.create_connection(server.getsockname()))
    lines, link._lines = link._lines, Ended()
    assert link.receive() is None
    link._lines = lines
    link.close()


def test_process_0_takes_the_others_with_it(groups, ended):
    for link in groups[0]._links.values():
        link._connection.shutdown(socket.SHUT_RDWR)
    for each in in_all(groups[1:], lambda group: group.gather("x", 0)):
        assert "rocess 0 on" in str(each)
    assert len(ended) == 2
    assert all("rocess 0 on" in each and " lost: killed" in each for each in ended)


def test_whoever_waits_in_a_program_long_after_a_loss_is_ended(groups, ended, monkeypatch):
    monkeypatch.setattr("legato._platform.process_group.STUCK_S", 0.05)
    with groups[0].program():
        groups[1]._links[0]._connection.shutdown(socket.SHUT_RDWR)
        until = time.monotonic() + 20
        while not any("Process 1 on" in each for each in ended) and time.monotonic() < until:
            time.sleep(0.01)
    assert any("Process 1 on" in each and "was lost" in each for each in ended)


def test_an_error_of_a_program_stays_as_it_is_while_all_are_there(groups, monkeypatch):
    monkeypatch.setattr("legato._platform.process_group.NAMED_WITHIN_S", 0.05)
    with pytest.raises(RuntimeError, match="out of memory"), groups[0].program():
        raise RuntimeError("out of memory")


# Meeting.


def test_nobody_answers(port):
    message = rf"Nobody answered at 127.0.0.1:{port} for 0.5 s .*refused.*Start process 0"
    with pytest.raises(ProcessError, match=message):
        meet("127.0.0.1", port, 1, 2, 0.5, {})


def test_who_does_not_come_is_named_to_all(port):
    def come(index):
        try:
            meet("127.0.0.1", port, index, 4, 1.0 if index == 0 else 20, {})
        except ProcessError as error:
            return str(error)
        return "none"

    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(come, (0, 2)))
    assert said == ["2 processes of 4 did not come within 1 s: 1 and 3."] * 2


@pytest.mark.parametrize(
    ("index", "count", "message"),
    [
        (1, 3, "Process 0 expects 2 processes, and process 1 on .* 3: give all the same number"),
        (3, 2, "came as number 3; numbers from 1 to 1 were expected, each once"),
    ],
)
def test_processes_that_count_otherwise_are_refused(index, count, message, port):
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(meet, "", port, 0, 2, 20, {})
        with pytest.raises(ProcessError, match=message):
            meet("127.0.0.1", port, index, count, 20, {})
        assert isinstance(first.exception(20), InputError)


def test_a_port_in_use_is_named(port):
    with socket.create_server(("", port)), pytest.raises(InputError, match="cannot listen at port"):
        meet("127.0.0.1", port, 0, 2, 1, {})


def test_a_stranger_is_left_alone(port):
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(meet, "127.0.0.1", port, 0, 2, 20, {})
        while True:
            try:
                stranger = socket.create_connection(("127.0.0.1", port))
                break
            except OSError:
                continue
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        second = pool.submit(meet, "127.0.0.1", port, 1, 2, 20, {})
        groups = [first.result()[0], second.result()[0]]
    stranger.close()
    assert in_all(groups, lambda group: group.gather("x", group.index)) == [[0, 1]] * 2
    for each in reversed(groups):
        each.leave()


# Two machines, each a network namespace.

ON_A_MACHINE = """
import sys, time
from legato import ProcessError
from legato._platform.process_meeting import meet
index = int(sys.argv[1])
group, _ = meet("10.77.0.1", 4567, index, 2, 60, {})
group.gather("x", index)
print("met", flush=True)
began = time.monotonic()
try:
    group.gather("y", 0) if index == 0 else time.sleep(90)
except ProcessError as error:
    print(time.monotonic() - began, error, flush=True)
"""


@pytest.fixture
def two_machines():
    """The commands that run something on each of two machines, and one that cuts their cable."""
    if shutil.which("ip") is None:
        pytest.skip("no network namespaces here: there is no command ip")
    names = [f"legato-{os.getpid()}-{at}" for at in (1, 2)]
    ends = [f"veth{at}" for at in (1, 2)]
    setup = [f"ip netns add {name}" for name in names]
    setup += [
        f"ip link add {ends[0]} netns {names[0]} type veth peer name {ends[1]} netns {names[1]}"
    ]
    for at, (name, end) in enumerate(zip(names, ends, strict=True), 1):
        setup += [
            f"ip -n {name} addr add 10.77.0.{at}/24 dev {end}",
            f"ip -n {name} link set {end} up",
        ]
    try:
        for each in setup:
            done = subprocess.run(each.split(), capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"no network namespaces here: {done.stderr}")
        cut = f"ip -n {names[1]} link set {ends[1]} down"
        yield [["ip", "netns", "exec", name] for name in names], cut.split()
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


@pytest.mark.slow
def test_a_machine_that_is_gone_is_named_within_the_time_that_is_stated(two_machines):
    machines, cut = two_machines
    processes = [
        subprocess.Popen(
            [*machine, sys.executable, "-c", ON_A_MACHINE, str(at)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for at, machine in enumerate(machines)
    ]
    try:
        assert [each.stdout.readline() for each in processes] == ["met\n", "met\n"]
        subprocess.run(cut, check=True)
        (first, _), (_, errors) = (each.communicate(timeout=60) for each in processes)
    finally:
        for each in processes:
            each.kill()
            each.wait()
    seconds, _, message = first.partition(" ")
    assert message.startswith("Process 1 on ")
    assert "was lost" in message
    assert float(seconds) < 30  # 25, and what a busy machine adds
    assert processes[1].returncode == 1
    assert "legato: Process 0 on " in errors
