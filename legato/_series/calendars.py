"""Calendars: the times that data may fall on, numbered one after another.

A calendar turns times into whole numbers and back, so that steps are counted, gaps are found and
times go on alike for equal steps, months, weekdays and opening hours. A calendar is taken for data
only if it gives every time back exactly (``reproduces``); which one, ``frequency`` decides.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

DAY, WEEK = np.timedelta64(1, "D"), np.timedelta64(7, "D")
MONDAY = np.datetime64("1970-01-05")
_LONG_DAYS = 28  # days that every month has
_DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MOST_SLOTS = 2_000  # times of a week
_MOST_DAYS = 3  # times of a month
_FEWEST_SKIPS, _FEWEST_WEEKENDS = 3, 2  # of nights or weekends, so that none is a gap
_FEWEST_NTH = 4  # times on the third Friday, so that it is not by chance
_FIFTH = 4  # which not every month has


class Calendar(Protocol):
    """Times, numbered one after another.

    Attributes:
        unit: what one number is, for messages; a unit of ``datetime64`` or ``""`` of equal steps.
    """

    @property
    def unit(self) -> str: ...

    def positions(self, times: np.ndarray) -> np.ndarray:
        """The number of each time; of a time between two, that of one of them."""
        ...

    def times_at(self, positions: np.ndarray, sequence: np.ndarray) -> np.ndarray:
        """The times of some numbers.

        Args:
            positions: the numbers, of any shape.
            sequence: the index of the sequence of each, broadcast to that shape.
        """
        ...


def reproduces(calendar: Calendar, times: np.ndarray, sequence: np.ndarray) -> np.ndarray:
    """Whether a calendar has each time, (times,)."""
    return calendar.times_at(calendar.positions(times), sequence) == times


@dataclass(frozen=True)
class Ticks:
    """Equal steps: numbers, or times in their smallest unit.

    Attributes:
        dtype: of the times.
    """

    dtype: np.dtype

    @property
    def unit(self) -> str:
        """The unit of the times; ``""`` for numbers."""
        return np.datetime_data(self.dtype)[0] if self.dtype.kind == "M" else ""

    def positions(self, times: np.ndarray) -> np.ndarray:
        return times.view(np.int64) if self.unit else times

    def times_at(self, positions: np.ndarray, sequence: np.ndarray) -> np.ndarray:
        return positions.astype(np.int64).view(self.dtype) if self.unit else positions


# Months. A rule is a function from months to the day of each.


def _last_day(months: np.ndarray) -> np.ndarray:
    return (months + 1).astype("M8[D]") - 1


def _first_weekday(months: np.ndarray) -> np.ndarray:
    return np.busday_offset(months.astype("M8[D]"), 0, roll="forward")


def _last_weekday(months: np.ndarray) -> np.ndarray:
    return np.busday_offset(_last_day(months), 0, roll="backward")


def _day_of_month(day: int, months: np.ndarray) -> np.ndarray:
    """A day, 1 to 31, or the last one of a shorter month."""
    return np.minimum(months.astype("M8[D]") + (day - 1), _last_day(months))


def _nth_day_of_week(weekday: int, nth: int, months: np.ndarray) -> np.ndarray:
    """The first (0) to fourth (3) or last (-1) Monday (0) to Sunday (6) of a month."""
    if nth < 0:
        last = _last_day(months)
        return last - (_weekdays(last) - weekday) % 7
    first = months.astype("M8[D]")
    return first + (weekday - _weekdays(first)) % 7 + 7 * nth


def _weekdays(days: np.ndarray) -> np.ndarray:
    """The day of the week of each day, 0 for Monday."""
    return (days - MONDAY).astype(int) % 7


@dataclass(frozen=True, eq=False)
class Months:
    """Months: a day and a time of day in each, by a rule for each sequence.

    Attributes:
        rules: (sequences,) the function from months to days.
        clocks: (sequences,) the time of day.
        is_exact: whether every time of the data is on its day.
    """

    rules: tuple[Callable[[np.ndarray], np.ndarray], ...]
    clocks: np.ndarray
    is_exact: bool

    @property
    def unit(self) -> str:
        return "month"

    @classmethod
    def of(cls, times: np.ndarray, sequence: np.ndarray) -> "Months":
        """The calendar of times whose months differ within a sequence.

        The rule of a sequence is the first that gives all of its days: the last day, a day of the
        month, the first or the last weekday, a day of the week such as the third Friday; else the
        day of its last time.
        """
        months, days = times.astype("M8[M]"), times.astype("M8[D]")
        count = int(sequence[-1]) + 1
        ends = np.flatnonzero(np.append(sequence[1:] != sequence[:-1], True))
        sizes = np.diff(ends, prepend=-1)
        day = (days - months.astype("M8[D]")).astype(int) + 1
        largest = np.maximum.reduceat(day, ends - sizes + 1)
        last_weekday = _weekdays(days[ends])
        nth = (day[ends] - 1) // 7
        chosen = np.full(count, -1)
        candidates: list[tuple[Callable, np.ndarray]] = [
            (_last_day, (sizes > 1) | _all_end(days, ends))
        ]
        candidates += [
            (partial(_day_of_month, int(each)), largest == each) for each in np.unique(largest)
        ]
        candidates += [(_first_weekday, sizes > 1), (_last_weekday, sizes > 1)]
        for weekday in np.unique(last_weekday):
            for which in (*np.unique(nth[nth < _FIFTH]), -1):
                asked = (last_weekday == weekday) & ((nth == which) | (which < 0))
                asked &= sizes >= _FEWEST_NTH
                candidates.append((partial(_nth_day_of_week, int(weekday), int(which)), asked))
        for at, (rule, asked) in enumerate(candidates):
            open_ones = asked & (chosen < 0)
            if open_ones.any():
                fits = np.logical_and.reduceat(rule(months) == days, ends - sizes + 1)
                chosen[open_ones & fits] = at
        rules = tuple(
            candidates[at][0] if at >= 0 else partial(_day_of_month, int(day[end]))
            for at, end in zip(chosen, ends, strict=True)
        )
        clocks = (times - days)[ends]
        alike = ((times - days) == clocks[sequence]).all()
        return cls(rules, clocks, bool((chosen >= 0).all() and alike))

    def positions(self, times: np.ndarray) -> np.ndarray:
        return times.astype("M8[M]").astype(np.int64)

    def times_at(self, positions: np.ndarray, sequence: np.ndarray) -> np.ndarray:
        months = positions.astype(np.int64).astype("M8[M]")
        sequence = np.broadcast_to(sequence, months.shape)
        days = np.empty(months.shape, "M8[D]")
        which: dict[Any, list[int]] = {}
        for at, rule in enumerate(self.rules):
            which.setdefault(rule, []).append(at)
        for rule, members in which.items():
            theirs = np.isin(sequence, members) if len(which) > 1 else np.ones(months.shape, bool)
            days[theirs] = rule(months[theirs])
        return days + self.clocks[sequence]


def _all_end(days: np.ndarray, ends: np.ndarray) -> bool:
    """Whether the last time of every sequence is on the last day of its month."""
    return bool((_last_day(days[ends].astype("M8[M]")) == days[ends]).all())


# Slots: some times of every day, week or month.


@dataclass(frozen=True, eq=False)
class Slots:
    """Some times of every week or every day, such as weekdays or opening hours.

    Attributes:
        period: a week or a day, as ``timedelta64``.
        offsets: (slots,) the times from the beginning of the period, ascending.
    """

    period: np.timedelta64
    offsets: np.ndarray

    @classmethod
    def find(cls, times: np.ndarray, inner: np.ndarray) -> "Slots | None":
        """The slots that times fall on, over and over; None if there are none but equal steps.

        More than half of the steps go from a slot to the next one. Each slot is used in half of the
        periods, and what is between the two that are furthest apart, a weekend or a night, is left
        out three times (a weekend of two days, twice).

        Args:
            times: (time steps of all sequences,), ``datetime64``.
            inner: whether the next time step is of the same sequence.
        """
        for period in (WEEK, DAY):
            offsets = np.unique((times[:_MOST_SLOTS] - MONDAY) % period)
            if len(times) > _MOST_SLOTS and len(offsets) < _MOST_SLOTS:
                offsets = np.unique((times - MONDAY) % period)
            if not 2 <= len(offsets) < _MOST_SLOTS:
                continue
            slots = cls(period, offsets)
            if slots._are_used(times, inner):
                return slots._as_days()
        return None

    def _are_used(self, times: np.ndarray, inner: np.ndarray) -> bool:
        distances = np.diff(self.offsets, append=self.offsets[:1] + self.period)
        if (distances == distances[0]).all():
            return False
        positions = self.positions(times)
        steps = np.diff(positions)[inner]
        if 2 * (steps == 1).sum() <= len(steps):
            return False
        after = int(distances.argmax()) + 1  # the slot behind the weekend or the night
        skips = int((np.diff((positions - after) // len(self.offsets))[inner] > 0).sum())
        least = _FEWEST_WEEKENDS if self.is_weekdays else _FEWEST_SKIPS
        begins = np.flatnonzero(np.append(True, ~inner))
        first = positions[begins] // len(self.offsets)
        last = positions[np.append(begins[1:], len(times)) - 1] // len(self.offsets)
        whole = np.maximum(last - first - 1, 0).sum()
        counts = np.bincount(positions % len(self.offsets), minlength=len(self.offsets))
        return skips >= least and bool((2 * counts >= whole).all())

    def _as_days(self) -> "Slots":
        """Slots of a day, where all days of the week have the same."""
        if self.period == DAY or len(self.offsets) % 7:
            return self
        days = self.offsets.reshape(7, -1) - np.arange(7)[:, None] * DAY
        return Slots(DAY, days[0]) if (days == days[0]).all() else self

    @property
    def is_weekdays(self) -> bool:
        """Whether they are Monday to Friday, at one time of day."""
        return self.period == WEEK and self._days.tolist() == [0, 1, 2, 3, 4]

    @property
    def _days(self) -> np.ndarray:
        """The day of the week of each slot, 0 for Monday."""
        return (self.offsets // DAY).astype(int)

    @property
    def seasons(self) -> tuple[int, ...]:
        """The slots of a day, if there are several, and of a week."""
        count = len(self.offsets)
        if self.period == DAY:
            return (count, 7 * count)
        days = len(np.unique(self._days))
        return (count // days, count) if count > days and count % days == 0 else (count,)

    @property
    def unit(self) -> str:
        """``"weekday"``, or a description."""
        if self.is_weekdays:
            return "weekday"
        if self.period == DAY:
            clocks = [str((MONDAY + each).astype("M8[m]"))[-5:] for each in self.offsets[[0, -1]]]
            return f"of {len(self.offsets)} times of day, {' to '.join(clocks)}"
        days = np.unique(self._days)
        names = [_DAY_NAMES[each] for each in days]
        whole = len(days) > 2 and (np.diff(days) == 1).all()
        shown = f"{names[0]} to {names[-1]}" if whole else ", ".join(names)
        if len(days) == len(self.offsets):
            return f"of {len(days)} days of the week, {shown}"
        return f"of {len(self.offsets)} times of the week, {shown}"

    def positions(self, times: np.ndarray) -> np.ndarray:
        since = times - MONDAY
        rest = since % self.period
        places = np.minimum(np.searchsorted(self.offsets, rest), len(self.offsets) - 1)
        return (since // self.period).astype(np.int64) * len(self.offsets) + places

    def times_at(self, positions: np.ndarray, sequence: np.ndarray) -> np.ndarray:
        periods, places = np.divmod(positions.astype(np.int64), len(self.offsets))
        return MONDAY + periods * self.period + self.offsets[places]


@dataclass(frozen=True, eq=False)
class DaysOfMonth:
    """Two or three days of every month, such as the 15th and the last.

    Attributes:
        days: the days, ascending; one above 28 is the last of its month.
        clock: the time of day.
    """

    days: np.ndarray
    clock: np.timedelta64

    @classmethod
    def find(cls, times: np.ndarray, inner: np.ndarray) -> "DaysOfMonth | None":
        """The days that times fall on in every month, of at least three; None if they do not."""
        clock = times - times.astype("M8[D]")
        days, last = cls._split(times)
        for marked in (days, np.where(last, 31, days)):
            unique = np.unique(marked)
            if not 2 <= len(unique) <= _MOST_DAYS or (clock != clock[0]).any():
                continue
            found = cls(unique, clock[0])
            steps = np.diff(found.positions(times))[inner]
            exact = reproduces(found, times, np.zeros(len(times), int)).all()
            if exact and len(steps) >= 2 * len(unique) and 2 * (steps == 1).sum() > len(steps):
                return found
        return None

    @staticmethod
    def _split(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The day of the month of each time, and whether it is the last."""
        days, months = times.astype("M8[D]"), times.astype("M8[M]")
        return (days - months.astype("M8[D]")).astype(int) + 1, _last_day(months) == days

    @property
    def unit(self) -> str:
        """A description."""
        shown = ["the last" if each > _LONG_DAYS else str(each) for each in self.days]
        return f"of {len(self.days)} days of the month, {', '.join(shown)}"

    @property
    def seasons(self) -> tuple[int, ...]:
        """The steps of a year."""
        return (12 * len(self.days),)

    def positions(self, times: np.ndarray) -> np.ndarray:
        days, last = self._split(times)
        days = np.where(last & (self.days[-1] > _LONG_DAYS), self.days[-1], days)
        places = np.minimum(np.searchsorted(self.days, days), len(self.days) - 1)
        return times.astype("M8[M]").astype(np.int64) * len(self.days) + places

    def times_at(self, positions: np.ndarray, sequence: np.ndarray) -> np.ndarray:
        months, places = np.divmod(positions.astype(np.int64), len(self.days))
        months = months.astype("M8[M]")
        days = np.minimum(months.astype("M8[D]") + (self.days[places] - 1), _last_day(months))
        return days + self.clock
