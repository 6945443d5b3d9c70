"""A line of the log for every request: its streams, its id, its answer and how long it took."""

import logging
import time
from collections.abc import Iterable
from typing import Any

from starlette.types import Scope

LOG = logging.getLogger("legato.serve")
_NOTES = "legato.notes"  # of a scope: what routes say about a request


def note(scope: Scope, streams: Iterable[str] = (), request: str | None = None) -> None:
    """Say what a request is about, for its line in the log.

    Args:
        scope: of the request.
        streams: names of streams.
        request: its id.
    """
    notes = scope.get(_NOTES)
    if notes is None:  # requests are not logged
        return
    notes.setdefault("streams", []).extend(streams)
    if request:
        notes["request_id"] = request


class RequestLine:
    """Writes the line of one request.

    Args:
        scope: of the request; routes find there where to put their notes.
        request: the id in its headers.
    """

    def __init__(self, scope: Scope, request: str):
        self._scope, self._began = scope, time.perf_counter()
        self._notes: dict[str, Any] = {"request_id": request} if request else {}
        scope[_NOTES] = self._notes

    def write(self, status: int) -> None:
        """Write it.

        Args:
            status: of the response; 0 if there was none.
        """
        scope = self._scope
        about = {
            "method": scope.get("method", "WEBSOCKET"),
            "path": scope["path"],
            "status": status,
            "owner": scope.get("owner", ""),
            "milliseconds": round(1000 * (time.perf_counter() - self._began), 3),
        }
        LOG.info("request", extra=about | self._notes)
