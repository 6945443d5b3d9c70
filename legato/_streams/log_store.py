"""A store of one snapshot file and a write-ahead log beside it, for ``model.streams(file=...)``.

The snapshot is what ``Streams.save`` writes. Every change is appended to FILE.log in one write
before it is answered, so it survives the process, however that ends (``log_records`` has the format
of its records, ``log_replay`` applies them). When the log has grown long, and at the end, the
snapshot is written anew and the log begins again; a record of the snapshot that a log follows keeps
the log from being applied to another, or to this one twice. When a log begins,
its generation, a random number, is written into the snapshot, too, in place and before the first
change: a snapshot whose log is missing, or is another, is at an old point and refused. Symbolic
links are resolved first, so that there is one log and one lock for a file; a hard link is another
file that has no log beside it.

What a loss of power may take depends on ``sync`` (``SYNC``). At every level the order is forced in
which one copy replaces another: the log's header is on the disk before the snapshot's mark, that
before the first change, a new snapshot before the log is emptied, and that before it begins again.

Limits: with ``sync="off"`` and ``"close"``, a log that lost a part in the middle is noticed when
the file is opened, and not mended. The store is opened by one pool at a time, where the system has
``flock``.

A table in SQLite (3.40, WAL mode) in place of log and snapshot was measured on 28 November 2026 (2
cores of an AMD EPYC, Zen 4, busy; LSTM of 50 units, one step a feed, medians of 11 rounds in
turn). A feed of 1 stream took 1.04 times as long as with the log with synchronous=OFF, 1.15 times
with NORMAL; a feed of 1,000 streams 2.8 times with either. Its pages have no checksums, either.
"""

import hashlib
import json
import os
import secrets
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np

from legato._errors import InputError, OutputError, StateError
from legato._platform.atomic_files import sync_folder
from legato._platform.checks import check_choice
from legato._platform.input_files import check_is_regular
from legato._streams.log_file import LogFile
from legato._streams.log_records import MAGIC, frame_record
from legato._streams.log_replay import LogReplay, replay_log
from legato._streams.slots import SlotTable
from legato._streams.store import Name, Snapshot, StreamRecords
from legato._streams.stream_files import KEPT, StreamFile

SYNC = ("off", "close", "feed")  # when changes are forced onto the disk; see ``streams``
MIN_LOG_BYTES = 2**24  # a shorter log is left as it is
LOG_TO_SNAPSHOT = 4  # a log longer than so many snapshots is replaced by a new snapshot


