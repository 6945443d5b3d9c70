"""Rows as they were written → steps of a model, and its answers → what is written of them.

Two kinds of models: ``Known`` ones were trained by legato on columns that have names, and ``Plain``
ones take and give numbers.
"""

from typing import TYPE_CHECKING, Any

from legato._errors import InputError, LegatoError

if TYPE_CHECKING:
    import numpy as np

    from legato import Stream, Trained


class Known:
    """A model of ``legato train``: rows by column name in, answers in their words out."""

    def __init__(self, trained: "Trained"):
        self._trained = trained
        self.answers = ["label", "probability"]
        if trained.task.kind == "forecast":
            self.answers = [column.name for column in trained.task.targets]

    def columns(self, names: list[str]) -> list[str]:
        """The columns of a CSV of answers, for one with these names.

        Raises:
            InputError: it lacks a column.
        """
        from legato._series.sequences import suggest_columns

        for column in self._trained.task.inputs:
            if column.name not in names:
                raise InputError(
                    f"The header has no column {column.name!r}, which the model was trained on."
                    f"{suggest_columns(column.name, names)}"
                )
        ahead = range(1, self._trained.task.horizon + 1)
        if len(ahead) < 2:
            return self.answers
        return [f"{name} {step} ahead" for name in self.answers for step in ahead]

    def step(self, row: Any) -> "tuple[np.ndarray, int | None]":
        """What is fed for a row: one step.

        Raises:
            InputError: it does not fit.
        """
        if not isinstance(row, dict):
            names = ", ".join(f'"{column.name}": …' for column in self._trained.task.inputs[:4])
            raise InputError(f"an object was expected, by the names of columns: {{{names}}}.")
        return self._trained.numbers_of(row), None

    def told(self, answer: "np.ndarray") -> dict[str, Any]:
        """An answer, as JSON takes it."""
        return self._trained.told(answer)


class Plain:
    """Any other model: numbers in, numbers out."""

    answers = ("y",)

    def __init__(self, stream: "Stream"):
        self._stream = stream
        self._names = list(self._stream.takes)
        self._columns: list[str] | None = None  # of a CSV

    def columns(self, names: list[str]) -> list[str]:
        """The columns of a CSV of answers, for one with these names besides the key.

        Raises:
            InputError: the model takes another number of them, or takes or answers no row.
        """
        import numpy as np

        (name, shape), *others = self._stream.takes.items()
        answer = self._stream.answer
        if others or not isinstance(answer, np.ndarray):
            raise InputError(
                "The model has several inputs or outputs, for which a row of a CSV has no places: "
                "send JSON, an object on each line."
            )
        expected = [len(names) if each is None else each for each in shape]
        if np.prod(expected, dtype=int) != len(names):
            raise InputError(
                f"The header has {len(names)} columns besides the key, {', '.join(names[:8])}, and "
                f"a step of {name!r} is {int(np.prod(expected))} numbers: send these columns alone."
            )
        self._columns, self._shape = names, expected
        return [f"y{at}" for at in range(answer.size)]

    def step(self, row: Any) -> "tuple[Any, int | None]":
        """What is fed for a row, and how many steps that is; None if it is one as such.

        Raises:
            LegatoError: it does not fit.
        """
        if self._columns is not None:
            x = self._numbers(row)
        elif isinstance(row, dict):
            x = self._named(row)
        else:
            x = row
        try:
            arrays, steps = self._stream.read(x)
        except LegatoError:
            if _has_null(x):
                raise InputError(
                    "a number is missing (null): fill it in, or leave the line out."
                ) from None
            raise
        return (arrays[0] if len(arrays) == 1 else list(arrays)), steps

    def _numbers(self, row: dict[str, str]) -> Any:
        import numpy as np

        from legato._series.rows import encode_value
        from legato._series.sequences import Column

        numbers = [encode_value(row, Column(name)) for name in self._columns or ()]
        return np.reshape(numbers, self._shape)

    def _named(self, row: dict[str, Any]) -> Any:
        """The step in an object."""
        if all(name in row for name in self._names):
            each = [row[name] for name in self._names]
            return each if len(each) > 1 else each[0]
        if "x" in row:
            return row["x"]
        several = f", or one entry for each input: {', '.join(self._names)}"
        raise InputError(
            f'there is no "x" in the object: put the step there{several * (len(self._names) > 1)}.'
        )

    def told(self, answer: Any) -> dict[str, Any]:
        """An answer, as JSON takes it."""
        return {"y": _plain(answer)}


def _plain(answer: Any) -> Any:
    """Arrays as lists, None for NaN."""
    import numpy as np

    if isinstance(answer, dict):
        return {name: _plain(each) for name, each in answer.items()}
    if isinstance(answer, (list, tuple)):
        return [_plain(each) for each in answer]
    if answer.dtype.kind in "biu":
        return answer.tolist()
    numbers = answer.astype(float)
    known = np.isfinite(numbers)
    if not known.all():
        numbers = np.asarray(np.where(known, numbers, None))
    return numbers.tolist()


def _has_null(value: Any) -> bool:
    left = [value]
    while left:
        each = left.pop()
        if each is None:
            return True
        if isinstance(each, (list, dict)):
            left += each.values() if isinstance(each, dict) else each
    return False
