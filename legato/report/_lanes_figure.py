"""A plan of lanes as a picture: rows as bars over batches, a colour a sequence, padding grey."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from legato import Lanes

MOST_NUMBERS = 200  # sequences whose numbers are written into them
_HALF = 0.42  # of a bar's height
_PADDING, _BEGINS = "#d5d5d5", "#1c1c1c"
_COLOURS = colormaps["tab20"].colors[:14] + colormaps["tab20"].colors[16:]  # pyright: ignore[reportAttributeAccessIssue]  without its greys


def lanes_figure(lanes: Lanes) -> Figure:
    """What ``print(lanes)`` shows as a picture: whose chunks are where, and what is padding.

    Args:
        lanes: the plan.

    Returns:
        A figure made without a display; ``save_figure`` writes it. A line marks where a sequence
        begins; up to 200 have their number beside it.

    Example:
        >>> import legato
        >>> figure = legato.report.lanes_figure(legato.Lanes([7, 3, 5, 2], rows=2, steps=3))
        >>> figure.axes[0].get_xlabel()
        'batch'
    """
    height = float(np.clip(0.28 * lanes.rows, 1.2, 9))
    drawn = Figure(figsize=(11, height + 1), layout="constrained")
    axes = drawn.subplots()
    sequence, left, right, row = _stretches(lanes)
    rows, colours = np.arange(lanes.rows), np.resize(_COLOURS, (len(sequence), 3))
    everywhere = _boxes(0 * rows, 0 * rows + lanes.batches, rows)
    axes.add_collection(PolyCollection(everywhere, facecolors=_PADDING))
    axes.add_collection(PolyCollection(_boxes(left, right, row), facecolors=colours))
    many = len(sequence) > MOST_NUMBERS
    axes.vlines(left, row - _HALF, row + _HALF, colors=_BEGINS, lw=0.4 if many else 1.2)
    if not many:
        _number(axes, lanes, sequence, left, right, row)
    axes.set_xlim(0, lanes.batches)
    axes.set_ylim(lanes.rows - 0.5, -0.5)
    axes.set(xlabel="batch", ylabel="row")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_title(str(lanes).partition("\n")[0], loc="left", fontsize=9)
    axes.spines[:].set_visible(False)
    return drawn


def _stretches(lanes: Lanes) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The sequence of each bar, where it begins and ends in batches, and its row."""
    first = np.flatnonzero(lanes.starts)
    first = first[np.argsort(first % lanes.rows, kind="stable")]  # so that neighbours differ
    sequence = lanes.sequence[first]
    left = first // lanes.rows
    return sequence, left, left + lanes.lengths[sequence] / lanes.steps, first % lanes.rows


def _boxes(left: np.ndarray, right: np.ndarray, row: np.ndarray) -> list[np.ndarray]:
    """Corners of bars, (4, 2) of each."""
    top, bottom = row - _HALF, row + _HALF
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return list(np.stack([np.stack(corner, -1) for corner in corners], 1))


def _number(
    axes: Axes,
    lanes: Lanes,
    sequence: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    row: np.ndarray,
) -> None:
    """Write the number of each sequence into its bar, where there is room."""
    letter = lanes.batches / 90  # about as wide, of a picture as wide as this
    for which, begin, end, at in zip(sequence, left, right, row, strict=True):
        if end - begin > letter * (len(str(which)) + 1):
            axes.text(begin + letter / 2, at, str(which), va="center", fontsize=7)
