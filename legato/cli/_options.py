"""Options and arguments that several commands share, and checks of the paths they are given."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from legato._errors import InputError, OutputError

Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback on errors.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the result.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")]
Data = Annotated[
    Path,
    typer.Argument(
        help="CSV, JSON, Parquet, NumPy or text file, or a pipe; - is standard input.",
        metavar="DATA",
        show_default=False,
    ),
]
ModelFile = Annotated[
    Path,
    typer.Argument(help="Model file written by legato train.", metavar="MODEL", show_default=False),
]
AnyModelFile = Annotated[
    Path, typer.Argument(help="Any model file.", metavar="MODEL", show_default=False)
]
TableFile = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="File for the result; ends in .csv, .parquet or .json."),
]
TABLE_SUFFIXES = (".csv", ".parquet", ".json")


def make_output_folder(path: Path, option: str = "--out") -> None:
    """Make a folder and check that it can be written, before anything takes time.

    Raises:
        OutputError: it cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        _check_is_writable(path)
    except OSError as error:
        raise OutputError(
            f"The folder {path} cannot be written ({error.strerror}). Name another with {option}."
        ) from error


def check_output_file(path: Path | None, *suffixes: str) -> None:
    """Check that a file can be written, before anything takes time.

    Args:
        path: of the file; None if none is to be written.
        suffixes: those that it may have.

    Raises:
        InputError: it has another suffix.
        OutputError: its folder is missing or cannot be written.
    """
    if path is None:
        return
    if path.suffix not in suffixes:
        raise InputError(f"{path} must end in {' or '.join(suffixes)}, the format of the file.")
    if path.is_dir():
        raise OutputError(f"{path} is a folder. Name a file.")
    try:
        _check_is_writable(path.parent)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror}). Name a file in a folder that exists, "
            "has room, and that you may write to."
        ) from error


def _check_is_writable(folder: Path) -> None:
    """Raise an OSError if no file can be made in a folder."""
    with tempfile.TemporaryFile(dir=folder):
        pass


def check_is_no_model(data: Path, model: Path | None = None) -> None:
    """Check that a data file is not a model file by its suffix.

    Args:
        data: the path given as DATA.
        model: the path given as MODEL, if the command takes one: the two may be exchanged.

    Raises:
        InputError: it ends in ``.keras``.
    """
    if data.suffix != ".keras":
        return
    order = "" if model is None or model.suffix == ".keras" else " MODEL comes first, then DATA."
    raise InputError(f"{data} is a model by its name; a file of data was expected.{order}")
