"""Checks HDF5 files for damage on which the HDF5 library, which cannot be interrupted, never ends.

Texts of attributes are in global heaps: collections of objects, each with its size. The library
steps from object to object, and an object that takes no room stops it from going on (HDF5 2.0;
format: "Global Heap" in the HDF5 File Format Specification). Limit: files in which lengths take 8
bytes, as all that h5py writes.
"""

import mmap
import struct
from pathlib import Path

_SIGNATURE = b"GCOL"
_COLLECTION = struct.Struct("<4sB3sQ")  # signature, version, zeros, size
_OBJECT = struct.Struct("<H6xQ")  # index, 0 for what is free; size
_ALIGNMENT = 8  # bytes


def check_heaps_of(path: Path) -> None:
    """Check a file as ``check_heaps`` does its content.

    Raises:
        OSError: it cannot be read.
        ValueError: an object takes no room, or it is empty.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        check_heaps(content)


def check_heaps(content: bytes | mmap.mmap) -> None:
    """Check the global heaps in the content of an HDF5 file.

    Raises:
        ValueError: an object in one takes no room.
    """
    at = content.find(_SIGNATURE)
    while at >= 0:
        if at + _COLLECTION.size <= len(content):
            _, version, zeros, size = _COLLECTION.unpack_from(content, at)
            if version == 1 and zeros == bytes(3):  # else the signature stands there by chance
                _check_objects(content, at + _COLLECTION.size, min(at + size, len(content)))
        at = content.find(_SIGNATURE, at + 1)


def _check_objects(content: bytes | mmap.mmap, at: int, end: int) -> None:
    """Step from object to object of one collection.

    Raises:
        ValueError: one takes no room.
    """
    while at + _OBJECT.size <= end:
        index, size = _OBJECT.unpack_from(content, at)
        if index:
            size = _OBJECT.size + -(-size // _ALIGNMENT) * _ALIGNMENT
        size %= 2**64  # as the library computes it
        if not size:
            raise ValueError(f"the object at byte {at:,} of a global heap takes no room")
        at += size
