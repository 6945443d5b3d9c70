"""The past that a stream carries: states of the recurrent layers, or a window of the last inputs.

Either is a list of arrays (rows, …), an argument and a result of each step. States of layers are
bound to the layers while the step is traced. A window is one sample for the model, which starts
from its initial state at every step, as in training on samples of that many time steps.
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

WINDOW = "window"  # the path of the last inputs in a State


class Lookback(Protocol):
    """The arrays that a stream carries, and their part in a step.

    Attributes:
        specs: shape without the row, and dtype, of each array.
        names: of the arrays, the same in every process.
    """

    @property
    def specs(self) -> list[Spec]: ...
    @property
    def names(self) -> list[str]: ...

    def initial(self) -> list[np.ndarray]:
        """The arrays of one row that was fed nothing."""
        ...

    def make_samples(self, carried: list, xs: Sequence) -> tuple[list, list]:
        """The samples (rows, time steps, …) and layer states that the model is called with.

        Args:
            carried: the arrays before the step.
            xs: for each input, the step (rows, …).
        """
        ...

    def next_carried(self, carried: list, samples: list, memory: list) -> list:
        """The arrays after the step, given the samples and the layer states after it."""
        ...

    def mask_answer(self, carried: list, answer) -> Any:
        """The answer (rows, …), NaN where the arrays before the step do not allow one yet."""
        ...

    def state(self, carried: list[np.ndarray]) -> State:
        """The arrays as a ``State``."""
        ...

    def arrays_of(self, state: State) -> list[np.ndarray]:
        """The arrays of a ``State`` that fits."""
        ...


@dataclass(frozen=True)
class CarriedMemories:
    """States of the recurrent layers, carried since the stream's beginning.

    Attributes:
        model_state: the state of the model.
        memories: the variables that stand in for its layers' states.
        inputs: of the model.
    """

    model_state: ModelState
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
            for path, memory in self.model_state.by_path(self.memories).items()
            for part in [*range(len(memory.variables) - 1), "fresh"]
        ]

    def initial(self) -> list[np.ndarray]:
        """See ``Lookback``."""
        return [value for memory in self.memories for value in memory.fresh_arrays(1, np)]

    def make_samples(self, carried: list, xs: Sequence) -> tuple[list, list]:
        """See ``Lookback``."""
        pairs = zip(self.inputs, xs, strict=True)
        return [x[:, None] if each.in_time else x for each, x in pairs], carried

    def next_carried(self, carried: list, samples: list, memory: list) -> list:
        """See ``Lookback``."""
        return memory

    def mask_answer(self, carried: list, answer) -> Any:
        """See ``Lookback``."""
        return answer

    def state(self, carried: list[np.ndarray]) -> State:
        """See ``Lookback``; fresh rows have the state that they start from."""
        values, fresh = {}, {}
        for path, memory in self.model_state.by_path(self.memories).items():
            count = len(memory.variables)
            *own, flags = carried[:count]
            carried = carried[count:]
            if flags.any():
                initial = keras.tree.flatten(memory.layer.get_initial_state(len(flags)))
                own = [
                    start_of_rows(flags, first, each)
                    for first, each in zip(map(np.asarray, initial), own, strict=True)
                ]
            values[path], fresh[path] = own, flags
        return State(values, fresh)

    def arrays_of(self, state: State) -> list[np.ndarray]:
        """See ``Lookback``."""
        return [
            np.asarray(each)
            for path, parts in state.items()
            for each in (*parts, state.fresh[path])
        ]

    def __str__(self) -> str:
        paths = self.model_state.by_path(self.memories).items()
        shapes = [
            " ".join([path, *[str(each.shape[1:]) for each in memory.variables[:-1]]])
            for path, memory in paths
        ]
        return f"carries {', '.join(shapes)}"


@dataclass(frozen=True)
class InputWindow:
    """The inputs of the last steps, and the number of steps fed, counted up to the window's length.

    Attributes:
        steps: time steps of the window, the current step included.
        pad: the number that fills the window before the beginning; None: no answer (NaN) before the
            window is full.
        memories: the variables that stand in for the layers' states, initial at every step.
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
        carried = [
            ((self.steps - 1, *(axis or 1 for axis in each.shape)), each.dtype)
            for each in self.inputs
            if each.in_time
        ]
        return [*carried, ((), "int32")]

    @property
    def names(self) -> list[str]:
        """See ``Lookback``."""
        return [*(f"{WINDOW}:{part}" for part in range(len(self.specs) - 1)), f"{WINDOW}:seen"]

    def initial(self) -> list[np.ndarray]:
        """See ``Lookback``."""
        *windows, (_, seen) = self.specs
        padded = [np.full((1, *shape), self.pad or 0, dtype) for shape, dtype in windows]
        return [*padded, np.zeros(1, seen)]

    def make_samples(self, carried: list, xs: Sequence) -> tuple[list, list]:
        """See ``Lookback``."""
        windows, samples = iter(carried), list(xs)
        for at, each in enumerate(self.inputs):
            if each.in_time:
                samples[at] = jnp.concatenate([next(windows), xs[at][:, None]], axis=1)
        rows = len(xs[0])
        fresh = [value for memory in self.memories for value in memory.fresh_arrays(rows, jnp)]
        return samples, fresh

    def next_carried(self, carried: list, samples: list, memory: list) -> list:
        """See ``Lookback``."""
        pairs = zip(self.inputs, samples, strict=True)
        moved = [x[:, 1:] for each, x in pairs if each.in_time]
        return [*moved, jnp.minimum(carried[-1] + 1, self.steps)]

    def mask_answer(self, carried: list, answer) -> Any:
        """See ``Lookback``; NaN before the window is full, unless padding fills it."""
        if self.pad is not None or not jnp.issubdtype(answer.dtype, jnp.floating):
            return answer
        full = (carried[-1] >= self.steps - 1).reshape(-1, *[1] * (answer.ndim - 1))
        return jnp.where(full, answer, jnp.nan)

    def state(self, carried: list[np.ndarray]) -> State:
        """See ``Lookback``; the last array counts the steps fed."""
        return State({WINDOW: carried}, {WINDOW: carried[-1] == 0})

    def arrays_of(self, state: State) -> list[np.ndarray]:
        """See ``Lookback``."""
        return [np.asarray(each) for each in state[WINDOW]]

    def __str__(self) -> str:
        return f"a window of {self.steps} step{'s' * (self.steps != 1)}"
