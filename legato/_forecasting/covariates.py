"""Covariates: the columns beside the targets, by when their values are known.

Past covariates are known up to the present step, known ones also for the steps ahead (Darts calls
them future covariates, NeuralForecast exogenous futures), static ones never change in a sequence.
Calendar features and holidays follow from the times, and are known ahead without being in the data.

An ensemble takes the known columns of the steps ahead as an input of their own. A single network
takes them as columns of each step, one for each known column and step ahead.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from legato._errors import InputError
from legato._forecasting.task import Task
from legato._forecasting.train_config import TrainConfig
from legato._platform.wording import listed
from legato._series.calendar_features import (
    COUNT,
    FEATURES,
    automatic_features,
    calendar_columns,
    check_features,
    column_name,
    holiday_features,
    open_holidays,
    typical_step,
)
from legato._series.future_rows import FutureRows
from legato._series.sequences import Column, Sequences, expand_ranges

MOST_LEADS = 512  # columns of steps ahead that a single network takes


@dataclass(frozen=True)
class Covariates:
    """The columns beside the targets.

    Attributes:
        past: names of columns that are known up to the present step.
        known: names of columns that are also known for the steps ahead.
        static: names of columns with one value for each sequence.
        calendar: features of the times, which are known ahead.
        holidays: country of the holidays among them, or None.
        leads: steps ahead whose known columns are columns of each step; 0 of an ensemble.
    """

    past: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    calendar: tuple[str, ...] = ()
    holidays: str | None = None
    leads: int = 0

    @property
    def ahead(self) -> tuple[str, ...]:
        """The names of all columns that are known ahead, those of the calendar last."""
        return (*self.known, *map(column_name, self.calendar))

    @property
    def made(self) -> set[str]:
        """The names of the columns that are no columns of the data."""
        leads = range(1, self.leads + 1)
        return {
            *map(column_name, self.calendar),
            *(lead_name(name, lead) for name in self.ahead for lead in leads),
        }

    def last_of(self, sequences: Sequences) -> list[str]:
        """The last column of the data themselves, which is the target by default."""
        return [name for name in _names_of(sequences) if name not in self.made][-1:]

    def for_one_network(self, horizon: int) -> "Covariates":
        """The description for a single network that forecasts so many steps ahead.

        Raises:
            InputError: it would take too many columns.
        """
        count = horizon * len(self.ahead)
        if count > MOST_LEADS:
            raise InputError(
                f"A single network takes the columns known ahead for each step ahead, here "
                f"{count:,} columns, and at most {MOST_LEADS} are taken. Take an ensemble (leave "
                "out the options of the network), fewer columns, or a shorter horizon (--horizon)."
            )
        return replace(self, leads=horizon)

    def as_numbers(self) -> dict[str, Any]:
        """The description as a dictionary for JSON."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_numbers(cls, numbers: dict | None) -> "Covariates":
        """The description of a dictionary from ``as_numbers``; None: of older files."""
        known: dict[str, Any] = dict(numbers or {})
        known |= {name: tuple(each) for name, each in known.items() if isinstance(each, list)}
        return cls(**known)

    # Columns of the data, and of the steps ahead.

    def with_calendar(self, sequences: Sequences, before: Sequences | None = None) -> Sequences:
        """Data with the columns of the calendar, after all others.

        Args:
            sequences: the data.
            before: the sequences before, if the data are as many steps ahead of each.

        Raises:
            InputError: there is no column of times, or it holds no dates.
        """
        if not self.calendar or column_name(self.calendar[0]) in _names_of(sequences):
            return sequences
        times = _dates_of(sequences)
        ends = _ends_of_steps(sequences, before) if COUNT in self.calendar else times
        columns, values = calendar_columns(times, ends, self.calendar, self.holidays)
        return replace(
            sequences,
            columns=(*sequences.columns, *columns),
            values=np.column_stack([sequences.values, values]),
        )

    def steps_ahead(
        self, sequences: Sequences, future: FutureRows | None, steps: int
    ) -> Sequences | None:
        """The known columns of the steps after the end of each sequence, as sequences of ``steps``.

        Args:
            sequences: the data before.
            future: the rows after the end; None: there are none, which only the calendar allows.
            steps: number of steps ahead.

        Returns:
            None if nothing is known ahead.

        Raises:
            InputError: there are too few rows, or one lacks a value or follows after a gap.
        """
        if not self.ahead:
            return None
        found = None if future is None else future.after(sequences)
        if self.known and (found is None or not len(found.values)):
            raise InputError(_no_future(self.known, sequences.source))
        if found is None or not (self.known or (found.times is not None and found.has(steps))):
            found = _dates_after(sequences, steps)
        rows = found.first(steps, self.known)
        rows = replace(rows, zone=sequences.zone, is_local=sequences.is_local)
        _check_follows(sequences, rows)
        return self.with_calendar(rows, sequences)

    def with_leads(self, sequences: Sequences, ahead: Sequences | None = None) -> Sequences:
        """Data with the known columns of the steps ahead as columns of each step.

        Args:
            sequences: the data, with the columns of the calendar.
            ahead: the steps after the ends, from ``steps_ahead``; beyond what is known, the last
                value stands.
        """
        if not self.leads:
            return sequences
        if lead_name(self.ahead[0], 1) in _names_of(sequences):
            if ahead is None:
                return sequences
            own = len(sequences.columns) - self.leads * len(self.ahead)
            columns, values = sequences.columns[:own], sequences.values[:, :own]
            sequences = replace(sequences, columns=columns, values=values)
        places = [sequences.place(name) for name in self.ahead]
        columns, values = list(sequences.columns), [sequences.values]
        known, lengths = sequences.values[:, places], sequences.lengths
        begins, ends = sequences.offsets[:-1], sequences.offsets[1:]
        if ahead is not None:
            columns, more = _recode(columns, places, ahead)
            known, lengths = _append(known, sequences, more, ahead)
            begins = np.cumsum(lengths) - lengths
            ends = begins + lengths
        at = expand_ranges(begins, sequences.lengths)
        last = np.repeat(ends, sequences.lengths) - 1
        for lead in range(1, self.leads + 1):
            values.append(known[np.minimum(at + lead, last)])
            columns += [
                replace(columns[place], name=lead_name(name, lead))
                for place, name in zip(places, self.ahead, strict=True)
            ]
        return replace(sequences, columns=tuple(columns), values=np.concatenate(values, axis=1))


