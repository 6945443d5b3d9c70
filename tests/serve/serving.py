"""Servers for tests: in a thread of this process, or in a process that can be killed."""

import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx
from forked import forked

from legato._serve.serve_config import ServeConfig
from legato._serve.server import make_server
from legato._serve.service import Service


def config_of(model: Path, store: Path | str, **settings: Any) -> ServeConfig:
    """Settings of a server of one model, which is named m."""
    return ServeConfig((("m", str(model)),), str(store), **settings)


@contextmanager
def serving(config: ServeConfig) -> Generator[httpx.Client]:
    """A server in a thread; gives a client of it, whose ``service`` is the server's."""
    service = Service(config)
    server = make_server(service)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.005)
    (address,) = server.addresses()
    try:
        with httpx.Client(base_url=address, timeout=30) as client:
            client.service = service
            yield client
    finally:
        server.should_exit = True
        thread.join(20)
        assert service.stop()


class ServerProcess:
    """A server in a process of its own, on one port however often it is started.

    Args:
        config: its settings.
    """

    def __init__(self, config: ServeConfig):
        self._config, self._port = config, 0
        self._forked: Any = None
        self.address = ""
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self._forked = forked(_serve, self._config, self._port)
        self._process, connection = self._forked.__enter__()
        self.address = connection.recv_bytes().decode()
        self._port = int(self.address.rpartition(":")[2])

    def kill(self) -> None:
        """End it as a crash would."""
        self._forked.__exit__(None, None, None)

    def stop(self) -> None:
        """Ask it to stop, and wait until it has."""
        self._process.terminate()
        self._process.join(30)
        assert self._process.exitcode == 0
        self.kill()


def _serve(config: ServeConfig, port: int, connection: Connection) -> None:
    service = Service(config)
    server = make_server(service, port=port)

    def tell() -> None:
        while not server.started:
            time.sleep(0.002)
        connection.send_bytes(server.addresses()[0].encode())

    threading.Thread(target=tell, daemon=True).start()
    server.run()
    sys.exit(not service.stop())