class LogStore:
    """Keeps all streams of a pool in one file and its log; a ``StreamStore``.

    Args:
        path: of the snapshot; made by ``load`` if it is missing.
        files: reads and writes snapshots.
        snapshot: gives all streams of the pool, to write the snapshot anew.
        other_weights: whether streams of other weights are taken.
        sync: when changes are forced onto the disk, one of ``SYNC``.

    Raises:
        InputError: ``sync`` is another value.
        StateError: the snapshot or the log is no regular file.
        OutputError: the log cannot be written, or another pool has it open.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        files: StreamFile,
        snapshot: Snapshot,
        other_weights: bool = False,
        sync: str = "close",
    ):
        check_choice("sync", sync, SYNC)
        self._sync = sync
        self._path = Path(os.path.realpath(path))
        log = Path(f"{self._path}.log")
        self._files, self._snapshot, self._other_weights = files, snapshot, other_weights
        self._header = b""  # the magic bytes, and a record of the snapshot that the log follows
        self._generation = ""  # of the log
        self._identity: tuple[int, ...] | None = None  # of the snapshot
        self._is_marked = False  # whether the snapshot may say that a log follows it
        self._compact_at = MIN_LOG_BYTES
        self._weights = ""  # fingerprint of those that the snapshot was written with
        for each, what in ((self._path, "a stream file"), (log, "the log of one")):
            with suppress(OSError):  # it is missing
                check_is_regular(each, what, StateError)
        self._log = LogFile(log, self._path)
        KEPT[self._path] = KEPT[log] = self

    def load(self, names: list[Name] | None = None, limit: int | None = None) -> StreamRecords:
        """See ``StreamStore``; called once, before anything is put. A refused file stays as it is.

        Raises:
            StateError: the file or its log is damaged, of another model or other weights, or the
                file's log is missing.
            InputError: it has more streams than the limit.
            OutputError: it cannot be written.
        """
        try:
            table = self._recover(limit)
        except BaseException:
            self._release()
            raise
        return table.records(names)

    def put(self, records: StreamRecords) -> None:
        """See ``StreamStore``: append a record to the log.

        Raises:
            InputError: the store is closed.
            OutputError: the log cannot be written, or was removed; it is as it was.
        """
        self._check_open()
        self._check_files()
        if self._files.fingerprint() != self._weights:
            self._compact()
        elif self._log.size > self._compact_at:
            self._compact_at = 2 * self._log.size  # where it is tried again, if the disk is full
            with suppress(OutputError):
                self._compact()
        if records.names:
            steps = np.asarray(records.steps, np.int64)
            body = steps.tobytes() + records.rows.tobytes()
            self._append(frame_record({"put": records.names}, body))

    def drop(self, names: list[Name]) -> int:
        """See ``StreamStore``. The log is not searched: all names count as there.

        Raises:
            InputError: the store is closed.
            OutputError: the log cannot be written.
        """
        self._check_open()
        self._check_files()
        self._append(b"".join(frame_record({"gone": name}) for name in names))
        return len(names)

    def commit(self, force: bool = False) -> None:
        """See ``StreamStore``. One ``fsync`` serves all threads that wait meanwhile.

        Raises:
            OutputError: the log cannot be forced onto the disk.
        """
        if not force and self._sync != "feed":
            return
        self._log.wait_until_forced(self._sync_log)

    def _sync_log(self) -> None:
        """Force the log onto the disk.

        Raises:
            OutputError: that fails. The system may have dropped what it did not write, so the next
                change writes the snapshot anew.
        """
        try:
            self._log.force()
        except (OSError, ValueError) as error:  # ValueError: it is closed
            self._weights = ""
            raise OutputError(
                f"{self._log.path} cannot be forced onto the disk ({error}): the streams have "
                "moved, but a loss of power may take that. Save them on another disk: "
                "pool.save(path)."
            ) from error

    def close(self) -> None:
        """See ``StreamStore``: leave a snapshot and no log.

        Raises:
            OutputError: the snapshot cannot be written; it and its log have all.
        """
        if self._log.is_closed:
            return
        try:
            if self._is_marked:
                identity, has_log = _identity_of(self._path), self._log.is_there
                if not has_log or identity not in (self._identity, None):
                    self._check_nobody_wrote()
                if not has_log:
                    self._log.replace()
                self._compact()
            elif self._log.size:  # of a header alone
                self._log.cut(0)
        except OutputError:
            if self._sync != "off":
                with suppress(OutputError):
                    self._sync_log()
            raise
        finally:
            self._release()

    def _log_followed(self) -> str | None:
        """The generation of the log that follows the file, as the file says."""
        return self._files.read(self._path, other_weights=True, without_log=True).log

    def _check_files(self) -> None:
        """Check that file and log are still those of this pool, with all that it wrote.

        A kill after the next answer would lose it otherwise.

        Raises:
            OutputError: one of them was removed, replaced, cut or written to.
        """
        if not self._log.is_whole:
            changed = self._log.path
        elif _identity_of(self._path) != self._identity:
            changed = self._path
        else:
            return
        raise OutputError(
            f"{changed} was removed, replaced or altered while the pool is open, so this change "
            f"was not made. Close the pool, which writes all streams to {self._path} if nobody "
            "else has written to it since, and open it again."
        )

    def _check_nobody_wrote(self) -> None:
        """Check that file and log are not those of another pool.

        Raises:
            OutputError: another pool has written to the file since, or has it open.
        """
        try:
            if self._log.path.exists() and not self._log.is_there:
                raise StateError("there is another log now")
            if self._log_followed() != self._generation:
                raise StateError("it was written to since")
        except StateError as error:
            raise OutputError(
                f"{self._path} is left as it is, since it or {self._log.path} was removed or "
                f"replaced while the pool was open ({error}). Save the streams elsewhere: "
                "pool.save(path)."
            ) from error

    def _check_open(self) -> None:
        if self._log.is_closed:
            raise InputError(
                f"The pool kept in {self._path} is closed: open it again, with "
                "model.streams(file=...)."
            )

    def _release(self) -> None:
        self._log.close()
        for path in (self._path, self._log.path):
            KEPT.pop(path, None)

    # Writing.

    def _append(self, records: bytes) -> None:
        """Append records, or leave the log as it was."""
        try:
            if not self._log.size:
                self._log.write(self._header)
                self._log.force()
                sync_folder(self._log.path.parent)
            if self._generation and not self._is_marked:  # before any change is in the log
                self._files.mark(self._path, self._generation)
                self._is_marked = True
            self._log.write(records)
        except OutputError:
            raise
        except OSError as error:
            raise OutputError(
                f"{self._log.path} cannot be written ({error.strerror or error}), so this change "
                "was not made. Make room there, and repeat it."
            ) from error

    def _compact(self) -> None:
        self._write_snapshot(self._snapshot())

    def _write_snapshot(self, records: StreamRecords) -> None:
        """Write the snapshot, and begin the log again."""
        records = records._replace(weights=self._files.fingerprint())
        if self._log.size:  # from here on this log fits the new snapshot as well
            self._append(frame_record({"follows": _digest_of(records)}))
            self._sync_log()
        self._files.write(self._path, records)
        self._identity = _identity_of(self._path)
        self._log.count_as_forced()
        self._begin_log(records)
        self._compact_at = max(MIN_LOG_BYTES, LOG_TO_SNAPSHOT * self._path.stat().st_size)
        self._log.cut(0)

    def _begin_log(self, snapshot: StreamRecords) -> None:
        """Make the header of a log that follows the snapshot, which has no mark yet."""
        self._generation, self._is_marked = secrets.token_hex(16), False
        head = {"follows": _digest_of(snapshot), "generation": self._generation}
        self._header = MAGIC + frame_record(head)
        self._weights = snapshot.weights

    # Reading.

    def _recover(self, limit: int | None) -> SlotTable:
        """Read the snapshot, apply the log, and write a new snapshot if that changed anything."""
        saved = digest = None
        table = SlotTable(self._files.blank, sys.maxsize)  # the log may drop streams again
        self._identity = _identity_of(self._path)
        if self._path.exists():
            saved = self._files.read(self._path, self._other_weights, without_log=True)
            rows = saved.rows[:, : len(self._files.blank)]
            table.put(saved.names, table.slots_of(saved.names), rows, saved.steps)
            if self._log.path.stat().st_size:
                digest = _digest_of(saved)
        replay = replay_log(self._log.path, table, self._files.blank, digest)
        self._generation = replay.generation
        self._check_log_of(saved, digest, replay)
        table.limit = sys.maxsize if limit is None else limit
        table.check_limit(0)
        self._is_marked = bool(saved and saved.log)
        self._log.cut(replay.size)
        if (
            saved is None
            or replay.followed
            or saved.log is None
            or saved.weights != self._files.fingerprint()
        ):
            self._write_snapshot(table.records())
        else:
            self._begin_log(saved)
        return table

    def _check_log_of(
        self, saved: StreamRecords | None, digest: str | None, replay: LogReplay
    ) -> None:
        """Check that the snapshot and the log belong together.

        Args:
            saved: the snapshot, if there is one.
            digest: of it, if there is a log.
            replay: what the log had.

        Raises:
            StateError: one of the two is missing or is another's.
        """
        if saved is not None and saved.log and saved.log != self._generation:
            is_log = "is another" if replay.followed else "is missing or empty"
            raise StateError(
                f"{self._path} is at an old point: later changes of its streams are in the log "
                f"that belongs beside it, and {self._log.path} {is_log}. The file was copied, "
                "moved or linked without its log, or the log was removed: put the log back, or "
                "take the streams as they were before these changes, by "
                "model.streams().load(path, without_log=True)."
            )
        if not replay.followed:
            return
        fits = digest in replay.followed
        if saved is not None and saved.log == "":  # written after all that is in its log
            fits = digest == replay.followed[-1] and not replay.has_later
        if not fits:
            is_file = "is missing" if saved is None else "is another"
            raise StateError(
                f"{self._log.path} holds later changes of the streams in {self._path}, and that "
                f"file {is_file}. The two belong together: put the right one back, or take the log "
                "away."
            )


def _digest_of(records: StreamRecords) -> str:
    """The SHA-256 digest of a snapshot's content, in hexadecimal."""
    digest = hashlib.sha256(json.dumps([records.names, records.weights]).encode())
    for array in (records.rows, records.steps):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _identity_of(path: Path) -> tuple[int, ...] | None:
    """What tells a file from one that took its place; None if there is none."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino, about.st_size
