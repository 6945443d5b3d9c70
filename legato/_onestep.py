"""A model as one pure step: what is carried and a step's inputs → answers, and what goes on.

It is Keras's own ``predict_step`` on a sample of one time step. Every recurrent layer, stateful or
not, carries a memory that is lent to it while the step is traced; the model's own state has no part
in it. With a *window* nothing is carried but the last inputs: every step is answered as ``predict``
answers a sample that ends there and starts afresh, which is what a model trained on windows knows.

What is carried is one vector a row (``Packing``), and the answers follow it there, so that a step
takes one array and gives one.
"""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import keras
import numpy as np

from legato import _keras
from legato._engine import Engine
from legato._errors import InputError, StateError, UnsupportedError
from legato._fed import Feed, Input, inputs_of, pieces
from legato._memory import Memory, lent, rows_as
from legato._packed import Packing, Spec, word
from legato._programs import Programs
from legato._state import State, numberless
from legato._streamable import carriers, check_reads_forward, keeps_to_steps

Window = int | Literal["auto"] | None
WINDOW = "window"  # the last inputs' place in a state


@dataclass(frozen=True)
class Answer:
    """One output of the model.

    Attributes:
        in_time: whether a sample's output has an axis of time, which a step's answer lacks.
        shape: of a step's answer.
        dtype: of its numbers.
    """

    in_time: bool
    shape: tuple[int, ...]
    dtype: str


