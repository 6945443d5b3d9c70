"""Text and tables for the terminal: numbers are never cut, and data is never read as markup.

If a table is too wide, its headings fold first, and then it is split into blocks of columns below
each other. Output to a pipe is not wrapped.
"""

import math
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from legato._platform.output_streams import OutputStream, make_printable

PIPE_WIDTH = 100_000
GAP, HEADING_WIDTH = 2, 10  # spaces between columns; width of a folded heading


class TextColumn(NamedTuple):
    """A column of a table: its heading, its cells, and whether they are numbers."""

    heading: str
    cells: list[str]
    numbers: bool = True


class _Console(Console):
    """rich's console, which leaves the end of a pipe to its caller."""

    def on_broken_pipe(self) -> None:
        raise  # noqa: PLE0704  called where the BrokenPipeError is handled


def make_console() -> Console:
    """Standard output: in the width of the terminal, or without wrapping into a pipe."""
    stdout: Any = OutputStream(sys.stdout, required=True)
    console = _Console(file=stdout, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPE_WIDTH
    return console


def shorten(text: str, most: int) -> str:
    """Text of at most ``most`` columns, with its middle left out if it is longer."""
    if cell_len(text) <= most:
        return text
    return f"{text[: most // 2 - 1]}…{text[-most // 2 + 1 :]}"


def print_fields(lines: Iterable[tuple[str, str]], console: Console) -> None:
    """Print names with their text beside them, wrapped to the console."""
    lines = list(lines)
    width = max(len(name) for name, _ in lines) + GAP
    for name, text in lines:
        beside = Text(make_printable(text)).wrap(console, max(console.width - width, 20))
        for at, line in enumerate(beside):
            line.rstrip()
            begun = f"{'' if at else name:<{width}}"
            console.print(Text.assemble((begun, "bold"), line), soft_wrap=True)


def print_columns(columns: Sequence[TextColumn], console: Console, keys: int = 1) -> None:
    """Print a table, in blocks if it is too wide; each has the first ``keys`` columns."""
    widths = [_full_width(column) for column in columns]
    if _total_width(widths) > console.width:
        widths = [_least_width(each, console.width // (keys + 1)) for each in columns]
    begin = keys
    while begin == keys or begin < len(columns):
        end = begin + 1
        while (
            end < len(columns)
            and _total_width(widths[:keys] + widths[begin : end + 1]) <= console.width
        ):
            end += 1
        chosen = [*range(keys), *range(begin, min(end, len(columns)))]
        if begin > keys:
            console.print()
        console.print(_table_block([columns[at] for at in chosen], [widths[at] for at in chosen]))
        begin = end


def _table_block(columns: list[TextColumn], widths: list[int]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    for column, width in zip(columns, widths, strict=True):
        side = "right" if column.numbers else "left"
        heading = Text(make_printable(column.heading))
        table.add_column(heading, justify=side, vertical="bottom", overflow="fold", width=width)
    for row in zip(*(column.cells for column in columns), strict=True):
        cells = zip(map(make_printable, row), widths, strict=True)
        table.add_row(*(Text(shorten(cell, 2 * width)) for cell, width in cells))
    return table


def _total_width(widths: list[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _full_width(column: TextColumn) -> int:
    """The width of a column that is not folded."""
    return max(cell_len(make_printable(each)) for each in (column.heading, *column.cells))


def _least_width(column: TextColumn, most: int) -> int:
    """The width of a column whose heading is folded; cells of text fold at ``most``."""
    cells = max((cell_len(make_printable(each)) for each in column.cells), default=1)
    heading = min(cell_len(make_printable(column.heading)), HEADING_WIDTH)
    return max(cells, heading) if column.numbers else min(_full_width(column), max(most, heading))


def align_numbers(values: Sequence[float | None], digits: int) -> list[str]:
    """Format numbers with aligned decimal points; None is empty.

    Args:
        values: of one column.
        digits: significant digits of the largest; if a small one would then be lost, each number
            has so many significant digits of its own.
    """
    sizes = [abs(each) for each in values if each and math.isfinite(each)]
    places = digits - 1 - math.floor(math.log10(max(sizes))) if sizes else 0
    if 0 <= places <= 9 and min(sizes, default=1) >= 10 ** (1 - places):
        form = f",.{places}f"
    else:
        form = f",.{digits}g"
    return ["" if each is None else format(each, form) for each in values]
