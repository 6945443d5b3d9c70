"""Rows of many streams, by name: one table that grows by doubling, its free rows used again."""

from collections.abc import Iterable
from itertools import repeat
from typing import Any

import numpy as np

from legato._errors import InputError
from legato._streams.stream_files import Name

_LEAST = 16  # rows of a table


class SlotTable:
    """What streams carry, a row each.

    Args:
        blank: (words,), a stream that has seen nothing.
        limit: the most streams it takes.

    Attributes:
        limit: as given.
        bytes_each: of a stream, its name apart.
    """

    def __init__(self, blank: np.ndarray, limit: int):
        self.limit = limit
        self._blank = blank
        self._places: dict[Name, int] = {}
        self._free: list[int] = []  # rows whose streams are gone
        self._rows = np.empty((0, len(blank)), blank.dtype)
        self._steps = np.empty(0, np.int64)
        self._fed = np.empty(0, np.int64)  # the feed that each was last part of
        self._feeds = 0
        self.bytes_each: int = blank.nbytes + self._steps.itemsize + self._fed.itemsize

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name) -> bool:
        return name in self._places

    @property
    def names(self) -> list[Name]:
        """In the order in which they came."""
        return list(self._places)

    @property
    def nbytes(self) -> int:
        """Bytes of all rows, free ones included."""
        return len(self._rows) * self.bytes_each

    def places(self, names: Iterable[Name]) -> np.ndarray:
        """The row of each; -1 where there is none."""
        return np.fromiter(map(self._places.get, names, repeat(-1)), np.int64)

    def place(self, name: Name) -> int:
        """The row of one.

        Raises:
            InputError: there is no such stream.
        """
        try:
            return self._places[name]
        except (KeyError, TypeError):
            raise InputError(
                f"There is no stream {name!r} among the {len(self)} in memory."
            ) from None

    def gather(self, places: np.ndarray, size: int) -> np.ndarray:
        """What they carry, in the first of (size, words); the rest, and where a place is -1, as a
        stream that has seen nothing."""
        rows = np.empty((size, len(self._blank)), self._blank.dtype)
        rows[len(places) :] = self._blank
        if len(self._rows):
            np.take(self._rows, places, axis=0, out=rows[: len(places)], mode="clip")
        new = places < 0
        if new.any():
            rows[: len(places)][new] = self._blank
        return rows

    def steps(self, places: np.ndarray) -> np.ndarray:
        """How many steps they have seen."""
        if not len(self._steps):
            return np.zeros(len(places), np.int64)
        return np.where(places < 0, 0, self._steps[places])

    def check_room(self, more: int) -> None:
        """See that so many more streams are within the limit.

        Raises:
            InputError: they are not.
        """
        over = len(self) + more - self.limit
        if over > 0:
            raise InputError(
                f"{len(self) + more:,} streams would be more than the limit of {self.limit:,} "
                f"({self.bytes_each:,} bytes each): evict some, such as pool.evict(pool.idle("
                f"{over})), drop some, or make the pool with a higher limit=."
            )

    def put(
        self, names: list[Name], places: np.ndarray, rows: np.ndarray, steps: np.ndarray
    ) -> None:
        """Let streams carry this, and have seen so many steps; begin those whose place is -1.

        Raises:
            InputError: more than the limit, or a name that cannot be one.
        """
        new = np.flatnonzero(places < 0)
        if len(new):
            self.check_room(len(new))
            fresh = [checked_name(names[at]) for at in new]
            places[new] = self._begin(fresh)
        self._feeds += 1
        self._rows[places] = rows
        self._steps[places] = steps
        self._fed[places] = self._feeds

    def _begin(self, names: list[Name]) -> list[int]:
        """Rows for new streams."""
        used = len(self._places) + len(self._free)
        again = [self._free.pop() for _ in range(min(len(names), len(self._free)))]
        places = [*again, *range(used, used + len(names) - len(again))]
        self._grow(used + len(names) - len(again))
        self._places.update(zip(names, places, strict=True))
        return places

    def _grow(self, rows: int) -> None:
        have = len(self._rows)
        if rows > have:
            more = min(max(rows, 2 * have, _LEAST), max(rows, self.limit)) - have
            self._rows = np.concatenate(
                [self._rows, np.empty((more, len(self._blank)), self._rows.dtype)]
            )
            self._steps = np.concatenate([self._steps, np.zeros(more, np.int64)])
            self._fed = np.concatenate([self._fed, np.zeros(more, np.int64)])

    def drop(self, name: Name) -> None:
        """Forget a stream.

        Raises:
            InputError: there is no such stream.
        """
        self._free.append(self.place(name))
        del self._places[name]

    def idle(self, count: int) -> list[Name]:
        """The streams that were fed longest ago, these first."""
        names = self.names
        fed = self._fed[list(self._places.values())]
        return [names[at] for at in np.argsort(fed, kind="stable")[:count]]


def checked_name(name: Any) -> Name:
    """A name as it is kept.

    Raises:
        InputError: it is neither a text nor a whole number.
    """
    if isinstance(name, (int, np.integer)) and not isinstance(name, bool):
        return int(name)
    if isinstance(name, str):
        return str(name)
    raise InputError(f"A stream cannot be named {name!r}; a text or a whole number was expected.")
