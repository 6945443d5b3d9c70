"""The HTML page on one's own model: data, scores, forecasts, errors, influence, states, choices.

A single file that loads nothing, of the same template and style as the page on the alphabet. All
numbers are those of ``Trained.diagnose``; text from data is escaped.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from legato import Forecast, LegatoError, OutputError, Trained
from legato._platform.atomic_files import write_whole
from legato._platform.output_streams import make_printable
from legato._platform.wording import counted
from legato.report import _label_panels, _trained_page_text
from legato.report._model_sections import (
    choice_section,
    influence_section,
    learning_section,
    states_section,
)
from legato.report._page_rendering import render_page
from legato.report._page_sections import Section, across_figure, page_figure
from legato.report._residual_panels import lead_panel, residual_panels
from legato.report._result_files import package_versions
from legato.report._series_panels import (
    ahead_panel,
    backtest_panel,
    data_panel,
    origin_panel,
    spread,
)
from legato.report._trained_page_text import PageTable, relative_error

MAX_SEQUENCES, MAX_TARGETS, MAX_INPUTS = 3, 3, 4  # that are drawn
MAX_ORIGINS = 6  # forecasts that are drawn one by one
SAMPLE, TEMPERATURE = 400, 0.7  # characters or labels of a generated sample
GENERATOR = b'<meta name="generator" content="legato">'  # marks a page that may be replaced
_DATA_KEY = [("ink", "value"), ("shade", "scored part"), ("warm", "filled in")]
_FORECAST_KEY = [("ink", "what came"), ("cool", "forecast"), ("band", "80 % and 95 % interval")]


def write_trained_page(
    trained: Trained,
    data: Any,
    path: str | os.PathLike,
    about: dict[str, str] | None = None,
    progress: Callable[[str], None] = lambda message: None,
) -> Path:
    """Write the page on a trained model and data.

    Args:
        trained: the model.
        data: ``Sequences``, or what ``legato.read`` takes.
        path: of the page; ends in ``.html``. An earlier page is replaced.
        about: further entries of the last section by name, such as the command.
        progress: called with what is being done.

    Returns:
        The path; the file is written whole or not at all.

    Raises:
        legato.InputError: the data do not fit the model.
        legato.OutputError: the file is there and is no such page, or cannot be written.

    Examples:
        >>> import legato
        >>> wave = {"load": [1.0, 2.0, 4.0, 3.0] * 9}
        >>> trained = legato.train(wave, units=2, epochs=1, verbose=0)
        >>> legato.report.write_trained_page(trained, wave, "wave.html").name
        'wave.html'
    """
    path = Path(path)
    check_replaceable(path)
    text = _TrainedPage(trained, data, progress).render(about or {})
    return write_whole(path, lambda at: at.write_text(text, encoding="utf-8"))


def check_replaceable(path: Path) -> None:
    """Check that a path is free, or that of a page that legato wrote.

    Raises:
        OutputError: another file is there, or it cannot be read.
    """
    if not path.exists():
        return
    try:
        with path.open("rb") as file:
            is_page = GENERATOR in file.read(4096)
    except OSError as error:
        raise OutputError(f"{path} cannot be replaced ({error.strerror}). Name another.") from error
    if not is_page:
        raise OutputError(
            f"{path} is there, and is no page that legato wrote. Name another file, or remove it."
        )


class _TrainedPage:
    """Collects the sections of the page."""

    def __init__(self, trained: Trained, data: Any, progress: Callable[[str], None]):
        self.trained, self.progress = trained, progress
        progress("comparing the model with the data")
        sequences, self.future = trained.read_with_future(data, answered=True)
        sequences = trained.covariates.with_leads(sequences)
        self.found = trained.diagnose(sequences)
        self.sequences = sequences
        self.filled = sequences.filled_in(each.name for each in sequences.columns)
        self.is_forecast = trained.task.kind == "forecast"
        self.targets = [column.name for column in trained.task.targets][:MAX_TARGETS]
        self.chosen = self._choose_sequences()

    def render(self, about: dict[str, str]) -> str:
        """The page as HTML."""
        sections: list[Section | None] = [self._score(), self._data()]
        if self.is_forecast:
            sections += [self._backtest(), self._ahead(), self._residuals()]
        elif self.found.scores:
            sections += [self._answers()]
        if self.trained.task.kind == "generate":
            sections += [self._sample()]
        self.progress("learning curves")
        sections.append(learning_section(self.trained))
        self.progress("influence")
        sections.append(influence_section(self.trained, self.sequences))
        self.progress("states")
        sections += [states_section(self.trained, self.sequences), choice_section(self.trained)]
        known, found = self.trained.known, self.found
        verdict = found.scores.get("verdict", "")
        lead = [verdict or "There is no score.", self._scored_by()]
        if not found.is_same:
            lead.append(found.relation)
        made = {"trained with": ", ".join(" ".join(each) for each in known["versions"].items())}
        return render_page(
            "trained_page.html",
            title=_trained_page_text.page_title(self.trained),
            lead=[each for each in lead if each],
            sections=[each for each in sections if each is not None],
            about={**about, **made, **package_versions()},
        )

    def _scored_by(self) -> str:
        """A sentence on which model the scores are of, and on which data."""
        found, known = self.found, self.trained.known
        if not found.scores:
            return ""
        if not found.is_recorded:
            return "The score is of this model, on the steps here that it did not learn from."
        if known["data"]["split"] == "cross-validation":
            return (
                "The score is that of a cross-validation: each scored sequence was labelled by "
                "members that had not learnt from it; then this model learnt from all of the data."
            )
        if known.get("refit"):
            return (
                "The score is that of the training, of a model that had not learnt from the "
                "scored part; then this model learnt from all of the data, with the same options."
            )
        return "The score is that of the training."

    def _choose_sequences(self) -> list[tuple[int, str]]:
        """The sequences that are drawn: all of a few, else the worst, the median and the best."""
        found, count = self.found, len(self.sequences)
        if count <= MAX_SEQUENCES:
            return [(at, "") for at in range(count)]
        if found.errors is None or found.backtest is None:
            return [(at, "") for at in spread(np.arange(count), MAX_SEQUENCES)]
        model, best = (
            found.errors.by_sequence[name] for name in ("model", found.scores["best_baseline"])
        )
        drawn = set(found.backtest.sequence.tolist())
        order = sorted(drawn & model.keys(), key=lambda at: relative_error(model[at], best[at]))
        places = {0: "the best", len(order) // 2: "the median", len(order) - 1: "the worst"}
        return [(order[at], words) for at, words in sorted(places.items(), reverse=True)]

    def _title_of(self, sequence: int, why: str, column: str) -> str:
        """A plot's title: the column, and the sequence where there are several."""
        alone = self.is_forecast and len(self.targets) == 1 and len(self.sequences) > 1
        parts = [] if alone else [column]
        if len(self.sequences) > 1:
            parts.append(self.sequences.names[sequence] + (f", {why}" if why else ""))
        return make_printable(" of ".join(parts))

    # Sections.

    def _score(self) -> Section:
        self.progress("scores")
        found = self.found
        if not found.scores:
            return Section("score", "Score", notes=found.notes)
        tables = [_trained_page_text.scores_table(found.scores)]
        figures, folded, lead = [], [], []
        if self.is_forecast:
            figures.append(page_figure(lead_panel(found.scores)))
            folded.append(_trained_page_text.lead_table(found.scores))
            by_sequence = _trained_page_text.sequences_table(found)
            if by_sequence is not None:
                lead.append(by_sequence[0])
                tables.append(by_sequence[1])
        key = (("cool", "model"), ("dash", found.scores["best_baseline"])) if figures else ()
        return Section(
            "score",
            "Score",
            tuple(lead),
            key,
            figures=tuple(figures),
            tables=tuple(tables),
            folded=tuple(folded),
            notes=found.notes,
        )

    def _data(self) -> Section:
        self.progress("data")
        found, task = self.found, self.trained.task
        across, names = [], [each.name for each in task.inputs if each.is_numeric]
        drawn = self.targets if self.is_forecast else names[:1]
        for sequence, why in self.chosen:
            own = slice(*self.sequences.offsets[sequence : sequence + 2])
            for column in drawn:
                name = f"data-{sequence}-{drawn.index(column)}"
                panel = data_panel(found, sequence, column, self.filled[own], name)
                title = self._title_of(sequence, why, column)
                across.append(across_figure(panel._replace(title=title)))
        others = [name for name in names if name not in drawn][:MAX_INPUTS]
        figures = []
        for at, column in enumerate(others):
            sequence, _ = self.chosen[0]
            own = slice(*self.sequences.offsets[sequence : sequence + 2])
            panel = data_panel(found, sequence, column, self.filled[own], f"input-{at}")
            figures.append(page_figure(panel))
        notes = list(self.sequences.notes)
        filled = int(self.filled.sum())
        if filled:
            notes.append(f"{counted(filled, 'step')} had a value that was filled in: marked.")
        return Section(
            "data",
            "Data",
            (_trained_page_text.describe_extent(self.sequences), found.relation),
            tuple(_DATA_KEY if filled else _DATA_KEY[:2]) if across else (),
            tuple(across),
            tuple(figures),
            tables=(_trained_page_text.columns_table(self.sequences),),
            notes=tuple(notes),
        )

    def _backtest(self) -> Section | None:
        found = self.found
        if found.backtest is None:
            return None
        self.progress("forecasts of the backtest")
        best = found.scores["best_baseline"]
        across, figures = [], []
        pairs = [
            (sequence, why, at, column)
            for sequence, why in self.chosen
            for at, column in enumerate(self.targets)
            if (found.backtest.sequence == sequence).any()
        ]
        each_of = max(2, MAX_ORIGINS // max(len(pairs), 1))
        for sequence, why, at, column in pairs:
            title = self._title_of(sequence, why, column)
            panel = backtest_panel(found, sequence, at, column, f"backtest-{sequence}-{at}")
            across.append(across_figure(panel._replace(title=title)))
            own = np.flatnonzero(found.backtest.sequence == sequence)
            for origin in spread(own, each_of):
                panel = origin_panel(found, origin, at, column, best, f"origin-{origin}-{at}")
                words = f"{title} {panel.title}" if len(pairs) > 1 else panel.title
                figures.append(page_figure(panel._replace(title=words)))
        notes = [_trained_page_text.describe_coverage(found)]
        if notes[0] and found.is_recorded:
            notes.append(
                "The intervals were made from these same errors, so that is no test of them."
            )
        horizon = counted(found.backtest.horizon, "step")
        lead = (
            f"Forecasts of {horizon} from the time steps of the scored part, each with all values "
            "before it known and none after.",
        )
        key = (*_FORECAST_KEY, ("dash", best))
        return Section(
            "backtest",
            "Forecasts and what came",
            lead,
            key,
            tuple(across),
            tuple(figures),
            notes=tuple(each for each in notes if each),
        )

    def _ahead(self) -> Section:
        self.progress("the forecast")
        try:
            forecast: Forecast = self.trained.forecast(self.sequences, future=self.future)
        except LegatoError as error:
            return Section("ahead", "What comes next", notes=(str(error),))
        across = [
            across_figure(
                ahead_panel(forecast, sequence, at, f"ahead-{sequence}-{at}")._replace(
                    title=self._title_of(sequence, why, column)
                )
            )
            for sequence, why in self.chosen
            for at, column in enumerate(self.targets)
        ]
        folded = _trained_page_text.ahead_table(forecast, [at for at, _ in self.chosen])
        key = (("ink", "value"), *_FORECAST_KEY[1:])
        return Section(
            "ahead",
            "What comes next",
            key=key,
            across=tuple(across),
            folded=(folded,),
            notes=forecast.notes,
        )

    def _residuals(self) -> Section | None:
        if self.found.backtest is None or self.found.errors is None:
            return None
        self.progress("errors")
        scale, lead = None, "Actual minus forecast, in the unit of the target."
        if len(self.sequences) > 1:
            scale = _usual_changes(self.sequences, self.targets)
            lead = (
                "Actual minus forecast of all sequences, each divided by its mean absolute change "
                "from step to step."
            )
        panels = []
        for at, column in enumerate(self.targets):
            own = None if scale is None else scale[:, at]
            for panel in residual_panels(self.found, at, f"errors-{at}", own):
                of = f"{make_printable(column)}: {panel.title}" if len(self.targets) > 1 else ""
                panels.append(panel._replace(title=of or panel.title))
        return Section("errors", "Errors", (lead,), figures=tuple(map(page_figure, panels)))

    def _answers(self) -> Section:
        self.progress("labels")
        found, task = self.found, self.trained.task
        panels = [
            _label_panels.confusion_panel(found.scores),
            _label_panels.calibration_panel(found.scores),
        ]
        numeric = [each.name for each in task.inputs if each.is_numeric]
        lead, notes, across, key = [], [], [], ()
        if found.labels is not None and numeric and task.whole:
            lead = ["Below, some sequences of each class from the scored part."]
            panels += _label_panels.example_panels(found, task, numeric[0])
            key = (("cool", "right label"), ("warm", "wrong label"))
        elif found.labels is not None and numeric:
            across = [across_figure(_label_panels.steps_panel(found, task, numeric[0]))]
            key = (("ink", numeric[0]), ("warm", "step with a wrong label"))
        if panels[0] is None:
            notes.append(f"There are {len(task.labels):,} classes, too many for a matrix.")
        rows = _label_panels.recall_rows(found.scores)
        recall = PageTable("Share of each class that was found", ("class", "there", "found"), rows)
        return Section(
            "answers",
            "Labels",
            tuple(lead),
            key,
            across=tuple(across),
            figures=tuple(page_figure(each) for each in panels if each is not None),
            folded=(recall,),
            notes=tuple(notes),
        )

    def _sample(self) -> Section:
        self.progress("a sample")
        try:
            labels = self.trained.generate(SAMPLE, temperature=TEMPERATURE, seed=0)
        except LegatoError as error:
            return Section("sample", "A sample", notes=(str(error),))
        text = "".join(labels) if self.trained.is_text else " ".join(labels)
        lead = f"Generated from the most frequent label, temperature {TEMPERATURE}, seed 0."
        return Section("sample", "A sample", (lead,), sample=make_printable(text))


def _usual_changes(sequences, targets: list[str]) -> np.ndarray:
    """The mean absolute change from step to step, (sequences, targets); 1 where it is 0."""
    places = [sequences.place(name) for name in targets]
    found = [
        np.abs(np.diff(sequences.of(at)[:, places], axis=0)).mean(0)
        if sequences.lengths[at] > 1
        else np.ones(len(places))
        for at in range(len(sequences))
    ]
    return np.where(np.array(found) > 0, found, 1.0)
