"""Outcomes of the six networks as pictures."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from legato.alphabet import LETTERS, Network, Outcome
from legato.report._tables import by_network, percent

_LOSS, _ACCURACY = "#b5482a", "#2a6f97"


def figure(outcomes: Sequence[Outcome]) -> Figure:
    """A row a network: its learning curves, and what it answers after every letter.

    Made without a display; ``figure(...).savefig(path)`` writes it.
    """
    networks = by_network(outcomes)
    drawn = Figure(figsize=(11, 3.6 * len(networks)), layout="constrained")
    axes = drawn.subplots(len(networks), 2, squeeze=False, width_ratios=(1.5, 1))
    for row, runs in zip(axes, networks, strict=True):
        _draw_curves(row[0], runs)
        _draw_answers(row[1], runs[0])
    return drawn


def _draw_curves(axes: Axes, runs: Sequence[Outcome]) -> None:
    """Loss and accuracy by epoch, a line a seed."""
    network = runs[0].network
    right = axes.twinx()
    for run in runs:
        epochs = np.arange(1, len(run.history["loss"]) + 1)
        faint = 0.9 if len(runs) == 1 else 0.4
        axes.plot(epochs, run.history["loss"], color=_LOSS, lw=1, alpha=faint)
        right.plot(epochs, run.history["accuracy"], color=_ACCURACY, lw=1, alpha=faint)
    right.axhline(network.published_accuracy, color=_ACCURACY, lw=0.8, ls=":")
    mean = float(np.mean([run.accuracy for run in runs]))
    axes.set_title(_title(network), loc="left", fontsize=10, fontweight="bold")
    axes.set_title(
        f"{percent(mean)} (published {percent(network.published_accuracy)})",
        loc="right",
        fontsize=9,
    )
    axes.set(xlabel="epoch", yscale="log", xlim=(1, None))
    axes.set_ylabel("loss", color=_LOSS)
    right.set_ylabel("accuracy", color=_ACCURACY)
    right.set_ylim(0, 1.03)
    axes.spines[["top"]].set_visible(False)
    right.spines[["top"]].set_visible(False)


def _draw_answers(axes: Axes, run: Outcome) -> None:
    """Probability of every next letter after a pattern that ends in each letter."""
    axes.imshow(run.probabilities, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    places = np.arange(len(LETTERS))
    axes.plot(places[:-1] + 1, places[:-1], ".", color=_LOSS, ms=1.5)
    axes.set_xticks(places, LETTERS, fontsize=6)
    axes.set_yticks(places, LETTERS, fontsize=6)
    axes.tick_params(length=0)
    axes.set_xlabel("answer (dot: the right one)", fontsize=8)
    axes.set_ylabel("after a pattern ending in", fontsize=8)
    axes.set_title(f"answers, seed {run.seed}", loc="left", fontsize=9)


def _title(network: Network) -> str:
    return f"{network.number} {network.name}: {network.title}"
