"""A trained model with the record of its training: evaluation, prediction, saving and loading.

The record is plain JSON inside the model's own file; the model itself has unscaled inputs and
outputs and opens in plain Keras.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from legato._errors import InputError
from legato._forecasting.backtest import (
    backtest_forecasts,
    backtest_labels,
    describe_shorter,
    find_unseen_steps,
    usual_change,
)
from legato._forecasting.backtest_result import Backtest, LabelBacktest
from legato._forecasting.classification import Labelled
from legato._forecasting.covariates import Covariates
from legato._forecasting.diagnostics import Diagnostics, diagnose
from legato._forecasting.forecast import Forecast, describe_constant, describe_lost, describe_reach
from legato._forecasting.forecast_metrics import Scores
from legato._forecasting.network import Shape
from legato._forecasting.prediction_intervals import Intervals, check_quantiles, find_floors
from legato._forecasting.predictor import Predictor
from legato._forecasting.record_checks import check_known, check_shape, check_task
from legato._forecasting.sample_paths import draw_paths
from legato._forecasting.shared_prediction import SharedPrediction
from legato._forecasting.task import Task
from legato._forecasting.trained_columns import TrainedColumns
from legato._models.loading import load_model
from legato._models.saving import set_training_record, training_record
from legato._platform.checks import check_count, check_seed
from legato._platform.input_files import shown_reason
from legato._platform.output_streams import printable_on_stdout
from legato._series.frame_layout import FrameLayout
from legato._series.future_rows import FutureRows
from legato._series.sequences import Sequences
from legato._streams.sampling import sample

FORMAT = "legato.trained.1"
_NO_INTERVALS = (
    "There are no intervals: the model was trained without a test part, so its errors are not "
    "known; train with --test 0.2, the default."
)


@dataclass(frozen=True, eq=False)
class Trained(Predictor):
    """A model, its task, and the record of its training.

    Attributes:
        known: the record of the training: data, options, history, scores, as JSON takes it.

    Examples:
        >>> import legato
        >>> wave = {"load": [1.0, 2.0, 4.0, 3.0] * 9}
        >>> trained = legato.train(wave, units=2, epochs=1, verbose=0)
        >>> trained
        <Trained: forecast load, lstm of 2>
        >>> trained.scores["verdict"]  # doctest: +ELLIPSIS
        "The model's error 1 step ahead from 7 origins (MAE ...) is ...
        >>> trained.save("wave.keras")
        >>> legato.Trained.load("wave.keras").known == trained.known
        True
    """

    known: dict[str, Any]

    @printable_on_stdout
    def __repr__(self) -> str:
        targets = ", ".join(column.name for column in self.task.targets)
        return f"<Trained: {self.task.kind} {targets}, {self.shape}>"

    @property
    def scores(self) -> dict[str, Any]:
        """The scores on the test part, as ``Scores.as_numbers`` gives them; empty without one.

        If ``known["refit"]``, they are of a network that was trained without the test part.
        ``trained.scores["verdict"]`` is the comparison in a sentence.
        """
        return self.known.get("scores", {})

    @property
    def is_text(self) -> bool:
        """Whether its labels are the characters of a text."""
        return self.task.kind == "generate" and self.task.targets[0].name == "character"

    # Files.

    def save(self, path) -> None:
        """Write the model and its record to one ``.keras`` file, atomically.

        Raises:
            InputError: the path does not end in ``.keras``.
            OutputError: the folder is missing or cannot be written.
        """
        if Path(path).suffix != ".keras":
            raise InputError(f"{path} does not end in .keras, as the file of a model must.")
        self.model._model_lock.run("save", self._save, path)

    def _save(self, path) -> None:
        kept = self.model.states
        self.model.reset_states()  # so that plain Keras opens it for one row
        set_training_record(
            self.model,
            {
                "format": FORMAT,
                "task": self.task.as_numbers(),
                "shape": asdict(self.shape),
                "pad": self.pad,
                "known": self.known,
            },
        )
        try:
            self.model.save(path)
        finally:
            self.model.states = kept

    @classmethod
    def load(cls, path) -> "Trained":
        """Open a file written by ``save``.

        Raises:
            OutputError: there is no such file, or it cannot be read.
            InputError: it is no model, or a model without the record of its training.
        """
        model = load_model(path)
        record = training_record(model)
        if not record or record.get("format") != FORMAT:
            raise InputError(
                f"{path} is a model, but has no record of its training: it was not saved by "
                "legato train or Trained.save, or was saved again by plain Keras. Open it with "
                "legato.load_model."
            )
        try:
            task, shape = Task.from_numbers(record["task"]), Shape(**record["shape"])
            pad, known = float(record["pad"]), dict(record["known"])
            check_task(task)
            check_shape(shape)
            check_known(known, task)
        except Exception as error:  # there are many ways of not fitting together
            raise InputError(_damaged_record(path, shown_reason(error))) from error
        return cls(model, task, shape, pad, known)

    # Evaluation and prediction.

    def evaluate(
        self,
        data,
        *,
        fresh: bool = False,
        season: int | None = None,
        executor: Any = None,
        report: Callable[[str], None] | None = None,
    ) -> Scores:
        """Score it on data it was not trained on, compared with baselines.

        Of sequences it was trained on, the steps after the training part are scored; else all. A
        model that was refitted was trained on all of its data, the test part included. If the data
        do not go on for the horizon, only the first steps ahead are scored.

        Args:
            data: ``Sequences``, or what ``legato.read`` takes.
            fresh: begin the scored part in the initial state, without the steps before it.
            season: steps of a season, for the seasonal baseline; 0: none; default: as in training.
            executor: predicts in other processes or on other machines: anything with the interface
                of ``concurrent.futures``, such as a ``ProcessPoolExecutor`` whose processes are
                spawned. The scores are the same. It pays from about a million predictions on.
            report: takes a line whenever the executor has done a part.

        Returns:
            ``ForecastScores`` or ``LabelScores``; ``.verdict`` is the comparison in a sentence.

        Raises:
            InputError: the data lack a column, or hold nothing but training data; or it is no
                executor.

        Warns:
            UserWarning: some steps hold a label absent from training, and the first is named; or
                not all of the horizon is scored; or a process of the executor ended, and this one
                predicts what was left.
        """
        shared = None if executor is None else SharedPrediction(executor, report)
        sequences = self.read(data)
        known = self.known
        begins = find_unseen_steps(self.task, sequences, known["seen"], known.get("refit", False))
        if fresh:
            sequences = sequences.between(begins, sequences.lengths)
            begins = 0 * sequences.lengths
        season = known["season"] if season is None else season
        # The columns of a single network hold what is known of every step ahead: it needs them all.
        shorter = not self.covariates.leads
        scores = self.backtest(sequences, begins, season, shorter, shared).scores()
        for note in (*self.task.unseen_labels(sequences), *describe_shorter(self.task, scores)):
            warnings.warn(note, stacklevel=2)
        layout = sequences.layout
        return replace(scores, layout=None if layout is None else FrameLayout(layout.library))

    def backtest(
        self,
        sequences: Sequences,
        begins: np.ndarray,
        season: int | None,
        shorter: bool = False,
        shared: SharedPrediction | None = None,
    ) -> Backtest | LabelBacktest:
        """Predict from some step of each sequence on, with all steps before it as history.

        Args:
            sequences: the data.
            begins: (sequences,), the first step that is predicted and scored.
            season: steps of a season, or None.
            shorter: score the first steps ahead if no sequence goes on for the horizon.
            shared: predicts in other processes; None: this one does.
        """
        if self.task.kind == "forecast":
            origins = self.known.get("origins")  # absent from older files
            return backtest_forecasts(self, sequences, begins, season, origins, shorter, shared)
        return backtest_labels(self, sequences, begins, self.known["label_counts"], shared)

    def diagnose(self, data) -> Diagnostics:
        """Compare it with data: what it learnt from, forecasts of a backtest, errors and scores.

        Of the data of its training the scores and forecasts are those that its file records; on
        other data, and on steps after its training part, it is scored anew, as by ``evaluate``.

        Args:
            data: ``Sequences``, or what ``legato.read`` takes.

        Raises:
            InputError: the data do not fit.
        """
        return diagnose(self, self.known, self.read(data))

    def report(self, data, path) -> Path:
        """Write a page on it: data, score, forecasts, errors, influence, states and choices.

        Args:
            data: ``Sequences``, or what ``legato.read`` takes; see ``diagnose``.
            path: of the page; an earlier page is replaced, no other file is.

        Returns:
            The path.

        Raises:
            InputError: the data do not fit.
            OutputError: the file is there and is no page, or cannot be written.
        """
        pages = import_module("legato.report")  # a folder above this one, needed only here
        return pages.write_trained_page(self, data, path)

    def forecast(
        self,
        data,
        steps: int | None = None,
        *,
        future=None,
        quantiles: Sequence[float] | None = None,
        paths: int | None = None,
        seed: int | None = None,
    ) -> Forecast:
        """Forecast the steps after the end of each sequence.

        Rows at the end of the data whose targets are empty are the future: what they hold of the
        columns known ahead is used.

        Args:
            data: ``Sequences``, or what ``legato.read`` takes: the history.
            steps: number of steps ahead; default: as many as there are future rows, else the
                horizon. Longer forecasts than the horizon are recursive, and need every input
                column to be a target, known ahead or, of an ensemble, static.
            future: the rows after the end, if they are not in the data: what ``legato.read`` takes,
                with the columns known ahead; those at times of the data are left out.
            quantiles: of what may come, ascending and each between 0 and 1, such as (0.1, 0.5,
                0.9), to stand in the tables in place of the intervals: their ends, and the forecast
                itself at 0.5.
            paths: number of sample paths to draw (``Forecast.paths``): courses that the steps ahead
                may take together, as their errors did in the backtest, each step with the
                quantiles above. Sequences and targets are drawn independently of each other.
            seed: random seed of the paths; None: a new one.

        Raises:
            InputError: it is no forecaster, cannot forecast so far ahead, or the data do not fit;
                quantiles are not as expected, or the model has no intervals to take them and paths
                from.

        Examples:
            >>> import legato
            >>> wave = {"load": [1.0, 2.0, 4.0, 3.0] * 9}
            >>> trained = legato.train(wave, units=2, epochs=1, verbose=0)
            >>> [*trained.forecast(wave, quantiles=[0.1, 0.9]).columns()]
            ['step', 'load', 'quantile 0.1', 'quantile 0.9']
        """
        task = self._check_kind("forecast")
        asked = () if quantiles is None else check_quantiles(quantiles)
        if paths is not None:
            check_count("paths", paths, noun="a number of sample paths")
        if seed is not None:
            check_seed(seed)
        if (asked or paths) and "intervals" not in self.known:
            what = "Quantiles" if asked else "Sample paths"
            raise InputError(f"{what} come from intervals. {_NO_INTERVALS}")
        if steps is not None:
            check_count("steps", steps, noun="a number of steps ahead")
        sequences, rows = self.read_with_future(data, future)
        steps = self._count_steps(rows) if steps is None else steps
        if steps > task.horizon and not self.can_go_on:
            others = [each.name for each in task.inputs if each not in task.targets]
            raise InputError(
                f"{steps} steps ahead were asked for, but the model looks {task.horizon} ahead: to "
                f"go on it would need what {', '.join(others)} will be. Train with horizon={steps} "
                "(--horizon), or let every column be a target or known ahead."
            )
        covariates = self.covariates
        ahead = covariates.steps_ahead(sequences, rows, steps)
        sequences = covariates.with_leads(sequences, ahead)
        known = None if ahead is None or not task.known else task.known_of(ahead)
        inputs = self.inputs_of(sequences)
        found = self.predict_ahead(inputs, sequences.lengths, steps, known)
        self._check_answered(sequences, found[:, 0, 0])
        ends, values, drawn = None, None, None
        notes = describe_reach(steps, task.horizon)
        notes += describe_lost(sequences.names, found)
        if "intervals" in self.known:
            intervals = Intervals.from_numbers(self.known["intervals"])
            scale = self._usual_change(sequences)
            least = self.known.get("least")  # absent from older files
            floors = find_floors(self.truth(sequences), sequences.lengths, least)
            ends = intervals.around(found, scale, floors=floors)
            values = intervals.quantiles(found, scale, asked, floors) if asked else None
            drawn = draw_paths(intervals, found, scale, paths, seed, floors) if paths else None
            notes += intervals.notes(steps) + describe_constant(sequences.names, scale)
        else:
            notes += (_NO_INTERVALS,)
        targets = tuple(column.name for column in task.targets)
        forecast = Forecast.after(sequences, targets, found, ends, notes)
        return replace(forecast, quantiles=asked, quantile_values=values, paths=drawn)

    def _usual_change(self, sequences: Sequences) -> np.ndarray:
        """The usual change at the end of each sequence, (sequences, targets)."""
        lengths = sequences.lengths
        which, last = np.arange(len(lengths)), lengths - 1
        return usual_change(self.truth(sequences), lengths, which, last, self.known["season"])

    def generate(
        self,
        length: int = 200,
        *,
        prompt: str | list[str] = "",
        temperature: float = 1.0,
        seed: int | None = None,
    ) -> list[str]:
        """Generate labels after a prompt, each sampled from the model and fed back as input.

        Args:
            length: number of labels.
            prompt: the labels before: a text, whose characters are the labels, or a list of labels.
                Empty: the most frequent label of the training part.
            temperature: sampling temperature, at least 0; below 1 favours likely labels, 0 takes
                the likeliest.
            seed: random seed for sampling.

        Returns:
            The labels, without the prompt; of text, ``"".join(...)`` is the text.

        Raises:
            InputError: it is no generator, or the prompt has a label it was not trained on.
        """
        task = self._check_kind("generate")
        if len(task.inputs) > 1:
            others = [each.name for each in task.inputs if each not in task.targets]
            raise InputError(
                f"The model also takes {', '.join(others)}, whose values are unknown while it "
                "generates. Train it on the labels alone (columns=)."
            )
        check_count("length", length)
        choose = sample(temperature, seed)
        known = task.targets[0].numbers or ()
        unknown = [label for label in prompt if label not in task.labels]
        if unknown:
            raise InputError(
                f"The prompt holds {unknown[0]!r}, which the model was not trained on. Its labels "
                f"are {', '.join(map(repr, task.labels[:12]))} …"
            )
        first = task.labels[int(np.argmax(self.known["label_counts"]))]
        places = [task.labels.index(label) for label in (prompt or [first])]
        stream = self.model.stream(**self.lookback).warm([[known[place]] for place in places])
        if np.isnan(stream.answer).any():
            raise InputError(
                f"The prompt has {len(places)} labels, and the model needs {self.shape.steps} "
                "before it answers. Give a longer one."
            )
        drawn = stream.generate(length, choose, encode=lambda place: jnp.asarray(known)[place])
        return [task.labels[each] for each in drawn]

    def classify(self, data) -> Labelled:
        """Classify each sequence, or each step, with probabilities.

        Args:
            data: ``Sequences``, or what ``legato.read`` takes; the target's column may be missing.

        Raises:
            InputError: it is no classifier, or the data do not fit; a sequence is too short.
        """
        task = self._check_kind("classify")
        sequences = self.read(data, answered=False)
        ends = sequences.offsets[1:] - 1
        at = ends if task.whole else np.arange(len(sequences.values))
        answers = self.predict_at(self.inputs_of(sequences), sequences.lengths, at)
        self._check_answered(sequences, (answers if task.whole else answers[ends])[:, 0])
        return Labelled.of(sequences, task.labels, at, answers, task.whole)

    @property
    def covariates(self) -> Covariates:
        """The columns beside the targets, by when they are known."""
        return Covariates.from_numbers(self.known.get("covariates"))  # absent from older files

    def read(self, data, answered: bool = True) -> Sequences:
        """Data with the columns the model was trained on, and those made of them.

        ``answered``: whether the targets must be there even if they are no inputs.
        """
        sequences, _ = self.read_with_future(data, answered=answered)
        return self.covariates.with_leads(sequences)

    def read_with_future(
        self, data, future=None, answered: bool = False
    ) -> tuple[Sequences, FutureRows | None]:
        """Data with the columns the model was trained on, and the rows after their ends, if any.

        Args:
            data: ``Sequences``, or what ``legato.read`` takes.
            future: rows of the future, likewise; None: those at the end of the data.
            answered: as for ``read``.
        """
        columns = TrainedColumns(self.task, self.covariates, self.known["read"])
        return columns.read_with_future(data, future, answered)

    def _count_steps(self, rows: FutureRows | None) -> int:
        """Steps ahead unless they are given: as many as there are future rows, or the horizon."""
        horizon = self.task.horizon
        if rows is None or not len(rows.values):
            return horizon
        count = int(rows.lengths[rows.lengths > 0].min())
        return count if self.can_go_on else min(count, horizon)

    def _check_answered(self, sequences: Sequences, answers: np.ndarray) -> None:
        """Raise an InputError if an output at the end of a sequence, (sequences,), is NaN."""
        if np.isnan(answers).any():
            short = int(np.argmax(np.isnan(answers)))
            if self.shape.framing == "ensemble" or sequences.lengths[short] >= self.shape.steps:
                raise InputError(
                    f"The model has no answer for sequence {sequences.names[short]!r}: its values "
                    "are so large that 32-bit floats cannot hold what is computed from them. Mend "
                    "or leave out such sequences."
                )
            raise InputError(
                f"Sequence {sequences.names[short]!r} has {sequences.lengths[short]} steps, and "
                f"the model needs {self.shape.steps} before it answers. Leave out such sequences."
            )

    def _check_kind(self, kind: str) -> Task:
        """The task, checked to be of a kind."""
        if self.task.kind != kind:
            raise InputError(
                f"The model was trained to {self.task.kind}, not to {kind}: use "
                f"{self.task.kind}, or train another with task={kind!r} (--task)."
            )
        return self.task


def _damaged_record(path, how: str) -> str:
    return (
        f"The record of the training in {path} cannot be read ({how}): it was altered, or "
        "written by another version. Use a file as legato wrote it, or train again."
    )
