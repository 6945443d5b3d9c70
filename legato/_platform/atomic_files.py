"""Writes files atomically: to a temporary file in the same folder, which then replaces the old one.

Limit: nothing is forced onto the disk, so a loss of power may lose a file that was just written.
"""

import os
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from legato._errors import OutputError


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
            temporary.chmod(0o666 & ~_umask())
            os.replace(temporary, path)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror or error}). Name a file in a folder that "
            "exists, has room, and that you may write to."
        ) from error
    return path


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
    mask = os.umask(0)
    os.umask(mask)
    return mask
