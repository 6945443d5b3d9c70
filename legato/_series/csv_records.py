"""Records of CSV text as bytes: pieces of whole records, their lines, fields and quotation marks.

It works with NumPy: text is within quotation marks after an odd number of them. ``csv`` has Polars
parse the pieces, and looks here for the lines of errors.

Limit: a record has at most ``PIECE_BYTES``.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from legato._errors import InputError
from legato._platform.wording import counted
from legato._series.piped_files import DataFile
from legato._series.table_detection import FEWEST_LINES
from legato._series.text import BLOCK_BYTES, check_utf8, read_blocks, strip_byte_order_mark

PIECE_BYTES = BLOCK_BYTES
_QUOTE, _NEWLINE, _RETURN = b'"\n\r'


class TextPiece(NamedTuple):
    """Whole records: their bytes, each record ended by a newline, and the line of the first."""

    content: bytes
    line: int

    def line_at(self, position: int) -> int:
        """The line of a byte."""
        return self.line + self.content.count(b"\n", 0, position)


def read_pieces(path: DataFile) -> Iterator[TextPiece]:
    """Read a file in pieces of whole records, checked to be UTF-8."""
    rest, line, is_first = b"", 1, True
    for block in read_blocks(path, PIECE_BYTES):
        content = rest + (strip_byte_order_mark(block, path) if is_first else block)
        is_first = False
        end = _find_last_end(content)
        if not end and len(content) > PIECE_BYTES:
            raise InputError(
                f"{path.name}, line {line}: the record that begins here has no end within "
                f"{PIECE_BYTES:,} bytes. A quotation mark in it is not closed, or this is no table."
            )
        if end:
            check_utf8(content[:end], line, path.name)
            yield TextPiece(content[:end], line)
        line += content.count(b"\n", 0, end)
        rest = content[end:]
    if rest:
        check_utf8(rest, line, path.name)
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
        yield TextPiece(rest + b"\n", line)


def split_header(piece: TextPiece, source: str) -> tuple[TextPiece, TextPiece]:
    """The first record that is not blank, and what follows it."""
    data = piece.content.lstrip(b"\r\n")
    if not data.strip():
        raise InputError(f"{source} is empty; a header and rows below it were expected.")
    skipped = len(piece.content) - len(data)
    end = skipped + int(find_outside_quotes(data, "\n")[0][0]) + 1
    header = TextPiece(piece.content[skipped:end], piece.line_at(skipped))
    return header, TextPiece(piece.content[end:], piece.line_at(end))


def separate_by_tabs(piece: TextPiece) -> TextPiece:
    """Records whose fields are separated by blanks, separated by tabs."""
    data = np.frombuffer(piece.content, np.uint8)
    is_blank = np.zeros(len(data), bool)
    is_blank[np.concatenate(find_outside_quotes(piece.content, "\t", " "))] = True
    at_end = np.isin(data, (_NEWLINE, _RETURN))
    begins = np.concatenate([[True], (is_blank | at_end)[:-1]])
    kept = ~(is_blank & begins)  # of several blanks the first, and none where a line begins
    squeezed, was_blank = np.where(is_blank, ord("\t"), data)[kept], is_blank[kept]
    ends = np.concatenate([np.isin(squeezed[1:], (_NEWLINE, _RETURN)), [False]])
    squeezed = squeezed[~(was_blank & ends)]
    return TextPiece(squeezed.astype(np.uint8).tobytes(), piece.line)


def check_records(
    piece: TextPiece, separator: str, width: int, source: str
) -> tuple[np.ndarray, np.ndarray]:
    """The second look: count the fields of each record.

    Returns:
        The line that each record begins on, and whether it is blank.

    Raises:
        InputError: a record has another number of fields, or a quotation mark within a field.
    """
    check_quotes(piece, separator, source)
    data = np.frombuffer(piece.content, np.uint8)
    ends, separators = find_outside_quotes(piece.content, "\n", separator)
    begins = np.concatenate([[0], ends[:-1] + 1])
    lines = piece.line + np.searchsorted(np.flatnonzero(data == _NEWLINE), begins)
    fields = np.diff(np.searchsorted(separators, ends), prepend=0) + 1
    sizes = ends - begins
    blank = (sizes == 0) | ((sizes == 1) & (data[begins] == _RETURN))
    wrong = np.flatnonzero((fields != width) & ~blank)
    if len(wrong):
        found = int(fields[wrong[0]])
        record = piece.content[begins[wrong[0]] : ends[wrong[0]]].rstrip(b"\r")
        if found == width + 1 and record.endswith(separator.encode()):
            raise InputError(
                f"{source}, line {lines[wrong[0]]}: the line ends in {separator!r}, and the header "
                "does not: take it out, or write it at the end of the header too."
            )
        alike, count = int((fields[~blank] == found).sum()), int((~blank).sum())
        is_usual = count >= FEWEST_LINES and 2 * alike > count
        above = "Take out what is above the header, such as a title or comments. "
        raise InputError(
            f"{source}, line {lines[wrong[0]]}: {counted(found, 'field')} came"
            f"{', as in most lines' * is_usual}, and the header has {width}. {above * is_usual}"
            f"Put a field that holds {separator!r} in quotation marks, and write every field, an "
            "empty one too."
        )
    return lines, blank


def check_quotes(piece: TextPiece, separator: str, source: str) -> None:
    """Check that quotation marks enclose whole fields.

    Raises:
        InputError: one is in the middle of a field.
    """
    data = np.frombuffer(piece.content, np.uint8)
    marks = np.flatnonzero(data == _QUOTE)
    opening, closing = marks[::2], marks[1::2]
    around = np.frombuffer(f'{separator}\n\r"'.encode(), np.uint8)
    wrong = [
        opening[(opening > 0) & ~np.isin(data[opening - 1], around)],
        closing[~np.isin(data[closing + 1], around)],
    ]
    if len(stray := np.concatenate(wrong)):
        raise InputError(
            f"{source}, line {piece.line_at(int(stray.min()))}: a quotation mark stands in the "
            "middle of a field. Write it twice, and put the whole field in quotation marks."
        )


def find_outside_quotes(content: bytes, *characters: str) -> list[np.ndarray]:
    """The positions of each character outside quotation marks."""
    data = np.frombuffer(content, np.uint8)
    positions = [np.flatnonzero(data == ord(each)) for each in characters]
    if b'"' not in content:
        return positions
    inside = np.bitwise_xor.accumulate(data == _QUOTE)
    return [each[~inside[each]] for each in positions]


def _find_last_end(content: bytes) -> int:
    """The position after the last whole record; 0 if there is none."""
    if b'"' not in content:
        return content.rfind(b"\n") + 1
    return int(find_outside_quotes(content, "\n")[0].max(initial=-1)) + 1
