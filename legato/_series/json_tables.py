"""Reads JSON as tables: an object on each line, a list of objects, or an object of lists.

The whole file is held in memory as Python objects, which takes several times its size.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from legato._errors import InputError
from legato._platform.input_files import limit_message, unpacked_limit
from legato._platform.wording import counted
from legato._series.piped_files import DataFile
from legato._series.table_detection import is_number
from legato._series.tables import (
    ColumnRequest,
    Table,
    build_array_table,
    build_frame,
    check_names,
    choose_columns,
)
from legato._series.text import read_whole

_VALUE_BYTES = 8  # of a value in a list, at least
_EXPECTED = 'a list of objects, [{"t": 1, "x": 2.5}, …], or an object of lists was expected'


def read_json_lines(path: DataFile, request: ColumnRequest) -> Table:
    """Read a file of JSON lines, an object on each, or a list.

    Returns:
        A table with the line of each row; a value that an object lacks is missing.

    Raises:
        InputError: a line is no JSON object.
    """
    return _build_lines_table(read_whole(path), path.name, request)


def read_json(path: DataFile, request: ColumnRequest) -> Table:
    """Read a JSON file: a list of objects, lists or numbers, or an object of lists, as of pandas.

    A file of JSON lines is read too.

    Raises:
        InputError: it is no JSON, or no table.
    """
    content = read_whole(path)
    try:
        value = json.loads(content)
    except RecursionError as error:
        raise InputError(f"{path.name} is nested too deeply; {_EXPECTED}.") from error
    except ValueError as error:
        if _is_row(content.lstrip().partition(b"\n")[0]):
            return _build_lines_table(content, path.name, request)
        raise InputError(f"{path.name} is no JSON ({_short_reason(error)}).") from error
    table = _build_columns(value, path.name, request) if isinstance(value, dict) else value
    if isinstance(table, list) and table:
        if all(isinstance(each, dict) for each in table):
            columns = _collect_columns(table, path.name, request)
            table = Table(build_frame(columns, path.name), path.name)
        elif not any(isinstance(each, (dict, str)) for each in table):
            table = build_array_table(table, request, path.name)
    if not isinstance(table, Table):
        raise InputError(f"{path.name} holds no table; {_EXPECTED}.")
    return table


def _build_columns(
    value: dict[str, Any], source: str, request: ColumnRequest
) -> Table | list | None:
    """A table of an object of columns; a list of rows of other objects; None if it is neither."""
    if isinstance(value.get("data"), list):  # pandas' split and table
        names, rows = value.get("columns"), value["data"]
        return (
            _name_values(list(map(str, names)), rows, source) if isinstance(names, list) else rows
        )
    parts = list(value.values())
    if not parts or not all(isinstance(each, type(parts[0])) for each in parts):
        return None
    if isinstance(parts[0], dict) and _are_rows(value):
        return parts
    if isinstance(parts[0], (dict, list)):
        chosen = {name: value[name] for name in choose_columns(list(value), request, source)}
        columns = _align_rows(chosen, source) if isinstance(parts[0], dict) else chosen
        return Table(build_frame(columns, source), source)
    return None


def _name_values(names: list[str], rows: list, source: str) -> list[dict]:
    """Rows as objects, from the names of their values.

    Raises:
        InputError: a name comes twice, or a row has another number of values.
    """
    check_names(names, source)
    for at, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            raise InputError(
                f"{source}, row {at} (counted from 0): a list of {counted(len(names), 'value')} "
                "was expected, one of each column."
            )
    return [dict(zip(names, row, strict=True)) for row in rows]


def _are_rows(objects: Mapping[str, Mapping]) -> bool:
    """Whether objects by name are rows, as pandas writes them with ``orient="index"``.

    The numbers or dates of rows are the names of the objects, and not those of their values.
    """
    inner = [name for each in objects.values() for name in each]
    return all(map(_is_row_name, objects)) and not all(map(_is_row_name, inner))


def _is_row_name(name: str) -> bool:
    return is_number(name) or re.match(r"\d{4}-\d{2}-\d{2}", name) is not None


def _align_rows(columns: Mapping[str, Mapping], source: str) -> dict[str, list]:
    """Columns of values by the names of rows, as lists; None where a column lacks a row.

    Raises:
        InputError: they take more than the limit.
    """
    rows = dict.fromkeys(name for each in columns.values() for name in each)
    _check_size(len(rows), len(columns), source)
    return {name: [each.get(row) for row in rows] for name, each in columns.items()}


def _is_row(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), (dict, list))
    except (ValueError, RecursionError):
        return False


def _short_reason(error: Exception) -> str:
    """What an error says, without advice on Python's settings."""
    return str(error).partition(";")[0]


def _check_size(rows: int, columns: int, source: str) -> None:
    """Check that a table is not too large: where names differ from row to row it may be.

    Raises:
        InputError: it takes more than the limit.
    """
    if rows * columns * _VALUE_BYTES > unpacked_limit():
        raise InputError(limit_message(source, unpacked_limit()))


def _build_lines_table(content: bytes, source: str, request: ColumnRequest) -> Table:
    records: list = []
    lines = []
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = _short_reason(error).partition(":")[0]
            raise InputError(f"{source}, line {number}: this is no JSON ({reason}).") from error
        if not isinstance(record, type(records[0]) if records else (dict, list)):
            raise InputError(
                f"{source}, line {number}: this is no JSON object. On every line one was expected, "
                'such as {"t": 1, "x": 2.5}.'
            )
        records.append(record)
        lines.append(number)
    if not records:
        raise InputError(f"{source} is empty; a JSON object on every line was expected.")
    if isinstance(records[0], list):
        if len(records) == 1:
            raise InputError(
                f"{source} has a list on its only line, and an object on every line was expected. "
                "Let its name end in .json."
            )
        return build_array_table(records, request, source)
    columns = _collect_columns(records, source, request)
    return Table(build_frame(columns, source), source, np.array(lines))


def _collect_columns(
    records: Sequence[Mapping[str, Any]], source: str, request: ColumnRequest
) -> dict[str, list]:
    """Objects as columns by name, those that are asked for; None where an object lacks a name.

    Raises:
        InputError: they are too many, or take more than the limit.
    """
    known = dict.fromkeys(name for record in records for name in record)
    names = choose_columns(list(known), request, source)
    _check_size(len(records), len(names), source)
    return {name: [record.get(name) for record in records] for name in names}
