"""Processes that train together: who is there, what they agree on, and who has gone.

Process 0 listens, and every other process keeps one connection to it, over which they exchange
small facts as lines of JSON. The operating system closes the connection of a process that is
killed, and probes end that of a machine that is gone, so that all learn at once who was lost.
JAX's own messages come later and name less: an all-reduce fails where its connection breaks, and
JAX's coordination service notices after a timeout.

Limits: connections are neither encrypted nor authenticated, as those of JAX are not: for a network
that is trusted.
"""

import atexit
import json
import os
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import contextmanager, suppress
from typing import Any

from legato._errors import InputError, LegatoError, ProcessError
from legato._platform.wording import capitalized, listed

_PROBES = {  # without an answer for 20 s, a machine is gone
    "TCP_KEEPIDLE": 5,
    "TCP_KEEPINTVL": 5,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 20_000,  # milliseconds; also while what was sent is not received
}
NAMED_WITHIN_S = 25.0
STUCK_S = 60.0  # after a loss, for which a process may wait for the others inside a program
LEAVING_S = 300.0  # for which process 0 waits for the others, since JAX ends them when it ends


def end_process(message: str) -> None:
    """End this process from a thread, with a line on standard error."""
    os.write(2, f"{message}\n".encode())
    with suppress(ValueError, OSError):  # closed
        sys.stdout.flush()
    os._exit(1)


