"""Lines on a pipe, as they come: JSON or CSV in, answers in the same form out.

What is at hand is taken together, and nothing is waited for beyond one line. A line that cannot be
read is a row with a fault, so that whoever asked decides what becomes of it.
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from legato._errors import InputError

TOGETHER = 1024  # lines that are answered at once, at most
BLOCK_BYTES, LINE_BYTES = 2**16, 2**24  # read at once; of a line, at most
SEPARATORS = ",;\t|"
_MARK = b"\xef\xbb\xbf"  # of UTF-8
_UNCLOSED = "unexpected end of data"  # what csv says of a quotation mark that is not closed


class Line(NamedTuple):
    """What a line says.

    Attributes:
        number: of the line, counted from 1.
        row: a JSON value, or the words of a CSV record by column.
        fault: what is wrong with it; "" if nothing.
    """

    number: int
    row: Any
    fault: str = ""


def batches(source) -> Iterator[list[tuple[int, bytes]]]:
    """Lines with their numbers, those that are there together.

    Args:
        source: a buffered binary stream.

    Raises:
        InputError: a line that is no line, or text that is not UTF-8 from its beginning.
    """
    number, rest = 1, b""
    while block := source.read1(BLOCK_BYTES):
        if number == 1 and not rest and block.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise InputError("Standard input is UTF-16 text, and UTF-8 was expected.")
        *lines, rest = (rest + block).split(b"\n")
        if number == 1 and lines:
            lines[0] = lines[0].removeprefix(_MARK)
        for begin in range(0, len(lines), TOGETHER):
            part = lines[begin : begin + TOGETHER]
            yield list(enumerate(part, number))
            number += len(part)
        if len(rest) > LINE_BYTES:
            raise InputError(
                f"Line {number} has no end within {LINE_BYTES:,} bytes: a line for each step was "
                "expected."
            )
    if rest:
        yield [(number, rest.removeprefix(_MARK) if number == 1 else rest)]


def form_of(first: bytes) -> "Json | Csv":
    """The form of lines of which this is the first that is not blank."""
    return Json() if first.strip()[0] in b"{[-0123456789" else Csv()


def _text(content: bytes) -> str:
    """A line without its end.

    Raises:
        InputError: it is not UTF-8.
    """
    try:
        return content.removesuffix(b"\r").decode()
    except UnicodeDecodeError as error:
        raise InputError(
            f"the byte 0x{content[error.start]:02x} is not UTF-8 text; send UTF-8."
        ) from None


class Json:
    """A JSON value on each line."""

    def read(self, lines: Sequence[tuple[int, bytes]]) -> list[Line]:
        """What some lines say; blank ones say nothing."""
        return [self._read(*line) for line in lines if line[1].strip()]

    def rest(self) -> list[Line]:
        """What is left when no more lines come: nothing."""
        return []

    @staticmethod
    def _read(number: int, content: bytes) -> Line:
        try:
            return Line(number, json.loads(_text(content)))
        except InputError as error:
            return Line(number, None, str(error))
        except (ValueError, RecursionError) as error:
            return Line(
                number,
                None,
                f"this is not JSON ({str(error).partition(':')[0]}). Each line is a value by "
                "itself, such as [0.1, 0.2]; a CSV begins with a line of names.",
            )

    def write(self, answer: dict[str, Any]) -> str:
        """A line that says an answer."""
        return json.dumps(answer, ensure_ascii=False, allow_nan=False) + "\n"

    def write_fault(self, key: dict[str, Any], fault: str) -> str:
        """A line in the place of an answer."""
        return self.write({"error": fault})


class Csv:
    """Fields between separators, below a line of names.

    Attributes:
        names: of the columns, once they are known.
        answered: the columns that are written, once they are known.
    """

    def __init__(self):
        self.names: list[str] = []
        self.answered: list[str] = []
        self._separator = ","
        self._open: list[str] = []  # lines of a record that has not ended
        self._begun = 0  # the number of its first

    def read(self, lines: Sequence[tuple[int, bytes]]) -> list[Line]:
        """What some lines say; the first that is not blank is one of names, and says nothing.

        Raises:
            InputError: that one is not.
        """
        found = [self._read(*line) for line in lines]
        return [each for each in found if each is not None]

    def rest(self) -> list[Line]:
        """A record that has no end, if there is one.

        Raises:
            InputError: it is the one of names.
        """
        fault = "a quotation mark in the record that begins here is never closed."
        return [self._failed(fault)] if self._open else []

    def _read(self, number: int, content: bytes) -> Line | None:
        if not (content.strip(b" \r") or self._open or len(self.names) == 1):
            return None  # a blank line; below one name it would be a field
        self._begun = self._begun if self._open else number
        try:
            self._open.append(_text(content))
            if not self.names:
                self._separator = self._separator_in("\n".join(self._open))
            fields = self._fields()
        except InputError as error:
            return self._failed(str(error))
        if fields is None:
            return None
        self._open = []
        if self.names:
            return self._row(self._begun, fields)
        self.names = [name.strip() for name in fields]
        _check_names(self.names, self._begun)
        return None

    def _failed(self, fault: str) -> Line:
        self._open = []
        if not self.names:
            raise InputError(f"Line {self._begun}: {fault}")
        return Line(self._begun, None, fault)

    @staticmethod
    def _separator_in(text: str) -> str:
        outside = "".join(text.split('"')[::2])  # of quotation marks
        return max(SEPARATORS, key=outside.count)

    def _fields(self) -> list[str] | None:
        """Those of the record at hand; None if it has not ended.

        Raises:
            InputError: it is none.
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

    def _row(self, number: int, fields: list[str]) -> Line:
        if len(fields) == len(self.names):
            return Line(number, dict(zip(self.names, fields, strict=True)))
        fault = (
            f"{len(fields)} field{'s' * (len(fields) != 1)} came, and the header has "
            f"{len(self.names)}. Put a field that holds {self._separator!r} in quotation marks, "
            "and write every field, an empty one too."
        )
        return Line(number, None, fault)

    def header(self) -> str:
        """The line of names above the answers."""
        return self._line(self.answered)

    def write(self, answer: dict[str, Any]) -> str:
        """A line that says an answer."""
        return self._line(_flat(list(answer.values())))

    def write_fault(self, key: dict[str, Any], fault: str) -> str:
        """A line in the place of an answer: the key alone."""
        return self._line([key.get(name) for name in self.answered])

    def _line(self, fields: list) -> str:
        line = io.StringIO()
        csv.writer(line, delimiter=self._separator, lineterminator="\n").writerow(fields)
        return line.getvalue()


def _check_names(names: list[str], number: int) -> None:
    """See that every column has a name of its own.

    Raises:
        InputError: one has not.
    """
    twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
    if "" in names or twice is not None:
        wrong = "one is empty" if twice is None else f"{twice!r} comes twice"
        raise InputError(
            f"Line {number} begins a CSV with the names of its columns, and {wrong}. Give each a "
            "name of its own."
        )


def _flat(value: Any) -> list:
    """What stands in nested lists, one after the other."""
    if not isinstance(value, list):
        return [value]
    return [field for each in value for field in _flat(each)]
