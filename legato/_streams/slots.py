"""A table in memory of the states of many streams by name, one slot (a row) each.

It grows up to a limit, by doubling while it is small; the slots of streams that were dropped are
used again.
"""

from collections.abc import Collection, Iterable
from itertools import repeat

import numpy as np

from legato._errors import InputError
from legato._platform.padding import pad_with_zeros
from legato._streams.store import Name, StreamRecords, checked_name

_MIN_SLOTS = 16
_MANY_SLOTS = 2**15  # from which on it grows by an eighth
_NAME_TYPES = frozenset((str, int))


class SlotTable:
    """The carried states of streams, their steps, and when each was last fed.

    Args:
        blank: (width,), the state of a stream that was fed nothing.
        limit: the most streams it takes.

    Attributes:
        limit: as given.
        bytes_each: bytes of a stream, its name apart.
    """

    def __init__(self, blank: np.ndarray, limit: int):
        self.limit = limit
        self._blank = blank
        self._slots: dict[Name, int] = {}
        self._free: list[int] = []  # slots whose streams were dropped
        self._rows = np.empty((0, len(blank)), blank.dtype)
        self._steps = np.empty(0, np.int64)
        self._last_feed = np.empty(0, np.int64)  # number of the feed that each was last part of
        self._feeds = 0
        self.bytes_each: int = blank.nbytes + self._steps.itemsize + self._last_feed.itemsize

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, name) -> bool:
        is_name = isinstance(name, (str, int, np.integer)) and not isinstance(name, bool)
        return is_name and name in self._slots

    @property
    def names(self) -> list[Name]:
        """Names of the streams, in the order in which they began."""
        return list(self._slots)

    @property
    def capacity(self) -> int:
        """How many slots there are, free ones included."""
        return len(self._rows)

    @property
    def nbytes(self) -> int:
        """Bytes of all slots, free ones included."""
        return len(self._rows) * self.bytes_each

    @property
    def feeds(self) -> int:
        """How often states were put into it."""
        return self._feeds

    def slots_of(self, names: Collection[Name]) -> np.ndarray:
        """The slot of each stream; -1 where there is no such stream.

        Raises:
            InputError: a name is neither a text nor a whole number. True and 1.0, say, would be
                found as 1, and written to a store as something else.
        """
        if not _NAME_TYPES.issuperset(map(type, names)):
            names = list(map(checked_name, names))
        return np.fromiter(map(self._slots.get, names, repeat(-1)), np.int64)

    def slot_of(self, name: Name) -> int:
        """The slot of one stream.

        Raises:
            InputError: there is no such stream, or ``name`` is no name of one.
        """
        slot = self._slots.get(checked_name(name))
        if slot is None:
            raise InputError(f"There is no stream {name!r} among the {len(self)} in memory.")
        return slot

    def gather(self, slots: np.ndarray, size: int) -> np.ndarray:
        """Copy states into a batch.

        Args:
            slots: (streams,), -1 for a stream that begins.
            size: rows of the batch.

        Returns:
            (size, width); after the streams, and where a slot is -1, blank states.
        """
        rows = np.empty((size, len(self._blank)), self._blank.dtype)
        rows[len(slots) :] = self._blank
        if len(self._rows):
            np.take(self._rows, slots, axis=0, out=rows[: len(slots)], mode="clip")
        new = slots < 0
        if new.any():
            rows[: len(slots)][new] = self._blank
        return rows

    def steps(self, slots: np.ndarray) -> np.ndarray:
        """How many steps each stream was fed; 0 where a slot is -1."""
        if not len(self._steps):
            return np.zeros(len(slots), np.int64)
        return np.where(slots < 0, 0, self._steps[slots])

    def records(self, names: Iterable[Name] | None = None) -> StreamRecords:
        """The records of some streams, those that are not in the table left out.

        Args:
            names: of the streams; default: all, in the table's order.
        """
        there = self.names if names is None else [name for name in names if name in self]
        slots = self.slots_of(there)
        return StreamRecords(there, self.gather(slots, len(slots)), self.steps(slots))

    def check_limit(self, more: int) -> None:
        """Check that so many more streams are within the limit.

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

    def check_new(self, names: list[Name], slots: np.ndarray) -> list[Name]:
        """Check that the streams whose slot is -1 can begin; returns their names.

        Raises:
            InputError: more than the limit, or a name that is neither a text nor a whole number.
        """
        new = np.flatnonzero(slots < 0)
        if not len(new):
            return []
        self.check_limit(len(new))
        return [checked_name(names[at]) for at in new]

    def put(
        self, names: list[Name], slots: np.ndarray, rows: np.ndarray, steps: np.ndarray
    ) -> None:
        """Write states and steps; streams whose slot is -1 begin.

        Args:
            names: of the streams.
            slots: (streams,), those of new streams are filled in.
            rows: (streams, width).
            steps: (streams,), how many steps each was fed.

        Raises:
            InputError: as ``check_new`` does.
        """
        new = self.check_new(names, slots)
        if new:
            slots[slots < 0] = self._assign(new)
        self._feeds += 1
        self._rows[slots] = rows
        self._steps[slots] = steps
        self._last_feed[slots] = self._feeds

    def _assign(self, names: list[Name]) -> list[int]:
        """Slots for new streams, free ones first."""
        used = len(self._slots) + len(self._free)
        again = [self._free.pop() for _ in range(min(len(names), len(self._free)))]
        slots = [*again, *range(used, used + len(names) - len(again))]
        self._grow(used + len(names) - len(again))
        self._slots.update(zip(names, slots, strict=True))
        return slots

    def _grow(self, size: int) -> None:
        have = len(self._rows)
        if size > have:
            grown = 2 * have if have < _MANY_SLOTS else have + have // 8
            size = min(max(size, grown, _MIN_SLOTS), max(size, self.limit))
            # What is not used yet takes no memory: the system gives pages as they are written.
            self._rows = pad_with_zeros(self._rows, size)
            self._steps = pad_with_zeros(self._steps, size)
            self._last_feed = pad_with_zeros(self._last_feed, size)

    def drop(self, name: Name) -> None:
        """Forget a stream; its slot is free.

        Raises:
            InputError: there is no such stream.
        """
        self._free.append(self.slot_of(name))
        del self._slots[name]

    def idle(self, count: int) -> list[Name]:
        """The streams that were fed longest ago, these first; at most ``count``."""
        names = self.names
        last = self._last_feed[list(self._slots.values())]
        return [names[at] for at in np.argsort(last, kind="stable")[:count]]

    def fed_until(self, feed: int) -> list[Name]:
        """The streams that were last fed by the put of this number, or earlier."""
        names = self.names
        last = self._last_feed[list(self._slots.values())]
        return [names[at] for at in np.flatnonzero(last <= feed)]
