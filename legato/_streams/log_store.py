"""A pool's file: its streams as they were once, and a log of all that happened to them since.

The file is what ``Streams.save`` writes. Beside it stands FILE.log, to which every change is
appended, in one write, before it is answered for. A record holds values, not differences, and is
framed by its length and checksums: what a kill cut short is known from what was altered, and to
read a record twice does no harm. When the log has grown long, and at the end, the file is written
anew and the log begins again; a record of which file follows keeps a file from being mixed with
the log of another.

What was answered is in the operating system's hands, so it outlives the process, however that ends.
It is not forced onto the disk: if the power fails, the last seconds may be lost, or damaged, which
is seen when the file is opened.
"""

import hashlib
import json
import os
import struct
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from legato._errors import InputError, OutputError, StateError
from legato._streams.slots import SlotTable, checked_name
from legato._streams.stream_files import Name, StreamFile, StreamRecords

try:
    import fcntl
except ImportError:  # Windows: nobody watches that a file is opened once
    fcntl = None

BEGINNING = b"legato.streams.log.1\n"
LEAST_BYTES, TIMES = 2**24, 4  # of a log, or of its file's size, before the file is written anew
_FRAME = struct.Struct("<QI")  # a record's length and its checksum
_CHECK = struct.Struct("<I")  # of the frame itself: a wrong length would hide all that follows
_told = json.JSONEncoder(default=int).encode  # NumPy's whole numbers too


class LogStore:
    """Changes a pool's table as its streams change, and keeps that in a file first.

    Args:
        path: of the file; made if it is missing.
        table: takes up the streams that the file has.
        files: reads and writes them.
        other_weights: whether streams of other weights are taken.

    Raises:
        StateError: the file or its log is damaged, or of another model or other weights.
        InputError: it has more streams than the limit.
        OutputError: it cannot be written, or another pool has it open.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        table: SlotTable,
        files: StreamFile,
        other_weights: bool = False,
    ):
        self._path, self._log = Path(path), Path(f"{path}.log")
        self._table, self._files = table, files
        self._blank = table.gather(np.empty(0, np.int64), 1)
        self._first = b""  # what a log begins with
        self._end = 0  # bytes of the log that hold
        self._torn = False  # whether others may follow
        self._most = LEAST_BYTES
        self._weights = ""  # those that the file was written with
        self._file = _locked(self._log, self._path)
        try:
            self._recall(other_weights)
        except BaseException:
            self._leave()
            raise

    # Changes.

    def put(
        self, names: list[Name], places: np.ndarray, rows: np.ndarray, steps: np.ndarray
    ) -> None:
        """Let streams carry this, and have seen so many steps, as ``SlotTable.put`` does.

        Raises:
            InputError: more than the limit, a name that cannot be one, or the pool is closed.
            OutputError: the log cannot be written. No stream has moved.
        """
        self._check_open()
        new = np.flatnonzero(places < 0)
        self._table.check_room(len(new))
        for at in new:
            checked_name(names[at])
        if self._files.fingerprint() != self._weights:
            self._write()
        if names:
            self._append({"put": names}, np.asarray(steps, np.int64).tobytes() + rows.tobytes())
        self._table.put(names, places, rows, steps)
        if self._end > self._most:
            self._most = 2 * self._end  # where it is tried again, if the disk is full
            with suppress(OutputError):
                self._write()

    def drop(self, name: Name) -> None:
        """Forget a stream, as ``SlotTable.drop`` does.

        Raises:
            InputError: there is no such stream, or the pool is closed.
            OutputError: the log cannot be written. The stream is still there.
        """
        self._check_open()
        self._table.place(name)
        self._append({"gone": name})
        self._table.drop(name)

    def close(self) -> None:
        """Leave one file that has all, and no log; let others open it.

        Raises:
            OutputError: it cannot be written. It and its log have all.
        """
        if self._file.closed:
            return
        try:
            if self._end:
                self._write()
        finally:
            self._leave()

    def _check_open(self) -> None:
        if self._file.closed:
            raise InputError(
                f"The pool kept in {self._path} is closed: open it again, with "
                "model.streams(file=...)."
            )

    def _leave(self) -> None:
        """Close the log; one that says nothing goes."""
        with suppress(OSError):
            if not os.fstat(self._file.fileno()).st_size:
                self._log.unlink()
        self._file.close()

    # Writing.

    def _append(self, head: dict[str, Any], body: bytes = b"") -> None:
        record = (b"" if self._end else self._first) + _record(head, body)
        try:
            self._cut()
            self._torn = True
            left = memoryview(record)
            while left:
                left = left[self._file.write(left) :]
            self._end, self._torn = self._end + len(record), False
        except OSError as error:
            raise OutputError(
                f"{self._log} cannot be written ({error.strerror or error}), so no stream has "
                "moved. Make room there, and feed again."
            ) from error
        finally:
            with suppress(OSError):
                self._cut()

    def _cut(self) -> None:
        """Cut off what does not hold."""
        if self._torn:
            self._file.truncate(self._end)
            self._torn = False

    def _write(self) -> None:
        """Write the file anew, and begin the log again."""
        kept = all_of(self._table)._replace(weights=self._files.fingerprint())
        follows = {"follows": _mark(kept)}
        if self._end:
            self._append(follows)  # from here on this log fits the new file as well
        self._files.write(self._path, kept)
        self._first = BEGINNING + _record(follows)
        self._weights = kept.weights
        self._most = max(LEAST_BYTES, TIMES * self._path.stat().st_size)
        self._end, self._torn = 0, True
        self._cut()

    # Reading.

    def _recall(self, other_weights: bool) -> None:
        """Take up what the file and its log say."""
        kept = None
        limit, self._table.limit = self._table.limit, sys.maxsize  # for those that go again
        if self._path.exists():
            kept = self._files.read(self._path, other_weights)
            rows = kept.rows[:, : self._blank.shape[1]]
            self._table.put(kept.names, self._table.places(kept.names), rows, kept.steps)
        marks = self._replay()
        if marks and (kept is None or _mark(kept) not in marks):
            is_file = "is missing" if kept is None else "is another"
            raise StateError(
                f"{self._log} says what happened to the streams in {self._path}, and that file "
                f"{is_file}. The two belong together: put the right one back, or take the log away."
            )
        self._table.limit = limit
        self._table.check_room(0)
        if kept is None or marks or kept.weights != self._files.fingerprint():
            self._write()
        else:
            self._first = BEGINNING + _record({"follows": _mark(kept)})
            self._weights = kept.weights

    def _replay(self) -> set[str]:
        """Let happen what the log says; the marks of the files that it fits."""
        marks = set()
        with self._log.open("rb") as file:
            for head, body in self._records(file):
                if "follows" in head:
                    marks.add(head["follows"])
                elif "put" in head:
                    names = head["put"]
                    steps = np.frombuffer(body, np.int64, len(names))
                    rows = np.frombuffer(body, self._blank.dtype, offset=steps.nbytes)
                    places = self._table.places(names)
                    self._table.put(names, places, rows.reshape(len(names), -1), steps)
                elif head["gone"] in self._table:
                    self._table.drop(head["gone"])
        self._torn = True
        self._cut()
        return marks

    def _records(self, file: BinaryIO) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Heads and bodies of all that are whole.

        Raises:
            StateError: one was altered, or this is no log.
        """
        if not BEGINNING.startswith(file.read(len(BEGINNING))):
            raise StateError(
                f"{self._log} is something else than the log of streams: take it away, or keep the "
                "streams in another file."
            )
        size = os.fstat(file.fileno()).st_size
        while len(frame := file.read(_FRAME.size + _CHECK.size)) == _FRAME.size + _CHECK.size:
            length, checksum = _FRAME.unpack_from(frame)
            if _CHECK.unpack_from(frame, _FRAME.size)[0] != zlib.crc32(frame[: _FRAME.size]):
                raise self._damaged(file.tell() - len(frame))
            if length > size - file.tell():
                return
            payload = file.read(length)
            if zlib.crc32(payload) != checksum:
                raise self._damaged(file.tell() - len(frame) - length)
            self._end = file.tell()
            head, _, body = payload.partition(b"\n")
            yield json.loads(head), body

    def _damaged(self, at: int) -> StateError:
        return StateError(
            f"{self._log} was altered since it was written: the record at byte {at:,} of it is "
            "damaged. Use the file as legato wrote it, or keep only what it says up to there by "
            f"cutting it off: truncate -s {at} {self._log}."
        )


