"""``train``: from data to a trained, scored model that knows what it was trained on.

The test part is set aside before anything is fitted, scaling and vocabularies included. How many
epochs are worth it can be found out on a part of the rest, which then is learnt from too. A network
that carries state is led through everything before what it is judged on, so that it begins warm.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from inspect import signature
from typing import Any

import numpy as np

from legato._errors import InputError
from legato._forecasting.backtest import intervals_of, seen_in
from legato._forecasting.network import Framing, Shape, check_shape
from legato._forecasting.partition import Partition, Split, parts_of
from legato._forecasting.task import Task, settle
from legato._forecasting.trained import Trained
from legato._forecasting.trainer import Trainer, TrainingOptions
from legato._forecasting.training_set import lanes_for
from legato._series.frequency import format_time, infer_spacing
from legato._series.lanes import Lanes
from legato._series.reading import Missing, read
from legato._series.sequences import Sequences

WINDOW = 12  # steps of a window, unless times suggest a season


@dataclass(frozen=True, eq=False)
class Plan:
    """What ``train`` is about to do: nothing is trained yet.

    Attributes:
        task: what the network will be asked.
        shape: what it will be made of.
        lanes: how the sequences are laid in batches whose rows carry on; None where samples stand
            alone. ``print(plan.lanes)`` shows it, and ``legato.report.lanes_figure``.
        data: what people want to know of the data and of their split, as JSON takes it.
        course: for how long and how fast it will be trained.
        season: steps of the season of the baseline, or None.
    """

    task: Task
    shape: Shape
    lanes: Lanes | None
    data: dict[str, Any]
    course: TrainingOptions
    season: int | None
    _sequences: Sequences
    _parts: Partition
    _rows: int | None
    _how: dict[str, Any]

    def __repr__(self) -> str:
        targets = ", ".join(column.name for column in self.task.targets)
        return f"<Plan: {self.task.kind} {targets}, {self.shape.cell} of {self.shape.units}>"

    def train(self, scoring: AbstractContextManager | None = None) -> Trained:
        """Train the network, and score it; see ``legato.train``.

        Args:
            scoring: what is entered while the network is scored, which says so to who waits.
        """
        return _carried_out(self, scoring or nullcontext())


def train(
    data,
    *,
    target: str | list[str] | None = None,
    task: str | None = None,
    horizon: int | None = None,
    group: str | None = None,
    time: str | None = None,
    columns: list[str] | None = None,
    categorical: str | tuple[str, ...] | list[str] = (),
    missing: Missing = "error",
    shortest: int = 1,
    framing: Framing = "chunks",
    steps: int | None = None,
    rows: int | None = None,
    cell: str = "lstm",
    units: int = 32,
    layers: int = 1,
    stateful: bool | None = None,
    epochs: int = 200,
    early_stop: int = 0,
    learning_rate: float = 0.003,
    split: Split | None = None,
    test: float = 0.2,
    validation: float = 0.15,
    season: int | None = None,
    seed: int = 7,
    verbose: int | str = "auto",
) -> Trained:
    """Train a network on sequences, and score it on what it has not seen.

    Args:
        data: a file, a frame, arrays (whatever ``legato.read`` takes), or ``Sequences``.
        target: the column to be answered; default: the last. Several may be forecast.
        task: ``"forecast"`` quantities, ``"classify"`` labels from the other columns,
            ``"generate"`` the next label; default: what the target suggests.
        horizon: steps ahead of a forecast; default 1.
        group, time, columns, categorical, missing: as for ``legato.read``.
        shortest: sequences of fewer steps are left out.
        framing: ``"chunks"``: long sequences cut in pieces, an answer at every step; ``"window"``:
            so many steps, one answer; ``"features"``: the same as one step; ``"prefix"``:
            everything so far, up to so many steps; ``"runs"``: random runs up to so many steps.
        steps: time steps of a chunk, which is how far gradients reach, or of a window; default:
            a chunk that needs little padding, a window of a season or 12.
        rows: sequences side by side in a batch; default: up to 32, and no more than there are.
            With more, each sequence is read in several places at once, which is faster, and every
            place begins with nothing remembered. Where samples stand alone, the samples of a batch;
            default: 32.
        cell, units, layers: ``"lstm"``, ``"gru"`` or ``"simple"``; each layer's size; how many.
        stateful: whether state is carried from chunk to chunk; default: for chunks, yes.
        epochs: at most.
        early_stop: find out first how many epochs are worth it: train on less, until so many
            epochs made the loss on the rest no better; then train on all for as many as were best.
            0: train for all epochs.
        learning_rate: of Adam.
        split: ``"time"``: the last steps of every sequence are kept for the score; ``"group"``:
            whole sequences; default: by group if a label belongs to a whole one, else by time.
        test: the share of steps, or of sequences, that is kept; an integer: so many; 0: none. A
            label that occurs nowhere else has no right answer there.
        validation: the share of what is left that decides, where ``early_stop`` asks.
        season: steps of a season for the seasonal baseline; 0: none; default: from the times.
        seed: of initial weights, the order of samples and the draw of groups.
        verbose: as for ``fit``.

    Returns:
        A ``Trained``: ``.scores``, ``.forecast()``, ``.save()``.

    Raises:
        InputError: data or arguments that do not fit; the message says where and what to do.

    Example:
        >>> import numpy as np, legato
        >>> wave = np.sin(np.arange(200) / 3)
        >>> trained = legato.train({"wave": wave}, epochs=5, verbose=0)
        >>> trained.forecast({"wave": wave}, 3).values.shape
        (1, 3, 1)
    """
    return _settled(**locals()).train()


def plan(data, **options: Any) -> Plan:
    """Settle what ``train`` would do, and check that it can be done, without training.

    Args:
        data, options: as for ``train``.

    Returns:
        A ``Plan``: ``.task``, ``.shape``, ``.lanes``; ``.train()`` carries it out.

    Raises:
        InputError: data or arguments that do not fit; the message says where and what to do.

    Example:
        >>> import numpy as np, legato
        >>> planned = legato.plan([np.sin(np.arange(60) / 3), np.arange(30.0)], rows=1, steps=12)
        >>> print(planned.lanes)
        2 sequences of 24 to 48 steps, 72 in all, in 1 row: 6 samples of 12 steps in 6 batches, \
