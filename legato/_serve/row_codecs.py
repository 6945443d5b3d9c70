"""Row codecs: encode input rows as steps of a model, and decode its outputs as output rows.

A model that ``legato train`` wrote has columns with names; any other takes and gives numbers.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from legato._errors import InputError, LegatoError
from legato._platform.wording import counted

if TYPE_CHECKING:
    import numpy as np

    from legato import Stream, Trained


class TrainedModelCodec:
    """For a model of ``legato train``: rows by column name; targets or labels by name."""

    def __init__(self, trained: "Trained"):
        self._trained = trained
        self.output_names = ["label", "probability"]
        if trained.task.kind == "forecast":
            self.output_names = [column.name for column in trained.task.targets]

    @property
    def input_columns(self) -> tuple:
        """The columns of a row, with the numbers that encode their labels."""
        return tuple(self._trained.task.inputs)

    def output_columns(self, names: list[str]) -> list[str]:
        """The columns of the CSV output, given those of the input.

        Raises:
            InputError: the input lacks a column.
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
            return self.output_names
        return [f"{name} {step} ahead" for name in self.output_names for step in ahead]

    def encode(self, row: Any) -> "tuple[np.ndarray, int | None]":
        """A row as one step; the number of steps is None, which means one without a time axis.

        Raises:
            InputError: it does not fit.
        """
        if not isinstance(row, dict):
            names = ", ".join(f'"{column.name}": …' for column in self._trained.task.inputs[:4])
            raise InputError(f"an object was expected, by the names of columns: {{{names}}}.")
        return self._trained.encode(row), None

    def decode(self, answer: "np.ndarray") -> dict[str, Any]:
        """An output of the model as JSON values by name."""
        return self._trained.decode(answer)


class PlainModelCodec:
    """For any other model: numbers in, numbers out.

    Attributes:
        stream: a stream of the model; it is fed nothing.
    """

    output_names = ("y",)

    def __init__(self, stream: "Stream"):
        self.stream = stream
        self._names = list(self.stream.takes)
        self._columns: list[str] | None = None  # of a CSV

    def output_columns(self, names: list[str]) -> list[str]:
        """The columns of the CSV output, given those of the input without the key.

        Raises:
            InputError: the model takes another number of columns, or has several inputs or outputs.
        """
        import numpy as np

        (name, shape), *others = self.stream.takes.items()
        answer = self.stream.answer
        if others or not isinstance(answer, np.ndarray):
            raise InputError(
                "The model has several inputs or outputs, for which a row of a CSV has no places: "
                "send JSON, an object on each line."
            )
        expected = [len(names) if each is None else each for each in shape]
        if np.prod(expected, dtype=int) != len(names):
            raise InputError(
                f"The first line, read as the header of a CSV, has {counted(len(names), 'column')} "
                f"for a step, {', '.join(names[:8])}, and a step of {name!r} is "
                f"{counted(int(np.prod(expected)), 'number')}: send as many columns, or JSON."
            )
        self._columns, self._shape = names, expected
        return [f"y{at}" for at in range(answer.size)]

    def encode(self, row: Any) -> "tuple[Any, int | None]":
        """A row as input, and its number of steps; None means one step without a time axis.

        Raises:
            LegatoError: it does not fit.
        """
        if self._columns is not None:
            x = self._csv_step(row)
        elif isinstance(row, dict):
            x = self._json_step(row)
        else:
            x = row
        try:
            arrays, steps = self.stream.read(x)
        except LegatoError:
            if holds_type(x, type(None)):
                raise InputError(
                    "a number is missing (null): fill it in, or leave the line out."
                ) from None
            raise
        check_no_booleans(x, arrays)
        return (arrays[0] if len(arrays) == 1 else list(arrays)), steps

    def _csv_step(self, row: dict[str, str]) -> Any:
        """The step in a CSV record, in the shape that the model takes."""
        import numpy as np

        from legato._series.record_encoding import encode_value
        from legato._series.sequences import Column

        numbers = [encode_value(row, Column(name)) for name in self._columns or ()]
        return np.reshape(numbers, self._shape)

    def _json_step(self, row: dict[str, Any]) -> Any:
        """The step in a JSON object: under ``x``, or an entry for each input."""
        if all(name in row for name in self._names):
            each = [row[name] for name in self._names]
            return each if len(each) > 1 else each[0]
        if "x" in row:
            return row["x"]
        several = f", or one entry for each input: {', '.join(self._names)}"
        raise InputError(
            f'there is no "x" in the object: put the step there{several * (len(self._names) > 1)}.'
        )

    def decode(self, answer: Any) -> dict[str, Any]:
        """An output of the model as JSON values, under ``y``."""
        return {"y": as_lists(answer)}


def as_lists(answer: Any) -> Any:
    """Arrays as nested lists, with None for NaN and infinity."""
    import numpy as np

    if isinstance(answer, dict):
        return {name: as_lists(each) for name, each in answer.items()}
    if isinstance(answer, (list, tuple)):
        return [as_lists(each) for each in answer]
    if answer.dtype.kind in "biu":
        return answer.tolist()
    numbers = answer.astype(float)
    finite = np.isfinite(numbers)
    if not finite.all():
        numbers = np.asarray(np.where(finite, numbers, None))
    return numbers.tolist()


def holds_type(value: Any, kind: type) -> bool:
    """Whether a JSON value holds one of a type at any depth; without recursion: it may be deep."""
    left = [[value]]
    while left:
        each = left.pop()
        kinds = set(map(type, each))
        if kind in kinds:
            return True
        if list in kinds or dict in kinds:
            left += [inner for inner in each if type(inner) is list]
            left += [list(inner.values()) for inner in each if type(inner) is dict]
    return False


def check_no_booleans(x: Any, arrays: Iterable["np.ndarray"]) -> None:
    """Refuse true and false where a model takes numbers: they are rarely meant as 1 and 0.

    Args:
        x: a JSON value.
        arrays: as the model took it.

    Raises:
        InputError: it holds one.
    """
    if not any(each.dtype == bool for each in arrays) and holds_type(x, bool):
        raise InputError("x holds true or false; numbers were expected.")
