"""Writes files atomically: to a temporary file in the same folder, which then replaces the old one.

Arrays are written to safetensors files with a SHA-256 checksum, so that reading detects a file that
was cut short or altered. Limit: nothing is forced onto the disk, so a loss of power may lose a file
that was just written.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from legato._errors import OutputError, StateError


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


def write_arrays(path: str | os.PathLike, form: str, arrays: Mapping[str, Any], **about: str):
    """Write NumPy arrays to a safetensors file.

    Args:
        path: the file.
        form: the name of the file format, which ``read_arrays`` compares.
        arrays: by name.
        about: further metadata.

    Raises:
        OutputError: the folder is missing or cannot be written.
    """
    from safetensors.numpy import save

    metadata = {"format": form, **about, "sha256": _digest(arrays)}
    content = save(dict(arrays), metadata=metadata)
    write_whole(path, lambda temporary: temporary.write_bytes(content))


def read_arrays(path: str | os.PathLike, form: str, what: str) -> tuple[dict, dict[str, str]]:
    """Read what ``write_arrays`` wrote, bit for bit.

    Args:
        path: the file.
        form: the name of the file format that is expected.
        what: the noun for a file of that format, for messages.

    Returns:
        The arrays by name, and the metadata.

    Raises:
        StateError: there is no such file, it has another format, or it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(Path(path), "numpy") as file:
            about = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise StateError(f"There is no {what} file {path}.") from error
    except (SafetensorError, OSError) as error:
        raise StateError(
            f"{path} is not a whole {what} file ({error}). It was cut short, altered, or written "
            "by something else: use a file as legato wrote it."
        ) from error
    if about.get("format") != form:
        raise StateError(
            f"{path} is a safetensors file, but not a {what} that legato wrote: its format is "
            f"{about.get('format')!r}, expected {form!r}."
        )
    if about.get("sha256") != _digest(arrays):
        raise StateError(
            f"{path} is not a whole {what} file: it was altered since it was written (its checksum "
            "differs). Use a file as legato wrote it."
        )
    return arrays, about


def _digest(arrays: Mapping[str, Any]) -> str:
    """A checksum of names, shapes, types and bits."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.shape} {array.dtype} ".encode())
        digest.update(array.tobytes())  # in C order, whatever the array's own
    return digest.hexdigest()
