"""The states of a stream's layers as heat maps, units by steps, with their norms and changes."""

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from legato import Trace
from legato.report._terminal import make_printable, shorten
from legato.report._trace_text import NO_STATE, StateArray, state_arrays

MAX_STEPS, UNITS_AN_INCH = 1500, 100  # cells of a heat map, about its pixels
MAX_TITLE = 48
_WIDTH, _LINES_HEIGHT, _MAX_HEIGHT = 11, 1.5, 16  # inches
_RESET, _NOT_FINITE = "#1c1c1c", "#b8b8b8"
_COLOURS = colormaps["tab10"].colors  # pyrefly: ignore[missing-attribute]  a layer each
_STYLES = ("-", "--", ":", "-.")  # an array of a layer each
_HEAT = colormaps["RdBu_r"].with_extremes(bad=_NOT_FINITE)


def trace_figure(trace: Trace, title: str | None = None) -> Figure:
    """Plot the states of every layer, units by steps, and below them their norms and changes.

    Args:
        trace: from ``stream.trace(x)``, of one step or more.
        title: of the figure.

    Returns:
        A figure that needs no display; ``save_figure`` writes it. Each state array has a panel with
        colours centred at 0, and grey for values that are not finite. Two arrays of a layer are h
        and c, one is h, others are numbered; a state of several axes is flattened. Below are the
        norms and changes, on a logarithmic scale if they differ much. Steps and units are counted
        from 0; a line marks each reset. If there are more steps or units than pixels, the value of
        largest size among adjacent ones is shown. Of a stream that sees windows the figure only
        says that it carries its last inputs.

    Raises:
        InputError: a trace of no steps.

    Examples:
        >>> import legato
        >>> model = legato.Sequential([legato.layers.Input((None, 1)), legato.layers.GRU(2)])
        >>> figure = legato.report.trace_figure(model.stream().trace([[0.1], [0.2], [0.3]]))
        >>> [axes.get_title(loc="left") for axes in figure.axes if axes.images]
        ['gru h · 2 units']
    """
    arrays = state_arrays(trace)
    if not arrays:
        return _text_figure(NO_STATE, title)
    maps = _panel_heights(arrays)
    heights = [*maps, _LINES_HEIGHT, _LINES_HEIGHT]
    fig = Figure(figsize=(_WIDTH, sum(heights) + 0.4), layout="constrained")
    grid = fig.add_gridspec(len(heights), 2, width_ratios=(70, 1), height_ratios=heights)
    panels: list[Axes] = []
    for row in range(len(heights)):
        panels.append(fig.add_subplot(grid[row, 0], sharex=panels[0] if panels else None))
    for row, (each, height) in enumerate(zip(arrays, maps, strict=True)):
        most_units = round(height * UNITS_AN_INCH)
        _draw_heat(panels[row], fig.add_subplot(grid[row, 1]), each, most_units)
    _draw_lines(panels[-2], arrays, trace.norms, "norm: root mean square of each state")
    _draw_lines(
        panels[-1],
        arrays,
        trace.changes,
        "change: root mean square of the difference from the step before",
    )
    panels[0].set_xlim(-0.5, trace.steps - 0.5)
    _mark_resets(panels, trace)
    panels[-1].set_xlabel("time step")
    panels[-1].xaxis.set_major_locator(_integer_locator(12))
    for axes in panels[:-1]:
        axes.tick_params("x", labelbottom=False)
    _add_legend(fig, [*panels[-1].lines], [each.name for each in arrays], bool(trace.starts.any()))
    _add_title(fig, title)
    return fig


def _panel_heights(arrays: list[StateArray]) -> list[float]:
    """Heights of the heat maps in inches: by units, and lower if there are many panels."""
    wanted = [np.clip(2 * each.values[0].size / UNITS_AN_INCH, 0.9, 2.4) for each in arrays]
    share = min(1, (_MAX_HEIGHT - 2 * _LINES_HEIGHT) / sum(wanted))
    return [max(float(each) * share, 0.6) for each in wanted]


def _draw_heat(axes: Axes, beside: Axes, array: StateArray, most_units: int) -> None:
    """Draw a state as a heat map, units by steps, with its colour bar."""
    values = np.asarray(array.values, "float32").reshape(len(array.values), -1).T
    sizes = np.abs(values[np.isfinite(values)])
    largest = float(sizes.max(initial=0)) or 1.0
    image = axes.imshow(
        _downsample(_downsample(values, 1, MAX_STEPS), 0, most_units).astype("float64"),
        cmap=_HEAT,
        vmin=-largest,
        vmax=largest,
        aspect="auto",
        interpolation="nearest",
        extent=(-0.5, values.shape[1] - 0.5, len(values) - 0.5, -0.5),
    )
    axes.yaxis.set_major_locator(_integer_locator(4))
    axes.set_ylabel("unit", fontsize=8)
    axes.tick_params(labelsize=8)
    _add_caption(axes, array.title)
    axes.figure.colorbar(image, cax=beside, ticks=[-largest, 0, largest], format="%.3g")
    beside.tick_params(labelsize=8, length=2)


def _downsample(values: np.ndarray, axis: int, most: int) -> np.ndarray:
    """At most ``most`` values along an axis: of adjacent ones, that of largest size."""
    count = values.shape[axis]
    if count <= most:
        return values
    begins = np.arange(most) * count // most
    high = np.maximum.reduceat(values, begins, axis)
    low = np.minimum.reduceat(values, begins, axis)
    return np.where(high > -low, high, low)


def _integer_locator(most: int) -> MaxNLocator:
    """A locator of at most so many integer ticks."""
    return MaxNLocator(most, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)


def _draw_lines(
    axes: Axes, arrays: list[StateArray], lines: dict[str, np.ndarray], caption: str
) -> None:
    """Draw a line for each state array."""
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
    _add_caption(axes, caption)


def _mark_resets(panels: list[Axes], trace: Trace) -> None:
    """Draw a line through every panel before each step at which the stream was reset."""
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


def _add_legend(fig: Figure, lines: list[Line2D], names: list[str], resets: bool) -> None:
    """Add a legend of the lines below the plot."""
    handles, labels = [*lines], [shorten(make_printable(each), MAX_TITLE) for each in names]
    if resets:
        handles, labels = [*handles, Line2D([], [], color=_RESET, lw=1.2)], [*labels, "reset"]
    columns = min(len(labels), max(1, 150 // (max(map(len, labels)) + 8)))
    beneath: dict[str, Any] = {
        "loc": "outside lower left",
        "ncols": columns,
        "fontsize": 8,
        "frameon": False,
    }
    fig.set_figheight(fig.get_figheight() + 0.17 * -(-len(labels) // columns))
    for text in fig.legend(handles, labels, **beneath).get_texts():
        text.set_parse_math(False)


def _text_figure(text: str, title: str | None) -> Figure:
    fig = Figure(figsize=(_WIDTH, 1.2), layout="constrained")
    axes = fig.subplots()
    axes.set_axis_off()
    axes.text(0, 0.5, text, va="center", fontsize=10, transform=axes.transAxes)
    _add_title(fig, title)
    return fig


def _add_caption(axes: Axes, words: str) -> None:
    axes.set_title(
        shorten(make_printable(words), 2 * MAX_TITLE), loc="left", fontsize=9, parse_math=False
    )


def _add_title(fig: Figure, title: str | None) -> None:
    if title:
        fig.suptitle(
            make_printable(title),
            x=0.01,
            ha="left",
            fontsize=11,
            fontweight="bold",
            parse_math=False,
        )
