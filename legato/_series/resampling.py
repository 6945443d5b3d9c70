"""Resampling: rows to steps of one length, each by the mean, the sum or the last of its values.

A step is named by its beginning, and begins where a clock on the wall says: an hour on the hour,
a day at midnight, a week on Monday. Labels are always the last ones. Polars' ``group_by_dynamic``
does it.
"""

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from legato._errors import InputError
from legato._platform.wording import counted
from legato._series.sequences import Sequences
from legato._series.time_options import EveryRule
from legato._series.time_zones import NamedZone, Zone

if TYPE_CHECKING:
    import polars

_DURATION = re.compile(r"([1-9]\d*) ?(s|min|m|h|d|w|mo|q|y)")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_SECONDS |= {"mo": 28 * 86_400, "q": 90 * 86_400, "y": 365 * 86_400}  # at least
_NAMES = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month"}
_NAMES |= {"q": "quarter", "y": "year"}


@dataclass(frozen=True)
class Resampling:
    """The steps to resample to.

    Attributes:
        count: the units of a step.
        unit: as Polars has it: ``"s"``, ``"m"`` (minutes), ``"h"``, ``"d"``, ``"w"``, ``"mo"``,
            ``"q"`` or ``"y"``.
        rule: what a step is given of its values.
    """

    count: int
    unit: str
    rule: EveryRule

    @classmethod
    def of(cls, every: str, rule: EveryRule) -> "Resampling":
        """The steps that a text such as ``"15min"`` says.

        Raises:
            InputError: it says none.
        """
        found = _DURATION.fullmatch(every.strip().lower()) if isinstance(every, str) else None
        if found is None or every.strip().endswith("M"):
            raise InputError(
                f"every is {every!r}; a number and a unit were expected, such as '10s', '15min', "
                "'1h', '1d', '1w', '1mo' (a month), '1q' or '1y'."
            )
        return cls(int(found[1]), {"min": "m"}.get(found[2], found[2]), rule)

    def __str__(self) -> str:
        return counted(self.count, _NAMES[self.unit])

    @property
    def is_of_days(self) -> bool:
        """Whether steps are whole days, or longer."""
        return self.unit not in ("s", "m", "h")

    @property
    def seconds(self) -> int:
        """The length of a step, of the shortest month or year."""
        return self.count * _SECONDS[self.unit]


def resample(sequences: Sequences, to: Resampling) -> Sequences:
    """Resample sequences, whose values may be NaN.

    Returns:
        The sequences, with a note; a step without rows is left out, one without values is NaN, and
        its line is that of its first row.

    Raises:
        InputError: times are no dates, or further apart than the steps.
    """
    import polars

    source, times = sequences.source, sequences.times
    if times is None or times.dtype.kind != "M":
        raise InputError(
            f"{source}: every= resamples by dates, and the column of times (time=) "
            f"{'is not named' if times is None else 'holds numbers'}."
        )
    _check_is_longer(sequences, to)
    count = len(times)
    frame = polars.DataFrame(
        {
            "sequence": np.repeat(np.arange(len(sequences)), sequences.lengths),
            "time": _on_wall(times, sequences.zone, to),
            "row": np.arange(count),
            **{f"{at}": sequences.values[:, at] for at in range(len(sequences.columns))},
        },
        nan_to_null=True,
    )
    kept = [column.is_numeric for column in sequences.columns]
    found = frame.group_by_dynamic(
        "time", every=f"{to.count}{to.unit}", group_by="sequence", closed="left", label="left"
    ).agg(
        polars.col("row").first(),
        polars.len().alias("rows"),
        *(
            _aggregate(str(at), to.rule if is_number else "last")
            for at, is_number in enumerate(kept)
        ),
    )
    values = found.select(str(at) for at in range(len(kept))).cast(polars.Float64).to_numpy()
    lengths = np.bincount(found["sequence"].to_numpy(), minlength=len(sequences))
    steps = found["rows"].to_numpy()
    first, lines, layout = found["row"].to_numpy(), sequences.lines, sequences.layout
    return replace(
        sequences,
        values=np.ascontiguousarray(values),
        lengths=lengths,
        times=_off_wall(found["time"], sequences.zone, to).astype(times.dtype),
        notes=(*sequences.notes, _describe(to, count, steps, np.cumsum(lengths) - 1)),
        lines=None if lines is None else lines[first],
        layout=layout and replace(layout, freq=None),  # that of the rows before
    )


def _aggregate(name: str, rule: EveryRule) -> "polars.Expr":
    """What a step is given of the values that are there."""
    import polars

    column = polars.col(name)
    if rule == "last":
        return column.drop_nulls().last()
    if rule == "sum":
        return polars.when(column.count() > 0).then(column.sum())
    return column.mean()


def _describe(to: Resampling, count: int, steps: np.ndarray, ends: np.ndarray) -> str:
    """The note on what was done, and on last steps that hold fewer rows than others."""
    note = f"Resampled to steps of {to} by the {to.rule} of each: {counted(count, 'row')} became "
    note += f"{len(steps):,}."
    usual = int(np.median(steps))
    short = ends[steps[ends] < usual]
    if len(short):
        last = "The last step" if len(ends) == 1 else f"The last step of {len(short):,} sequences"
        note += f" {last} holds {counted(int(steps[short[0]]), 'row')}, others {usual}."
    return note


def _check_is_longer(sequences: Sequences, to: Resampling) -> None:
    """Raise an InputError if times are further apart than the steps."""
    spacing, times = sequences.spacing, sequences.times
    if spacing is None or times is None:
        return
    inner = np.diff(times)[np.diff(times) > np.timedelta64(0)]
    if len(inner) and np.median(inner / np.timedelta64(1, "s")) > to.seconds * 1.2:
        raise InputError(
            f"{sequences.source}: every= is {to}, and most steps are longer, {spacing}: resampling "
            "makes steps longer, and no values in between. Give longer steps, or leave every= out."
        )


def _on_wall(times: np.ndarray, zone: Zone | None, to: Resampling) -> "polars.Series":
    """Times as clocks show them, with a zone if there is a named one."""
    import polars

    if isinstance(zone, NamedZone):
        return polars.Series(times).dt.replace_time_zone("UTC").dt.convert_time_zone(zone.name)
    if zone is not None:
        times = zone.wall(times) if to.is_of_days else times + _shift(zone, times[:1])
    return polars.Series(times)


def _off_wall(times: "polars.Series", zone: Zone | None, to: Resampling) -> np.ndarray:
    """The instants of times as ``_on_wall`` gives them."""
    if isinstance(zone, NamedZone):
        return times.dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy()
    found = times.to_numpy()
    if zone is None:
        return found
    return zone.instants(found) if to.is_of_days else found - _shift(zone, found[:1])


def _shift(zone: Zone, first: np.ndarray) -> np.timedelta64:
    """The first offset from UTC, which is part of hours in some zones."""
    return (zone.wall(first) - first)[0] if len(first) else np.timedelta64(0, "m")
