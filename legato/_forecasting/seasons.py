"""The seasons of sequences: as given, by the spacing of their times, or as the values show."""

from legato._forecasting.task import Task
from legato._series.frequency import find_season
from legato._series.sequences import Sequences


def seasons_of(
    sequences: Sequences, training: Sequences, task: Task, season: int | None
) -> tuple[int, ...]:
    """The seasons in time steps: as given, by the spacing of the times, or as the targets show.

    Args:
        sequences: the data, whose times count.
        training: the part of it in which a season may be looked for.
        task: the task, whose first target is looked at.
        season: as given; 0 or 1: none.
    """
    if season is not None:
        return (season,) if season > 1 else ()
    spacing = sequences.spacing
    if spacing is not None and spacing.unit:
        return spacing.seasons
    longest = int(training.lengths.argmax())
    values = training.of(longest)[:, training.place(task.targets[0].name)]
    found = find_season(values)
    return () if found is None else (found,)


def season_of(sequences: Sequences, season: int | None) -> int | None:
    """Time steps of the season: as given (0 or 1: none), or by the spacing of the times."""
    if season is not None:
        return season if season > 1 else None
    spacing = sequences.spacing
    return spacing.season if spacing else None
