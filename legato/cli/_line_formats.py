"""Line formats of ``legato stream``: JSON lines or CSV in, answers in the same format out.

Reads whatever lines have arrived as one batch; waits only if there are none. A line that cannot be
parsed becomes a ``ParsedLine`` with an error: the caller stops, or continues under
``--keep-going``.
"""

import csv
import io
import json
import select
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from legato._errors import InputError

BATCH_LINES = 1024  # most lines of a batch
BLOCK_BYTES, LINE_BYTES = 2**16, 2**24  # bytes per read; longest line accepted
SEPARATORS = ",;\t|"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # of UTF-8
_UNCLOSED = "unexpected end of data"  # the csv module's message for an unclosed quotation mark


class ParsedLine(NamedTuple):
    """A line, parsed.

    Attributes:
        number: of the line, counted from 1.
        row: a JSON value, or the fields of a CSV record by column.
        error: why it could not be parsed; "" if it was.
    """

    number: int
    row: Any
    error: str = ""


def read_line_batches(source) -> Iterator[list[tuple[int, bytes]]]:
    """Read lines in batches of those that have arrived, each line with its number.

    Args:
        source: a buffered binary stream.

    Raises:
        InputError: a line is longer than ``LINE_BYTES``, or the text is UTF-16.
    """
    number, rest = 1, b""
    while block := source.read1(BLOCK_BYTES):
        if number == 1 and not rest and block.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise InputError("Standard input is UTF-16 text, and UTF-8 was expected.")
        *lines, rest = (rest + block).split(b"\n")
        if number == 1 and lines:
            lines[0] = lines[0].removeprefix(_BYTE_ORDER_MARK)
        for begin in range(0, len(lines), BATCH_LINES):
            part = lines[begin : begin + BATCH_LINES]
            yield list(enumerate(part, number))
            number += len(part)
        if len(rest) > LINE_BYTES:
            raise InputError(
                f"Line {number} has no end within {LINE_BYTES:,} bytes: a line for each step was "
                "expected."
            )
    if rest:
        yield [(number, rest.removeprefix(_BYTE_ORDER_MARK) if number == 1 else rest)]


def has_input(source) -> bool:
    """Whether more has arrived, or the end, so that reading returns at once.

    Args:
        source: as for ``read_line_batches``. False where the system does not tell, as of a pipe in
            Windows.
    """
    try:
        descriptor = source.fileno()
    except io.UnsupportedOperation:  # in memory
        return True
    try:
        return bool(select.select([descriptor], [], [], 0)[0])
    except (OSError, ValueError):
        return False


def detect_format(first: bytes) -> "JsonLines | CsvLines":
    """The format of lines, given the first that is not blank."""
    return JsonLines() if first.strip()[0] in b"{[-0123456789" else CsvLines()


def _decode(content: bytes) -> str:
    """A line as text, without a carriage return at its end.

    Raises:
        InputError: it is not UTF-8.
    """
    try:
        return content.removesuffix(b"\r").decode()
    except UnicodeDecodeError as error:
        raise InputError(
            f"the byte 0x{content[error.start]:02x} is not UTF-8 text; send UTF-8."
        ) from None


class JsonLines:
    """A JSON value on each line."""

    def parse(self, lines: Sequence[tuple[int, bytes]]) -> list[ParsedLine]:
        """Parse lines; blank ones are skipped."""
        return [self._parse_line(*line) for line in lines if line[1].strip()]

    def finish(self) -> list[ParsedLine]:
        """The lines left when the input ends: none, as each value ends with its line."""
        return []

    @staticmethod
    def _parse_line(number: int, content: bytes) -> ParsedLine:
        try:
            return ParsedLine(number, json.loads(_decode(content)))
        except InputError as error:
            return ParsedLine(number, None, str(error))
        except (ValueError, RecursionError) as error:
            return ParsedLine(
                number,
                None,
                f"this is not JSON ({str(error).partition(':')[0]}). Each line is a value by "
                "itself, such as [0.1, 0.2]; a CSV begins with a line of names.",
            )

    def format_answer(self, answer: dict[str, Any]) -> str:
        """An answer as a line."""
        return json.dumps(answer, ensure_ascii=False, allow_nan=False) + "\n"

    def format_error(self, key: dict[str, Any], error: str) -> str:
        """The output line for an input line that could not be parsed."""
        return self.format_answer({"error": error})


