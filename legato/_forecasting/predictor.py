"""A model with its task: selects and encodes the inputs, predicts, and decodes the outputs.

Base class of ``Trained``; scores and prediction intervals are computed with it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from legato._errors import InputError
from legato._forecasting.network import Shape
from legato._forecasting.rollout import Rollout
from legato._forecasting.task import Task
from legato._models.model import Model
from legato._series.record_encoding import encode_value
from legato._series.sequences import Sequences
from legato._series.windows import windows_before
from legato._streams.model_methods import compiled_steps_of
from legato._streams.streams import Streams

BATCH, BATCH_STEPS = 256, 2**15  # windows that an ensemble sees at once, and their time steps


@dataclass(frozen=True, eq=False)
class Predictor:
    """A model and its task.

    Attributes:
        model: takes raw numbers (rows, time steps, inputs) and gives forecasts (…, horizon ×
            targets) in raw numbers, the nearest step first, or probabilities (…, labels).
        task: the task.
        shape: the architecture.
        pad: the padding value of the input.
    """

    model: Model
    task: Task
    shape: Shape
    pad: float

    @property
    def rollout(self) -> Rollout:
        """Predictions along sequences, with a state of their own."""
        return Rollout(compiled_steps_of(self.model, **self.lookback))

    @property
    def lookback(self) -> dict[str, Any]:
        """The lookback window as in training: ``window`` and ``pad`` of ``Model.stream``."""
        if self.shape.stateful:
            return {"window": None, "pad": None}
        padded = self.shape.framing not in ("window", "features")  # others were padded in training
        return {"window": self.shape.steps, "pad": self.pad if padded else None}

    def inputs_of(self, sequences: Sequences, lenient: bool = False) -> np.ndarray:
        """The inputs, (time steps of all, inputs), without padding; see ``Task.inputs_of``."""
        values = self.task.inputs_of(sequences, lenient)
        self._check_no_padding(values, sequences.source)
        return values

    def truth(self, sequences: Sequences) -> np.ndarray:
        """The true values of the targets, (time steps of all, targets)."""
        places = [sequences.place(column.name) for column in self.task.targets]
        return sequences.values[:, places]

    def predict_at(self, values: np.ndarray, lengths: np.ndarray, at: np.ndarray) -> np.ndarray:
        """The outputs at some steps, (steps, outputs); NaN where there is none.

        Args:
            values: (time steps of all sequences, inputs).
            lengths: (sequences,).
            at: (steps,), their indices in the values.
        """
        if self.shape.framing != "ensemble":
            return self.predict_steps(values, lengths)[at]
        begins = np.repeat(np.cumsum(lengths) - lengths, lengths)[at]
        if self.task.whole:
            return self._predict_sequences(values, begins, at)
        answers = [
            self._predict_windows(windows_before(values, begins[part], at[part], self.shape.steps))
            for part in np.array_split(np.arange(len(at)), -(-len(at) // BATCH) or 1)
        ]
        return np.concatenate(answers)

    def _predict_sequences(
        self, values: np.ndarray, begins: np.ndarray, at: np.ndarray
    ) -> np.ndarray:
        """The outputs of an ensemble that labels sequences, each seen up to some step."""
        steps = self.shape.steps
        while steps <= int((at - begins).max()):
            steps *= 2  # few lengths: few compiled programs
        most, found = max(1, min(BATCH, BATCH_STEPS // steps)), []
        for part in np.array_split(np.arange(len(at)), -(-len(at) // most)):
            before = windows_before(values, begins[part], at[part], steps)
            count = (at - begins)[part] + 1
            padded = np.arange(steps) < steps - count[:, None]
            found.append(self._predict_windows(np.where(padded[..., None], self.pad, before)))
        return np.concatenate(found)

    def _predict_windows(self, windows: np.ndarray) -> np.ndarray:
        """The outputs of an ensemble after windows (rows, steps, inputs), in batches of one size.

        One size takes one compiled program.
        """
        size = 2 ** int(np.ceil(np.log2(max(len(windows), 1))))
        rows = np.arange(size) % max(len(windows), 1)
        found = self.model.predict(windows[rows].astype("float32"), batch_size=size, verbose=0)
        return np.asarray(found)[: len(windows)]

    def predict_steps(self, values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """The outputs at every step, (time steps of all, outputs); NaN where there is none."""
        found = np.full((len(values), self.model.output_shape[-1]), np.nan, "float32")
        for positions, outputs in self.rollout.predict_steps(values, lengths):
            found[positions] = outputs
        return found

    def predict_ahead(self, values: np.ndarray, lengths: np.ndarray, steps: int) -> np.ndarray:
        """Forecasts after the end of each sequence, (sequences, steps, targets).

        NaN where there is none, and from the first on that is not a finite number.
        """
        horizon, places = self.task.horizon, self.task.places
        # Inputs are fed back in the order of the input columns, outputs are in that of the targets.
        order = np.argsort(places) if self.task.is_autoregressive else np.arange(len(places))

        def feedback(answers: np.ndarray) -> np.ndarray:
            return answers.reshape(len(answers), horizon, -1)[..., order]

        if self.shape.framing == "ensemble":
            found = self._predict_ahead_of_windows(values, lengths, steps, feedback)
        else:
            found = self.rollout.predict_ahead(values, lengths, steps, feedback, horizon)
        lost = np.logical_or.accumulate(np.asarray(~np.isfinite(found).all(-1)), axis=1)
        return np.where(lost[..., None], np.nan, found)[..., np.argsort(order)]

    def _predict_ahead_of_windows(
        self,
        values: np.ndarray,
        lengths: np.ndarray,
        steps: int,
        feedback: Callable[[np.ndarray], np.ndarray],
    ) -> np.ndarray:
        """``Rollout.predict_ahead`` of an ensemble, which needs no step before its windows."""
        ends = np.cumsum(lengths)
        found = []
        for part in np.array_split(np.arange(len(ends)), -(-len(ends) // BATCH)):
            begins = (ends - lengths)[part]
            windows = windows_before(values, begins, ends[part] - 1, self.shape.steps)
            parts = [feedback(self._predict_windows(windows))]
            while len(parts) * self.task.horizon < steps:
                fed = np.where(np.isfinite(parts[-1]), parts[-1], 0.0)  # what follows is left out
                windows = np.concatenate([windows, fed], axis=1)[:, -self.shape.steps :]
                parts.append(feedback(self._predict_windows(windows)))
            found.append(np.concatenate(parts, axis=1)[:, :steps])
        return np.concatenate(found)

    # One step at a time.

    def streams(self, limit: int | None = None, **options) -> Streams:
        """Live sequences by name, with the outputs that ``forecast`` and ``classify`` would give.

        ``numbers_of`` encodes the rows they are fed; ``told`` decodes their outputs.

        Args:
            limit, options: as for ``Model.streams``; ``window`` and ``pad`` are as in training by
                default.

        Raises:
            StateError, InputError, OutputError: as ``Model.streams`` does.

        Example:
            >>> import legato
            >>> wave = {"load": [1.0, 2.0, 4.0, 3.0] * 9}
            >>> trained = legato.train(wave, units=2, epochs=1, verbose=0)
            >>> pool = trained.streams()
            >>> answers = pool.feed({"ada": trained.numbers_of({"load": "2.5"})})
            >>> list(trained.told(answers["ada"]))
            ['load']
        """
        lookback = {} if "window" in options else self.lookback
        return self.model.streams(limit, **{**lookback, **options})

    def numbers_of(self, row: Mapping[str, Any]) -> np.ndarray:
        """The inputs of one step, (inputs,).

        Args:
            row: values by column name: numbers, or strings as in a file; other columns are ignored.

        Raises:
            InputError: a column is missing, or its value is neither a number nor a known label.
        """
        numbers = np.array([encode_value(row, each) for each in self.task.inputs], "float32")
        self._check_no_padding(numbers[None])
        return numbers

    def _check_no_padding(self, steps: np.ndarray, source: str | None = None) -> None:
        """Raise an InputError if a step holds the padding value in every column.

        Args:
            steps: (time steps, inputs).
            source: name of the data; None for a single row.
        """
        padding = (steps == np.float32(self.pad)).all(1)
        if padding.any():
            step = "The row" if source is None else f"Step {int(np.argmax(padding))} of {source}"
            raise InputError(
                f"{step} holds {self.pad:g} in every column, the number that marks padding for "
                "this model. Leave it out."
            )

    def told(self, answer: np.ndarray) -> dict[str, Any]:
        """One output, (outputs,), by names of targets and labels, as JSON takes it.

        Returns:
            Of a forecast, target → its next value, or a list of the next ``horizon`` values. Of
            labels, the likeliest ``"label"`` and its ``"probability"``. None where there is no
            output yet.
        """
        if self.task.kind == "forecast":
            values = answer.reshape(self.task.horizon, -1).astype(float)
            ahead = [[None if np.isnan(v) else v for v in each] for each in values.T.tolist()]
            names = [column.name for column in self.task.targets]
            alone = self.task.horizon == 1
            return {n: each[0] if alone else each for n, each in zip(names, ahead, strict=True)}
        if np.isnan(answer).any():
            return {"label": None, "probability": None}
        at = int(answer.argmax())
        return {"label": self.task.labels[at], "probability": float(answer[at])}
