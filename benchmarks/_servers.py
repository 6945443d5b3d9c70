"""Servers and clients of ``serve.py``."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import _bench

STREAMS, CONNECTIONS = 1000, 64
SEVERAL, SEVERAL_CONNECTIONS = 50, 16  # streams a request
MANY = 100_000
LETTERS = 26
STEP = [round(0.04 * at, 2) for at in range(LETTERS)]
RIVAL, MLSERVER = "FastAPI + ONNX Runtime", "MLServer + ONNX Runtime"


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


# Servers.


class Server:
    """A server by the name of its durability, or the rival.

    Args:
        folder: of the model.
        name: "memory", "write", "fsync", or a rival's.
        store: name of the file of streams, or address of a Redis.
        python: interpreter of MLServer.
    """

    def __init__(self, folder: Path, name: str, store: str = "", python: str = ""):
        self.port = free_port()
        self.name, self.took = name, 0.0
        self._cache = str(folder / "cache")  # of programs, shared by all
        self._process: subprocess.Popen | None = None
        if name == RIVAL:
            script = str(_bench.HERE / "rivals" / "fastapi_server.py")
            self._command = [sys.executable, script, str(folder / "abc.onnx"), str(self.port)]
            return
        if name == MLSERVER:
            script = str(_bench.HERE / "rivals" / "mlserver_server.py")
            self._command = [python, script, str(folder / "abc.onnx"), str(self.port)]
            return
        self._command = [sys.executable, "-m", "legato", "serve", str(folder / "abc.keras")]
        self._command += ["--port", str(self.port), "--durability", name]
        kept = store or f"{name}.streams"
        self._command += ["--store", kept if "://" in kept else str(folder / kept)]

    def start(self) -> None:
        """Start it, and wait until it listens."""
        began = time.perf_counter()
        self._process = subprocess.Popen(
            self._command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=_bench.environment(self._cache),
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
    server: Server, seconds: float, several: bool, rate: float = 0.0, round_number: int = 0
) -> tuple[float, list[float]]:
    """Requests for some time; returns steps a second, and the seconds of each request.

    Args:
        server: that is asked.
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
        connected, sent, states = Connection(server.port), 0, {}
        own = range(number, STREAMS, count)
        while (due := time.perf_counter()) < end:
            if rate:
                due = begin + (sent * count + number) / rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
            marks = {"x": STEP, "id": f"{round_number} {sent}"}
            if several:
                names = [f"s{own[(sent * SEVERAL + at) % len(own)]}" for at in range(SEVERAL)]
                await connected.post("/v1/feed", {"feeds": [{"stream": n, **marks} for n in names]})
            elif server.name == MLSERVER:
                await feed_stateless(connected, states, own[sent % len(own)])
            else:
                await connected.post(f"/v1/streams/s{own[sent % len(own)]}/feed", marks)
            waits.append(time.perf_counter() - due)
            sent += 1
        connected.close()

    await asyncio.gather(*map(connection, range(count)))
    took = time.perf_counter() - begin
    return len(waits) * (SEVERAL if several else 1) / took, waits


async def feed_stateless(connected: Connection, states: dict[int, Any], stream: int) -> None:
    """Feed one step to a server that keeps no states."""
    x = {"name": "x", "shape": [1, 1, LETTERS], "datatype": "FP32", "data": STEP}
    inputs = [x, *states.get(stream, ())]
    answer = json.loads(await connected.post("/v2/models/abc/infer", {"inputs": inputs}))
    states[stream] = [
        {key: each[key] for key in ("shape", "datatype", "data")}
        | {"name": each["name"].removesuffix(".next")}
        for each in answer["outputs"][1:]
    ]


class Redis:
    """A Redis of its own, which forces every write onto the disk.

    Args:
        folder: for its files.
    """

    def __init__(self, folder: Path):
        self.port = free_port()
        self._command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1"]
        self._command += ["--dir", str(folder), "--save", "", "--appendonly", "yes"]
        self._command += ["--appendfsync", "always"]

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.01)

    def kill(self) -> None:
        """End it as a crash would."""
        self._process.kill()
        self._process.wait()
