"""The compiled programs of one verb of a model: those used last, up to a fixed number.

Every combination of shapes has a program of its own, of about 2.4 MiB for a small network, so that
a caller with ever new batch sizes or lengths would fill the memory. The program that was not used
for the longest time goes first, and its memory with it; it is compiled again if it is needed, or
read from the folder of compiled programs. The number is far above what most callers have, since
cycling through more shapes than are kept compiles for every call.
"""

from collections import OrderedDict
from collections.abc import Hashable
from contextlib import suppress
from typing import Any

PROGRAMS_KEPT = 64


class RecentPrograms:
    """A mapping that keeps the ``PROGRAMS_KEPT`` entries that were read or set last.

    Threads may use it at the same time.
    """

    def __init__(self):
        self._entries: OrderedDict[Hashable, Any] = OrderedDict()
        self._last: tuple = (None, None)  # key and entry, found without comparing keys

    def get(self, key: Hashable) -> Any:
        """The entry, which counts as used; None if there is none."""
        last, entry = self._last
        if last is key:
            return entry
        entry = self._entries.get(key)
        if entry is not None:
            self._last = key, entry
            with suppress(KeyError):  # another thread has dropped it meanwhile
                self._entries.move_to_end(key)
        return entry

    def __setitem__(self, key: Hashable, entry: Any) -> None:
        self._entries[key] = entry
        self._last = key, entry
        self._entries.move_to_end(key)
        while len(self._entries) > PROGRAMS_KEPT:
            self._entries.popitem(last=False)

    def __len__(self) -> int:
        return len(self._entries)

    def values(self) -> list:
        """The entries, the one used last at the end."""
        return list(self._entries.values())
