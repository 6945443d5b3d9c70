"""The states of a stream's layers as a table of their norms, changes and saturation."""

from typing import NamedTuple

import numpy as np
from rich.console import Console

from legato import InputError, Trace
from legato._platform.wording import counted
from legato.report._terminal import TextColumn, align_numbers, make_console, print_columns

NO_STATE = "A stream that sees windows carries its last inputs, and no state of a layer."


class StateArray(NamedTuple):
    """One state array of one layer.

    Attributes:
        key: its key in a trace's norms, changes and saturated.
        name: the layer's path with h, c or a number.
        layer, part: index of the layer, and of the array in it.
        values: (steps, …).
    """

    key: str
    name: str
    layer: int
    part: int
    values: np.ndarray

    @property
    def title(self) -> str:
        """Its name and number of units."""
        shape = self.values.shape[1:]
        laid = f"{'×'.join(map(str, shape))}, " if len(shape) > 1 else ""
        return f"{self.name} · {laid}{counted(int(np.prod(shape)), 'unit')}"


def state_arrays(trace: Trace) -> list[StateArray]:
    """All state arrays of a trace; none if the stream sees windows.

    Raises:
        InputError: a trace of no steps.
    """
    if trace.steps == 0:
        raise InputError(
            "The trace has 0 steps, so there is nothing to see in it: trace one step or more."
        )
    if trace.window is not None:
        return []
    arrays = []
    for layer, (path, parts) in enumerate(trace.states.items()):
        names = {1: "h", 2: "hc"}.get(len(parts), range(len(parts)))
        for part, (name, values) in enumerate(zip(names, parts, strict=True)):
            key = f"{path}:{part}"
            arrays.append(StateArray(key, f"{path} {name}", layer, part, np.asarray(values)))
    return arrays


def print_trace(trace: Trace, console: Console | None = None) -> None:
    """Print norm, change and saturation of each state, a line per state array.

    The columns: the norm (root mean square) after the first step, its maximum, the norm after the
    last step, the change in the last step, and the share of values beyond ±0.95 over all steps. For
    h, a norm near 1 and a large share mean saturation; for c, a norm that keeps growing means that
    the state explodes.

    Args:
        trace: from ``stream.trace(x)``, of one step or more.
        console: default: standard output.

    Raises:
        InputError: a trace of no steps.

    Examples:
        >>> import legato
        >>> model = legato.Sequential([legato.layers.Input((None, 1)), legato.layers.LSTM(2)])
        >>> legato.report.print_trace(model.stream(window=3).trace([[0.1], [0.2]]))
        A stream that sees windows carries its last inputs, and no state of a layer.
    """
    console, arrays = console or make_console(), state_arrays(trace)
    if not arrays:
        console.print(NO_STATE, soft_wrap=True)
        return
    norms, changes, beyond = trace.norms, trace.changes, trace.saturated()
    resets = f", {counted(int(trace.starts.sum()), 'reset')}" if trace.starts.any() else ""
    console.print(f"Norms over {counted(trace.steps, 'step')}{resets}", soft_wrap=True)
    columns = {
        "first": [norms[each.key][0] for each in arrays],
        "largest": [norms[each.key].max() for each in arrays],
        "last": [norms[each.key][-1] for each in arrays],
        "last change": [changes[each.key][-1] for each in arrays],
    }
    shares = [f"{100 * beyond[each.key].mean():.1f} %" for each in arrays]
    print_columns(
        [
            TextColumn("state", [each.name for each in arrays], numbers=False),
            *(TextColumn(name, align_numbers(values, 3)) for name, values in columns.items()),
            TextColumn("beyond ±0.95", shares),
        ],
        console,
    )
