"""An ensemble forecaster: linear forecasters and recurrent networks, weighed by a backtest.

Every member is fitted on all but the last part of the data and forecasts that part from several
origins, which gives the weights. Members of little weight are left out, and the others are fitted
again on everything. The result is one Keras model that sees a window of past values.
"""

import time as clock
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from legato._forecasting.ensemble_layout import Layout
from legato._forecasting.ensemble_model import (
    LARGEST_FALL,
    Limits,
    Member,
    build_ensemble,
)
from legato._forecasting.known_effects import KnownEffects, TargetEffects
from legato._forecasting.linear_forecasters import (
    History,
    LinearForecaster,
    fit_linear_forecasters,
    typical_change_of,
)
from legato._forecasting.network import Networks, Shape, padding_value
from legato._forecasting.paired_differences import origin_blocks
from legato._forecasting.stacking import Stacking, stack
from legato._forecasting.task import Task
from legato._forecasting.train_config import TrainConfig
from legato._forecasting.window_networks import Architecture, WindowNetworks
from legato._series.sequences import Sequences, expand_ranges
from legato._series.windows import windows_before

ORIGINS = 64  # of the backtest; where there are fewer, some count twice
WITH_KNOWN = " with known columns"  # the end of the name of a member that takes them
NETWORK = "network"  # the name of the mean of the networks among the members


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
        steps = layout.network_steps
        season = season if season < steps else 1  # they see changes from a season before
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
        history, stackings, origins, effects = self._weigh(task, sequences)
        ready = clock.perf_counter()
        chosen = [each.chosen for each in stackings]
        effects = self._fit_effects(task, sequences, effects)
        if any(NETWORK in each for each in chosen):
            networks, history = self._fit_networks(task, sequences, effects)
        else:
            networks = None
        known = _known_series(task, sequences)
        members = [
            [each for each in self._members(series, known, own, least) if each.name in names]
            for series, own, names, least in zip(
                _series_of_targets(task, sequences),
                effects,
                chosen,
                _least_of_targets(task, sequences),
                strict=True,
            )
        ]
        pad = padding_value(task.inputs_of(sequences))
        model = build_ensemble(
            task,
            self.layout.window,
            pad,
            members,
            chosen,
            networks,
            _limits_of_targets(task, sequences),
            [each.of_values for each in effects],
        )
        layout = asdict(self.layout)
        layout.pop("network_steps")  # recorded with the networks
        record = {
            "history": history,
            "samples": int(np.maximum(sequences.lengths - self._sample_steps + 1, 0).sum()),
            "rows": None,
            "padding": 0.0,
            "seconds_preparing": ready - begun,
            "seconds": clock.perf_counter() - begun,
            "ensemble": {
                **layout,
                "origins": origins,
                "networks": asdict(self.architecture) if self.layout.network_steps else None,
                "targets": [
                    {"target": column.name, **each.as_numbers(), **own.as_numbers()}
                    for column, each, own in zip(task.targets, stackings, effects, strict=True)
                ],
            },
        }
        return Networks(model, model, pad, None), record

    def _weigh(
        self, task: Task, sequences: Sequences
    ) -> tuple[dict[str, list], list[Stacking], int, list[TargetEffects]]:
        """The backtest.

        Returns:
            The history of the networks, weights for each target, the number of origins, and the
            effects of known columns on each target.
        """
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
        future = values[(begins + t)[:, None] + np.arange(1, horizon + 1)]
        truth, known = future[..., task.places], None
        if task.known:
            known = np.concatenate([windows, future], axis=1)[..., task.known_places]
        effects, series_known = self._fit_effects(task, before), _known_series(task, before)
        history: dict[str, list] = {}
        by_network = np.empty((0, 0, 0))
        if self.layout.network_steps:
            networks, history = self._fit_networks(task, before, effects)
            by_network = self._predict_by_networks(networks, windows, known, effects)
        stackings, limits = [], _limits_of_targets(task, before)
        stretches = int(origin_blocks(sequence, t, horizon).max()) + 1
        least = _least_of_targets(task, sequences)  # not before: both fits have the same members
        for target, series in enumerate(_series_of_targets(task, before)):
            members = self._members(series, series_known, effects[target], least[target])
            own = windows[..., task.places[target]].astype("float64")
            predicted = [
                by_network[..., target] if each.linear is None else each.predict(own, known)
                for each in members
            ]
            low, high = limits[target].around(own)
            predicted = np.clip(np.stack(predicted), low, high)
            scale = np.array([typical_change_of(each) for each in series])
            names = tuple(each.name for each in members)
            found = stack(names, predicted, truth[..., target], scale[sequence], stretches)
            stackings.append(found)
        return history, stackings, int(min(counts.sum(), ORIGINS)), effects

    def _predict_by_networks(
        self,
        networks: WindowNetworks,
        windows: np.ndarray,
        known: np.ndarray | None,
        effects: list[TargetEffects],
    ) -> np.ndarray:
        """The forecast of the networks after windows, (windows, horizon, targets)."""
        steps = self.architecture.steps
        if known is None:
            return networks.predict(windows[:, -steps:])
        rest, added = windows.copy(), []
        for place, own in zip(networks.task.places, effects, strict=True):
            before, ahead = 0.0, 0.0 * known[:, self.layout.window :, 0]
            if own.of_values is not None:
                before, ahead = own.of_values.split(windows[..., place].astype("float64"), known)
            rest[..., place] -= before
            added.append(ahead)
        ahead = known[:, self.layout.window :]
        return networks.predict(rest[:, -steps:], ahead) + np.stack(added, axis=-1)

    def _fit_effects(
        self, task: Task, sequences: Sequences, like: list[TargetEffects] | None = None
    ) -> list[TargetEffects]:
        """The effects of known columns on each target; ``like``: those of fewer data."""
        known, columns = _known_series(task, sequences), task.known_columns
        return [
            TargetEffects.fit(series, known, columns, self.layout.seasons, own)
            for series, own in zip(
                _series_of_targets(task, sequences),
                like or [None] * len(task.targets),
                strict=True,
            )
        ]

    def _members(
        self,
        series: tuple[np.ndarray, ...],
        known: tuple[np.ndarray, ...],
        effects: TargetEffects,
        least: float,
    ) -> list[Member]:
        """The members for a target, the linear ones fitted on its series; any networks last.

        Args:
            series, known: of each sequence.
            effects: of the known columns.
            least: the least value of the target, in what the series are a part of too: there are
                members of logarithms if it is positive.
        """
        window, horizon, seasons = self.layout.window, self.layout.horizon, self.layout.seasons

        def fit(values: tuple[np.ndarray, ...]) -> Iterator[LinearForecaster]:
            return fit_linear_forecasters(History(values, seasons, window, horizon))

        def rest(values: tuple[np.ndarray, ...], own: KnownEffects) -> tuple[np.ndarray, ...]:
            return tuple(own.rest_of(*each) for each in zip(values, known, strict=True))

        members = [Member(each.name, each) for each in fit(series)]
        if (own := effects.of_values) is not None:
            found = fit(rest(series, own))
            members += [Member(f"{each.name}{WITH_KNOWN}", each, None, own) for each in found]
        if least > 0:
            logarithms, bound = tuple(map(np.log, series)), least / LARGEST_FALL
            members += [
                Member(f"{each.name} of logarithms", each, bound)
                for each in fit(logarithms)
                if "naive" not in each.name  # the same as without logarithms
            ]
            if (own := effects.of_logarithms) is not None:
                members += [
                    Member(f"{each.name} of logarithms{WITH_KNOWN}", each, bound, own)
                    for each in fit(rest(logarithms, own))
                ]
        return [*members, Member(NETWORK, None)] if self.layout.network_steps else members

    def _fit_networks(
        self, task: Task, sequences: Sequences, effects: list[TargetEffects]
    ) -> tuple[WindowNetworks, dict[str, list]]:
        """Train the networks, with the program that an earlier call compiled for this task."""
        windows, truth, ahead = self._network_samples(task, sequences, effects)
        networks = self._networks
        if networks is None or networks.task != task:
            is_single, config = len(sequences) == 1, self.config
            rate, seed = config.learning_rate, config.seed
            networks = WindowNetworks(task, self.architecture, windows, is_single, rate, seed)
            self._networks = networks
        return networks, networks.fit(windows, truth, ahead, verbose=self.config.verbose)

    @property
    def _sample_steps(self) -> int:
        """Time steps of a sample of the networks: those that they see, and the horizon."""
        return self.architecture.steps + self.layout.horizon

    def _network_samples(
        self, task: Task, sequences: Sequences, effects: list[TargetEffects]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """All windows of the networks (samples, steps, inputs), what follows, and what is known.

        The targets are without the effects of known columns.
        """
        steps, size = self.architecture.steps, self._sample_steps
        values = task.inputs_of(sequences)
        for place, own, series in zip(
            task.places, effects, _series_of_targets(task, sequences), strict=True
        ):
            if own.of_values is not None:
                pairs = zip(series, _known_series(task, sequences), strict=True)
                values[:, place] = np.concatenate([own.of_values.rest_of(*each) for each in pairs])
        both = np.concatenate(
            [
                np.lib.stride_tricks.sliding_window_view(each, size, axis=0).swapaxes(1, 2)
                for each in np.split(values, sequences.offsets[1:-1])
                if len(each) >= size
            ]
        )
        future = both[:, steps:]
        ahead = future[..., task.known_places] if task.known else None
        return both[:, :steps], future[..., task.places], ahead


def _known_series(task: Task, sequences: Sequences) -> tuple[np.ndarray, ...]:
    """The columns known ahead in each sequence, (time steps, known) each, float64."""
    known = task.inputs_of(sequences)[:, task.known_places].astype("float64")
    return tuple(np.split(known, sequences.offsets[1:-1]))


def _series_of_targets(task: Task, sequences: Sequences) -> list[tuple[np.ndarray, ...]]:
    """For each target, its values in each sequence, float64."""
    values = np.split(task.inputs_of(sequences).astype("float64"), sequences.offsets[1:-1])
    return [tuple(each[:, place] for each in values) for place in task.places]


def _least_of_targets(task: Task, sequences: Sequences) -> list[float]:
    """For each target, its least value."""
    return [min(float(each.min()) for each in own) for own in _series_of_targets(task, sequences)]


def _limits_of_targets(task: Task, sequences: Sequences) -> list[Limits]:
    """For each target, the limits of its forecasts; of several sequences, which may be of unlike
    size, no range counts but that of a window.
    """
    floors = [0.0 if least >= 0 else -np.inf for least in _least_of_targets(task, sequences)]
    if len(sequences) > 1:
        return [Limits(0.0, floor) for floor in floors]
    series = (own for (own,) in _series_of_targets(task, sequences))
    return [Limits(float(np.ptp(own)), each) for own, each in zip(series, floors, strict=True)]
