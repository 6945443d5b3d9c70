"""Small pictures of one width: each by itself inside a page, or many on a sheet.

They are drawn in the colours of ``COLOURS``, which have a name each: a page that is read on a dark
ground gives the names other colours. Heat maps are drawn in colours that read on both.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure, FigureBase, SubFigure

from legato._platform.atomic_files import write_whole

COLOURS = {  # on a light ground, on a dark one
    "ink": ("#1c2024", "#e6e8ea"),
    "muted": ("#5a636c", "#a2abb4"),
    "rule": ("#dcdcd7", "#343a41"),
    "cool": ("#2a6f97", "#74bbe3"),
    "warm": ("#b5482a", "#f0936e"),
    "ground": ("#fdfdfb", "#15181b"),
}
INK, MUTED, RULE, COOL, WARM, GROUND = (light for light, _ in COLOURS.values())
NOTHING = (0.5, 0.5, 0.5, 0.22)  # where there is no number, or exactly 0
_BLUE, _ORANGE = (0.22, 0.53, 0.78), (0.88, 0.42, 0.16)
SHARES = LinearSegmentedColormap.from_list("shares", [(*_BLUE, 0), (*_BLUE, 1)])
SHARES = SHARES.with_extremes(bad=NOTHING)
SIGNED = LinearSegmentedColormap.from_list(
    "signed", [(*_BLUE, 1), (*_BLUE, 0), (*_ORANGE, 0), (*_ORANGE, 1)]
)
SIZES = LinearSegmentedColormap.from_list(
    "sizes", ["#3b6fd0", "#7a62cf", "#bb55a6", "#e8626f", "#f3934a", "#f5c04a"]
).with_extremes(bad=NOTHING)

WIDTH = 3.4  # inches: a phone's, with text that can be read there
TEXT, SMALL = 8.0, 7.5  # points
_TITLE = 0.35  # inches


class Panel(NamedTuple):
    """A small picture.

    Attributes:
        name: of letters, digits and hyphens.
        title: what stands above it.
        told: what is seen, in words.
        height: in inches.
        draw: draws it into an empty figure.
    """

    name: str
    title: str
    told: str
    height: float
    draw: Callable[[FigureBase], object]

    def alone(self) -> Figure:
        """The picture by itself, without its title."""
        drawn = Figure(figsize=(WIDTH, self.height), layout="constrained")
        self.draw(drawn)
        return drawn


def sheet(panels: Sequence[Panel], columns: int = 3) -> Figure:
    """Pictures in rows, each below its title."""
    columns = max(1, min(columns, len(panels)))
    rows = [panels[at : at + columns] for at in range(0, len(panels), columns)]
    heights = [_TITLE + max(each.height for each in row) for row in rows]
    drawn = Figure(figsize=(1.1 * WIDTH * columns, sum(heights)), layout="constrained")
    places = drawn.subfigures(len(rows), columns, squeeze=False, height_ratios=heights, wspace=0.04)
    for row, height, across in zip(rows, heights, places, strict=True):
        for panel, place in zip(row, across, strict=False):
            _draw_below_title(_top(place, _TITLE + panel.height, height), panel)
    return drawn


def _top(place: SubFigure, wanted: float, height: float) -> SubFigure:
    """As much of a place, from above, as is wanted."""
    if wanted >= height:
        return place
    return place.subfigures(2, 1, squeeze=False, height_ratios=(wanted, height - wanted))[0, 0]


def _draw_below_title(place: SubFigure, panel: Panel) -> None:
    panel.draw(place)
    bold = {"fontsize": TEXT + 1, "fontweight": "bold", "parse_math": False}
    place.suptitle(panel.title, x=0.02, ha="left", **bold)


def write_sheet(path: Path, panels: Sequence[Panel], columns: int = 3) -> Path:
    """A sheet as a PNG file, whole or not at all."""
    drawn = sheet(panels, columns)
    with matplotlib.rc_context({"savefig.facecolor": "white"}):
        return write_whole(path, lambda at: drawn.savefig(at, dpi=150))


def tidy(axes: Axes, *sides: str) -> None:
    """Axes in the page's colours and sizes, lines on these sides; ticks if there are any."""
    axes.tick_params(
        "both", which="both", labelsize=SMALL, color=MUTED, labelcolor=MUTED, length=2, width=0.6
    )
    for side, spine in axes.spines.items():
        spine.set(color=MUTED, linewidth=0.6, visible=side in sides)
    if not sides:
        axes.tick_params("both", which="both", length=0)


def name_axes(axes: Axes, across: str = "", up: str = "") -> None:
    """What runs along them."""
    for label, words in ((axes.set_xlabel, across), (axes.set_ylabel, up)):
        label(words, fontsize=SMALL, color=MUTED, labelpad=2, parse_math=False)


def say_above(axes: Axes, left: str, right: str = "", colour: str = INK) -> None:
    """Words above axes, at either end."""
    axes.set_title(left, loc="left", fontsize=TEXT, color=colour, pad=4, parse_math=False)
    axes.set_title(right, loc="right", fontsize=SMALL, color=MUTED, pad=4, parse_math=False)


def name_places(axis, names: Sequence[str], every: int = 2) -> None:
    """A name at each place along an axis, or at every other."""
    axis.set_ticks(range(0, len(names), every), names[::every])
