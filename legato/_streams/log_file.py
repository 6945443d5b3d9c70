"""An append-only file that one process has open: each write is there whole, or not at all."""

import os
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from pathlib import Path
from threading import Lock

from legato._errors import OutputError

try:
    import fcntl
except ImportError:  # Windows: opening a file twice is not noticed
    fcntl = None


class LogFile:
    """Appends to a file that it has locked.

    Args:
        path: of the file; made if it is missing.
        owner: the file that it is the log of, for messages.

    Raises:
        OutputError: it cannot be written, or another pool has it open.

    Attributes:
        path: as given.
        size: bytes that were written whole.
    """

    def __init__(self, path: Path, owner: Path):
        self.path, self._owner = path, owner
        self._file = _open_locked(path, owner)
        self.size = 0
        self._has_torn_tail = False  # whether there may be more bytes after them
        self._sync_lock = Lock()  # held by the thread that forces it onto the disk
        self._writes = self._synced_writes = 0  # since it was opened; those that are on the disk

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._file.closed

    @property
    def is_there(self) -> bool:
        """Whether the open file is the one that stands at the path."""
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), self.path.stat())
        except OSError:
            return False

    @property
    def is_whole(self) -> bool:
        """Whether it is there, and as long as what was written; ``logrotate`` empties it."""
        if not self.is_there:
            return False
        size = os.fstat(self._file.fileno()).st_size
        return size == self.size or (self._has_torn_tail and size > self.size)

    def replace(self) -> None:
        """Lock a new file in the place of one that was removed.

        Raises:
            OutputError: another pool has it open.
        """
        removed, self._file = self._file, _open_locked(self.path, self._owner)
        removed.close()
        self.size, self._has_torn_tail = 0, False

    def write(self, content: bytes) -> None:
        """Append, or leave the file as it was.

        Raises:
            OSError: it cannot be written.
        """
        try:
            self._truncate()
            self._has_torn_tail = True
            left = memoryview(content)
            while left:
                left = left[self._file.write(left) :]
            self.size, self._has_torn_tail = self.size + len(content), False
            self._writes += 1
        finally:
            self._truncate_if_possible()

    def cut(self, size: int) -> None:
        """Cut off what follows so many bytes, now or before the next write."""
        self.size, self._has_torn_tail = size, True
        self._truncate_if_possible()

    def _truncate_if_possible(self) -> None:
        """Cut off what is not whole, or leave it to the next write, which must."""
        with suppress(OSError):
            self._truncate()

    def _truncate(self) -> None:
        """Cut off what is not whole; forced, since other bytes are written in its place."""
        if self._has_torn_tail:
            self._file.truncate(self.size)
            os.fsync(self._file.fileno())
            self._has_torn_tail = False

    def wait_until_forced(self, force: Callable[[], None]) -> None:
        """See that what was written before this call is on the disk.

        Args:
            force: calls ``force``; once for all threads that wait meanwhile.
        """
        mine = self._writes
        with self._sync_lock:
            if self._synced_writes < mine:
                force()

    def force(self) -> None:
        """Force all that was written onto the disk.

        Raises:
            OSError, ValueError: that fails; ValueError: it is closed.
        """
        writes = self._writes
        os.fsync(self._file.fileno())
        self._synced_writes = max(writes, self._synced_writes)

    def count_as_forced(self) -> None:
        """All that was written is on the disk elsewhere."""
        self._synced_writes = self._writes

    def close(self) -> None:
        """Close it; an empty one is deleted."""
        with suppress(OSError):
            if self.is_there and not os.fstat(self._file.fileno()).st_size:
                self.path.unlink()
        with self._sync_lock:
            self._file.close()


def _open_locked(log: Path, path: Path) -> FileIO:
    """Open a log to append to it, and lock it.

    Raises:
        OutputError: it cannot be written, or another pool has it open.
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
        except OSError:  # a file system without locks
            return file
        file.close()  # the log was deleted meanwhile
