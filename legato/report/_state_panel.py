"""The states of recurrent layers along a series, as a heat map below the series itself."""

from typing import NamedTuple

import keras
import numpy as np
from matplotlib.figure import FigureBase
from matplotlib.ticker import MaxNLocator

import legato
from legato import InputError, Sequences, Trained
from legato._series.windows import windows_before
from legato.report._panels import SIGNED_COLOURS, WIDTH, Panel, style_axes, title_axes, width_of
from legato.report._series_axis import Line, draw_line, line_of, name_shown
from legato.report._series_panels import WIDE

MAX_STEPS, MAX_UNITS, MAX_LAYERS = 300, 64, 4  # that are drawn


class StateTrace(NamedTuple):
    """The outputs of recurrent layers after each step.

    Attributes:
        sequence: which of the sequences.
        begin: its first step that is shown.
        layers: name of each layer → (time steps, units).
        is_carried: whether the state was carried from step to step; else each is of a window.
    """

    sequence: int
    begin: int
    layers: dict[str, np.ndarray]
    is_carried: bool


def trace_states(trained: Trained, sequences: Sequences) -> StateTrace:
    """The states of all recurrent layers over the end of the longest sequence.

    Raises:
        InputError: the model has no recurrent layer.
    """
    if trained.shape.framing == "ensemble" and trained.task.whole:
        raise InputError(
            "The networks of the ensemble read a whole sequence at once, in pooled steps, so there "
            "are no states after each step to show."
        )
    sequence = int(sequences.lengths.argmax())
    begin = max(0, int(sequences.lengths[sequence]) - MAX_STEPS)
    values = trained.inputs_of(sequences, lenient=True)
    own = values[sequences.offsets[sequence] : sequences.offsets[sequence + 1]]
    layers = [each for each in trained.model.layers if _is_recurrent(each)][:MAX_LAYERS]
    if not layers:
        raise InputError(
            "The model has no recurrent network: the ensemble's weights chose linear forecasters "
            "only, so there are no states to show."
        )
    if trained.shape.stateful:
        stream = trained.model.stream(**trained.lookback)
        if begin:
            stream.warm(own[:begin])
        trace = stream.trace(own[begin:])
        found = {path: np.asarray(parts[0]) for path, parts in trace.states.items()}
        return StateTrace(sequence, begin, dict([*found.items()][:MAX_LAYERS]), True)
    ends = np.arange(begin, len(own))
    windows = windows_before(own, 0 * ends, ends, trained.shape.steps).astype("float32")
    inner = legato.Model(trained.model.inputs, [each.output for each in layers])
    ahead = trained.known_after(own, ends, 0 * ends + len(own), trained.task.horizon)
    seen = [windows, ahead] if trained.task.known else windows
    outputs = inner.predict(seen, batch_size=len(windows), verbose=0)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    is_ensemble = trained.shape.framing == "ensemble"
    names = [
        f"network {at}" if is_ensemble and trained.shape.layers == 1 else layer.name
        for at, layer in enumerate(layers, 1)
    ]
    named = {
        name: output if output.ndim == 2 else output[:, -1]
        for name, output in zip(names, map(np.asarray, outputs), strict=True)
    }
    return StateTrace(sequence, begin, named, False)


def _is_recurrent(layer) -> bool:
    return isinstance(layer, keras.layers.RNN) and getattr(layer, "units", 0) > 0


def states_panel(sequences: Sequences, trace: StateTrace, column: str) -> Panel:
    """The series, and below it a heat map for each layer: units by steps."""
    line = line_of(sequences, trace.sequence, column)
    y = line.y[trace.begin :]
    maps = {name: _ordered(values, y) for name, values in trace.layers.items()}
    largest = max(float(np.abs(each).max()) for each in maps.values()) or 1.0
    saturated = np.mean([float((np.abs(each) > 0.95).mean()) for each in trace.layers.values()])
    how = "carried from step to step" if trace.is_carried else "at the end of the window before it"
    description = (
        f"Heat maps of the states of {len(maps)} recurrent layers after each of the last {len(y)} "
        f"steps, {how}: the largest size is {largest:.2f}, {100 * saturated:.0f} % are beyond "
        "±0.95."
    )

    def draw(fig: FigureBase) -> None:
        width = width_of(fig)
        ratios = [0.9, *(1.0 for _ in maps)]
        panels = fig.subplots(1 + len(maps), 1, sharex=False, height_ratios=ratios)
        at = np.arange(len(y))
        steps = Line(at, y, line.gaps[trace.begin :] & False, "")
        draw_line(panels[0], steps)
        style_axes(panels[0], "left")
        panels[0].set(xlim=(-0.5, len(y) - 0.5), xticks=[])
        panels[0].yaxis.set_major_locator(MaxNLocator(3, min_n_ticks=2))
        title_axes(panels[0], name_shown(column))
        for axes, (name, values) in zip(panels[1:], maps.items(), strict=True):
            axes.imshow(
                values.T,
                cmap=SIGNED_COLOURS,
                vmin=-largest,
                vmax=largest,
                aspect="auto",
                interpolation="none",
            )
            style_axes(axes)
            axes.set(yticks=[], xticks=[])
            right = (
                f"{values.shape[1]} units"
                if axes is not panels[1]
                else (f"{values.shape[1]} units, −{largest:.2g} blue … {largest:.2g} orange")
            )
            title_axes(axes, name_shown(name), right)
        _label_times(panels[-1], line, trace.begin, width)

    height = 1.0 + 0.85 * len(maps)
    return Panel("states", "States", description, height, draw, WIDTH)


def wide_states(panel: Panel) -> Panel:
    """The same for wide screens."""
    return panel._replace(name="states-wide", width=WIDE)


def _label_times(axes, line: Line, begin: int, width: float) -> None:
    """A few times below the last heat map."""
    count = len(line.x) - begin
    places = np.unique(np.linspace(0, count - 1, max(3, round(width / 1.3))).round().astype(int))
    x = line.x[begin:][places]
    names = [str(each)[:10] if line.x.dtype.kind == "M" else f"{each:g}" for each in x]
    axes.set_xticks(places, names)
    for label, side in ((axes.get_xticklabels()[0], "left"), (axes.get_xticklabels()[-1], "right")):
        label.set_ha(side)


def _ordered(values: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Units from the one that falls most as the series rises to the one that rises most."""
    values = values[:, :MAX_UNITS]
    centred = values - values.mean(0)
    spread = centred.std(0) * (y.std() or 1.0)
    agreement = (centred * (y - y.mean())[:, None]).mean(0) / np.where(spread > 0, spread, 1.0)
    return values[:, np.argsort(agreement, kind="stable")]
