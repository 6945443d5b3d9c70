"""Many Parquet or Arrow files as one table that is read by ranges of rows.

Only the ranges and columns that are asked for are read, by Polars, which skips other columns, row
groups and pages. Rows are counted through all files, in the order of the files. Limits: files on
this machine's file systems; columns encoded in the names of folders are not read.
"""

import glob
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from legato._errors import InputError
from legato._platform.input_files import shown_reason
from legato._series.sequences import suggest_columns

if TYPE_CHECKING:
    import polars

FORMAT_NAMES = {
    ".parquet": "Parquet",
    ".pq": "Parquet",
    ".arrow": "Arrow",
    ".feather": "Arrow",
    ".ipc": "Arrow",
}
_IGNORED = (".", "_")  # how names begin that writers of folders use for files of their own
_INT32 = np.iinfo(np.int32)


def find_files(source: Any) -> list[Path]:
    """The files of a path, a folder, a glob pattern, or a list of paths.

    Those of a folder, and of folders inside it, and those of a pattern are in the order of their
    paths, with numbers in names by value: ``part-2`` is before ``part-10``.

    Raises:
        InputError: there are none, or one is of another format.
    """
    if isinstance(source, (str, os.PathLike)):
        found = _find_files_at(os.fspath(source))
    else:
        listed = list(source) if isinstance(source, Iterable) else [source]
        if not listed or not all(isinstance(each, (str, os.PathLike)) for each in listed):
            raise InputError(
                f"files is {repr(source)[:200]}; a folder, a pattern such as 'data/*.parquet', or "
                "a list of paths was expected."
            )
        found = [Path(each) for each in listed]
    for path in found:
        if path.is_dir():
            raise InputError(
                f"{str(path)[:200]} is a folder, and files were expected. Give the folder alone, "
                f"or a pattern of its files, such as '{path.name}/*'."
            )
        if not path.is_file():
            raise InputError(f"There is no file {str(path)[:200]}.")
        if path.suffix.lower() not in FORMAT_NAMES:
            raise InputError(
                f"{path.name} is no Parquet or Arrow file, whose names end in "
                f"{', '.join(FORMAT_NAMES)}. Convert it, for instance with "
                "polars.scan_csv(…).sink_parquet(…)."
            )
    return [path.absolute() for path in found]  # the working directory may change


def _find_files_at(path: str) -> list[Path]:
    """The files of a folder or a pattern, or that of a path.

    Raises:
        InputError: a folder or pattern has none.
    """
    if os.path.isdir(path):
        everything = (each for each in Path(path).rglob("*") if each.is_file())
        found = [
            each
            for each in everything
            if each.suffix.lower() in FORMAT_NAMES
            and not any(part.startswith(_IGNORED) for part in each.relative_to(path).parts)
        ]
        if not found:
            raise InputError(
                f"The folder {path} has no Parquet or Arrow file ({', '.join(FORMAT_NAMES)})."
            )
    elif os.path.exists(path) or not glob.has_magic(path):
        return [Path(path)]
    else:
        found = [
            Path(each)
            for each in glob.glob(path, recursive=True)
            if os.path.isfile(each)
            # A folder with such a name holds data: it is refused, but where its files match too.
            or ("**" not in path and Path(each).suffix.lower() in FORMAT_NAMES)
        ]
        if not found:
            raise InputError(f"No file matches the pattern {path}.")
    return sorted(found, key=_natural_order)


def _natural_order(path: Path) -> list:
    """A key by which numbers in names are ordered by value."""
    return [
        [
            (0, int(part), "") if part.isdigit() else (1, 0, part)
            for part in re.split(r"(\d+)", each)
        ]
        for each in path.parts
    ]


def _distinct_names(paths: list[Path]) -> list[str]:
    """The names of files, with the folders in which they differ."""
    try:
        common = os.path.commonpath([path.parent for path in paths])
    except ValueError:  # on several drives
        return [str(path) for path in paths]
    return [path.relative_to(common).as_posix() for path in paths]


