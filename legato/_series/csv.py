"""Reads CSV files as tables: Polars parses, a second pass finds the lines of errors.

CSV as RFC 4180 defines it, separated by ``,`` ``;`` tab or ``|``, whichever is most frequent in the
header; by blanks, if it has none of these and the first lines are a table by blanks; or by what a
first line ``sep=;`` says, as Excel writes it. The file is read once, in pieces of whole records,
whose strings become numbers or times before the next piece is read: memory stays near that of the
parsed columns. (Polars' own batches are marked unstable, and neither they nor its errors name
lines.)

Polars (2.1) refuses too long rows without naming a line, but fills short rows with nulls, keeps
blank lines as rows and accepts quotation marks within fields. So a second pass counts the fields of
each record where Polars refused a piece, where the last column has a null, as every short row and
every blank line has, and where there are quotation marks, which may also enclose newlines. It works
on bytes with NumPy: text is within quotation marks after an odd number of them.

Limits: a record has at most ``PIECE_BYTES``; a column whose strings are numbers in some pieces
only makes the file be read a second time.
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, compress
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from legato._errors import InputError
from legato._platform.wording import counted
from legato._series.parsing import concat_parts, narrow_type
from legato._series.piped_files import DataFile
from legato._series.table_detection import (
    BLANKS,
    SAMPLE_LINES,
    UNUSUAL_SEPARATORS,
    detect_separator,
)
from legato._series.tables import ColumnRequest, Table, check_names, choose_columns, column_limit
from legato._series.text import (
    BLOCK_BYTES,
    check_utf8,
    first_lines,
    read_blocks,
    strip_byte_order_mark,
)

if TYPE_CHECKING:
    import polars

PIECE_BYTES = BLOCK_BYTES
SEPARATORS = "\t;,|"
_SEPARATOR_LINE = rb'[\r\n]*"?sep=([^\w"\r\n\x80-\xff])"?\r?\n'
_QUOTE, _NEWLINE, _RETURN = b'"\n\r'


class TextPiece(NamedTuple):
    """Whole records: their bytes, each record ended by a newline, and the line of the first."""

    content: bytes
    line: int

    def line_at(self, position: int) -> int:
        """The line of a byte."""
        return self.line + self.content.count(b"\n", 0, position)


def read_csv(path: DataFile, request: ColumnRequest) -> Table:
    """Read a CSV file.

    Args:
        path: the file; one that ends in ``.gz`` is unpacked.
        request: the columns that are needed, the others come empty; which stay strings, whatever
            they look like; and which becomes times, if all of it can.

    Returns:
        A table, null where a value is missing, of numbers where all of a column are, else of
        strings; with the line that each row begins on, the header's being 1.

    Raises:
        InputError: it is not UTF-8, has no header or no rows, or a row has more or fewer fields
            than the header.
    """
    import polars

    pieces = _read_pieces(path)
    separator, first = _find_separator(next(pieces, TextPiece(b"", 1)), path.name)
    if separator == BLANKS:
        separator, pieces, first = "\t", map(_separate_by_tabs, pieces), _separate_by_tabs(first)
    header, first = _split_header(first, path.name)
    names = _parse_header(header, separator, path.name)
    strings = {*request.labels, request.group}
    width, chosen = len(names), None
    if width > column_limit():
        wanted = set(choose_columns(names, request, path.name))
        chosen = [at for at, name in enumerate(names) if name in wanted]
        names = [names[at] for at in chosen]
    columns: list[list[polars.Series]] = [[] for _ in names]
    lines: list[np.ndarray] = []
    rows = height = 0  # read so far, and up to the last that is not a blank line
    for piece in chain([first], pieces):
        if not piece.content:
            continue
        frame, row_lines = _parse_piece(piece, separator, width, path.name, chosen)
        if filled := _count_filled(frame):
            height = rows + filled
        rows += frame.height
        lines.append(row_lines)
        for name, series, parts in zip(names, frame, columns, strict=True):
            if name and not request.needs(name):
                empty = polars.Series([None], dtype=polars.Null)
                parts.append(empty.new_from_index(0, len(series)))
            else:
                is_time = name == request.time
                parts.append(series if name in strings else narrow_type(series, is_time))
    if not height:
        raise InputError(f"{path.name} has a header and no rows below it.")
    names, columns, notes = _leave_out_empty(names, columns)
    check_names(names, path.name)
    whole = {name: concat_parts(parts) for name, parts in zip(names, columns, strict=True)}
    if mixed := [name for name, series in whole.items() if series is None]:
        return read_csv(path, replace(request, labels=(*request.labels, *mixed)))
    if height < rows and len(names) > 1:
        notes += (f"{counted(rows - height, 'row')} without any value at the end: left out.",)
    frame = polars.DataFrame(whole).head(height)
    _check_is_header(names, frame, f"{path.name}, line {header.line}")
    return Table(frame, path.name, np.concatenate(lines)[:height], notes=notes)


def _leave_out_empty(
    names: list[str], columns: list[list["polars.Series"]]
) -> tuple[list[str], list[list["polars.Series"]], tuple[str, ...]]:
    """The columns that have a name or a value, and a note on others."""
    kept = [
        bool(name) or any(part.null_count() < len(part) for part in parts)
        for name, parts in zip(names, columns, strict=True)
    ]
    if all(kept):
        return names, columns, ()
    note = f"{counted(kept.count(False), 'column')} without a name or a value: left out."
    return list(compress(names, kept)), list(compress(columns, kept)), (note,)


def _read_pieces(path: DataFile) -> Iterator[TextPiece]:
    """Read a file in pieces of whole records, checked to be UTF-8."""
    rest, line, is_first = b"", 1, True
    for block in read_blocks(path, PIECE_BYTES):
        content = rest + (strip_byte_order_mark(block, path.name) if is_first else block)
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


def _find_separator(piece: TextPiece, source: str) -> tuple[str, TextPiece]:
    """The separator that a first line such as ``sep=;`` names, or that the header has; or blanks.

    Returns:
        The separator; and the piece from the header on, without a ``#`` before it as NumPy writes
        it if fields are separated by blanks.

    Raises:
        InputError: it is an unusual one.
    """
    found = re.match(_SEPARATOR_LINE, piece.content, re.IGNORECASE)
    if found is not None:
        end = found.end()
        return found[1].decode(), TextPiece(piece.content[end:], piece.line_at(end))
    header, _ = _split_header(piece, source)
    counts = [len(each) for each in _find_outside_quotes(header.content, *SEPARATORS)]
    if any(counts):
        return SEPARATORS[int(np.argmax(counts))], piece
    bare = TextPiece(re.sub(rb"\A([\r\n]*)#", rb"\1", piece.content, count=1), piece.line)
    separator = detect_separator(
        first_lines(bare.content, SAMPLE_LINES), BLANKS + UNUSUAL_SEPARATORS
    )
    if separator is None:
        return ",", piece
    if separator != BLANKS:
        raise InputError(
            f"{source} looks like a table separated by {separator!r}, and a comma, semicolon, tab, "
            f"bar or blanks were expected. Write the line sep={separator} above the header."
        )
    return separator, bare


def _separate_by_tabs(piece: TextPiece) -> TextPiece:
    """Records whose fields are separated by blanks, separated by tabs."""
    data = np.frombuffer(piece.content, np.uint8)
    is_blank = np.zeros(len(data), bool)
    is_blank[np.concatenate(_find_outside_quotes(piece.content, "\t", " "))] = True
    at_end = np.isin(data, (_NEWLINE, _RETURN))
    begins = np.concatenate([[True], (is_blank | at_end)[:-1]])
    kept = ~(is_blank & begins)  # of several blanks the first, and none where a line begins
    squeezed, was_blank = np.where(is_blank, ord("\t"), data)[kept], is_blank[kept]
    ends = np.concatenate([np.isin(squeezed[1:], (_NEWLINE, _RETURN)), [False]])
    squeezed = squeezed[~(was_blank & ends)]
    return TextPiece(squeezed.astype(np.uint8).tobytes(), piece.line)


def _find_outside_quotes(content: bytes, *characters: str) -> list[np.ndarray]:
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
    return int(_find_outside_quotes(content, "\n")[0].max(initial=-1)) + 1


def _split_header(piece: TextPiece, source: str) -> tuple[TextPiece, TextPiece]:
    """The first record that is not blank, and what follows it."""
    data = piece.content.lstrip(b"\r\n")
    if not data.strip():
        raise InputError(f"{source} is empty; a header and rows below it were expected.")
    skipped = len(piece.content) - len(data)
    end = skipped + int(_find_outside_quotes(data, "\n")[0][0]) + 1
    header = TextPiece(piece.content[skipped:end], piece.line_at(skipped))
    return header, TextPiece(piece.content[end:], piece.line_at(end))


def _parse_header(header: TextPiece, separator: str, source: str) -> list[str]:
    """The names of the columns."""
    _check_quotes(header, separator, source)
    text = io.StringIO(header.content.decode().rstrip("\r\n"), newline="")
    try:
        names = [name.strip() for name in next(csv.reader(text, delimiter=separator))]
    except csv.Error as error:
        raise InputError(f"{source}, line {header.line}: this is no header ({error}).") from None
    positions = {tuple(map(str, range(first, first + len(names)))) for first in (0, 1)}
    if all(_is_number(name) for name in names) and tuple(names) not in positions:
        raise InputError(
            f"{source}, line {header.line}: the first line holds numbers ({names[0]} first) and "
            "not the names of the columns. Write a line of names above it."
        )
    return names


def _check_is_header(names: list[str], frame: "polars.DataFrame", place: str) -> None:
    """Check that the names of columns are not values: numbers, dates, or labels of their columns.

    Raises:
        InputError: all are, and one is a number.
    """
    import polars

    texts = [name for name in names if not _is_number(name)]
    values = (
        re.match(r"\d{4}-\d{2}-\d{2}", name)
        or (frame[name].dtype == polars.String and (frame[name] == name).any())
        for name in texts
    )
    if 0 < len(texts) < len(names) and all(values):
        raise InputError(
            f"{place}: the first line holds values ({names[0]} first) as the lines below it, and "
            "not the names of the columns. Write a line of names above it."
        )


def _is_number(string: str) -> bool:
    try:
        float(string)
    except ValueError:
        return False
    return True


def _parse_piece(
    piece: TextPiece,
    separator: str,
    width: int,
    source: str,
    chosen: list[int] | None = None,
) -> tuple["polars.DataFrame", np.ndarray]:
    """Parse a piece.

    Args:
        piece: the records.
        separator: what is between fields.
        width: the number of fields that a record must have.
        source: the file's name, for messages.
        chosen: the columns that are parsed; None: all.

    Returns:
        A frame of strings, and the line of each row. Blank lines are left out, but a blank line of
        a table of one column is a row whose value is missing.

    Raises:
        InputError: a record has another number of fields, or a quotation mark within a field.
    """
    import polars

    header = separator.join(map(str, range(width)))  # with one, blank lines below it are rows
    try:
        frame = polars.read_csv(
            header.encode() + b"\n" + piece.content,
            columns=chosen,
            separator=separator,
            infer_schema=False,
        )
    except polars.exceptions.PolarsError as error:
        _check_records(piece, separator, width, source)
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{source}: the rows from line {piece.line} cannot be parsed as CSV ({reason})."
        ) from error
    if chosen is None and b'"' not in piece.content and not frame.to_series(-1).null_count():
        return frame, piece.line + np.arange(frame.height)
    lines, blank = _check_records(piece, separator, width, source)
    if width == 1 or not blank.any():
        return frame, lines
    return frame.filter(~blank), lines[~blank]


def _check_records(
    piece: TextPiece, separator: str, width: int, source: str
) -> tuple[np.ndarray, np.ndarray]:
    """The second look: count the fields of each record.

    Returns:
        The line that each record begins on, and whether it is blank.

    Raises:
        InputError: a record has another number of fields, or a quotation mark within a field.
    """
    _check_quotes(piece, separator, source)
    data = np.frombuffer(piece.content, np.uint8)
    ends, separators = _find_outside_quotes(piece.content, "\n", separator)
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
        raise InputError(
            f"{source}, line {lines[wrong[0]]}: {counted(found, 'field')} came, and the header has "
            f"{width}. Put a field that holds {separator!r} in quotation marks, and write every "
            "field, an empty one too."
        )
    return lines, blank


def _check_quotes(piece: TextPiece, separator: str, source: str) -> None:
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


def _count_filled(frame: "polars.DataFrame") -> int:
    """The rows up to the last one that has a value."""
    import polars

    if frame.height and any(each is not None for each in frame.row(-1)):
        return frame.height
    filled = frame.select(polars.any_horizontal(polars.all().is_not_null())).to_series().arg_true()
    return int(filled[-1]) + 1 if len(filled) else 0
