"""Output of commands: one JSON document on standard output, or progress at the terminal."""

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def show_status(message: str, quiet: bool) -> Iterator[Callable[[str], None]]:
    """A spinner with a message while the block runs, if standard error is a terminal.

    Yields:
        A function that changes the message.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda message: None
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(message)) as status:
        yield lambda message: status.update(Text(message))


def print_json(value: dict) -> None:
    """Print one document; NaN and infinity, which JSON does not have, as null."""
    print(json.dumps(_finite(value), indent=1, ensure_ascii=False, allow_nan=False))


def _finite(value: Any) -> Any:
    """The same value with None for NaN and infinity."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
