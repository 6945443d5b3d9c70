"""A store of one SQLite file, which one server has open at a time.

SQLite's write-ahead log makes each ``put`` one transaction. With ``synchronous=FULL`` that is
forced onto the disk before the step is answered; with ``NORMAL`` the system writes it when it
will: a killed process loses nothing, a loss of power the last transactions.
"""

import os
import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from legato._errors import OutputError, StateError
from legato._serve.input_history import Chunk
from legato._serve.stored_streams import Change, StoredStream

_FORMAT = 2  # SQLite's user_version of the file
_APPLICATION = 0x6C656773  # its application_id: "legs"
_MOST_NAMES = 500  # in one query
_LAST = "\U0010ffff"  # sorts after all that follows a prefix
_TABLES = """
CREATE TABLE IF NOT EXISTS streams (
    key TEXT PRIMARY KEY, row BLOB NOT NULL, steps INTEGER NOT NULL, version INTEGER NOT NULL,
    weights TEXT NOT NULL, recent BLOB NOT NULL, ended REAL NOT NULL, kept INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS replies (
    key TEXT NOT NULL, place INTEGER NOT NULL, reply BLOB NOT NULL, PRIMARY KEY (key, place)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS history (
    key TEXT NOT NULL, after INTEGER NOT NULL, steps INTEGER NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (key, after)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS models (
    name TEXT NOT NULL, weights TEXT NOT NULL, number INTEGER NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (name, weights)
);
CREATE INDEX IF NOT EXISTS ended ON streams (ended) WHERE ended > 0;
"""


