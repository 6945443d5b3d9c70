"""What a terminal is shown: names as they are, numbers whole, in as many blocks as it is narrow.

Nothing that comes from data is read as markup. Where a table is too wide, headings fold first, then
columns go below each other; into a pipe goes every line in one piece.
"""

import math
import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPE_WIDTH = 100_000
GAP, HEADING_WIDTH = 2, 10  # between columns; of a heading that folds


class TextColumn(NamedTuple):
    """A column of a table: its heading, its cells, and whether they are numbers."""

    heading: str
    cells: list[str]
    numbers: bool = True


def screen() -> Console:
    """The terminal, in its width, or whatever stands for it, which has any."""
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPE_WIDTH
    return console


def plain(text: str) -> str:
    """Text on one line: what cannot be printed is written as Python does."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def shortened(words: str, most: int) -> str:
    """Words without their middle, where they are too long."""
    if cell_len(words) <= most:
        return words
    return f"{words[: most // 2 - 1]}…{words[-most // 2 + 1 :]}"


def print_lines(lines: Iterable[tuple[str, str]], console: Console) -> None:
    """Names, and beside each what is said of it."""
    lines = list(lines)
    width = max(len(name) for name, _ in lines) + GAP
    for name, text in lines:
        beside = Text(plain(text)).wrap(console, max(console.width - width, 20))
        for at, line in enumerate(beside):
            line.rstrip()
            begun = f"{'' if at else name:<{width}}"
            console.print(Text.assemble((begun, "bold"), line), soft_wrap=True)


def print_columns(columns: Sequence[TextColumn], console: Console, keys: int = 1) -> None:
    """A table, in blocks below each other where it is too wide; the first ``keys`` are in each."""
    widths = [_width(column) for column in columns]
    if _sum(widths) > console.width:
        widths = [_least_width(each, console.width // (keys + 1)) for each in columns]
    begin = keys
    while begin == keys or begin < len(columns):
        end = begin + 1
        while end < len(columns) and _sum(widths[:keys] + widths[begin : end + 1]) <= console.width:
            end += 1
        chosen = [*range(keys), *range(begin, min(end, len(columns)))]
        if begin > keys:
            console.print()
        console.print(_block([columns[at] for at in chosen], [widths[at] for at in chosen]))
        begin = end


def _block(columns: list[TextColumn], widths: list[int]) -> Table:
    made = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    for column, width in zip(columns, widths, strict=True):
        side = "right" if column.numbers else "left"
        heading = Text(plain(column.heading))
        made.add_column(heading, justify=side, vertical="bottom", overflow="fold", width=width)
    for row in zip(*(column.cells for column in columns), strict=True):
        cells = zip(map(plain, row), widths, strict=True)
        made.add_row(*(Text(shortened(cell, 2 * width)) for cell, width in cells))
    return made


def _sum(widths: list[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _width(column: TextColumn) -> int:
    """Of a column that has room."""
    return max(cell_len(plain(each)) for each in (column.heading, *column.cells))


def _least_width(column: TextColumn, words: int) -> int:
    """Of a column whose heading folds, and its cells too, at so much, if they are words."""
    cells = max((cell_len(plain(each)) for each in column.cells), default=1)
    heading = min(cell_len(plain(column.heading)), HEADING_WIDTH)
    return max(cells, heading) if column.numbers else min(_width(column), max(words, heading))


def aligned(values: Sequence[float | None], digits: int) -> list[str]:
    """Numbers with their points below each other; nothing for None.

    Args:
        values: of one column.
        digits: of the largest one that are shown; where they would hide a small one, each has so
            many of its own.
    """
    sizes = [abs(each) for each in values if each and math.isfinite(each)]
    places = digits - 1 - math.floor(math.log10(max(sizes))) if sizes else 0
    if 0 <= places <= 9 and min(sizes, default=1) >= 10 ** (1 - places):
        form = f",.{places}f"
    else:
        form = f",.{digits}g"
    return ["" if each is None else format(each, form) for each in values]
