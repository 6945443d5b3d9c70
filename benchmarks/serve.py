"""How many steps a second does a server of streams answer, how late, and what does a stream cost?

An LSTM of 50 units and a softmax over 26 letters, 1,000 streams, on loopback; server and clients
share the machine. Every request has an id.

* single: one step a request, from 64 connections, each as fast as it is answered.
* several: one step of each of 50 streams a request, from 16 connections.
* late: single requests at half of the rate just measured: how long until an answer.
* many: 100,000 streams: memory a stream, and the time to start with all of them stored.
* kills: a server under load is killed at random moments, and each answer is compared with the
  stream of its own that was never stopped. Its status is 1 if a step was lost or made twice.

The rival is a FastAPI handler around ONNX Runtime that keeps states in a dictionary: it answers one
step a call, and keeps nothing beyond the process, so it is compared with `--durability memory`.

    python benchmarks/serve.py
    python benchmarks/serve.py --only single --durability memory fsync --rounds 5
    python benchmarks/serve.py --only kills --kills 200
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import _bench

QUESTION = "What does a server of streams answer?"
SECTIONS = ["single", "several", "late", "many", "kills"]
STREAMS, CONNECTIONS = 1000, 64
SEVERAL, SEVERAL_CONNECTIONS = 50, 16  # streams a request
MANY = 100_000
LETTERS = 26
STEP = [round(0.04 * at, 2) for at in range(LETTERS)]
RIVAL = "FastAPI + ONNX Runtime"


def make_model(folder: Path) -> None:
    """Write the model, as a Keras file and as ONNX."""
    script = (
        "import legato, keras, sys; from legato import layers; keras.utils.set_random_seed(1);"
        f"model = legato.Sequential([layers.Input((None, {LETTERS}), name='x'), layers.LSTM(50),"
        f" layers.Dense({LETTERS}, activation='softmax')]);"
        "model.save(sys.argv[1] + '/abc.keras');"
        "legato.export_onnx(model, sys.argv[1] + '/abc.onnx')"
    )
    subprocess.run([sys.executable, "-c", script, str(folder)], check=True)


# Servers.


@contextmanager
def serving(folder: Path, name: str, store: str = "") -> Iterator[Server]:
    """A server in a process of its own; ends with it."""
    server = Server(folder, name, store)
    server.start()
    try:
        yield server
    finally:
        server.kill()


class Server:
    """A server by the name of its durability, or the rival.

    Args:
        folder: of the model.
        name: "memory", "write", "fsync", or the rival's.
        store: name of the file of streams.
    """

    def __init__(self, folder: Path, name: str, store: str = ""):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.took = 0.0
        self._cache = str(folder / "cache")  # of programs, shared by all
        self._process: subprocess.Popen | None = None
        if name == RIVAL:
            script = str(_bench.HERE / "rivals" / "fastapi_server.py")
            self._command = [sys.executable, script, str(folder / "abc.onnx"), str(self.port)]
            return
        self._command = [sys.executable, "-m", "legato", "serve", str(folder / "abc.keras")]
        self._command += ["--port", str(self.port), "--durability", name]
        self._command += ["--store", str(folder / (store or f"{name}.streams"))]

    def start(self) -> None:
        """Start it, and wait until it listens."""
        began = time.perf_counter()
        self._process = subprocess.Popen(
            self._command, stderr=subprocess.DEVNULL, env=_bench.environment(self._cache)
        )
        while True:
            if self._process.poll() is not None:
                raise RuntimeError(f"{' '.join(self._command)} ended")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.01)
        self.took = time.perf_counter() - began

    def kill(self) -> None:
        """End it as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Ask it to stop, and wait."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)

    @property
    def nbytes(self) -> int:
        """Its resident memory."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/statm").read_text()
        return int(status.split()[1]) * os.sysconf("SC_PAGE_SIZE")


# Clients.


class Connection:
    """One connection that is kept, as light as Python allows."""

    def __init__(self, port: int):
        self._port = port
        self._reader: asyncio.StreamReader | None = None

    async def post(self, path: str, body: Any) -> bytes:
        """Send JSON, and wait for the answer.

        Raises:
            OSError: the connection was cut.
            RuntimeError: the answer is no answer.
        """
        if self._reader is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        content = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
        try:
            self._writer.write(head.encode() + content)
            head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            answer = await self._reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            raise ConnectionError from None
        if b" 200 " not in head.split(b"\r\n")[0]:
            raise RuntimeError(answer.decode())
        return answer

    def close(self) -> None:
        """Close it."""
        if self._reader is not None:
            self._writer.close()
            self._reader = None


async def load(
    port: int, seconds: float, several: bool, rate: float = 0.0, round_number: int = 0
) -> tuple[float, list[float]]:
    """Requests for some time; returns steps a second, and the seconds of each request.

    Args:
        port: of the server.
        seconds: how long.
        several: whether a request has a step of each of several streams.
        rate: requests a second; 0: as many as are answered. The time of a request counts from when
            it was due.
        round_number: makes ids new.
    """
    count = SEVERAL_CONNECTIONS if several else CONNECTIONS
    waits: list[float] = []
    begin = time.perf_counter()
    end = begin + seconds

    async def connection(number: int) -> None:
        connected, sent = Connection(port), 0
        own = range(number, STREAMS, count)
        while (due := time.perf_counter()) < end:
            if rate:
                due = begin + (sent * count + number) / rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
            marks = {"x": STEP, "id": f"{round_number} {sent}"}
            if several:
                names = [f"s{number}-{(sent * SEVERAL + at) % STREAMS}" for at in range(SEVERAL)]
                await connected.post("/v1/feed", {"feeds": [{"stream": n, **marks} for n in names]})
            else:
                await connected.post(f"/v1/streams/s{own[sent % len(own)]}/feed", marks)
            waits.append(time.perf_counter() - due)
            sent += 1
        connected.close()

    await asyncio.gather(*map(connection, range(count)))
    took = time.perf_counter() - begin
    return len(waits) * (SEVERAL if several else 1) / took, waits


# Sections.


def measure_rates(given: argparse.Namespace, folder: Path, several: bool) -> dict[str, Any]:
    """Steps a second of every way, rounds in turn."""
    names = [*given.durability, *([] if several else [RIVAL])]
    servers = {name: Server(folder, name, f"{name}-{several}.streams") for name in names}
    rates: dict[str, list[float]] = {name: [] for name in names}
    late: dict[str, list[float]] = {name: [] for name in names}
    try:
        for each in servers.values():
            each.start()
            asyncio.run(load(each.port, 0.5, several, round_number=-1))
        for turn in range(given.rounds):
            for name in _bench.in_turn(names, turn):
                rate, _ = asyncio.run(
                    load(servers[name].port, given.seconds, several, round_number=turn)
                )
                rates[name].append(rate)
                _bench.progress(f"{name}: {rate:,.0f} steps a second")
        if "late" in given.only and not several:
            for name in names:
                half = median(rates[name]) / 2
                _, waits = asyncio.run(load(servers[name].port, given.seconds, False, half, 99))
                late[name] = sorted(1000 * each for each in waits)
    finally:
        for each in servers.values():
            each.kill()
    head = ["", "steps a second", "of memory"]
    base = rates.get("memory")
    rows = [
        [name, _bench.spread(each), _bench.spread(_bench.ratios(each, base)) if base else ""]
        for name, each in rates.items()
    ]
    print(_bench.table(head, rows), end="\n\n")
    if any(late.values()):
        parts = [(name, each) for name, each in late.items() if each]
        rows = [
            [name, f"{each[len(each) // 2]:.1f}", f"{each[int(len(each) * 0.99)]:.1f}"]
            for name, each in parts
        ]
        print("Milliseconds to an answer at half of that load:")
        print(_bench.table(["", "median", "99 of 100"], rows), end="\n\n")
    return {"steps_a_second": rates, "milliseconds_at_half_load": late}


async def begin_many(port: int, count: int) -> None:
    """Begin streams with one step each."""
    connected = Connection(port)
    for begin in range(0, count, 1000):
        names = [f"machine-{at:06d}" for at in range(begin, min(begin + 1000, count))]
        feeds = [{"stream": name, "x": STEP, "id": "first"} for name in names]
        await connected.post("/v1/feed", {"feeds": feeds})
    connected.close()


def measure_many(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Memory of many streams, and the time to start with them."""
    server = Server(folder, "write", "many.streams")
    server.start()
    empty = server.took
    asyncio.run(begin_many(server.port, 1000))
    before = server.nbytes
    began = time.perf_counter()
    asyncio.run(begin_many(server.port, MANY))
    took = time.perf_counter() - began
    each = (server.nbytes - before) / (MANY - 1000)
    server.stop()
    server.start()
    again = server.took
    server.kill()
    state = 4 * 2 * 50
    rows = [
        ["bytes a stream in memory", f"{each:,.0f}"],
        ["of these its state", f"{state:,}"],
        ["seconds to begin all", f"{took:.1f}"],
        ["seconds to start, no stream stored", f"{empty:.1f}"],
        ["seconds to start, all stored", f"{again:.1f}"],
    ]
    print(_bench.table([f"{MANY:,} streams", ""], rows), end="\n\n")
    return {"bytes": each, "begin_s": took, "start_empty_s": empty, "start_s": again}


