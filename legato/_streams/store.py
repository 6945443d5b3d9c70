"""The protocol of stores: where streams are kept outside the memory of a pool.

A pool (``Streams``) uses a store in two roles. Its *file* is written before each change of a stream
is answered and read when the pool is opened: ``log_store``. Its *folder* takes the streams that are
evicted from memory and gives them back: ``folder_store``. The pool calls only the methods of
``StreamStore``, so another store, such as Redis, is one new module beside these and the line in
``model_methods`` that makes it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from legato._errors import InputError

Name = str | int


class StreamRecords(NamedTuple):
    """What a store keeps of some streams.

    Attributes:
        names: of the streams; a single stream that was saved is named "".
        rows: (streams, width), the carried state of each, and maybe its last answer after it.
        steps: (streams,), how many steps each was fed.
        weights: fingerprint of the weights that a file was written with; "" before it is written.
        log: which log has later changes than the file that they were read from; "" if none has, and
            None if the file cannot say.
    """

    names: list[Name]
    rows: np.ndarray
    steps: np.ndarray
    weights: str = ""
    log: str | None = None


Snapshot = Callable[[], StreamRecords]  # all streams of a pool, as they are now


class StreamStore(Protocol):
    """Keeps the records of streams by name, beyond the process."""

    def load(self, names: list[Name] | None = None, limit: int | None = None) -> StreamRecords:
        """Read records.

        Args:
            names: of the streams; those that the store does not have are left out. Default: all.
            limit: the most streams that the pool takes. The pool refuses more by itself; a store
                that writes when it is loaded refuses them before it does.

        Raises:
            StateError: a record is damaged, or of another model or other weights.
            InputError: more streams than the limit.
        """
        ...

    def put(self, records: StreamRecords) -> None:
        """Write several records, in the place of those of the same names.

        Raises:
            OutputError: they cannot be written. The pool leaves its streams as they were.
        """
        ...

    def drop(self, names: list[Name]) -> int:
        """Delete records; returns how many there were.

        Raises:
            OutputError: it cannot be written.
        """
        ...

    def commit(self, force: bool = False) -> None:
        """Wait until all that was put and dropped is kept as safely as the store promises.

        The pool calls it before a change is answered, without its lock: several threads may wait.

        Args:
            force: wait until it would survive a loss of power, whatever the store promises. The
                pool is about to delete the only other copy.

        Raises:
            OutputError: it cannot be kept.
        """
        ...

    def close(self) -> None:
        """Finish writing, so that others may open the store.

        Raises:
            OutputError: it cannot be written.
        """
        ...


def checked_name(name: Any) -> Name:
    """A stream's name in the type that stores keep.

    Raises:
        InputError: it is neither a text nor a whole number.
    """
    if isinstance(name, (int, np.integer)) and not isinstance(name, bool):
        return int(name)
    if isinstance(name, str):
        return str(name)
    raise InputError(f"A stream cannot be named {name!r}; a text or a whole number was expected.")
