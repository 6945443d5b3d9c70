"""Data from a pipe or standard input: read to the end, then read as a file of that content."""

import io
import re
import sys
import zipfile
from pathlib import Path
from typing import IO

from legato._errors import InputError
from legato._platform.input_files import limit_message, unpacked_limit

STANDARD_INPUT = "-"  # the path that means it
_BLOCK_BYTES = 2**20
_FIRST_BYTES = {
    ".zip": rb"PK\x03\x04",
    ".gz": rb"\x1f\x8b",
    ".bz2": rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)",  # of some content, or of none
    ".xz": rb"\xfd7zXZ\x00",
    ".zst": rb"\x28\xb5\x2f\xfd",
    ".parquet": rb"PAR1",
    ".npy": rb"\x93NUMPY",
    ".xls": rb"\xd0\xcf\x11\xe0",
    ".feather": rb"ARROW1",
    ".h5": rb"\x89HDF\r\n",
    ".sqlite": rb"SQLite format 3\x00",
    ".avro": rb"Obj\x01",
    ".orc": rb"ORC[\x00-\x1f]",
    ".pickle": rb"\x80[\x02-\x05][\x95cX\x8c}\]]",
    ".pdf": rb"%PDF-\d",
    ".7z": rb"7z\xbc\xaf|Rar!\x1a\x07",
    ".lz4": rb"\x04\x22\x4d\x18",
    ".lfs": rb"version https://git-lfs\.github\.com/spec/",
}


class PipedFile:
    """What came from a pipe, with what readers of files use of a ``Path``.

    Attributes:
        content: all bytes that came.
        name: the pipe's, for messages.
        suffix, stem: as of a path; found by the first bytes where the name has no suffix.
    """

    def __init__(self, content: bytes, name: str, suffix: str = ""):
        self.content, self.name = content, name
        self.stem = Path(name).stem if suffix else name
        self.suffix = suffix or _find_suffix(content)

    def __str__(self) -> str:
        return self.name

    def open(self, mode: str = "rb") -> IO[bytes]:
        """The content as a file."""
        return io.BytesIO(self.content)


DataFile = Path | PipedFile


def read_pipe(path: Path) -> PipedFile:
    """Read a named pipe to its end; the name's suffix, if it has one, says what it is.

    Raises:
        InputError: it holds more than the limit.
        OSError: it cannot be read.
    """
    with path.open("rb") as pipe:
        return PipedFile(_read_to_end(pipe, str(path)), str(path), path.suffix)


def read_standard_input() -> PipedFile:
    """Read standard input to its end.

    Raises:
        InputError: it holds more than the limit.
    """
    return PipedFile(_read_to_end(sys.stdin.buffer, "standard input"), "standard input")


def size_of(file: DataFile) -> int:
    """The bytes of a file, packed as it is."""
    return len(file.content) if isinstance(file, PipedFile) else file.stat().st_size


def _read_to_end(pipe: IO[bytes], name: str) -> bytes:
    blocks, size, limit = [], 0, unpacked_limit()
    while block := pipe.read(_BLOCK_BYTES):
        size += len(block)
        if size > limit:
            raise InputError(limit_message(name, limit))
        blocks.append(block)
    return b"".join(blocks)


def recognize_suffix(content: bytes) -> str:
    """The suffix of files that begin with such bytes; "" if they may be text."""
    found = (suffix for suffix, first in _FIRST_BYTES.items() if re.match(first, content))
    return next(found, "")


def _find_suffix(content: bytes) -> str:
    suffix = recognize_suffix(content)
    if suffix == ".zip":
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                names = archive.namelist()
        except zipfile.BadZipFile:
            names = []
        if names and all(name.endswith(".npy") for name in names):
            return ".npz"
    return suffix
