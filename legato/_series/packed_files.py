"""Packed files: opens them unpacked, by their last suffix.

``.gz``, ``.bz2``, ``.xz``; ``.zip`` with one file in it; ``.zst`` with Python 3.14's module or its
backport.
"""

import bz2
import gzip
import importlib
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from legato._errors import InputError
from legato._platform.input_files import shown_reason
from legato._series.piped_files import DataFile

_DECOMPRESSORS = {".bz2": bz2.BZ2Decompressor, ".xz": lzma.LZMADecompressor}
PACKED_SUFFIXES = (".gz", *_DECOMPRESSORS, ".zip", ".zst")
_BLOCK_BYTES = 2**16


class _Streams(io.RawIOBase):
    """What streams of bzip2 or xz hold, one after another, zero bytes between and behind them.

    Python's own readers end where a stream does not begin as it should, as if the file ended there:
    of files in many streams, as parallel programs write them, a damaged one would cut the rest.
    """

    def __init__(self, file: IO[bytes], make_decompressor: Callable[[], Any]):
        super().__init__()
        self._file, self._make = file, make_decompressor
        self._decompressor: Any = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer from its beginning; returns the number of bytes, 0 at the end."""
        content = b""
        while not content:
            if self._decompressor is None or self._decompressor.eof:
                packed = self._find_stream()
                if not packed:
                    return 0
                self._decompressor = self._make()
            else:
                packed = self._file.read(_BLOCK_BYTES) if self._decompressor.needs_input else b""
                if self._decompressor.needs_input and not packed:
                    raise EOFError
            content = self._decompressor.decompress(packed, len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def _find_stream(self) -> bytes:
        """Bytes from the beginning of the next stream on; empty if there is none."""
        rest = self._decompressor.unused_data if self._decompressor else b""
        rest = rest.lstrip(b"\0")
        while not rest and (block := self._file.read(_BLOCK_BYTES)):
            rest = block.lstrip(b"\0")
        return rest


def find_inner_suffix(path: DataFile) -> tuple[str, bool]:
    """The suffix of a file without that of its packing, in small letters; and whether it is packed.

    Raises:
        InputError: it is an archive that does not hold one file.
    """
    suffix = path.suffix.lower()
    if suffix not in PACKED_SUFFIXES:
        return suffix, False
    inner = Path(path.stem).suffix.lower()
    if suffix == ".zip":
        with _refusing_damage(path), path.open("rb") as file, zipfile.ZipFile(file) as archive:
            inner = PurePosixPath(_find_member(archive, path).filename).suffix.lower() or inner
    if inner in PACKED_SUFFIXES:
        raise InputError(f"{path.name} is packed twice: unpack it first.")
    return inner, True


@contextmanager
def open_unpacked(path: DataFile) -> Generator[IO[bytes]]:
    """Open a file to read its bytes, unpacked if its suffix says that it is packed.

    Raises:
        InputError: it cannot be read, also later while it is open: it is damaged, has a password,
            or Python has no way to unpack it.
    """
    suffix = path.suffix.lower()
    with _refusing_damage(path), ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        if suffix == ".zip":
            archive = stack.enter_context(zipfile.ZipFile(file))
            yield stack.enter_context(archive.open(_find_member(archive, path)))
        elif suffix == ".zst":
            yield stack.enter_context(_find_zstandard(path).open(file))
        elif suffix == ".gz":
            yield cast(IO[bytes], stack.enter_context(gzip.open(file, "rb")))
        elif suffix in _DECOMPRESSORS:
            yield stack.enter_context(io.BufferedReader(_Streams(file, _DECOMPRESSORS[suffix])))
        else:
            yield file


def _find_member(archive: zipfile.ZipFile, path: DataFile) -> zipfile.ZipInfo:
    """The only file of an archive; folders and what macOS adds are left out."""
    members = [
        each
        for each in archive.infolist()
        if not each.is_dir() and not each.filename.startswith("__MACOSX/")
    ]
    if len(members) != 1:
        raise InputError(
            f"{path.name} holds {len(members)} files, and one was expected: unpack it, and name "
            "the file that is meant."
        )
    if members[0].flag_bits & 1:
        raise InputError(f"{path.name} has a password: unpack it first.")
    return members[0]


def _find_zstandard(path: DataFile):
    """The module that reads Zstandard: that of Python 3.14, or its backport if it is installed."""
    for name in ("compression.zstd", "backports.zstd"):
        with suppress(ImportError):
            return importlib.import_module(name)
    raise InputError(
        f"{path.name} is packed with Zstandard, which Python reads from version 3.14 on, and "
        "before with the package backports.zstd: install that (pip install backports.zstd), or "
        "unpack the file first, with unzstd."
    )


@contextmanager
def _refusing_damage(path: DataFile) -> Generator[None]:
    """Turn what damaged files raise into an InputError."""
    name = path.suffix.lower().removeprefix(".")
    kind = {"gz": "gzip", "bz2": "bzip2"}.get(name, name)
    try:
        yield
    except EOFError as error:
        raise InputError(f"{path.name} is not a whole {kind} file: it was cut short.") from error
    except (zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError) as error:
        raise InputError(
            f"{path.name} is not a whole {kind} file ({error}). It was cut short, altered, or is "
            "something else: write it again."
        ) from error
    except OSError as error:
        if error.errno is None:  # of gzip and bzip2, about the content
            raise InputError(
                f"{path.name} is not a whole {kind} file ({shown_reason(error)}). It was altered, "
                f"or is not packed: write it again, or leave {path.suffix} out of its name."
            ) from error
        raise InputError(f"{path} cannot be read ({error.strerror or error}).") from error
