"""Predicted labels with their probabilities, and the table of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from legato._forecasting.forecast import free_name
from legato._forecasting.tabular import Tabular, with_none
from legato._series.frame_layout import FrameLayout
from legato._series.sequences import Sequences


@dataclass(frozen=True, eq=False)
class Labelled(Tabular):
    """Predicted labels, one for each sequence or for each time step.

    Attributes:
        names: (answers,), the sequence of each label.
        steps: (answers,), its time step; None where a sequence has one label as a whole.
        labels: (answers,), the likeliest labels.
        probabilities: (answers, classes).
        classes: names of the classes.
        group: the column that identified the sequences, if there was one.
        layout: that of the user's frame, if the data came in one.
        times: (answers,), the time of each step, by the name of their column; or empty.

    Examples:
        >>> import legato
        >>> steps = {"x": [0.0, 1.0] * 20, "label": ["low", "high"] * 20}
        >>> trained = legato.train(steps, target="label", units=2, epochs=1, verbose=0)
        >>> found = trained.classify(steps)
        >>> found.classes, found.probabilities.shape
        (('high', 'low'), (40, 2))
        >>> [*found.columns()]
        ['sequence', 'step', 'label', 'probability']
    """

    names: tuple[str, ...]
    steps: np.ndarray | None
    labels: tuple[str, ...]
    probabilities: np.ndarray
    classes: tuple[str, ...]
    group: str | None = None
    layout: FrameLayout | None = None
    times: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of(
        cls,
        sequences: Sequences,
        classes: tuple[str, ...],
        at: np.ndarray,
        probabilities: np.ndarray,
        whole: bool,
    ) -> "Labelled":
        """The labels at some steps of sequences, without steps that have no output."""
        there = ~np.isnan(probabilities[:, 0])
        at, probabilities = at[there], probabilities[there]
        times = {}
        if sequences.times is not None and not whole:
            times[sequences.time or "time"] = sequences.times[at]
        which = np.searchsorted(sequences.offsets, at, side="right") - 1
        return cls(
            tuple(sequences.names[each] for each in which),
            None if whole else at - sequences.offsets[which],
            tuple(classes[each] for each in probabilities.argmax(1)),
            probabilities,
            classes,
            sequences.group,
            sequences.layout,
            times,
        )

    def columns(self) -> dict[str, list]:
        """The labels as a table: sequence, step if there is one, label, probability.

        The group keeps its name; a column that would have the same one gets another.
        """
        return {name: with_none(values) for name, values in self._columns().items()}

    def table(self) -> dict[str, Any]:
        """The columns of its frames: those of ``columns``, times in place of steps."""
        table = self._columns()
        if not self.times:
            return table
        names = list(table)
        return {names[0]: table.pop(names[0]), **self.times, **dict(list(table.items())[1:])}

    def _columns(self) -> dict[str, Any]:
        taken = {self.group, *self.times}
        table: dict[str, Any] = {self.group or free_name(taken, "sequence"): list(self.names)}
        if self.steps is not None:
            table[free_name(taken, "step", "step of the sequence")] = self.steps
        table[free_name(taken, "label", "predicted label")] = list(self.labels)
        likeliest = self.probabilities.max(1).astype(float)
        table[free_name(taken, "probability", "probability of the label")] = likeliest
        return table
