"""What a stream keeps of its past: the memories of the recurrent layers, or the last inputs.

Either is a list of arrays (rows, …) that a step takes and hands on. *Memories* are lent to the
layers while the step is traced, and carried on. A *window* is shown to the model as a sample of its
own, which starts afresh at every step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax.numpy as jnp
import keras
import numpy as np

from legato._errors import UnsupportedError
from legato._recurrent.layer_memory import LayerMemory
from legato._recurrent.model_state import ModelState
from legato._recurrent.reset_rules import start_of_rows
from legato._recurrent.state import State, without_number
from legato._streams.flat_state import Spec
from legato._streams.step_inputs import Input

WINDOW = "window"  # the last inputs' place in a state


class Lookback(Protocol):
    """What is kept, and what a step makes of it.

    Attributes:
        specs: shape without the row, and dtype, of each array.
        names: of the arrays, the same in every process.
    """

    @property
    def specs(self) -> list[Spec]: ...
    @property
    def names(self) -> list[str]: ...

    def first(self) -> list[np.ndarray]:
        """What one row keeps that has seen nothing."""
        ...

    def shown(self, kept: list, xs: Sequence) -> tuple[list, list]:
        """The samples (rows, time steps, …) and the memory that the model is called with."""
        ...

    def handed_on(self, kept: list, samples: list, memory: list) -> list:
        """What is kept after the step."""
        ...

    def told(self, kept: list, answer) -> Any:
        """The answer (rows, …), as it counts where this was kept before the step."""
        ...

    def state(self, kept: list[np.ndarray]) -> State:
        """What is kept, as a value."""
        ...

    def kept(self, state: State) -> list[np.ndarray]:
        """What is kept in a state that fits."""
        ...


@dataclass(frozen=True)
class CarriedMemories:
    """Carried in the recurrent layers since the stream's beginning.

    Attributes:
        engine: of the model.
        memories: lent to its layers.
        inputs: of the model.
    """

    engine: ModelState
    memories: list[LayerMemory]
    inputs: list[Input]

    @property
    def specs(self) -> list[Spec]:
        """See ``Lookback``."""
        variables = [each for memory in self.memories for each in memory.variables]
        return [(each.shape[1:], each.dtype) for each in variables]

    @property
    def names(self) -> list[str]:
        """See ``Lookback``."""
        return [
            f"{without_number(path)}:{part}"
            for path, memory in self.engine.by_path(self.memories).items()
            for part in [*range(len(memory.variables) - 1), "fresh"]
        ]

    def first(self) -> list[np.ndarray]:
        """See ``Lookback``."""
        return [np.asarray(value) for memory in self.memories for value in memory.fresh_values(1)]

    def shown(self, kept: list, xs: Sequence) -> tuple[list, list]:
        """See ``Lookback``."""
        pairs = zip(self.inputs, xs, strict=True)
        return [x[:, None] if each.in_time else x for each, x in pairs], kept

    def handed_on(self, kept: list, samples: list, memory: list) -> list:
        """See ``Lookback``."""
        return memory

    def told(self, kept: list, answer) -> Any:
        """See ``Lookback``."""
        return answer

    def state(self, kept: list[np.ndarray]) -> State:
        """See ``Lookback``; rows that are fresh show the state they start from."""
        values, fresh = {}, {}
        for path, memory in self.engine.by_path(self.memories).items():
            count = len(memory.variables)
            *own, flags = kept[:count]
            kept = kept[count:]
            if flags.any():
                initial = keras.tree.flatten(memory.layer.get_initial_state(len(flags)))
                own = [
                    start_of_rows(flags, first, each)
                    for first, each in zip(map(np.asarray, initial), own, strict=True)
                ]
            values[path], fresh[path] = own, flags
        return State(values, fresh)

    def kept(self, state: State) -> list[np.ndarray]:
        """See ``Lookback``."""
        return [
            np.asarray(each)
            for path, parts in state.items()
            for each in (*parts, state.fresh[path])
        ]

    def __str__(self) -> str:
        paths = self.engine.by_path(self.memories).items()
        shapes = [
            " ".join([path, *[str(each.shape[1:]) for each in memory.variables[:-1]]])
            for path, memory in paths
        ]
        return f"carries {', '.join(shapes)}"


@dataclass(frozen=True)
class InputWindow:
    """The inputs of the last steps, and how many steps there were, no more than the window.

    Attributes:
        steps: time steps of the window, that of the step itself included.
        pad: the number that stands before the beginning; None: no answer before the window is full.
        memories: lent to the model's layers, each time as if they had seen nothing.
        inputs: of the model.

    Raises:
        UnsupportedError: a step of an input has no fixed size.
    """

    steps: int
    pad: float | None
    memories: list[LayerMemory]
    inputs: list[Input]

    def __post_init__(self):
        for each in self.inputs:
            if each.in_time and self.steps > 1 and None in each.shape:
                raise UnsupportedError(
                    f"A window of {self.steps} steps cannot be kept: a step of the input "
                    f"{each.name!r} is {each}, of no fixed size. Give the input a fixed shape."
                )

    @property
    def specs(self) -> list[Spec]:
        """See ``Lookback``."""
        kept = [
            ((self.steps - 1, *(axis or 1 for axis in each.shape)), each.dtype)
            for each in self.inputs
            if each.in_time
        ]
        return [*kept, ((), "int32")]

    @property
    def names(self) -> list[str]:
        """See ``Lookback``."""
        return [*(f"{WINDOW}:{part}" for part in range(len(self.specs) - 1)), f"{WINDOW}:seen"]

    def first(self) -> list[np.ndarray]:
        """See ``Lookback``."""
        *windows, (_, seen) = self.specs
        padded = [np.full((1, *shape), self.pad or 0, dtype) for shape, dtype in windows]
        return [*padded, np.zeros(1, seen)]

    def shown(self, kept: list, xs: Sequence) -> tuple[list, list]:
        """See ``Lookback``."""
        windows, samples = iter(kept), list(xs)
        for at, each in enumerate(self.inputs):
            if each.in_time:
                samples[at] = jnp.concatenate([next(windows), xs[at][:, None]], axis=1)
        rows = len(xs[0])
        return samples, [value for memory in self.memories for value in memory.fresh_values(rows)]

    def handed_on(self, kept: list, samples: list, memory: list) -> list:
        """See ``Lookback``."""
        pairs = zip(self.inputs, samples, strict=True)
        moved = [x[:, 1:] for each, x in pairs if each.in_time]
        return [*moved, jnp.minimum(kept[-1] + 1, self.steps)]

    def told(self, kept: list, answer) -> Any:
        """See ``Lookback``; NaN before the window is full, unless padding fills it."""
        if self.pad is not None or not jnp.issubdtype(answer.dtype, jnp.floating):
            return answer
        full = (kept[-1] >= self.steps - 1).reshape(-1, *[1] * (answer.ndim - 1))
        return jnp.where(full, answer, jnp.nan)

    def state(self, kept: list[np.ndarray]) -> State:
        """See ``Lookback``; the last array is how many steps were seen."""
        return State({WINDOW: kept}, {WINDOW: kept[-1] == 0})

    def kept(self, state: State) -> list[np.ndarray]:
        """See ``Lookback``."""
        return [np.asarray(each) for each in state[WINDOW]]

    def __str__(self) -> str:
        return f"a window of {self.steps} step{'s' * (self.steps != 1)}"
