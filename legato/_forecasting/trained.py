"""A trained model that knows what it was trained on: scored, asked, saved and opened.

What it knows is plain numbers and words, saved inside the model's own file; the model itself takes
and gives raw numbers and opens in plain Keras.
"""

import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from legato._errors import InputError
from legato._forecasting.backtest import score_forecasts, score_labels, typical_change, unseen_from
from legato._forecasting.classification import Labelled
from legato._forecasting.forecast import Forecast, Intervals
from legato._forecasting.forecast_metrics import Scores
from legato._forecasting.network import Shape
from legato._forecasting.predictor import Predictor
from legato._forecasting.task import Task
from legato._models.loading import load_model
from legato._models.saving import set_training_record, training_record
from legato._platform.checks import check_count
from legato._series.reading import read
from legato._series.sequences import Sequences
from legato._streams.sampling import sample

FORMAT = "legato.trained.1"
NEEDED = {"read", "season", "label_counts", "seen"}  # of what is known


@dataclass(frozen=True, eq=False)
class Trained(Predictor):
    """A model, its task, and what it was trained on.

    Attributes:
        known: what it was trained on and how that went, as JSON takes it.
    """

    known: dict[str, Any]

    def __repr__(self) -> str:
        targets = ", ".join(column.name for column in self.task.targets)
        return f"<Trained: {self.task.kind} {targets}, {self.shape.cell} of {self.shape.units}>"

    @property
    def scores(self) -> dict[str, Any]:
        """How it scored when it was trained, as ``Scores.as_numbers`` says it; empty if it did not.

        ``trained.scores["verdict"]`` is the sentence.
        """
        return self.known.get("scores", {})

    @property
    def is_text(self) -> bool:
        """Whether its labels are the characters of a text."""
        return self.task.kind == "generate" and self.task.targets[0].name == "character"

    # Files.

    def save(self, path) -> None:
        """Write the model and what it knows to one ``.keras`` file, whole or not at all.

        Raises:
            InputError: the path does not end in ``.keras``.
            OutputError: the folder is missing or cannot be written.
        """
        if Path(path).suffix != ".keras":
            raise InputError(f"{path} does not end in .keras, as the file of a model must.")
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
        """Open what ``save`` wrote.

        Raises:
            OutputError: there is no such file, or it cannot be read.
            InputError: it is no model, or a model that does not know what it was trained on.
        """
        model = load_model(path)
        told = training_record(model)
        if not told or told.get("format") != FORMAT:
            raise InputError(
                f"{path} is a model, but does not say what it was trained on: it was not saved by "
                "legato train or Trained.save, or was saved again by plain Keras. Open it with "
                "legato.load_model."
            )
        try:
            task, shape = Task.from_numbers(told["task"]), Shape(**told["shape"])
            pad, known = float(told["pad"]), dict(told["known"])
            missing = NEEDED - known.keys()
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(_altered(path, repr(error))) from error
        if missing:
            raise InputError(_altered(path, f"it lacks {', '.join(sorted(missing))}"))
        return cls(model, task, shape, pad, known)

    # Questions.

    def evaluate(self, data, *, fresh: bool = False, season: int | None = None) -> Scores:
        """Score it on what it was not trained on, beside baselines.

        Of sequences that it was trained on, what came after its training is scored; of others, all.

        Args:
            data: ``Sequences``, or what ``legato.read`` takes.
            fresh: begin the scored part with nothing remembered, instead of what came before.
            season: steps of a season, for the seasonal baseline; 0: none; default: as in training.

        Returns:
            ``ForecastScores`` or ``LabelScores``; ``print(scores.verdict)`` says it in a sentence.

        Raises:
            InputError: the data lack a column, or hold nothing that came after the training.

        Warns:
            UserWarning: some steps hold a label that was not learnt from; the first is named.
        """
        sequences = self.read(data)
        for note in self.task.unseen_labels(sequences):
            warnings.warn(note, stacklevel=2)
        begins = unseen_from(self.task, sequences, self.known["seen"])
        if fresh:
            sequences = sequences.between(begins, sequences.lengths)
            begins = 0 * sequences.lengths
        return self.score(sequences, begins, self.known["season"] if season is None else season)

    def score(self, sequences: Sequences, begins: np.ndarray, season: int | None) -> Scores:
        """Score it on each sequence from some step on, led there from the beginning.

        Args:
            sequences: the data.
            begins: (sequences,), the first step that is predicted and scored.
            season: steps of a season, or None.
        """
        if self.task.kind == "forecast":
            return score_forecasts(self, sequences, begins, season)
        return score_labels(self, sequences, begins, self.known["label_counts"])

    def forecast(self, data, steps: int | None = None) -> Forecast:
        """What comes after the end of each sequence.

        Args:
            data: ``Sequences``, or what ``legato.read`` takes: what has come so far.
            steps: how many steps ahead; default: the horizon. Beyond it, the model's own answers
                are fed in, which takes a model that answers all of its columns.

        Raises:
            InputError: it is no forecaster, cannot look so far ahead, or the data do not fit.
        """
        task = self._must("forecast")
        steps = task.horizon if steps is None else steps
        check_count("steps", steps, noun="a number of steps ahead")
        if steps > task.horizon and not task.feeds_itself:
            others = [each.name for each in task.inputs if each not in task.targets]
            raise InputError(
                f"{steps} steps ahead were asked for, but the model looks {task.horizon} ahead: to "
                f"go on it would need what {', '.join(others)} will be. Train with horizon={steps} "
                "(--horizon), or let every column be a target."
            )
        sequences = self.read(data, answered=False)
        found = self.ahead(self.inputs_of(sequences), sequences.lengths, steps)
        self._check_answered(sequences, found[:, 0, 0])
        ends = None
        if "intervals" in self.known:
            scale = typical_change(self.truth(sequences), sequences.lengths)
            ends = Intervals.from_numbers(self.known["intervals"]).around(found, scale)
        targets = tuple(column.name for column in task.targets)
        return Forecast.after(sequences, targets, found, ends)

    def generate(
        self,
        length: int = 200,
        *,
        prompt: str | list[str] = "",
        temperature: float = 1.0,
        seed: int | None = None,
    ) -> list[str]:
        """Labels that follow a prompt, each drawn as the model thinks likely and fed in again.

        Args:
            length: how many.
            prompt: what comes before: a text, whose characters are the labels, or a list of labels.
                Empty: the model's own most frequent label is its first.
            temperature: below 1 the likely becomes likelier, above 1 the unlikely; 0: always the
                likeliest.
            seed: of the draws.

        Returns:
            The labels, without the prompt; of text, ``"".join(...)`` is the text.

        Raises:
            InputError: it is no generator, or the prompt has a label it was not trained on.
        """
        task = self._must("generate")
        if len(task.inputs) > 1:
            others = [each.name for each in task.inputs if each not in task.targets]
            raise InputError(
                f"The model also takes {', '.join(others)}, which nobody would tell it while it "
                "generates. Train it on the labels alone (columns=)."
            )
        check_count("length", length)
        choose = sample(temperature, seed)
        known = task.targets[0].numbers or ()
        unknown = [label for label in prompt if label not in task.labels]
        if unknown:
            raise InputError(
                f"The prompt holds {unknown[0]!r}, which the model was not trained on. It knows "
                f"{', '.join(map(repr, task.labels[:12]))} …"
            )
        first = task.labels[int(np.argmax(self.known["label_counts"]))]
        places = [task.labels.index(label) for label in (prompt or [first])]
        stream = self.model.stream(**self.looks_back).warm([[known[place]] for place in places])
        if np.isnan(stream.answer).any():
            raise InputError(
                f"The prompt has {len(places)} labels, and the model needs {self.shape.steps} "
                "before it answers. Give a longer one."
            )
        drawn = stream.generate(length, choose, encode=lambda place: jnp.asarray(known)[place])
        return [task.labels[each] for each in drawn]

    def classify(self, data) -> Labelled:
        """The label of each sequence, or of each step, with its probability.

        Args:
            data: ``Sequences``, or what ``legato.read`` takes; the target's column may be missing.

        Raises:
            InputError: it is no classifier, or the data do not fit; a sequence is too short.
        """
        task = self._must("classify")
        sequences = self.read(data, answered=False)
        answers = self.answers(self.inputs_of(sequences), sequences.lengths)
        ends = sequences.offsets[1:] - 1
        self._check_answered(sequences, answers[ends, 0])
        at = ends if task.whole else np.arange(len(answers))
        return Labelled.of(sequences, task.labels, at, answers[at], task.whole)

    def read(self, data, answered: bool = True) -> Sequences:
        """Data with the columns the model was trained on.

        ``answered``: whether the targets must be there even where the model does not take them.
        """
        if isinstance(data, Sequences):
            return data
        kinds = {each.name: each.is_numeric for each in self.task.inputs}
        if answered:
            kinds |= {each.name: each.is_numeric for each in self.task.targets}
        how = self.known["read"]
        if [*kinds] == ["character"] and not (how["group"] or how["time"] or how["columns"]):
            return read(data)
        labels = [name for name, is_numeric in kinds.items() if not is_numeric]
        return read(data, **{**how, "categorical": labels, "columns": [*kinds]})

    def _check_answered(self, sequences: Sequences, answers: np.ndarray) -> None:
        """Raise an InputError if a sequence has no answer at its end: (sequences,), NaN if none."""
        if np.isnan(answers).any():
            short = int(np.argmax(np.isnan(answers)))
            raise InputError(
                f"Sequence {sequences.names[short]!r} has {sequences.lengths[short]} steps, and "
                f"the model needs {self.shape.steps} before it answers. Leave out such sequences."
            )

    def _must(self, kind: str) -> Task:
        """The task, if it is of a kind."""
        if self.task.kind != kind:
            raise InputError(
                f"The model was trained to {self.task.kind}, not to {kind}: use "
                f"{self.task.kind}, or train another with task={kind!r} (--task)."
            )
        return self.task


def _altered(path, how: str) -> str:
    return (
        f"{path} says of its training what cannot be read ({how}): it was altered, or written by "
        "another version. Use a file as legato wrote it, or train again."
    )
