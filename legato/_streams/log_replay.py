"""Applies a write-ahead log to the streams of the snapshot that it follows.

A record of changes holds whole states, under "put", or a name whose stream ended, under "gone". A
record "follows" has the digest of a snapshot that has all changes before it. A log may have several
of these, since a process can be killed when a new snapshot is written and its log not yet emptied:
what comes before the digest of the snapshot at hand is checked and not applied. Applied again, it
would move a stream that ended and began anew behind those that began later.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from legato._streams.log_records import damage_at, read_records
from legato._streams.slots import SlotTable
from legato._streams.store import checked_name


class LogReplay(NamedTuple):
    """What a log had.

    Attributes:
        followed: digests of the snapshots that it follows, in order.
        has_later: whether it has changes after the last of them.
        generation: of the log; "" if it says none.
        size: bytes of its whole records.
    """

    followed: list[str]
    has_later: bool
    generation: str
    size: int


def replay_log(log: Path, table: SlotTable, blank: np.ndarray, digest: str | None) -> LogReplay:
    """Apply the changes since a snapshot to a table.

    Args:
        log: its path.
        table: of the snapshot's streams.
        blank: (width,), the state of a stream that was fed nothing.
        digest: of the snapshot; None if there is none.

    Raises:
        StateError: the log is damaged, or is none.
    """
    followed: list[str] = []
    has_later, generation, size = False, "", 0
    with log.open("rb") as file:
        for begin, end, payload in read_records(file, log):
            try:
                line, _, body = payload.partition(b"\n")
                head = json.loads(line)
                generation = _checked_text(head.pop("generation", generation))
                ((kind, value),) = head.items()
                if kind == "follows":
                    followed.append(_checked_text(value))
                else:
                    _apply(kind, value, body, blank, table if digest in followed else None)
            except Exception as error:  # there are many ways of not fitting together
                raise damage_at(begin, log) from error
            size, has_later = end, kind != "follows"
    return LogReplay(followed, has_later, generation, size)


def _apply(kind: str, value: Any, body: bytes, blank: np.ndarray, table: SlotTable | None) -> None:
    """Check a record of changes, and apply it to a table if one is given.

    Raises:
        ValueError, LookupError, TypeError: it is not as it was written.
    """
    if kind == "put":
        if len(set(map(checked_name, value))) != len(value):
            raise ValueError("a name comes twice")
        steps = np.frombuffer(body, np.int64, len(value))
        rows = np.frombuffer(body, blank.dtype, offset=steps.nbytes)
        rows = rows.reshape(len(value), len(blank))
        if table is not None:
            table.put(value, table.slots_of(value), rows, steps)
    elif kind == "gone":
        name = checked_name(value)
        if table is not None and name in table:
            table.drop(name)
    else:
        raise ValueError(f"it is {kind!r}")


def _checked_text(value: Any) -> str:
    """A text that was read from a record.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str):
        raise ValueError(f"it is {value!r}")
    return value