class FileTable:
    """A table whose rows are in files.

    Args:
        files: as for ``find_files``.
        columns: names of the columns that will be read.

    Attributes:
        paths: the files, without those that have no rows.
        names: their names, with folders where files are in several.
        types: the Polars type of each of the columns, the same in all files.
        offsets: (files + 1,) the number of rows before each file; and of all.

    Raises:
        InputError: there are no files or rows, one is damaged, a column is absent, or has another
            type in another file.
    """

    def __init__(self, files: Any, columns: Sequence[str]):
        import polars

        rows, self.paths, self.names, self._stamps, first = [], [], [], [], None
        self.types: dict[str, Any] = {}
        found = find_files(files)
        for path, shown in zip(found, _distinct_names(found), strict=True):
            with _refusing_damage(path, shown):
                stamp = _stamp(path)
                frame = _scan(path)
                schema = frame.collect_schema()
                height = int(frame.select(polars.len()).collect().item())
            for name in columns:
                if name not in schema:
                    in_folders = any(part.startswith(f"{name}=") for part in path.parts)
                    raise InputError(
                        f"{shown} has no column {name!r}."
                        + (
                            " Values in the names of folders are not read: write them into files."
                            if in_folders
                            else suggest_columns(name, [*schema])
                        )
                    )
                known = self.types.setdefault(name, schema[name])
                if schema[name] != known:
                    raise InputError(
                        f"Column {name!r} is of type {schema[name]} in {shown}, and of type "
                        f"{known} in {first}. Write all files with the same types."
                    )
            first = first or shown
            if height:
                rows.append(height)
                self.paths.append(path)
                self.names.append(shown)
                self._stamps.append(stamp)
        if not rows:
            raise InputError(f"{first} has no rows, nor has any other of the files.")
        self.offsets = np.concatenate([[0], np.cumsum(rows)])

    @property
    def height(self) -> int:
        """The number of rows of all files."""
        return int(self.offsets[-1])

    def read(self, begin: int, end: int, columns: Sequence[str]) -> "polars.DataFrame":
        """The rows from ``begin`` up to ``end``, not included.

        Raises:
            InputError: a file was changed, removed or damaged since it was opened.
        """
        import polars

        parts = []
        while begin < end:
            at = int(np.searchsorted(self.offsets, begin, side="right")) - 1
            stop = min(end, int(self.offsets[at + 1]))
            count, path, shown = stop - begin, self.paths[at], self.names[at]
            with _refusing_damage(path, shown):
                if _stamp(path) != self._stamps[at]:
                    raise InputError(
                        f"{shown} was changed since its sequences were found. Make FileLanes anew "
                        "of the files, and leave them as they are while it is used."
                    )
                rows = _scan(path).select(columns).slice(begin - int(self.offsets[at]), count)
                frame = rows.collect()
            parts.append(frame)
            begin = stop
        return polars.concat(parts, rechunk=False)

    def describe_row(self, row: int) -> str:
        """The name of a row in messages."""
        at = int(np.searchsorted(self.offsets, row, side="right")) - 1
        return f"{self.names[at]}, row {row - self.offsets[at]:,} (counted from 0)"

    def choose_dtype(self, columns: Sequence[str]) -> np.dtype:
        """The type of an array of some columns: int32 if all hold integers or booleans, or float32.

        Raises:
            InputError: a column holds something else than numbers.
        """
        import polars

        for name in columns:
            kind = self.types[name]
            if not (kind.is_numeric() or kind == polars.Boolean):
                raise InputError(
                    f"Column {name!r} of {self.names[0]} is of type {kind}; numbers were "
                    "expected. Encode labels as integers, and times as numbers, in the files."
                )
        whole = all(
            self.types[name].is_integer() or self.types[name] == polars.Boolean for name in columns
        )
        return np.dtype("int32" if whole else "float32")

    def to_array(
        self, frame: "polars.DataFrame", begin: int, columns: Sequence[str], dtype: np.dtype
    ) -> np.ndarray:
        """Columns of a frame as an array (rows, columns).

        Args:
            frame: what ``read`` gave.
            begin: its first row.
            columns, dtype: the columns, and what ``choose_dtype`` gave for them.

        Raises:
            InputError: a value is missing, NaN, infinite, or beyond the type, such as an integer of
                more than 32 bits that float32 does not represent.
        """
        array = np.empty((frame.height, len(columns)), dtype)
        for at, name in enumerate(columns):
            series = frame[name]
            values = series.cast(_polars_type(dtype), strict=False)
            if values.null_count():
                raise self._unusable(begin, series, int(values.is_null().arg_max() or 0), dtype)
            if dtype.kind == "f" and (lost := _first_inexact(series, values)) is not None:
                raise self._unusable(begin, series, lost, dtype)
            array[:, at] = values.to_numpy()
            if dtype.kind == "f" and not np.isfinite(array[:, at]).all():
                raise self._unusable(begin, series, int(np.isfinite(array[:, at]).argmin()), dtype)
        return array

    def _unusable(
        self, begin: int, series: "polars.Series", at: int, dtype: np.dtype
    ) -> InputError:
        """The error on a value that an array of a type does not have.

        Args:
            begin: the row of the first value.
            series: the column, as it is in the file.
            at: the place of the value in it.
            dtype: the type of the array.
        """
        place = f"{self.describe_row(begin + at)}, column {series.name!r}"
        if series[at] is None:
            return InputError(
                f"{place}: the value is missing. Fill it, or leave such rows out of the files."
            )
        beyond = f"beyond 32 bits ({_INT32.min:,} to {_INT32.max:,})"
        what = beyond if dtype.kind == "i" else "not a finite number in float32"
        if dtype.kind == "f" and series.dtype.is_integer():
            what = f"{beyond}, and float32 does not represent it"
        return InputError(
            f"{place}: the value is {series[at]}, {what}. Mend it, or leave such rows out of the "
            "files."
        )


