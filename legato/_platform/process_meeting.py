"""How processes that train together find each other: all come to process 0, or nobody goes on.

``meet`` returns the group in every process, or says in every process who did not come, or came
with other numbers.
"""

import socket
import time
from contextlib import suppress
from typing import Any

from legato._errors import InputError, LegatoError, ProcessError
from legato._platform.process_group import Link, ProcessGroup
from legato._platform.wording import counted, listed


def meet(
    host: str, port: int, index: int, count: int, timeout_s: float, about: dict
) -> tuple[ProcessGroup, list[dict]]:
    """Wait until all processes have come.

    Args:
        host, port: where process 0 listens.
        index: the number of this process.
        count: how many there are.
        timeout_s: seconds to wait.
        about: what the others shall know of this process, for JSON.

    Returns:
        The group, and what each process gave as ``about``.

    Raises:
        InputError: the port is in use, or a process disagrees about their number.
        ProcessError: some have not come in that time, or nobody answers.
    """
    hello: dict[str, Any] = {
        "index": index,
        "count": count,
        "host": socket.gethostname(),
        "about": about,
    }
    if index:
        link, all_ = _find(host, port, timeout_s, hello), None
        with suppress(TimeoutError):
            all_ = link.receive(timeout_s)
        if all_ is None or "error" in all_:
            link.close()
            problem = (all_ or {}).get("error") or (
                f"Process 0 at {host}:{port} ended, or waits for others for longer than "
                f"{timeout_s:g} s."
            )
            raise ProcessError(problem)
        links = {0: link}
    else:
        links = _await(port, count, timeout_s, hello)
        hellos = [links[at][1] if at else hello for at in range(count)]
        links = {at: link for at, (link, _) in links.items()}
        all_ = {"hellos": hellos}
        for link in links.values():
            link.send(all_)
    hosts = [each["host"] for each in all_["hellos"]]
    return ProcessGroup(index, hosts, links), [each["about"] for each in all_["hellos"]]


def _find(host: str, port: int, timeout_s: float, hello: dict) -> Link:
    """A connection to process 0, who may come later."""
    until = time.monotonic() + timeout_s
    reason = ""
    while (left := until - time.monotonic()) > 0:
        try:
            link = Link(socket.create_connection((host, port), timeout=min(left, 5)))
        except OSError as error:
            reason = error.strerror or str(error)
            time.sleep(min(0.2, max(until - time.monotonic(), 0)))
            continue
        link.send(hello)
        return link
    raise ProcessError(
        f"Nobody answered at {host}:{port} for {timeout_s:g} s ({reason}). Start process 0 on "
        f"{host}, and let others reach that port."
    )


def _await(port: int, count: int, timeout_s: float, own: dict) -> dict[int, tuple[Link, dict]]:
    """Connections to all others, with what they said, by number."""
    try:
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        server = socket.create_server(("", port), family=family, dualstack_ipv6=both, backlog=count)
    except OSError as error:
        raise InputError(
            f"Process 0 cannot listen at port {port} ({error.strerror}). Choose another one."
        ) from error
    came: dict[int, tuple[Link, dict]] = {}
    until = time.monotonic() + timeout_s
    problem: LegatoError | None = None
    with server:
        while len(came) < count - 1 and problem is None:
            server.settimeout(max(until - time.monotonic(), 0.001))
            try:
                link = Link(server.accept()[0])
                hello = link.receive(5)
            except TimeoutError:
                if time.monotonic() < until:
                    continue
                missing = sorted(set(range(1, count)) - came.keys())
                problem = ProcessError(
                    f"{counted(len(missing), 'process', 'es')} of {count} did not come within "
                    f"{timeout_s:g} s: {listed(map(str, missing))}."
                )
                break
            if hello is None or not hello.keys() >= own.keys():
                link.close()  # somebody else
                continue
            problem = _objection(hello, own, came)
            came[hello["index"]] = (link, hello)
    if problem is not None:
        for link, _ in came.values():
            link.send({"error": str(problem)})
            link.close()
        raise problem
    return came


def _objection(hello: dict, own: dict, came: dict) -> LegatoError | None:
    """What is wrong with a process that has come."""
    index, count = hello["index"], own["count"]
    if hello["count"] != count:
        return InputError(
            f"Process 0 expects {count} processes, and process {index} on {hello['host']} "
            f"{hello['count']}: give all the same number."
        )
    if index in came or index not in range(1, count):
        return InputError(
            f"A process on {hello['host']} came as number {index}; numbers from 1 to {count - 1} "
            "were expected, each once."
        )
    return None