class CsvLines:
    """CSV records below a header.

    Attributes:
        names: of the columns; empty until the header was parsed.
        output_columns: of the answers, for the caller to set.
    """

    def __init__(self):
        self.names: list[str] = []
        self.output_columns: list[str] = []
        self._separator = ","
        self._open: list[str] = []  # lines of a record that continues (quoted newline)
        self._begun = 0  # line number where it began

    def parse(self, lines: Sequence[tuple[int, bytes]]) -> list[ParsedLine]:
        """Parse lines; the first that is not blank is the header, and gives no record.

        Raises:
            InputError: the header is not valid.
        """
        records = [self._parse_line(*line) for line in lines]
        return [each for each in records if each is not None]

    def finish(self) -> list[ParsedLine]:
        """The record that has not ended when the input ends, if there is one, with an error.

        Raises:
            InputError: it is the header.
        """
        error = "a quotation mark in the record that begins here is never closed."
        return [self._error(error)] if self._open else []

    def _parse_line(self, number: int, content: bytes) -> ParsedLine | None:
        if not (content.strip(b" \r") or self._open or len(self.names) == 1):
            return None  # in a one-column file a blank line is an empty field
        self._begun = self._begun if self._open else number
        try:
            self._open.append(_decode(content))
            if not self.names:
                self._separator = self._separator_in("\n".join(self._open))
            fields = self._fields()
        except InputError as error:
            return self._error(str(error))
        if fields is None:
            return None
        self._open = []
        if self.names:
            return self._record(self._begun, fields)
        self.names = [name.strip() for name in fields]
        _check_names(self.names, self._begun)
        return None

    def _error(self, error: str) -> ParsedLine:
        self._open = []
        if not self.names:
            raise InputError(f"Line {self._begun}: {error}")
        return ParsedLine(self._begun, None, error)

    @staticmethod
    def _separator_in(text: str) -> str:
        outside = "".join(text.split('"')[::2])  # of quotation marks
        return max(SEPARATORS, key=outside.count)

    def _fields(self) -> list[str] | None:
        """The fields of the lines that are open; None if the record has not ended.

        Raises:
            InputError: they are no CSV record.
        """
        text = "\n".join(self._open)
        if not text:
            return [""]
        try:
            return next(csv.reader([text], delimiter=self._separator, strict=True))
        except csv.Error as error:
            if str(error) == _UNCLOSED:
                return None
            raise InputError(
                f"this is no record of CSV ({error}). Write a quotation mark inside a field twice, "
                "and put the whole field in quotation marks."
            ) from None

    def _record(self, number: int, fields: list[str]) -> ParsedLine:
        if len(fields) == len(self.names):
            return ParsedLine(number, dict(zip(self.names, fields, strict=True)))
        error = (
            f"{len(fields)} field{'s' * (len(fields) != 1)} came, and the header has "
            f"{len(self.names)}. Put a field that holds {self._separator!r} in quotation marks, "
            "and write every field, an empty one too."
        )
        return ParsedLine(number, None, error)

    def format_header(self) -> str:
        """The header above the answers."""
        return self._line(self.output_columns)

    def format_answer(self, answer: dict[str, Any]) -> str:
        """An answer as a line."""
        return self._line(_flatten(list(answer.values())))

    def format_error(self, key: dict[str, Any], error: str) -> str:
        """The output line for an input line that could not be parsed: its key, and empty fields."""
        return self._line([key.get(name) for name in self.output_columns])

    def _line(self, fields: list) -> str:
        line = io.StringIO()
        csv.writer(line, delimiter=self._separator, lineterminator="\n").writerow(fields)
        return line.getvalue()


def _check_names(names: list[str], number: int) -> None:
    """Check that the names in a header are not empty and differ.

    Raises:
        InputError: they do not.
    """
    twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
    if "" in names or twice is not None:
        wrong = "one is empty" if twice is None else f"{twice!r} comes twice"
        raise InputError(
            f"Line {number} begins a CSV with the names of its columns, and {wrong}. Give each a "
            "name of its own."
        )


def _flatten(value: Any) -> list:
    """The elements of nested lists, in order."""
    if not isinstance(value, list):
        return [value]
    return [field for each in value for field in _flatten(each)]
