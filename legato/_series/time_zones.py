"""Time zones: instants in UTC, and what a clock on the wall shows.

The zone of a frame's column, or one that is named, has all its rules (Polars' copy of the IANA
database). Of texts with offsets only those offsets are known: each holds from the first time that
has it, and the last one holds for the future.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from legato._errors import InputError

if TYPE_CHECKING:
    import polars

_MINUTE = np.timedelta64(1, "m")


class Zone(Protocol):
    """A time zone. ``is_fixed``: whether its offset from UTC never changes."""

    @property
    def is_fixed(self) -> bool: ...

    def wall(self, times: np.ndarray) -> np.ndarray:
        """What a clock on the wall shows at some instants."""
        ...

    def instants(self, wall: np.ndarray) -> np.ndarray:
        """The instants at which a clock shows some times, the earlier of two; of a time that is
        skipped in spring, that of an hour later.
        """
        ...


def offsets_of(zone: Zone, times: np.ndarray) -> np.ndarray:
    """The minutes from UTC at some instants."""
    return ((zone.wall(times) - times) // _MINUTE).astype(int)


@dataclass(frozen=True, eq=False)
class ObservedOffsets:
    """The offsets that times came with.

    Attributes:
        begins: (changes,) the first instant of each offset, ascending.
        minutes: (changes,) the offsets.
    """

    begins: np.ndarray
    minutes: np.ndarray

    @classmethod
    def of(cls, times: np.ndarray, minutes: np.ndarray) -> "ObservedOffsets":
        """The offsets of some instants."""
        order = np.argsort(times, kind="stable")
        times, minutes = times[order], minutes[order]
        changes = np.append(True, minutes[1:] != minutes[:-1])
        return cls(times[changes], minutes[changes])

    @property
    def is_fixed(self) -> bool:
        return len(self.minutes) == 1

    def _at(self, times: np.ndarray, begins: np.ndarray) -> np.ndarray:
        places = np.maximum(np.searchsorted(begins, times, side="right") - 1, 0)
        return self.minutes[places] * _MINUTE

    def wall(self, times: np.ndarray) -> np.ndarray:
        return times + self._at(times, self.begins)

    def instants(self, wall: np.ndarray) -> np.ndarray:
        return wall - self._at(wall, self.begins + self.minutes * _MINUTE)


@dataclass(frozen=True)
class NamedZone:
    """A zone of the IANA database, such as ``"Europe/Berlin"``.

    Raises:
        InputError: there is no zone of that name.
    """

    name: str

    def __post_init__(self):
        import polars

        try:
            polars.Series([], dtype=polars.Datetime("us")).dt.replace_time_zone(self.name)
        except (polars.exceptions.PolarsError, TypeError) as error:
            raise InputError(
                f"zone is {self.name!r}, which is no time zone; a name such as 'Europe/Berlin' or "
                "'UTC' was expected."
            ) from error

    @property
    def is_fixed(self) -> bool:
        return self.name in ("UTC", "Etc/UTC", "GMT")

    def wall(self, times: np.ndarray) -> np.ndarray:
        shown = _series(times).dt.replace_time_zone("UTC").dt.convert_time_zone(self.name)
        return _as_shaped(shown.dt.replace_time_zone(None), times)

    def instants(self, wall: np.ndarray) -> np.ndarray:
        found = self.localize(wall, np.zeros(wall.shape, bool))
        later = self.localize(wall + np.timedelta64(1, "h"), np.zeros(wall.shape, bool))
        return np.where(np.isnat(found), later, found)

    def localize(self, wall: np.ndarray, is_second: np.ndarray) -> np.ndarray:
        """The instants at which a clock shows some times; NaT where it never does.

        Args:
            wall: the times.
            is_second: whether the later of two instants is meant, where summer time ends.
        """
        import polars

        which = polars.Series(np.where(is_second.ravel(), "latest", "earliest"))
        there = _series(wall).dt.replace_time_zone(self.name, ambiguous=which, non_existent="null")
        return _as_shaped(there.dt.convert_time_zone("UTC").dt.replace_time_zone(None), wall)

    def instants_in_order(self, wall: np.ndarray, sequence: np.ndarray) -> np.ndarray:
        """The instants of times as a file has them: NaT where a clock never shows one.

        Of a time that comes twice in a sequence, the later instant is the second one, or the first
        if times descend.

        Args:
            wall: (times,) in the order of the file within each sequence.
            sequence: (times,) the index of the sequence of each.
        """
        forth = (np.diff(wall) > np.timedelta64(0)).sum() >= (
            np.diff(wall) < np.timedelta64(0)
        ).sum()
        step = 1 if forth else -1
        order = np.lexsort((wall[::step], sequence[::step]))
        ordered, theirs = wall[::step][order], sequence[::step][order]
        again = np.append(False, (ordered[1:] == ordered[:-1]) & (theirs[1:] == theirs[:-1]))
        is_second = np.empty(len(wall), bool)
        is_second[order] = again
        return self.localize(wall, is_second[::step])


def _series(times: np.ndarray) -> "polars.Series":
    import polars

    return polars.Series(times.ravel())


def _as_shaped(series: "polars.Series", like: np.ndarray) -> np.ndarray:
    return series.to_numpy().astype(like.dtype).reshape(like.shape)
