"""The spacing of times: steps between them, following times, and a likely season.

Months and years have no constant length: where no step is shorter than 28 days and no month comes
twice in a sequence, steps are counted in calendar months. Where times are on weekdays, at opening
hours or on some days of every month only, steps are counted in those (``calendars``).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from legato._series.calendars import Calendar, DaysOfMonth, Months, Slots, Ticks

HOUR, DAY = 3_600, 86_400  # seconds
_UNITS = (("day", DAY), ("hour", HOUR), ("minute", 60), ("second", 1))
SEASONS: dict[float, int] = {
    60: 60,
    HOUR // 4: 96,
    HOUR // 2: 48,
    HOUR: 24,
    DAY: 7,
    7 * DAY: 52,
}  # seconds of a step → steps
MIN_REPEAT = 0.5  # autocorrelation from which a lag is a season
LONGER_SEASONS = {24: 7 * 24, 48: 7 * 48, 96: 7 * 96, 7: 365}  # of a day or a week → a longer one
_FEWEST_EQUAL = 3  # steps of as many days, so that they are not months by chance
_TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # of a second


@dataclass(frozen=True, eq=False)
class Spacing:
    """The steps between consecutive times.

    Attributes:
        steps: the steps within sequences, (times that have one before them,), in ``unit``.
        calendar: the times that there may be, numbered.
    """

    steps: np.ndarray
    calendar: Calendar

    @property
    def unit(self) -> str:
        """``"month"``, ``"weekday"``, a unit of ``datetime64`` such as ``"us"``, or a description
        of some days or times; ``""`` for plain numbers.
        """
        return self.calendar.unit

    @property
    def common(self) -> float:
        """The most frequent step, the smallest of equally frequent ones."""
        kinds, counts = np.unique(self.steps, return_counts=True)
        return kinds[counts.argmax()]

    @property
    def is_regular(self) -> bool:
        """Whether at least half of the steps are the common one."""
        return 2 * int((self.steps == self.common).sum()) >= len(self.steps)

    @property
    def gaps(self) -> np.ndarray:
        """Which steps are longer than the common one, (steps,); none if they are irregular."""
        return (self.steps > self.common) & self.is_regular

    @property
    def is_of_days(self) -> bool:
        """Whether steps are of whole days, or on a calendar of days and months."""
        if not self.unit:
            return False
        return self.unit not in _TICKS or self.common % (DAY * _TICKS[self.unit]) == 0

    def __str__(self) -> str:
        return format_step(self.common, self.unit)

    @property
    def season(self) -> int | None:
        """The steps of the season that such times suggest; None if they suggest none.

        12 for months, 4 for quarters, 52 for weeks, 7 for days, 5 for weekdays, 24 for hours, 48
        for half hours, 96 for quarters of an hour, 60 for minutes. It is a guess.
        """
        if isinstance(self.calendar, (Slots, DaysOfMonth)):
            return self.calendar.seasons[0]
        if self.unit == "month":
            return 12 // int(self.common) if self.common in (1, 2, 3, 4, 6) else None
        return SEASONS.get(int(self.common) / _TICKS[self.unit]) if self.unit else None

    @property
    def seasons(self) -> tuple[int, ...]:
        """The season, if there is one, and the longer one that such times suggest with it.

        A week for hours and parts of an hour, a year for days.
        """
        if isinstance(self.calendar, Slots):
            return self.calendar.seasons
        shortest = self.season
        if shortest is None or shortest < 2:
            return ()
        longer = LONGER_SEASONS.get(shortest)
        return (shortest,) if longer is None else (shortest, longer)

    def after(self, last: np.ndarray, count: int) -> np.ndarray:
        """Compute the times that follow the last of each sequence, a common step apart.

        In months it is the same day, or a shorter month's last; after the last days of months, the
        last days; likewise first and last weekdays, and days such as the third Friday.

        Args:
            last: (sequences,).
            count: the number of times.

        Returns:
            (sequences, count).
        """
        ahead = np.arange(1, count + 1) * self.common
        positions = self.calendar.positions(last)[:, None] + ahead
        sequence = np.arange(len(last))[:, None]
        times = self.calendar.times_at(positions, sequence)
        return times.astype(last.dtype) if last.dtype.kind == "M" else times


def infer_spacing(times: np.ndarray, lengths: np.ndarray) -> Spacing | None:
    """Measure the steps between times.

    Args:
        times: (time steps of all sequences,), numbers or ``datetime64``, ascending in each.
        lengths: (sequences,), the time steps of each.

    Returns:
        The spacing; None if no sequence has two times.

    Examples:
        >>> months = np.arange("2020-11", "2021-03", dtype="datetime64[M]").astype("datetime64[s]")
        >>> spacing = infer_spacing(months, np.array([4]))
        >>> str(spacing), spacing.season, format_time(spacing.after(months[-1:], 1)[0, 0])
        ('1 month', 12, '2021-03-01')
    """
    inner = same_sequence(lengths)
    steps = np.diff(times)[inner]
    if not len(steps):
        return None
    if times.dtype.kind != "M":
        size = float(np.median(steps))
        return Spacing(np.round(steps, 6 - int(np.floor(np.log10(size)))), Ticks(times.dtype))
    if np.datetime_data(times.dtype)[0] not in _TICKS:
        times = times.astype("M8[s]")
    calendar = _find_calendar(times, steps, lengths, inner)
    return Spacing(np.diff(calendar.positions(times))[inner], calendar)


def _find_calendar(
    times: np.ndarray, steps: np.ndarray, lengths: np.ndarray, inner: np.ndarray
) -> Calendar:
    """The calendar of some dates: equal steps, unless another one says more."""
    is_equal = bool((steps == steps[0]).all())
    if steps.min() >= np.timedelta64(28, "D"):
        months = np.diff(times.astype("M8[M]").astype(int))[inner]
        if months.min() > 0:
            calendar = Months.of(times, np.repeat(np.arange(len(lengths)), lengths))
            if calendar.is_exact or not is_equal or len(steps) < _FEWEST_EQUAL:
                return calendar
    if is_equal:
        return Ticks(times.dtype)
    return Slots.find(times, inner) or DaysOfMonth.find(times, inner) or Ticks(times.dtype)


def find_season(values: np.ndarray) -> int | None:
    """The season of values without times: the lag at which changes repeat themselves.

    The smallest lag whose autocorrelation of changes from step to step is within a tenth of the
    largest one, if that is above one half, and the values hold it four times.

    Args:
        values: (time steps,).

    Examples:
        >>> find_season(np.tile([1.0, 5.0, 2.0, 8.0, 3.0], 8))
        5
    """
    changes = np.diff(np.asarray(values, float))
    changes = changes - changes.mean() if len(changes) else changes
    total, most = float((changes**2).sum()), len(values) // 4
    if most < 2 or not total > 0:
        return None
    spectrum = np.abs(np.fft.rfft(changes, 2 * len(changes))) ** 2
    repeats = np.fft.irfft(spectrum)[: most + 1] / total * len(changes)
    repeats /= len(changes) - np.arange(most + 1)  # fewer pairs at longer lags
    repeats[:2] = 0.0
    best = float(repeats.max())
    return int(np.argmax(repeats >= 0.9 * best)) if best > MIN_REPEAT else None


def same_sequence(lengths: np.ndarray) -> np.ndarray:
    """Whether the next time step is of the same sequence, (time steps of all sequences - 1,)."""
    inner = np.ones(max(int(lengths.sum()) - 1, 0), bool)
    inner[np.cumsum(lengths)[:-1] - 1] = False
    return inner


def format_step(step: Any, unit: str) -> str:
    """A step as text, in the largest unit of which it is a whole number."""
    if not unit:
        return f"{step:.6g}"
    if unit.startswith("of "):
        return f"{step:.6g} {unit}"
    if unit == "weekday":
        name, size = unit, 1
    elif unit == "month":
        name, size = ("year", 12) if step % 12 == 0 else ("month", 1)
    else:
        step = step / _TICKS[unit]
        name, size = next((each for each in _UNITS if step % each[1] == 0), _UNITS[-1])
    return f"{step / size:.6g} {name}{'' if step == size else 's'}"


def format_time(time: Any) -> str:
    """A time as text, without trailing zero parts."""
    if not isinstance(time, np.datetime64):
        return f"{time:.15g}"
    is_month = np.datetime_data(time.dtype)[0] == "M"
    return str(time if is_month else np.datetime_as_string(time, unit="auto"))
