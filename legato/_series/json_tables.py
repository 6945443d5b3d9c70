"""Reads JSON as tables: an object on each line, a list of objects, or an object of lists.

The whole file is held in memory as Python objects, which takes several times its size.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from legato._errors import InputError
from legato._series.piped_files import DataFile
from legato._series.tables import ColumnRequest, Table, build_array_table, build_frame
from legato._series.text import read_whole

_EXPECTED = 'a list of objects, [{"t": 1, "x": 2.5}, …], or an object of lists was expected'


def read_json_lines(path: DataFile, request: ColumnRequest) -> Table:
    """Read a file of JSON lines, an object on each.

    Returns:
        A table with the line of each row; a value that an object lacks is missing.

    Raises:
        InputError: a line is no JSON object.
    """
    return _build_lines_table(read_whole(path), path.name)


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
        if _is_object(content.lstrip().partition(b"\n")[0]):
            return _build_lines_table(content, path.name)
        raise InputError(f"{path.name} is no JSON ({error}).") from error
    if isinstance(value, dict) and isinstance(value.get("data"), list):  # pandas' split and table
        names, value = value.get("columns"), value["data"]
        if isinstance(names, list):
            value = [dict(zip(map(str, names), row, strict=False)) for row in value]
    if isinstance(value, dict) and all(isinstance(each, (list, dict)) for each in value.values()):
        columns = {
            name: list(each.values()) if isinstance(each, dict) else each
            for name, each in value.items()
        }
        if columns:
            return Table(build_frame(columns, path.name), path.name)
    if isinstance(value, list) and value:
        if all(isinstance(each, dict) for each in value):
            return Table(build_frame(_collect_columns(value), path.name), path.name)
        if not any(isinstance(each, (dict, str)) for each in value):
            return build_array_table(value, path.name)
    raise InputError(f"{path.name} holds no table; {_EXPECTED}.")


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _build_lines_table(content: bytes, source: str) -> Table:
    records: list[dict] = []
    lines = []
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = str(error).partition(":")[0]
            raise InputError(f"{source}, line {number}: this is no JSON ({reason}).") from error
        if not isinstance(record, dict):
            raise InputError(
                f"{source}, line {number}: this is no JSON object. On every line one was expected, "
                'such as {"t": 1, "x": 2.5}.'
            )
        records.append(record)
        lines.append(number)
    if not records:
        raise InputError(f"{source} is empty; a JSON object on every line was expected.")
    return Table(build_frame(_collect_columns(records), source), source, np.array(lines))


def _collect_columns(records: Iterable[Mapping[str, Any]]) -> dict[str, list]:
    """Objects as columns by name; None where an object lacks a name."""
    records = list(records)
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [record.get(name) for record in records] for name in names}
