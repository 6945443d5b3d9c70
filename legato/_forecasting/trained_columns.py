"""Reads data for a trained model: the columns and the options are those of its training."""

from dataclasses import dataclass
from typing import Any

from legato._forecasting.covariates import Covariates
from legato._forecasting.task import Task
from legato._series.future_rows import FutureRows
from legato._series.missing_values import missing_values_advised
from legato._series.reading import read, read_with_future
from legato._series.sequences import Sequences

_NEEDED_AHEAD = "What is known ahead must have a value at every step ahead: fill it in."
_READ_AS_TRAINED = (
    "The model reads data with the options of its training, which allowed none to be missing: fill "
    "it in or leave the row out, or train with missing='forward' or missing='drop'."
)


@dataclass(frozen=True)
class TrainedColumns:
    """The columns that a model was trained on.

    Attributes:
        task: the model's task.
        covariates: the columns beside the targets.
        options: those of ``legato.read`` in training, as the record has them.
    """

    task: Task
    covariates: Covariates
    options: dict[str, Any]

    def read_with_future(
        self, data, future=None, answered: bool = False
    ) -> tuple[Sequences, FutureRows | None]:
        """Data with these columns, and rows of the future; see ``Trained.read_with_future``."""
        rows = None
        if not isinstance(data, Sequences):
            data, rows = self._read(data, answered)
        if isinstance(future, FutureRows):
            rows = future
        elif future is not None and self.covariates.known:
            rows = FutureRows.of(self._read_known_ahead(future))
        return self.covariates.with_calendar(data), rows

    def _read(self, data, answered: bool) -> tuple[Sequences, FutureRows | None]:
        made = self.covariates.made
        kinds = {each.name: each.is_numeric for each in self.task.inputs if each.name not in made}
        if answered:
            kinds |= {each.name: each.is_numeric for each in self.task.targets}
        is_text = not any(self.options[name] for name in ("group", "time", "columns"))
        if is_text and [*kinds] == ["character"]:
            return read(data), None
        labels = [name for name, is_numeric in kinds.items() if not is_numeric]
        targets = None
        if self.task.kind == "forecast":
            targets = [column.name for column in self.task.targets]
        options: dict[str, Any] = {**self.options, "categorical": labels, "columns": [*kinds]}
        with missing_values_advised(_READ_AS_TRAINED):
            return read_with_future(data, targets, **options)

    def _read_known_ahead(self, future) -> Sequences:
        """The rows of a file or frame of the future, with the columns known ahead."""
        if isinstance(future, Sequences):
            return future
        known = self.covariates.known
        labels = [each.name for each in self.task.inputs if not each.is_numeric]
        labels = [name for name in labels if name in known]
        here = {"missing": "error", "categorical": labels, "columns": list(known)}
        options: dict[str, Any] = {**self.options, **here}
        with missing_values_advised(_NEEDED_AHEAD):
            return read(future, **options)
