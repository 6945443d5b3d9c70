"""Lines of long series, thinned to what can be seen and broken at gaps, over times or steps."""

from itertools import pairwise
from typing import Any, NamedTuple

import matplotlib.dates as mdates
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from legato._series.sequences import Sequences
from legato.report._panels import INK, label_axes, style_axes
from legato.report._terminal import make_printable, shorten

MAX_POINTS = 480  # of a line: its smallest and largest value in each of half as many stretches
MAX_GAPS = 200  # of a line that are drawn
_INCHES_A_TICK = 0.9
_FEWEST_TICKS = 5  # with which every range of dates has a round interval


class Line(NamedTuple):
    """A column of a sequence, as it is drawn.

    Attributes:
        x: (time steps,), times or numbers of steps.
        y: (time steps,), the values.
        gaps: (time steps,), whether times are missing before a step.
        label: of the x axis, if it has no dates.
    """

    x: np.ndarray
    y: np.ndarray
    gaps: np.ndarray
    label: str


def line_of(sequences: Sequences, sequence: int, column: str) -> Line:
    """A column of a sequence."""
    own = slice(sequences.offsets[sequence], sequences.offsets[sequence + 1])
    y = sequences.values[own, sequences.place(column)]
    if sequences.times is None:
        return Line(np.arange(len(y)), y, np.zeros(len(y), bool), "time step")
    x = shown_times(sequences, sequences.times[own])
    gaps = np.zeros(len(y), bool)
    spacing = sequences.spacing
    if spacing is not None:
        first = own.start - sequence  # every sequence before has a step less than times
        gaps[1:] = spacing.gaps[first : first + len(y) - 1]
    label = "" if x.dtype.kind == "M" else sequences.time or "time"
    return Line(x, y, gaps, label)


def shown_times(sequences: Sequences, times: np.ndarray) -> np.ndarray:
    """Times as they are drawn: of a zone, those of its clocks."""
    return times if sequences.zone is None else sequences.zone.wall(times)


def thinned(y: np.ndarray, most: int = MAX_POINTS) -> np.ndarray:
    """Indices of at most ``most`` values: the smallest and the largest of each stretch, in order.

    Examples:
        >>> thinned(np.array([0.0, 5, 1, 2, -3, 2]), 4).tolist()
        [0, 1, 3, 4]
    """
    count = len(y)
    if count <= most:
        return np.arange(count)
    bounds = np.linspace(0, count, most // 2 + 1).astype(int)
    found = [
        place
        for begin, end in pairwise(bounds)
        for place in (begin + int(y[begin:end].argmin()), begin + int(y[begin:end].argmax()))
    ]
    return np.unique(found)


def draw_line(axes: Axes, line: Line, begin: int = 0, end: int | None = None, **style) -> None:
    """Draw a part of a line: thinned, and broken at gaps."""
    end = len(line.y) if end is None else end
    at = begin + thinned(line.y[begin:end])
    x, y = line.x[at], line.y[at].astype(float)
    passed = np.cumsum(line.gaps)[at]
    breaks = np.flatnonzero(np.diff(passed)) + 1
    if len(breaks) <= MAX_GAPS:
        x, y = np.insert(x, breaks, x[breaks]), np.insert(y, breaks, np.nan)
    given: dict[str, Any] = {"color": INK, "lw": 0.9, **style}
    if end - begin == 1:
        given = {"marker": "o", "ms": 2, **given}
    axes.plot(x, y, **given)


def style_time_axis(axes: Axes, line: Line, width: float) -> None:
    """Style axes on times or steps, with as many ticks as there is room for."""
    style_axes(axes, "left", "bottom")
    most = max(_FEWEST_TICKS, round(width / _INCHES_A_TICK))
    if line.x.dtype.kind == "M":
        locator = mdates.AutoDateLocator(minticks=2, maxticks=most)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator, show_offset=True))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(most, integer=line.x.dtype.kind in "iu"))
        label_axes(axes, name_shown(line.label))
    axes.yaxis.set_major_locator(MaxNLocator(4, min_n_ticks=2))


def name_shown(name: str, most: int = 34) -> str:
    """A name from the data as a plot shows it: printable, and not too long."""
    return shorten(make_printable(name), most)
