"""Reads ``.ts`` files, in which aeon and sktime keep sequences with labels.

Lines that begin with ``@`` say what follows; below ``@data`` each line is a sequence: its columns,
separated by colons, each with the values of all steps, then its label, if ``@classLabel`` says so.

Limits: times (``@timeStamps true``) and numbers as targets (``@targetLabel true``) are refused.
"""

from itertools import compress
from typing import NamedTuple

import numpy as np

from legato._errors import InputError
from legato._platform.wording import counted
from legato._series.piped_files import DataFile
from legato._series.table_detection import is_number
from legato._series.tables import ColumnRequest, Table, build_array_table
from legato._series.text import read_whole
from legato._series.wide_tables import LABEL

_REFUSED = {
    "timestamps": "has a time for each value (@timeStamps true), which is not read: write a table "
    "with a row for each step",
    "targetlabel": "has a number to predict for each sequence (@targetLabel true), and labels of "
    "sequences are what is learnt",
}


class _Case(NamedTuple):
    """A sequence: its values, (steps, columns), and its label."""

    values: np.ndarray
    label: str | None


def read_ts(path: DataFile, request: ColumnRequest) -> Table:
    """Read a ``.ts`` file.

    Returns:
        A table of all sequences, with the columns of an array of them: ``"value"``, or ``"0"``,
        ``"1"`` and so on; and ``"label"``, if they have labels.

    Raises:
        InputError: a line is not as its header says.
    """
    import polars

    lines = read_whole(path).decode().splitlines()
    number, has_labels = _read_header(lines, path.name)
    at = [at for at in range(number, len(lines)) if lines[at].strip()]
    if not at:
        raise InputError(f"{path.name} has no sequence below @data.")
    cases = [_read_case(lines[each], has_labels, f"{path.name}, line {each + 1}") for each in at]
    widths = [case.values.shape[1] for case in cases]
    if len(set(widths)) > 1:
        odd = next(each for each, width in enumerate(widths) if width != widths[0])
        raise InputError(
            f"{path.name}, line {at[odd] + 1}: the sequence has "
            f"{counted(widths[odd], 'column')}, and the first has {widths[0]}."
        )
    table = build_array_table([case.values for case in cases], ColumnRequest(), path.name)
    lengths = [len(case.values) for case in cases]
    frame, labels = table.frame, ()
    if has_labels:
        repeated = np.repeat(np.arange(len(cases)), lengths)
        column = polars.Series(LABEL, [case.label for case in cases], dtype=polars.String)
        frame, labels = frame.with_columns(column[repeated]), (LABEL,)
    numbers = np.repeat(np.array(at) + 1, lengths)
    return Table(frame, path.name, numbers, np.array(lengths), labels=labels)


def _read_header(lines: list[str], source: str) -> tuple[int, bool]:
    """The number of lines up to ``@data``, and whether sequences have labels.

    Raises:
        InputError: there is no such line, or what follows is not read.
    """
    said: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        name, _, value = line.strip().partition(" ")
        if name.lower() == "@data":
            said = {name: value.split()[0].lower() for name, value in said.items() if value.strip()}
            for what in compress(_REFUSED, (said.get(each) == "true" for each in _REFUSED)):
                raise InputError(f"{source} {_REFUSED[what]}.")
            return number, said.get("classlabel") == "true"
        if name.startswith("@"):
            said[name[1:].lower()] = value
        elif name and not name.startswith(("#", "%")):
            break
    raise InputError(
        f"{source} has no line @data; as a .ts file of aeon or sktime it needs one. A text has a "
        "name that ends in .text."
    )


def _read_case(line: str, has_label: bool, place: str) -> _Case:
    """A sequence of a line; "?" and NaN are missing values.

    Raises:
        InputError: it has no values, one of them is no number, or columns differ in length.
    """
    columns, label = line.strip().split(":"), ""
    if has_label:
        *columns, label = columns
    if not columns:
        raise InputError(f"{place}: values and a label behind a colon were expected.")
    parsed = [_read_values(column, place) for column in columns]
    lengths = sorted({len(each) for each in parsed})
    if len(lengths) > 1:
        raise InputError(
            f"{place}: the columns have {' and '.join(map(str, lengths))} values; as many in each "
            "were expected."
        )
    known = None if label.strip() in ("", "?") else label.strip()
    return _Case(np.column_stack(parsed), known)


def _read_values(text: str, place: str) -> np.ndarray:
    cells = ["nan" if cell.strip() in ("", "?") else cell for cell in text.split(",")]
    try:
        return np.array(cells, float)
    except ValueError:
        bad = next(cell for cell in cells if not is_number(cell))
        raise InputError(f"{place}: {bad.strip()!r} is no number.") from None
