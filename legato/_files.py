"""Files that are whole or absent: written beside their place, then moved there in one step."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from legato._errors import OutputError


def write_whole(path: str | os.PathLike, write: Callable[[Path], object]) -> Path:
    """Write a file so that an interruption leaves the old one, or none, and never half of one.

    Args:
        path: where the file shall be. Its folder must exist.
        write: called with the path of a temporary file in the same folder, which it must fill.

    Returns:
        The path, as given.

    Raises:
        OutputError: the folder is missing or cannot be written.
    """
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix
        )
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror or error}). Name a file in a folder that "
            "exists and that you may write to."
        ) from error
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


def _umask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
