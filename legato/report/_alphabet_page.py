"""The HTML page on the six networks, and its plots as PNG files.

The page is a single file that loads nothing: it holds its styles, plots and numbers, and no script.
Text from data is escaped. Each plot is drawn as SVG in the page's colours, and as PNG on white.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from legato._platform.atomic_files import write_whole
from legato.alphabet import Answer, Look, Outcome
from legato.report import _alphabet_page_text, _inspection_figures, _network_figures
from legato.report._inline_svg import inline_svg
from legato.report._network_tables import group_by_network
from legato.report._page_rendering import PageFigure, render_page
from legato.report._panels import Panel, write_sheet
from legato.report._result_files import package_versions
from legato.report._strip_plot import describe_group, strip_panel

PAGE = "alphabet.html"


class PagePanels(NamedTuple):
    """All plots, by section of the page."""

    learning: list[Panel]
    answers: list[Panel]
    influence: list[Panel]
    traces: list[Panel]
    questions: list[Panel | None]


def write_page(
    folder: str | os.PathLike,
    outcomes: Sequence[Outcome],
    looks: Sequence[Look] = (),
    answers: Sequence[Answer] = (),
    about: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write ``alphabet.html`` and its plots as PNG files.

    Args:
        folder: an existing folder.
        outcomes: of one network or several, under one seed or several; those of one network are
            adjacent.
        looks: influence and states of some networks, from ``alphabet.look``.
        answers: to questions, from ``alphabet.answer``.
        about: further entries of the last section by name, such as the command and its duration.

    Returns:
        The paths of the plots, then that of the page; each file is written whole or not at all.

    Raises:
        legato.OutputError: the folder cannot be written.

    Examples:
        >>> from dataclasses import replace
        >>> from legato import alphabet, report
        >>> network = replace(alphabet.NETWORKS[3], epochs=2)  # of 5,000
        >>> model, outcome = alphabet.train(network)
        >>> [path.name for path in report.write_page(".", [outcome])]
        ['learning.png', 'answers.png', 'alphabet.html']
    """
    folder, panels = Path(folder), _panels(outcomes, looks, answers)
    text = _page(panels, outcomes, looks, answers, about or {})
    fig = [each for each in panels.questions if each is not None]
    sheets = [*panels[:4], fig]
    written = [
        write_sheet(folder / f"{name}.png", sheet)
        for name, sheet in zip(PagePanels._fields, sheets, strict=True)
        if sheet
    ]
    page = write_whole(folder / PAGE, lambda at: at.write_text(text, encoding="utf-8"))
    return [*written, page]


def _panels(outcomes, looks: Sequence[Look], answers: Sequence[Answer]) -> PagePanels:
    networks = group_by_network(outcomes)
    ends = _inspection_figures.common_scale(looks) if looks else (1.0, 1.0)
    return PagePanels(
        [_network_figures.learning_panel(runs) for runs in networks],
        [_network_figures.predictions_panel(runs) for runs in networks],
        [
            _inspection_figures.influence_panel(
                each, ends, _alphabet_page_text.describe_influence(each)
            )
            for each in looks
        ],
        [
            _inspection_figures.states_panel(each, _alphabet_page_text.describe_states(each))
            for each in looks
        ],
        [
            strip_panel(each, f"question-{at}") if each.found.groups else None
            for at, each in enumerate(answers, 1)
        ],
    )


def _page(panels: PagePanels, outcomes, looks, answers, about: Mapping[str, str]) -> str:
    """The page as HTML."""
    networks = group_by_network(outcomes)
    shown = _page_figures(panels, networks, looks)
    ends = _inspection_figures.common_scale(looks) if looks else None
    return render_page(
        "alphabet_page.html",
        headline=_alphabet_page_text.headline(outcomes),
        several=len(outcomes) > len(networks),
        rows=_alphabet_page_text.table_rows(outcomes),
        networks=[runs[0] for runs in networks],
        shown_epochs=_network_figures.MAX_EPOCHS,
        shown=shown,
        scale=Markup(inline_svg(_inspection_figures.scale_panel(ends))) if ends else "",
        demonstrations=[
            {
                heading: _alphabet_page_text.check_predictions(lines)
                for heading, lines in runs[0].answers.items()
            }
            for runs in networks
        ],
        questions=[
            _question_facts(each, panel)
            for each, panel in zip(answers, panels.questions, strict=True)
        ],
        tally=_alphabet_page_text.count_verdicts(answers) if answers else "",
        signs=_alphabet_page_text.VERDICT_SIGNS,
        about={**about, "runs": _alphabet_page_text.format_seeds(outcomes), **package_versions()},
    )


def _page_figures(
    panels: PagePanels, networks, looks: Sequence[Look]
) -> dict[str, list[PageFigure]]:
    """The plots of each section, with notes on what they show."""
    notes = {
        "learning": [tuple(_alphabet_page_text.describe_not_finite(runs)) for runs in networks],
        "answers": [() for _ in networks],
        "influence": [(_alphabet_page_text.describe_influence(each),) for each in looks],
        "traces": [(_alphabet_page_text.describe_states(each),) for each in looks],
    }
    return {
        kind: [
            PageFigure(panel.title, Markup(inline_svg(panel)), note)
            for panel, note in zip(getattr(panels, kind), of_kind, strict=True)
        ]
        for kind, of_kind in notes.items()
    }


def _question_facts(answer: Answer, panel: Panel | None) -> dict[str, Any]:
    """The values that the template takes of an answer."""
    return {
        "question": answer.question,
        "found": answer.found,
        "quick": answer.quick,
        "seconds": f"{answer.seconds:.1f} s",
        "groups": [describe_group(each, answer) for each in answer.found.groups],
        "comparisons": [each.as_numbers()["sentence"] for each in answer.found.comparisons],
        "svg": Markup(inline_svg(panel)) if panel else "",
    }
