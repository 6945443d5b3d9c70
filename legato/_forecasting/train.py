"""``train``: from data to a trained and scored model that records what it was trained on.

The test part is set aside before anything is fitted, scaling and vocabularies included. The number
of epochs can be chosen by early stopping on a part of the rest, and is never chosen on the test
part. An ensemble that labels sequences is scored by cross-validation, unless a test part is asked
for. A stateful network reads everything before the part it is scored on, so that its state is warm
there. Then a second network learns from all the data with the same options, and is returned; the
scores and the intervals remain those of the first.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial, wraps
from importlib.metadata import version
from inspect import signature
from os import PathLike
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from legato._errors import InputError
from legato._forecasting.backtest import estimate_intervals, fingerprint_training
from legato._forecasting.covariates import Covariates, describe_covariates
from legato._forecasting.data_facts import (
    data_facts,
    label_counts,
    least_values,
    note_far_values,
    note_filled_targets,
    note_lacking_group,
    note_lacking_origins,
    note_wide_rows,
)
from legato._forecasting.ensemble import EnsembleTrainer
from legato._forecasting.ensemble_layout import no_ensemble, plan_ensemble, too_short
from legato._forecasting.label_ensemble import (
    LabelEnsembleTrainer,
    can_label,
    is_cross_validated,
)
from legato._forecasting.network import Shape
from legato._forecasting.partition import CROSS_VALIDATION, Partition, split_parts
from legato._forecasting.search import check_study, find_best_options, import_optuna
from legato._forecasting.seasons import season_of
from legato._forecasting.task import Task, check_changes, infer_task
from legato._forecasting.train_config import TrainConfig
from legato._forecasting.trained import Trained
from legato._forecasting.trainer import Trainer, check_enough
from legato._forecasting.training_set import plan_lanes
from legato._platform.output_streams import printable_on_stdout
from legato._series.gap_filling import lacks_few_days
from legato._series.lanes import Lanes
from legato._series.reading import read_with_future
from legato._series.sequences import Sequences

FILLED_DAYS = (
    "They were put in so that each weekday keeps its place in the week: missing='drop' (--missing) "
    "leaves them out."
)
WINDOW = 12  # time steps of a window, unless the times suggest a season
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class Plan:
    """What ``train`` is about to do: nothing is trained yet.

    Attributes:
        task: the task of the network: its kind, inputs, targets and horizon.
        shape: the architecture of the network.
        lanes: the layout of the sequences in batches whose rows carry on; None where samples are
            independent. ``print(plan.lanes)`` shows it, and ``legato.report.lanes_figure``.
        data: facts on the data and their split, as JSON takes them.
        config: the options, as they were given.
        season: time steps of the season of the seasonal baseline, or None.
        covariates: the columns beside the targets, by when they are known.

    Examples:
        >>> import numpy as np, legato
        >>> planned = legato.plan({"load": np.sin(np.arange(60) / 3)}, framing="chunks")
        >>> planned.task.kind, planned.shape.steps, planned.season
        ('forecast', 48, None)
    """

    task: Task
    shape: Shape
    lanes: Lanes | None
    data: dict[str, Any]
    config: TrainConfig
    season: int | None
    covariates: Covariates
    _sequences: Sequences
    _parts: Partition
    _reading: dict[str, Any]
    _ensemble: EnsembleTrainer | LabelEnsembleTrainer | None = None
    _kept: EnsembleTrainer | None = None  # of the ensemble that learns from all the data
    _asked: TrainConfig | None = None  # without what was settled for a single network
    _search_record: dict[str, Any] | None = None

    @printable_on_stdout
    def __repr__(self) -> str:
        targets = ", ".join(column.name for column in self.task.targets)
        return f"<Plan: {self.task.kind} {targets}, {self.shape}>"

    @property
    def course(self) -> TrainConfig:
        """The options, for how long and how fast it will be trained among them."""
        return self.config

    @property
    def refits(self) -> bool:
        """Whether it will learn from all the data after the score."""
        is_scored = self.data["test_steps"] > 0 or self._parts.by == CROSS_VALIDATION
        return self.config.refit and is_scored

    def search(self, report: Callable[[str], None] | None = None, executor: Any = None) -> "Plan":
        """Try as many settings as ``search`` says, on a part of the training data.

        Args:
            report: takes a line on each setting that was tried; default: prints it, unless
                ``verbose`` is 0.
            executor: tries settings in other processes or on other machines, five at a time:
                anything with the interface of ``concurrent.futures``, such as a
                ``ProcessPoolExecutor`` whose processes are spawned. What is found is the same.

        Returns:
            The plan of the best setting. The test part had no say in it.

        Raises:
            InputError: the options as given cannot be trained, or the study is of something else.
            MissingError: Optuna is not installed.
        """
        plan_again = partial(_plan_sequences, covariates=self.covariates)
        best, record = find_best_options(self, plan_again, report or self._print, executor)
        return replace(plan_again(self._sequences, self._reading, best), _search_record=record)

    def train(self, scoring: AbstractContextManager | None = None) -> Trained:
        """Train the network, and score it; see ``legato.train``.

        Args:
            scoring: a context that is entered while the network is scored, such as a progress
                display.
        """
        if self.config.search:
            return self.search().train(scoring)
        parts = self._parts
        config, scored, record = self.train_scored()
        test = parts.test(self._sequences)
        if test is None:
            return scored
        known: dict[str, Any] = {}
        with scoring or nullcontext():
            backtest = scored.backtest(*test, self.season)
            known["scores"] = backtest.scores().as_numbers()
            if self.task.kind == "forecast":
                known["intervals"] = estimate_intervals(scored, *test, self.season).as_numbers()
        if not self.refits:
            scored.model.reset_states()
            scored.known.update(known)
            return scored
        refitted = self._refit(config, {**record, "scored": scored.known["training"]["course"]})
        seen = fingerprint_training(refitted.task, self._sequences, parts.stops)
        tested = np.flatnonzero(parts.stops < self._sequences.lengths)
        known["backtest"] = {**backtest.of_sequences(tested).as_numbers(), "seen": seen}
        refitted.known.update(known, refit=True)
        return refitted

    def train_scored(self) -> tuple[TrainConfig, Trained, dict[str, Any]]:
        """Train without the test part: the options with their epochs, the model, the record."""
        parts, config = self._parts, self.config
        record: dict[str, Any] = {}
        if self._search_record is not None:
            record["search"] = self._search_record
        if config.early_stop:
            trainer = Trainer(self.task, self.shape, config)
            record["trial"] = trainer.find_epochs(parts, self._sequences)
            config = replace(config, epochs=record["trial"]["best_epochs"])
        return config, self._fit(self.task, self.shape, parts.stops, config, record), record

    def _print(self, line: str) -> None:
        if self.config.verbose:
            print(line, flush=True)

    def _refit(self, config: TrainConfig, record: dict[str, Any]) -> Trained:
        """Train again, on all the data, with the same options."""
        sequences = self._sequences
        targets = [each.name for each in self.task.targets]
        task = infer_task(sequences, self.task.kind, targets, self.task.horizon or None)
        shape = self.shape
        if self.lanes is not None:
            steps = plan_lanes(sequences.lengths, config.rows, config.steps).steps
            shape = replace(shape, steps=steps)
        task = replace(task, whole=self.task.whole, known=self.task.known, static=self.task.static)
        if self._kept is not None:
            shape = self._kept.shape
        return self._fit(task, shape, sequences.lengths, config, record, self._kept)

    def _fit(
        self,
        task: Task,
        shape: Shape,
        stops: np.ndarray,
        config: TrainConfig,
        record: dict[str, Any],
        kept: EnsembleTrainer | None = None,
    ) -> Trained:
        """Train a network on the steps of each sequence before ``stops``, (sequences,)."""
        ensemble = kept or self._ensemble
        training, unseen = self._sequences.between(0 * stops, stops), None
        if ensemble is None:
            networks, course = Trainer(task, shape, config).fit(training)
        elif isinstance(ensemble, LabelEnsembleTrainer):
            networks, course, unseen = ensemble.fit(task, training)
        else:
            networks, course = ensemble.fit(task, training)
        known = {
            "read": self._reading,
            "covariates": self.covariates.as_numbers(),
            "options": self.config.given,
            "season": self.season,
            "origins": config.origins,
            "label_counts": label_counts(task, training),
            "least": least_values(task, training),
            "seen": fingerprint_training(task, self._sequences, stops),
            "data": self.data,
            "training": {**self.config.training, **record, "course": course},
            "refit": False,
            "versions": {name: version(name) for name in ("legato", "keras", "jax")},
        }
        if unseen is not None and self._parts.by == CROSS_VALIDATION:
            known["scores"], known["refit"] = unseen.scores().as_numbers(), True
            known["backtest"] = {**unseen.as_numbers(), "seen": []}
        return Trained(networks.model, task, shape, networks.pad, known)


def _with_options(config: Callable[P, TrainConfig]):
    """Give a function of data and a ``TrainConfig`` that class's fields as keyword arguments."""

    def decorate(function: Callable[[Any, TrainConfig], R]) -> Callable[Concatenate[Any, P], R]:
        @wraps(function)
        def call(data, *args: P.args, **options: P.kwargs) -> R:
            return function(data, config(*args, **options))

        given = signature(function)
        parameters = [given.parameters["data"], *signature(config).parameters.values()]
        call.__signature__ = given.replace(parameters=parameters)  # pyrefly: ignore[missing-attribute]
        return call

    return decorate


