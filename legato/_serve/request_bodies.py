"""Bodies of requests as they arrive: unpacked, and no larger than the server takes.

A body with ``Content-Encoding: gzip`` or ``deflate`` (the zlib format, as HTTP has it) is unpacked
piece by piece, and no further than the limit, so that a small body that unpacks to gigabytes takes
no memory.
"""

import zlib
from collections.abc import Mapping

from starlette.types import Message, Receive

from legato._errors import InputError
from legato._platform.checks import parse_count
from legato._serve.large_requests import in_thread_if

_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # as zlib takes them
_SMALL_BYTES = 1024  # unpacked at once: it becomes a MiB at most


class TooLargeError(InputError):
    """A body is larger than the server takes."""


class EncodingError(InputError):
    """A body is compressed in a way that the server does not know."""


def bounded_body(headers: Mapping[bytes, bytes], receive: Receive, most_bytes: int) -> Receive:
    """What a request's body is received by: unpacked, and refused as soon as it is too large.

    Args:
        headers: of the request.
        receive: gives the body as it arrives.
        most_bytes: that it may have, packed and unpacked.

    Raises:
        EncodingError: it is compressed otherwise than by gzip or deflate.
        TooLargeError: it says that it is larger, or is, when it is read.
    """
    encoding = headers.get(b"content-encoding", b"").decode("latin-1").strip().lower()
    if encoding not in ("", "identity", *_WINDOW_BITS):
        raise EncodingError(
            f"The body has the Content-Encoding {encoding!r}; gzip, deflate or none was expected."
        )
    too_large = TooLargeError(
        f"The request is larger than {most_bytes / 2**20:g} MiB: send less at a time."
    )
    if (parse_count(headers.get(b"content-length", b"").decode("latin-1")) or 0) > most_bytes:
        raise too_large
    unpacker = _Unpacker(_WINDOW_BITS[encoding]) if encoding in _WINDOW_BITS else None
    left = left_unpacked = most_bytes

    async def received() -> Message:
        nonlocal left, left_unpacked
        message = await receive()
        if message["type"] != "http.request":
            return message
        body = message.get("body", b"")
        left -= len(body)
        if left < 0:
            raise too_large
        if unpacker is None:
            return message
        is_long = len(body) > _SMALL_BYTES
        unpacked = await in_thread_if(is_long, unpacker.unpack, body, left_unpacked + 1)
        left_unpacked -= len(unpacked)
        if left_unpacked < 0:
            raise too_large
        if not message.get("more_body", False):
            unpacker.check_end()
        return {**message, "body": unpacked}

    return received


class _Unpacker:
    """Unpacks a body piece by piece.

    Args:
        window_bits: what kind it is, as zlib takes it.
    """

    def __init__(self, window_bits: int):
        self._window_bits = window_bits
        self._current = zlib.decompressobj(window_bits)
        self._is_begun = False

    def unpack(self, packed: bytes, most: int) -> bytes:
        """The next bytes, at most so many.

        Raises:
            InputError: they are damaged.
        """
        parts: list[bytes] = []
        try:
            while packed and most > 0:
                if self._current.eof:  # gzip files may follow each other
                    self._current = zlib.decompressobj(self._window_bits)
                parts.append(self._current.decompress(packed, most))
                self._is_begun = True
                most -= len(parts[-1])
                packed = self._current.unused_data
        except zlib.error as error:
            raise InputError(f"The compressed body cannot be unpacked ({error}).") from None
        return b"".join(parts)

    def check_end(self) -> None:
        """Check that the body is whole.

        Raises:
            InputError: its end is missing.
        """
        if self._is_begun and not self._current.eof:
            raise InputError("The compressed body ends too early: send all of it.")
