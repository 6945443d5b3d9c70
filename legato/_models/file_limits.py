"""What a model file takes when it is read: the members of its archive, and its arrays.

A member may be packed a thousandfold; an array of HDF5 may have parts that are packed, or that are
in no file at all and read as zeros, so that a file of a few kilobytes takes all memory.
"""

import os
import zipfile
from pathlib import Path
from typing import IO

from legato._errors import InputError
from legato._platform.hdf5_files import check_heaps, check_heaps_of
from legato._platform.input_files import limit_message, unpacked_limit

RECORD_FILE = "legato.json"  # the training record inside a .keras file
_TEXT_MEMBERS = ("config.json", "metadata.json", RECORD_FILE)
_TEXT_SHARE = 16  # texts of a .keras file may have one so many-th of the limit, as JSON grows


def check_members(archive: zipfile.ZipFile, path: Path) -> None:
    """Check what the members of a ``.keras`` file take when they are unpacked, by its directory.

    Weights are hardly packed at all, so all may take the limit more than the file; texts, which
    become many times as large when they are parsed, a part of it.

    Raises:
        InputError: they take more, or their weights do.
    """
    limit, sizes = unpacked_limit(), {each.filename: each.file_size for each in archive.infolist()}
    for name in _TEXT_MEMBERS:
        if sizes.get(name, 0) > limit // _TEXT_SHARE:
            raise InputError(limit_message(f"{name} in {path}", limit // _TEXT_SHARE, _TEXT_SHARE))
    if sum(sizes.values()) > path.stat().st_size + limit:
        raise InputError(limit_message(path, path.stat().st_size + limit))
    for name in sizes:
        if name.endswith(".h5"):
            with archive.open(name) as member:
                check_datasets(member, path)


def check_datasets(file: str | os.PathLike | IO[bytes], path: Path) -> None:
    """Check what the arrays of an HDF5 file take, by their shapes.

    Args:
        file: the file, or what is read of an archive.
        path: the path of the file, or of the archive.

    Raises:
        InputError: they take the limit more than the file, or are in other files.
        OSError: it is no HDF5 file.
        ValueError: HDF5 would never end reading it.
    """
    import h5py

    if isinstance(file, (str, os.PathLike)):
        check_heaps_of(Path(file))
    else:
        check_heaps(file.read())
        file.seek(0)
    total = 0

    def add(name: str, item: h5py.Group | h5py.Dataset) -> None:
        nonlocal total
        if not isinstance(item, h5py.Dataset):
            return
        if item.external or item.is_virtual:
            raise InputError(f"{path} has an array in another file, {name!r}: write it again.")
        total += (item.size or 0) * item.dtype.itemsize

    with h5py.File(file) as hdf5:
        hdf5.visititems(add)
    limit = path.stat().st_size + unpacked_limit()
    if total > limit:
        raise InputError(limit_message(path, limit))