@_with_options(TrainConfig)
def train(data, config: TrainConfig) -> Trained:
    """Train a network on sequences, and score it on a part that it has not seen.

    After the score, a network learns from all the data with the same options, and is what is
    returned; ``refit=False`` returns the network that was scored.

    Args:
        data: a file, a frame, arrays (whatever ``legato.read`` takes), or ``Sequences``.
        options: the fields of ``legato.TrainConfig``, by keyword; ``help(legato.TrainConfig)``
            describes each.

    Returns:
        A ``Trained``, with ``.scores``, ``.forecast()`` and ``.save()``.

    Raises:
        InputError: data or options that do not fit; the message says where and what to do.

    Examples:
        >>> import legato
        >>> wave = {"load": [1.0, 2.0, 4.0, 3.0] * 9}
        >>> trained = legato.train(wave, units=2, epochs=1, verbose=0)
        >>> trained.forecast(wave, 3).values.shape
        (1, 3, 1)
    """
    return _make_plan(data, config).train()


@_with_options(TrainConfig)
def plan(data, config: TrainConfig) -> Plan:
    """Settle what ``train`` would do, and check that it can be done, without training.

    Args:
        data, options: as for ``train``.

    Returns:
        A ``Plan`` with ``.task``, ``.shape`` and ``.lanes``; ``.train()`` carries it out.

    Raises:
        InputError: data or options that do not fit; the message says where and what to do.

    Examples:
        >>> import numpy as np, legato
        >>> planned = legato.plan([np.sin(np.arange(60) / 3), np.arange(30.0)], rows=1, steps=12)
        >>> print(planned.lanes)
        2 sequences of 24 to 48 steps, 72 in all, in 1 row: 6 samples of 12 steps in 6 batches, \
0.0 % padding
        [ a sequence begins   | it carries on   · padding
        batch   0        1        2        3        4        5
        row 0  [0-------|0-------|0-------|0-------[1-------|1-------
    """
    return _make_plan(data, config)


