"""The pages' templates: rendering them, and what they take of a plot.

A page is a single file that loads nothing: it holds its styles, plots and numbers, and no script.
Text from data is escaped.
"""

from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from legato.report._panels import COLOURS


class PageFigure(NamedTuple):
    """A plot on a page, and the notes below it."""

    title: str
    svg: Markup
    notes: tuple[str, ...] = ()


def render_page(template: str, **values: Any) -> str:
    """A page as HTML, from a template of this folder."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(colours=COLOURS, **values)
