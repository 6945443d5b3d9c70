"""Writes and reads named arrays: safetensors files with a SHA-256 checksum.

Files are written atomically (``atomic_files``); reading detects one that was cut short or altered.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from legato._errors import StateError
from legato._platform.atomic_files import write_whole


def write_arrays(
    path: str | os.PathLike, format_name: str, arrays: Mapping[str, Any], **about: str
) -> None:
    """Write NumPy arrays to a safetensors file.

    Args:
        path: the file.
        format_name: the name of the file format, which ``read_arrays`` compares.
        arrays: by name.
        about: further metadata.

    Raises:
        OutputError: the folder is missing or cannot be written.
    """
    from safetensors.numpy import save

    metadata = {"format": format_name, **about, "sha256": _digest(arrays)}
    content = save(dict(arrays), metadata=metadata)
    write_whole(path, lambda temporary: temporary.write_bytes(content))


def read_arrays(
    path: str | os.PathLike, format_name: str, what: str
) -> tuple[dict, dict[str, str]]:
    """Read a file of ``write_arrays``, bit for bit.

    Args:
        path: the file.
        format_name: the name of the file format that is expected.
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
    if about.get("format") != format_name:
        raise StateError(
            f"{path} is a safetensors file, but not a {what} that legato wrote: its format is "
            f"{about.get('format')!r}, expected {format_name!r}."
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