def _first_inexact(series: "polars.Series", values: "polars.Series") -> int | None:
    """The first place of an integer beyond 32 bits that its float is not equal to, or None."""
    import polars

    if not series.dtype.is_integer():
        return None
    least: Any = series.min()
    most: Any = series.max()
    if least >= _INT32.min and most <= _INT32.max:
        return None
    beyond = series > _INT32.max
    if series.dtype.is_signed_integer():
        beyond |= series < _INT32.min
    back = values.cast(polars.Float64).cast(series.dtype, strict=False)
    inexact = beyond & back.ne_missing(series)
    return int(inexact.arg_max() or 0) if inexact.any() else None


def _stamp(path: Path) -> tuple[int, int]:
    """What tells whether a file was changed: its size, and the time of its last change."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _scan(path: Path) -> "polars.LazyFrame":
    """A file that is read as its rows are needed."""
    import polars

    if FORMAT_NAMES[path.suffix.lower()] == "Parquet":
        return polars.scan_parquet(path, glob=False)
    return polars.scan_ipc(glob.escape(str(path)))  # which takes its name for a pattern


def _polars_type(dtype: np.dtype) -> Any:
    import polars

    return polars.Int32 if dtype.kind == "i" else polars.Float32


@contextmanager
def _refusing_damage(path: Path, shown: str):
    """A context in which what a file raises that is damaged or gone is an InputError.

    Args:
        path: the file.
        shown: its name in messages.
    """
    import polars

    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"There is no longer a file {path}.") from error
    except PermissionError as error:
        raise InputError(f"{path} cannot be read ({shown_reason(error)}).") from error
    # A PanicException is no PolarsError, though its type stub says so.
    # pyrefly: ignore[unreachable-except-clause]
    except (polars.exceptions.PolarsError, polars.exceptions.PanicException, OSError) as error:
        name = FORMAT_NAMES[path.suffix.lower()]
        raise InputError(
            f"{shown} is not a whole {name} file ({shown_reason(error)}). It was cut short, "
            "altered, or is something else: write it again."
        ) from error
