"""Output of commands: one JSON document on standard output, or progress at the terminal."""

import json
import math
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from legato._platform.output_streams import OutputStream, make_printable


@contextmanager
def show_status(message: str, quiet: bool) -> Generator[Callable[[str], None]]:
    """A spinner with a message while the block runs, if standard error is a terminal.

    Yields:
        A function that changes the message.
    """
    if quiet or not OutputStream(sys.stderr).isatty():
        yield lambda message: None
        return
    from rich.console import Console
    from rich.text import Text

    def one_line(message: str) -> Text:
        return Text(make_printable(message))

    with Console(stderr=True).status(one_line(message)) as status:
        yield lambda message: status.update(one_line(message))


def print_written(path: Path) -> None:
    """Say on one line that a file was written."""
    print(f"wrote {make_printable(str(path))}")


def print_json(value: dict) -> None:
    """Print one document; NaN and infinity, which JSON does not have, as null.

    Characters that standard output cannot encode are JSON's own escapes.
    """
    value = _finite(value)
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    if not OutputStream(sys.stdout).can_encode(text):
        text = json.dumps(value, indent=1, allow_nan=False)
    print(text)


def _finite(value: Any) -> Any:
    """The same value with None for NaN and infinity."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
