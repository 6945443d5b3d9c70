"""UTF-8 text files: read in blocks and checked by line, or whole as a sequence of characters."""

from collections.abc import Iterator

import numpy as np

from legato._errors import InputError
from legato._platform.input_files import limit_message, unpacked_limit
from legato._series.packed_files import PACKED_SUFFIXES, open_unpacked
from legato._series.piped_files import DataFile, recognize_suffix, size_of
from legato._series.sequences import Column, Sequences
from legato._series.table_detection import SAMPLE_LINES, describe_table

_PACKED = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "Zstandard"}
_NO_TEXT = {  # what a file of such a suffix is, and what to do
    ".zip": ("a zip archive or a workbook", "name it .zip, or save the sheet as CSV"),
    ".parquet": ("Parquet", "let its name end in .parquet"),
    ".npy": ("a NumPy array", "let its name end in .npy"),
    ".xls": ("a workbook", "save the sheet that is meant as CSV"),
    ".feather": ("Arrow", "write the table as Parquet or CSV"),
    ".h5": ("HDF5", "write the table as Parquet or CSV"),
    ".sqlite": ("a database of SQLite", "write the table as Parquet or CSV"),
    ".avro": ("Avro", "write the table as Parquet or CSV"),
    ".orc": ("ORC", "write the table as Parquet or CSV"),
    ".pickle": ("pickled Python objects", "write the table as Parquet or CSV"),
    ".pdf": ("PDF", "copy its table into CSV"),
    ".7z": ("an archive", "unpack it first"),
    ".lz4": ("packed with LZ4", "unpack it first"),
    ".lfs": ("a pointer of Git LFS", "fetch the file itself with git lfs pull"),
}
_MARK = b"\xef\xbb\xbf"
_OTHER_MARKS = {
    "UTF-32": (b"\xff\xfe\0\0", b"\0\0\xfe\xff"),
    "UTF-16": (b"\xff\xfe", b"\xfe\xff"),
}
FIRST_BLOCK_BYTES, BLOCK_BYTES = 2**18, 2**23  # the first block read of a file; the largest one
_MOST_DEFLATED = 1_032  # times a gzip file's size its content may have
WHOLE_SHARE = 4  # packed files that are held whole may have one so many-th of the limit


def read_text(path: DataFile, may_be_table: bool = False) -> Sequences:
    """Read a text as one sequence of characters, each its code point (int32).

    Args:
        path: the file.
        may_be_table: whether it is a text even if it looks like a table.

    Raises:
        InputError: the file is empty, is not UTF-8, or looks like a table.
    """
    content = read_whole(path)
    sample = first_lines(content, SAMPLE_LINES)
    looks = None if may_be_table or not sample else describe_table(sample)
    if looks is not None:
        packing = path.suffix.lower() if path.suffix.lower() in PACKED_SUFFIXES else ""
        its_name = "the name of the file in it" if packing == ".zip" else "its name"
        packing = packing.removesuffix(".zip")
        raise InputError(
            f"{path.name} would be read as plain text, and looks like {looks[0]}. Let {its_name} "
            f"end in {looks[1]}{packing} to read it as such, or in .text{packing} if its "
            "characters are meant."
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


def read_whole(path: DataFile) -> bytes:
    """Read a file of UTF-8 text whole, unpacked if its suffix says so, without a byte order mark.

    Raises:
        InputError: it cannot be read, is not UTF-8, or holds more than the limit.
    """
    blocks = b"".join(read_blocks(path, share=WHOLE_SHARE))
    content = strip_byte_order_mark(blocks, path)
    check_utf8(content, 1, path.name)
    return content


def read_blocks(path: DataFile, most_bytes: int = BLOCK_BYTES, share: int = 1) -> Iterator[bytes]:
    """Read a file in blocks that grow up to a size, unpacked if its suffix says so.

    Args:
        path: the file.
        most_bytes: of a block.
        share: the part of the limit of unpacked files that is taken, as a divisor.

    Raises:
        InputError: it cannot be read, was cut short, or holds more than the limit.
    """
    if path.suffix.lower() in PACKED_SUFFIXES:
        _check_unpacked_size(path, share)
    with open_unpacked(path) as file:
        size = min(FIRST_BLOCK_BYTES, most_bytes)
        while block := file.read(size):
            yield block
            size = min(size * 5 // 4, most_bytes)


def _check_unpacked_size(path: DataFile, share: int) -> None:
    """Unpack a file without keeping anything, to refuse a too large one before it is parsed.

    Raises:
        InputError: it cannot be read, was cut short, or holds more than the limit.
    """
    limit = unpacked_limit() // share + size_of(path)
    if path.suffix.lower() == ".gz" and size_of(path) * _MOST_DEFLATED < limit:
        return
    total = 0
    with open_unpacked(path) as file:
        while block := file.read(BLOCK_BYTES):
            total += len(block)
            if total > limit:
                raise InputError(limit_message(path.name, limit, share))


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


def strip_byte_order_mark(content: bytes, path: DataFile) -> bytes:
    """The beginning of a file without the byte order mark of UTF-8.

    Raises:
        InputError: the mark is that of UTF-16 or UTF-32, or the first bytes are those of a file
            that is no text.
    """
    suffix = recognize_suffix(content)
    if suffix and path.suffix.lower() in PACKED_SUFFIXES:
        raise InputError(
            f"{path.name} holds no text by the first bytes of what is packed in it, but a "
            f"{suffix} file: unpack it first."
        )
    if packed := _PACKED.get(suffix):
        raise InputError(
            f"{path.name} is packed with {packed} by its first bytes: let its name end in "
            f"{path.suffix}{suffix}."
        )
    if suffix:
        what, remedy = _NO_TEXT[suffix]
        raise InputError(f"{path.name} is no text but {what} by its first bytes: {remedy}.")
    for name, mark in _OTHER_MARKS.items():
        if content.startswith(mark):
            raise InputError(f"{path.name} is {name} text, and UTF-8 was expected: save as UTF-8.")
    while content.startswith(_MARK):  # one more of each program that wrote it
        content = content.removeprefix(_MARK)
    return content
