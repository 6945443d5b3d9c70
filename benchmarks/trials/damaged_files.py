"""Reads damaged files of one format in a child process that is watched.

A file that is damaged is read, or refused with an error of legato that names it, on one line; it
must not end the process, hang it, or take much memory. What libraries print on standard error
counts too, if it is a traceback or a panic.
"""

from __future__ import annotations

import itertools
import os
import resource
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from trials.formats import FORMATS, Format, flipped
from trials.processes import Child

from legato import LegatoError
from legato._streams.log_records import read_records

START_S, HANG_S = 600, 60  # most seconds until it begins, and of one file
IN_MEMORY = Path("/dev/shm")  # where files are written forty times as fast as on a disk
NOISE = (b"Traceback", b"panicked")  # on standard error


@dataclass
class Findings:
    """What damaged files of one format did.

    Attributes:
        name: of the format.
        refused: number of files that were refused as they should.
        read: number of files that were read, of formats without a checksum; or of a log whose
            last record only is not whole, as a kill leaves it.
        accepted: number of files that were read in spite of their checksum.
        unexpected: number of files that raised something else, or ended the process.
        hangs: number of files that took longer than ``HANG_S``.
        grown_mib: how much the most memory of the process grew after the whole file was read.
        notes: for each file that was accepted, hung or raised another error, what it did.
    """

    name: str
    refused: int = 0
    read: int = 0
    accepted: int = 0
    unexpected: int = 0
    hangs: int = 0
    grown_mib: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def trials(self) -> int:
        """How many files were tried."""
        return self.refused + self.read + self.accepted + self.unexpected + self.hangs

    def add(self, number: int, outcome: str, text: str, grown_mib: float) -> None:
        """Count a file."""
        setattr(self, outcome, getattr(self, outcome) + 1)
        self.grown_mib = max(self.grown_mib, grown_mib)
        if outcome not in ("refused", "read"):
            self.notes.append(f"{self.name}, file {number}: {text}")


def read_damaged(
    folder: Path, number: int, is_flipped: bool, count: int, seed: int
) -> Iterator[Findings]:
    """Read damaged files of a format; yields the findings after each.

    Args:
        folder: with whole files of all formats.
        number: of the format in ``FORMATS``.
        is_flipped: whether the damage is one flipped bit.
        count: number of files.
        seed: of the damage.
    """
    findings, first = Findings(FORMATS[number].name), 0
    while first < count:
        child = Child(read_damaged_files, folder, number, is_flipped, first, count, seed)
        seconds = START_S
        while first < count and child.receive_one(seconds):
            at, outcome, text, grown_mib = child.messages.pop()
            seconds = HANG_S
            if outcome == "failed":
                raise RuntimeError(f"{findings.name}: {text}")
            if outcome == "begun":
                continue
            if outcome != "end":
                findings.add(at, outcome, text, grown_mib)
            first = count if outcome == "end" else at + 1
            yield findings
        child.process.join(1)
        is_hung = child.process.is_alive()
        child.kill()
        if first < count:
            how = ("hangs", f"no end in {HANG_S} s") if is_hung else ("unexpected", "a crash")
            findings.add(first, *how, 0.0)
            first += 1


def read_damaged_files(
    connection, folder: Path, number: int, is_flipped: bool, first: int, count: int, seed: int
) -> None:
    """In the child: read damaged files from the one of a number on, and send what each did."""
    form = FORMATS[number]
    warnings.simplefilter("ignore")
    try:
        with (
            tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as scratch,
            (Path(scratch) / "noise").open("wb+") as noise,
        ):
            os.dup2(noise.fileno(), 2)
            copy = Path(scratch) / "files"
            shutil.copytree(folder, copy)
            whole = (copy / form.file).read_bytes()
            contents = (
                flipped(whole, count, seed) if is_flipped else form.damaged(whole, count, seed)
            )
            os.chdir(copy)
            reader = Reader(form, copy, noise)
            if reader.read(whole)[0] != "read":
                raise RuntimeError("the whole file is refused")
            before = peak_mib()
            connection.send((first, "begun", "", 0.0))
            for at, content in enumerate(itertools.islice(contents, first, None), first):
                connection.send((at, *reader.read(content), peak_mib() - before))
    except Exception as error:
        connection.send((first, "failed", f"{type(error).__name__}: {error}", 0.0))
    connection.send((count, "end", "", 0.0))


class Reader:
    """Reads contents as files of a format.

    Args:
        form: the format.
        folder: with files of all formats, of which those of this one are replaced.
        noise: the file that standard error is written to.
    """

    def __init__(self, form: Format, folder: Path, noise: BinaryIO):
        self._form, self._path, self._noise = form, folder / form.file, noise
        self._whole = self._path.read_bytes()
        self._load = form.open(folder)
        self._beside = {folder / name: (folder / name).read_bytes() for name in form.beside}

    def read(self, content: bytes) -> tuple[str, str]:
        """Read a content: which number of ``Findings`` counts it, and what was raised."""
        for path, kept in {**self._beside, self._path: content}.items():
            path.write_bytes(kept)
        self._noise.truncate(0)
        is_cut = self._form.may_be_cut and is_cut_short(self._path, self._whole)
        is_allowed = not self._form.has_checksum or is_cut or content == self._whole
        outcome, text = "read" if is_allowed else "accepted", ""
        try:
            self._load(self._path)
        except LegatoError as error:
            text = str(error)
            is_named = self._path.name in text or self._path.parent.name in text
            outcome = "refused" if is_named and "\n" not in text else "unexpected"
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # of Polars, panics too
            outcome, text = "unexpected", f"{type(error).__name__}: {error}"
        self._noise.seek(0)
        printed = self._noise.read()
        if any(each in printed for each in NOISE):
            outcome, text = "unexpected", printed.decode(errors="replace")
        return outcome, text[:2000]


def is_cut_short(path: Path, whole: bytes) -> bool:
    """Whether a log is the beginning of a whole one, apart from a last record that is not whole."""
    try:
        with path.open("rb") as log:
            ends = [end for _, end, _ in read_records(log, path)]
    except LegatoError:
        return False
    return whole.startswith(path.read_bytes()[: max(ends, default=0)])


def peak_mib() -> float:
    """The most memory that this process has had resident, in MiB."""
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
