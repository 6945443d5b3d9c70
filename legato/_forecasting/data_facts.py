"""Facts on the data of a training and on their split, as the model's file records them."""

import re
import shlex
from itertools import pairwise
from typing import Any

import numpy as np

from legato._forecasting.partition import Partition
from legato._forecasting.task import Task
from legato._forecasting.train_config import TrainConfig
from legato._platform.wording import counted
from legato._series.frequency import format_time
from legato._series.sequences import Sequences

FAR = 10.0  # times as far from the values around as others at most
FEW, RARE = 2, 0.01  # values of a sequence that may be so far, or a share of them
FEWEST_STEPS = 20  # of such a sequence
FEWEST_BLOCKS = 5  # values of a column that may name sequences
FEWEST_NUMBERED = 8  # columns that may be the time steps of a row


def data_facts(sequences: Sequences, parts: Partition) -> dict[str, Any]:
    """Facts on the data and their split, as the model's file records them."""
    lengths, times = sequences.lengths, sequences.clock_times
    learnt = int(parts.stops.sum())
    spacing = sequences.spacing
    return {
        "source": sequences.source,
        "sequences": len(sequences),
        "steps": int(lengths.sum()),
        "shortest": int(lengths.min()),
        "longest": int(lengths.max()),
        "times": None if times is None else [format_time(times.min()), format_time(times.max())],
        "spacing": None if spacing is None else str(spacing),
        "notes": list(sequences.notes),
        "split": parts.by,
        "learnt_steps": learnt,
        "test_steps": int(lengths.sum()) - learnt,
    }


def label_counts(task: Task, training: Sequences) -> list[int]:
    """How often each label is the right answer in the training part."""
    if task.kind == "forecast":
        return []
    labels, there = task.answers_of(training)
    if task.whole:
        there = training.offsets[1:] - 1
    return np.bincount(labels[there], minlength=len(task.labels)).tolist()


def least_values(task: Task, training: Sequences) -> list[float]:
    """The least value of each target; none of labels."""
    if task.kind != "forecast":
        return []
    places = [training.place(column.name) for column in task.targets]
    return training.values[:, places].min(0).astype(float).tolist()


def note_filled_targets(sequences: Sequences, task: Task, is_ensemble: bool) -> list[str]:
    """A note on values of the targets that were filled in, if there are any."""
    count = int(sequences.filled_in(each.name for each in task.targets).sum())
    if not count or task.whole:
        return []
    them = f"{counted(count, 'step')} whose target was filled in"
    if is_ensemble:
        return [
            f"Not scored: {them}. The ensemble learns from them as if they were known; a single "
            "network (--framing chunks) does not."
        ]
    return [f"Neither learnt nor scored as targets: {them}. As inputs they are as filled in."]


def note_lacking_origins(
    config: TrainConfig, parts: Partition, lengths: np.ndarray, horizon: int
) -> list[str]:
    """A note if there are fewer origins than were asked for."""
    first = np.where(parts.stops < lengths, np.maximum(parts.stops, 1), lengths)
    there = int(np.maximum(lengths - first - horizon + 1, 0).sum())
    if not config.origins or there >= config.origins:
        return []
    return [
        f"{counted(config.origins, 'origin')} were asked for, and the test part has {there:,} with "
        f"{counted(horizon, 'step')} after them: a longer one (--test) gives more."
    ]


def note_wide_rows(sequences: Sequences) -> list[str]:
    """A note if the columns are numbered one after another, as time steps of rows may be."""
    if len(sequences) > 1 or sequences.group is not None or sequences.times is not None:
        return []
    names = [column.name for column in sequences.columns]
    found = [re.fullmatch(r"(\D*)(\d+)", name) for name in names]
    numbers = [(each[1], int(each[2]), each[0]) for each in found if each]
    if sequences.source == "the array" or len(numbers) < max(FEWEST_NUMBERED, len(names) - 1):
        return []
    if not all(now[:2] == (last[0], last[1] + 1) for last, now in pairwise(numbers)):
        return []
    return [
        f"The columns {numbers[0][2]!r} to {numbers[-1][2]!r} are numbered. If they are the time "
        "steps of a sequence, and each row is a sequence, give a row for each time step, and "
        "group= (--group); or give the rows to legato.Classifier."
    ]


def note_lacking_group(sequences: Sequences, task: Task) -> list[str]:
    """A note if a column may name the sequence of each row, and all rows are one sequence.

    Each of its values is in rows that follow one another. Numbers that do so, such as years, are
    noted only where labels are as constant as they are.
    """
    if len(sequences) > 1 or sequences.group is not None:
        return []
    targets = [sequences.place(column.name) for column in task.targets]
    changes = sequences.values[1:] != sequences.values[:-1]
    for place, column in enumerate(sequences.columns):
        values = sequences.values[:, place]
        blocks = 1 + int(changes[:, place].sum())
        if place in targets or blocks < FEWEST_BLOCKS or 2 * blocks > len(values):
            continue
        labelled = task.kind == "classify" and not changes[~changes[:, place]][:, targets].any()
        if blocks == len(np.unique(values)) and (labelled or not column.is_numeric):
            return [
                f"All rows are one sequence, and each of the {blocks:,} values of {column.name!r} "
                "is in rows that follow one another. If it names the sequence of a row, give it as "
                f"group= (--group {shlex.quote(column.name)})."
            ]
    return []


def note_far_values(sequences: Sequences, task: Task) -> list[str]:
    """A note on values of each target of quantities that lie far from the values around them."""
    if task.kind != "forecast":
        return []
    notes = []
    for column in task.targets:
        values = sequences.values[:, sequences.place(column.name)]
        far = np.concatenate(
            [_distances(each) for each in np.split(values, sequences.offsets[1:-1])]
        )
        if not (far > FAR).any():
            continue
        at, more = int(far.argmax()), int((far > FAR).sum()) - 1
        which = int(np.searchsorted(sequences.offsets, at, side="right")) - 1
        place = f"step {at - sequences.offsets[which] + 1:,}"
        if sequences.times is not None:
            (place,) = sequences.format_times(sequences.times[at : at + 1])
        place += f" of {sequences.names[which]!r}" if len(sequences) > 1 else ""
        place += f", and {more:,} more" if more else ""
        notes.append(
            f"Far from the values around: {values[at]:.6g} of {column.name!r} at {place}. The "
            "forecast, its score and its intervals depend on them: make errors empty, and fill "
            "them with --fill interpolate."
        )
    return notes


def _distances(series: np.ndarray) -> np.ndarray:
    """How far each value is from the median of the five around it, (time steps,), in units of what
    all others have at most but for the few that may be far; 0 where that is 0.
    """
    if len(series) < FEWEST_STEPS:
        return np.zeros(len(series))
    around = np.lib.stride_tricks.sliding_window_view(np.pad(series, 2, mode="reflect"), 5)
    distances = np.abs(series - np.median(around, axis=1))
    usual = float(np.sort(distances)[-1 - max(FEW, int(RARE * len(series)))])
    return distances / usual if usual > 0 else 0 * distances
