"""Outcomes of the six networks as pictures: how they learnt, and what they answer."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from legato.alphabet import LETTERS, Network, Outcome
from legato.report._network_tables import by_network
from legato.report._panels import (
    COOL,
    MUTED,
    RULE,
    SHARES,
    WARM,
    Panel,
    name_axes,
    name_places,
    say_above,
    sheet,
    tidy,
)

MOST_EPOCHS = 240  # that are shown, of all


def figure(outcomes: Sequence[Outcome]) -> Figure:
    """A row a network: its learning curves, and what it answers after every letter.

    Made without a display; ``figure(...).savefig(path)`` writes it.
    """
    rows = [(curves(runs), answers(runs)) for runs in by_network(outcomes)]
    return sheet([panel for row in rows for panel in row], columns=2)


def heading(network: Network) -> str:
    """What a network is called."""
    return f"{network.number} {network.name}: {network.title}"


# How they learnt.


def curves(runs: Sequence[Outcome]) -> Panel:
    """Loss and accuracy of a network by epoch: the median over seeds, and all of them as a band."""
    network = runs[0].network
    last = {name: np.array([run.history[name][-1] for run in runs]) for name in runs[0].history}
    told = (
        f"Learning curves of network {heading(network)}. After {len(runs[0].history['loss']):,} "
        f"epochs the loss is {_between(last['loss'], '{:.3g}')}, the accuracy "
        f"{_between(100 * last['accuracy'], '{:.1f}')} %."
    )
    name = f"learning-{network.name}"
    return Panel(name, heading(network), told, 2.7, lambda drawn: _draw_curves(drawn, runs))


def _between(values: np.ndarray, form: str) -> str:
    """The lowest and the highest; said as it is where one is not finite."""
    ends = [form.format(each) for each in (values.min(), values.max())]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def shown_epochs(count: int) -> np.ndarray:
    """Some epochs of many, evenly apart, from the first to the last; numbers from 0."""
    return np.unique(np.linspace(0, count - 1, min(count, MOST_EPOCHS)).round().astype(int))


def _draw_curves(drawn: FigureBase, runs: Sequence[Outcome]) -> None:
    above, below = drawn.subplots(2, 1, sharex=True)
    network = runs[0].network
    _draw_spread(above, [run.history["loss"] for run in runs], WARM)
    _draw_spread(below, [run.history["accuracy"] for run in runs], COOL, 100)
    published = 100 * network.published_accuracy
    below.axhline(published, color=MUTED, lw=0.9, ls=(0, (1, 1.5)))
    above.set(yscale="log", xlim=(1, max(2, len(runs[0].history["loss"]))))
    _number_decades(above)
    below.set(ylim=(-3, 103), yticks=[0, 50, 100])
    say_above(above, "loss", colour=WARM)
    say_above(below, "accuracy, %", f"dotted: published, {published:.2f}", COOL)
    name_axes(below, "epoch")


def _number_decades(axes: Axes) -> None:
    """Few numbers up a logarithmic axis, written as one says them."""
    low, high = axes.get_ylim()
    steps = (1.0,) if high > 50 * low else (1.0, 2.0, 3.0, 5.0)
    axes.yaxis.set_major_locator(LogLocator(subs=steps, numticks=6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{at:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _draw_spread(axes: Axes, histories: list[list[float]], colour: str, scale: float = 1) -> None:
    """The median of several lines, and the band from the lowest to the highest.

    Where one is not finite, neither is drawn.
    """
    tidy(axes, "left", "bottom")
    values = scale * np.array(histories)
    at = shown_epochs(values.shape[1])
    values = np.where(np.isfinite(values).all(axis=0), values, np.nan)[:, at]
    if len(values) > 1:
        ends = values.min(axis=0), values.max(axis=0)
        axes.fill_between(at + 1, *ends, color=colour, alpha=0.22, lw=0)
    alone = "o" if len(at) == 1 else None
    axes.plot(at + 1, np.median(values, axis=0), color=colour, lw=1.2, marker=alone, ms=3)


# What they answer.


def answers(runs: Sequence[Outcome]) -> Panel:
    """The probability of every next letter after a pattern that ends in each; of the first run."""
    run = runs[0]
    asked = np.flatnonzero(np.isfinite(run.probabilities[:-1]).all(axis=1))  # up to Y
    right = int((run.probabilities[asked].argmax(axis=1) == asked + 1).sum())
    told = (
        f"Heat map of the answers of network {heading(run.network)}, seed {run.seed}: after "
        f"{right} of {len(asked)} letters up to Y the likeliest answer is the right one."
    )
    name = f"answers-{run.network.name}"
    title = f"{run.network.number} {run.network.name}: answers, seed {run.seed}"
    return Panel(name, title, told, 3.3, lambda drawn: _draw_answers(drawn, run))


def _draw_answers(drawn: FigureBase, run: Outcome) -> None:
    axes = drawn.subplots()
    shares = np.ma.masked_invalid(run.probabilities)
    axes.imshow(shares, cmap=SHARES, vmin=0, vmax=1, interpolation="none")
    places = np.arange(len(LETTERS) - 1)
    axes.plot(places + 1, places, ".", color=WARM, ms=2.4)
    tidy(axes)
    for spine in axes.spines.values():
        spine.set(color=RULE, visible=True)
    for axis in (axes.xaxis, axes.yaxis):
        name_places(axis, LETTERS)
    name_axes(axes, "answer (dot: the right one)", "after a pattern ending in")
