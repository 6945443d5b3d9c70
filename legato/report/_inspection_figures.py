"""The insides of the six networks as pictures: what flows between samples, what an LSTM holds."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import FigureBase

from legato.alphabet import Look
from legato.report._network_figures import heading
from legato.report._panels import (
    SIGNED,
    SIZES,
    Panel,
    name_axes,
    name_places,
    say_above,
    tidy,
)

DECADES = 12  # of the scale, at most
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def common_scale(looks: Sequence[Look]) -> tuple[float, float]:
    """The ends of one logarithmic scale for the maps of several networks."""
    every = np.concatenate([look.influence.matrix.ravel() for look in looks])
    every = every[every > 0]
    high = float(every.max(initial=0)) or 1.0
    low = max(float(every.min(initial=high)), high * 10.0**-DECADES)
    return 10.0 ** np.floor(np.log10(low)), 10.0 ** np.ceil(np.log10(high) + 1e-9)


def scale(ends: tuple[float, float]) -> Panel:
    """What the colours of influence mean."""
    told = f"Scale of the colours, logarithmic, from {ends[0]:.0e} to {ends[1]:.0e}."
    return Panel("influence-scale", "scale", told, 0.42, lambda drawn: _draw_scale(drawn, ends))


def _draw_scale(drawn: FigureBase, ends: tuple[float, float]) -> None:
    axes = drawn.subplots()
    low, high = np.log10(ends)
    extent = (low, high, 0, 1)
    axes.imshow(
        np.linspace(0, 1, 256)[None], cmap=SIZES, extent=extent, aspect="auto", interpolation="none"
    )
    tidy(axes)
    decades = np.arange(round(low), round(high) + 1, -(-round(high - low) // 5) or 1)
    axes.set(yticks=[])
    axes.set_xticks(decades, [f"10{str(each).translate(_RAISED)}" for each in decades])


def influence(look: Look, ends: tuple[float, float], told: str) -> Panel:
    """How much each prediction depends on each sample; grey where it does not, exactly."""
    name = f"influence-{look.network.name}"
    return Panel(
        name,
        heading(look.network),
        f"Influence map of network {heading(look.network)}. {told}",
        3.3,
        lambda drawn: _draw_influence(drawn, look, ends),
    )


def _draw_influence(drawn: FigureBase, look: Look, ends: tuple[float, float]) -> None:
    axes = drawn.subplots()
    matrix = look.influence.matrix
    axes.imshow(
        np.ma.masked_equal(matrix, 0), cmap=SIZES, norm=LogNorm(*ends), interpolation="none"
    )
    tidy(axes)
    for axis in (axes.xaxis, axes.yaxis):
        name_places(axis, look.letters)
    name_axes(axes, "sample ending in", "prediction after a sample ending in")


# What an LSTM holds.


def traces(look: Look, told: str) -> Panel:
    """Units by letters: h and c after the last step of each sample."""
    name = f"traces-{look.network.name}"
    return Panel(
        name,
        heading(look.network),
        f"Heat maps of h and c of network {heading(look.network)}. {told}",
        3.3,
        lambda drawn: _draw_traces(drawn, look),
    )


def rising(look: Look) -> np.ndarray:
    """The units, from the one whose h falls most from the first letter to the last."""
    h = look.held["h"]
    return np.argsort(h[-1] - h[0], kind="stable")


def _draw_traces(drawn: FigureBase, look: Look) -> None:
    panels = drawn.subplots(2, 1, sharex=True)
    order = rising(look)
    for axes, (name, values), least in zip(panels, look.held.items(), (1.0, 0.0), strict=True):
        largest = max(float(np.abs(values).max()), least) or 1.0
        axes.imshow(
            values[:, order].T,
            cmap=SIGNED,
            vmin=-largest,
            vmax=largest,
            aspect="auto",
            interpolation="none",
        )
        tidy(axes)
        say_above(axes, name, f"−{largest:.3g} blue … {largest:.3g} orange")
        name_axes(axes, "", f"{values.shape[1]} units")
        axes.set_yticks([])
    name_places(panels[1].xaxis, look.letters)
    name_axes(panels[1], "after a sample ending in", f"{look.network.units} units")
