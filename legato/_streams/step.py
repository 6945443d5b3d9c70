"""A model as a pure function of one step: (carried state, inputs) → (carried state, answers).

The function is Keras's own ``predict_step`` on a sample of one time step, or of a window of the
last ones (``lookback``). The states of recurrent layers, stateful or not, are bound while the step
is traced; the model's own state is neither read nor changed. The carried state is one flat vector a
row (``FlatLayout``) followed by the answers, so that a step takes one array and returns one.
"""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import keras
import numpy as np

from legato._errors import InputError, StateError, UnsupportedError
from legato._execution.program_cache import ProgramCache
from legato._platform import keras_private, keras_variables
from legato._platform.checks import check_count
from legato._recurrent.layer_memory import LayerMemory, expecting_rows, using_memories
from legato._recurrent.model_state import ModelState, described_parts
from legato._recurrent.state import State, without_number
from legato._streams.flat_state import FlatLayout, vector_dtype
from legato._streams.lookback import CarriedMemories, InputWindow, Lookback
from legato._streams.step_inputs import Input, StepInputs, inputs_of, whole_sample_inputs
from legato._streams.supported_models import carried_layers, check_reads_forward, is_stepwise

LookBack = int | Literal["auto"] | None


def check_window(window, pad) -> None:
    """Refuse a window that is no number of time steps, and padding that is no finite number.

    Raises:
        InputError: it is neither a number nor another choice of ``Model.stream``.
    """
    if window is not None and not (isinstance(window, str) and window == "auto"):
        remedy = 'None carries state instead, "auto" chooses.'
        check_count("window", window, noun="a number of time steps", remedy=remedy)
    if pad is not None and not (isinstance(pad, (int, float, np.number)) and np.isfinite(pad)):
        raise InputError(f"pad={pad!r}; a finite number was expected.")


@dataclass(frozen=True)
class StepOutput:
    """One output of the model.

    Attributes:
        in_time: whether a sample's output has a time axis, which a step's answer lacks.
        shape: of a step's answer.
        dtype: of a step's answer.
    """

    in_time: bool
    shape: tuple[int, ...]
    dtype: str


