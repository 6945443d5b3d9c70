"""Detects tables by content: every line splits into the same number of fields.

Used where the name of a file or its header does not say what is between fields.
"""

import csv
import json
import re
from collections.abc import Sequence

SAMPLE_LINES, FEWEST_LINES = 200, 3
BLANKS = " "  # fields are separated by any number of blanks
_STRONG = "\t;|"  # separators that prose does not have in every line
UNUSUAL_SEPARATORS = ":/~^&!"


def detect_separator(lines: Sequence[str], candidates: str) -> str | None:
    """The first of several separators by which lines are a table; None if they are none.

    A table has at least two columns that are not empty throughout, with as many fields in every
    line. Below the first line a column is numbers throughout, unless prose would hardly have such a
    separator.

    Args:
        lines: the first lines of a text, without blank ones.
        candidates: a character each; a blank stands for any number of blanks and tabs.
    """
    return next((each for each in candidates if _is_table(lines, each)), None)


def _is_table(lines: Sequence[str], separator: str) -> bool:
    if len(lines) < FEWEST_LINES or any(separator not in line.strip() for line in lines):
        return False
    try:
        rows = [split_fields(line, separator) for line in lines]
    except csv.Error:
        return False
    if len({len(row) for row in rows}) > 1:
        return False
    columns = [column for column in zip(*rows, strict=True) if any(column)]
    if len(columns) < 2:
        return False
    has_blanks = any(" " in cell for column in columns for cell in column)
    if has_blanks and separator in UNUSUAL_SEPARATORS:
        return False
    is_strong = separator in _STRONG or (separator == "," and ", " not in "\n".join(lines))
    return is_strong or any(_are_numbers(column[1:]) for column in columns)


def split_fields(line: str, separator: str) -> list[str]:
    """The fields of a line, without blanks around them."""
    if separator == BLANKS:
        return [each.strip('"') for each in re.findall(r'"[^"]*"|\S+', line)]
    return [each.strip() for each in next(csv.reader([line], delimiter=separator))]


def is_number(cell: str) -> bool:
    """Whether a cell is a number as Python writes it."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _are_numbers(cells: Sequence[str]) -> bool:
    filled = [each for each in cells if each]
    return bool(filled) and all(map(is_number, filled))


def describe_table(lines: Sequence[str]) -> tuple[str, str] | None:
    """What a text that was to be read as characters looks like, and the suffix of such files.

    Returns:
        A description, and a suffix; None if it looks like plain text.
    """
    if all(_is_json_object(line) for line in lines[:FEWEST_LINES]):
        return "JSON lines", ".jsonl"
    if lines[0].lstrip().startswith(("[{", '{"')) or (
        lines[0].strip() in ("[", "{") and lines[1:] and lines[1].lstrip()[:1] in ('"', "{", "[")
    ):
        return "JSON", ".json"
    separator = detect_separator(lines, "\t;|," + BLANKS + UNUSUAL_SEPARATORS)
    if separator is not None:
        name = {"\t": "tabs", BLANKS: "blanks"}.get(separator, repr(separator))
        fields = len(split_fields(lines[0], separator))
        return f"a table, {fields} fields in every line separated by {name}", ".csv"
    if len(lines) >= FEWEST_LINES and _are_numbers([line.strip() for line in lines[1:]]):
        return "a table of one column, a number in every line", ".csv"
    return None


def _is_json_object(line: str) -> bool:
    if not line.lstrip().startswith("{"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
