"""Influence as a picture: predictions by inputs, colours on a logarithmic scale, zeros apart."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from legato import Influence
from legato.report._terminal import plain, shortened

MOST_DOTS = 1000  # along an axis; the picture has about as many
MOST_WRITTEN, MOST_NAMED = 9, 40  # cells along an axis with numbers in them; with a name each
DECADES = 12  # of the scale, at most
_ZERO, _MOST_NAME = "#e4e4e4", 12
_HEAT = colormaps["viridis"].with_extremes(bad=_ZERO)
_SIDE, _BESIDE, _ABOVE, _LEAST = 6.5, 1.7, 1.3, 2.0  # inches


def influence_figure(influence: Influence, title: str | None = None) -> Figure:
    """How much each prediction depends on each input, as a heat map.

    Args:
        influence: from ``legato.influence``.
        title: of the picture.

    Returns:
        A figure made without a display; ``save_figure`` writes it. A row a prediction, a column an
        input, both in order; colours on a logarithmic scale of twelve decades at most, what is less
        in the darkest colour; grey is exactly 0: nothing flows. Small maps have their numbers
        written in. Where there are more samples than dots, a dot is the largest of a few.

    Example:
        >>> import legato, numpy as np
        >>> map = legato.Influence(np.tril([[2.0, 0], [0.1, 3]]), ("A", "B"), ("A", "B"))
        >>> figure = legato.report.influence_figure(map)
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['2', '0', '0.1', '3']
    """
    matrix = influence.matrix
    rows, columns = matrix.shape
    height = max(_SIDE * min(1.0, rows / columns), _LEAST)
    drawn = Figure(figsize=(_SIDE + _BESIDE, height + _ABOVE), layout="constrained")
    axes = drawn.subplots()
    shown = _thinned(_thinned(matrix, 0), 1)
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
    _name(axes, influence)
    if max(rows, columns) <= MOST_WRITTEN:
        _write(axes, matrix, image)
    bar = drawn.colorbar(image, ax=axes, extend="min" if smallest < low else "neither")
    bar.set_label("size of the derivative", fontsize=9)
    bar.ax.tick_params(which="both", labelsize=8)
    _explain(drawn, bool((matrix == 0).any()), shown.shape != matrix.shape)
    if title:
        words = plain(title)
        drawn.suptitle(words, x=0.01, ha="left", fontsize=11, weight="bold", parse_math=False)
    return drawn


def _thinned(values: np.ndarray, axis: int) -> np.ndarray:
    """No more than so many dots along an axis: of each few, the largest."""
    count = values.shape[axis]
    if count <= MOST_DOTS:
        return values
    return np.maximum.reduceat(values, np.arange(MOST_DOTS) * count // MOST_DOTS, axis)


def _name(axes: Axes, influence: Influence) -> None:
    """Names along both axes: all of few, some of many."""
    axes.set_xlabel("input")
    axes.set_ylabel("prediction")
    axes.tick_params(labelsize=8)
    for axis, names in ((axes.xaxis, influence.inputs), (axes.yaxis, influence.predictions)):
        words = [shortened(plain(each), _MOST_NAME) for each in names]
        most = MOST_NAMED if len(names) <= MOST_NAMED else 10
        axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10], integer=True))
        axis.set_major_formatter(FuncFormatter(lambda at, _, words=words: _at(words, at)))
        for label in axis.get_ticklabels():
            label.set_parse_math(False)
    if max(map(len, influence.inputs)) > 4 and len(influence.inputs) > MOST_WRITTEN:
        axes.tick_params("x", rotation=90)


def _at(words: list[str], at: float) -> str:
    return words[round(at)] if at == round(at) and 0 <= at < len(words) else ""


def _write(axes: Axes, matrix: np.ndarray, image) -> None:
    """The numbers, in the cells."""
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


def _explain(drawn: Figure, zeros: bool, thinned: bool) -> None:
    """What the colours do not say by themselves, below the picture."""
    handles = [Patch(color=_ZERO, label="exactly 0: nothing flows")] if zeros else []
    if thinned:
        handles.append(Patch(color="none", label="a dot is the largest of a few"))
    if handles:
        drawn.legend(handles=handles, loc="outside lower left", ncols=2, fontsize=8, frameon=False)
