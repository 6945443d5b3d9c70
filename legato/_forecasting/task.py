"""The task of a model: its target and input columns, and how far ahead it predicts.

A ``Task`` is inferred once, from the training data, and then encodes any other data of the same
columns as the inputs and the targets of the model at every time step.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from legato._errors import InputError
from legato._forecasting.train_config import Kind
from legato._platform.wording import counted
from legato._series.record_encoding import describe_known_labels
from legato._series.sequences import Column, Sequences

MAX_WHOLE = 2**24  # 32-bit floats represent all whole numbers below it


@dataclass(frozen=True)
class Task:
    """The inputs, the targets and the horizon of a model.

    Attributes:
        kind: ``"forecast"``: the quantities of the next steps; ``"classify"``: the label of each
            step, which is no input; ``"generate"``: the label of the next step.
        inputs: the input columns in order, with the categories of the training data.
        targets: the columns to predict, likewise; one, unless it forecasts.
        horizon: steps ahead of a prediction; 0 for labels of the step itself.
        whole: whether a label belongs to a sequence as a whole.
        known: names of inputs that the model also takes of the steps ahead.
        static: names of inputs with one value for each sequence.
    """

    kind: Kind
    inputs: tuple[Column, ...]
    targets: tuple[Column, ...]
    horizon: int
    whole: bool = False
    known: tuple[str, ...] = ()
    static: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The categories of the target, in the order of the model's probabilities."""
        return self.targets[0].categories or ()

    @property
    def places(self) -> list[int]:
        """The indices of the targets among the inputs; targets that are no input are left out."""
        names = [column.name for column in self.inputs]
        return [names.index(each.name) for each in self.targets if each.name in names]

    @property
    def is_autoregressive(self) -> bool:
        """Whether every input is also a target, so that predictions can be fed back as inputs."""
        return self.kind != "classify" and len(self.places) == len(self.inputs)

    @property
    def known_places(self) -> list[int]:
        """The indices among the inputs of those that are known ahead."""
        return [[each.name for each in self.inputs].index(name) for name in self.known]

    @property
    def known_columns(self) -> tuple[Column, ...]:
        """The inputs that are known ahead."""
        return tuple(self.inputs[place] for place in self.known_places)

    @property
    def is_closed(self) -> bool:
        """Whether every input is a target, known ahead, or static, so that all can be continued."""
        others = {each.name for each in self.inputs} - {each.name for each in self.targets}
        return self.kind == "forecast" and others <= {*self.known, *self.static}

    def known_of(self, ahead: Sequences, lenient: bool = False) -> np.ndarray:
        """The known inputs of steps ahead, (sequences, steps, known).

        Args:
            ahead: as many steps of each sequence.
            lenient: as for ``inputs_of``.
        """
        columns = [_encode_column(ahead, each, lenient) for each in self.known_columns]
        return np.stack(columns, axis=-1).reshape(len(ahead), -1, len(columns)).astype("float32")

    def inputs_of(self, sequences: Sequences, lenient: bool = False) -> np.ndarray:
        """The inputs at each time step, (time steps of all sequences, inputs).

        Args:
            sequences: data with the input columns.
            lenient: encode a category absent from training as none of the known ones.

        Raises:
            InputError: a column is missing or of another kind, or has a category absent from
                training.
        """
        inputs = np.empty((len(sequences.values), len(self.inputs)), "float32")
        for at, column in enumerate(self.inputs):
            inputs[:, at] = _encode_column(sequences, column, lenient)
        return inputs

    def answers_of(
        self, sequences: Sequences, lenient: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """The targets at each time step.

        Args:
            sequences, lenient: as for ``inputs_of``; an unknown label's index is their number.

        Returns:
            Quantities (time steps of all, horizon × targets), the nearest step first, or indices
            of labels (time steps of all,); and (time steps of all,) whether the target exists,
            which it does not near the end of a sequence, or where it was missing and filled in.
        """
        ahead = self.has_answers(sequences)
        if self.kind == "forecast":
            values = np.stack([_encode_column(sequences, each) for each in self.targets], axis=1)
            steps = np.arange(len(values))[:, None] + np.arange(1, self.horizon + 1)
            answers = values[np.minimum(steps, len(values) - 1)].reshape(len(values), -1)
            return np.where(ahead[:, None], answers, 0.0), ahead
        indices = self.indices_of(_encode_column(sequences, self.targets[0], lenient))
        return np.where(ahead, np.roll(indices, -self.horizon), 0), ahead

    def has_answers(self, sequences: Sequences) -> np.ndarray:
        """Whether the target of each time step exists and none of it was filled in.

        If no step would be left, filled values are targets too; so is the label of a sequence.
        """
        ahead = _has_future(sequences.lengths, self.horizon)
        if sequences.filled is None or self.whole:
            return ahead
        filled = sequences.filled_in(each.name for each in self.targets)
        before = np.concatenate([[0], np.cumsum(filled)])
        first, last = (0, 0) if self.horizon == 0 else (1, self.horizon)
        steps = np.arange(len(filled))
        ends = np.minimum(steps + last + 1, len(filled))
        known = ahead & (before[ends] == before[np.minimum(steps + first, ends)])
        return known if known.any() else ahead

    def indices_of(self, numbers: np.ndarray) -> np.ndarray:
        """The indices of encoded labels in ``labels``; its length for unknown labels."""
        known = np.array(self.targets[0].numbers)
        return np.where(numbers < known[0], len(known), np.searchsorted(known, numbers))

    def unseen_labels(self, sequences: Sequences) -> tuple[str, ...]:
        """A sentence on each column with labels absent from training, with the first of them."""
        notes = []
        for column in dict.fromkeys((*self.inputs, *self.targets)):
            if column.numbers:
                unknown = _encode_column(sequences, column, lenient=True) < column.numbers[0]
                if unknown.any():
                    steps = counted(int(unknown.sum()), "step")
                    notes.append(
                        f"{steps} to be scored: {_first_unseen_label(sequences, column, unknown)}, "
                        "which was not learnt from. It gives the network no information, and is "
                        "scored as wrong."
                    )
        return tuple(notes)

    def notes_on(self, sequences: Sequences) -> tuple[str, ...]:
        """What is worth knowing of the labels in data to train on and to score, a sentence each."""
        return (*self.unseen_labels(sequences), *self._changing_labels(sequences))

    def _changing_labels(self, sequences: Sequences) -> list[str]:
        """A note if labels are those of steps, and yet change within a few sequences only."""
        if self.kind != "classify" or self.whole or len(sequences) == 1:
            return []
        name, begins = self.targets[0].name, sequences.offsets[:-1]
        labels = sequences.values[:, sequences.place(name)]
        changes = np.maximum.reduceat(labels, begins) > np.minimum.reduceat(labels, begins)
        if 2 * changes.sum() >= len(sequences):
            return []
        return [
            f"{name!r} changes within {int(changes.sum()):,} of {len(sequences):,} sequences, "
            f"{sequences.names[int(changes.argmax())]!r} first, so each step is given a label. "
            "With one label for each sequence, sequences would be labelled as a whole."
        ]

    def as_numbers(self) -> dict:
        """The task as a dictionary for JSON."""
        return asdict(self)

    @classmethod
    def from_numbers(cls, numbers: dict) -> "Task":
        """The task of a dictionary from ``as_numbers``."""
        columns: dict[str, Any] = {
            part: tuple(
                Column(
                    each["name"],
                    each["categories"] and tuple(each["categories"]),
                    each["numbers"] and tuple(each["numbers"]),
                    each.get("is_fixed", False),  # absent from older files
                )
                for each in numbers[part]
            )
            for part in ("inputs", "targets")
        }
        names: dict[str, Any] = {part: tuple(numbers.get(part, ())) for part in ("known", "static")}
        return cls(**{**numbers, **columns, **names})


def infer_task(
    sequences: Sequences,
    kind: Kind | None = None,
    target: str | Sequence[str] | None = None,
    horizon: int | None = None,
) -> Task:
    """Infer a task from the data, as far as it is not given.

    The target is the last column by default. Quantities are forecast; a label is classified from
    the other columns, or, if there are none, the next one is generated.

    Args:
        sequences: the training part alone, from which the categories are taken.
        kind: ``"forecast"``, ``"classify"`` or ``"generate"``.
        target: names of columns; several only for forecasts.
        horizon: steps ahead; for forecasts only.

    Raises:
        InputError: no such column, a target that is constant, or one that does not fit the kind.
    """
    names = _target_names(sequences, target)
    targets = [_known_column(sequences, name) for name in names]
    for column in targets:
        _check_varies(sequences, column)
    others = [each for each in sequences.columns if each.name not in names]
    kind = kind or _infer_kind(targets, others)
    _check_kind(kind, targets, others)
    if kind != "forecast":
        if horizon not in (None, 1):
            raise InputError(
                f"horizon is {horizon}, but the task is to {kind}: only quantities are forecast "
                "several steps ahead. Leave horizon out."
            )
        shown = others if kind == "classify" else list(sequences.columns)
        return Task(
            kind,
            tuple(_known_column(sequences, each.name) for each in shown),
            tuple(targets),
            horizon=0 if kind == "classify" else 1,
            whole=kind == "classify" and _is_constant_within(sequences, names[0]),
        )
    inputs = tuple(_known_column(sequences, each.name) for each in sequences.columns)
    return Task("forecast", inputs, tuple(targets), horizon or 1)


def _target_names(sequences: Sequences, target: str | Sequence[str] | None) -> list[str]:
    """The names of the targets, each once."""
    if target is None:
        return [sequences.columns[-1].name]
    if isinstance(target, str) or not isinstance(target, Iterable):
        target = [target]
    names = list(dict.fromkeys(target))
    if not names:
        raise InputError("target is empty: name at least one column, or leave it out.")
    for name in names:
        if name in (sequences.group, sequences.time):
            raise InputError(
                f"The target {name!r} is the column of the "
                f"{'sequences' if name == sequences.group else 'times'}. Name another."
            )
        sequences.place(name)
    return names


def _known_column(sequences: Sequences, name: str) -> Column:
    """A column with the categories that occur, and no others.

    Small whole numbers are encoded as themselves, so that a model takes them as they are; numbers
    that 32-bit floats do not represent are encoded by their index in the list of labels.
    """
    column = sequences.columns[sequences.place(name)]
    if column.categories is None or column.numbers is None or column.is_fixed:
        return column
    found = np.isin(column.numbers, np.unique(sequences.values[:, sequences.place(name)]))
    labels = [label for label, is_there in zip(column.categories, found, strict=True) if is_there]
    numbers = [number for number, is_there in zip(column.numbers, found, strict=True) if is_there]
    whole = all(number.is_integer() and abs(number) < MAX_WHOLE for number in numbers)
    if not whole or list(column.numbers) == list(range(len(found))):
        numbers = list(range(len(labels)))  # indices in the list of labels
    return Column(name, tuple(labels), tuple(float(number) for number in numbers))


def _infer_kind(targets: list[Column], others: list[Column]) -> Kind:
    if all(column.is_numeric for column in targets):
        return "forecast"
    return "classify" if others else "generate"


def _check_kind(kind: str, targets: list[Column], others: list[Column]) -> None:
    """Raise an InputError if the targets do not suit the kind of task."""
    names = ", ".join(repr(column.name) for column in targets)
    if kind == "forecast":
        for column in targets:
            if not column.is_numeric:
                raise InputError(
                    f"The target {column.name!r} holds labels, and only quantities are forecast. "
                    "Classify it from the other columns, or generate the next one."
                )
        return
    if len(targets) > 1:
        raise InputError(f"The targets are {names}; to {kind}, exactly one was expected.")
    if targets[0].is_numeric:
        raise InputError(
            f"The target {names} holds quantities, and to {kind}, labels were expected. If its "
            "numbers are labels, name it in categorical=."
        )
    if kind == "classify" and not others:
        raise InputError(
            f"The target {names} is the only column: at least one other is needed to classify it."
        )


def _check_varies(sequences: Sequences, column: Column) -> None:
    """Raise an InputError if a target is constant."""
    values = sequences.values[:, sequences.place(column.name)]
    if (values == values[0]).all():
        value = values[0] if column.is_numeric else (column.categories or ("",))[0]
        raise InputError(
            f"The target {column.name!r} is constant where the model would be trained: it is "
            f"{value!s} in {'its one step' if len(values) == 1 else f'all {len(values):,} steps'}, "
            "and there is nothing to learn. Name another."
        )


def check_changes(sequences: Sequences, task: Task) -> None:
    """Raise an InputError if no target of a forecast changes within any sequence."""
    if task.kind != "forecast" or len(sequences) == 1 or sequences.lengths.max() == 1:
        return
    if all(_is_constant_within(sequences, column.name) for column in task.targets):
        raise InputError(
            f"The target {task.targets[0].name!r} never changes within a sequence, so there is "
            "nothing to forecast. Name another; if its numbers are labels, name it in categorical=."
        )


def _is_constant_within(sequences: Sequences, name: str) -> bool:
    """Whether a column has one value for each sequence."""
    values = sequences.values[:, sequences.place(name)]
    firsts = np.repeat(values[sequences.offsets[:-1]], sequences.lengths)
    return len(sequences) > 1 and bool((values == firsts).all())


def _has_future(lengths: np.ndarray, steps: int) -> np.ndarray:
    """Whether so many steps follow each step within its sequence."""
    left = np.repeat(np.cumsum(lengths), lengths) - 1 - np.arange(lengths.sum())
    return left >= steps


def _encode_column(sequences: Sequences, column: Column, lenient: bool = False) -> np.ndarray:
    """A column's values, with categories encoded as in training.

    With ``lenient``, a category absent from training becomes a number below all of them, which the
    network's vocabulary encodes as none.

    Raises:
        InputError: it is missing, of another kind, or has a category absent from training.
    """
    place = sequences.place(column.name)
    values, theirs = sequences.values[:, place], sequences.columns[place]
    if theirs.is_numeric != column.is_numeric:
        kinds = ("quantities", "labels")
        raise InputError(
            f"The column {column.name!r} of {sequences.source} holds {kinds[column.is_numeric]}; "
            f"{kinds[not column.is_numeric]} were expected, as the model was trained on."
        )
    if theirs.categories is None or column.categories is None:
        return values
    table = dict(zip(column.categories, column.numbers or (), strict=True))
    numbers = np.array([table.get(label, np.nan) for label in theirs.categories])
    known = numbers[np.searchsorted(np.array(theirs.numbers), values)]
    if lenient and column.numbers:
        return np.where(np.isnan(known), column.numbers[0] - 1, known)
    if np.isnan(known).any():
        raise InputError(_describe_unseen(sequences, column, np.isnan(known)))
    return known


def _describe_unseen(sequences: Sequences, column: Column, where: np.ndarray) -> str:
    """The message on labels absent from training."""
    first = _first_unseen_label(sequences, column, where)
    return (
        f"{first[0].upper()}{first[1:]}, which the model was not trained on ({int(where.sum()):,} "
        f"such in all). {describe_known_labels(column)}"
    )


def _first_unseen_label(sequences: Sequences, column: Column, where: np.ndarray) -> str:
    """The first label absent from training, with its column and row, in words."""
    at, place = int(np.argmax(where)), sequences.place(column.name)
    theirs = sequences.columns[place]
    label = (theirs.categories or ())[(theirs.numbers or ()).index(sequences.values[at, place])]
    line = "" if sequences.lines is None else f" in row {sequences.lines[at]}"
    return f"the column {column.name!r} of {sequences.source} holds {label!r}{line}"
