"""Detects tables by content: every line splits into the same number of fields.

Used where the name of a file or its header does not say what is between fields.
"""

import csv
import json
import re
from collections.abc import Sequence
from itertools import groupby
from typing import Any

SAMPLE_LINES, FEWEST_LINES = 200, 3
BLANKS = " "  # fields are separated by any number of blanks
_STRONG = "\t;|"  # separators that prose does not have in every line
UNUSUAL_SEPARATORS = ":/~^&!#@*%=\x01\x1c\x1e\x1f¦§"
_RULE = r"[-+|=:\s]+"  # a line that is drawn in a table


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


def find_rows(lines: Sequence[str], candidates: str) -> tuple[str, int] | None:
    """The separator and the number of fields of rows that most lines are; None if they are none.

    Other lines may be above and below them: a title, comments, sums. At least one column is numbers
    in most lines.

    Args:
        lines: the first lines of a text, without blank ones.
        candidates: the separators, a character each.
    """
    lines = [line for line in lines if not re.fullmatch(_RULE, line)]
    for separator in candidates:
        try:
            rows = [split_fields(line, separator) for line in lines]
        except csv.Error:
            continue
        runs = [list(run) for _, run in groupby(rows, len)]
        longest = max(runs, key=len, default=[])
        if len(longest) < max(FEWEST_LINES, len(lines) / 2) or len(longest[0]) < 2:
            continue
        numbers = max(map(_count_numbers, zip(*longest, strict=True)))
        if numbers >= max(FEWEST_LINES - 1, len(lines) / 2 - 1):
            return separator, len(longest[0])
    return None


def _count_numbers(cells: Sequence[str]) -> int:
    """The most cells one after another that are numbers."""
    stretches = [list(each) for kind, each in groupby(cells, is_number) if kind]
    return max(map(len, stretches), default=0)


def name_separator(separator: str) -> str:
    """A separator in messages."""
    return {"\t": "tabs", BLANKS: "blanks"}.get(separator, repr(separator))


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
    if json_suffix := _find_json(lines):
        return {".json": "JSON", ".jsonl": "JSON lines"}[json_suffix], json_suffix
    separator = detect_separator(lines, "\t;|," + BLANKS + UNUSUAL_SEPARATORS)
    if separator is not None:
        fields = len(split_fields(lines[0], separator))
        name = name_separator(separator)
        return f"a table, {fields} fields in every line separated by {name}", ".csv"
    if len(lines) >= FEWEST_LINES and _are_numbers([line.strip() for line in lines[1:]]):
        return "a table of one column, a number in every line", ".csv"
    if (rows := find_rows(lines, "\t;|," + BLANKS)) is not None:
        separator, fields = rows
        name = name_separator(separator)
        return f"a table, {fields} fields in most lines separated by {name}", ".csv"
    return None


def _find_json(lines: Sequence[str]) -> str | None:
    """The suffix of JSON that lines look like; None if they do not."""
    values = [_parse_json(line) for line in lines[:FEWEST_LINES]]
    if all(isinstance(each, dict) for each in values):
        is_columns = len(lines) == 1 and any(
            isinstance(each, (dict, list)) for each in values[0].values()
        )
        return ".json" if is_columns else ".jsonl"
    if all(isinstance(each, list) and each for each in values):
        return ".json" if len(lines) == 1 else ".jsonl"
    first = lines[0].lstrip()
    if first.startswith(("[{", '{"', "[[")):
        return ".json"
    if first.strip() in ("[", "{") and lines[1:]:
        return ".json" if re.match(r'["{\[]|-?\d[\d.eE+-]*,?$', lines[1].strip()) else None
    return ".json" if re.match(r"\[(?:-?\d[\d.eE+-]*, ?){3}", first) else None


def _parse_json(line: str) -> Any:
    """The value of a line of JSON; None if it is none."""
    if not line.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