class Link:
    """A connection, over which messages go as lines of JSON."""

    def __init__(self, connection: socket.socket):
        self._connection, self._lock = connection, threading.Lock()
        self._lines = connection.makefile("rb")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _PROBES.items():
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def send(self, message: dict) -> None:
        """Send a message; a broken connection is noticed by whoever receives."""
        with self._lock, suppress(OSError):
            self._connection.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, timeout_s: float | None = None) -> dict | None:
        """The next message; None if the other side has gone, or sends something else.

        Raises:
            TimeoutError: none came in that time.
        """
        try:
            self._connection.settimeout(timeout_s)
            line = self._lines.readline(2**24)
            message = json.loads(line) if line.endswith(b"\n") else None
        except TimeoutError as error:
            if error.errno is None:  # else the system has ended the connection after its probes
                raise
            return None
        except (OSError, ValueError):  # closed, perhaps here
            return None
        return message if isinstance(message, dict) else None

    def close(self) -> None:
        """End the connection."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)  # whoever reads from it stops
        self._lines.close()
        self._connection.close()


class ProcessGroup:
    """The processes, as one of them sees them.

    Args:
        index: the number of this process.
        hosts: the name of each process's machine.
        links: the connections to the others, by number; of processes other than 0 that to 0.

    Attributes:
        index, hosts: as given.
        before_leaving: what a process does that ends, while process 0 still answers.
    """

    before_leaving: Callable[[], None] | None = None

    def __init__(self, index: int, hosts: list[str], links: dict[int, Link]):
        self.index, self.hosts, self._links = index, hosts, links
        self._changed = threading.Condition()
        self._turn = 0
        self._offers: dict[int, dict[int, Any]] = {}  # by turn and process; of process 0
        self._settled: dict[int, dict] = {}
        self._gone: dict[int, str] = {}
        self._when_gone: Callable[[], object] | None = None
        self._shared: BaseException | None = None  # an error that all processes have
        self._waits = 0  # inside programs
        self._in_program = self._has_left = False
        for other, link in links.items():
            threading.Thread(
                target=self._listen, args=(other, link), name="legato-processes", daemon=True
            ).start()
        atexit.register(self.leave)

    @property
    def count(self) -> int:
        """The number of processes."""
        return len(self.hosts)

    def named(self, index: int) -> str:
        """A process in words."""
        return f"process {index} on {self.hosts[index]}"

    def gather(self, what: str, facts) -> list:
        """What every process gives, in order; returns when all have given theirs.

        Args:
            what: what is given, in words.
            facts: a value for JSON.

        Raises:
            InputError: another process gives something else, since it makes another call.
            ProcessError: a process has gone, or failed.
        """
        with self._changed:
            self._turn += 1
            turn = self._turn
            self._offer(turn, self.index, {"what": what, "facts": facts})
            while turn not in self._settled and not (self.index and 0 in self._gone):
                self._changed.wait(0.5)  # so that Ctrl-C takes effect
            settled = self._settled.pop(turn, {"error": self._lost()})
        if "error" in settled:
            raise self.as_shared(ProcessError(settled["error"]))
        for index, offer in enumerate(settled["all"]):
            if "failed" in offer:
                name = capitalized(self.named(index))
                raise self.as_shared(ProcessError(f"{name} failed: {offer['failed']}"))
        first = settled["all"][0]["what"]
        for index, offer in enumerate(settled["all"]):
            if offer["what"] != first:
                raise self.as_shared(
                    InputError(
                        f"The processes differ in what they do: process 0 agrees on {first}, "
                        f"{self.named(index)} on {offer['what']}. Make the same calls in each."
                    )
                )
        return [offer["facts"] for offer in settled["all"]]

    def as_shared(self, error: LegatoError) -> LegatoError:
        """An error that every process raises, so that ``fail`` tells nobody of it."""
        self._shared = error
        return error

    def fail(self, error: BaseException) -> None:
        """Tell the others, who wait for this process, that an error has ended its call."""
        with self._changed:
            if error is self._shared or isinstance(error, ProcessError):
                return
            self._shared = error
            self._turn += 1
            message = f"{type(error).__name__}: {error}"[:2000]
            self._offer(self._turn, self.index, {"failed": message})

    def call_when_gone(self, function: Callable[[], object]) -> None:
        """Call a function as soon as another process has gone, for whatever reason."""
        with self._changed:
            self._when_gone = function
            if self._gone:
                function()

    @contextmanager
    def program(self):
        """A context for a program in which the processes wait for each other.

        Raises:
            ProcessError: the program failed since a process was lost; it names that one.
        """
        self._waits, self._in_program = self._waits + 1, True
        try:
            yield
        except Exception as error:
            with self._changed:
                self._changed.wait_for(lambda: self._gone, NAMED_WITHIN_S)
                lost = self._lost()
            if lost is None:
                raise
            raise self.as_shared(ProcessError(lost)) from error
        finally:
            self._in_program = False

    def leave(self) -> None:
        """Say goodbye; process 0 waits a while for the others, since JAX ends them with it."""
        atexit.unregister(self.leave)
        if self.index and self.before_leaving is not None:
            self.before_leaving()
        if not self.index:
            with self._changed:
                self._changed.wait_for(lambda: len(self._gone) == self.count - 1, LEAVING_S)
        self._has_left = True
        for link in self._links.values():
            link.send({"bye": True})
            link.close()

    def _listen(self, other: int, link: Link) -> None:
        while (message := link.receive()) is not None:
            with self._changed:
                if "bye" in message:
                    self._go(other, "has ended")
                    break
                if "offer" in message:
                    self._offer(message["turn"], other, message["offer"])
                elif "gone" in message:
                    self._go(message["gone"], message["why"])
                else:
                    self._settled[message["turn"]] = message
                self._changed.notify_all()
        with self._changed:
            if other not in self._gone and not self._has_left:
                self._go(other, "was lost")
        link.close()

    def _go(self, index: int, why: str) -> None:
        """A process has gone."""
        self._gone[index] = why
        if self._when_gone is not None:
            self._when_gone()
        if why == "was lost":
            if index == 0:  # JAX ends this process at once, with a trace of its own functions
                end_process(f"legato: {self._lost()}")
            stuck = threading.Timer(STUCK_S, self._end_if_stuck, [self._waits])
            stuck.daemon = True
            stuck.start()
        if not self.index:
            for other, link in self._links.items():
                if other not in self._gone:
                    link.send({"gone": index, "why": why})
            self._settle()
        self._changed.notify_all()

    def _end_if_stuck(self, waits: int) -> None:
        """End this process if it waits in a program since before another was lost."""
        if self._in_program and self._waits == waits:
            end_process(f"legato: {self._lost()}")

    def _offer(self, turn: int, index: int, offer: dict) -> None:
        if self.index:
            self._links[0].send({"turn": turn, "offer": offer})
        else:
            self._offers.setdefault(turn, {})[index] = offer
            self._settle()

    def _settle(self) -> None:
        """Answer the turns for which all have given something, or somebody will not."""
        for turn, offers in sorted(self._offers.items()):
            missing = set(range(self.count)) - offers.keys()
            if missing and not missing & self._gone.keys():
                continue
            answer = {"error": self._lost()}
            if not missing:
                answer = {"all": [offers[at] for at in range(self.count)]}
            del self._offers[turn]
            self._settled[turn] = answer
            for other, link in self._links.items():
                if other not in self._gone:
                    link.send({"turn": turn, **answer})
        self._changed.notify_all()

    def _lost(self) -> str | None:
        """Which processes have gone, in a sentence; those that were lost if any were."""
        lost = {at: why for at, why in self._gone.items() if why == "was lost"} or self._gone
        if not lost:
            return None
        (why, *_) = lost.values()
        names = capitalized(listed(self.named(at) for at in sorted(lost)))
        one = len(lost) == 1
        if why == "has ended":
            return f"{names} {'has' if one else 'have'} ended, and others wait for its next call."
        return (
            f"{names} {'was' if one else 'were'} lost: killed, or its machine or network failed. "
            "All processes stop. Start them again: a run with keras.callbacks.BackupAndRestore "
            "continues from its last backup, with any number of processes."
        )
