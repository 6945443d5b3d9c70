"""Plots of the errors of a backtest: by step ahead, over time, their distribution and memory."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import FigureBase
from matplotlib.ticker import MaxNLocator

from legato import Diagnostics
from legato.report._panels import (
    COOL,
    INK,
    MUTED,
    RULE,
    WARM,
    WIDTH,
    Panel,
    label_axes,
    style_axes,
    title_axes,
)
from legato.report._series_axis import line_of, shown_times, style_time_axis

HEIGHT = 2.1  # inches
MAX_DOTS = 400
_LIMIT = 1.96  # standard errors: 95 % of autocorrelations of independent errors lie within


def lead_panel(scores: Mapping[str, Any]) -> Panel:
    """The mean absolute error by step ahead, of the model and of the baselines."""
    rows = {"model": scores["model"], **scores["baselines"]}
    best = scores["best_baseline"]
    model = scores["model"]["mae_by_lead"]
    description = (
        f"Mean absolute error by step ahead: of the model {model[0]:.4g} for the next step and "
        f"{model[-1]:.4g} for step {len(model)}; of {best} {rows[best]['mae_by_lead'][0]:.4g} and "
        f"{rows[best]['mae_by_lead'][-1]:.4g}."
    )

    def draw(fig: FigureBase) -> None:
        axes = fig.subplots()
        for name, row in rows.items():
            leads = np.arange(1, len(row["mae_by_lead"]) + 1)
            style: dict[str, Any] = {"color": MUTED, "lw": 0.8, "alpha": 0.6}
            if name == best:
                style = {"color": INK, "lw": 1.1, "ls": (0, (3, 1.5))}
            if name == "model":
                style = {"color": COOL, "lw": 1.6}
            if len(leads) == 1:
                style |= {"marker": "o", "ms": 3}
            axes.plot(leads, row["mae_by_lead"], **style)
        style_axes(axes, "left", "bottom")
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        label_axes(axes, "steps ahead", "MAE")

    return Panel("error-by-lead", "Error by step ahead", description, HEIGHT, draw)


def residual_panels(
    found: Diagnostics, target: int, name: str, scale: np.ndarray | None
) -> list[Panel]:
    """The errors over time, their histogram, by step ahead, and their autocorrelation.

    Args:
        found: ``Diagnostics`` with a backtest.
        target: which of the targets.
        name: prefix of the panels' names.
        scale: (sequences,), by which the errors of each sequence are divided; None: not at all.
    """
    assert found.backtest is not None
    errors = found.backtest.errors[:, :, target]
    if scale is not None:
        errors = errors / scale[found.backtest.sequence][:, None]
    unit = "" if scale is None else ", in usual changes"
    return [
        _over_time(found, errors, name, unit),
        _histogram(errors, name, unit),
        _by_lead(errors, name, unit),
        _autocorrelation(found.errors, target, name),
    ]


def _over_time(found: Diagnostics, errors: np.ndarray, name: str, unit: str) -> Panel:
    """The errors of the next step and of the last step ahead, at the time they are about."""
    backtest, sequences = found.backtest, found.sequences
    assert backtest is not None
    horizon = backtest.horizon
    first, last = errors[:, 0], errors[:, -1]
    description = (
        f"Errors over time{unit}: of the next step from {first.min():.4g} to {first.max():.4g}, "
        f"mean {first.mean():.3g}"
        + (f"; {horizon} steps ahead mean {last.mean():.3g}." if horizon > 1 else ".")
    )
    line = line_of(sequences, int(backtest.sequence[0]), sequences.columns[0].name)
    if sequences.times is None:
        times, at = np.arange(int(sequences.lengths.max())), backtest.t
    else:
        times = shown_times(sequences, sequences.times)
        at = sequences.offsets[backtest.sequence] + backtest.t
    drawn = np.unique(np.linspace(0, len(at) - 1, min(len(at), MAX_DOTS)).astype(int))

    def draw(fig: FigureBase) -> None:
        axes = fig.subplots()
        axes.axhline(0, color=MUTED, lw=0.6)
        if horizon > 1:
            far = times[(at + horizon)[drawn]]
            axes.plot(far, last[drawn], "o", ms=2.6, mfc="none", mew=0.7, color=WARM)
        axes.plot(times[(at + 1)[drawn]], first[drawn], "o", ms=2.2, color=COOL)
        style_time_axis(axes, line, WIDTH)
        label_axes(axes, line.label, f"actual − forecast{unit}")
        title_axes(axes, "", f"dot: next step{f'; ring: step {horizon}' if horizon > 1 else ''}")

    return Panel(f"{name}-over-time", "Errors over time", description, HEIGHT, draw)


def _histogram(errors: np.ndarray, name: str, unit: str) -> Panel:
    """The distribution of the errors of the next step, with the normal one of their spread."""
    own = errors[:, 0]
    bins = int(np.clip(np.sqrt(len(own)) * 1.5, 6, 30))
    low, high = np.quantile(own, [0.1, 0.9])
    description = (
        f"Histogram of {len(own):,} errors of the next step{unit}: mean {own.mean():.3g}, standard "
        f"deviation {own.std():.3g}; four fifths lie between {low:.3g} and {high:.3g}."
    )

    def draw(fig: FigureBase) -> None:
        axes = fig.subplots()
        _, edges, _ = axes.hist(own, bins=bins, color=COOL, alpha=0.45, lw=0)
        if own.std() > 0:
            x = own.mean() + own.std() * np.linspace(-3.2, 3.2, 80)
            size = (edges[1] - edges[0]) * len(own) / (own.std() * np.sqrt(2 * np.pi))
            axes.plot(x, size * np.exp(-(((x - own.mean()) / own.std()) ** 2) / 2), color=INK, lw=1)
        axes.axvline(0, color=MUTED, lw=0.6)
        style_axes(axes, "left", "bottom")
        axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        label_axes(axes, f"actual − forecast, next step{unit}", "forecasts")
        title_axes(axes, "", "line: normal distribution")

    return Panel(f"{name}-histogram", "Distribution", description, HEIGHT, draw)


def _by_lead(errors: np.ndarray, name: str, unit: str) -> Panel:
    """Mean error, and the middle four fifths of errors, by step ahead."""
    leads = np.arange(1, errors.shape[1] + 1)
    mean = errors.mean(0)
    low, high = np.quantile(errors, [0.1, 0.9], axis=0)
    description = (
        f"Errors by step ahead{unit}: the mean is {mean[0]:.3g} for the next step and "
        f"{mean[-1]:.3g} for the last; four fifths lie between {low[0]:.3g} and {high[0]:.3g}, and "
        f"between {low[-1]:.3g} and {high[-1]:.3g}."
    )

    def draw(fig: FigureBase) -> None:
        axes = fig.subplots()
        axes.axhline(0, color=MUTED, lw=0.6)
        axes.vlines(leads, low, high, color=COOL, lw=max(1.0, 60 / len(leads)) if len(leads) > 30
                    else 3.5, alpha=0.45)  # fmt: skip
        axes.plot(leads, mean, "o", ms=2.6, color=INK)
        style_axes(axes, "left", "bottom")
        axes.set_xlim(0.3, len(leads) + 0.7)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        label_axes(axes, "steps ahead", f"actual − forecast{unit}")
        title_axes(axes, "", "bar: 80 % of errors; dot: mean")

    return Panel(f"{name}-by-lead", "By step ahead", description, HEIGHT, draw)


def _autocorrelation(summary: Any, target: int, name: str) -> Panel:
    """The autocorrelation of the errors of the next step."""
    found = summary.autocorrelation[target]
    known = np.flatnonzero(~np.isnan(found))
    found = found[: known[-1] + 1] if len(known) else found[:1]
    lags = np.arange(1, len(found) + 1)
    limit = _LIMIT / np.sqrt(max(summary.errors, 1))
    beyond = int((np.abs(found) > limit).sum())
    description = (
        f"Autocorrelation of {summary.errors:,} errors of the next step: {beyond} of {len(known)} "
        f"lags are beyond ±{limit:.2f}, where 95 % of those of independent errors would lie."
    )

    def draw(fig: FigureBase) -> None:
        axes = fig.subplots()
        axes.axhspan(-limit, limit, color=RULE, alpha=0.6, lw=0)
        axes.axhline(0, color=MUTED, lw=0.6)
        axes.vlines(lags, 0, found, color=COOL, lw=1.4)
        axes.plot(lags, found, "o", ms=2.2, color=COOL)
        style_axes(axes, "left", "bottom")
        axes.set_ylim(-1.05, 1.05)
        axes.set_xlim(0.3, len(lags) + 0.7)
        axes.set_yticks([-1, 0, 1])
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        label_axes(axes, "steps apart", "correlation")
        title_axes(axes, "", "grey: none, at 95 %")

    return Panel(f"{name}-autocorrelation", "Autocorrelation", description, HEIGHT, draw)
