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
from typing import Any

import numpy as np

from legato._errors import InputError
from legato._platform.input_files import (
    describe_kind,
    limit_message,
    shown_reason,
    unpacked_limit,
)
from legato._series.columns import type_error
from legato._series.csv import read_csv
from legato._series.json_tables import read_json, read_json_lines
from legato._series.packed_files import find_inner_suffix
from legato._series.piped_files import (
    STANDARD_INPUT,
    DataFile,
    PipedFile,
    read_pipe,
    read_standard_input,
    size_of,
)
from legato._series.table_detection import FEWEST_LINES, SAMPLE_LINES, describe_table
from legato._series.tables import (
    ColumnRequest,
    Table,
    build_array_table,
    build_frame,
    choose_columns,
)
from legato._series.text import first_lines, read_blocks
from legato._series.ts_files import read_ts

_OPEN_FILES = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")  # whose names say nothing
_NUMBER_BYTES = 8  # of a value, about


@dataclass(frozen=True)
class FileFormat:
    """How files of one format are read.

    Attributes:
        read_table: reads a file as a table; None where it is a text or is refused.
        may_look_like_table: whether a text may be a table by its looks.
        may_be_packed: whether ``.gz``, ``.zip`` and such may follow the suffix.
        refusal: why such files are not read and what to do, a clause after the file's name.
    """

    read_table: Callable[[Any, ColumnRequest], Table] | None = None
    may_look_like_table: bool = False
    may_be_packed: bool = False
    refusal: str | None = None


def read_parquet(path: DataFile, request: ColumnRequest) -> Table:
    """Read a Parquet file.

    Raises:
        InputError: it is damaged, or takes more than the limit.
    """
    import polars

    damage = (polars.exceptions.PolarsError, polars.exceptions.PanicException, OSError)
    try:
        with path.open("rb") as file:
            types = polars.read_parquet_schema(file)
            chosen = choose_columns(list(types), request, path.name)
            if nested := [name for name in chosen if types[name].is_nested()]:
                raise type_error(path.name, nested[0], types[nested[0]])
            file.seek(0)
            rows = polars.scan_parquet(file).select(polars.len()).collect().item()
            limit = size_of(path) + unpacked_limit()
            if rows * len(chosen) * _NUMBER_BYTES > limit:
                raise InputError(limit_message(path.name, limit))
            file.seek(0)
            frame = polars.read_parquet(file, columns=chosen)
            texts = (each for each in frame if each.dtype == polars.String)
            sizes = (each.str.len_bytes().cast(polars.Int64).sum() for each in texts)
            if sum(sizes) > limit:  # a text of many rows is in the file, and in memory, once
                raise InputError(limit_message(path.name, limit))
            return Table(frame, path.name)
    except damage as error:
        raise _damaged_file(path, "Parquet", error) from error


def read_numpy(path: DataFile, request: ColumnRequest) -> Table:
    """Read an array (``.npy``), or columns by name (``.npz``).

    Raises:
        InputError: it is damaged, or would have to be unpickled.
    """
    with path.open("rb") as file:
        is_pickle = file.read(1) == b"\x80"
        file.seek(0)
        try:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.lib.npyio.NpzFile):
                _check_members(loaded, path)
            loaded = loaded if isinstance(loaded, np.ndarray) else dict(loaded)
            _check_shapes(loaded, path)
        except InputError:
            raise
        except Exception as error:  # zipfile's, zlib's and NumPy's own, and a parser's
            if is_pickle or "Object arrays" in str(error):
                raise InputError(
                    f"{path.name} holds pickled Python objects, which could run code: they are not "
                    "loaded. Save plain numbers or text: array.astype(float)."
                ) from error
            raise _damaged_file(path, "NumPy", error) from error
    if isinstance(loaded, dict):
        return Table(build_frame(loaded, path.name), path.name)
    return build_array_table(loaded, request, path.name)


