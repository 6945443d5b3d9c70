"""A network with the task it was made for: what it takes of data, and what it answers.

The ground that training, scoring and asking stand on.
"""

from dataclasses import dataclass

import numpy as np

from legato._errors import InputError
from legato._model import Model
from legato._network import Shape
from legato._sequences import Sequences
from legato._task import Task
from legato._walking import Walker


@dataclass(frozen=True, eq=False)
class Asked:
    """A model and its task.

    Attributes:
        model: takes raw numbers (rows, time steps, inputs) and gives forecasts (…, horizon ×
            targets) in raw numbers, the nearest step first, or probabilities (…, labels).
        task: what it is asked.
        shape: what it is made of.
        pad: the number that marks padding in its input.
    """

    model: Model
    task: Task
    shape: Shape
    pad: float

    @property
    def walker(self) -> Walker:
        """Leads the model along sequences."""
        return Walker(self.model, self.shape, self.pad)

    def inputs_of(self, sequences: Sequences, lenient: bool = False) -> np.ndarray:
        """What the model takes, checked: (time steps of all, inputs); see ``Task.inputs_of``."""
        values = self.task.inputs_of(sequences, lenient)
        padding = (values == np.float32(self.pad)).all(1)
        if padding.any():
            raise InputError(
                f"Step {int(np.argmax(padding))} of {sequences.source} holds {self.pad:g} in every "
                "column, the number that marks padding for this model. Leave that step out."
            )
        return values

    def truth(self, sequences: Sequences) -> np.ndarray:
        """The targets, as they are: (time steps of all, targets)."""
        places = [sequences.place(column.name) for column in self.task.targets]
        return sequences.values[:, places]

    def answers(self, values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """What it answers at every step, (time steps of all, outputs); NaN where it does not."""
        found = np.full((len(values), self.model.output_shape[-1]), np.nan, "float32")
        for positions, outputs in self.walker.answers(values, lengths):
            found[positions] = outputs
        return found

    def ahead(self, values: np.ndarray, lengths: np.ndarray, steps: int) -> np.ndarray:
        """Forecasts after the end of each sequence, (sequences, steps, targets)."""
        horizon, places = self.task.horizon, self.task.places
        # What is fed in is in the order of the inputs, what comes out in that of the targets.
        order = np.argsort(places) if self.task.feeds_itself else np.arange(len(places))

        def feedback(answers: np.ndarray) -> np.ndarray:
            return answers.reshape(len(answers), horizon, -1)[..., order]

        found = self.walker.ahead(values, lengths, steps, feedback, horizon)
        return found[..., np.argsort(order)]
