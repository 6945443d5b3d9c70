"""One page that tells what six networks learnt, and its pictures as files.

The page is a single file that loads nothing: styles, pictures and numbers stand in it, there is no
script, and what comes from data is escaped. Pictures are drawn once, for the page as SVG that takes
the page's colours, for files on white.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from legato._platform.atomic_files import write_whole
from legato.alphabet import Answer, Look, Outcome
from legato.report import _inspection_figures as insides
from legato.report import _network_figures as figures
from legato.report import _page_text as say
from legato.report._inline_svg import inline_svg
from legato.report._network_tables import by_network
from legato.report._panels import COLOURS, Panel, write_sheet
from legato.report._result_files import versions
from legato.report._strip_plot import strips, told_of

PAGE = "alphabet.html"


class Shown(NamedTuple):
    """A picture on the page, and what stands below it."""

    title: str
    svg: Markup
    notes: tuple[str, ...] = ()


class Panels(NamedTuple):
    """All pictures, in rows of a kind."""

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
    """Write ``alphabet.html`` and its pictures as PNG files.

    Args:
        folder: an existing one.
        outcomes: of one network or several, under one seed or several; those of a network beside
            each other.
        looks: inside some of them; ``alphabet.look`` makes one.
        answers: to questions.
        about: what else shall stand at the end, such as the command and how long it took.

    Returns:
        The paths: first the pictures, then the page, each whole or as it was.

    Raises:
        legato.OutputError: the folder cannot be written.
    """
    folder, panels = Path(folder), _panels(outcomes, looks, answers)
    text = _page(panels, outcomes, looks, answers, about or {})
    drawn = [each for each in panels.questions if each is not None]
    sheets = [*panels[:4], drawn]
    written = [
        write_sheet(folder / f"{name}.png", sheet)
        for name, sheet in zip(Panels._fields, sheets, strict=True)
        if sheet
    ]
    page = write_whole(folder / PAGE, lambda at: at.write_text(text, encoding="utf-8"))
    return [*written, page]


def _panels(outcomes, looks: Sequence[Look], answers: Sequence[Answer]) -> Panels:
    networks = by_network(outcomes)
    ends = insides.common_scale(looks) if looks else (1.0, 1.0)
    return Panels(
        [figures.curves(runs) for runs in networks],
        [figures.answers(runs) for runs in networks],
        [insides.influence(each, ends, say.flows(each)) for each in looks],
        [insides.traces(each, say.holds(each)) for each in looks],
        [
            strips(each, f"question-{at}") if each.found.groups else None
            for at, each in enumerate(answers, 1)
        ],
    )


def _page(panels: Panels, outcomes, looks, answers, about: Mapping[str, str]) -> str:
    """The page as HTML."""
    networks = by_network(outcomes)
    shown = _shown(panels, networks, looks)
    ends = insides.common_scale(looks) if looks else None
    return _template().render(
        colours=COLOURS,
        headline=say.headline(outcomes),
        several=len(outcomes) > len(networks),
        rows=say.rows(outcomes),
        networks=[runs[0] for runs in networks],
        shown_epochs=figures.MOST_EPOCHS,
        shown=shown,
        scale=Markup(inline_svg(insides.scale(ends))) if ends else "",
        told=[
            {heading: say.replies(lines) for heading, lines in runs[0].answers.items()}
            for runs in networks
        ],
        questions=[
            _question(each, panel) for each, panel in zip(answers, panels.questions, strict=True)
        ],
        tally=say.tally(answers) if answers else "",
        signs=say.SIGNS,
        about={**about, "runs": say.seeds_of(outcomes), **versions()},
    )


def _shown(panels: Panels, networks, looks: Sequence[Look]) -> dict[str, list[Shown]]:
    """The pictures of a kind, each with what is seen in it."""
    notes = {
        "learning": [tuple(say.not_finite(runs)) for runs in networks],
        "answers": [() for _ in networks],
        "influence": [(say.flows(each),) for each in looks],
        "traces": [(say.holds(each),) for each in looks],
    }
    return {
        kind: [
            Shown(panel.title, Markup(inline_svg(panel)), note)
            for panel, note in zip(getattr(panels, kind), of_kind, strict=True)
        ]
        for kind, of_kind in notes.items()
    }


def _question(answer: Answer, panel: Panel | None) -> dict[str, Any]:
    """An answer as the page shows it."""
    return {
        "asked": answer.question,
        "found": answer.found,
        "quick": answer.quick,
        "seconds": f"{answer.seconds:.1f} s",
        "groups": [told_of(each, answer) for each in answer.found.groups],
        "comparisons": [str(each) for each in answer.found.comparisons],
        "svg": Markup(inline_svg(panel)) if panel else "",
    }


def _template():
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")