0.0 % padding
        [ a sequence begins   | it carries on   · padding
        batch   0        1        2        3        4        5
        row 0  [0-------|0-------|0-------|0-------[1-------|1-------
    """
    said = signature(train).bind(data, **options)
    said.apply_defaults()
    return _settled(**said.arguments)


def _settled(
    data, target, task, horizon, group, time, columns, categorical, missing, shortest,
    framing, steps, rows, cell, units, layers, stateful,
    epochs, early_stop, learning_rate, split, test, validation, season, seed, verbose,
) -> Plan:  # fmt: skip
    """The plan for what was said; see ``train``."""
    how = {
        "group": group, "time": time, "columns": columns,
        "categorical": [categorical] if isinstance(categorical, str) else list(categorical),
        "missing": missing,
    }  # fmt: skip
    if isinstance(data, Sequences):
        _check_unsaid(how)
        sequences, how = data, how | {"group": data.group, "time": data.time}
    else:
        sequences = read(data, **how)
    sequences = sequences.of_at_least(shortest)
    course = TrainingOptions(epochs, early_stop, learning_rate, seed, verbose)
    draft = settle(sequences, task, target, horizon)
    parts = parts_of(sequences, draft, split, test, validation if early_stop else 0, seed)
    learnt = parts.learning(sequences)
    asked = settle(learnt, draft.kind, [each.name for each in draft.targets], draft.horizon or None)
    asked = replace(asked, whole=draft.whole)
    season = season_of(sequences, season)
    carries = framing == "chunks" if stateful is None else stateful
    lanes = lanes_for(learnt.lengths, rows, steps) if framing == "chunks" else None
    window = lanes.steps if lanes else (season or WINDOW) if steps is None else steps
    shape = Shape(cell, units, layers, carries, framing, window)
    check_shape(shape)
    told = _described(sequences, parts)
    told["notes"] += asked.strangers_in(sequences)
    return Plan(asked, shape, lanes, told, course, season, sequences, parts, rows, how)


def _carried_out(plan: Plan, waiting: AbstractContextManager) -> Trained:
    """The trained and scored model."""
    asked, season, course = plan.task, plan.season, plan.course
    sequences, parts = plan._sequences, plan._parts
    learnt = parts.learning(sequences)
    school = Trainer(asked, plan.shape, course, plan._rows)
    told: dict[str, Any] = {}
    if course.early_stop:
        told["trial"] = school.trial(parts, sequences)
        school.course = replace(course, epochs=told["trial"]["best_epochs"])
    networks, told["course"] = school.teach(learnt)
    known = {
        "read": plan._how,
        "season": season,
        "label_counts": _label_counts(asked, learnt),
        "seen": seen_in(asked, sequences, parts.stops),
        "data": plan.data,
        "training": {**asdict(course), **told},
        "versions": {name: version(name) for name in ("legato", "keras", "jax")},
    }
    trained = Trained(networks.model, asked, school.shape, networks.pad, known)
    scoring = parts.scoring(sequences)
    if scoring is not None:
        with waiting:
            known["scores"] = trained.score(*scoring, season).as_numbers()
            if asked.kind == "forecast":
                known["intervals"] = intervals_of(trained, *scoring).as_numbers()
    networks.model.reset_states()
    return trained


def _check_unsaid(how: dict[str, Any]) -> None:
    """Raise an InputError if sequences that were read already are to be read otherwise."""
    said = [name for name, value in how.items() if value and value != "error"]
    if said:
        raise InputError(
            f"The data are Sequences, which were read already, so {', '.join(said)} cannot be said "
            "here: say it to legato.read, or give train the file itself."
        )


def _label_counts(task: Task, fit: Sequences) -> list[int]:
    """How often each label is the right answer where the network was fitted."""
    if task.kind == "forecast":
        return []
    labels, there = task.answers_of(fit)
    if task.whole:
        there = fit.offsets[1:] - 1
    return np.bincount(labels[there], minlength=len(task.labels)).tolist()


def _described(sequences: Sequences, parts: Partition) -> dict[str, Any]:
    """What people want to know of the data."""
    lengths, times = sequences.lengths, sequences.times
    learnt = int(parts.stops.sum())
    spacing = None if times is None else infer_spacing(times, sequences.lengths)
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


def season_of(sequences: Sequences, season: int | None) -> int | None:
    """The season that is said, or that the times suggest; 0 says there is none."""
    if season is not None:
        if season < 0:
            raise InputError(f"season is {season}; the steps of a season, or 0, was expected.")
        return season or None
    times = sequences.times
    spacing = None if times is None else infer_spacing(times, sequences.lengths)
    return spacing.season if spacing else None
