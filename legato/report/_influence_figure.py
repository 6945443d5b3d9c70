"""Influence as a heat map: predictions by inputs, on a logarithmic scale; exact zeros are grey."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from legato import Influence
from legato.report._terminal import make_printable, shorten

MAX_DOTS = 1000  # cells along an axis, about the pixels of the figure
MAX_WRITTEN, MAX_NAMED = 9, 40  # cells along an axis that get numbers; that get names
DECADES = 12  # of the scale, at most
_ZERO, _MAX_NAME = "#e4e4e4", 12
_HEAT = colormaps["viridis"].with_extremes(bad=_ZERO)
_SIDE, _BESIDE, _ABOVE, _LEAST = 6.5, 1.7, 1.3, 2.0  # inches


def influence_figure(influence: Influence, title: str | None = None) -> Figure:
    """Plot how much each prediction depends on each input, as a heat map.

    Args:
        influence: from ``legato.influence``.
        title: of the figure.

    Returns:
        A figure that needs no display; ``save_figure`` writes it. Rows are predictions, columns are
        inputs, both in order. The colours are on a logarithmic scale of at most twelve decades;
        smaller values have the darkest colour, and grey is exactly 0: no influence. Small maps show
        their numbers. Maps of more than 1,000 rows or columns show the largest of adjacent values.

    Examples:
        >>> import legato, numpy as np
        >>> map = legato.Influence(np.tril([[2.0, 0], [0.1, 3]]), ("A", "B"), ("A", "B"))
        >>> figure = legato.report.influence_figure(map)
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['2', '0', '0.1', '3']
    """
    matrix = influence.matrix
    rows, columns = matrix.shape
    height = max(_SIDE * min(1.0, rows / columns), _LEAST)
    fig = Figure(figsize=(_SIDE + _BESIDE, height + _ABOVE), layout="constrained")
    axes = fig.subplots()
    shown = _downsample(_downsample(matrix, 0), 1)
    largest = float(matrix.max()) or 1.0
    smallest = float(matrix.min(initial=largest, where=matrix > 0))
    low = min(max(smallest, largest * 10.0**-DECADES), largest / 10)
    image = axes.imshow(
        np.ma.masked_equal(shown, 0),
        cmap=_HEAT,
        norm=LogNorm(low, largest),
        aspect="auto",
        interpolation="nearest",
        extent=(-0.5, columns - 0.5, rows - 0.5, -0.5),
    )
    _label_axes(axes, influence)
    if max(rows, columns) <= MAX_WRITTEN:
        _write_values(axes, matrix, image)
    bar = fig.colorbar(image, ax=axes, extend="min" if smallest < low else "neither")
    bar.set_label("size of the derivative", fontsize=9)
    bar.ax.tick_params(which="both", labelsize=8)
    _add_legend(fig, bool((matrix == 0).any()), shown.shape != matrix.shape)
    if title:
        words = make_printable(title)
        fig.suptitle(words, x=0.01, ha="left", fontsize=11, weight="bold", parse_math=False)
    return fig


def _downsample(values: np.ndarray, axis: int) -> np.ndarray:
    """At most ``MAX_DOTS`` values along an axis: the largest of adjacent ones."""
    count = values.shape[axis]
    if count <= MAX_DOTS:
        return values
    return np.maximum.reduceat(values, np.arange(MAX_DOTS) * count // MAX_DOTS, axis)


def _label_axes(axes: Axes, influence: Influence) -> None:
    """Label both axes; of more than ``MAX_NAMED`` names, about ten are shown."""
    axes.set_xlabel("input")
    axes.set_ylabel("prediction")
    axes.tick_params(labelsize=8)
    for axis, names in ((axes.xaxis, influence.inputs), (axes.yaxis, influence.predictions)):
        words = [shorten(make_printable(each), _MAX_NAME) for each in names]
        most = MAX_NAMED if len(names) <= MAX_NAMED else 10
        axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10], integer=True))
        axis.set_major_formatter(FuncFormatter(lambda at, _, words=words: _name_at(words, at)))
        for label in axis.get_ticklabels():
            label.set_parse_math(False)
    if max(map(len, influence.inputs)) > 4 and len(influence.inputs) > MAX_WRITTEN:
        axes.tick_params("x", rotation=90)


def _name_at(words: list[str], at: float) -> str:
    return words[round(at)] if at == round(at) and 0 <= at < len(words) else ""


def _write_values(axes: Axes, matrix: np.ndarray, image) -> None:
    """Write the numbers into the cells."""
    for (row, column), value in np.ndenumerate(matrix):
        dark = value > 0 and image.norm(max(value, image.norm.vmin)) < 0.6
        axes.text(
            column,
            row,
            f"{value:.2g}",
            ha="center",
            va="center",
            fontsize=8,
            color="white" if dark else "black",
        )


def _add_legend(fig: Figure, zeros: bool, thinned: bool) -> None:
    """A legend below the plot for grey cells and for cells of several values."""
    handles = [Patch(color=_ZERO, label="exactly 0: no influence")] if zeros else []
    if thinned:
        handles.append(Patch(color="none", label="each dot is the largest of several values"))
    if handles:
        fig.legend(handles=handles, loc="outside lower left", ncols=2, fontsize=8, frameon=False)