class ModelStep:
    """One step of the streams of a model.

    Args:
        model_state: the state of the model.
        window: time steps that each answer depends on, the current one included; None: all since
            the stream's beginning, carried in the recurrent layers; ``"auto"``: as the model was
            trained (see ``Model.stream``).
        pad: the number that fills a window before the stream's beginning; None: no answer (NaN)
            before the window is full.

    Attributes:
        model: the model.
        window: in time steps; None to carry state.
        pad: as given.
        step_inputs: reads the inputs of a feed.
        outputs: the model's, in order.
        variables: the model's variables, whose values a step takes as arguments.
        width: length of the vector of the carried state.
        blank: (1, width and answers), a stream that was fed nothing; its answers are NaN.

    Raises:
        StateError: the model is not built.
        InputError: a window or padding that does not fit the model.
        UnsupportedError: the model cannot be fed step by step; says why.
    """

    def __init__(
        self, model_state: ModelState, window: LookBack = "auto", pad: float | None = None
    ):
        model_state.adopt()
        self._model_state, self.model = model_state, model_state.model
        self._values_lock = model_state.lock.values
        inputs, steps = inputs_of(model_state)
        self.window, self.pad = self._choose_window(window, inputs, steps), pad
        if pad is not None and self.window is None:
            raise InputError(
                f"pad={pad!r} fills a window before its first step, and the stream has none: it "
                "carries state. Give window=, a number of time steps, or leave out pad=."
            )
        if self.window is None:
            check_reads_forward(self.model)
        self._memories = [LayerMemory(each) for each in carried_layers(self.model)]
        self._memory_variables = [v for memory in self._memories for v in memory.variables]
        values = ProgramCache(model_state).variables("predict")
        self.variables = [*values.trainable, *values.non_trainable]
        self._inputs, outputs = self._trace_inputs(inputs, steps)
        self.outputs = self._describe_outputs(outputs)
        self._answers_structure = jax.tree.structure(outputs)
        several = len(inputs) > 1 and model_state.inputs is not None
        self.step_inputs = StepInputs(self._inputs, self.model.input if several else None)
        self._lookback: Lookback = (
            CarriedMemories(model_state, self._memories, self._inputs)
            if self.window is None
            else InputWindow(self.window, pad, self._memories, self._inputs)
        )
        self._lay_out()

    def _choose_window(
        self, window: LookBack, inputs: list[Input], steps: int | None
    ) -> int | None:
        if window == "auto":
            if self._model_state.stateful_layers or (steps is None and inputs[0].in_time):
                return None
            return steps or 1
        if window is None:
            return None
        if window > 1 and not any(each.in_time for each in inputs):
            raise InputError(
                f"window={window}, but the model's inputs have no time steps: each sample is a "
                "step of its streams. window=1 answers each by itself."
            )
        return int(window)

    # Shapes, found by tracing: nothing is computed.

    def _trace_inputs(self, inputs: list[Input], steps: int | None) -> tuple[list[Input], Any]:
        """What a step is, and the shapes of the outputs for a sample of one, or of a window.

        Raises:
            UnsupportedError: the model takes no such sample, or uses a layer twice.
        """
        length = self.window or 1
        try:
            outputs = self._output_shapes(inputs, length)
        except (TypeError, ValueError) as error:
            if self.window is not None or steps in (None, 1):
                raise self._length_error(length, error) from error
            inputs = whole_sample_inputs(inputs, steps)  # it takes its samples whole
            outputs = self._output_shapes(inputs, length)
        for memory in self._memories:
            if memory.times_called > 1 and self.window is None:
                raise UnsupportedError(
                    f"Model {self.model.name!r} cannot be streamed: its layer "
                    f"{memory.layer.name!r} is used {memory.times_called} times, and one state "
                    "cannot be carried for all. window=n lets it see the last n steps instead."
                )
        return inputs, outputs

    def _output_shapes(self, inputs: list[Input], steps: int):
        """The shapes of the outputs for samples of ``steps`` time steps."""
        for memory in self._memories:
            memory.times_called = memory.times_given_initial_state = 0
        samples = [each.sample(steps) for each in inputs]
        outputs, _ = jax.eval_shape(self._call, self.weights(), self._blank_memory(1), samples)
        return outputs

    def _blank_memory(self, rows: int) -> list:
        """The layer states of rows that were fed nothing."""
        return [value for memory in self._memories for value in memory.fresh_arrays(rows, np)]

    def _length_error(self, steps: int, error: Exception) -> UnsupportedError:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        remedy = "window=n lets it see the last n steps at once."
        if self.window is not None:
            remedy = "Choose another window."
        return UnsupportedError(
            f"Model {self.model.name!r} cannot be streamed: it takes no sample of {steps} time "
            f"step{'s' * (steps != 1)} ({lines[0].rstrip('.')}). {remedy}"
        )

    def _describe_outputs(self, outputs) -> list[StepOutput]:
        """Describe the outputs; those that are longer for a longer sample have a time axis."""
        steps, longer = self.window or 1, None
        leaves = jax.tree.leaves(outputs)
        if any(each.in_time for each in self._inputs):
            try:
                longer = jax.tree.leaves(self._output_shapes(self._inputs, steps + 1))
            except (TypeError, ValueError):  # it takes no other number
                longer = None
        answers = []
        for output, more in zip(leaves, longer or leaves, strict=True):
            shape = output.shape[1:]
            in_time = shape[:1] == (steps,) and more.shape[1:2] == (steps + 1,)
            answers.append(StepOutput(in_time, shape[in_time:], str(output.dtype)))
        return answers

    def _lay_out(self) -> None:
        """Lay out the carried arrays and the answers in one vector."""
        carried, answers = (
            self._lookback.specs,
            [(each.shape, each.dtype) for each in self.outputs],
        )
        dtype = vector_dtype([*carried, *answers])
        self._carried_as, self._answered_as = FlatLayout(carried, dtype), FlatLayout(answers, dtype)
        self.width = self._carried_as.width
        self.blank = np.full((1, self.width + self._answered_as.width), np.nan, dtype)
        self.blank[:, : self.width] = self._carried_as.join_host(self._lookback.initial())
        self._one_answer = jax.tree_util.treedef_is_leaf(self._answers_structure)

    # The step.

    def step(self, weights: list, rows, xs: tuple):
        """One step of several streams.

        Args:
            weights: values of ``variables``.
            rows: (rows, width or more), carried states; columns after them are ignored.
            xs: for each input, (rows, *its shape).

        Returns:
            (rows, width and answers): the carried states after the step, then the answers.
        """
        carried = self._carried_as.split(rows)
        samples, memory = self._lookback.make_samples(carried, xs)
        outputs, memory = self._call(weights, memory, samples)
        leaves = jax.tree.leaves(outputs)
        answers = [
            self._lookback.mask_answer(carried, y[:, -1] if each.in_time else y)
            for each, y in zip(self.outputs, leaves, strict=True)
        ]
        carried = self._lookback.next_carried(carried, samples, memory)
        return jnp.concatenate(
            [self._carried_as.join(carried), self._answered_as.join(answers)], axis=1
        )

    def step_one_row(self, weights: list, rows, *xs):
        """As ``step`` for one row; ``xs`` have no axis of rows."""
        return self.step(weights, rows, tuple(x[None] for x in xs))

    def _call(self, weights: list, memory: list, samples: list[Any]) -> tuple[Any, list]:
        """Keras's ``predict_step`` with these values bound; returns outputs and layer states."""
        given = dict(zip(map(id, self.variables), weights, strict=True))
        given |= zip(map(id, self._memory_variables), memory, strict=True)
        x, rows = samples[0], len(samples[0])
        if len(samples) > 1:
            x = samples
            if self._model_state.inputs is not None:
                x = keras.tree.pack_sequence_as(self.model.input, samples)
        with using_memories(self._memories), expecting_rows(self._memory_variables, rows):
            trainable = [given[id(each)] for each in self.model.trainable_variables]
            others = [given[id(each)] for each in self.model.non_trainable_variables]
            outputs, others = self.model.predict_step((trainable, others), (x,))
        return outputs, list(others)[len(others) - len(memory) :]

    def answers_of(self, rows):
        """The answers in one row (1, width and answers), nested as the outputs; traceable."""
        parts = [each[0] for each in self._answered_as.split(rows[:, self.width :])]
        return jax.tree.unflatten(self._answers_structure, parts)

    # Comparison with ``predict``.

    @property
    def is_known_to_agree(self) -> bool:
        """Whether steps are known, without a trial, to answer as ``predict`` on a sequence."""
        if self.window is not None or not any(each.in_time for each in self._inputs):
            return True
        begun = any(memory.times_given_initial_state for memory in self._memories)
        return is_stepwise(self.model) and not begun

    def differs_from_predict(self, steps: int) -> bool:
        """Whether a random sequence of ``steps`` steps is answered otherwise step by step."""
        samples = [each.sample(steps) for each in self._inputs]
        outputs, _ = jax.jit(self._call)(self.weights(), self._blank_memory(1), samples)
        step, rows, answered = jax.jit(self.step), self.blank, []
        for at in range(steps):
            pairs = zip(self._inputs, samples, strict=True)
            now = tuple(x[:, at] if each.in_time else x for each, x in pairs)
            rows = np.asarray(step(self.weights(), rows, now))
            answered.append(self._answered_as.split_host(rows[:, self.width :]))
        leaves = jax.tree.leaves(outputs)
        for at, (each, output) in enumerate(zip(self.outputs, leaves, strict=True)):
            mine = np.stack([parts[at] for parts in answered], axis=1).astype("float32")
            mine, whole = mine if each.in_time else mine[:, -1], np.asarray(output, "float32")
            tolerance = 1e-4 if jnp.dtype(each.dtype).itemsize >= 4 else 5e-2
            if not np.allclose(mine, whole, tolerance, tolerance, equal_nan=True):
                return True
        return False

    # On the host.

    def __str__(self) -> str:
        return str(self._lookback)

    @property
    def gives_probabilities(self) -> bool:
        """Whether the model has one output and ends in a softmax."""
        last = self.model
        while isinstance(last, keras.Model):
            graph = keras_private.graph_of(last)
            last = None if graph is None else graph.operations[-1]
        activation = getattr(last, "activation", None)
        ends = isinstance(last, keras.layers.Softmax) or activation is keras.activations.softmax
        return ends and len(self.outputs) == 1

    @property
    def carried_layers(self) -> list:
        """The recurrent layers whose states are carried, in the order of the vector."""
        return [memory.layer for memory in self._memories] if self.window is None else []

    @property
    def carried(self) -> list[list]:
        """Name, shape and dtype of each array in the vector, in types that JSON takes."""
        names = [*self._lookback.names, *["answer"] * len(self.outputs)]
        parts = [*self._carried_as.parts, *self._answered_as.parts]
        pairs = zip(names, parts, strict=True)
        return [[name, list(part.shape), part.dtype.name] for name, part in pairs]

    def example(self, rows: int) -> tuple[np.ndarray, ...]:
        """Inputs of one step for so many rows, to compile with."""
        pairs = [(each, each.sample(1, rows)) for each in self._inputs]
        return tuple(x[:, 0] if each.in_time else x for each, x in pairs)

    def weights(self) -> list:
        """The values of ``variables`` now, all from before or all from after a training step."""
        with self._values_lock:
            return keras_variables.values_of(self.variables)

    def answers(self, rows: np.ndarray):
        """The answers in vectors (…, width of the answers), nested as the model's outputs."""
        if self._one_answer:
            return self._answered_as.single_host(rows)
        parts = self._answered_as.split_host(rows)
        return jax.tree.unflatten(self._answers_structure, parts)

    def state(self, rows: np.ndarray) -> State:
        """The carried state of (rows, width) as a value; fresh rows have their initial state."""
        return self._lookback.state(self._carried_as.split_host(rows))

    def rows_of(self, state: State) -> np.ndarray:
        """The vectors (rows, width) of a carried state.

        Raises:
            StateError: it is another model's, or of another window.
        """
        if not isinstance(state, State):
            raise StateError(f"A legato.State was expected, and {type(state).__name__} came.")
        own = self.state(self.blank)
        mine, its = ([*map(without_number, each)] for each in (own, state))
        if mine != its:
            raise StateError(
                f"This state has {_listed(state)}, and the stream carries {_listed(own)}: it is "
                "another model's, or that of a stream with another window=."
            )
        for expected, (path, came) in zip(own.values(), state.items(), strict=True):
            wanted, given = map(_specs, (expected, came))
            if wanted != given:
                raise StateError(
                    f"The state of {path!r} has {described_parts(given)} a row, and the stream "
                    f"carries {described_parts(wanted)}."
                )
        return self._carried_as.join_host(self._lookback.arrays_of(state))


def _specs(parts) -> list[tuple]:
    return [(tuple(each.shape[1:]), str(each.dtype)) for each in parts]


def _listed(state: State) -> str:
    return f"layers {', '.join(state)}" if len(state) else "no layers"
