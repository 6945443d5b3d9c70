"""Writes and reads named arrays: safetensors files with a SHA-256 checksum over the whole file.

Files are written atomically (``atomic_files``). The checksum stands in the file's metadata and is
computed with zeros in its place, so that any altered bit, of the arrays or of their description, is
detected. A file may have a mark, with a checksum of its own, that is changed in place: it comes
first in the file, within one sector of a disk, which is written as a whole.
Limit: files of version 1, which earlier versions of legato wrote, are read as well; their
checksum covers the arrays with names, shapes and types, but not the other metadata.
"""

import hashlib
import io
import json
import os
import zlib
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from legato._errors import StateError
from legato._platform.atomic_files import write_whole
from legato._platform.input_files import check_is_regular, shown_reason

NO_MARK = "0" * 40
_CHECKSUM, _MARK = b'"sha256":"', b'"mark":"'  # as safetensors writes them: quotes are escaped
_DIGITS = {_CHECKSUM: 64, _MARK: len(NO_MARK)}
_BLOCK_BYTES = 2**20
_Content = TypeVar("_Content")


def write_arrays(
    path: str | os.PathLike, format_name: str, arrays: Mapping[str, Any], **about: str
) -> None:
    """Write NumPy arrays to a safetensors file.

    Args:
        path: the file.
        format_name: the name of the file format, without its version.
        arrays: by name.
        about: further metadata, short texts; safetensors takes 100 MB. With ``mark=NO_MARK`` the
            file can be marked.

    Raises:
        OutputError: the folder is missing or cannot be written.
    """
    parts = _encoded(format_name, arrays, about)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            file.writelines(parts)

    write_whole(path, write)


def encode_arrays(format_name: str, arrays: Mapping[str, Any], **about: str) -> bytes:
    """The content of the file that ``write_arrays`` writes."""
    return b"".join(_encoded(format_name, arrays, about))


def _encoded(
    format_name: str, arrays: Mapping[str, Any], about: Mapping[str, str]
) -> list[bytes | memoryview]:
    """The content of a file, in parts."""
    from safetensors.numpy import save

    metadata = {"format": f"{format_name}.2", **about, "sha256": "0" * _DIGITS[_CHECKSUM]}
    content = memoryview(save(dict(arrays), metadata=metadata))
    length = 8 + int.from_bytes(content[:8], "little")
    header, data = _sorted_header(bytes(content[8:length])), content[length:]
    digest = hashlib.sha256(header)
    digest.update(data)
    field = _find_field(header, _CHECKSUM)
    return [header[: field.start], digest.hexdigest().encode(), header[field.stop :], data]


def read_arrays(
    path: str | os.PathLike,
    format_name: str,
    what: str,
    decode: Callable[[dict[str, np.ndarray], dict[str, str]], _Content],
) -> _Content:
    """Read a file of ``write_arrays``, bit for bit.

    Args:
        path: the file.
        format_name: the name of the file format that is expected, without its version.
        what: the noun for a file of that format, for messages.
        decode: makes the result of the arrays by name and the metadata. Whatever it raises, if it
            is no ``StateError``, means that the content is not as it was written.

    Returns:
        The result of ``decode``.

    Raises:
        StateError: there is no such file, it has another format, or it is damaged.
    """
    from safetensors import safe_open

    with _state_errors(path, what):
        check_is_regular(path, f"a {what} file", StateError)
        with safe_open(Path(path), "numpy") as file, Path(path).open("rb") as raw:
            about = file.metadata() or {}

            def read() -> dict[str, np.ndarray]:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118

            arrays = _checked_arrays(path, format_name, what, about, raw, read)
        return decode(arrays, about)


def decode_arrays(
    content: bytes,
    shown: str,
    format_name: str,
    what: str,
    decode: Callable[[dict[str, np.ndarray], dict[str, str]], _Content],
) -> _Content:
    """As ``read_arrays``, from the content of a file, which messages call ``shown``."""
    from safetensors.numpy import load

    with _state_errors(shown, what):
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        about = header.get("__metadata__", {})
        arrays = _checked_arrays(
            shown, format_name, what, about, io.BytesIO(content), lambda: load(content)
        )
        return decode(arrays, about)


