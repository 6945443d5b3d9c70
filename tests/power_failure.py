"""A model of what a loss of power leaves of files: a recorder of operations, and what may survive.

The recorder compares a folder before and after each ``os.fsync``, ``os.replace`` and ``os.unlink``,
so that all writes between two of them are one. The model is POSIX at its strictest: what was
written to a file since its last ``fsync`` may survive in any part, and so may each name that was
made, replaced or removed in a folder since that folder's. Of a write, nothing may survive, or its
first half, or all; before a part that survives, what did not is zeros. Limit: a write within bytes
that were there before, of less than a sector, survives as a whole or not.
"""

import itertools
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

MOST_CHOICES = 32  # of what survives at one moment; of more, a seeded sample
Disk = dict[str, bytes]  # contents by path, relative to the recorded folder


class Operation(NamedTuple):
    """One recorded operation.

    Attributes:
        kind: ``write`` or ``cut`` of a file, ``name`` or ``remove`` in a folder, ``sync`` of a file
            or folder, or ``note``.
        on: number of the file, or path of the folder.
        about: (offset, content), size, (path, number of the file), path, nothing, or the note.
    """

    kind: str
    on: Any
    about: Any = None


class Recorder:
    """Records the operations on files in a folder and the folders in it.

    Attributes:
        operations: in order.
        is_forced: whether ``os.fsync`` is recorded; false to show what would be lost without it.
    """

    def __init__(self, folder: Path, is_forced: bool = True):
        self.operations: list[Operation] = []
        self.is_forced = is_forced
        self._folder = folder
        self._numbers: dict[str, int] = {}  # of files, by path
        self._contents: dict[int, bytes] = {}
        self._count = itertools.count()
        self._look()
        self.operations = [Operation("note", None, "begin")]
        self._begin = dict(self._numbers), dict(self._contents)

    def note(self, text: Any) -> None:
        """Record that something was answered."""
        self._look()
        self.operations.append(Operation("note", None, text))

    def _paths(self) -> list[str]:
        found = [path for path in self._folder.rglob("*") if path.is_file()]
        return sorted(str(path.relative_to(self._folder)) for path in found)

    def _look(self) -> None:
        """Record what was made and written since the last look."""
        for path in self._paths():
            if path not in self._numbers:
                number = self._numbers[path] = next(self._count)
                self._contents[number] = b""
                self.operations.append(Operation("name", str(Path(path).parent), (path, number)))
            number, new = self._numbers[path], (self._folder / path).read_bytes()
            old, self._contents[number] = self._contents[number], new
            if new == old:
                continue
            if old.startswith(new):
                self.operations.append(Operation("cut", number, len(new)))
            elif len(new) == len(old):
                at = next(at for at in range(len(new)) if new[at] != old[at])
                end = next(end for end in range(len(new), 0, -1) if new[end - 1] != old[end - 1])
                self.operations.append(Operation("write", number, (at, new[at:end])))
            else:
                assert new.startswith(old), path
                self.operations.append(Operation("write", number, (len(old), new[len(old) :])))

    def _fsync(self, descriptor) -> None:
        self._look()
        if not self.is_forced:
            return
        status = os.fstat(descriptor)
        for folder in [self._folder, *filter(Path.is_dir, self._folder.rglob("*"))]:
            if os.path.samestat(status, folder.stat()):
                path = str(folder.relative_to(self._folder))
                self.operations.append(Operation("sync", path))
                return
        for path, number in self._numbers.items():
            if os.path.samestat(status, (self._folder / path).stat()):
                self.operations.append(Operation("sync", number))

    def _replace(self, source, target) -> None:
        if not Path(target).is_relative_to(self._folder):  # a compiled program that is kept
            os.rename(source, target)
            return
        self._look()
        source, target = (str(Path(each).relative_to(self._folder)) for each in (source, target))
        os.rename(self._folder / source, self._folder / target)
        number = self._numbers[target] = self._numbers.pop(source)
        folder = str(Path(target).parent)
        self.operations.append(Operation("name", folder, (target, number)))
        self.operations.append(Operation("remove", folder, source))

    def _unlink(self, path, unlink) -> None:
        self._look()
        unlink(path)
        if not Path(path).is_relative_to(self._folder):
            return
        name = str(Path(path).relative_to(self._folder))
        del self._numbers[name]
        self.operations.append(Operation("remove", str(Path(name).parent), name))

    def surviving(self) -> Iterator[tuple[list, Disk]]:
        """What a loss of power may leave, at every moment.

        Yields:
            The notes before that moment, and a disk, the same only once for the same notes.
        """
        for end in range(1, len(self.operations) + 1):
            done = self.operations[:end]
            notes = [each.about for each in done if each.kind == "note"]
            seen: list[Disk] = []
            for disk in self._disks(done):
                if disk not in seen:
                    seen.append(disk)
                    yield notes, disk

    def _disks(self, done: list[Operation]) -> Iterator[Disk]:
        """What may be left after some operations: all of them, none of those not forced, others."""
        forced = {each.on: at for at, each in enumerate(done) if each.kind == "sync"}
        open_ = [
            at
            for at, each in enumerate(done)
            if each.kind not in ("sync", "note") and at > forced.get(each.on, -1)
        ]
        choices = [(1, 0, 0.5) if done[at].kind == "write" else (1, 0) for at in open_]
        total = int(np.prod([len(each) for each in choices]))
        if total <= MOST_CHOICES:
            kept = list(itertools.product(*choices))
        else:
            rng = np.random.default_rng(len(done))
            kept = [tuple(each[0] for each in choices), tuple(each[1] for each in choices)]
            kept += [
                tuple(float(rng.choice(each)) for each in choices) for _ in range(MOST_CHOICES)
            ]
        for shares in kept:
            yield self._replay(done, dict(zip(open_, shares, strict=True)))

    def _replay(self, done: list[Operation], shares: dict[int, float]) -> Disk:
        """The disk after operations, of some of which only a share was done."""
        names = dict(self._begin[0])
        contents = {number: bytearray(content) for number, content in self._begin[1].items()}
        for at, (kind, on, about) in enumerate(done):
            share = shares.get(at, 1)
            if not share or kind in ("sync", "note"):
                continue
            if kind == "name":
                names[about[0]] = about[1]
            elif kind == "remove":
                names.pop(about, None)
            else:
                content = contents.setdefault(on, bytearray())
                if kind == "cut":
                    del content[about:]
                    continue
                offset, written = about
                if share < 1 and offset + len(written) > len(content):
                    written = written[: len(written) // 2]
                content.extend(bytes(max(0, offset - len(content))))
                content[offset : offset + len(written)] = written
        return {path: bytes(contents.get(number, b"")) for path, number in names.items()}


@contextmanager
def recorded(folder: Path, monkeypatch, is_forced: bool = True) -> Generator[Recorder]:
    """Record the operations on the files in a folder."""
    recorder, unlink = Recorder(folder, is_forced), os.unlink
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", recorder._fsync)
        patch.setattr(os, "replace", recorder._replace)
        patch.setattr(os, "unlink", lambda path, **_: recorder._unlink(path, unlink))
        yield recorder
    recorder.note("end")


def write_disk(disk: Disk, folder: Path) -> None:
    """Make the files of a disk, and no others, in a folder."""
    for path in list(folder.rglob("*")):
        if path.is_file():
            path.unlink()
    for path, content in disk.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
