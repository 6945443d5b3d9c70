"""Text of separated fields → a frame, each record seen to have the right number of fields.

CSV as RFC 4180 has it, with ``,`` ``;`` tab or ``|``, told from the header. The file is read once,
in pieces of whole records. What a quotation mark encloses is found by counting marks, so that
fields and lines are counted without a loop over rows, and no short row is filled silently. Polars
cuts the fields; a column whose words are numbers in one piece and not in another is read again, as
words. Limit: a record has at most ``PIECE_BYTES``.
"""

import csv
import gzip
import io
from collections.abc import Collection, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from legato._errors import InputError
from legato._series.parsing import concat_parts, narrow_type

if TYPE_CHECKING:
    import polars

FIRST_BYTES, PIECE_BYTES = 2**18, 2**23  # of a file that are worked on at once: at first, at most
SEPARATORS = "\t;,|"
_QUOTE, _NEWLINE, _RETURN = b'"\n\r'


class TextBlock(NamedTuple):
    """Some whole records: their bytes, each ended by a newline, and the line of the first."""

    content: bytes
    line: int

    def line_of(self, position: int) -> int:
        """The line a byte stands on."""
        return self.line + self.content.count(b"\n", 0, position)


class Records(NamedTuple):
    """Of each record of a piece: where it begins and ends, its line, and its number of fields."""

    begins: np.ndarray
    ends: np.ndarray
    lines: np.ndarray
    fields: np.ndarray


def read_csv(
    path: Path,
    words: Collection[str] = (),
    times: str | None = None,
    used: Collection[str] | None = None,
) -> tuple["polars.DataFrame", np.ndarray]:
    """Read a file of separated fields.

    Args:
        path: the file; one that ends in ``.gz`` is unpacked.
        words: columns that stay words, whatever they look like.
        times: the column that becomes times, if all of it can.
        used: the columns that are wanted, the others come empty; default: all.

    Returns:
        A frame, None where a value is missing, of numbers where all of a column are, else of words;
        and (rows,): the line each row begins on, the header's being 1.

    Raises:
        InputError: it is not UTF-8, has no header or no rows, or a row has more or fewer fields
            than the header.
    """
    import polars

    pieces = _pieces(path)
    header, first = _header(next(pieces, TextBlock(b"", 1)), path)
    separator = max(SEPARATORS, key=lambda each: _count_outside(header.content, each))
    names = _names(header, separator, path)
    options = {"separator": separator, "has_header": False, "infer_schema": False}
    columns: list[list[polars.Series]] = [[] for _ in names]
    lines, blank = [], []
    for piece in chain([first], pieces):
        content, *places = _rows(piece, separator, len(names), path)
        if not len(places[0]):
            continue
        frame = polars.read_csv(io.BytesIO(content), **options)
        for name, series, parts in zip(names, frame, columns, strict=True):
            if used is not None and name not in used:
                parts.append(
                    polars.Series([None], dtype=polars.Null).new_from_index(0, len(series))
                )
            else:
                parts.append(series if name in words else narrow_type(series, name == times))
        lines.append(places[0])
        blank.append(places[1])
    end = np.flatnonzero(~np.concatenate(blank or [np.ones(1, bool)]))
    if not len(end):
        raise InputError(f"{path.name} has a header and no rows below it.")
    check_names(names, path.name)
    whole = {name: concat_parts(parts) for name, parts in zip(names, columns, strict=True)}
    if mixed := {name for name, series in whole.items() if series is None}:
        return read_csv(path, {*words, *mixed}, times, used)
    frame = polars.DataFrame(whole)
    return frame.head(end[-1] + 1), np.concatenate(lines)[: end[-1] + 1]


def check_names(names: list[str], source: str) -> None:
    """See that every column has a name of its own.

    Raises:
        InputError: one has none, or two have the same.
    """
    if "" in names:
        raise InputError(
            f"{source}: column {names.index('') + 1} of {len(names)} has no name. Name it in the "
            "header; pandas writes such a column for its index unless told index=False."
        )
    for at, name in enumerate(names):
        if name in names[:at]:
            raise InputError(
                f"{source}: the columns {names.index(name) + 1} and {at + 1} are both called "
                f"{name!r}. Give each a name of its own."
            )


