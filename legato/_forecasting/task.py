"""What is to be learnt from sequences: which column, from which others, and how far ahead.

A ``Task`` is settled once, on the data that train, and then reads any other data of the same
columns: into the numbers the model takes, and into the answers it should give at every time step.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from legato._errors import InputError
from legato._forecasting.config import Kind
from legato._platform.wording import counted
from legato._series.rows import describe_known_labels
from legato._series.sequences import Column, Sequences

MOST_WHOLE = 2**24  # up to which 32-bit floats tell whole numbers apart


@dataclass(frozen=True)
class Task:
    """What a model is asked.

    Attributes:
        kind: ``"forecast"``: the quantities of the next steps; ``"classify"``: the label of each
            step, which the model is not shown; ``"generate"``: the label of the next step.
        inputs: the columns a model takes, with the categories it knows, in their order.
        targets: the columns it answers, likewise; one, unless it forecasts.
        horizon: how many steps ahead it answers; 0 for labels of the step itself.
        whole: whether a label belongs to a sequence as a whole.
    """

    kind: Kind
    inputs: tuple[Column, ...]
    targets: tuple[Column, ...]
    horizon: int
    whole: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """The categories of the target, in the order of the model's probabilities."""
        return self.targets[0].categories or ()

    @property
    def places(self) -> list[int]:
        """Where the targets stand among the inputs; those that are no input are left out."""
        names = [column.name for column in self.inputs]
        return [names.index(each.name) for each in self.targets if each.name in names]

    @property
    def feeds_itself(self) -> bool:
        """Whether every input is answered too, so that answers can be fed in as inputs."""
        return self.kind != "classify" and len(self.places) == len(self.inputs)

    def inputs_of(self, sequences: Sequences, lenient: bool = False) -> np.ndarray:
        """What the model takes of each time step, (time steps of all, inputs).

        Args:
            sequences: data with the columns that are known.
            lenient: let a category that is not known be none of those that are.

        Raises:
            InputError: a column is missing or of another kind, or has a category the model does
                not know.
        """
        inputs = np.empty((len(sequences.values), len(self.inputs)), "float32")
        for at, column in enumerate(self.inputs):
            inputs[:, at] = _numbers(sequences, column, lenient)
        return inputs

    def answers_of(
        self, sequences: Sequences, lenient: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """What the model should answer at each time step.

        Args:
            sequences, lenient: as for ``inputs_of``; an unknown label's index is their number.

        Returns:
            Quantities (time steps of all, horizon × targets), the nearest step first, or indices
            of labels (time steps of all,); and (time steps of all,) whether there is an answer,
            which near the end of a sequence there is not.
        """
        ahead = _ahead(sequences.lengths, self.horizon)
        if self.kind == "forecast":
            values = np.stack([_numbers(sequences, each) for each in self.targets], axis=1)
            steps = np.arange(len(values))[:, None] + np.arange(1, self.horizon + 1)
            answers = values[np.minimum(steps, len(values) - 1)].reshape(len(values), -1)
            return np.where(ahead[:, None], answers, 0.0), ahead
        indices = self.indices_of(_numbers(sequences, self.targets[0], lenient))
        return np.where(ahead, np.roll(indices, -self.horizon), 0), ahead

    def indices_of(self, numbers: np.ndarray) -> np.ndarray:
        """The places of labels among ``labels``, from what stands for them; unknown ones last."""
        known = np.array(self.targets[0].numbers)
        return np.where(numbers < known[0], len(known), np.searchsorted(known, numbers))

    def unseen_labels(self, sequences: Sequences) -> tuple[str, ...]:
        """A sentence on each column with categories that are not known."""
        notes = []
        for column in dict.fromkeys((*self.inputs, *self.targets)):
            if column.numbers:
                unknown = _numbers(sequences, column, lenient=True) < column.numbers[0]
                if unknown.any():
                    steps = counted(int(unknown.sum()), "step")
                    notes.append(
                        f"{steps} to be scored: {_stranger(sequences, column, unknown)}, which was "
                        "not learnt from. It tells the network nothing, and is no right answer."
                    )
        return tuple(notes)

    def as_numbers(self) -> dict:
        """The same, as JSON takes it."""
        return asdict(self)

    @classmethod
    def from_numbers(cls, numbers: dict) -> "Task":
        """What ``as_numbers`` gave."""
        columns = {
            part: tuple(
                Column(
                    each["name"],
                    each["categories"] and tuple(each["categories"]),
                    each["numbers"] and tuple(each["numbers"]),
                )
                for each in numbers[part]
            )
            for part in ("inputs", "targets")
        }
        return cls(**{**numbers, **columns})


def infer_task(
    sequences: Sequences,
    kind: Kind | None = None,
    target: str | Sequence[str] | None = None,
    horizon: int | None = None,
) -> Task:
    """Find the task in the data, as far as it is not said.

    The target is the last column that is not said otherwise. Quantities are forecast; a label is
    classified from the other columns, or, where there are none, the next one is generated.

    Args:
        sequences: what the model will be trained on, and no more: the categories are taken of it.
        kind: ``"forecast"``, ``"classify"`` or ``"generate"``.
        target: names of columns; several only for forecasts.
        horizon: steps ahead, at least 1; for forecasts only.

    Raises:
        InputError: no such column, a target that is constant, or one that does not fit the kind.
    """
    names = _names(sequences, target)
    targets = [_known(sequences, name) for name in names]
    for column in targets:
        _check_varies(sequences, column)
    others = [each for each in sequences.columns if each.name not in names]
    kind = kind or _kind_of(targets, others)
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
            tuple(_known(sequences, each.name) for each in shown),
            tuple(targets),
            horizon=0 if kind == "classify" else 1,
            whole=kind == "classify" and _is_constant_within(sequences, names[0]),
        )
    inputs = tuple(_known(sequences, each.name) for each in sequences.columns)
    return Task("forecast", inputs, tuple(targets), horizon or 1)


