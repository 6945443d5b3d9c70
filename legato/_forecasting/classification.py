"""Predicted labels with their probabilities, and the table of them."""

from dataclasses import dataclass

import numpy as np

from legato._forecasting.forecast import free_name
from legato._series.sequences import Sequences


@dataclass(frozen=True, eq=False)
class Labelled:
    """Predicted labels, one for each sequence or for each time step.

    Attributes:
        names: (answers,), the sequence of each label.
        steps: (answers,), its time step; None where a sequence has one label as a whole.
        labels: (answers,), the likeliest labels.
        probabilities: (answers, classes).
        classes: names of the classes.
        group: the column that identified the sequences, if there was one.
    """

    names: tuple[str, ...]
    steps: np.ndarray | None
    labels: tuple[str, ...]
    probabilities: np.ndarray
    classes: tuple[str, ...]
    group: str | None = None

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
        which = np.searchsorted(sequences.offsets, at, side="right") - 1
        return cls(
            tuple(sequences.names[each] for each in which),
            None if whole else at - sequences.offsets[which],
            tuple(classes[each] for each in probabilities.argmax(1)),
            probabilities,
            classes,
            sequences.group,
        )

    def columns(self) -> dict[str, list]:
        """The labels as a table: sequence, step if there is one, label, probability.

        The group keeps its name; a column that would have the same one gets another.
        """
        taken = {self.group}
        table: dict[str, list] = {self.group or free_name(taken, "sequence"): list(self.names)}
        if self.steps is not None:
            table[free_name(taken, "step", "step of the sequence")] = self.steps.tolist()
        table[free_name(taken, "label", "predicted label")] = list(self.labels)
        likeliest = self.probabilities.max(1).astype(float).tolist()
        table[free_name(taken, "probability", "probability of the label")] = likeliest
        return table
