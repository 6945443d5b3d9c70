"""What the layers of a stream carried, as a picture: units by steps, what is held and forgotten."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from legato import Trace
from legato.report._terminal import plain, shortened
from legato.report._trace_text import NO_STATE, Carried, carried

MOST_STEPS, UNITS_AN_INCH = 1500, 100  # of a heat map, which has about as many dots
MOST_TITLE = 48
_WIDTH, _LINES_HEIGHT, _MOST_HEIGHT = 11, 1.5, 16  # inches
_RESET, _NOT_FINITE = "#1c1c1c", "#b8b8b8"
_COLOURS = colormaps["tab10"].colors  # pyright: ignore[reportAttributeAccessIssue]  a layer each
_STYLES = ("-", "--", ":", "-.")  # an array of a layer each
_HEAT = colormaps["RdBu_r"].with_extremes(bad=_NOT_FINITE)


def trace_figure(trace: Trace, title: str | None = None) -> Figure:
    """What every layer carried, units by steps, and below that how large it was and how it moved.

    Args:
        trace: what ``stream.trace(x)`` gives, of one step or more.
        title: of the picture.

    Returns:
        A figure made without a display; ``save_figure`` writes it. A panel a state array, its
        colours centred at 0, grey where a number is not finite: h and c of a layer that carries
        two, h of one, else numbered. A state of several axes lies flat. Then norms and changes, on
        a logarithmic scale if they differ much. Steps and units are counted from 0; a line stands
        before a step at which the stream was reset. Where there are more steps or units than dots,
        a dot is the largest number, either way, of a few. Of a stream that sees windows it only
        says so: all that carries is its last inputs.

    Raises:
        InputError: a trace of no steps.

    Example:
        >>> import legato
        >>> model = legato.Sequential([legato.layers.Input((None, 1)), legato.layers.GRU(2)])
        >>> figure = legato.report.trace_figure(model.stream().trace([[0.1], [0.2], [0.3]]))
        >>> [axes.get_title(loc="left") for axes in figure.axes if axes.images]
        ['gru h · 2 units']
    """
    arrays = carried(trace)
    if not arrays:
        return _words_only(NO_STATE, title)
    maps = _heights(arrays)
    heights = [*maps, _LINES_HEIGHT, _LINES_HEIGHT]
    drawn = Figure(figsize=(_WIDTH, sum(heights) + 0.4), layout="constrained")
    grid = drawn.add_gridspec(len(heights), 2, width_ratios=(70, 1), height_ratios=heights)
    panels: list[Axes] = []
    for row in range(len(heights)):
        panels.append(drawn.add_subplot(grid[row, 0], sharex=panels[0] if panels else None))
    for row, (each, height) in enumerate(zip(arrays, maps, strict=True)):
        most_units = round(height * UNITS_AN_INCH)
        _draw_heat(panels[row], drawn.add_subplot(grid[row, 1]), each, most_units)
    _draw_lines(panels[-2], arrays, trace.norms, "norm: root mean square of a state's numbers")
    _draw_lines(panels[-1], arrays, trace.changes, "change: the same of the difference to before")
    panels[0].set_xlim(-0.5, trace.steps - 0.5)
    _mark_resets(panels, trace)
    panels[-1].set_xlabel("time step")
    panels[-1].xaxis.set_major_locator(_counting(12))
    for axes in panels[:-1]:
        axes.tick_params("x", labelbottom=False)
    _explain(drawn, [*panels[-1].lines], [each.name for each in arrays], bool(trace.starts.any()))
    _entitle(drawn, title)
    return drawn


def _heights(arrays: list[Carried]) -> list[float]:
    """Of the heat maps, in inches: higher for more units, lower if there are many."""
    wanted = [np.clip(2 * each.values[0].size / UNITS_AN_INCH, 0.9, 2.4) for each in arrays]
    share = min(1, (_MOST_HEIGHT - 2 * _LINES_HEIGHT) / sum(wanted))
    return [max(float(each) * share, 0.6) for each in wanted]


def _draw_heat(axes: Axes, beside: Axes, array: Carried, most_units: int) -> None:
    """Units by steps, and the scale of the colours."""
    values = np.asarray(array.values, "float32").reshape(len(array.values), -1).T
    sizes = np.abs(values[np.isfinite(values)])
    largest = float(sizes.max(initial=0)) or 1.0
    image = axes.imshow(
        _thinned(_thinned(values, 1, MOST_STEPS), 0, most_units).astype("float64"),
        cmap=_HEAT,
        vmin=-largest,
        vmax=largest,
        aspect="auto",
        interpolation="nearest",
        extent=(-0.5, values.shape[1] - 0.5, len(values) - 0.5, -0.5),
    )
    axes.yaxis.set_major_locator(_counting(4))
    axes.set_ylabel("unit", fontsize=8)
    axes.tick_params(labelsize=8)
    _caption(axes, array.title)
    axes.figure.colorbar(image, cax=beside, ticks=[-largest, 0, largest], format="%.3g")
    beside.tick_params(labelsize=8, length=2)


def _thinned(values: np.ndarray, axis: int, most: int) -> np.ndarray:
    """No more than so many along an axis: of each few, the largest, either way."""
    count = values.shape[axis]
    if count <= most:
        return values
    begins = np.arange(most) * count // most
    high = np.maximum.reduceat(values, begins, axis)
    low = np.minimum.reduceat(values, begins, axis)
    return np.where(high > -low, high, low)


def _counting(most: int) -> MaxNLocator:
    """Whole numbers along an axis, no more than so many."""
    return MaxNLocator(most, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)


def _draw_lines(
    axes: Axes, arrays: list[Carried], lines: dict[str, np.ndarray], caption: str
) -> None:
    """A line a state array."""
    for each in arrays:
        values = lines[each.key]
        axes.plot(
            np.where(np.isfinite(values), values, np.nan),
            color=_COLOURS[each.layer % len(_COLOURS)],
            ls=_STYLES[each.part % len(_STYLES)],
            marker="o" if len(values) == 1 else None,
            lw=1.1,
            ms=4,
        )
    every = np.concatenate([lines[each.key] for each in arrays])
    every = every[np.isfinite(every) & (every > 0)]
    if len(every) and every.max() > 100 * np.quantile(every, 0.1):
        axes.set_yscale("log", nonpositive="mask")
    else:
        axes.set_ylim(bottom=0)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    _caption(axes, caption)


def _mark_resets(panels: list[Axes], trace: Trace) -> None:
    """A line through every panel before each step at which the stream began anew."""
    before = np.flatnonzero(trace.starts) - 0.5
    width = 1.2 if len(before) <= 100 else 0.4
    for axes in panels:
        axes.vlines(
            before,
            0,
            1,
            transform=axes.get_xaxis_transform(),
            colors=_RESET,
            lw=width,
            clip_on=False,
        )


def _explain(drawn: Figure, lines: list[Line2D], names: list[str], resets: bool) -> None:
    """What the lines are, below the picture."""
    handles, labels = [*lines], [shortened(plain(each), MOST_TITLE) for each in names]
    if resets:
        handles, labels = [*handles, Line2D([], [], color=_RESET, lw=1.2)], [*labels, "reset"]
    columns = min(len(labels), max(1, 150 // (max(map(len, labels)) + 8)))
    beneath = {"loc": "outside lower left", "ncols": columns, "fontsize": 8, "frameon": False}
    drawn.set_figheight(drawn.get_figheight() + 0.17 * -(-len(labels) // columns))
    for text in drawn.legend(handles, labels, **beneath).get_texts():
        text.set_parse_math(False)


def _words_only(words: str, title: str | None) -> Figure:
    drawn = Figure(figsize=(_WIDTH, 1.2), layout="constrained")
    axes = drawn.subplots()
    axes.set_axis_off()
    axes.text(0, 0.5, words, va="center", fontsize=10, transform=axes.transAxes)
    _entitle(drawn, title)
    return drawn


def _caption(axes: Axes, words: str) -> None:
    axes.set_title(
        shortened(plain(words), 2 * MOST_TITLE), loc="left", fontsize=9, parse_math=False
    )


def _entitle(drawn: Figure, title: str | None) -> None:
    if title:
        drawn.suptitle(
            plain(title), x=0.01, ha="left", fontsize=11, fontweight="bold", parse_math=False
        )
