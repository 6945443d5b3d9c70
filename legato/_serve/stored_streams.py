"""What a server keeps of its streams, and the protocol of the stores that keep it.

A stream has a record: its carried state, how many steps it was fed, the fingerprint of the weights
that made it, and digests of the last requests that it answered. The replies to these are kept
beside it, so that a request that comes again is answered again, and not fed twice.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

RECENT = 8  # requests of a stream whose replies are kept
_DIGEST_BYTES = 8


class StoredStream(NamedTuple):
    """The record of a stream.

    Attributes:
        row: bytes of the carried state; empty if the stream was fed nothing since it ended.
        steps: how many it was fed.
        version: how often the record was written.
        weights: fingerprint of the weights that made the state.
        recent: bytes of ``RECENT`` digests of requests, 0 where there was none; that of the request
            whose reply has place p stands at place p.
        ended: when the stream was ended, in seconds since 1970; 0 if it lives.
    """

    row: bytes
    steps: int
    version: int
    weights: str
    recent: bytes
    ended: float = 0.0


class Change(NamedTuple):
    """A record to be written, and the reply to the request that made it.

    Attributes:
        key: of the stream.
        stream: the new record; its version is one more than that of the record it replaces.
        place: of the reply, among ``RECENT``; None if the request had no id.
        reply: see ``Reply``.
    """

    key: str
    stream: StoredStream
    place: int | None = None
    reply: bytes = b""


class ServerStore(Protocol):
    """Keeps records and replies beyond the process; used by one thread.

    Attributes:
        is_shared: whether other servers may write to it meanwhile.
    """

    is_shared: bool

    def load(self, keys: Sequence[str]) -> dict[str, StoredStream]:
        """Records by key; keys without one are left out.

        Raises:
            OutputError: the store cannot be read.
        """
        ...

    def reply(self, key: str, place: int) -> bytes | None:
        """The reply to a recent request of a stream."""
        ...

    def put(self, changes: Sequence[Change]) -> set[str]:
        """Write records and replies: all of them are kept when it returns.

        Returns:
            Keys whose record was replaced by another server since it was read; these are not
            written.

        Raises:
            OutputError: the store cannot be written; nothing was.
        """
        ...

    def drop(self, keys: Sequence[str]) -> int:
        """Delete records with their replies; returns how many there were."""
        ...

    def keys(self, prefix: str, after: str = "", limit: int = 1000) -> list[str]:
        """Keys of streams that live, in order, from the one that follows ``after``."""
        ...

    def count(self, prefix: str = "") -> int:
        """How many streams live whose keys begin so."""
        ...

    def move(self, prefix: str, old: str, new: str) -> int:
        """Say that all states of a model, whose keys begin so, are of other weights now."""
        ...

    def forget_ended(self, before: float) -> None:
        """Delete the records of streams that ended before a time."""
        ...

    def flush(self) -> None:
        """Write what waits to be written."""
        ...

    def close(self) -> None:
        """Finish writing, and let others open it."""
        ...


class WriteBehind:
    """A store whose changes wait in memory until ``flush``: a kill loses what waits.

    Args:
        store: where they are written then.
    """

    is_shared = False

    def __init__(self, store: ServerStore):
        self._store = store
        self._waiting: dict[str, StoredStream] = {}
        self._replies: dict[tuple[str, int], bytes] = {}

    def load(self, keys: Sequence[str]) -> dict[str, StoredStream]:
        """See ``ServerStore``."""
        found = {key: self._waiting[key] for key in keys if key in self._waiting}
        left = [key for key in keys if key not in found]
        return found | self._store.load(left) if left else found

    def reply(self, key: str, place: int) -> bytes | None:
        """See ``ServerStore``."""
        waiting = self._replies.get((key, place))
        return self._store.reply(key, place) if waiting is None else waiting

    def put(self, changes: Sequence[Change]) -> set[str]:
        """See ``ServerStore``."""
        for each in changes:
            self._waiting[each.key] = each.stream
            if each.place is not None:
                self._replies[each.key, each.place] = each.reply
        return set()

    def drop(self, keys: Sequence[str]) -> int:
        """See ``ServerStore``."""
        self.flush()
        return self._store.drop(keys)

    def keys(self, prefix: str, after: str = "", limit: int = 1000) -> list[str]:
        """See ``ServerStore``."""
        self.flush()
        return self._store.keys(prefix, after, limit)

    def count(self, prefix: str = "") -> int:
        """See ``ServerStore``."""
        self.flush()
        return self._store.count(prefix)

    def move(self, prefix: str, old: str, new: str) -> int:
        """See ``ServerStore``."""
        self.flush()
        return self._store.move(prefix, old, new)

    def forget_ended(self, before: float) -> None:
        """See ``ServerStore``."""
        self._store.forget_ended(before)

    def flush(self) -> None:
        """See ``ServerStore``."""
        changes = [Change(key, stream) for key, stream in self._waiting.items()]
        replies = [
            Change(key, self._waiting[key], place, reply)
            for (key, place), reply in self._replies.items()
        ]
        if changes:
            self._store.put([*changes, *replies])
        self._waiting, self._replies = {}, {}

    def close(self) -> None:
        """See ``ServerStore``."""
        try:
            self.flush()
        finally:
            self._store.close()


# The digests of recent requests.


def digest_of(request: str) -> int:
    """A request's id as a number of 64 bits, never 0."""
    digest = hashlib.blake2b(request.encode(), digest_size=_DIGEST_BYTES).digest()
    return int.from_bytes(digest, "little") or 1


def recent_array(records: Iterable[StoredStream]) -> np.ndarray:
    """The digests of records, (records, ``RECENT``)."""
    joined = b"".join(each.recent for each in records)
    return np.frombuffer(joined, np.uint64).reshape(-1, RECENT)
