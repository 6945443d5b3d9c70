"""A model with its task: selects and encodes the inputs, predicts, and decodes the outputs.

Base class of ``Trained``; scores and prediction intervals are computed with it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from legato._errors import InputError, UnsupportedError
from legato._forecasting.network import Shape
from legato._forecasting.rollout import Rollout, blocks
from legato._forecasting.shared_prediction import Batch, SharedPrediction, with_own_values
from legato._forecasting.task import Task
from legato._models.model import Model
from legato._platform.wording import listed
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

    def predict_at(
        self,
        values: np.ndarray,
        lengths: np.ndarray,
        at: np.ndarray,
        shared: SharedPrediction | None = None,
    ) -> np.ndarray:
        """The outputs at some steps, (steps, outputs); NaN where there is none.

        Args:
            values: (time steps of all sequences, inputs).
            lengths: (sequences,).
            at: (steps,), their indices in the values.
            shared: computes them in other processes; None: this one does.
        """
        batches = self._batches(lengths, at)
        if shared is None:
            outputs = [self.predict_batch(values, lengths, each) for each in batches]
        else:
            alone = Predictor(self.model, self.task, self.shape, self.pad)
            outputs = shared.predict(alone, values, lengths, batches)
        found = np.empty((len(at), outputs[0].shape[-1]), outputs[0].dtype)
        for batch, own in zip(batches, outputs, strict=True):
            found[batch.asked] = own
        return found

    def _batches(self, lengths: np.ndarray, at: np.ndarray) -> list[Batch]:
        """The batches in which the outputs at some steps are computed."""
        ends, steps = np.cumsum(lengths), self.shape.steps
        sequence = np.searchsorted(ends, at, side="right")
        if self.shape.framing != "ensemble":
            together, number = [*blocks(lengths)], np.empty(len(lengths), int)
            for place, each in enumerate(together):
                number[each[each >= 0]] = place
            order = np.argsort(number[sequence], kind="stable")
            cuts = np.searchsorted(number[sequence][order], np.arange(1, len(together)))
            pairs = zip(np.split(order, cuts), together, strict=True)
            return [Batch(own, at[own], each, steps) for own, each in pairs if len(own)]
        most = BATCH
        if self.task.whole:
            while steps <= int((at - (ends - lengths)[sequence]).max()):
                steps *= 2  # few lengths: few compiled programs
            most = max(1, min(BATCH, BATCH_STEPS // steps))
        parts = np.array_split(np.arange(len(at)), -(-len(at) // most))
        return [Batch(own, at[own], np.unique(sequence[own]), steps) for own in parts]

    def predict_batch(self, values: np.ndarray, lengths: np.ndarray, batch: Batch) -> np.ndarray:
        """The outputs at the steps of a batch, (steps, outputs); NaN where there is none.

        Args:
            values, lengths: as for ``predict_at``.
            batch: of these sequences.
        """
        if self.shape.framing != "ensemble":
            values, lengths, (batch,) = with_own_values(values, lengths, [batch])
            return self.predict_steps(values, lengths, [batch.sequences])[batch.at]
        at, steps = batch.at, batch.steps
        ends = np.cumsum(lengths)
        sequence = np.searchsorted(ends, at, side="right")
        begins = (ends - lengths)[sequence]
        before = windows_before(values, begins, at, steps)
        if self.task.whole:
            padded = np.arange(steps) < steps - (at - begins + 1)[:, None]
            return self._predict_windows(np.where(padded[..., None], self.pad, before))
        ahead = self.known_after(values, at, ends[sequence], self.task.horizon)
        return self._predict_windows(before, ahead)

    def known_after(
        self, values: np.ndarray, at: np.ndarray, ends: np.ndarray, steps: int
    ) -> np.ndarray:
        """What the data hold of the columns known ahead after some steps, (steps, ahead, known).

        Beyond the end of a sequence, its last values stand; no forecast of a step before it depends
        on them.

        Args:
            values: (time steps of all sequences, inputs).
            at: (steps,), their indices in the values.
            ends: (steps,), the end of the sequence of each.
            steps: number of steps ahead.
        """
        after = np.minimum(at[:, None] + np.arange(1, steps + 1), ends[:, None] - 1)
        return values[:, self.task.known_places][after]

    def _predict_windows(self, windows: np.ndarray, ahead: np.ndarray | None = None) -> np.ndarray:
        """The outputs of an ensemble after windows, in batches of one size.

        One size takes one compiled program.

        Args:
            windows: (rows, steps, inputs).
            ahead: (rows, horizon, known); None of an ensemble that labels sequences.
        """
        size = 2 ** int(np.ceil(np.log2(max(len(windows), 1))))
        rows = np.arange(size) % max(len(windows), 1)
        seen: Any = windows[rows].astype("float32")
        if ahead is not None and self.task.known:
            seen = [seen, ahead[rows].astype("float32")]
        found = self.model.predict(seen, batch_size=size, verbose=0)
        return np.asarray(found)[: len(windows)]

    def predict_steps(
        self,
        values: np.ndarray,
        lengths: np.ndarray,
        together: Iterable[np.ndarray] | None = None,
    ) -> np.ndarray:
        """The outputs at every step, (time steps of all, outputs); NaN where there is none.

        Args:
            values, lengths: as for ``predict_at``.
            together: those of some ``blocks`` of sequences only; None: of all.
        """
        found = np.full((len(values), self.model.output_shape[-1]), np.nan, "float32")
        for positions, outputs in self.rollout.predict_steps(values, lengths, together):
            found[positions] = outputs
        return found

    @property
    def can_go_on(self) -> bool:
        """Whether it can forecast beyond its horizon, from its own forecasts."""
        is_ensemble = self.shape.framing == "ensemble"
        return self.task.is_closed if is_ensemble else self.task.is_autoregressive

    def predict_ahead(
        self, values: np.ndarray, lengths: np.ndarray, steps: int, ahead: np.ndarray | None = None
    ) -> np.ndarray:
        """Forecasts after the end of each sequence, (sequences, steps, targets).

        NaN where there is none, and from the first on that is not a finite number.

        Args:
            values: (time steps of all sequences, inputs).
            lengths: (sequences,).
            steps: number of steps ahead.
            ahead: (sequences, steps, known), the columns known ahead, of an ensemble; None if
                there are none.
        """
        if self.shape.framing == "ensemble":
            found = self._predict_ahead_of_windows(values, lengths, steps, ahead)
        else:
            found = self._predict_ahead_by_rollout(values, lengths, steps)
        lost = np.logical_or.accumulate(np.asarray(~np.isfinite(found).all(-1)), axis=1)
        return np.where(lost[..., None], np.nan, found)

    def _predict_ahead_by_rollout(
        self, values: np.ndarray, lengths: np.ndarray, steps: int
    ) -> np.ndarray:
        horizon, places = self.task.horizon, self.task.places
        # Inputs are fed back in the order of the input columns, outputs are in that of the targets.
        order = np.argsort(places) if self.task.is_autoregressive else np.arange(len(places))

        def feedback(answers: np.ndarray) -> np.ndarray:
            return answers.reshape(len(answers), horizon, -1)[..., order]

        found = self.rollout.predict_ahead(values, lengths, steps, feedback, horizon)
        return found[..., np.argsort(order)]

    def _predict_ahead_of_windows(
        self, values: np.ndarray, lengths: np.ndarray, steps: int, ahead: np.ndarray | None
    ) -> np.ndarray:
        """``predict_ahead`` of an ensemble, which needs no step before its windows."""
        ends, task = np.cumsum(lengths), self.task
        horizon = task.horizon
        blocks = -(-steps // horizon)
        if ahead is None:
            ahead = np.empty((len(ends), steps, 0), "float32")
        # The last values stand for the rest of the last block, on which no step asked for depends.
        ahead = ahead[:, np.minimum(np.arange(blocks * horizon), ahead.shape[1] - 1)]
        found = []
        for part in np.array_split(np.arange(len(ends)), -(-len(ends) // BATCH)):
            begins = (ends - lengths)[part]
            windows = windows_before(values, begins, ends[part] - 1, self.shape.steps)
            parts = []
            for block in range(blocks):
                known = ahead[part, block * horizon : (block + 1) * horizon]
                answers = self._predict_windows(windows, known)
                parts.append(answers.reshape(len(part), horizon, -1))
                fed = np.repeat(windows[:, -1:], horizon, axis=1)  # with what is static
                fed[..., task.known_places] = known
                fed[..., task.places] = np.where(np.isfinite(parts[-1]), parts[-1], 0.0)
                windows = np.concatenate([windows, fed], axis=1)[:, -self.shape.steps :]
            found.append(np.concatenate(parts, axis=1)[:, :steps])
        return np.concatenate(found)

    # One step at a time.

    def streams(self, limit: int | None = None, **options) -> Streams:
        """Live sequences by name, with the outputs that ``forecast`` and ``classify`` would give.

        ``encode`` makes steps of the rows that they are fed, and ``decode`` values of their
        outputs.

        Args:
            limit, options: as for ``Model.streams``; ``window`` and ``pad`` are as in training by
                default.

        Raises:
            StateError, InputError, OutputError: as ``Model.streams`` does.
            UnsupportedError: the model also takes columns of the steps ahead.

        Examples:
            >>> import legato
            >>> wave = {"load": [1.0, 2.0, 4.0, 3.0] * 9}
            >>> trained = legato.train(wave, units=2, epochs=1, verbose=0)
            >>> pool = trained.streams()
            >>> answers = pool.feed({"ada": trained.encode({"load": "2.5"})})
            >>> list(trained.decode(answers["ada"]))
            ['load']
        """
        self.check_streams()
        lookback = {} if "window" in options else self.lookback
        return self.model.streams(limit, **{**lookback, **options})

    def check_streams(self) -> None:
        """Check that rows can be fed one at a time.

        Raises:
            UnsupportedError: the model also takes columns of the steps ahead.
        """
        if self.task.known:
            raise UnsupportedError(
                f"The model takes {listed(self.task.known)} of the steps ahead, and a stream has "
                "one row at a time. Forecast from a file or a frame, or train a model without "
                "columns known ahead (--known) and without the calendar."
            )

    def encode(self, row: Mapping[str, Any]) -> np.ndarray:
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

    def decode(self, answer: np.ndarray) -> dict[str, Any]:
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

    numbers_of, told = encode, decode  # earlier names, which scripts may still use