def _make_plan(data, config: TrainConfig) -> Plan:
    reading, future = config.reading, None
    if isinstance(data, Sequences):
        _check_not_given(reading)
        sequences, reading = data, reading | {"group": data.group, "time": data.time}
    else:
        asked = None if config.horizon is None else False
        labels = asked if config.task is None else config.task != "forecast"
        sequences, future = read_with_future(
            data, _targets_of(config), **reading, classifies=labels
        )
        if future is None and lacks_few_days(sequences) and _may_fill(data, sequences, config):
            reading: dict[str, Any] = {**reading, "fill": "interpolate"}
            sequences, future = read_with_future(
                data, _targets_of(config), **reading, classifies=labels
            )
            sequences = replace(sequences, notes=(*sequences.notes, FILLED_DAYS))
    if sequences.writing is not None and sequences.writing.order is not None:
        reading = reading | {"dates": sequences.writing.order}  # as a shorter file may not tell
    if config.search:
        import_optuna()
        if config.study is not None:
            check_study(Path(config.study))
    sequences = sequences.of_at_least(config.shortest)
    draft = infer_task(sequences, config.task, config.target, config.horizon)
    check_changes(sequences, draft)
    covariates = describe_covariates(config, sequences, future, draft)
    return _plan_sequences(covariates.with_calendar(sequences), reading, config, covariates)