@contextmanager
def _state_errors(shown: Any, what: str) -> Generator[None]:
    """Turn what goes wrong with a file into a ``StateError``."""
    try:
        yield
    except StateError:
        raise
    except FileNotFoundError as error:
        raise StateError(f"There is no {what} file {shown}.") from error
    except Exception as error:  # there are many ways of not fitting together
        raise StateError(
            f"{shown} is not a whole {what} file ({shown_reason(error)}). It was cut short, "
            "altered, or written by something else: use a file as legato wrote it."
        ) from error


def _checked_arrays(
    shown: Any,
    format_name: str,
    what: str,
    about: Mapping[str, str],
    raw: BinaryIO,
    read: Callable[[], dict[str, np.ndarray]],
) -> dict[str, np.ndarray]:
    """The arrays that ``read`` gives, if format and checksum are as they must be.

    Raises:
        StateError: they are not.
    """
    version = about.get("format")
    if version not in (f"{format_name}.1", f"{format_name}.2"):
        raise StateError(
            f"{shown} is a safetensors file, but not a {what} that legato wrote: its format "
            f"is {version!r}, expected {format_name + '.2'!r}."
        )
    whole = version == f"{format_name}.1" or about.get("sha256") == _file_digest(raw)
    arrays = read() if whole else {}
    if version == f"{format_name}.1":
        whole = about.get("sha256") == _array_digest(arrays)
    if not whole:
        raise StateError(
            f"{shown} is not a whole {what} file: it was altered since it was written (its "
            "checksum differs). Use a file as legato wrote it."
        )
    return arrays


def mark_file(path: str | os.PathLike, text: str) -> None:
    """Set the mark of a file in place: 32 letters or digits, to which a checksum is added.

    All names of a file that has several (hard links) show the mark.

    Raises:
        OSError: the file cannot be written.
        StateError: it has another mark already, or no place for one.
    """
    mark = f"{text}{zlib.crc32(text.encode()):08x}".encode()
    with Path(path).open("r+b") as file:
        length = file.read(8)
        header = length + file.read(int.from_bytes(length, "little"))
        field = _find_field(header, _MARK)
        if header[field] not in (NO_MARK.encode(), mark):
            raise StateError(f"{path} cannot be marked: it has another mark, or no place for one.")
        file.seek(field.start)
        file.write(mark)
        file.flush()
        os.fsync(file.fileno())


def mark_of(about: Mapping[str, str]) -> str | None:
    """The mark in a file's metadata; "" if it has none, and None if it has no place for one.

    Raises:
        ValueError: it was altered.
    """
    mark = about.get("mark")
    if mark is None or mark == NO_MARK:
        return mark and ""
    if mark[32:] != f"{zlib.crc32(mark[:32].encode()):08x}":
        raise ValueError("the checksum of its mark differs")
    return mark[:32]


def _sorted_header(text: bytes) -> bytes:
    """A header with its length, and with the metadata in order: the mark first, if there is one.

    As safetensors writes it, its order differs from call to call.
    """
    header = json.loads(text)
    about = header.pop("__metadata__")
    names = sorted(about, key=lambda name: (name != "mark", name))
    ordered = {"__metadata__": {name: about[name] for name in names}, **header}
    made = json.dumps(ordered, separators=(",", ":"), ensure_ascii=False).encode()
    made += b" " * (-len(made) % 8)
    return len(made).to_bytes(8, "little") + made


def _find_field(header: bytes | bytearray, key: bytes) -> slice:
    """Where in the bytes of a header the value of a key is that has a fixed number of digits.

    Raises:
        ValueError: it has no such key.
    """
    at = header.index(key) + len(key)
    return slice(at, at + _DIGITS[key])


def _file_digest(file: BinaryIO) -> str:
    """The checksum of a file's bytes, with zeros in the place of checksum and mark."""
    length = file.read(8)
    header = bytearray(file.read(int.from_bytes(length, "little")))
    for key, digits in _DIGITS.items():
        if key in header:
            header[_find_field(header, key)] = b"0" * digits
    digest = hashlib.sha256(length + header)
    while block := file.read(_BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()


def _array_digest(arrays: Mapping[str, Any]) -> str:
    """The checksum of version 1: of names, shapes, types and bits of arrays."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.shape} {array.dtype} ".encode())
        digest.update(array.tobytes())  # in C order, whatever the array's own
    return digest.hexdigest()
