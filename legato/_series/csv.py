"""Reads CSV files as tables: Polars parses, a second pass finds the lines of errors.

CSV as RFC 4180 defines it, separated by ``,`` ``;`` tab or ``|``, whichever is most frequent in the
header; by blanks, if it has none of these and the first lines are a table by blanks; or by what a
first line ``sep=;`` says, as Excel writes it. The file is read once, in pieces of whole records,
whose strings become numbers or times before the next piece is read: memory stays near that of the
parsed columns. (Polars' own batches are marked unstable, and neither they nor its errors name
lines.)

Polars (2.1) refuses too long rows without naming a line, but fills short rows with nulls, keeps
blank lines as rows and accepts quotation marks within fields. So a second pass (``csv_records``)
counts the fields of each record where Polars refused a piece, where the last column has a null, as
every short row and every blank line has, and where there are quotation marks, which may also
enclose newlines.

Limit: a column whose strings are numbers in some pieces only makes the file be read a second time.
"""

import csv
import io
import re
from dataclasses import replace
from itertools import chain, compress
from typing import TYPE_CHECKING

import numpy as np

from legato._errors import InputError
from legato._platform.wording import counted
from legato._series.column_types import concat_parts, narrow_type
from legato._series.csv_records import (
    TextPiece,
    check_quotes,
    check_records,
    find_outside_quotes,
    read_pieces,
    separate_by_tabs,
    split_header,
)
from legato._series.missing_values import mark_missing
from legato._series.piped_files import DataFile
from legato._series.table_detection import (
    BLANKS,
    SAMPLE_LINES,
    UNUSUAL_SEPARATORS,
    detect_separator,
    find_rows,
    is_number,
    name_separator,
)
from legato._series.tables import ColumnRequest, Table, check_names, choose_columns, column_limit
from legato._series.text import first_lines

if TYPE_CHECKING:
    import polars

_TIME_SAMPLE = 1_000  # texts that show how times are written
SEPARATORS = "\t;,|"
_MARKUP = rb"\s*<(?:!doctype|html|\?xml|table)\b"
_SEPARATOR_LINE = rb'[\r\n]*"?sep=([^\w"\r\n\x80-\xff])"?\r?\n'


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

    pieces = read_pieces(path)
    separator, first = _find_separator(next(pieces, TextPiece(b"", 1)), path.name)
    if separator == BLANKS:
        separator, pieces, first = "\t", map(separate_by_tabs, pieces), separate_by_tabs(first)
    header, rest = split_header(first, path.name)
    names = _number_steps(header, separator) if request.wide else []
    names, first = (names, first) if names else (_parse_header(header, separator, path.name), rest)
    strings = {*request.labels, request.group}
    width, chosen = len(names), None
    if width > column_limit():
        wanted = set(choose_columns(names, request, path.name))
        chosen = [at for at, name in enumerate(names) if name in wanted]
        names = [names[at] for at in chosen]
    columns: list[list[polars.Series]] = [[] for _ in names]
    lines: list[np.ndarray] = []
    time_texts = None
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
                if is_time and time_texts is None:
                    time_texts = mark_missing(series.head(_TIME_SAMPLE))
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
    row_lines = np.concatenate(lines)[:height]
    _check_is_header(names, frame, f"{path.name}, line {header.line}", row_lines)
    return Table(frame, path.name, row_lines, notes=notes, time_texts=time_texts)


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
        separator, rest = found[1].decode(), TextPiece(piece.content[end:], piece.line_at(end))
        other = detect_separator(first_lines(rest.content, SAMPLE_LINES), SEPARATORS)
        if other is not None and not find_outside_quotes(rest.content, separator)[0].size:
            raise InputError(
                f"{source} has the line sep={separator}, and looks like a table separated by "
                f"{name_separator(other)}: take the line out."
            )
        return separator, rest
    header, _ = split_header(piece, source)
    counts = [len(each) for each in find_outside_quotes(header.content, *SEPARATORS)]
    if any(counts):
        return SEPARATORS[int(np.argmax(counts))], piece
    if re.match(_MARKUP, header.content, re.IGNORECASE):
        raise InputError(f"{source} is HTML or XML by its first line: save its table as CSV.")
    bare = TextPiece(re.sub(rb"\A([\r\n]*)#", rb"\1", piece.content, count=1), piece.line)
    lines = first_lines(bare.content, SAMPLE_LINES)
    separator = detect_separator(lines, BLANKS + UNUSUAL_SEPARATORS)
    if separator is None:
        if (rows := find_rows(lines, SEPARATORS)) is not None:
            raise InputError(
                f"{source}, line {header.line}: the first line has 1 field, and most lines have "
                f"{rows[1]}, separated by {name_separator(rows[0])}. Take out what is above the "
                "line of the columns' names, such as a title or comments, and lines between rows."
            )
        return ",", piece
    if separator != BLANKS:
        is_written = separator.isascii() and separator.isprintable()
        remedy = f"Write the line sep={separator} above the header."
        raise InputError(
            f"{source} looks like a table separated by {separator!r}, and a comma, semicolon, tab, "
            f"bar or blanks were expected. {remedy if is_written else 'Write tabs in its place.'}"
        )
    return separator, bare


