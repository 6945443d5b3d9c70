"""How commands begin and end: places that can be written, errors told in a sentence, Ctrl-C."""

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from legato._errors import InputError, LegatoError, OutputError

Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback on errors.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only the result.")]
Json = Annotated[bool, typer.Option("--json", help="The result as JSON, and nothing else.")]


class InterruptedAfterError(Exception):
    """Ctrl-C, with what had been done."""


@contextmanager
def told_plainly(debug: bool):
    """Errors as one sentence and an exit status, not as a traceback unless asked for."""
    try:
        yield
    except (InterruptedAfterError, KeyboardInterrupt) as stop:
        print(
            f"\nInterrupted: {stop or 'nothing had finished'}; no file was written.",
            file=sys.stderr,
        )
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(130)  # XLA's threads may still be compiling, and crash an interpreter that ends
    except LegatoError as error:
        if debug:
            raise
        print(f"legato: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    except Exception as error:
        if debug:
            raise
        print(
            f"legato: {type(error).__name__}: {error} (Unexpected: --debug shows where.)",
            file=sys.stderr,
        )
        raise typer.Exit(1) from None


@contextmanager
def busy(what: str, quiet: bool):
    """Something turning at the terminal while this takes time; nothing elsewhere."""
    from rich.console import Console

    console = Console(stderr=True, quiet=quiet)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield


def make_folder(path: Path) -> None:
    """Make an output folder and see that it can be written, before anything takes time."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        _probe(path)
    except (OSError, LegatoError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not writable"
        raise OutputError(
            f"The folder {path} cannot be written ({reason}). Name another with --out."
        ) from error


def check_place(path: Path | None, *suffixes: str) -> None:
    """See that a file can be written, before anything takes time.

    Raises:
        InputError: its name ends otherwise.
        OutputError: its folder is missing or cannot be written.
    """
    if path is None:
        return
    if path.suffix not in suffixes:
        raise InputError(f"{path} must end in {' or '.join(suffixes)}, which says what to write.")
    if path.is_dir():
        raise OutputError(f"{path} is a folder. Name a file.")
    _probe(path.parent)


def _probe(folder: Path) -> None:
    from legato._files import write_whole

    probe = folder / ".legato"
    write_whole(probe, lambda temporary: temporary.write_bytes(b""))
    probe.unlink()
