"""Forecasts as plots."""

import os
import warnings
from itertools import product
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from legato import Forecast
from legato._platform.atomic_files import write_whole
from legato.report._terminal import make_printable, shorten

MAX_PANELS, MAX_TITLE = 12, 34
_BEFORE, _AHEAD = "#3d4f5c", "#b5482a"


def forecast_figure(forecast: Forecast) -> Figure:
    """Plot a forecast: the last actual values, the predicted ones and their intervals.

    There is a panel for each sequence and target, up to 12. No display is needed; ``save_figure``
    writes the figure.

    Examples:
        >>> import legato
        >>> wave = {"load": [1.0, 2.0, 4.0, 3.0] * 9}
        >>> trained = legato.train(wave, units=2, epochs=1, verbose=0)
        >>> figure = legato.report.forecast_figure(trained.forecast(wave))
        >>> legato.report.save_figure(figure, "wave.png").name
        'wave.png'
    """
    panels = list(product(range(len(forecast)), range(len(forecast.targets))))
    shown = panels[:MAX_PANELS]
    across = min(len(shown), 3)
    down = -(-len(shown) // across)
    fig = Figure(figsize=(max(7, 4.6 * across), 3.2 * down), layout="constrained")
    axes = fig.subplots(down, across, squeeze=False).reshape(-1)
    for place, (at, target) in zip(axes, shown, strict=False):
        _draw_panel(place, forecast, at, target)
    if axes[0].get_legend_handles_labels()[0]:
        beside = {"loc": "lower right", "bbox_to_anchor": (1, 0.97), "frameon": False}
        axes[0].legend(fontsize=7, ncols=2, **beside)
    for place in axes[len(shown) :]:
        place.set_visible(False)
    if len(panels) > len(shown):
        fig.suptitle(f"{len(shown)} of {len(panels):,} panels", fontsize=9, ha="left", x=0.01)
    return fig


def _draw_panel(axes: Axes, forecast: Forecast, at: int, target: int) -> None:
    before, values = forecast.before, forecast.values[at, :, target]
    steps = len(values)
    past = before.of(at)[-max(3 * steps, 36) :, before.place(forecast.targets[target])]
    if forecast.times is None or before.times is None:
        x_past, x_ahead = np.arange(1 - len(past), 1), np.arange(1, steps + 1)
        axes.set_xlabel("steps")
    else:
        end = before.offsets[at + 1]
        x_past, x_ahead = before.times[end - len(past) : end], forecast.times[at]
        if before.times.dtype.kind == "M":
            axes.tick_params("x", labelrotation=30)
    axes.plot(x_past, past, color=_BEFORE, lw=1.2)
    known = [] if forecast.ends is None else forecast.ends[:, :, at, :, target]
    x_on, last = (
        np.append(x_past[-1:], x_ahead),
        past[-1:],
    )  # intervals start at the last actual value
    for level, alpha, (low, high) in zip(forecast.levels, (0.3, 0.15), known, strict=False):
        if not np.isnan(low).all():
            ends = np.append(last, low), np.append(last, high)
            label = f"{100 * level:g} %"
            axes.fill_between(x_on, *ends, label=label, color=_AHEAD, alpha=alpha, lw=0)
    marker = "o" if steps == 1 else None
    axes.plot(
        x_on,
        np.append(last, values),
        color=_AHEAD,
        lw=1.4,
        marker=marker,
        ms=3,
    )
    name = forecast.names[at]
    several = len(forecast) > 1
    title = f"{forecast.targets[target]} · {name}" if several else forecast.targets[target]
    title = shorten(make_printable(title), MAX_TITLE)
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)


def save_figure(figure: Figure, path: str | os.PathLike) -> Path:
    """Write a figure as PNG, whole or not at all.

    Raises:
        legato.OutputError: the folder cannot be written.

    Examples:
        >>> import legato
        >>> figure = legato.report.lanes_figure(legato.Lanes([7, 3], rows=2, steps=3))
        >>> legato.report.save_figure(figure, "lanes.png").name
        'lanes.png'
    """
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Glyph .* missing from font"
        )  # Matplotlib draws a box instead
        return write_whole(path, lambda at: figure.savefig(at, dpi=150))
