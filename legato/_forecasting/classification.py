"""Labels a model has given: each with its probability, as rows and as a file."""

from dataclasses import dataclass

import numpy as np

from legato._series.sequences import Sequences


@dataclass(frozen=True, eq=False)
class Labelled:
    """A label for each sequence, or for each time step.

    Attributes:
        names: (answers,) the sequence of each.
        steps: (answers,) its time step; None where a sequence has one label as a whole.
        labels: (answers,) the likeliest.
        probabilities: (answers, classes).
        classes: what the classes are called.
    """

    names: tuple[str, ...]
    steps: np.ndarray | None
    labels: tuple[str, ...]
    probabilities: np.ndarray
    classes: tuple[str, ...]

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
        """The answers at some steps of sequences, where there are any."""
        there = ~np.isnan(probabilities[:, 0])
        at, probabilities = at[there], probabilities[there]
        which = np.searchsorted(sequences.offsets, at, side="right") - 1
        return cls(
            tuple(sequences.names[each] for each in which),
            None if whole else at - sequences.offsets[which],
            tuple(classes[each] for each in probabilities.argmax(1)),
            probabilities,
            classes,
        )

    def columns(self) -> dict[str, list]:
        """The answers as a table: sequence, step if there is one, label, probability."""
        steps = {} if self.steps is None else {"step": self.steps.tolist()}
        return {
            "sequence": list(self.names),
            **steps,
            "label": list(self.labels),
            "probability": self.probabilities.max(1).astype(float).tolist(),
        }
