"""``Trace``: the state that every layer of a stream carried, step by step."""

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
        states: the carried state after each step: layer path → arrays (steps, …), a row a step.
        before: the carried state before the first step, one row.
        initial: the state of a stream that was fed nothing, one row.
        starts: booleans (steps,): the stream was reset before that step.
        window: time steps that each answer depends on, if only the last inputs were carried; None
            if layers carried their states.

    Examples:
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
        """The number of steps."""
        return len(self.starts)

    @property
    def norms(self) -> dict[str, np.ndarray]:
        """The size of each state after each step: root mean square of its numbers, (steps,).

        ``"lstm:0"`` is the first array of the layer ``lstm`` (h of an LSTM), ``"lstm:1"`` the
        second (c). Of h, near 1 means saturation; of c, what grows without end is an explosion.
        """
        return {name: _root_mean_square(now) for name, now, _ in self._parts()}

    @property
    def changes(self) -> dict[str, np.ndarray]:
        """The change of each state in each step: root mean square of the difference, (steps,)."""
        with np.errstate(invalid="ignore"):  # infinite before and after
            return {
                name: _root_mean_square(np.subtract(now, last, dtype="float64"))
                for name, now, last in self._parts()
            }

    def saturated(self, beyond: float = 0.95) -> dict[str, np.ndarray]:
        """The share of each state's numbers whose absolute value is above ``beyond``, (steps,)."""
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


def _root_mean_square(values: np.ndarray) -> np.ndarray:
    squares = np.square(values, dtype="float64")  # those of exploding numbers too
    return np.sqrt(np.mean(squares, axis=tuple(range(1, values.ndim))))