class OneStep:
    """One step of a model's streams.

    Args:
        engine: the model's engine.
        window: time steps each answer looks back on, that step included; None: all since the
            stream's beginning, carried in the recurrent layers; ``"auto"``: what it was trained
            on (see ``Model.stream``).
        pad: the number that stands in a window before the stream's beginning; None: no answer
            (NaN) before a window is full.

    Attributes:
        window: settled.
        pad: as given.
        feed: reads inputs.
        variables: those whose values a step takes.
        words: of the vector that is carried.
        blank: (1, all words), a stream that has seen nothing; room for answers follows.

    Raises:
        StateError: the model is not built.
        InputError: a window that cannot be.
        UnsupportedError: it cannot be fed step by step; says why.
    """

    def __init__(self, engine: Engine, window: Window = "auto", pad: float | None = None):
        engine.adopt()
        self._engine, self._model = engine, engine.model
        inputs, steps = inputs_of(engine)
        self.window = self._settled(window, inputs, steps)
        self.pad = pad
        if pad is not None and (self.window is None or not np.isfinite(pad)):
            raise InputError(
                f"pad={pad!r} is what stands before the first step of a window, a finite number; "
                f"window is {self.window!r}."
            )
        if self.window is None:
            check_reads_forward(self._model)
        self._memories = [Memory(each) for each in carriers(self._model)]
        self._memory_variables = [v for memory in self._memories for v in memory.variables]
        values = Programs(engine).variables("predict")
        self.variables = [*values.trainable, *values.non_trainable]
        self._set_up(inputs, steps)

    def _settled(self, window: Window, inputs: list[Input], steps: int | None) -> int | None:
        if window == "auto":
            if self._engine.stateful_layers or (steps is None and inputs[0].in_time):
                return None
            return steps or 1
        if window is None:
            return None
        if isinstance(window, bool) or not isinstance(window, (int, np.integer)) or window < 1:
            raise InputError(
                f"window is {window!r}; a number of time steps from 1 up was expected, None to "
                'carry state instead, or "auto".'
            )
        if window > 1 and not any(each.in_time for each in inputs):
            raise InputError(
                f"window={window}, but the model's inputs have no time steps: each sample is a "
                "step of its streams. window=1 answers each by itself."
            )
        return int(window)

    # Shapes.

    def _set_up(self, inputs: list[Input], steps: int | None) -> None:
        """Settle what a step is and what it answers, by tracing it; nothing is computed."""
        length = self.window or 1
        try:
            shapes = self._traced(inputs, length)
        except (TypeError, ValueError) as error:
            if self.window is not None or steps in (None, 1):
                raise UnsupportedError(self._untraceable(length, error)) from error
            inputs = pieces(inputs, steps)  # it takes its samples whole
            shapes = self._traced(inputs, length)
        self._check_fed_once()
        longer: list | None = None
        if any(each.in_time for each in inputs):
            try:
                longer = jax.tree.leaves(self._traced(inputs, length + 1))
            except (TypeError, ValueError):
                longer = None
        leaves, self._answers_structure = jax.tree.flatten(shapes)
        self._answers = [
            _answer(each, longer[at] if longer else None, length) for at, each in enumerate(leaves)
        ]
        several = len(inputs) > 1 and self._engine.inputs is not None
        self.feed = Feed(inputs, self._model.input if several else None)
        self._inputs = inputs
        carried, answers = self._carried(), [(each.shape, each.dtype) for each in self._answers]
        words = word([*carried, *answers])
        self._carried_as, self._answered_as = Packing(carried, words), Packing(answers, words)
        self.words = self._carried_as.words
        self._one_answer = jax.tree_util.treedef_is_leaf(self._answers_structure)
        self.blank = np.zeros((1, self.words + self._answered_as.words), words)
        self.blank[:, : self.words] = self._carried_as.join_host(self._first_values())

    def _traced(self, inputs: list[Input], steps: int):
        """The shapes of the outputs for samples of so many steps."""
        for memory in self._memories:
            memory.times_fed = memory.times_begun = 0
        samples = tuple(each.sample(steps) for each in inputs)
        memory = [value for each in self._memories for value in each.blank(1)]
        outputs, _ = jax.eval_shape(self._call, _keras.values_of(self.variables), memory, samples)
        return outputs

    def _check_fed_once(self) -> None:
        for memory in self._memories:
            if memory.times_fed > 1 and self.window is None:
                raise UnsupportedError(
                    f"Model {self._model.name!r} cannot be streamed: its layer "
                    f"{memory.layer.name!r} is used {memory.times_fed} times, and one state cannot "
                    "be carried for all. window=n lets it see the last n steps instead."
                )

    def _untraceable(self, steps: int, error: Exception) -> str:
        told = str(error).strip().splitlines() or [type(error).__name__]
        remedy = (
            "window=n lets it see the last n steps at once."
            if self.window is None
            else "Choose another window."
        )
        return (
            f"Model {self._model.name!r} cannot be streamed: it takes no sample of {steps} time "
            f"step{'s' * (steps != 1)} ({told[0].rstrip('.')}). {remedy}"
        )

    def _carried(self) -> list[Spec]:
        if self.window is None:
            return [(each.shape[1:], each.dtype) for each in self._memory_variables]
        kept = [
            ((self.window - 1, *(axis or 1 for axis in each.shape)), each.dtype)
            for each in self._windowed
        ]
        return [*kept, ((), "int32")]

    @property
    def _windowed(self) -> list[Input]:
        return [each for each in self._inputs if each.in_time]

    def _first_values(self) -> list[np.ndarray]:
        """What one row carries that has seen nothing."""
        if self.window is None:
            return [np.asarray(v) for memory in self._memories for v in memory.blank(1)]
        *windows, seen = self._carried_as.parts
        padded = [np.full((1, *each.shape), self.pad or 0, each.dtype) for each in windows]
        return [*padded, np.zeros(1, seen.dtype)]

    # The step.

    def step(self, weights: list, rows, xs: tuple):
        """One step of several streams.

        Args:
            weights: values of ``variables``.
            rows: (rows, at least ``words``), what is carried; what follows it is not looked at.
            xs: for each input, (rows, *its shape).

        Returns:
            (rows, words and more): what is carried on, and the answers after it.
        """
        carried = self._carried_as.split(rows)
        if self.window is None:
            samples = [
                x[:, None] if each.in_time else x for each, x in zip(self._inputs, xs, strict=True)
            ]
            outputs, carried = self._call(weights, carried, tuple(samples))
        else:
            outputs, carried = self._step_window(weights, carried, xs)
        leaves = jax.tree.leaves(outputs)
        answers = [
            y[:, -1] if each.in_time else y for each, y in zip(self._answers, leaves, strict=True)
        ]
        if self.window is not None and self.pad is None:
            full = carried[-1] >= self.window
            answers = [
                jnp.where(full.reshape(-1, *[1] * (y.ndim - 1)), y, jnp.nan)
                if jnp.issubdtype(y.dtype, jnp.floating)
                else y
                for y in answers
            ]
        return jnp.concatenate(
            [self._carried_as.join(carried), self._answered_as.join(answers)], axis=1
        )

    def step_alone(self, weights: list, rows, *xs):
        """The same for one row: ``xs`` have no axis of rows."""
        return self.step(weights, rows, tuple(x[None] for x in xs))

    def _step_window(self, weights: list, carried: list, xs: tuple) -> tuple:
        """The outputs for the windows that end here, and the windows for the next step."""
        *windows, seen = carried
        kept, samples = iter(windows), list(xs)
        for at, each in enumerate(self._inputs):
            if each.in_time:
                samples[at] = jnp.concatenate([next(kept), xs[at][:, None]], axis=1)
        memory = [value for each in self._memories for value in each.blank(len(seen))]
        outputs, _ = self._call(weights, memory, tuple(samples))
        pairs = zip(self._inputs, samples, strict=True)
        moved = [x[:, 1:] for each, x in pairs if each.in_time]
        return outputs, [*moved, jnp.minimum(seen + 1, self.window or 1)]

    @property
    def is_known_to_agree(self) -> bool:
        """Whether it is sure, without trying, that whole sequences are answered as their steps."""
        if self.window is not None or not any(each.in_time for each in self._inputs):
            return True
        begun = any(memory.times_begun for memory in self._memories)
        return keeps_to_steps(self._model) and not begun

    def differs(self, steps: int) -> bool:
        """Whether a short sequence, drawn at random, is answered otherwise step by step."""
        samples = tuple(each.sample(steps) for each in self._inputs)
        memory = [value for each in self._memories for value in each.blank(1)]
        outputs, _ = jax.jit(self._call)(self.weights(), memory, samples)
        step, rows = jax.jit(self.step), self.blank
        answered = []
        for at in range(steps):
            now = tuple(
                x[:, at] if each.in_time else x
                for each, x in zip(self._inputs, samples, strict=True)
            )
            rows = np.asarray(step(self.weights(), rows, now))
            answered.append(self._answered_as.split_host(rows[:, self.words :]))
        for at, (each, output) in enumerate(
            zip(self._answers, jax.tree.leaves(outputs), strict=True)
        ):
            whole = np.asarray(output, "float32")
            mine = np.stack([parts[at] for parts in answered], axis=1).astype("float32")
            mine = mine if each.in_time else mine[:, -1]
            near = 1e-4 if jnp.dtype(each.dtype).itemsize >= 4 else 5e-2
            if not np.allclose(mine, whole, near, near, equal_nan=True):
                return True
        return False

    def _call(self, weights: list, memory: list, samples: tuple[Any, ...]) -> tuple[Any, list]:
        """Keras's ``predict_step`` with what is lent; the outputs and the memory after it."""
        given = dict(zip(map(id, self.variables), weights, strict=True))
        given |= zip(map(id, self._memory_variables), memory, strict=True)
        x, rows = samples[0], len(samples[0])
        if len(samples) > 1:
            x = list(samples)
            if self._engine.inputs is not None:
                x = keras.tree.pack_sequence_as(self._model.input, x)
        with lent(self._memories), rows_as(self._memory_variables, rows):
            trainable = [given[id(each)] for each in self._model.trainable_variables]
            others = [given[id(each)] for each in self._model.non_trainable_variables]
            outputs, others = self._model.predict_step((trainable, others), (x,))
        return outputs, list(others)[len(others) - len(memory) :]

    def answers_of(self, rows):
        """The answers of one row, (1, all words), nested as the outputs, inside a program."""
        parts = [each[0] for each in self._answered_as.split(rows[:, self.words :])]
        return jax.tree.unflatten(self._answers_structure, parts)

    # On the host.

    @property
    def model(self):
        """The model whose step it is."""
        return self._model

    @property
    def told(self) -> str:
        """What its streams carry, in words."""
        if self.window is not None:
            return f"a window of {self.window} step{'s' * (self.window != 1)}"
        own = self.state(self.blank)
        shapes = [f"{path} {' '.join(str(p.shape[1:]) for p in own[path])}" for path in own]
        return f"carries {', '.join(shapes)}"

    @property
    def gives_probabilities(self) -> bool:
        """Whether the one answer comes out of a softmax."""
        graph = _keras.graph_of(self._model)
        if graph is None or len(self._answers) != 1:
            return False
        last = graph.operations[-1]
        activation = getattr(last, "activation", None)
        return isinstance(last, keras.layers.Softmax) or activation is keras.activations.softmax

    @property
    def carried(self) -> list[list]:
        """What the words are, as JSON takes it: name, shape and dtype of each array."""
        if self.window is not None:
            names = [f"{WINDOW}:{at}" for at in range(len(self._windowed))] + [f"{WINDOW}:seen"]
        else:
            names = [
                f"{numberless(path)}:{at}"
                for path, memory in self._engine.by_path(self._memories).items()
                for at in [*range(len(memory.variables) - 1), "fresh"]
            ]
        parts = [*self._carried_as.parts, *self._answered_as.parts]
        names += ["answer"] * len(self._answers)
        return [
            [name, list(part.shape), part.dtype.name]
            for name, part in zip(names, parts, strict=True)
        ]

    def example(self, rows: int) -> tuple[np.ndarray, ...]:
        """A step of each input for some rows, for looking at shapes."""
        samples = [each.sample(1, rows) for each in self._inputs]
        return tuple(
            x[:, 0] if each.in_time else x for each, x in zip(self._inputs, samples, strict=True)
        )

    def weights(self) -> list:
        """The values of ``variables`` now."""
        return _keras.values_of(self.variables)

    def answers(self, rows: np.ndarray):
        """The answers in vectors (…, words of answers): arrays, nested as the model's outputs."""
        if self._one_answer:
            return self._answered_as.only_host(rows)
        parts = self._answered_as.split_host(rows)
        return jax.tree.unflatten(self._answers_structure, parts)

    def state(self, rows: np.ndarray) -> State:
        """What rows (rows, words) carry, as a value; fresh ones show the state they start from."""
        parts = self._carried_as.split_host(rows)
        if self.window is not None:
            return State({WINDOW: parts}, {WINDOW: parts[-1] == 0})
        values, fresh = {}, {}
        for path, memory in self._engine.by_path(self._memories).items():
            count = len(memory.variables)
            *own, flags = parts[:count]
            parts = parts[count:]
            if flags.any():
                initial = keras.tree.flatten(memory.layer.get_initial_state(len(rows)))
                own = [
                    np.where(flags.reshape(-1, *[1] * (each.ndim - 1)), first, each)
                    for first, each in zip(map(np.asarray, initial), own, strict=True)
                ]
            values[path], fresh[path] = own, flags
        return State(values, fresh)

    def rows_of(self, state: State) -> np.ndarray:
        """The vectors (rows, words) that carry a state.

        Raises:
            StateError: it is another model's, or of another window.
        """
        if not isinstance(state, State):
            raise StateError(f"A legato.State was expected, and {type(state).__name__} came.")
        own = self.state(self.blank)
        mine, its = ([*map(numberless, each)] for each in (own, state))
        if mine != its:
            raise StateError(
                f"This state has {_listed(state)}, and the stream carries {_listed(own)}: it is "
                "another model's, or that of a stream with another window=."
            )
        parts = []
        for expected, (path, came) in zip(own.values(), state.items(), strict=True):
            wanted, given = map(_specs, (expected, came))
            if wanted != given:
                raise StateError(
                    f"The state of {path!r} has {_readable(given)} a row, and the stream carries "
                    f"{_readable(wanted)}."
                )
            parts += map(np.asarray, came)
            if self.window is None:
                parts.append(np.asarray(state.fresh[path]))
        return self._carried_as.join_host(parts)


def _answer(output: jax.ShapeDtypeStruct, longer: jax.ShapeDtypeStruct | None, steps: int):
    """What one output of the model is, by what one more time step makes of it."""
    shape, in_time = output.shape[1:], False
    if longer is not None and shape[:1] == (steps,) and longer.shape[1:2] == (steps + 1,):
        shape, in_time = shape[1:], True
    return Answer(in_time, shape, str(output.dtype))


def _specs(parts) -> list[tuple]:
    return [(tuple(each.shape[1:]), str(each.dtype)) for each in parts]


def _readable(specs: list[tuple]) -> str:
    return " and ".join(f"{dtype} {shape}" for shape, dtype in specs)


def _listed(state: State) -> str:
    return f"layers {', '.join(state)}" if len(state) else "no layers"
