"""Files that are whole or absent: written beside their place, then moved there in one step.

Arrays go into safetensors files that carry a checksum, so that one that was cut short or altered is
seen when it is read.
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
    """Write a file so that an interruption leaves the old one, or none, and never half of one.

    Args:
        path: where the file shall be. Its folder must exist.
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
    """A temporary file in the same folder whose name ends alike; gone afterwards."""
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
        path: where the file shall be.
        form: what kind of file it is; ``read_arrays`` asks for the same.
        arrays: by name.
        about: what else the file shall say.

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
        form: what kind of file it must be.
        what: what a file of that kind is called.

    Returns:
        The arrays by name, and what else the file says.

    Raises:
        StateError: there is no such file, it is of another kind, or it is damaged.
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
