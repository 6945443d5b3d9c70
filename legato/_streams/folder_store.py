"""A store of one file for each stream: holds the streams that were evicted from memory.

A file is what ``Stream.save`` writes; its name is a digest of the stream's, so that a name with
slashes leads to no other folder. Each is written whole or not at all, and forced onto the disk;
several are not one transaction.
"""

import hashlib
import os
from pathlib import Path

import numpy as np

from legato._errors import OutputError, StateError
from legato._platform.atomic_files import make_folder, sync_folder
from legato._streams.store import Name, StreamRecords
from legato._streams.stream_files import StreamFile


class FolderStore:
    """Keeps each stream in a file of its own; a ``StreamStore``.

    Args:
        path: of the folder; made if it is missing.
        files: reads and writes the files.

    Raises:
        OutputError: the folder cannot be made.
    """

    def __init__(self, path: str | os.PathLike, files: StreamFile):
        self._path, self._files = Path(path).absolute(), files  # also if the process moves on
        make_folder(self._path)

    def __str__(self) -> str:
        return f"the folder {self._path}"

    def load(self, names: list[Name] | None = None, limit: int | None = None) -> StreamRecords:
        """See ``StreamStore``.

        Raises:
            StateError: also if the folder was removed or moved, and the streams in it with it.
        """
        if not self._path.is_dir():
            raise StateError(
                f"The folder {self._path} of evicted streams is gone. Put it back; or make an "
                "empty one, and the streams that were in it begin anew."
            )
        if names is None:
            paths = sorted(self._path.glob("[!.]*.state"))  # no temporary file of a killed process
            found = list(map(self._read, paths))
        else:
            found = [self._read(path) for path in map(self._file, names) if path.exists()]
        names = [name for records in found for name in records.names]
        width = len(self._files.blank)
        rows = [self._files.blank[None][:0], *(records.rows[:, :width] for records in found)]
        steps = [np.empty(0, np.int64), *(records.steps for records in found)]
        return StreamRecords(names, np.concatenate(rows), np.concatenate(steps))

    def put(self, records: StreamRecords) -> None:
        """See ``StreamStore``; stops at the first file that cannot be written."""
        for at, name in enumerate(records.names):
            part = slice(at, at + 1)
            record = StreamRecords([name], records.rows[part], records.steps[part])
            self._files.write(self._file(name), record)

    def drop(self, names: list[Name]) -> int:
        """See ``StreamStore``; the files are not read, so that damaged ones can go too.

        Raises:
            OutputError: a file cannot be removed.
        """
        there = [path for path in map(self._file, names) if path.exists()]
        try:
            for path in there:
                path.unlink()
            if there:
                sync_folder(self._path)
        except OSError as error:
            raise OutputError(
                f"An evicted stream in {self._path} cannot be removed ({error.strerror or error}). "
                "Use a folder that you may write to."
            ) from error
        return len(there)

    def commit(self, force: bool = False) -> None:
        """See ``StreamStore``; every file is forced onto the disk as it is written."""

    def close(self) -> None:
        """See ``StreamStore``; every file is finished as soon as it is written."""

    def _read(self, path: Path) -> StreamRecords:
        """Read the file of one stream.

        Raises:
            StateError: it is damaged, of another model or other weights, or another stream's.
        """
        records = self._files.read(path)
        if [self._file(name) for name in records.names] != [path]:
            raise StateError(
                f"{path} holds {', '.join(map(repr, records.names)) or 'no stream'}, and a file of "
                "that name belongs to another stream: it was renamed or copied. Put the right file "
                "back, or take this one away."
            )
        return records

    def _file(self, name: Name) -> Path:
        return self._path / f"{hashlib.sha256(repr(name).encode()).hexdigest()[:32]}.state"
