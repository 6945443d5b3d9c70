"""Writes files atomically: to a temporary file in the same folder, which then replaces the old one.

The temporary file is forced onto the disk before it replaces the old one, which may be the only
other copy, and the folder after that: when ``write_whole`` has returned, a loss of power takes
nothing. Limits: this is as true as the file system's and the disk's ``fsync``; Windows has none of
folders.
"""

import errno
import os
import tempfile
import threading
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from legato._errors import OutputError

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
        OSError: one cannot be made.
    """
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for each in missing:
        sync_folder(each.parent)


@contextmanager
def _beside(path: Path):
    """A temporary file in the same folder, with the same suffix; removed afterwards."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=f".{path.name[-200:]}")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    with _UMASK:
        mask = os.umask(0)
        os.umask(mask)
    return mask
