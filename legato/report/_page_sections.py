"""Sections of the page on a trained model: what its template takes."""

from typing import NamedTuple

from markupsafe import Markup

from legato._platform.output_streams import make_printable
from legato.report._inline_svg import inline_svg
from legato.report._page_rendering import PageFigure
from legato.report._panels import Panel
from legato.report._series_panels import in_two_widths
from legato.report._trained_page_text import PageTable


class AcrossFigure(NamedTuple):
    """A plot that is drawn for wide screens and for narrow ones."""

    title: str
    wide: Markup
    narrow: Markup
    notes: tuple[str, ...] = ()


class Section(NamedTuple):
    """A section of the page; what it lacks is left out."""

    name: str
    title: str
    lead: tuple[str, ...] = ()
    key: tuple[tuple[str, str], ...] = ()
    across: tuple[AcrossFigure, ...] = ()
    figures: tuple[PageFigure, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    tables: tuple[PageTable, ...] = ()
    sample: str = ""
    folded: tuple[PageTable, ...] = ()
    notes: tuple[str, ...] = ()


def page_figure(panel: Panel) -> PageFigure:
    return PageFigure(make_printable(panel.title), as_markup(panel))


def across_figure(panel: Panel) -> AcrossFigure:
    wide, narrow = in_two_widths(panel)
    return AcrossFigure(panel.title, as_markup(wide), as_markup(narrow))


def as_markup(panel: Panel) -> Markup:
    return Markup(inline_svg(panel))