class SqliteStore:
    """Keeps streams in a file; a ``ServerStore``.

    Args:
        path: of the file; made if it is missing.
        force: whether each ``put`` waits for the disk.

    Raises:
        StateError: the file is something else.
        OutputError: it cannot be written, or another server has it open.
    """

    is_shared = False

    def __init__(self, path: str | os.PathLike, force: bool):
        self._path = Path(path)
        self._is_written = True  # what was to be written last
        with self._errors():
            # autocommit: transactions begin and end where this module says
            self._connection = sqlite3.connect(
                self._path, isolation_level=None, check_same_thread=False, timeout=0.5
            )
            try:
                self._open(force)
            except BaseException:
                self._connection.close()
                raise

    def __str__(self) -> str:
        return str(self._path)

    def _open(self, force: bool) -> None:
        execute = self._connection.execute
        execute("PRAGMA locking_mode = EXCLUSIVE")
        known = execute("PRAGMA application_id").fetchone()[0]
        is_empty = not execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if not (is_empty or known == _APPLICATION):
            raise StateError(
                f"{self._path} is a database of something else: name another file for the streams."
            )
        if not is_empty and execute("PRAGMA user_version").fetchone()[0] != _FORMAT:
            raise StateError(
                f"{self._path} was written by another version of legato, in another format: serve "
                "it with that version, or name another file for the streams."
            )
        execute("PRAGMA journal_mode = WAL")
        execute(f"PRAGMA synchronous = {'FULL' if force else 'NORMAL'}")
        execute(f"PRAGMA application_id = {_APPLICATION}")
        execute(f"PRAGMA user_version = {_FORMAT}")
        self._connection.executescript(_TABLES)
        with self._transaction():  # takes the lock now, not with the first step
            execute("DELETE FROM streams WHERE key = ''")

    @contextmanager
    def _errors(self) -> Generator[None]:
        """Turn SQLite's errors into legato's."""
        try:
            yield
        except sqlite3.OperationalError as error:
            reason = (
                "another server has it open" if "locked" in str(error) else f"SQLite says: {error}"
            )
            raise OutputError(
                f"The store {self._path} cannot be used ({reason}). Name a file in a folder that "
                "exists, has room, and that no other server uses."
            ) from error
        except sqlite3.DatabaseError as error:
            raise StateError(
                f"{self._path} is no file of streams, or a damaged one ({error}). Use it as legato "
                "wrote it, or name another."
            ) from error

    @contextmanager
    def _transaction(self) -> Generator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def load(self, keys: Sequence[str]) -> dict[str, StoredStream]:
        """See ``ServerStore``."""
        found = {}
        with self._errors():
            for begin in range(0, len(keys), _MOST_NAMES):
                part = keys[begin : begin + _MOST_NAMES]
                marks = ",".join("?" * len(part))
                rows = self._connection.execute(
                    "SELECT key, row, steps, version, weights, recent, ended, kept FROM streams "
                    f"WHERE key IN ({marks})",
                    part,
                )
                found |= {key: StoredStream(*record) for key, *record in rows}
        return found

    def reply(self, key: str, place: int) -> bytes | None:
        """See ``ServerStore``."""
        query = "SELECT reply FROM replies WHERE key = ? AND place = ?"
        with self._errors():
            row = self._connection.execute(query, (key, place)).fetchone()
        return None if row is None else row[0]

    def put(self, changes: Sequence[Change]) -> set[str]:
        """See ``ServerStore``; there are no other writers."""
        # Of changes that waited, a stream has one for each reply, and one record.
        records = list({each.key: (each.key, *each.stream) for each in changes}.values())
        replies = [(each.key, each.place, each.reply) for each in changes if each.place is not None]
        execute = self._connection.execute
        self._is_written = False
        with self._errors(), self._transaction():
            self._connection.executemany(
                "INSERT OR REPLACE INTO streams "
                "(key, row, steps, version, weights, recent, ended, kept) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                records,
            )
            self._connection.executemany(
                "INSERT OR REPLACE INTO replies (key, place, reply) VALUES (?, ?, ?)", replies
            )
            for each in changes:
                if each.forget >= 0:
                    execute(
                        "DELETE FROM history WHERE key = ? AND after <= ?", (each.key, each.forget)
                    )
                if each.chunk is not None:
                    execute("INSERT INTO history VALUES (?, ?, ?, ?)", (each.key, *each.chunk))
        self._is_written = True
        return set()

    def drop(self, keys: Sequence[str]) -> int:
        """See ``ServerStore``."""
        pairs = [(key,) for key in keys]
        with self._errors(), self._transaction():
            self._connection.executemany("DELETE FROM replies WHERE key = ?", pairs)
            self._connection.executemany("DELETE FROM history WHERE key = ?", pairs)
            done = self._connection.executemany("DELETE FROM streams WHERE key = ?", pairs)
        return done.rowcount

    def history(self, key: str) -> list[Chunk]:
        """See ``ServerStore``."""
        query = "SELECT after, steps, content FROM history WHERE key = ? ORDER BY after"
        with self._errors():
            return [Chunk(*row) for row in self._connection.execute(query, (key,))]

    def add_model(self, name: str, weights: str, content: bytes) -> int:
        """See ``ServerStore``."""
        with self._errors(), self._transaction():
            self._connection.execute(
                "INSERT OR IGNORE INTO models SELECT ?, ?, coalesce(max(number), 0) + 1, ? "
                "FROM models WHERE name = ?",
                (name, weights, content, name),
            )
            query = "SELECT number FROM models WHERE name = ? AND weights = ?"
            return self._connection.execute(query, (name, weights)).fetchone()[0]

    def model(self, name: str, weights: str) -> tuple[int, bytes] | None:
        """See ``ServerStore``."""
        query = (
            "SELECT number, content FROM models WHERE name = ? AND weights = ? AND length(content)"
        )
        with self._errors():
            return self._connection.execute(query, (name, weights)).fetchone()

    def forget_models(self, name: str, weights: str) -> None:
        """See ``ServerStore``."""
        query = "SELECT weights FROM models WHERE name = ? AND weights <> ?"
        with self._errors():
            others = self._connection.execute(query, (name, weights)).fetchall()
            if not others:
                return
            used = set(self._connection.execute("SELECT DISTINCT weights FROM streams"))
            unused = [(name, *each) for each in others if each not in used]
            with self._transaction():
                self._connection.executemany(
                    "DELETE FROM models WHERE name = ? AND weights = ?", unused
                )

    def keys(self, prefix: str, after: str = "", limit: int = 1000) -> list[str]:
        """See ``ServerStore``."""
        query = (
            "SELECT key FROM streams WHERE key >= ? AND key < ? AND key > ? AND ended = 0 "
            "ORDER BY key LIMIT ?"
        )
        with self._errors():
            found = self._connection.execute(query, (prefix, prefix + _LAST, after, limit))
            return [key for (key,) in found]

    def count(self, prefix: str = "") -> int:
        """See ``ServerStore``."""
        query = "SELECT count(*) FROM streams WHERE key >= ? AND key < ? AND ended = 0"
        with self._errors():
            return self._connection.execute(query, (prefix, prefix + _LAST)).fetchone()[0]

    def forget_ended(self, before: float) -> None:
        """See ``ServerStore``."""
        with self._errors(), self._transaction():
            chosen = "SELECT key FROM streams WHERE ended > 0 AND ended < ?"
            for table in ("replies", "history", "streams"):
                self._connection.execute(f"DELETE FROM {table} WHERE key IN ({chosen})", (before,))

    def check(self) -> None:
        """See ``ServerStore``."""
        self.keys("", "", 1)
        if not self._is_written:
            with self._errors():
                self._connection.execute(f"PRAGMA user_version = {_FORMAT}")  # writes a page
            self._is_written = True

    def flush(self) -> None:
        """See ``ServerStore``; nothing waits."""

    def close(self) -> None:
        """See ``ServerStore``."""
        with self._errors():
            self._connection.close()