def lead_name(name: str, lead: int) -> str:
    """The name of a known column of a step ahead."""
    return f"{name}, {lead} ahead"


# What columns are, at training.


def describe_covariates(
    config: TrainConfig, sequences: Sequences, future: FutureRows | None, task: Task
) -> Covariates:
    """Settle which columns are past, known, static and made, as named or as found in the data.

    A column that never changes within any sequence, but between them, is static. One of quantities
    that is filled in all future rows is known ahead, unless ``known`` names others.

    Args:
        config: its ``known``, ``static``, ``calendar`` and ``holidays``.
        sequences: the data.
        future: the rows after their ends; None if there are none.
        task: what the data are for.

    Raises:
        InputError: a name is unknown or a target's, a static column varies, or a known one lacks a
            value in a future row; or columns are known ahead of what is no forecast.
    """
    targets = [column.name for column in task.targets]
    others = [name for name in _names_of(sequences) if name not in targets]
    static = _static_columns(config, sequences, others, targets)
    known = names_of(config.known, _names_of(sequences))
    for name in known:
        _check_other(name, "known", sequences, targets)
    if known and task.kind != "forecast":
        raise InputError(
            f"The task is to {task.kind}, and columns are known ahead of forecasts only: leave out "
            f"known={known} (--known)."
        )
    if config.known is None and future is not None:
        known = [name for name in future.filled if name in others and name not in static]
    elif future is not None:
        future.check_filled(known)
    both = [name for name in known if name in static]
    if both:
        raise InputError(f"The column {both[0]!r} is named both as known and as static: name one.")
    calendar, country = _calendar_features(config, sequences), config.holidays
    past = tuple(name for name in others if name not in known and name not in static)
    return Covariates(past, tuple(known), tuple(static), calendar, country)


def names_of(given: str | Iterable[str] | None, present: Sequence[str]) -> list[str]:
    """Names as a list, each once; one that is no column, with commas, is several."""
    each = [given] if isinstance(given, str) else list(given or ())
    several = [[name] if name in present else name.split(",") for name in each]
    return list(dict.fromkeys(name.strip() for names in several for name in names))


def _static_columns(
    config: TrainConfig, sequences: Sequences, others: list[str], targets: Sequence[str]
) -> list[str]:
    """The static columns, as named, checked, or as found."""
    if config.static is None:
        found = [name for name in others if not _first_change(sequences, name)]
        return [name for name in found if _differs(sequences, name)]
    static = names_of(config.static, _names_of(sequences))
    for name in static:
        _check_other(name, "static", sequences, targets)
        changed = _first_change(sequences, name)
        if changed:
            raise InputError(
                f"The column {name!r} is named as static, and changes in the sequence {changed!r}. "
                "A static column has one value for each sequence: leave it out of static."
            )
    return static


def _first_change(sequences: Sequences, name: str) -> str | None:
    """The name of the first sequence in which a column changes."""
    values = sequences.values[:, sequences.place(name)]
    firsts = np.repeat(values[sequences.offsets[:-1]], sequences.lengths)
    changed = np.flatnonzero(values != firsts)
    if not len(changed):
        return None
    return sequences.names[int(np.searchsorted(sequences.offsets, changed[0], "right")) - 1]


def _differs(sequences: Sequences, name: str) -> bool:
    values = sequences.values[:, sequences.place(name)]
    return bool((values != values[0]).any())


def _check_other(name: str, use: str, sequences: Sequences, targets: Sequence[str]) -> None:
    sequences.place(name)  # raises if there is none
    if name in targets:
        raise InputError(
            f"The column {name!r} is the target, and was also named as {use}: a target is known up "
            "to the present step only. Name another."
        )