def all_of(table: SlotTable) -> StreamRecords:
    """All streams of a table, in its order."""
    places = table.places(table.names)
    return StreamRecords(table.names, table.gather(places, len(places)), table.steps(places))


def _mark(kept: StreamRecords) -> str:
    """A short name for streams as a file has them."""
    digest = hashlib.sha256(json.dumps([kept.names, kept.weights]).encode())
    for array in (kept.rows, kept.steps):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _record(head: dict[str, Any], body: bytes = b"") -> bytes:
    payload = _told(head).encode() + b"\n" + body
    frame = _FRAME.pack(len(payload), zlib.crc32(payload))
    return frame + _CHECK.pack(zlib.crc32(frame)) + payload


def _locked(log: Path, path: Path) -> FileIO:
    """The log, open to be appended to, and by no other.

    Raises:
        OutputError: it cannot be written, or another has it.
    """
    while True:
        try:
            file = log.open("ab", buffering=0)
        except OSError as error:
            raise OutputError(
                f"{log} cannot be written ({error.strerror or error}). Keep the streams in a file "
                "in a folder that exists, has room, and that you may write to."
            ) from error
        if fcntl is None:
            return file
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file.fileno()), log.stat()):
                return file
        except BlockingIOError:
            file.close()
            raise OutputError(
                f"{path} is open in another pool, of this process or another: close it there, or "
                "keep these streams in a file of their own."
            ) from None
        except FileNotFoundError:
            pass
        except OSError:  # of a file system that knows no locks
            return file
        file.close()  # the log was taken away meanwhile
