"""How commands begin and end: places that can be written, errors told in a sentence, Ctrl-C."""

import _thread
import json
import math
import os
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from legato._errors import InputError, LegatoError, OutputError

Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback on errors.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only the result.")]
Json = Annotated[bool, typer.Option("--json", help="The result as JSON, and nothing else.")]
Data = Annotated[
    Path,
    typer.Argument(help="CSV, Parquet, NumPy or text file.", metavar="DATA", show_default=False),
]
_ARGUMENT = re.compile(
    r"(?<![\w'\"-])(group|time|columns|categorical|missing|shortest|window|pad|limit|other_weights)"
    r"=('[^']*'|\d+(?:\.\d+)?|n\b|True\b|)"
)


class InterruptedAfterError(Exception):
    """Ctrl-C, with what had been done."""


@contextmanager
def told_plainly(debug: bool):
    """Errors as one sentence and an exit status, not as a traceback unless asked for."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # of a TensorFlow that Keras finds
    try:
        with _interrupts_are_heard():
            yield
        sys.stdout.flush()
    except InterruptedAfterError as stop:
        _stop(130, f"\nInterrupted: {stop}; no file was written.")
    except KeyboardInterrupt:
        _stop(130, "\nInterrupted: files are whole or as they were.")
    except BrokenPipeError:  # whoever read the result has seen enough
        _stop(0)
    except LegatoError as error:
        if debug:
            raise
        print(f"legato: {in_words_of_the_command(str(error))}", file=sys.stderr)
        raise typer.Exit(2) from None
    except Exception as error:
        if debug:
            raise
        told = " ".join(str(error).split())
        print(
            f"legato: {type(error).__name__}: {told} (Unexpected: --debug shows where.)",
            file=sys.stderr,
        )
        raise typer.Exit(1) from None


@contextmanager
def _interrupts_are_heard():
    """Ctrl-C that comes while Python collects garbage is lost there: JAX has work done in between,
    from where nothing can be raised. It is sent again."""
    told = sys.unraisablehook

    def hear(lost) -> None:
        if isinstance(lost.exc_value, KeyboardInterrupt):
            threading.Timer(0.05, _interrupt).start()
        else:
            told(lost)

    sys.unraisablehook = hear
    try:
        yield
    finally:
        sys.unraisablehook = told


def _interrupt() -> None:
    """Ctrl-C, for the main thread; it wakes one that waits, where the system can."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()


def _stop(status: int, told: str = "") -> NoReturn:
    """End at once: XLA's threads may still be compiling, and crash an interpreter that ends."""
    if told:
        print(told, file=sys.stderr, flush=True)
        sys.stdout.flush()
    os._exit(status)


def in_words_of_the_command(message: str) -> str:
    """A message on one line that names options instead of arguments.

    Example:
        >>> in_words_of_the_command("Name it with time='month', or leave it out with columns=.")
        "Name it with --time 'month', or leave it out with --column."
    """
    options = {"columns": "column", "other_weights": "other-weights"}

    def option(found: re.Match) -> str:
        value = "" if found[2] == "True" else found[2]
        return f"--{options.get(found[1], found[1])} {value}".rstrip()

    return " ".join(_ARGUMENT.sub(option, message).split())


@contextmanager
def busy(what: str, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Something turning at the terminal while this takes time; nothing elsewhere.

    Yields:
        What tells what is being done now.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda what: None
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(what)) as turning:
        yield lambda what: turning.update(Text(what))


def make_folder(path: Path, option: str = "--out") -> None:
    """Make an output folder and see that it can be written, before anything takes time."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        _probe(path)
    except OSError as error:
        raise OutputError(
            f"The folder {path} cannot be written ({error.strerror}). Name another with {option}."
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
    try:
        _probe(path.parent)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror}). Name a file in a folder that exists, "
            "has room, and that you may write to."
        ) from error


def _probe(folder: Path) -> None:
    """Raise an OSError if no file can be made in a folder."""
    with tempfile.TemporaryFile(dir=folder):
        pass


def check_is_no_model(data: Path, model: Path | None = None) -> None:
    """See that DATA are data, and not the model.

    Raises:
        InputError: they are a model by their name.
    """
    if data.suffix != ".keras":
        return
    order = "" if model is None or model.suffix == ".keras" else " MODEL comes first, then DATA."
    raise InputError(f"{data} is a model by its name; a file of data was expected.{order}")


def print_json(value: dict) -> None:
    """One document on standard output."""
    print(json.dumps(_strict(value), indent=1, ensure_ascii=False, allow_nan=False))


def _strict(value: Any) -> Any:
    """The same without NaN and infinity, which JSON has not: null."""
    if isinstance(value, dict):
        return {name: _strict(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
