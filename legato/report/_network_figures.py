"""Outcomes of the six networks as plots: learning curves and predictions."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from legato.alphabet import LETTERS, Network, Outcome
from legato.report._network_tables import group_by_network
from legato.report._panels import (
    COOL,
    MUTED,
    PROBABILITY_COLOURS,
    RULE,
    WARM,
    Panel,
    draw_sheet,
    label_axes,
    label_ticks,
    style_axes,
    title_axes,
)

MAX_EPOCHS = 240  # that are drawn


def figure(outcomes: Sequence[Outcome]) -> Figure:
    """Plot each network in a row: its learning curves, and its predictions after every letter.

    No display is needed; ``figure(...).savefig(path)`` writes it.

    Examples:
        >>> from dataclasses import replace
        >>> from legato import alphabet, report
        >>> network = replace(alphabet.NETWORKS[3], epochs=2)  # of 5,000
        >>> model, outcome = alphabet.train(network)
        >>> report.save_figure(report.figure([outcome]), "batch.png").name
        'batch.png'
    """
    rows = [(learning_panel(runs), predictions_panel(runs)) for runs in group_by_network(outcomes)]
    return draw_sheet([panel for row in rows for panel in row], columns=2)


def network_title(network: Network) -> str:
    """A network's number, name and title."""
    return f"{network.number} {network.name}: {network.title}"


# Learning.


def learning_panel(runs: Sequence[Outcome]) -> Panel:
    """Loss and accuracy by epoch: the median over seeds, and a band from lowest to highest."""
    network = runs[0].network
    last = {name: np.array([run.history[name][-1] for run in runs]) for name in runs[0].history}
    description = (
        f"Learning curves of network {network_title(network)}. After "
        f"{len(runs[0].history['loss']):,} epochs the loss is "
        f"{_format_range(last['loss'], '{:.3g}')}, the accuracy "
        f"{_format_range(100 * last['accuracy'], '{:.1f}')} %."
    )
    name = f"learning-{network.name}"
    return Panel(
        name, network_title(network), description, 2.7, lambda fig: _draw_curves(fig, runs)
    )


def _format_range(values: np.ndarray, form: str) -> str:
    """The lowest and the highest value, or the one value; NaN and infinity as such."""
    ends = [form.format(each) for each in (values.min(), values.max())]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def shown_epochs(count: int) -> np.ndarray:
    """At most ``MAX_EPOCHS`` evenly spaced epochs, counted from 0, with the first and the last."""
    return np.unique(np.linspace(0, count - 1, min(count, MAX_EPOCHS)).round().astype(int))


def _draw_curves(fig: FigureBase, runs: Sequence[Outcome]) -> None:
    above, below = fig.subplots(2, 1, sharex=True)
    network = runs[0].network
    _draw_spread(above, [run.history["loss"] for run in runs], WARM)
    _draw_spread(below, [run.history["accuracy"] for run in runs], COOL, 100)
    published = 100 * network.published_accuracy
    below.axhline(published, color=MUTED, lw=0.9, ls=(0, (1, 1.5)))
    above.set(yscale="log", xlim=(1, max(2, len(runs[0].history["loss"]))))
    label_decades(above)
    below.set(ylim=(-3, 103), yticks=[0, 50, 100])
    title_axes(above, "loss", colour=WARM)
    title_axes(below, "accuracy, %", f"dotted: published, {published:.2f}", COOL)
    label_axes(below, "epoch")


def label_decades(axes: Axes) -> None:
    """Few tick labels on a logarithmic axis, without exponents."""
    low, high = axes.get_ylim()
    steps = (1.0,) if high > 50 * low else (1.0, 2.0, 3.0, 5.0)
    axes.yaxis.set_major_locator(LogLocator(subs=steps, numticks=6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{at:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _draw_spread(axes: Axes, histories: list[list[float]], colour: str, scale: float = 1) -> None:
    """Draw the median of several lines, and the band from the lowest to the highest.

    Neither is drawn where a value is not finite.
    """
    style_axes(axes, "left", "bottom")
    values = scale * np.array(histories)
    at = shown_epochs(values.shape[1])
    values = np.where(np.isfinite(values).all(axis=0), values, np.nan)[:, at]
    if len(values) > 1:
        ends = values.min(axis=0), values.max(axis=0)
        axes.fill_between(at + 1, *ends, color=colour, alpha=0.22, lw=0)
    alone = "o" if len(at) == 1 else None
    axes.plot(at + 1, np.median(values, axis=0), color=colour, lw=1.2, marker=alone, ms=3)


# Predictions.


def predictions_panel(runs: Sequence[Outcome]) -> Panel:
    """A heat map of next-letter probabilities after each last letter, of the first run."""
    run = runs[0]
    letters = np.flatnonzero(np.isfinite(run.probabilities[:-1]).all(axis=1))  # up to Y
    right = int((run.probabilities[letters].argmax(axis=1) == letters + 1).sum())
    description = (
        f"Heat map of the predictions of network {network_title(run.network)}, seed {run.seed}: "
        f"after {right} of {len(letters)} letters up to Y the most probable letter is correct."
    )
    name = f"answers-{run.network.name}"
    title = f"{run.network.number} {run.network.name}: answers, seed {run.seed}"
    return Panel(name, title, description, 3.3, lambda fig: _draw_predictions(fig, run))


def _draw_predictions(fig: FigureBase, run: Outcome) -> None:
    axes = fig.subplots()
    shares = np.ma.masked_invalid(run.probabilities)
    axes.imshow(shares, cmap=PROBABILITY_COLOURS, vmin=0, vmax=1, interpolation="none")
    places = np.arange(len(LETTERS) - 1)
    axes.plot(places + 1, places, ".", color=WARM, ms=2.4)
    style_axes(axes)
    for spine in axes.spines.values():
        spine.set(color=RULE, visible=True)
    for axis in (axes.xaxis, axes.yaxis):
        label_ticks(axis, LETTERS)
    label_axes(axes, "prediction (dot: correct)", "after a pattern ending in")
