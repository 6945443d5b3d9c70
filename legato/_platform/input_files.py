"""Files that are read: what a path is before it is opened, and what their damage raises.

A named pipe would be waited for, a device read without end. What damaged files raise is as various
as the libraries that read them: it becomes one error, with its cause.
"""

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from legato._errors import InputError, LegatoError, StateError

LIMIT_VARIABLE = "LEGATO_UNPACKED_LIMIT"
_LIMIT = 2**30  # bytes
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
_REASON_CHARACTERS = 400


def check_is_regular(
    path: str | os.PathLike, what: str, error: type[InputError | StateError] = InputError
) -> None:
    """Check that a path, links followed, leads to a regular file, without opening it.

    Args:
        path: the path.
        what: the file that was expected, with its article.
        error: the class of the error.

    Raises:
        InputError or StateError: it leads to a folder, a pipe, a device or a socket.
        OSError: there is nothing, or it cannot be reached.
    """
    kind = describe_kind(path)
    if kind:
        raise error(
            f"{path} is {kind}; {what} was expected. Name a regular file, or a link to one."
        )


def describe_kind(path: str | os.PathLike) -> str:
    """What a path, links followed, leads to, with its article; "" if it is a regular file.

    Raises:
        OSError: there is nothing, or it cannot be reached.
    """
    try:
        mode = os.stat(path).st_mode
    except ValueError as error:  # a zero byte in it
        raise FileNotFoundError(str(error)) from error
    return "" if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "no regular file")


@contextmanager
def refusing_damage(path: str | os.PathLike, what: str, remedy: str) -> Generator[None]:
    """Turn whatever a reader raises, if it is no error of legato, into an ``InputError``.

    Args:
        path: of the file.
        what: the noun for a whole file of its kind.
        remedy: a sentence on what to do.

    Raises:
        InputError: the reader raised something; that is its cause.
    """
    try:
        yield
    except LegatoError:
        raise
    except Exception as error:  # there are many ways of not fitting together
        raise InputError(
            f"{path} is not a whole {what} ({shown_reason(error)}). It was cut short, altered, or "
            f"written by something else: {remedy}"
        ) from error


def shown_reason(error: BaseException) -> str:
    """What an error says, on one line and not too long; its name if it says nothing or a key."""
    text = " ".join(str(error).split())
    if not text or isinstance(error, LookupError):
        text = f"{type(error).__name__} {text}".rstrip()
    if len(text) > _REASON_CHARACTERS:
        text = f"{text[:_REASON_CHARACTERS].rstrip()} …"
    return text.rstrip(".")


def unpacked_limit() -> int:
    """The number of bytes that a file may take more when unpacked: ``$LEGATO_UNPACKED_LIMIT``.

    Raises:
        InputError: the variable is no whole number of bytes.
    """
    return read_limit(
        LIMIT_VARIABLE, _LIMIT, "the number of bytes that a file may take more when unpacked"
    )


def read_limit(variable: str, default: int, meaning: str) -> int:
    """A limit that an environment variable may raise.

    Args:
        variable: its name.
        default: the limit if it is not set.
        meaning: what the limit is, for the message.

    Raises:
        InputError: it is no whole number of at least 1.
    """
    value = os.environ.get(variable, str(default))
    if not (value.isascii() and value.isdecimal() and 0 < len(value) < 20 and int(value)):
        raise InputError(
            f"The environment variable {variable} is {value[:100]!r}; a whole number of at least 1 "
            f"was expected: {meaning}."
        )
    return int(value)


def limit_message(name: str | Path, limit: int, share: int = 1) -> str:
    """The message about a file that takes too much.

    Args:
        name: of the file.
        limit: the number of bytes that it may take.
        share: the part of the variable's limit that this is, as a divisor.
    """
    part = f"{share} times " if share > 1 else ""
    return (
        f"{name} takes more than {limit:,} bytes when it is unpacked. If that is meant, set the "
        f"environment variable {LIMIT_VARIABLE} to {part}the number of bytes that it may take."
    )
