"""Plots of series: the data and their split, forecasts of a backtest, and those of what comes."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from legato import Diagnostics, Forecast, Sequences
from legato.report._panels import COOL, MUTED, RULE, WARM, WIDTH, Panel, title_axes, width_of
from legato.report._series_axis import (
    MAX_POINTS,
    Line,
    draw_line,
    line_of,
    shown_times,
    style_time_axis,
)

WIDE = 9.4  # inches: of a plot that is drawn for wide screens and for print
ALPHAS = (0.30, 0.16)  # of the intervals of each level
LEAST_WINDOW, MOST_HORIZONS = 120, 20  # time steps of a backtest that are drawn; horizons
MAX_DRAWN = 40  # forecasts of a backtest in one plot
MAX_MARKS = 400  # of filled values


def in_two_widths(panel: Panel) -> tuple[Panel, Panel]:
    """A panel for wide screens, and the same for a phone."""
    return panel._replace(name=f"{panel.name}-wide", width=WIDE), panel._replace(width=WIDTH)


def data_panel(
    found: Diagnostics, sequence: int, column: str, filled: np.ndarray, name: str
) -> Panel:
    """A column of a sequence over time, with the scored part and filled values marked.

    Args:
        found: ``Diagnostics``.
        sequence, column: which.
        filled: (time steps of the sequence,), whether a value was missing there.
        name: of the panel.
    """
    line = line_of(found.sequences, sequence, column)
    tested = int(found.tested[sequence])
    scored = len(line.y) - tested
    words = f"{column} of {found.sequences.names[sequence]} over {len(line.y):,} time steps"
    description = (
        f"Line plot of {words}, from {line.y.min():.4g} to {line.y.max():.4g}; "
        f"the last {scored:,} steps, shaded, are scored."
    )

    def draw(fig: FigureBase, width: float) -> None:
        axes = fig.subplots()
        if scored > 0:
            _shade(axes, line, tested)
        draw_line(axes, line, lw=0.9 if len(line.y) <= MAX_POINTS else 0.5)
        marks = np.flatnonzero(filled)[:MAX_MARKS]
        if len(marks):
            low = line.y.min() - 0.06 * (np.ptp(line.y) or 1)
            axes.plot(line.x[marks], np.full(len(marks), low), "|", color=WARM, ms=5, mew=1)
        style_time_axis(axes, line, width)

    return _flexible(Panel(name, column, description, 2.0, lambda fig: draw(fig, WIDTH)), draw)


def backtest_panel(found: Diagnostics, sequence: int, target: int, column: str, name: str) -> Panel:
    """The scored part of a sequence with the forecasts from many origins."""
    line = line_of(found.sequences, sequence, column)
    backtest = found.backtest
    assert backtest is not None
    own = np.flatnonzero(backtest.sequence == sequence)
    window = max(LEAST_WINDOW, MOST_HORIZONS * backtest.horizon)
    near = own[backtest.t[own] >= backtest.t[own].max() - window]
    drawn = near[np.unique(np.linspace(0, len(near) - 1, min(len(near), MAX_DRAWN)).astype(int))]
    first = int(backtest.t[near].min())
    begin = max(0, first - 2 * max(backtest.horizon, (len(line.y) - first) // 3))
    shaded = max(int(found.tested[sequence]), begin)
    last = int(backtest.t[own].max())
    ends = [_moment(found.sequences, sequence, each) for each in (first, last)]
    description = (
        f"Line plot of {column} of {found.sequences.names[sequence]}, and over it forecasts of "
        f"{backtest.horizon} steps from {len(drawn)} origins between {ends[0]} and {ends[1]}."
    )

    def draw(fig: FigureBase, width: float) -> None:
        axes = fig.subplots()
        _shade(axes, line, shaded)
        for origin in drawn:
            t = int(backtest.t[origin])
            values = np.append(line.y[t], backtest.predicted[origin, :, target])
            axes.plot(line.x[t : t + len(values)], values, color=COOL, lw=0.7, alpha=0.6)
            axes.plot(line.x[t], line.y[t], ".", color=COOL, ms=3)
        draw_line(axes, line, begin, lw=1.1)
        style_time_axis(axes, line, width)
        title_axes(axes, "", f"{len(drawn)} of {len(own)} origins")

    return _flexible(Panel(name, column, description, 2.0, lambda fig: draw(fig, WIDTH)), draw)


def origin_panel(
    found: Diagnostics, origin: int, target: int, column: str, best: str, name: str
) -> Panel:
    """One forecast of the backtest with its intervals, beside what came and the best baseline."""
    backtest = found.backtest
    assert backtest is not None
    sequence, t = int(backtest.sequence[origin]), int(backtest.t[origin])
    line = line_of(found.sequences, sequence, column)
    horizon = backtest.horizon
    begin = max(0, t - max(2 * horizon, 12))
    predicted = backtest.predicted[origin, :, target]
    beside = backtest.baselines[best][origin, :, target]
    actual = backtest.actual[origin, :, target]
    errors = [float(np.abs(each - actual).mean()) for each in (predicted, beside)]
    title = f"from {_moment(found.sequences, sequence, t)}"
    beside_it = f"MAE {errors[0]:.3g}, baseline {errors[1]:.3g}"
    description = (
        f"Forecast of {column} {title}, {horizon} steps: mean absolute error {errors[0]:.4g}, that "
        f"of {best} {errors[1]:.4g}."
    )
    ends = None if found.ends is None else found.ends[:, :, origin, :, target]

    def draw(fig: FigureBase) -> None:
        axes = fig.subplots()
        x = line.x[t : t + horizon + 1]
        _draw_forecast(axes, x, float(line.y[t]), predicted, ends)
        axes.plot(x, np.append(line.y[t], beside), color=MUTED, lw=1, ls=(0, (3, 1.5)))
        draw_line(axes, line, begin, t + horizon + 1, lw=1.1)
        style_time_axis(axes, line, WIDTH)

    return Panel(name, f"{title}: {beside_it}", description, 1.9, draw)


def ahead_panel(forecast: Forecast, sequence: int, target: int, name: str) -> Panel:
    """The forecast after the end of a sequence, with its intervals."""
    before, column = forecast.before, forecast.targets[target]
    line = line_of(before, sequence, column)
    values = forecast.values[sequence, :, target]
    last, steps = len(line.y) - 1, len(values)
    begin = max(0, last - max(3 * steps, 24))
    ahead = np.arange(last + 1, last + 1 + steps)
    if forecast.times is not None:
        ahead = shown_times(before, forecast.times[sequence])
    title = f"{column}" if len(forecast) == 1 else f"{column} of {forecast.names[sequence]}"
    description = (
        f"Forecast of {title}, {steps} steps after {_moment(before, sequence, last)}: from "
        f"{values[0]:.4g} to {values[-1]:.4g}."
    )
    ends = None if forecast.ends is None else forecast.ends[:, :, sequence, :, target]

    def draw(fig: FigureBase, width: float) -> None:
        axes = fig.subplots()
        x = np.append(line.x[last:], ahead)
        _draw_forecast(axes, x, float(line.y[last]), values, ends)
        draw_line(axes, line, begin, lw=1.1)
        style_time_axis(axes, line, width)

    return _flexible(Panel(name, title, description, 2.0, lambda fig: draw(fig, WIDTH)), draw)


def _flexible(panel: Panel, draw) -> Panel:
    """A panel whose ticks depend on its width."""
    return panel._replace(draw=lambda fig: draw(fig, width_of(fig)))


def _draw_forecast(
    axes: Axes, x: np.ndarray, last: float, values: np.ndarray, ends: np.ndarray | None
) -> None:
    """Draw a forecast and its intervals, which begin at the last known value."""
    for alpha, (low, high) in zip(ALPHAS, () if ends is None else ends, strict=False):
        if not np.isnan(low).all():
            both = np.append(last, low), np.append(last, high)
            axes.fill_between(x, *both, color=COOL, alpha=alpha, lw=0)
    marker = "o" if len(values) == 1 else None
    axes.plot(x, np.append(last, values), color=COOL, lw=1.4, marker=marker, ms=2.5)


def _shade(axes: Axes, line: Line, begin: int) -> None:
    """Shade a line from a step on."""
    if begin < len(line.x):
        axes.axvspan(line.x[max(begin - 1, 0)], line.x[-1], color=RULE, alpha=0.5, lw=0)


def _moment(sequences: Sequences, sequence: int, step: int) -> str:
    """The time of a step of a sequence, as the source writes it, or its number."""
    if sequences.times is None:
        return f"step {step:,}"
    at = int(sequences.offsets[sequence]) + step
    return sequences.format_times(sequences.times[at : at + 1])[0]


def spread(values: Sequence[int] | np.ndarray, count: int) -> list[int]:
    """At most so many of some values, evenly spread, with the first and the last."""
    places = np.unique(np.linspace(0, len(values) - 1, min(count, len(values))).astype(int))
    return [int(values[at]) for at in places]
