"""A proxy that cuts connections, before or after a request reaches the server, for tests."""

import socket
import threading
from collections.abc import Iterator

PASS, BEFORE, AFTER = "pass", "cut before the server has it", "cut before the answer comes back"


def refusal(status: int, **headers: str) -> bytes:
    """A response that the proxy gives in the place of the server's."""
    lines = [f"HTTP/1.1 {status} no", "Content-Length: 0", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


class CuttingProxy:
    """Passes one request a connection on to a server, or does what its plan says next.

    Args:
        address: of the server, http://HOST:PORT.
        plan: gives, for each request, one of ``PASS``, ``BEFORE`` and ``AFTER``, or a response. At
            its end, everything passes.
    """

    def __init__(self, address: str, plan: Iterator[str | bytes]):
        host, port = address.removeprefix("http://").rstrip("/").split(":")
        self._server, self._plan, self._lock = (host, int(port)), plan, threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.cuts = 0

    def __enter__(self) -> "CuttingProxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            request = _message(connection)
            if not request:
                return
            with self._lock:
                what = next(self._plan, PASS)
                self.cuts += what != PASS
            if isinstance(what, bytes):
                connection.sendall(what)
            elif what != BEFORE:
                with socket.create_connection(self._server) as server:
                    server.sendall(request)
                    answer = _message(server)
                if what == PASS:
                    connection.sendall(answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))


def _message(connection: socket.socket) -> bytes:
    """One HTTP message, by its length; nothing if the other side has closed."""
    content = b""
    while b"\r\n\r\n" not in content:
        part = connection.recv(65536)
        if not part:
            return b""
        content += part
    head = content.split(b"\r\n\r\n", 1)[0]
    lengths = [
        int(line.split(b":")[1])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    ]
    size = len(head) + 4 + sum(lengths)
    while len(content) < size:
        content += connection.recv(65536)
    return content
