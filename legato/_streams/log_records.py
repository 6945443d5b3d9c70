"""The format of a write-ahead log: records framed by their length and checksums.

A log begins with ``MAGIC``. A record has a frame, the frame's checksum, a line of JSON and a body
of bytes. The checksums tell a record that a kill cut short from one that was altered. Limit: a
record that was not forced onto the disk is taken for cut short if the end of it is missing or all
of it is zeros, and for altered otherwise.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from legato._errors import StateError

MAGIC = b"legato.streams.log.1\n"
_FRAME = struct.Struct("<QI")  # a record's length and its checksum
_CHECK = struct.Struct("<I")  # checksum of the frame: a wrong length would hide all that follows
_BLOCK_BYTES = 2**20
_encode_head = json.JSONEncoder(default=int).encode  # whole numbers of NumPy too


def frame_record(head: dict[str, Any], body: bytes = b"") -> bytes:
    """A record as the log has it: frame, its checksum, a line of JSON, and the body."""
    return frame_payload(_encode_head(head).encode() + b"\n" + body)


def frame_payload(payload: bytes) -> bytes:
    """A record of a payload: its length and checksum, their checksum, and the payload."""
    frame = _FRAME.pack(len(payload), zlib.crc32(payload))
    return frame + _CHECK.pack(zlib.crc32(frame)) + payload


def read_records(file: BinaryIO, log: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yield all whole records: the bytes at which each begins and ends, and its payload.

    Args:
        file: the log, opened at its beginning.
        log: its path, for messages.

    Raises:
        StateError: one was altered, or this is no log.
    """
    magic = file.read(len(MAGIC))
    if not MAGIC.startswith(magic):
        if not any(magic) and _has_only_zeros(file):
            return
        raise StateError(
            f"{log} is something else than the log of streams: take it away, or keep the "
            "streams in another file."
        )
    size = os.fstat(file.fileno()).st_size
    while len(frame := file.read(_FRAME.size + _CHECK.size)) == _FRAME.size + _CHECK.size:
        begin = file.tell() - len(frame)
        length, checksum = _FRAME.unpack_from(frame)
        if _CHECK.unpack_from(frame, _FRAME.size)[0] != zlib.crc32(frame[: _FRAME.size]):
            if not any(frame) and _has_only_zeros(file):
                return
            raise damage_at(begin, log)
        if length > size - file.tell():
            return
        payload = file.read(length)
        if zlib.crc32(payload) != checksum:
            raise damage_at(begin, log)
        yield begin, file.tell(), payload


def damage_at(at: int, log: Path) -> StateError:
    """The error about a damaged record that begins at a byte of a log."""
    return StateError(
        f"{log} was altered since it was written: the record at byte {at:,} of it is "
        "damaged. Use the file as legato wrote it, or keep only what it says up to there by "
        f"cutting it off: truncate -s {at} {log}."
    )


def _has_only_zeros(file: BinaryIO) -> bool:
    """Whether the rest of a file is zeros, as a loss of power leaves what was not forced."""
    while block := file.read(_BLOCK_BYTES):
        if any(block):
            return False
    return True