def _names(sequences: Sequences, target: str | Sequence[str] | None) -> list[str]:
    """The names of the targets, each once."""
    if target is None:
        return [sequences.columns[-1].name]
    if isinstance(target, str) or not isinstance(target, Iterable):
        target = [target]  # pyright: ignore[reportAssignmentType]  refused by its name below
    names = list(dict.fromkeys(target))
    if not names:
        raise InputError("target is empty: name at least one column, or leave it out.")
    for name in names:
        if name in (sequences.group, sequences.time):
            raise InputError(
                f"The target {name!r} is the column that tells the "
                f"{'sequences' if name == sequences.group else 'times'}. Name another."
            )
        sequences.place(name)
    return names


def _known(sequences: Sequences, name: str) -> Column:
    """A column with the categories that occur, and no others.

    Small whole numbers stand for themselves, so that a model takes them as they are; what 32-bit
    floats would mix up goes by its place in the list of labels.
    """
    column = sequences.columns[sequences.place(name)]
    if column.categories is None or column.numbers is None:
        return column
    found = np.isin(column.numbers, np.unique(sequences.values[:, sequences.place(name)]))
    labels = [label for label, is_there in zip(column.categories, found, strict=True) if is_there]
    numbers = [number for number, is_there in zip(column.numbers, found, strict=True) if is_there]
    whole = all(number.is_integer() and abs(number) < MOST_WHOLE for number in numbers)
    if not whole or list(column.numbers) == list(range(len(found))):
        numbers = list(range(len(labels)))  # places in the list of labels
    return Column(name, tuple(labels), tuple(float(number) for number in numbers))


def _kind_of(targets: list[Column], others: list[Column]) -> Kind:
    if all(column.is_numeric for column in targets):
        return "forecast"
    return "classify" if others else "generate"


def _check_kind(kind: str, targets: list[Column], others: list[Column]) -> None:
    """Raise an InputError if the targets are nothing for such a task."""
    told = ", ".join(repr(column.name) for column in targets)
    if kind == "forecast":
        for column in targets:
            if not column.is_numeric:
                raise InputError(
                    f"The target {column.name!r} holds labels, and only quantities are forecast. "
                    "Classify it from the other columns, or generate the next one."
                )
        return
    if len(targets) > 1:
        raise InputError(f"The targets are {told}; to {kind}, exactly one was expected.")
    if targets[0].is_numeric:
        raise InputError(
            f"The target {told} holds quantities, and to {kind}, labels were expected. If its "
            "numbers stand for labels, say so: categorical."
        )
    if kind == "classify" and not others:
        raise InputError(
            f"The target {told} is the only column: there is nothing to tell its labels by."
        )


def _check_varies(sequences: Sequences, column: Column) -> None:
    """Raise an InputError if there is nothing to learn of a target."""
    values = sequences.values[:, sequences.place(column.name)]
    if (values == values[0]).all():
        value = values[0] if column.is_numeric else (column.categories or ("",))[0]
        raise InputError(
            f"The target {column.name!r} is constant where the model would be trained: it is "
            f"{value!s} in all {len(values):,} steps, and there is nothing to learn. Name another."
        )


def _is_constant_within(sequences: Sequences, name: str) -> bool:
    """Whether a column has one value for each sequence."""
    values = sequences.values[:, sequences.place(name)]
    firsts = np.repeat(values[sequences.offsets[:-1]], sequences.lengths)
    return len(sequences) > 1 and bool((values == firsts).all())


def _ahead(lengths: np.ndarray, steps: int) -> np.ndarray:
    """Whether so many steps follow each step within its sequence."""
    left = np.repeat(np.cumsum(lengths), lengths) - 1 - np.arange(lengths.sum())
    return left >= steps


def _numbers(sequences: Sequences, column: Column, lenient: bool = False) -> np.ndarray:
    """A column's values, in the numbers the model knows its categories by.

    With ``lenient``, a category that is not known has a number below them all, which a network's
    vocabulary takes for none of them.

    Raises:
        InputError: it is missing, of another kind, or has a category that is not known.
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
        raise InputError(_unseen(sequences, column, np.isnan(known)))
    return known


def _unseen(sequences: Sequences, column: Column, where: np.ndarray) -> str:
    """What is not known, and where it stands."""
    told = _stranger(sequences, column, where)
    return (
        f"{told[0].upper()}{told[1:]}, which the model was not trained on ({int(where.sum()):,} "
        f"such in all). {describe_known_labels(column)}"
    )


def _stranger(sequences: Sequences, column: Column, where: np.ndarray) -> str:
    """Where the first label stands that is not known, and which it is."""
    at, place = int(np.argmax(where)), sequences.place(column.name)
    theirs = sequences.columns[place]
    label = (theirs.categories or ())[(theirs.numbers or ()).index(sequences.values[at, place])]
    line = "" if sequences.lines is None else f" in row {sequences.lines[at]}"
    return f"the column {column.name!r} of {sequences.source} holds {label!r}{line}"
