"""A real Redis for tests: a process on loopback with a port and a folder of its own."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
import redis

PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server")
needs_redis = pytest.mark.skipif(
    PROGRAM is None and not os.environ.get("CI_REDIS"),
    reason="redis-server is not installed here: apt-get install redis-server",
)


class RedisServer:
    """A Redis that keeps what it answered, also when it is killed.

    Args:
        folder: for its files.
        forced: whether each write waits for the disk.
    """

    def __init__(self, folder: Path, forced: bool = False):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._command = [
            str(PROGRAM),
            *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)),
            *("--save", "", "--appendonly", "yes", "--daemonize", "no"),
            *("--appendfsync", "always" if forced else "everysec"),
        ]
        self._process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        with redis.Redis(port=self.port) as client:
            for _ in range(2000):
                try:
                    client.ping()
                    return
                except redis.RedisError:
                    time.sleep(0.005)
        raise AssertionError("Redis did not start")

    def kill(self) -> None:
        """End it as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)
