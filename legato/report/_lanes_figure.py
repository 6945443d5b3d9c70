"""A plot of ``legato.Lanes``, which pack sequences into the rows of stateful batches.

Rows are drawn over batches, with a bar for each sequence and padding in grey.
"""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from legato import Lanes

MAX_NUMBERS = 200  # sequences up to which numbers are written into the bars
_HALF = 0.42  # of a bar's height
_PADDING, _BEGINS = "#d5d5d5", "#1c1c1c"
_COLOURS = colormaps["tab20"].colors[:14] + colormaps["tab20"].colors[16:]  # pyrefly: ignore[missing-attribute]  without its greys


def lanes_figure(lanes: Lanes) -> Figure:
    """Plot which sequence is in which rows and batches, and where padding is.

    Args:
        lanes: the plan.

    Returns:
        A figure that needs no display; ``save_figure`` writes it. A line marks the start of each
        sequence; up to 200 sequences show their number.

    Examples:
        >>> import legato
        >>> figure = legato.report.lanes_figure(legato.Lanes([7, 3, 5, 2], rows=2, steps=3))
        >>> figure.axes[0].get_xlabel()
        'batch'
    """
    height = float(np.clip(0.28 * lanes.rows, 1.2, 9))
    fig = Figure(figsize=(11, height + 1), layout="constrained")
    axes = fig.subplots()
    sequence, left, right, row = _sequence_bars(lanes)
    rows, colours = np.arange(lanes.rows), np.resize(_COLOURS, (len(sequence), 3))
    everywhere = _bar_corners(0 * rows, 0 * rows + lanes.batches, rows)
    axes.add_collection(PolyCollection(everywhere, facecolors=_PADDING))
    axes.add_collection(PolyCollection(_bar_corners(left, right, row), facecolors=colours))
    many = len(sequence) > MAX_NUMBERS
    axes.vlines(left, row - _HALF, row + _HALF, colors=_BEGINS, lw=0.4 if many else 1.2)
    if not many:
        _write_numbers(axes, lanes, sequence, left, right, row)
    axes.set_xlim(0, lanes.batches)
    axes.set_ylim(lanes.rows - 0.5, -0.5)
    axes.set(xlabel="batch", ylabel="row")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_title(str(lanes).partition("\n")[0], loc="left", fontsize=9)
    axes.spines[:].set_visible(False)
    return fig


def _sequence_bars(lanes: Lanes) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of each bar its sequence, its start and end in batches, and its row."""
    first = np.flatnonzero(lanes.starts)
    first = first[
        np.argsort(first % lanes.rows, kind="stable")
    ]  # row by row, so that neighbours differ in colour
    sequence = lanes.sequence[first]
    left = first // lanes.rows
    return sequence, left, left + lanes.lengths[sequence] / lanes.steps, first % lanes.rows


def _bar_corners(left: np.ndarray, right: np.ndarray, row: np.ndarray) -> list[np.ndarray]:
    """The corners of each bar, (4, 2)."""
    top, bottom = row - _HALF, row + _HALF
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return list(np.stack([np.stack(corner, -1) for corner in corners], 1))


def _write_numbers(
    axes: Axes,
    lanes: Lanes,
    sequence: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    row: np.ndarray,
) -> None:
    """Write the number of each sequence into its bar, if it fits."""
    letter = lanes.batches / 90  # about the width of a letter, in batches
    for which, begin, end, at in zip(sequence, left, right, row, strict=True):
        if end - begin > letter * (len(str(which)) + 1):
            axes.text(begin + letter / 2, at, str(which), va="center", fontsize=7)
