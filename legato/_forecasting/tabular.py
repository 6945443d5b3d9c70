"""Answers as tables: as plain columns, and as frames of pandas and Polars."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from legato._series.frame_layout import FrameLayout, as_pandas, as_polars

if TYPE_CHECKING:
    import pandas
    import polars

DIGITS = 9  # of numbers in text


class Tabular:
    """Base class of answers that are a table."""

    def table(self) -> dict[str, Any]:
        """The columns by name, as arrays or lists of one length."""
        raise NotImplementedError

    @property
    def layout(self) -> FrameLayout | None:
        """The layout of the user's frame, if the data came in one."""
        return None

    @property
    def first_row(self) -> int | None:
        """The row that its first one is in the user's frame, whose index goes on; else None."""
        return None

    def to_polars(self) -> "polars.DataFrame":
        """The table as a frame of Polars."""
        return as_polars(self.table(), self.layout)

    def to_pandas(self) -> "pandas.DataFrame":
        """The table as a frame of pandas, indexed as the user's frame was.

        Raises:
            MissingError: pandas is not installed.
        """
        return as_pandas(self.table(), self.layout, self.first_row)

    @property
    def frame(self) -> Any:
        """The table in the kind that the data came in: a frame of pandas or of Polars.

        Columns have the user's names and types. Data that were no frame give one of Polars.
        """
        is_pandas = self.layout is not None and self.layout.library == "pandas"
        return self.to_pandas() if is_pandas else self.to_polars()


def with_none(values: Any) -> list[Any]:
    """Values as a list, None for NaN, as JSON takes them.

    Numbers have the 9 digits that tell those of 32 bits apart, in which networks compute.
    """
    if isinstance(values, list):
        return values
    array = np.asarray(values)
    if array.dtype.kind != "f":
        return array.tolist()
    return [None if np.isnan(each) else float(f"{each:.{DIGITS}g}") for each in array]


def score_table(scores: Mapping[str, Mapping[str, Any]], names: tuple[str, ...]) -> dict[str, Any]:
    """A row for each forecaster or classifier, with some of its scores as columns.

    Args:
        scores: the scores of each by its name.
        names: the scores that become columns.
    """
    rows = {name: [each[name] for each in scores.values()] for name in names}
    return {"model": list(scores), **rows}
