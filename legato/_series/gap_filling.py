"""Gaps: rows that are missing between equal steps of times are put in, without values.

What their values become, and those of other rows that have none, is for ``missing_values``.
"""

from dataclasses import replace

import numpy as np

from legato._errors import InputError
from legato._platform.wording import counted
from legato._series.calendars import Slots
from legato._series.frequency import Spacing, same_sequence
from legato._series.sequences import Sequences

MOST_MISSING = 0.1  # of the days, or they are not few
_MOST_ROWS, _MOST_TIMES = 1_000_000, 20  # that are put in, unless there are a part as many


def count_missing(spacing: Spacing) -> np.ndarray:
    """The rows that are missing in each step, (steps,): 0 where it is not a multiple of the common
    one.
    """
    parts = spacing.steps / spacing.common
    whole = np.round(parts)
    exact = np.isclose(parts, whole, rtol=0, atol=1e-6)
    return np.where(exact, np.maximum(whole - 1, 0), 0).astype(int)


def lacks_few_days(sequences: Sequences) -> bool:
    """Whether a few days are missing among Mondays to Fridays, such as holidays.

    Without them, each one moves the season of five steps to other days.
    """
    spacing = sequences.spacing
    if spacing is None or not isinstance(spacing.calendar, Slots) or spacing.common != 1:
        return False
    missing = int(count_missing(spacing).sum())
    return spacing.calendar.is_weekdays and 0 < missing <= MOST_MISSING * len(sequences.values)


def insert_missing_rows(sequences: Sequences) -> tuple[Sequences, np.ndarray]:
    """Put in rows where times leave them out.

    Args:
        sequences: with times; values may be NaN.

    Returns:
        The sequences, with the new rows, whose values are NaN and whose lines are those of the rows
        before them, and a note; and whether each row is new, (rows,).

    Raises:
        InputError: there would be very many, or the sequences have no times.
    """
    if sequences.times is None:
        raise InputError(
            f"{sequences.source}: fill= puts in rows that times leave out, and the column of times "
            "is not named: name it with time=, or fill values only with missing='forward'."
        )
    known, spacing = sequences.times, sequences.spacing
    rows, none = np.arange(len(known)), np.zeros(len(known), bool)
    if spacing is None:
        return sequences, none
    if not spacing.is_regular:
        note = "No rows were put in: times are irregular. every= (--every) resamples them."
        return _with_note(sequences, note), none
    inner = np.flatnonzero(same_sequence(sequences.lengths))
    counts = np.zeros(len(rows), int)
    counts[inner] = count_missing(spacing)
    total = int(counts.sum())
    if total > max(_MOST_ROWS, _MOST_TIMES * len(rows)):
        raise InputError(
            f"{sequences.source}: fill= would put in {total:,} rows between {len(rows):,}, as "
            f"steps are of {spacing}. Resample to longer steps with every=, or cut the data at "
            "long gaps."
        )
    odd = int((spacing.gaps & (counts[inner] == 0)).sum())
    if odd:
        sequences = _with_note(
            sequences,
            f"{counted(odd, 'gap')} of no whole number of steps of {spacing}: left as they are. "
            "every= (--every) resamples.",
        )
    if not total:
        return sequences, none
    sequence = np.repeat(np.arange(len(sequences)), sequences.lengths)
    before = np.repeat(rows, counts)
    nth = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    times = sequences.times_at(sequences.positions[before] + nth * spacing.common, sequence[before])
    order = np.argsort(np.concatenate([rows, before]), kind="stable")
    values = np.concatenate([sequences.values, np.full((total, sequences.values.shape[1]), np.nan)])
    note = (
        f"Steps are of {spacing}: {counted(total, 'row')} put in where they were missing, in "
        f"{counted(int((counts > 0).sum()), 'gap')}."
    )
    lines = sequences.lines
    sequences = _with_note(sequences, note)
    sequences = replace(
        sequences,
        values=values[order],
        lengths=sequences.lengths + np.bincount(sequence[before], minlength=len(sequences)),
        times=np.concatenate([known, times])[order],
        lines=None if lines is None else lines[np.concatenate([rows, before])[order]],
    )
    return sequences, order >= len(rows)


def _with_note(sequences: Sequences, note: str) -> Sequences:
    return replace(sequences, notes=(*sequences.notes, note))
