"""Writes files atomically: to a temporary file beside the old one, which it then replaces.

The temporary file is forced onto the disk before it replaces the old one, which may be the only
other copy, and the folder after that: when ``write_whole`` has returned, a loss of power takes
nothing. What a killed process left is removed by the first file that another writes there. Limits:
this is as true as the file system's and the disk's ``fsync``; Windows has none of folders, and
keeps what is left.
"""

import errno
import os
import tempfile
import threading
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path

from legato._errors import OutputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_TEMPORARY = ".legato-"  # the names of temporary folders begin so
_SWEPT: set[Path] = set()  # folders
_UMASK = threading.Lock()  # two threads that set it at a time could leave it at 0


def write_whole(path: str | os.PathLike, write: Callable[[Path], object]) -> Path:
    """Write a file atomically: an interruption leaves the old file, or none, and never a part.

    Args:
        path: the file. Its folder must exist.
        write: called with the path of a temporary file in the same folder, which it must fill.

    Returns:
        The path, as given.

    Raises:
        OutputError: the folder is missing, full, or cannot be written.
    """
    path = Path(path)
    try:
        with _beside(path) as temporary:
            write(temporary)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())
            os.replace(temporary, path)
            sync_folder(path.parent)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror or error}). Name a file in a folder that "
            "exists, has room, and that you may write to."
        ) from error
    return path


def sync_folder(path: Path) -> None:
    """Force the names of a folder's files onto the disk: what was made, replaced and removed.

    Raises:
        OSError: the disk fails.
    """
    if os.name == "nt":
        return
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that cannot
            raise
    finally:
        os.close(folder)


def make_folder(path: Path) -> None:
    """Make a folder and all above it that are missing, and force their names onto the disk.

    Raises:
        OutputError: one cannot be made.
    """
    try:
        missing = [each for each in (path, *path.parents) if not each.exists()]
        path.mkdir(parents=True, exist_ok=True)
        for each in missing:
            sync_folder(each.parent)
    except OSError as error:
        raise OutputError(
            f"The folder {path} cannot be made ({error.strerror or error}). Name another."
        ) from error


@contextmanager
def _beside(path: Path):
    """A temporary file of the same name, in a hidden folder beside it; both removed afterwards."""
    _sweep(path.parent)
    folder, lock = _make_locked_folder(path.parent)
    temporary = folder / path.name
    try:
        temporary.touch()
        yield temporary
    finally:
        _remove(folder)
        if lock is not None:
            os.close(lock)


def _make_locked_folder(parent: Path) -> tuple[Path, int | None]:
    """A new temporary folder, and its locked descriptor; None where the system has no such lock."""
    while True:
        folder = Path(tempfile.mkdtemp(dir=parent, prefix=_TEMPORARY))
        if fcntl is None:
            return folder, None
        try:
            lock = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:  # another process has swept it away
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_mine = folder.exists()
        except BlockingIOError:  # another process sweeps it away at the moment
            is_mine = False
        except OSError:  # a file system without locks, where none can sweep
            is_mine = True
        if is_mine:
            return folder, lock
        os.close(lock)


def _sweep(parent: Path) -> None:
    """Remove what killed processes left in a folder, once in a process: folders without a lock."""
    if fcntl is None or parent.absolute() in _SWEPT:
        return
    _SWEPT.add(parent.absolute())
    for folder in parent.glob(f"{_TEMPORARY}*"):
        with suppress(OSError):  # in use, or another user's
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(folder)
            finally:
                os.close(lock)


def _remove(folder: Path) -> None:
    """Remove a temporary folder, as far as the system lets."""
    with suppress(OSError):
        for each in folder.iterdir():
            each.unlink()
        folder.rmdir()


def _umask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    with _UMASK:
        mask = os.umask(0)
        os.umask(mask)
    return mask