def _number_steps(header: TextPiece, separator: str) -> list[str]:
    """Names of the columns of a wide table whose first line holds values; none if it has names."""
    cells = header.content.decode().rstrip("\r\n").split(separator)[1:]
    named = {tuple(map(str, range(first, first + len(cells)))) for first in (0, 1)}
    if not all(not cell.strip() or is_number(cell) for cell in cells) or tuple(cells) in named:
        return []
    return [str(at) for at in range(len(cells) + 1)]


def _parse_header(header: TextPiece, separator: str, source: str) -> list[str]:
    """The names of the columns."""
    check_quotes(header, separator, source)
    text = io.StringIO(header.content.decode().rstrip("\r\n"), newline="")
    try:
        names = [name.strip() for name in next(csv.reader(text, delimiter=separator))]
    except csv.Error as error:
        raise InputError(f"{source}, line {header.line}: this is no header ({error}).") from None
    positions = {tuple(map(str, range(first, first + len(names)))) for first in (0, 1)}
    numbers = [name for name in names if is_number(name)]
    are_numbers = len(numbers) == len(names) and tuple(names) not in positions
    if are_numbers or len(set(numbers)) < len(numbers):
        raise InputError(
            f"{source}, line {header.line}: the first line holds numbers ({numbers[0]} first) and "
            "not the names of the columns. Write a line of names above it; if each row is a "
            "sequence, its label first, say so with wide=True."
        )
    return names


def _check_is_header(
    names: list[str], frame: "polars.DataFrame", place: str, lines: np.ndarray
) -> None:
    """Check that the names of columns are not values: numbers, dates, or labels of their columns.

    Raises:
        InputError: all are, and one is a number or there are several; or they come again as a row.
    """
    import polars

    texts = [name for name in names if not is_number(name)]
    if len(names) < 2 or not texts:
        return
    same = {
        name: (frame[name] == name).alias(name)
        for name in texts
        if frame[name].dtype == polars.String
    }
    has_number = len(texts) < len(names)
    if len(same) == len(names):
        again = polars.DataFrame(list(same.values())).select(polars.all_horizontal(polars.all()))
        rows = again.to_series().fill_null(False)
        if rows.any():
            raise InputError(
                f"{place}: the first line comes again in line {lines[rows.arg_max()]}. If it holds "
                "the names of the columns, take it out there; else write a line of names above it."
            )
    if all(
        (has_number and re.match(r"\d{4}-\d{2}-\d{2}", name)) or (name in same and same[name].any())
        for name in texts
    ):
        raise InputError(
            f"{place}: the first line holds values ({names[0]} first) as the lines below it, and "
            "not the names of the columns. Write a line of names above it."
        )


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
        check_records(piece, separator, width, source)
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{source}: the rows from line {piece.line} cannot be parsed as CSV ({reason})."
        ) from error
    if chosen is None and b'"' not in piece.content and not frame.to_series(-1).null_count():
        return frame, piece.line + np.arange(frame.height)
    lines, blank = check_records(piece, separator, width, source)
    if width == 1 or not blank.any():
        return frame, lines
    return frame.filter(~blank), lines[~blank]


def _count_filled(frame: "polars.DataFrame") -> int:
    """The rows up to the last one that has a value."""
    import polars

    if frame.height and any(each is not None for each in frame.row(-1)):
        return frame.height
    filled = frame.select(polars.any_horizontal(polars.all().is_not_null())).to_series().arg_true()
    return int(filled[-1]) + 1 if len(filled) else 0
