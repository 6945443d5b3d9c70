"""Learning curves of one's own model: of each network of an ensemble, or of its trainings."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import FigureBase
from matplotlib.ticker import MaxNLocator

from legato.report._network_figures import label_decades, shown_epochs
from legato.report._panels import (
    COOL,
    INK,
    MUTED,
    WARM,
    Panel,
    label_axes,
    style_axes,
)


def learning_panel(title: str, history: Mapping[str, list], name: str) -> Panel:
    """The loss by epoch: of each network of an ensemble, or of training and validation."""
    networks = [key for key in history if key.startswith("network_")]
    curves = {key: np.array(history[key], float) for key in (*networks, "loss")}
    if "val_loss" in history:
        curves["val_loss"] = np.array(history["val_loss"], float)
    loss = curves["loss"]
    several = f", the mean of {len(networks)} networks of different seeds" if networks else ""
    description = (
        f"Learning curve, {title}: the loss{several} is {loss[0]:.3g} after the first and "
        f"{loss[-1]:.3g} after the last of {len(loss):,} epochs."
    )
    if "val_loss" in curves:
        best = int(np.nanargmin(curves["val_loss"]))
        description += f" The least validation loss is that of epoch {best + 1:,}."

    def draw(fig: FigureBase) -> None:
        axes = fig.subplots()
        for key, values in curves.items():
            at = shown_epochs(len(values))
            style: dict[str, Any] = {"color": INK, "lw": 1.2}
            if key.startswith("network_"):
                style = {"color": COOL, "lw": 0.8}
            if key == "val_loss":
                style = {"color": WARM, "lw": 1.1}
            if len(at) == 1:
                style |= {"marker": "o", "ms": 3}
            axes.plot(at + 1, values[at], **style)
        if "val_loss" in curves:
            axes.axvline(best + 1, color=MUTED, lw=0.7, ls=(0, (1, 1.5)))
        style_axes(axes, "left", "bottom")
        every = np.concatenate([*curves.values()])
        if (every[np.isfinite(every)] > 0).all():
            axes.set_yscale("log")
            label_decades(axes)
        axes.set_xlim(1, max(2, len(loss)))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        label_axes(axes, "epoch", "loss")

    return Panel(name, title, description, 2.1, draw)


def learning_key(histories: list[Mapping[str, list]]) -> tuple[tuple[str, str], ...]:
    """What the lines of learning curves are."""
    networks = max(sum(key.startswith("network_") for key in each) for each in histories)
    found = [("ink", f"mean of the {networks} networks" if networks else "loss of training")]
    if networks:
        found.append(("cool", "a network, each of its own seed"))
    if any("val_loss" in each for each in histories):
        found.append(("warm", "loss of validation"))
    return tuple(found)