def _may_fill(data: Any, sequences: Sequences, config: TrainConfig) -> bool:
    """Whether missing days may be put in unasked: for an ensemble, of what can be read again."""
    reading = config.reading
    asked = reading["fill"] is not None or reading["missing"] != "error"
    again = not isinstance(data, (str, PathLike)) or Path(data).is_file()
    if asked or config.known or not again or config.asks_for_one_network:
        return False
    return infer_task(sequences, config.task, config.target, config.horizon).kind == "forecast"


def _targets_of(config: TrainConfig) -> list[str]:
    """The names of the targets that are given; none: the last column."""
    if isinstance(config.target, str):
        return [config.target]
    return list(config.target) if isinstance(config.target, (list, tuple)) else []


def _plan_sequences(
    sequences: Sequences, reading: dict[str, Any], config: TrainConfig, covariates: Covariates
) -> Plan:
    """The plan for sequences that were read with some options, and have their calendar."""
    asked = config
    targets = _targets_of(config) or covariates.last_of(sequences)
    draft = infer_task(sequences, config.task, targets, config.horizon)
    season, layout, whole = season_of(sequences, config.season), None, None
    if not config.asks_for_one_network and draft.kind == "forecast":
        layout, whole, horizon = plan_ensemble(sequences, draft, config)
        draft = replace(draft, horizon=horizon)
        if layout is not None and layout.seasons and season is None:
            season = layout.seasons[0]  # found in the data
    labels = not config.asks_for_one_network and draft.whole and can_label(sequences, draft)
    notes = []
    if layout is None and not labels:
        if draft.kind == "forecast" and not config.asks_for_one_network:
            reason = too_short(sequences, config.horizon)
            notes = [f"{reason}: a single network is trained in its place."]
        if config.framing == "ensemble":
            raise InputError(no_ensemble(sequences, draft))
        config = config.for_one_network()
        if draft.kind == "forecast" and covariates.ahead:
            covariates = covariates.for_one_network(draft.horizon)
            sequences = covariates.with_leads(sequences)
    elif draft.kind == "forecast":
        draft = replace(draft, known=covariates.ahead, static=covariates.static)
    chunks = config.framing == "chunks"
    window = config.steps or season or WINDOW
    windowed = config.framing in ("window", "features")
    if labels and is_cross_validated(config):
        parts = Partition(sequences.lengths, sequences.lengths, CROSS_VALIDATION)
    else:
        parts = split_parts(sequences, draft, config, window if windowed else 1)
    training = parts.training(sequences)
    if config.season is None and season and training.lengths.max() <= season:
        season = None  # nothing of it was seen twice
    task = infer_task(training, draft.kind, targets, draft.horizon or None)
    task = replace(task, whole=draft.whole, known=draft.known, static=draft.static)
    lanes = plan_lanes(training.lengths, config.rows, config.steps) if chunks else None
    if labels or layout is not None:
        longest = int(sequences.lengths.max())
        ensemble = (
            EnsembleTrainer(layout, config) if layout else LabelEnsembleTrainer(longest, config)
        )
        shape = ensemble.shape
        kept = EnsembleTrainer(whole, config) if whole != layout and whole else None
    else:
        ensemble, kept, steps = None, None, lanes.steps if lanes else window
        stateful = chunks if config.stateful is None else config.stateful
        layers, framing = config.network | config.single_network, config.framing or "chunks"
        shape = Shape(**layers, stateful=stateful, framing=framing, steps=steps)
        check_enough(task, shape, training)
    facts = data_facts(sequences, parts)
    facts["notes"] += [
        *notes,
        *task.notes_on(sequences),
        *parts.notes,
        *note_filled_targets(sequences, task, layout is not None),
        *note_far_values(sequences, task),
        *note_wide_rows(sequences),
        *note_lacking_group(sequences, task),
        *note_lacking_origins(config, parts, sequences.lengths, task.horizon),
    ]
    return Plan(
        task,
        shape,
        lanes,
        facts,
        config,
        season,
        covariates,
        sequences,
        parts,
        reading,
        ensemble,
        kept,
        asked,
    )


def _check_not_given(reading: dict[str, Any]) -> None:
    """Raise an InputError if options of ``legato.read`` come with sequences already read."""
    given = [name for name, value in reading.items() if value and value not in ("error", "mean")]
    if given:
        raise InputError(
            f"The data are Sequences, which were read already, so {', '.join(given)} cannot be "
            "given here: give it to legato.read, or give train the file itself."
        )
