"""Global heaps of HDF5 files that would be read without end are found."""

import struct

import h5py
import pytest

from legato._platform.hdf5_files import check_heaps, check_heaps_of


def heap(*objects: tuple[int, int], version: int = 1, size: int = 4096) -> bytes:
    """A collection of objects, each with its index and size; that of free room has all of it."""
    content = struct.pack("<4sB3xQ", b"GCOL", version, size)
    for index, length in objects:
        content += struct.pack("<H6xQ", index, length)
        content += bytes(min(length if index else max(0, length - 16), 4096))
    return content


@pytest.mark.parametrize("objects", [[(0, 0)], [(1, 8), (2, 16), (0, 0)], [(7, 2**64 - 16)]])
def test_an_object_without_room_is_found(objects):
    with pytest.raises(ValueError, match="takes no room"):
        check_heaps(b"12345678" + heap(*objects))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GCOL",
        heap((1, 8), (0, 40)),
        heap((1, 2**40)),
        heap((0, 0), version=2),  # by chance among numbers
        heap((1, 8), (0, 40), size=2**60),
    ],
    ids=range(6),
)
def test_others_are_left_to_the_library(content):
    check_heaps(content)


def test_files_of_h5py_pass(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for number in range(300):
            file.attrs[f"name {number}"] = "text" * number
        file["x"] = list(range(100))
    assert path.read_bytes().count(b"GCOL") > 1
    check_heaps_of(path)
