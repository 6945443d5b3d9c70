"""``Trace``: what every layer of a stream carried, step by step."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from legato._recurrent.state import State


@dataclass(frozen=True, eq=False)
class Trace:
    """Some steps of a stream.

    Attributes:
        answers: (steps, …), nested as the model's outputs.
        states: what was carried after each step: layer path → arrays (steps, …), a row a step.
        before: what was carried before the first step, one row.
        initial: what a stream carries that has seen nothing, one row.
        starts: booleans (steps,): the stream began anew before that step.
        window: how many steps each answer looked back on, where the last inputs are all that was
            carried; None where layers carried their states.

    Example:
        >>> import legato
        >>> model = legato.Sequential([legato.layers.Input((None, 1)), legato.layers.GRU(2)])
        >>> trace = model.stream().trace([[0.1], [0.2], [0.3]])
        >>> trace.states["gru"][0].shape, trace.norms["gru:0"].shape
        ((3, 2), (3,))
    """

    answers: Any
    states: State
    before: State
    initial: State
    starts: np.ndarray
    window: int | None = None

    @property
    def steps(self) -> int:
        """How many."""
        return len(self.starts)

    @property
    def norms(self) -> dict[str, np.ndarray]:
        """How large each state is after each step: root mean square over its numbers, (steps,).

        ``"lstm:0"`` is the first array of the layer ``lstm`` (h of an LSTM), ``"lstm:1"`` the
        second (c). Of h, near 1 means saturation; of c, what grows without end is an explosion.
        """
        return {name: _size(now) for name, now, _ in self._parts()}

    @property
    def changes(self) -> dict[str, np.ndarray]:
        """How much each state moved in each step: root mean square of the difference, (steps,)."""
        with np.errstate(invalid="ignore"):  # infinite before and after
            return {
                name: _size(np.subtract(now, last, dtype="float64"))
                for name, now, last in self._parts()
            }

    def saturated(self, beyond: float = 0.95) -> dict[str, np.ndarray]:
        """The share of each state's numbers that are larger than this, either way, (steps,)."""
        return {
            name: np.mean(np.abs(now) > beyond, axis=tuple(range(1, now.ndim)))
            for name, now, _ in self._parts()
        }

    def _parts(self) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Name, values after each step, values before it; of states of layers."""
        if self.window is not None:
            return
        for path, parts in self.states.items():
            for at, (part, first) in enumerate(zip(parts, self.before[path], strict=True)):
                now = np.asarray(part, "float32")
                last = np.concatenate([np.asarray(first, "float32"), now])[: len(now)]
                last[self.starts] = np.asarray(self.initial[path][at], "float32")
                yield f"{path}:{at}", now, last


def _size(values: np.ndarray) -> np.ndarray:
    squares = np.square(values, dtype="float64")  # those of exploding numbers too
    return np.sqrt(np.mean(squares, axis=tuple(range(1, values.ndim))))
