"""``Stream``: one live sequence of a model, fed as it arrives, with a state of its own.

The carried state is one small array that is never changed, only replaced: peeking, forking and
undoing cost nothing, and a feed that is refused or interrupted leaves the stream as it was.
"""

import os
from collections.abc import Callable
from copy import copy
from typing import Any, overload

import jax
import numpy as np

from legato._errors import InputError, StateError, UnsupportedError
from legato._platform.checks import check_count
from legato._platform.locks import Lock, with_lock
from legato._platform.output_streams import printable_on_stdout
from legato._platform.plain_arrays import check_keeps_meaning
from legato._recurrent.state import State
from legato._streams.compiled_steps import CompiledSteps, Emit
from legato._streams.sampling import Sampler
from legato._streams.store import StreamRecords
from legato._streams.stream_files import check_is_not_kept
from legato._streams.trace import Trace


class Stream:
    """One live sequence of a model; made by ``model.stream()``.

    It neither reads nor changes the model's own state or another stream's. Each step uses the
    model's current weights. Threads may share a stream: they take turns.

    Examples:
        >>> import legato
        >>> model = legato.Sequential(
        ...     [legato.layers.Input((None, 3)), legato.layers.LSTM(4), legato.layers.Dense(2)]
        ... )
        >>> stream = model.stream()
        >>> stream.feed([0.1, 0.2, 0.3]).shape  # one step
        (2,)
        >>> stream.feed([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]).shape  # two
        (2, 2)
        >>> stream.steps
        3
    """

    def __init__(self, compiled: CompiledSteps):
        self._compiled = compiled
        self._lock = Lock()  # held from reading the state to writing it
        self.reset()

    @printable_on_stdout
    def __repr__(self) -> str:
        return f"<Stream: {self._compiled.model_step}, {self._steps} steps>"

    # Feeding.

    @property
    def takes(self) -> dict[str, tuple[int | None, ...]]:
        """The shape of a step: name of each input → its shape; None for an axis of any size."""
        return {each.name: each.shape for each in self._compiled.model_step.step_inputs.inputs}

    def read(self, x) -> tuple[tuple[np.ndarray, ...], int | None]:
        """Convert x as ``feed`` does: an array for each input, and the number of steps; None for a
        bare step.

        Raises:
            InputError: as ``feed`` does.
        """
        return self._compiled.model_step.step_inputs.read(x)

    def feed(self, x, *, every: bool = True, starts=None):
        """Feed one step, or several, and return the answers.

        Args:
            x: one step: what the model takes, without rows and time, such as (features,); or
                several, (steps, features). Of a model with several inputs a list or dictionary of
                those, where an input that has no time axis has no steps either.
            every: whether to return the answers to all of several steps, or only the last.
            starts: booleans (steps,) for several steps: where True, the stream is reset before that
                step.

        Returns:
            The answer to one step, as ``predict`` gives it without rows and time, such as
            (classes,); to several, (steps, classes). Nested as the model's outputs are. NaN while
            a window is not full.

        Raises:
            InputError: x does not fit, or holds NaN or infinity. The stream has not moved.
        """
        model_step = self._compiled.model_step
        xs, steps = model_step.step_inputs.read(x)
        if steps is None and starts is None:
            with self._lock:
                rows = self._rows = self._compiled.step_one_row(self._rows, xs)
                self._steps += 1
            return self._answer(rows)
        emitted, starts, rows = self._advance(x, starts, "answers" if every else None)
        if not every and not len(starts):
            raise InputError("No steps came, so there is no last one to answer: give one or more.")
        return model_step.answers(emitted) if every else self._answer(rows)

    def peek(self, x, *, every: bool = True, starts=None):
        """The answers that ``feed`` would return; the stream stays as it is."""
        return self.fork().feed(x, every=every, starts=starts)

    def warm(self, history, *, starts=None) -> "Stream":
        """Feed a history without returning answers; returns the stream.

        Raises:
            InputError: as ``feed`` does.
        """
        self._advance(history, starts, None)
        return self

    @with_lock
    def trace(self, x, *, starts=None) -> Trace:
        """Feed steps as ``feed`` does, and record the state of every layer after each of them.

        Args:
            x, starts: as for ``feed``.

        Returns:
            Answers and states, step by step. ``legato.report.trace_figure`` draws them.

        Raises:
            InputError: as ``feed`` does.
        """
        model_step, before = self._compiled.model_step, self.state
        emitted, starts, _ = self._advance(x, starts, "all")
        answers, initial = (
            model_step.answers(emitted[:, model_step.width :]),
            model_step.state(model_step.blank),
        )
        return Trace(answers, model_step.state(emitted), before, initial, starts, model_step.window)

    def _advance(self, x, starts, emit: Emit) -> tuple[np.ndarray, np.ndarray, Any]:
        """Feed steps; returns what each emitted, (steps, width), which began anew, and the state
        and last answer after them."""
        xs, steps = self._compiled.model_step.step_inputs.read_several(x)
        starts = _check_starts(starts, steps)
        began = starts.nonzero()[0]
        flags = starts[None] if len(began) else None
        xs = tuple(each[None] for each in xs)
        with self._lock:
            rows, emitted = self._compiled.advance(self._rows, xs, np.array([steps]), flags, emit)
            self._rows = rows
            self._steps = steps - int(began[-1]) if len(began) else self._steps + steps
        return emitted[:, 0], starts, rows

    # Generation.

    @with_lock
    def generate(
        self, n: int, choose: Callable | None = None, *, encode: Callable | None = None
    ) -> np.ndarray:
        """Choose from the last answer, feed the choice in as the next step, and so on.

        One compiled loop. ``generate(a)`` and then ``generate(b)`` is ``generate(a + b)``.

        Args:
            n: how many choices.
            choose: ``legato.argmax``, ``legato.sample(temperature, seed)``, or a pure function of
                the answer. Default: ``argmax`` if the model ends in softmax, else the answer
                itself. A function that JAX cannot trace is called step by step.
            encode: a pure function that makes a step of a choice. Default: the choice itself where
                its shape fits; one-hot where the model takes one number for each class.

        Returns:
            The choices, (n, …), which are whole numbers (n,) for ``argmax`` and ``sample``.

        Raises:
            InputError: nothing was fed yet, or a choice does not fit the model's input.
            UnsupportedError: the model has several inputs.
        """
        self._check_can_generate(n)
        model_step = self._compiled.model_step
        sampler = Sampler(
            choose, encode, model_step.step_inputs.inputs[0], model_step.gives_probabilities
        )
        sampler.check(self.answer)
        try:
            rows, choices = self._compiled.generate(self._rows, sampler, n, self._steps)
        except (TypeError, IndexError) as error:
            if not _is_about_tracing(error):
                raise
            rows, choices = self._generate_step_by_step(sampler, n)
        self._rows, self._steps = rows, self._steps + n
        return choices

    def _generate_step_by_step(self, sampler: Sampler, n: int) -> tuple[Any, np.ndarray]:
        """Generate as the compiled loop does, in Python."""
        model_step, rows, choices = self._compiled.model_step, self._rows, []
        numbers = sampler.arguments()
        for step in range(self._steps, self._steps + n):
            answer = model_step.answers(np.asarray(rows)[0, model_step.width :])
            choices.append(np.asarray(sampler.choose(answer, numbers, step)))
            rows = self._compiled.step_one_row(rows, (np.asarray(sampler.encode(choices[-1])),))
        return rows, np.stack(choices)

    def _check_can_generate(self, n: int) -> None:
        model_step = self._compiled.model_step
        check_count("n", n, noun="a number of steps")
        if len(model_step.step_inputs.inputs) > 1:
            names = ", ".join(repr(each.name) for each in model_step.step_inputs.inputs)
            raise UnsupportedError(
                f"The model has several inputs, {names}, and an answer would be only one of them: "
                "choose the next step yourself, and feed it."
            )
        if not np.isnan(np.asarray(self._rows)[:, model_step.width :]).all():
            return
        window = None if model_step.pad is not None else model_step.window
        if self._steps == 0:
            reason = "The stream was fed nothing yet, so it has no answer to choose from"
        elif window is not None and self._steps < window:
            reason = (
                f"The stream has seen {self._steps} of the {window} steps of its window, and has "
                f"no answer before: {window - self._steps} more are needed"
            )
        else:
            reason = (
                "The stream's last answer is not known: it is NaN, or its state came from elsewhere"
            )
        raise InputError(f"{reason}. Feed it first.")

    # The carried state.

    @property
    def steps(self) -> int:
        """The number of steps fed since it began."""
        return self._steps

    @property
    def answer(self):
        """The answer to the last step; NaN where there is none."""
        return self._answer(self._rows)

    def _answer(self, rows):
        model_step = self._compiled.model_step
        return model_step.answers(np.asarray(rows)[0, model_step.width :])

    @property
    def state(self) -> State:
        """The carried state, one row: layer path → arrays (1, …); of a window, the last inputs.

        It can be assigned: the state of another stream, or of a model's row
        (``model.states.select([0])``). ``steps`` stays as it is.

        Raises:
            StateError: (when assigned) it does not fit, or has several rows.
        """
        return self._compiled.model_step.state(np.asarray(self._rows))

    @state.setter
    def state(self, state: State) -> None:
        carried = self._compiled.model_step.rows_of(state)
        if len(carried) != 1:
            raise StateError(
                f"A stream is one sequence, and this state has {len(carried)} rows: choose one "
                "with state.select([row])."
            )
        with self._lock:
            self.at(carried, self._steps)

    @with_lock
    def at(self, row: np.ndarray, steps: int) -> "Stream":
        """Continue from a row (1, width) of another stream of the same model."""
        rows = np.array(self._compiled.model_step.blank)
        rows[:, : row.shape[1]] = row
        self._rows, self._steps = rows, steps
        return self

    @property
    def nbytes(self) -> int:
        """Bytes of the carried state and the last answer."""
        return self._compiled.model_step.blank.nbytes

    @with_lock
    def reset(self) -> None:
        """Put the stream back to its beginning, as if it had been fed nothing."""
        self._rows: Any = self._compiled.model_step.blank
        self._steps = 0

    @overload
    def fork(self, n: None = None) -> "Stream": ...
    @overload
    def fork(self, n: int) -> list["Stream"]: ...
    def fork(self, n: int | None = None) -> Any:
        """Copies of this stream that continue from here, independently.

        Args:
            n: how many; default: one, which is returned itself.
        """
        if n is not None:
            check_count("n", n, noun="a number of streams")
        with self._lock:
            forks: list = [copy(self) for _ in range(n or 1)]
        for fork in forks:
            fork._lock = Lock()
        return forks[0] if n is None else forks

    # Files.

    def save(self, path: str | os.PathLike) -> None:
        """Write state, last answer and number of steps to a safetensors file, whole or not at all.

        Raises:
            OutputError: the folder is missing or cannot be written, or the file is an open pool's.
        """
        check_is_not_kept(path)
        with self._lock:
            record = StreamRecords([""], np.asarray(self._rows), np.array([self._steps]))
        self._compiled.files.write(path, record)

    def load(self, path: str | os.PathLike, *, other_weights: bool = False) -> "Stream":
        """Continue from a saved stream, to the bit; returns the stream.

        Args:
            path: of a file that ``save`` wrote.
            other_weights: load it also if the model's weights are others now.

        Raises:
            StateError: no such file, a damaged one, or one of another model or other weights.
        """
        records = self._compiled.files.read(path, other_weights)
        if len(records.names) != 1:
            raise StateError(
                f"{path} holds {len(records.names)} streams, and one was expected: open it with "
                "model.streams().load(path)."
            )
        return self.at(records.rows, int(records.steps[0]))


def _is_about_tracing(error: Exception) -> bool:
    """Whether the cause of an error is a function that needs numbers, not tracers."""
    jax_errors = jax.errors.JAXTypeError, jax.errors.JAXIndexError
    return isinstance(error, jax_errors) or "Tracer" in str(error)


def _check_starts(starts, steps: int) -> np.ndarray:
    """One boolean a step; default: no step is a start."""
    if starts is None:
        return np.zeros(steps, bool)
    check_keeps_meaning("starts", starts)
    flags = np.asarray(starts)
    if flags.shape != (steps,) or flags.dtype != bool:
        raise InputError(
            f"starts has shape {flags.shape} and dtype {flags.dtype}; one boolean for each of the "
            f"{steps} steps was expected."
        )
    return flags