def read_bytes(path: Path) -> Iterator[bytes]:
    """A file in blocks, unpacked if it ends in ``.gz``; small ones first, for small files.

    Raises:
        InputError: it cannot be read, or is not whole.
    """
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            size = min(FIRST_BYTES, PIECE_BYTES)
            while block := file.read(size):
                yield block
                size = min(size * 5 // 4, PIECE_BYTES)
    except EOFError as error:
        raise InputError(f"{path.name} is not a whole gzip file: it was cut short.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}).") from error


def check_text(content: bytes, line: int, source: str) -> None:
    """See that bytes are text as UTF-8.

    Raises:
        InputError: they are not.
    """
    try:
        if not content.isascii():
            content.decode()
        bad = content.find(b"\0")
    except UnicodeDecodeError as error:
        bad = error.start
    if bad >= 0:
        what = "a zero byte" if content[bad] == 0 else f"the byte 0x{content[bad]:02x}"
        place = TextBlock(content, line).line_of(bad)
        raise InputError(
            f"{source}, line {place}: {what} is not UTF-8 text. Open "
            "the file in the program that made it and save as UTF-8 text."
        )


def check_beginning(content: bytes, source: str) -> bytes:
    """The beginning of a text without its byte order mark.

    Raises:
        InputError: it is UTF-16 or UTF-32.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{source} is UTF-16 text, and UTF-8 was expected: save as UTF-8.")
    return content.removeprefix(b"\xef\xbb\xbf")


def _pieces(path: Path) -> Iterator[TextBlock]:
    """A file in pieces of whole records, seen to be UTF-8."""
    rest, line, begun = b"", 1, False
    for block in read_bytes(path):
        content = rest + (block if begun else check_beginning(block, path.name))
        begun = True
        end = _last_end(content)
        if not end and len(content) > PIECE_BYTES:
            raise InputError(
                f"{path.name}, line {line}: the record that begins here has no end within "
                f"{PIECE_BYTES:,} bytes. A quotation mark in it is not closed, or this is no table."
            )
        if end:
            check_text(content[:end], line, path.name)
            yield TextBlock(content[:end], line)
        line += content.count(b"\n", 0, end)
        rest = content[end:]
    if rest:
        check_text(rest, line, path.name)
        if rest.count(b'"') % 2:
            raise InputError(
                f"{path.name}, line {line}: a quotation mark in the record that begins here is "
                "never closed."
            )
        if b"\r" in rest.rstrip(b"\r"):
            raise InputError(
                f"{path.name} ends its lines with a lone carriage return. Save it with the line "
                "ends of Unix or Windows."
            )
        yield TextBlock(rest + b"\n", line)


def _outside(data: np.ndarray) -> np.ndarray:
    """Which bytes stand outside quotation marks."""
    marks = data == _QUOTE
    if not marks.any():
        return np.ones(len(data), bool)
    return ~np.bitwise_xor.accumulate(marks)


def _count_outside(content: bytes, separator: str) -> int:
    data = np.frombuffer(content, np.uint8)
    return int(np.count_nonzero((data == ord(separator)) & _outside(data)))


def _last_end(content: bytes) -> int:
    """Where the last whole record ends; 0 if there is none."""
    if b'"' not in content:
        return content.rfind(b"\n") + 1
    data = np.frombuffer(content, np.uint8)
    ends = np.flatnonzero((data == _NEWLINE) & _outside(data))
    return int(ends[-1]) + 1 if len(ends) else 0


def _records(piece: TextBlock, separator: str) -> Records:
    data = np.frombuffer(piece.content, np.uint8)
    outside = _outside(data)
    newlines = np.flatnonzero(data == _NEWLINE)
    ends = newlines[outside[newlines]]
    begins = np.concatenate([[0], ends[:-1] + 1])
    marks = np.flatnonzero(data == ord(separator))
    before = np.searchsorted(marks[outside[marks]], ends)
    lines = piece.line + np.searchsorted(newlines, begins)
    return Records(begins, ends, lines, np.diff(before, prepend=0) + 1)


def _header(piece: TextBlock, path: Path) -> tuple[TextBlock, TextBlock]:
    """The first record that is not blank, and what follows it."""
    data = piece.content.lstrip(b"\r\n")
    if not data.strip():
        raise InputError(f"{path.name} is empty; a header and rows below it were expected.")
    skipped = len(piece.content) - len(data)
    end = skipped + int(_records(TextBlock(data, 1), ",").ends[0]) + 1
    header = TextBlock(piece.content[skipped:end], piece.line_of(skipped))
    return header, TextBlock(piece.content[end:], piece.line_of(end))


def _names(header: TextBlock, separator: str, path: Path) -> list[str]:
    _check_quotes(header, separator, path)
    text = io.StringIO(header.content.decode().rstrip("\r\n"), newline="")
    try:
        names = [name.strip() for name in next(csv.reader(text, delimiter=separator))]
    except csv.Error as error:
        raise InputError(f"{path.name}, line {header.line}: this is no header ({error}).") from None
    counted = {tuple(map(str, range(first, first + len(names)))) for first in (0, 1)}
    if all(_is_number(name) for name in names) and tuple(names) not in counted:
        raise InputError(
            f"{path.name}, line {header.line}: the first line holds numbers ({names[0]} first) and "
            "not the names of the columns. Write a line of names above it."
        )
    return names


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _rows(
    piece: TextBlock, separator: str, expected: int, path: Path
) -> tuple[bytes, np.ndarray, np.ndarray]:
    """A piece without blank lines, as bytes; the line of each row; and which are blank even so.

    A blank line of a table of one column is a row whose value is missing.
    """
    if not piece.content:
        return b"", np.empty(0, int), np.empty(0, bool)
    _check_quotes(piece, separator, path)
    records = _records(piece, separator)
    data = np.frombuffer(piece.content, np.uint8)
    sizes = records.ends - records.begins
    blank = (sizes == 0) | ((sizes == 1) & (data[records.begins] == _RETURN))
    wrong = np.flatnonzero((records.fields != expected) & ~blank)
    if len(wrong):
        came = int(records.fields[wrong[0]])
        raise InputError(
            f"{path.name}, line {records.lines[wrong[0]]}: {came} field{'s' * (came != 1)} came, "
            f"and the header has {expected}. Put a field that holds {separator!r} in quotation "
            "marks, and write every field, an empty one too."
        )
    if not blank.any():
        return piece.content, records.lines, blank
    if expected == 1:
        pairs = np.repeat(records.begins[blank], 2)
        return np.insert(data, pairs, _QUOTE).tobytes(), records.lines, blank
    kept = np.repeat(~blank, sizes + 1)
    return data[kept].tobytes(), records.lines[~blank], blank[~blank]


def _check_quotes(piece: TextBlock, separator: str, path: Path) -> None:
    """See that quotation marks enclose whole fields.

    Raises:
        InputError: one stands in the middle of a field.
    """
    data = np.frombuffer(piece.content, np.uint8)
    marks = np.flatnonzero(data == _QUOTE)
    opening, closing = marks[::2], marks[1::2]
    around = np.frombuffer(f'{separator}\n\r"'.encode(), np.uint8)
    bad = [
        opening[(opening > 0) & ~np.isin(data[opening - 1], around)],
        closing[~np.isin(data[closing + 1], around)],
    ]
    if len(stray := np.concatenate(bad)):
        raise InputError(
            f"{path.name}, line {piece.line_of(int(stray.min()))}: a quotation mark stands in the "
            "middle of a field. Write it twice, and put the whole field in quotation marks."
        )
