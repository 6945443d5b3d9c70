"""An ensemble forecaster: linear forecasters and recurrent networks, weighed by a backtest.

Every member is fitted on all but the last part of the data and forecasts that part from several
origins, which gives the weights. Members of little weight are left out, and the others are fitted
again on everything. The result is one Keras model that sees a window of past values.
"""

import time as clock
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from legato._forecasting.ensemble_model import (
    LARGEST_FALL,
    Member,
    build_ensemble,
    forecast_limits,
)
from legato._forecasting.linear_forecasters import (
    History,
    fit_linear_forecasters,
    typical_change_of,
)
from legato._forecasting.network import Networks, Shape, padding_value
from legato._forecasting.stacking import Stacking, stack
from legato._forecasting.task import Task
from legato._forecasting.train_config import TrainConfig
from legato._forecasting.window_networks import Architecture, WindowNetworks
from legato._series.sequences import Sequences, expand_ranges
from legato._series.windows import windows_before

ORIGINS = 64  # of the backtest; where there are fewer, some count twice
LEAST_WINDOW, USUAL_WINDOW, MAX_WINDOW = 4, 48, 800  # time steps
NETWORK_STEPS = 24  # that networks see without a season
NETWORK = "network"  # the name of the mean of the networks among the members


@dataclass(frozen=True)
class Layout:
    """The lengths of an ensemble's windows, in time steps.

    Attributes:
        window: past values that a forecast uses.
        held_out: steps at the end of each sequence that the backtest forecasts.
        horizon: steps ahead.
        seasons: the seasons, the shortest first; may be empty.
    """

    window: int
    held_out: int
    horizon: int
    seasons: tuple[int, ...]


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
    spare = longest - max(2 * season + horizon, 3 * horizon, 20)
    held_out = min(max(2 * horizon, longest // 4), max(spare, horizon + max(1, horizon // 2)))
    most = (longest - held_out - horizon) // 2
    if most < LEAST_WINDOW:
        return None
    known = tuple(each for each in seasons if each > 1 and 2 * each <= most)
    if not known and 1 < season <= most - 2:
        known = (season,)
    wanted = max(USUAL_WINDOW, 2 * known[-1] + 2, 4 * known[0] + 2) if known else USUAL_WINDOW
    return Layout(min(wanted, most, MAX_WINDOW), held_out, horizon, known)


class EnsembleTrainer:
    """Fits ensembles of one layout: the counterpart of ``Trainer`` for a single network.

    Args:
        layout: the lengths of the windows.
        config: its ``cell``, ``units``, ``layers``, ``learning_rate``, ``seed`` and ``verbose``.

    Attributes:
        shape: the architecture, as the model's file records it.
    """

    def __init__(self, layout: Layout, config: TrainConfig):
        self.layout, self.config = layout, config
        season = layout.seasons[0] if layout.seasons else 1
        steps = season + max(season, NETWORK_STEPS // 2) if season > 1 else NETWORK_STEPS
        steps = min(steps, layout.window)
        self.shape = Shape(
            **config.network, stateful=False, framing="ensemble", steps=layout.window
        )
        self.architecture = Architecture(**config.network, steps=steps, season=season)
        self._networks: WindowNetworks | None = None

    def fit(self, task: Task, sequences: Sequences) -> tuple[Networks, dict[str, Any]]:
        """Weigh the members by a backtest, and fit those that count on everything.

        Args:
            task: a forecast.
            sequences: the data.

        Returns:
            The model, and the record: members, weights, errors, history of the networks, seconds.
        """
        begun = clock.perf_counter()
        networks, history, stackings, origins = self._weigh(task, sequences)
        ready = clock.perf_counter()
        chosen = [each.chosen for each in stackings]
        if any(NETWORK in each for each in chosen):
            networks, history = self._fit_networks(task, sequences)
        else:
            networks = None
        members = [
            [each for each in self._members(series) if each.name in own]
            for series, own in zip(_series_of_targets(task, sequences), chosen, strict=True)
        ]
        pad = padding_value(task.inputs_of(sequences))
        spans = _spans_of_targets(task, sequences)
        model = build_ensemble(task, self.layout.window, pad, members, chosen, networks, spans)
        record = {
            "history": history,
            "samples": int(np.maximum(sequences.lengths - self._sample_steps + 1, 0).sum()),
            "rows": None,
            "padding": 0.0,
            "seconds_preparing": ready - begun,
            "seconds": clock.perf_counter() - begun,
            "ensemble": {
                **asdict(self.layout),
                "origins": origins,
                "networks": asdict(self.architecture),
                "targets": [
                    {"target": column.name, **each.as_numbers()}
                    for column, each in zip(task.targets, stackings, strict=True)
                ],
            },
        }
        return Networks(model, model, pad, None), record

    def _weigh(
        self, task: Task, sequences: Sequences
    ) -> tuple[WindowNetworks, dict[str, list], list[Stacking], int]:
        """The backtest: networks, their history, weights for each target, and number of origins."""
        held_out, horizon = self.layout.held_out, self.layout.horizon
        lengths = sequences.lengths
        long = lengths >= min(2 * held_out + horizon, lengths.max())
        stops = np.where(long, lengths - held_out, lengths)
        before = sequences.between(0 * stops, stops)
        counts = np.where(long, held_out - horizon + 1, 0)
        sequence = np.repeat(np.arange(len(lengths)), counts)
        t = expand_ranges(stops - 1, counts)
        at = np.linspace(0, len(t) - 1, ORIGINS).astype(int)  # one number of them: one program
        sequence, t = sequence[at], t[at]
        values, begins = task.inputs_of(sequences), sequences.offsets[sequence]
        windows = windows_before(values, begins, begins + t, self.layout.window)
        truth = values[(begins + t)[:, None] + np.arange(1, horizon + 1)][..., task.places]
        networks, history = self._fit_networks(task, before)
        by_network = networks.predict(windows[:, -self.architecture.steps :])
        stackings, spans = [], _spans_of_targets(task, before)
        for target, series in enumerate(_series_of_targets(task, before)):
            members, place = self._members(series), task.places[target]
            own = windows[..., place].astype("float64")
            predicted = [
                by_network[..., target] if each.linear is None else each.predict(own)
                for each in members
            ]
            low, high = forecast_limits(own, spans[target])
            predicted = np.clip(np.stack(predicted), low, high)
            scale = np.array([typical_change_of(each) for each in series])
            names = tuple(each.name for each in members)
            found = stack(names, predicted, truth[..., target], scale[sequence])
            stackings.append(found)
        return networks, history, stackings, int(min(counts.sum(), ORIGINS))

    def _members(self, series: tuple[np.ndarray, ...]) -> list[Member]:
        """The members for a target, the linear ones fitted on its series; the networks last."""
        window, horizon, seasons = self.layout.window, self.layout.horizon, self.layout.seasons
        members = [
            Member(each.name, each)
            for each in fit_linear_forecasters(History(series, seasons, window, horizon))
        ]
        least = min(float(each.min()) for each in series)
        if least > 0:
            history = History(tuple(map(np.log, series)), seasons, window, horizon)
            members += [
                Member(f"{each.name} of logarithms", each, least / LARGEST_FALL)
                for each in fit_linear_forecasters(history)
                if "naive" not in each.name  # the same as without logarithms
            ]
        return [*members, Member(NETWORK, None)]

    def _fit_networks(
        self, task: Task, sequences: Sequences
    ) -> tuple[WindowNetworks, dict[str, list]]:
        """Train the networks, with the program that an earlier call compiled for this task."""
        windows, truth = self._network_samples(task, sequences)
        networks = self._networks
        if networks is None or networks.task != task:
            is_single, config = len(sequences) == 1, self.config
            rate, seed = config.learning_rate, config.seed
            networks = WindowNetworks(task, self.architecture, windows, is_single, rate, seed)
            self._networks = networks
        return networks, networks.fit(windows, truth, verbose=self.config.verbose)

    @property
    def _sample_steps(self) -> int:
        """Time steps of a sample of the networks: those that they see, and the horizon."""
        return self.architecture.steps + self.layout.horizon

    def _network_samples(self, task: Task, sequences: Sequences) -> tuple[np.ndarray, np.ndarray]:
        """All windows of the networks (samples, steps, inputs), and what follows each."""
        steps, size = self.architecture.steps, self._sample_steps
        both = np.concatenate(
            [
                np.lib.stride_tricks.sliding_window_view(each, size, axis=0).swapaxes(1, 2)
                for each in np.split(task.inputs_of(sequences), sequences.offsets[1:-1])
                if len(each) >= size
            ]
        )
        return both[:, :steps], both[:, steps:][..., task.places]


def _series_of_targets(task: Task, sequences: Sequences) -> list[tuple[np.ndarray, ...]]:
    """For each target, its values in each sequence, float64."""
    values = np.split(task.inputs_of(sequences).astype("float64"), sequences.offsets[1:-1])
    return [tuple(each[:, place] for each in values) for place in task.places]


def _spans_of_targets(task: Task, sequences: Sequences) -> list[float]:
    """For each target, the range of its values in one sequence; 0 for several of unlike size."""
    if len(sequences) > 1:
        return [0.0 for _ in task.targets]
    return [float(np.ptp(own)) for (own,) in _series_of_targets(task, sequences)]
