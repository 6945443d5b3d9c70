"""Influence and states of the six networks as plots for the page."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import FigureBase

from legato.alphabet import Look
from legato.report._network_figures import network_title
from legato.report._panels import (
    SIGNED_COLOURS,
    SIZE_COLOURS,
    Panel,
    label_axes,
    label_ticks,
    style_axes,
    title_axes,
)

DECADES = 12  # maximum of the scale
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def common_scale(looks: Sequence[Look]) -> tuple[float, float]:
    """The ends of one logarithmic scale for the maps of all networks: powers of 10."""
    every = np.concatenate([look.influence.matrix.ravel() for look in looks])
    every = every[every > 0]
    high = float(every.max(initial=0)) or 1.0
    low = max(float(every.min(initial=high)), high * 10.0**-DECADES)
    return 10.0 ** np.floor(np.log10(low)), 10.0 ** np.ceil(np.log10(high) + 1e-9)


def scale_panel(ends: tuple[float, float]) -> Panel:
    """What the colours of influence mean."""
    description = f"Scale of the colours, logarithmic, from {ends[0]:.0e} to {ends[1]:.0e}."
    return Panel("influence-scale", "scale", description, 0.42, lambda fig: _draw_scale(fig, ends))


def _draw_scale(fig: FigureBase, ends: tuple[float, float]) -> None:
    axes = fig.subplots()
    low, high = np.log10(ends)
    extent = (low, high, 0, 1)
    axes.imshow(
        np.linspace(0, 1, 256)[None],
        cmap=SIZE_COLOURS,
        extent=extent,
        aspect="auto",
        interpolation="none",
    )
    style_axes(axes)
    decades = np.arange(round(low), round(high) + 1, -(-round(high - low) // 5) or 1)
    axes.set(yticks=[])
    axes.set_xticks(decades, [f"10{str(each).translate(_SUPERSCRIPTS)}" for each in decades])


def influence_panel(look: Look, ends: tuple[float, float], description: str) -> Panel:
    """A map of how much each prediction depends on each sample; grey is exactly 0."""
    name = f"influence-{look.network.name}"
    return Panel(
        name,
        network_title(look.network),
        f"Influence map of network {network_title(look.network)}. {description}",
        3.3,
        lambda fig: _draw_influence(fig, look, ends),
    )


def _draw_influence(fig: FigureBase, look: Look, ends: tuple[float, float]) -> None:
    axes = fig.subplots()
    matrix = look.influence.matrix
    axes.imshow(
        np.ma.masked_equal(matrix, 0), cmap=SIZE_COLOURS, norm=LogNorm(*ends), interpolation="none"
    )
    style_axes(axes)
    for axis in (axes.xaxis, axes.yaxis):
        label_ticks(axis, look.letters)
    label_axes(axes, "sample ending in", "prediction after a sample ending in")


# States.


def states_panel(look: Look, description: str) -> Panel:
    """Heat maps of h and c after the last step of each sample, units by letters."""
    name = f"traces-{look.network.name}"
    return Panel(
        name,
        network_title(look.network),
        f"Heat maps of h and c of network {network_title(look.network)}. {description}",
        3.3,
        lambda fig: _draw_states(fig, look),
    )


def units_by_rise(look: Look) -> np.ndarray:
    """The units, from the one whose h falls most from the first letter to the last."""
    h = look.held["h"]
    return np.argsort(h[-1] - h[0], kind="stable")


def _draw_states(fig: FigureBase, look: Look) -> None:
    panels = fig.subplots(2, 1, sharex=True)
    order = units_by_rise(look)
    for axes, (name, values), least in zip(panels, look.held.items(), (1.0, 0.0), strict=True):
        largest = max(float(np.abs(values).max()), least) or 1.0
        axes.imshow(
            values[:, order].T,
            cmap=SIGNED_COLOURS,
            vmin=-largest,
            vmax=largest,
            aspect="auto",
            interpolation="none",
        )
        style_axes(axes)
        title_axes(axes, name, f"−{largest:.3g} blue … {largest:.3g} orange")
        label_axes(axes, "", f"{values.shape[1]} units")
        axes.set_yticks([])
    label_ticks(panels[1].xaxis, look.letters)
    label_axes(panels[1], "after a sample ending in", f"{look.network.units} units")
