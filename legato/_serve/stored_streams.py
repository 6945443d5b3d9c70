"""What a server keeps of its streams, and the protocol of the stores that keep it.

A stream has a record: its carried state, how many steps it was fed, the fingerprint of the weights
that made it, and digests of the last requests that it answered. The replies to these are kept
beside it, so that a request that comes again is answered again, and not fed twice; and, where that
was asked for, its last inputs. The files of the models that made the states are kept too: a stream
goes on with the weights that it began with, whatever became of their file.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from legato._serve.input_history import Chunk

ALL = 2**62  # more steps than any stream was fed
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
        kept: how many of its last steps are in its history.
    """

    row: bytes
    steps: int
    version: int
    weights: str
    recent: bytes
    ended: float = 0.0
    kept: int = 0


class Change(NamedTuple):
    """A record to be written, and the reply to the request that made it.

    Attributes:
        key: of the stream.
        stream: the new record; its version is one more than that of the record it replaces.
        place: of the reply, among ``RECENT``; None if the request had no id.
        reply: see ``Reply``.
        forget: chunks of its history that end at so many steps, or fewer, are deleted; -1: none.
        chunk: is added to its history then.
    """

    key: str
    stream: StoredStream
    place: int | None = None
    reply: bytes = b""
    forget: int = -1
    chunk: Chunk | None = None


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
        """Delete records with their replies and histories; returns how many there were."""
        ...

    def history(self, key: str) -> list[Chunk]:
        """The history of a stream, in order."""
        ...

    def add_model(self, name: str, weights: str, content: bytes) -> int:
        """Keep a model's file, unless there is one of these weights.

        Args:
            name: of the model.
            weights: their fingerprint.
            content: of the file; empty if it is not to be kept.

        Returns:
            The number of the version: 1 for the first of a name, and so on.
        """
        ...

    def model(self, name: str, weights: str) -> tuple[int, bytes] | None:
        """The number of a version and the content of its file; None if it is not kept."""
        ...

    def forget_models(self, name: str, weights: str) -> None:
        """Delete the files of a model's versions that have no streams, but those of weights."""
        ...

    def keys(self, prefix: str, after: str = "", limit: int = 1000) -> list[str]:
        """Keys of streams that live, in order, from the one that follows ``after``."""
        ...

    def count(self, prefix: str = "") -> int:
        """How many streams live whose keys begin so."""
        ...

    def forget_ended(self, before: float) -> None:
        """Delete the records of streams that ended before a time."""
        ...

    def check(self) -> None:
        """See that it can be read, and written if the last writing failed.

        Raises:
            OutputError: it cannot.
        """
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
        self._histories: list[Change] = []

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
            if each.forget >= 0:
                self._histories.append(each)
        return set()

    def drop(self, keys: Sequence[str]) -> int:
        """See ``ServerStore``."""
        self.flush()
        return self._store.drop(keys)

    def history(self, key: str) -> list[Chunk]:
        """See ``ServerStore``."""
        self.flush()
        return self._store.history(key)

    def add_model(self, name: str, weights: str, content: bytes) -> int:
        """See ``ServerStore``."""
        return self._store.add_model(name, weights, content)

    def model(self, name: str, weights: str) -> tuple[int, bytes] | None:
        """See ``ServerStore``."""
        return self._store.model(name, weights)

    def forget_models(self, name: str, weights: str) -> None:
        """See ``ServerStore``."""
        self._store.forget_models(name, weights)

    def keys(self, prefix: str, after: str = "", limit: int = 1000) -> list[str]:
        """See ``ServerStore``."""
        self.flush()
        return self._store.keys(prefix, after, limit)

    def count(self, prefix: str = "") -> int:
        """See ``ServerStore``."""
        self.flush()
        return self._store.count(prefix)

    def forget_ended(self, before: float) -> None:
        """See ``ServerStore``."""
        self._store.forget_ended(before)

    def check(self) -> None:
        """See ``ServerStore``."""
        self._store.check()

    def flush(self) -> None:
        """See ``ServerStore``."""
        if not self._waiting:
            return
        changes = [Change(key, stream) for key, stream in self._waiting.items()]
        changes += [
            Change(key, self._waiting[key], place, reply)
            for (key, place), reply in self._replies.items()
        ]
        changes += [
            Change(each.key, self._waiting[each.key], forget=each.forget, chunk=each.chunk)
            for each in self._histories
        ]
        self._store.put(changes)
        self._waiting, self._replies, self._histories = {}, {}, []

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
