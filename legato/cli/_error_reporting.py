"""Errors of a command as one sentence on standard error, and as an exit status.

The statuses: 2 for an error that legato raises on purpose, 1 for any other, 130 for Ctrl-C.
"""

import os
import re
import sys
from contextlib import contextmanager

import typer

from legato._errors import LegatoError
from legato._platform.output_streams import make_printable
from legato.cli._interrupts import InterruptedAfterError, exit_at_once, resent_interrupts

_ARGUMENT = re.compile(
    r"(?<![\w'\"-])(group|time|columns|categorical|missing|shortest|window|pad|limit|other_weights|"
    r"dates|zone|fill|every|every_by|wide)"
    r"=('[^']*'|\d+(?:\.\d+)?|n\b|True\b|)"
)


@contextmanager
def report_errors(debug: bool):
    """Print an error as one sentence and exit with its status.

    Args:
        debug: raise the error instead, so that its traceback is shown.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # of a TensorFlow that Keras finds
    try:
        with resent_interrupts():
            yield
        sys.stdout.flush()
    except InterruptedAfterError as stop:
        exit_at_once(130, f"\nInterrupted: {stop}; no file was written.")
    except KeyboardInterrupt:
        exit_at_once(130, "\nInterrupted: files are whole or as they were.")
    except BrokenPipeError:  # the reader of the result has closed the pipe
        exit_at_once(0)
    except LegatoError as error:
        if debug:
            raise
        print(f"legato: {name_options(str(error))}", file=sys.stderr)
        raise typer.Exit(2) from None
    except Exception as error:
        if debug:
            raise
        message = make_printable(" ".join(str(error).split()))
        print(
            f"legato: {type(error).__name__}: {message} (Unexpected: --debug shows where.)",
            file=sys.stderr,
        )
        raise typer.Exit(1) from None


def name_options(message: str) -> str:
    """A message on one line that names command-line options instead of Python arguments.

    Control characters, such as those of a file's name, become Python's escapes.

    Examples:
        >>> name_options("Name it with time='month', or leave it out with columns=.")
        "Name it with --time 'month', or leave it out with --column."
    """
    options = {"columns": "column", "other_weights": "other-weights", "every_by": "every-by"}

    def option(match: re.Match) -> str:
        value = "" if match[2] == "True" else match[2]
        return f"--{options.get(match[1], match[1])} {value}".rstrip()

    return make_printable(" ".join(_ARGUMENT.sub(option, message).split()))