def _calendar_features(config: TrainConfig, sequences: Sequences) -> tuple[str, ...]:
    """The features of the calendar, and of its holidays."""
    names = names_of(config.calendar, ())
    if not names and config.holidays is None:
        return ()
    check_features([name for name in names if name != "auto"])
    times = _dates_of(sequences)
    step = typical_step(times, sequences.lengths)
    if "auto" in names:
        automatic = automatic_features(times, step)
        names = [name for name in FEATURES if name in names or name in automatic]
    if config.holidays is not None:
        open_holidays(config.holidays)
        names += holiday_features(step)
    return tuple(names)


# Checks and parts.


def _names_of(sequences: Sequences) -> list[str]:
    return [column.name for column in sequences.columns]


def _dates_of(sequences: Sequences) -> np.ndarray:
    """The times of the data on the clock of their zone, checked to be dates."""
    times = sequences.clock_times
    if times is None or times.dtype.kind != "M":
        came = "no column of times is named" if times is None else "the times are plain numbers"
        raise InputError(
            f"Calendar features and holidays follow from dates, and {came}. Name the column of "
            "dates with time= (--time)."
        )
    return times


def _times_after(sequences: Sequences, steps: int) -> np.ndarray:
    """The times after the end of each sequence, (sequences, steps)."""
    times = sequences.times_after(steps)
    if times is None:
        raise InputError(
            f"{sequences.source} has one time in each sequence, so the times ahead are not known. "
            "Give longer sequences."
        )
    return times


def _ends_of_steps(sequences: Sequences, before: Sequences | None) -> np.ndarray:
    """The time after each, on the clock of their zone; see ``with_calendar``."""
    steps = 1 if before is None else 1 + int(sequences.lengths[0])
    after = _times_after(sequences if before is None else before, steps)[:, -1]
    times = _dates_of(sequences)
    ends = np.append(times[1:], times[-1:])
    ends[sequences.offsets[1:] - 1] = (
        after if sequences.zone is None else sequences.zone.wall(after)
    )
    return ends


def _dates_after(sequences: Sequences, steps: int) -> FutureRows:
    """Rows without columns at the times after the end of each sequence."""
    times = _times_after(sequences, steps).reshape(-1)
    lengths, values = np.full(len(sequences), steps), np.empty((len(times), 0))
    return FutureRows(values, lengths, (), sequences.names, times, None, sequences.source)


def _check_follows(sequences: Sequences, ahead: Sequences) -> None:
    """Raise an InputError if the first time ahead is later than the second that was expected."""
    expected = None if ahead.times is None else sequences.times_after(2)
    if expected is None or ahead.times is None or sequences.times is None:
        return
    last, first = sequences.times[sequences.offsets[1:] - 1], ahead.times[ahead.offsets[:-1]]
    late = np.flatnonzero(first >= expected[:, 1])
    if len(late):
        at = late[0]
        begin, end = sequences.format_times(np.stack([first[at], last[at]]))
        raise InputError(
            f"The first row after the end of {sequences.names[at]!r} is at {begin}, and the last "
            f"value of the target at {end}: rows between are missing. Add them, with an empty "
            "target, fill the target in, or have the rows after the end in the same data and train "
            "with fill= (--fill), which puts rows in."
        )


def _recode(
    columns: list[Column], places: list[int], ahead: Sequences
) -> tuple[list[Column], np.ndarray]:
    """Columns with the categories of the steps ahead, too; and the values there, encoded by them.

    Args:
        columns: of the data before.
        places: the indices of those known ahead.
        ahead: the steps ahead.
    """
    columns, values = list(columns), []
    for place in places:
        column = columns[place]
        at = ahead.place(column.name)
        theirs, numbers = ahead.columns[at], ahead.values[:, at]
        if theirs.is_numeric != column.is_numeric:
            raise InputError(
                f"The column {column.name!r} holds numbers before the end of the targets and "
                "labels after it, or the other way round. Write it alike."
            )
        if column.categories != theirs.categories and column.numbers and theirs.numbers:
            table = dict(zip(column.categories or (), column.numbers, strict=True))
            for label in theirs.categories or ():
                table.setdefault(label, max(table.values()) + 1)
            columns[place] = replace(column, categories=tuple(table), numbers=tuple(table.values()))
            own = np.array([table[label] for label in theirs.categories or ()])
            numbers = own[np.searchsorted(np.array(theirs.numbers), numbers)]
        values.append(numbers)
    return columns, np.column_stack(values)


def _append(
    values: np.ndarray, sequences: Sequences, more: np.ndarray, ahead: Sequences
) -> tuple[np.ndarray, np.ndarray]:
    """Values with more steps at the end of each sequence, and the lengths."""
    order = np.argsort(
        np.concatenate(
            [
                np.repeat(np.arange(len(sequences)), sequences.lengths),
                np.repeat(np.arange(len(ahead)), ahead.lengths),
            ]
        ),
        kind="stable",
    )
    return np.concatenate([values, more])[order], sequences.lengths + ahead.lengths


def _no_future(known: Sequence[str], source: str) -> str:
    return (
        f"The model takes {listed(known)} of the steps ahead, and {source} has no rows after its "
        "end. Add rows with an empty target in which they are filled in, or give another file or "
        "frame of them with future= (--future)."
    )
