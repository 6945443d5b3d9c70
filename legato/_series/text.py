"""UTF-8 text files: read in blocks and checked by line, or whole as a sequence of characters."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from legato._errors import InputError
from legato._series.sequences import Column, Sequences
from legato._series.table_detection import SAMPLE_LINES, describe_table

FIRST_BLOCK_BYTES, BLOCK_BYTES = 2**18, 2**23  # the first block read of a file; the largest one


def read_text(path: Path, may_be_table: bool = False) -> Sequences:
    """Read a text as one sequence of characters, each its code point (int32).

    Args:
        path: the file.
        may_be_table: whether it is a text even if it looks like a table.

    Raises:
        InputError: the file is empty, is not UTF-8, or looks like a table.
    """
    content = strip_byte_order_mark(b"".join(read_blocks(path)), path.name)
    check_utf8(content, 1, path.name)
    lines = first_lines(content, SAMPLE_LINES)
    looks = None if may_be_table or not lines else describe_table(lines)
    if looks is not None:
        raise InputError(
            f"{path.name} would be read as plain text, and looks like {looks[0]}. Let its name end "
            f"in {looks[1]} to read it as such, or in .text if its characters are meant."
        )
    text = content.replace(b"\r\n", b"\n").decode()
    if not text:
        raise InputError(f"{path.name} is empty; a text was expected.")
    codes = np.frombuffer(text.encode("utf-32-le"), np.int32)
    characters = tuple(sorted(set(text)))
    column = Column("character", characters, tuple(map(float, map(ord, characters))))
    notes = ("Line ends of Windows were read as one character.",) if b"\r\n" in content else ()
    newlines = codes == ord("\n")
    lines = np.cumsum(newlines, dtype=np.int32)
    lines += ~newlines
    lengths = np.array([len(codes)])
    return Sequences(
        codes[:, None], lengths, (column,), (path.name,), source=path.name, notes=notes, lines=lines
    )


def read_blocks(path: Path, most_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Read a file in blocks that grow up to a size, unpacked if its name ends in ``.gz``.

    Raises:
        InputError: it cannot be read, or was cut short.
    """
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            size = min(FIRST_BLOCK_BYTES, most_bytes)
            while block := file.read(size):
                yield block
                size = min(size * 5 // 4, most_bytes)
    except EOFError as error:
        raise InputError(f"{path.name} is not a whole gzip file: it was cut short.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}).") from error


def check_utf8(content: bytes, line: int, source: str) -> None:
    """Check that bytes are UTF-8 text without zero bytes.

    Args:
        content: the bytes.
        line: the line of the file that they begin on, the first being 1.
        source: the file's name, for the message.

    Raises:
        InputError: they are not; the message names the line.
    """
    try:
        if not content.isascii():
            content.decode()
        bad = content.find(b"\0")
    except UnicodeDecodeError as error:
        bad = error.start
    if bad >= 0:
        line += content.count(b"\n", 0, bad)
        found = "a zero byte" if content[bad] == 0 else f"the byte 0x{content[bad]:02x}"
        raise InputError(
            f"{source}, line {line}: {found} is not UTF-8 text. Open "
            "the file in the program that made it and save as UTF-8 text."
        )


def first_lines(content: bytes, count: int) -> list[str]:
    """The first lines of a text that are not blank; the last may be cut short."""
    text = content[:FIRST_BLOCK_BYTES].decode(errors="replace")
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[: min(count, max(1, len(lines) - (len(content) > FIRST_BLOCK_BYTES)))]


def strip_byte_order_mark(content: bytes, source: str) -> bytes:
    """The beginning of a file without the byte order mark of UTF-8.

    Raises:
        InputError: the mark is that of UTF-16 or UTF-32.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{source} is UTF-16 text, and UTF-8 was expected: save as UTF-8.")
    return content.removeprefix(b"\xef\xbb\xbf")
