"""File formats: one table from a file's suffix to its reader.

A new format joins with one line in ``FORMATS``. Its reader takes a path and the columns that are
asked for, imports the packages it needs itself (``MissingError`` with the install line if one is
optional and missing) and never unpickles. A file of any other suffix is a text, and refused if it
looks like a table; ``.text`` is one in any case.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from legato._errors import InputError
from legato._series.csv import read_csv
from legato._series.json_tables import read_json, read_json_lines
from legato._series.packed_files import find_inner_suffix
from legato._series.tables import ColumnRequest, Table, build_array_table, build_frame


@dataclass(frozen=True)
class FileFormat:
    """How files of one format are read.

    Attributes:
        read_table: reads a file as a table; None where it is a text or is refused.
        may_look_like_table: whether a text may be a table by its looks.
        may_be_packed: whether ``.gz``, ``.zip`` and such may follow the suffix.
        refusal: why such files are not read and what to do, a clause after the file's name.
    """

    read_table: Callable[[Path, ColumnRequest], Table] | None = None
    may_look_like_table: bool = False
    may_be_packed: bool = False
    refusal: str | None = None


def read_parquet(path: Path, request: ColumnRequest) -> Table:
    """Read a Parquet file.

    Raises:
        InputError: it is damaged.
    """
    import polars

    damage = (polars.exceptions.PolarsError, polars.exceptions.PanicException, OSError)
    try:
        with path.open("rb") as file:
            return Table(polars.read_parquet(file), path.name)
    except damage as error:
        raise _damaged_file(path, "Parquet", error) from error


def read_numpy(path: Path, request: ColumnRequest) -> Table:
    """Read an array (``.npy``), or columns by name (``.npz``).

    Raises:
        InputError: it is damaged, or would have to be unpickled.
    """
    with path.open("rb") as file:
        is_pickle = file.read(1) == b"\x80"
        file.seek(0)
        try:
            loaded = np.load(file, allow_pickle=False)
            loaded = loaded if isinstance(loaded, np.ndarray) else dict(loaded)
        except Exception as error:  # zipfile's, zlib's and NumPy's own, and a parser's
            if is_pickle or "Object arrays" in str(error):
                raise InputError(
                    f"{path.name} holds pickled Python objects, which could run code: they are not "
                    "loaded. Save plain numbers or text: array.astype(float)."
                ) from error
            raise _damaged_file(path, "NumPy", error) from error
    if isinstance(loaded, dict):
        return Table(build_frame(loaded, path.name), path.name)
    return build_array_table(loaded, path.name)


def _damaged_file(path: Path, name: str, error: BaseException) -> InputError:
    reason = " ".join(str(error).split())[:200]
    return InputError(
        f"{path.name} is not a whole {name} file ({reason}). It was cut short, altered, or is "
        "something else: write it again."
    )


_CSV = FileFormat(read_csv, may_be_packed=True)
_JSON_LINES = FileFormat(read_json_lines, may_be_packed=True)
_PARQUET = FileFormat(read_parquet)
_NUMPY = FileFormat(read_numpy)
_WORKBOOK = FileFormat(refusal="is a workbook: save the sheet that is meant as CSV")
_ARCHIVE = FileFormat(refusal="is an archive: unpack it, and name the file that is meant")
TEXT = FileFormat(may_be_packed=True)
FORMATS = {
    ".csv": _CSV,
    ".tsv": _CSV,
    ".tab": _CSV,
    ".psv": _CSV,
    ".jsonl": _JSON_LINES,
    ".ndjson": _JSON_LINES,
    ".json": FileFormat(read_json, may_be_packed=True),
    ".parquet": _PARQUET,
    ".pq": _PARQUET,
    ".npy": _NUMPY,
    ".npz": _NUMPY,
    ".xlsx": _WORKBOOK,
    ".xls": _WORKBOOK,
    ".ods": _WORKBOOK,
    **dict.fromkeys((".tar", ".tgz", ".7z", ".rar"), _ARCHIVE),
    ".text": FileFormat(may_look_like_table=True, may_be_packed=True),
}


def find_format(path: Path) -> FileFormat:
    """Find the format of a file by its suffix, that of a packing left out.

    Raises:
        InputError: there is no such file, it is empty or cannot be read, or its format is refused.
    """
    if not os.path.exists(path):  # accepts any string as a path
        raise InputError(f"There is no file {str(path)[:200]}.")
    if path.is_dir():
        raise InputError(f"{path} is a folder; a file was expected.")
    if not path.stat().st_size:
        raise InputError(f"{path.name} is empty; a header and rows below it were expected.")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} cannot be read: you have no right to.")
    suffix, is_packed = find_inner_suffix(path)
    found = FORMATS.get(suffix, TEXT)
    if found.refusal is not None:
        raise InputError(f"{path.name} {found.refusal}.")
    if is_packed and not found.may_be_packed:
        raise InputError(f"{path.name} is packed: unpack it first.")
    return found