def _check_members(loaded: Any, path: DataFile) -> None:
    """Check that the arrays of a ``.npz`` file do not take more than the limit.

    Raises:
        InputError: they do.
    """
    limit = size_of(path) + unpacked_limit()
    if sum(each.file_size for each in loaded.zip.infolist()) > limit:
        raise InputError(limit_message(path.name, limit))


def _check_shapes(loaded: np.ndarray | dict[str, np.ndarray], path: DataFile) -> None:
    """Check that arrays do not take more than the limit as numbers: items of 0 bytes take none.

    Raises:
        InputError: they do.
    """
    limit = size_of(path) + unpacked_limit()
    arrays = loaded.values() if isinstance(loaded, dict) else [loaded]
    sizes = (
        each.size for each in arrays if isinstance(each, np.ndarray) and not each.dtype.itemsize
    )
    if sum(sizes) * _NUMBER_BYTES > limit:
        raise InputError(limit_message(path.name, limit))


def _damaged_file(path: DataFile, name: str, error: BaseException) -> InputError:
    return InputError(
        f"{path.name} is not a whole {name} file ({shown_reason(error)}). It was cut short, "
        "altered, or is something else: write it again."
    )


_CSV = FileFormat(read_csv, may_be_packed=True)
_JSON_LINES = FileFormat(read_json_lines, may_be_packed=True)
_PARQUET = FileFormat(read_parquet)
_NUMPY = FileFormat(read_numpy)
_WORKBOOK = FileFormat(refusal="is a workbook: save the sheet that is meant as CSV")
_WEKA = FileFormat(
    refusal="would be of Weka, which is not read: load it with aeon or sktime, and give its "
    "arrays, X.swapaxes(1, 2), to legato.Classifier; a text has a name that ends in .text"
)
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
    ".ts": FileFormat(read_ts, may_be_packed=True),
    ".arff": _WEKA,
    **dict.fromkeys((".tar", ".tgz", ".7z", ".rar"), _ARCHIVE),
    ".text": FileFormat(may_look_like_table=True, may_be_packed=True),
}


def open_data(source: str | os.PathLike) -> DataFile:
    """The file of a path; of a pipe, or of ``"-"`` for standard input, all that comes from it.

    Raises:
        InputError: there is no such file, it is a folder or a device, or it cannot be read.
    """
    if os.fspath(source) == STANDARD_INPUT:
        return _with_inner_suffix(read_standard_input())
    path = Path(source)
    try:
        kind = describe_kind(path)
    except OSError as error:
        raise InputError(f"There is no file {str(path)[:200]}.") from error
    if kind not in ("", "a pipe"):
        raise InputError(f"{path} is {kind}; a file was expected.")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} cannot be read: you have no right to.")
    is_open = str(path).startswith(_OPEN_FILES)
    return _with_inner_suffix(read_pipe(path)) if kind or is_open else path


def _with_inner_suffix(file: PipedFile) -> PipedFile:
    """A piped file whose suffix, or that below its packing, is found by what its text looks like.

    The first lines decide, so that a fault in later ones is reported as that of a table.
    """
    if find_inner_suffix(file)[0]:
        return file
    sample = first_lines(next(read_blocks(file), b""), SAMPLE_LINES)
    looks = sample and (describe_table(sample) or describe_table(sample[:FEWEST_LINES]))
    if looks:
        if file.suffix:
            file.stem += looks[1]
        else:
            file.suffix = looks[1]
    return file


def find_format(path: DataFile, is_table: bool = False) -> FileFormat:
    """Find the format of a file by its suffix, that of a packing left out.

    Args:
        path: the file.
        is_table: whether a file that would be a text is read as CSV.

    Raises:
        InputError: it is empty, or its format is refused.
    """
    if not size_of(path):
        raise InputError(f"{path.name} is empty; a header and rows below it were expected.")
    suffix, is_packed = find_inner_suffix(path)
    found = FORMATS.get(suffix, TEXT)
    if is_table and found is TEXT:
        found = _CSV
    if found.refusal is not None:
        raise InputError(f"{path.name} {found.refusal}.")
    if is_packed and not found.may_be_packed:
        raise InputError(f"{path.name} is packed: unpack it first.")
    return found
