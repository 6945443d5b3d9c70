"""Text output that no stream can make fail: missing, closed, incomplete, or of a small encoding.

``sys.stdout`` is None under ``pythonw``, a closed file under some servers, and an object with
nothing but ``write`` where a program collects its output; consoles of Windows and of ``LANG=C``
encode few characters. ``OutputStream`` writes to any of these. Characters that the encoding lacks
are replaced: signs that legato draws with by ASCII that looks alike, all others by ``?``, or by
Python's escapes where the stream is set to escape them, as standard error is.
"""

import codecs
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from functools import partial, wraps
from typing import Any

from legato._errors import OutputError

_LOOK_ALIKES = {
    **dict.fromkeys("━═", "="),
    **dict.fromkeys("─╌╴╶╸╺–—−‐‑", "-"),
    **dict.fromkeys("│┃", "|"),
    **dict.fromkeys("·•", "."),
    **dict.fromkeys("×✗", "x"),
    **dict.fromkeys("‘’", "'"),
    **dict.fromkeys("“”", '"'),
    **dict.fromkeys("\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}\N{THIN SPACE}", " "),
    "…": "...",
    "→": "->",
    "±": "+-",
    "≤": "<=",
    "≥": ">=",
}


def _look_alike(error: UnicodeError, otherwise: Callable) -> tuple[str | bytes, int]:
    """An error handler for ``codecs``: the replacement of one character, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    error.end = error.start + 1
    sign = error.object[error.start]
    return (_LOOK_ALIKES[sign], error.end) if sign in _LOOK_ALIKES else otherwise(error)


for _name in ("replace", "backslashreplace"):
    codecs.register_error(
        f"legato.{_name}", partial(_look_alike, otherwise=codecs.lookup_error(_name))
    )


def replace_unencodable(text: str, encoding: str, escape: bool = False) -> str:
    """Text with replacements for the characters that an encoding lacks.

    Args:
        text: any text.
        encoding: one that Python knows.
        escape: whether other characters than legato's own signs become escapes, not ``?``.

    Examples:
        >>> replace_unencodable("3 → 4 · ━━ Ж", "ascii")
        '3 -> 4 . == ?'
    """
    errors = "legato.backslashreplace" if escape else "legato.replace"
    return text.encode(encoding, errors).decode(encoding)


def make_printable(text: str) -> str:
    """Text on one line; characters that cannot be printed as Python's escapes."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def printable_on_stdout(method: Callable[[Any], str]) -> Callable[[Any], str]:
    """Decorate ``__str__`` or ``__repr__``, so that ``print`` can encode the result.

    ``print`` gives the text to ``sys.stdout`` as it is, so that only the text itself can avoid
    characters that standard output lacks.
    """

    @wraps(method)
    def text(self) -> str:
        return replace_unencodable(method(self), OutputStream(sys.stdout).encoding)

    return text


class OutputStream:
    """A text stream that can be written to whatever it is; other attributes are the stream's own.

    Args:
        stream: a text stream, any object with ``write``, or None. Nothing is written to None and to
            a closed stream.
        required: raise an error if the system refuses to write. Default: the text is dropped, and
            so it is if the stream raises anything else; for progress and messages.
    """

    def __init__(self, stream: Any, required: bool = False):
        self._stream, self._required = stream, required

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property
    def encoding(self) -> str:
        """The stream's encoding; UTF-8 if it has none that Python knows."""
        encoding: Any = getattr(self._stream, "encoding", None)
        try:
            return codecs.lookup(encoding).name
        except (LookupError, TypeError):
            return "utf-8"

    def isatty(self) -> bool:
        """Whether the stream says that it is a terminal."""
        try:
            return bool(self._stream.isatty())
        except Exception:
            return False

    def can_encode(self, text: str) -> bool:
        """Whether all characters are in the stream's encoding."""
        return replace_unencodable(text, self.encoding) == text

    def write(self, text: str) -> int:
        """Write text, with replacements where the encoding needs them.

        Raises:
            BrokenPipeError, OutputError: output is required, and it cannot be written.
        """
        if self._stream is None:
            return len(text)
        with self._errors():
            escape = getattr(self._stream, "errors", None) == "backslashreplace"
            try:
                self._stream.write(replace_unencodable(text, self.encoding, escape))
            except UnicodeEncodeError:  # the stream names another encoding than it has, or none
                self._stream.write(replace_unencodable(text, "ascii", escape))
        return len(text)

    def write_utf8(self, text: str) -> None:
        """Write text in UTF-8, whatever the stream's encoding, and flush it.

        Raises:
            BrokenPipeError, OutputError: as for ``write``.
        """
        buffer = getattr(self._stream, "buffer", None)
        if buffer is None:
            self.write(text)
            self.flush()
            return
        with self._errors():
            buffer.write(text.encode("utf-8", "backslashreplace"))
            buffer.flush()

    def flush(self) -> None:
        """Flush the stream, if it can be.

        Raises:
            BrokenPipeError, OutputError: as for ``write``.
        """
        if hasattr(self._stream, "flush"):
            with self._errors():
                self._stream.flush()

    @contextmanager
    def _errors(self) -> Generator[None]:
        """Drop the errors of the stream, or translate those of required output."""
        try:
            yield
        except Exception as error:
            if isinstance(error, ValueError) or not self._required:  # ValueError: it is closed
                return
            if isinstance(error, OSError) and not isinstance(error, (BrokenPipeError, OutputError)):
                raise OutputError(
                    f"The output cannot be written ({error.strerror or error}). Send it to a file "
                    "with room, or to a program that reads it."
                ) from error
            raise


@contextmanager
def safe_standard_streams() -> Generator[None]:
    """Make the standard streams of the process safe to write to while the block runs.

    Descriptors that the parent process closed (``>&-``) are opened on the null device: the next
    file that is opened would get their number otherwise, and every message of a library would be
    written into it. Output that the system refuses is dropped at the end of the process.
    """
    _open_closed_descriptors()
    stdout, stderr = OutputStream(sys.stdout, required=True), OutputStream(sys.stderr)
    with redirect_stdout(stdout), redirect_stderr(stderr):
        try:
            yield
        finally:
            for stream in (stdout, stderr):
                _drop_if_refused(stream)


def _open_closed_descriptors() -> None:
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115


def _drop_if_refused(stream: OutputStream) -> None:
    """Flush a stream; if the system refuses, drop its text, at which Python's exit would fail."""
    try:
        stream.flush()
    except OSError:
        with suppress(Exception):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
