"""Sections of the page on a trained model: learning curves, influence, states, what was chosen."""

from typing import Any

from legato import LegatoError, Sequences, Trained
from legato._platform.output_streams import make_printable
from legato._platform.wording import counted, listed
from legato.report import _trained_page_text
from legato.report._learning_panel import learning_key, learning_panel
from legato.report._page_sections import AcrossFigure, Section, as_markup, page_figure
from legato.report._reach_panel import reach_panel, try_reaches
from legato.report._state_panel import states_panel, trace_states, wide_states
from legato.report._stretch_panel import measure_stretches, stretch_panel
from legato.report._trained_page_text import PageTable
from legato.report._trained_text import summary_lines

MAX_TARGETS = 3  # whose members are shown


def learning_section(trained: Trained) -> Section | None:
    """Learning curves of each training; None if nothing was trained by epochs."""
    training = trained.known["training"]
    courses = {
        "On all data": training["course"],
        "Without the scored part": training.get("scored"),
        "To choose the epochs": training.get("trial"),
    }
    if "scored" not in training:
        courses = {"Training": courses.pop("On all data"), **courses}
    histories = {
        title: course["history"]
        for title, course in courses.items()
        if course is not None and course["history"].get("loss")
    }
    if not histories:
        return None
    panels = [
        learning_panel(title, history, f"learning-{at}")
        for at, (title, history) in enumerate(histories.items())
    ]
    lead = "The loss by epoch, on a logarithmic scale."
    key = learning_key([*histories.values()])
    return Section("learning", "Learning", (lead,), key, figures=tuple(map(page_figure, panels)))


def influence_section(trained: Trained, sequences: Sequences) -> Section:
    """How far back the predictions look, or why that is not known."""
    title = "Influence"
    if trained.task.whole and trained.shape.framing == "ensemble":
        return _stretches_section(trained, sequences, title)
    reaches = try_reaches(trained, sequences)
    if isinstance(reaches, str):
        return Section("influence", title, notes=(reaches,))
    first = next(iter(reaches.values()))
    several = len(reaches) > 1
    lead = (
        "How much the predictions change with each step before, by differentiation, in "
        "standard deviations of the inputs: the mean of "
        f"{counted(first.predictions, 'prediction')}, and a band of their range.",
        *(f"Of {name}, {each.sentence}" for name, each in reaches.items()),
    )
    notes = ()
    if trained.task.known:
        notes = (f"What is known ahead ({listed(trained.task.known)}) is held as it is.",)
    if first.is_cut:
        notes = ("The network carries its state: earlier steps may have an influence too.",)
    panel = reach_panel(reaches, trained.known["season"])
    key = tuple(zip(("cool", "warm"), reaches, strict=False)) if several else ()
    return Section("influence", title, lead, key, figures=(page_figure(panel),), notes=notes)


def _stretches_section(trained: Trained, sequences: Sequences, title: str) -> Section:
    """Which part of a sequence decides its label, or why that is not known."""
    try:
        found = measure_stretches(trained, sequences)
    except LegatoError as error:
        return Section("influence", title, notes=(str(error),))
    lead = (
        "How much the probabilities change if a stretch of a sequence is replaced by a straight "
        f"line: the mean of {counted(found.sequences, 'sequence')}, and a band of their range.",
        found.sentence,
    )
    figures = (page_figure(stretch_panel(found)),)
    return Section("influence", title, lead, figures=figures)


def states_section(trained: Trained, sequences: Sequences) -> Section:
    """The states along the series, or why there are none."""
    try:
        trace = trace_states(trained, sequences)
    except LegatoError as error:
        return Section("states", "States", notes=(str(error),))
    column = next(
        (each.name for each in trained.task.inputs if each.is_numeric),
        trained.task.inputs[0].name,
    )
    panel = states_panel(sequences, trace, column)
    how = "carried from step to step" if trace.is_carried else "at the end of each window"
    lead = (
        f"The output of each recurrent layer after every step, {how}. A row is a unit, from "
        "the one that falls most as the series above rises to the one that rises most with it.",
    )
    wide, narrow = wide_states(panel), panel
    across = AcrossFigure("", as_markup(wide), as_markup(narrow))
    return Section("states", "States", lead, across=(across,))


def choice_section(trained: Trained) -> Section:
    """Members and weights, the season, the options, and how the model was trained."""
    known = trained.known
    lines = [each for each in summary_lines(trained) if each[0] not in ("data", "note")]
    facts = [
        *lines,
        ("season", _trained_page_text.describe_season(known)),
        ("options", _trained_page_text.describe_options(known)),
    ]
    found = known["training"]["course"].get("ensemble")
    tables, folded, lead = [], [], ()
    if found is not None:
        of_members = ("weights", "backtest", "members")
        facts = [each for each in facts if not each[0].startswith(of_members)]
        lead, tables, folded = _members(found)
    facts = [(name, make_printable(text)) for name, text in facts]
    return Section(
        "choice",
        "What was chosen, and why",
        lead,
        facts=tuple(facts),
        tables=tuple(tables),
        folded=tuple(each for each in folded if each.rows),
    )


def _members(
    found: dict[str, Any],
) -> tuple[tuple[str, ...], list[PageTable], list[PageTable]]:
    """Why the members of an ensemble were chosen: a sentence, their tables, and of the others."""
    if "targets" not in found:
        lead = (
            "Each member labelled sequences that it had not learnt from, "
            f"{counted(found['held_out'], 'sequence')} in all; the weights are those with "
            "which their probabilities are multiplied.",
        )
        return lead, [_trained_page_text.label_members_table(found)], []
    lead = (
        "Each member forecast the last part of the training data from "
        f"{counted(found['origins'], 'origin')}; the weights minimize the error of their "
        "mean, and members of little weight are left out.",
    )
    pairs = map(_trained_page_text.members_tables, found["targets"][:MAX_TARGETS])
    tables, folded = map(list, zip(*pairs, strict=True))
    return lead, tables, folded
