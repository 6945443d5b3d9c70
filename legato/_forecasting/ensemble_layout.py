"""The lengths of an ensemble's windows and of what its backtest holds out, by those of the data."""

from dataclasses import dataclass, replace

from legato._errors import InputError
from legato._forecasting.label_ensemble import NEEDED
from legato._forecasting.partition import split_parts, steps_of_few_origins
from legato._forecasting.seasons import seasons_of
from legato._forecasting.task import Task
from legato._forecasting.train_config import TrainConfig
from legato._platform.wording import counted
from legato._series.sequences import Sequences

LEAST_WINDOW, USUAL_WINDOW, MAX_WINDOW = 2, 48, 800  # time steps
NETWORK_STEPS = 24  # that networks see without a season
FEWEST_SAMPLES = 8  # of two seasons and a horizon, where the data allow it


@dataclass(frozen=True)
class Layout:
    """The lengths of an ensemble's windows, in time steps.

    Attributes:
        window: past values that a forecast uses.
        held_out: steps at the end of each sequence that the backtest forecasts.
        horizon: steps ahead.
        seasons: the seasons, the shortest first; may be empty.
        network_steps: past values that the networks see; 0: too few for networks.
    """

    window: int
    held_out: int
    horizon: int
    seasons: tuple[int, ...]
    network_steps: int

    @property
    def has_whole_seasons(self) -> bool:
        """Whether the window holds two of the shortest season, which all members need."""
        return bool(self.seasons) and self.window >= 2 * self.seasons[0]


def default_horizon(longest: int, seasons: tuple[int, ...]) -> int:
    """Steps ahead unless they are given: a season, or 12, but at most an eighth of the data."""
    return max(1, min(seasons[0] if seasons else 12, longest // 8))


def plan_layout(longest: int, horizon: int, seasons: tuple[int, ...]) -> Layout | None:
    """Choose the window and the part that is held out.

    Args:
        longest: time steps of the longest sequence.
        horizon: steps ahead.
        seasons: lengths of seasons, the shortest first; one that does not fit into the window is
            left out.

    Returns:
        None where the sequences are too short for the horizon.
    """
    season = seasons[0] if seasons else 1
    spare = longest - max(2 * season + horizon + FEWEST_SAMPLES, 3 * horizon, 20)
    held_out = min(max(2 * horizon, longest // 4), max(spare, steps_of_few_origins(horizon)))
    if longest - held_out - horizon < 2 * LEAST_WINDOW:  # one origin is better than none
        held_out = horizon
    fitted = longest - held_out
    most = (fitted - horizon) // 2
    known = tuple(each for each in seasons if each > 1 and 2 * each <= most)
    if not known and 1 < season <= min(fitted, MAX_WINDOW):  # better few samples than no season
        known, most = (season,), max(most, min(2 * season + 2, fitted))
    if most < LEAST_WINDOW:
        return None
    wanted = max(USUAL_WINDOW, 2 * known[-1] + 2, 4 * known[0] + 2) if known else USUAL_WINDOW
    window = min(wanted, most, MAX_WINDOW)
    steps = season + max(season, NETWORK_STEPS // 2) if known else NETWORK_STEPS
    steps = min(steps, window, (fitted - horizon) // 2)
    return Layout(window, held_out, horizon, known, steps if steps >= LEAST_WINDOW else 0)


def plan_ensemble(
    sequences: Sequences, draft: Task, config: TrainConfig
) -> tuple[Layout | None, Layout | None, int]:
    """The windows of the ensemble that is scored, and of that which learns from all the data, and
    the horizon; None, None and a network's if data are too short.

    They are the same unless the test part leaves too little for windows of two seasons.
    """
    longest = int(sequences.lengths.max())
    try:
        known = split_parts(sequences, replace(draft, horizon=1), config).training(sequences)
        horizon = config.horizon or default_horizon(
            longest, seasons_of(sequences, known, draft, config.season)
        )
        parts = split_parts(sequences, replace(draft, horizon=horizon), config)
    except InputError:
        return None, None, draft.horizon  # a single network says what is wrong, or manages
    known = parts.training(sequences)
    seasons = seasons_of(sequences, known, draft, config.season)
    layout = plan_layout(int(known.lengths.max()), horizon, seasons)
    if layout is None:
        return None, None, draft.horizon
    whole = layout
    if seasons and not layout.has_whole_seasons:
        whole = plan_layout(longest, horizon, seasons)
    return layout, whole, horizon


def no_ensemble(sequences: Sequences, draft: Task) -> str:
    """Why there is no ensemble, where one is asked for, and what to do."""
    if draft.whole:
        return (
            f"There are {counted(len(sequences), 'sequence')}, and an ensemble labels sequences "
            f"where {NEEDED}. Give others, or take a single network (--framing chunks)."
        )
    if draft.kind != "forecast":
        return (
            f"The task is to {draft.kind}, and an ensemble forecasts quantities, or labels whole "
            "sequences. Leave out framing='ensemble' (--framing), or take another framing."
        )
    return (
        f"{too_short(sequences, draft.horizon)}. Give longer sequences, a shorter horizon "
        "(--horizon) or test part (--test), or take a single network (--framing chunks)."
    )


def too_short(sequences: Sequences, horizon: int | None) -> str:
    """Why there is no ensemble to forecast, without a full stop."""
    ahead = f" {counted(horizon, 'step')} ahead" if horizon else ""
    return (
        f"The longest sequence has {sequences.lengths.max():,} steps, too few for an ensemble to "
        f"forecast{ahead} and be scored"
    )