def measure_kills(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Kill a server under load; compare every answer with streams that were never stopped."""
    server = Server(folder, "write", "kills.streams")
    server.start()
    rng = random.Random(given.seed)
    answers: list[list[dict]] = [[] for _ in range(CONNECTIONS)]
    inputs: list[list[list[float]]] = [[] for _ in range(CONNECTIONS)]
    is_over = False

    async def feed(number: int) -> None:
        connected, draw = Connection(server.port), random.Random(given.seed + number)
        while not is_over:
            x = [round(draw.random(), 3) for _ in range(LETTERS)]
            body = {"x": x, "id": f"{number} {len(answers[number])}"}
            while True:
                try:
                    answer = await connected.post(f"/v1/streams/k{number}/feed", body)
                    break
                except OSError:
                    await asyncio.sleep(0.02)
            inputs[number].append(x)
            answers[number].append(json.loads(answer))
        connected.close()

    async def kill() -> None:
        nonlocal is_over
        for number in range(given.kills):
            await asyncio.sleep(rng.uniform(0.01, 0.3))
            server.kill()
            await asyncio.to_thread(server.start)
            if number % 10 == 9:
                _bench.progress(f"{number + 1} kills, {sum(map(len, answers)):,} answers")
        is_over = True

    async def both() -> None:
        await asyncio.gather(kill(), *map(feed, range(CONNECTIONS)))

    asyncio.run(both())
    server.kill()
    counted = [[each["steps"] for each in answer] for answer in answers]
    wrong = sum(count != list(range(1, len(count) + 1)) for count in counted)
    file = folder / "answers.json"
    file.write_text(
        json.dumps([[x, [a["y"] for a in y]] for x, y in zip(inputs, answers, strict=True)])
    )
    script = (
        "import json, sys, legato, numpy as np; model = legato.load_model(sys.argv[1]);"
        "print(max(float(np.abs(model.stream().feed(np.float32(x)) - np.float32(y)).max())"
        " for x, y in json.load(open(sys.argv[2])) if x))"
    )
    command = [sys.executable, "-c", script, str(folder / "abc.keras"), str(file)]
    largest = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    result = {
        "kills": given.kills,
        "answers": sum(map(len, answers)),
        "streams_with_wrong_steps": wrong,
        "largest_difference": largest,
    }
    print(_bench.table(["kills", ""], [[k, f"{v:g}"] for k, v in result.items()]), end="\n\n")
    if wrong or largest > 1e-6:
        sys.exit(1)
    return result


def parse() -> argparse.Namespace:
    """Parse the arguments."""
    parser = _bench.arguments(QUESTION, [], 3)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS, metavar="SECTION")
    parser.add_argument(
        "--durability", nargs="+", default=["memory", "write", "fsync"], metavar="NAME"
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    """Measure what was asked for."""
    given, results = parse(), {}
    with tempfile.TemporaryDirectory(prefix="legato-benchmark-") as name:
        folder = Path(name)
        make_model(folder)
        if {"single", "late"} & set(given.only):
            print("One step a request, 64 connections:")
            results["single"] = measure_rates(given, folder, several=False)
        if "several" in given.only:
            print(f"{SEVERAL} streams a request, {SEVERAL_CONNECTIONS} connections:")
            results["several"] = measure_rates(given, folder, several=True)
        if "many" in given.only:
            results["many"] = measure_many(given, folder)
        if "kills" in given.only:
            results["kills"] = measure_kills(given, folder)
    versions = {
        "legato": {name: version(name) for name in ("starlette", "uvicorn", "keras", "jax")}
    }
    print(_bench.facts(versions))
    _bench.save(given.json, versions, results)


def version(name: str) -> str:
    """The version of a package."""
    from importlib.metadata import version as version_of

    return version_of(name)


if __name__ == "__main__":
    main()
