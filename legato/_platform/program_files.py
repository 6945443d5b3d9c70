"""The files of JAX's persistent compilation cache: bounded, and safe to share between processes.

JAX's own files are neither, unless the package ``filelock`` is installed: they grow without bound,
and one that a killed process or a full disk left half written stays, with a warning at every use.
Here a file appears whole or not at all, ends with a checksum, and is written anew if that is wrong.
What cannot be read or written is compiled, silently. The files that were not used for the longest
time are removed when all of them take more than a limit.

JAX chooses its cache in ``get_file_cache``, for which there is no public setting: it is replaced
for legato's folder alone. A JAX that has no such function uses its own files.
"""

import os
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

MAX_BYTES = 2**29
_KEPT_SHARE = 0.75  # of the limit, after files were removed
_SUFFIX, _PARTIAL = "-cache", ".partial"
_CHECKSUM_BYTES = 4
_ABANDONED_S = 3600.0  # after which a half-written file is of a process that was killed


class ProgramFiles:
    """Compiled programs by key, one in each file of a folder.

    Args:
        folder: that exists.
        max_bytes: the limit on the size of all files, checked when this process first writes one
            and whenever it has written another sixteenth of the limit.
    """

    def __init__(self, folder: str | Path, max_bytes: int = MAX_BYTES):
        self._path = Path(folder)  # JAX's name for it
        self._max_bytes = max_bytes
        self._unchecked_bytes = max_bytes  # written since the size was checked

    def get(self, key: str) -> bytes | None:
        """The program; None if there is none that is whole."""
        file = self._file(key)
        try:
            content = file.read_bytes()
        except OSError:
            return None
        program, checksum = content[:-_CHECKSUM_BYTES], content[-_CHECKSUM_BYTES:]
        if checksum != _checksum(program):
            return None
        with suppress(OSError):
            os.utime(file)  # used now
        return program

    def put(self, key: str, value: bytes) -> None:
        """Write a program, or nothing if that is impossible."""
        partial = self._path / f"{os.getpid()}-{threading.get_ident()}{_PARTIAL}"
        try:
            partial.write_bytes(value + _checksum(value))
            partial.replace(self._file(key))
        except OSError:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
        self._unchecked_bytes += len(value)
        if self._unchecked_bytes > self._max_bytes / 16:
            self._unchecked_bytes = 0
            with suppress(OSError):
                self._remove_oldest()

    def _file(self, key: str) -> Path:
        return self._path / f"{key}{_SUFFIX}"

    def _remove_oldest(self) -> None:
        """Remove the files used longest ago if all are too large, and abandoned ones."""
        files, abandoned = [], time.time() - _ABANDONED_S
        for entry in os.scandir(self._path):
            with suppress(OSError):  # another process removed it
                facts = entry.stat()
                if entry.name.endswith(_SUFFIX):
                    files.append((facts.st_mtime, facts.st_size, entry.path))
                elif entry.name.endswith(_PARTIAL) and facts.st_mtime < abandoned:
                    os.unlink(entry.path)
        left = sum(size for _, size, _ in files)
        if left <= self._max_bytes:
            return
        for _, size, path in sorted(files):
            if left <= _KEPT_SHARE * self._max_bytes:
                return
            with suppress(OSError):
                os.unlink(path)
            left -= size


def _checksum(program: bytes) -> bytes:
    return zlib.crc32(program).to_bytes(_CHECKSUM_BYTES, "little")


def use_program_files(folder: Path) -> None:
    """Let JAX keep compiled programs in a folder, by ``ProgramFiles`` if it lets us choose.

    JAX's setting ``jax_compilation_cache_max_size`` is the limit if it is set.
    """
    import jax
    from jax._src import compilation_cache

    jax.config.update("jax_compilation_cache_dir", str(folder))
    of_jax: Callable[[str], Any] | None = getattr(compilation_cache, "get_file_cache", None)
    if of_jax is None:
        return

    def file_cache(path: str) -> Any:
        if path != str(folder):
            return of_jax(path)
        limit = getattr(jax.config, "jax_compilation_cache_max_size", -1)
        return ProgramFiles(path, limit if limit >= 0 else MAX_BYTES), path

    compilation_cache.get_file_cache = file_cache
