"""Small plots of one width: each as a figure of its own for the page, or several on a sheet.

They use the named colours of ``COLOURS``, which the page replaces by others on a dark background.
Heat maps have colours that can be read on both.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure, FigureBase, SubFigure

from legato._platform.atomic_files import write_whole

COLOURS = {  # on a light background, on a dark one
    "ink": ("#1c2024", "#e6e8ea"),
    "muted": ("#5a636c", "#a2abb4"),
    "rule": ("#dcdcd7", "#343a41"),
    "cool": ("#2a6f97", "#74bbe3"),
    "warm": ("#b5482a", "#f0936e"),
    "ground": ("#fdfdfb", "#15181b"),
}
INK, MUTED, RULE, COOL, WARM, GROUND = (light for light, _ in COLOURS.values())
NO_VALUE = (0.5, 0.5, 0.5, 0.22)  # where there is no number, or exactly 0
_BLUE, _ORANGE = (0.22, 0.53, 0.78), (0.88, 0.42, 0.16)
PROBABILITY_COLOURS = LinearSegmentedColormap.from_list("shares", [(*_BLUE, 0), (*_BLUE, 1)])
PROBABILITY_COLOURS = PROBABILITY_COLOURS.with_extremes(bad=NO_VALUE)
SIGNED_COLOURS = LinearSegmentedColormap.from_list(
    "signed", [(*_BLUE, 1), (*_BLUE, 0), (*_ORANGE, 0), (*_ORANGE, 1)]
)
SIZE_COLOURS = LinearSegmentedColormap.from_list(
    "sizes", ["#3b6fd0", "#7a62cf", "#bb55a6", "#e8626f", "#f3934a", "#f5c04a"]
).with_extremes(bad=NO_VALUE)

WIDTH = 3.4  # inches: the width of a phone, where the text is still readable
TEXT, SMALL = 8.0, 7.5  # points
_TITLE = 0.35  # inches


class Panel(NamedTuple):
    """A small plot.

    Attributes:
        name: of letters, digits and hyphens.
        title: above the plot.
        description: what the plot shows, in words.
        height: in inches.
        draw: draws it into an empty figure.
        width: in inches.
    """

    name: str
    title: str
    description: str
    height: float
    draw: Callable[[FigureBase], object]
    width: float = WIDTH

    def as_figure(self) -> Figure:
        """The plot as a figure of its own, without its title."""
        fig = Figure(figsize=(self.width, self.height), layout="constrained")
        self.draw(fig)
        return fig


def draw_sheet(panels: Sequence[Panel], columns: int = 3) -> Figure:
    """One figure with several plots in rows, each below its title."""
    columns = max(1, min(columns, len(panels)))
    rows = [panels[at : at + columns] for at in range(0, len(panels), columns)]
    heights = [_TITLE + max(each.height for each in row) for row in rows]
    fig = Figure(figsize=(1.1 * WIDTH * columns, sum(heights)), layout="constrained")
    places = fig.subfigures(len(rows), columns, squeeze=False, height_ratios=heights, wspace=0.04)
    for row, height, across in zip(rows, heights, places, strict=True):
        for panel, place in zip(row, across, strict=False):
            _draw_with_title(_top_part(place, _TITLE + panel.height, height), panel)
    return fig


def _top_part(place: SubFigure, wanted: float, height: float) -> SubFigure:
    """The upper part of a subfigure, of the wanted height."""
    if wanted >= height:
        return place
    return place.subfigures(2, 1, squeeze=False, height_ratios=(wanted, height - wanted))[0, 0]


def _draw_with_title(place: SubFigure, panel: Panel) -> None:
    panel.draw(place)
    bold = {"fontsize": TEXT + 1, "fontweight": "bold", "parse_math": False}
    place.suptitle(panel.title, x=0.02, ha="left", **bold)


def write_sheet(path: Path, panels: Sequence[Panel], columns: int = 3) -> Path:
    """Write several plots as one PNG file, whole or not at all."""
    fig = draw_sheet(panels, columns)
    with matplotlib.rc_context({"savefig.facecolor": "white"}):
        return write_whole(path, lambda at: fig.savefig(at, dpi=150))


def width_of(fig: FigureBase) -> float:
    """The width of a figure or a subfigure in inches."""
    return float(fig.bbox.width / fig.get_dpi())  # pyrefly: ignore[missing-attribute]


def style_axes(axes: Axes, *sides: str) -> None:
    """Set the page's colours and sizes, and lines on these sides; without any, no ticks."""
    axes.tick_params(
        "both", which="both", labelsize=SMALL, color=MUTED, labelcolor=MUTED, length=2, width=0.6
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_offset_text().set(fontsize=SMALL, color=MUTED)  # such as 1e12
    for side, spine in axes.spines.items():
        spine.set(color=MUTED, linewidth=0.6, visible=side in sides)
    if not sides:
        axes.tick_params("both", which="both", length=0)


def label_axes(axes: Axes, across: str = "", up: str = "") -> None:
    """Label the x axis and the y axis."""
    for label, words in ((axes.set_xlabel, across), (axes.set_ylabel, up)):
        label(words, fontsize=SMALL, color=MUTED, labelpad=2, parse_math=False)


def title_axes(axes: Axes, left: str, right: str = "", colour: str = INK) -> None:
    """Titles above the axes, on the left and on the right."""
    axes.set_title(left, loc="left", fontsize=TEXT, color=colour, pad=4, parse_math=False)
    axes.set_title(right, loc="right", fontsize=SMALL, color=MUTED, pad=4, parse_math=False)


def label_ticks(axis, names: Sequence[str], every: int = 2) -> None:
    """Label every second tick, or every so many, by name."""
    axis.set_ticks(range(0, len(names), every), names[::every])
