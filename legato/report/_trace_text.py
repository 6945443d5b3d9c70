"""What the layers of a stream carried, by name and in numbers."""

from typing import NamedTuple

import numpy as np
from rich.console import Console

from legato import InputError, Trace
from legato._platform.wording import counted
from legato.report._terminal import TextColumn, aligned, print_columns, screen

NO_STATE = "A stream that sees windows carries its last inputs, and no state of a layer."


class Carried(NamedTuple):
    """One state array of one layer.

    Attributes:
        key: its name in a trace's norms, changes and saturated.
        name: the layer's path, and h, c or a number.
        layer, part: which layer, and which of its arrays.
        values: (steps, …).
    """

    key: str
    name: str
    layer: int
    part: int
    values: np.ndarray

    @property
    def title(self) -> str:
        """Its name, and how many units it has."""
        shape = self.values.shape[1:]
        laid = f"{'×'.join(map(str, shape))}, " if len(shape) > 1 else ""
        return f"{self.name} · {laid}{counted(int(np.prod(shape)), 'unit')}"


def carried(trace: Trace) -> list[Carried]:
    """Every state array of a trace; none of a stream that sees windows.

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
            arrays.append(Carried(key, f"{path} {name}", layer, part, np.asarray(values)))
    return arrays


def print_trace(trace: Trace, console: Console | None = None) -> None:
    """How large each state was, how it moves, and how much of it is saturated; a line a state.

    Norms (root mean square) after the first step, at most, and after the last; the last step's
    change; the share of numbers beyond 0.95, either way, over all steps. Of h, a norm near 1 and a
    large share mean saturation; of c, a norm that grows without end is an explosion.

    Args:
        trace: what ``stream.trace(x)`` gives, of one step or more.
        console: default: standard output.

    Raises:
        InputError: a trace of no steps.

    Example:
        >>> import legato
        >>> model = legato.Sequential([legato.layers.Input((None, 1)), legato.layers.LSTM(2)])
        >>> legato.report.print_trace(model.stream(window=3).trace([[0.1], [0.2]]))
        A stream that sees windows carries its last inputs, and no state of a layer.
    """
    console, arrays = console or screen(), carried(trace)
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
            *(TextColumn(name, aligned(values, 3)) for name, values in columns.items()),
            TextColumn("beyond ±0.95", shares),
        ],
        console,
    )
