"""``Stream``: one live sequence of a model, fed as it arrives, with a state of its own.

What it carries is one small array that is never changed, only replaced: to peek, to fork and to
undo cost nothing, and a feed that is refused or interrupted leaves the stream where it was.
"""

import os
from collections.abc import Callable
from copy import copy
from typing import Any, overload

import jax
import numpy as np

from legato._errors import InputError, StateError, UnsupportedError
from legato._platform.checks import check_count
from legato._recurrent.state import State
from legato._streams.compiled_steps import CompiledSteps, Emit
from legato._streams.sampling import Sampler
from legato._streams.store import StreamRecords
from legato._streams.trace import Trace


class Stream:
    """One live sequence of a model; made by ``model.stream()``.

    It never touches the model's own state, nor another stream's. The model's weights are used as
    they are when a step is fed. One thread at a time feeds a stream; streams are independent.

    Example:
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

    def __init__(self, stepper: CompiledSteps):
        self._stepper = stepper
        self.reset()

    def __repr__(self) -> str:
        return f"<Stream: {self._stepper.one}, {self._steps} steps>"

    # Feeding.

    @property
    def takes(self) -> dict[str, tuple[int | None, ...]]:
        """What a step is: the name of each input → its shape; None for an axis of any size."""
        return {each.name: each.shape for each in self._stepper.one.feed.inputs}

    def read(self, x) -> tuple[tuple[np.ndarray, ...], int | None]:
        """What ``feed`` would take x for: an array for each input, and how many steps; None if it
        is one, as such.

        Raises:
            InputError: as ``feed`` does.
        """
        return self._stepper.one.feed.read(x)

    def feed(self, x, *, every: bool = True, starts=None):
        """Take one step, or several, and answer.

        Args:
            x: one step: what the model takes, without rows and time, such as (features,); or
                several, (steps, features). Of a model with several inputs a list or dictionary of
                those, where an input that has no time axis has no steps either.
            every: of several steps, answer each; False: the last only.
            starts: of several steps, booleans (steps,): where True, the stream begins anew before
                that step.

        Returns:
            The answer to one step, as ``predict`` gives it without rows and time, such as
            (classes,); to several, (steps, classes). Nested as the model's outputs are. NaN while
            a window is not full.

        Raises:
            InputError: x does not fit, or holds NaN or infinity. The stream has not moved.
        """
        one = self._stepper.one
        xs, steps = one.feed.read(x)
        if steps is None and starts is None:
            self._rows = self._stepper.step_alone(self._rows, xs)
            self._steps += 1
            return self.answer
        emitted, starts = self._walk(x, starts, "answers" if every else None)
        if not every and not len(starts):
            raise InputError("No steps came, so there is no last one to answer: give one or more.")
        return one.answers(emitted) if every else self.answer

    def peek(self, x, *, every: bool = True, starts=None):
        """What ``feed`` would answer; the stream stays where it is."""
        before = self._rows, self._steps
        try:
            return self.feed(x, every=every, starts=starts)
        finally:
            self._rows, self._steps = before

    def warm(self, history, *, starts=None) -> "Stream":
        """Take a history without answering; as ``feed``, but returns the stream.

        Raises:
            InputError: as ``feed`` does.
        """
        self._walk(history, starts, None)
        return self

    def trace(self, x, *, starts=None) -> Trace:
        """Take steps as ``feed`` does, and say what every layer carried after each of them.

        Args:
            x, starts: as for ``feed``.

        Returns:
            Answers and states, step by step. ``legato.report.trace_figure`` draws them.

        Raises:
            InputError: as ``feed`` does.
        """
        one, before = self._stepper.one, self.state
        emitted, starts = self._walk(x, starts, "all")
        answers, initial = one.answers(emitted[:, one.words :]), one.state(one.blank)
        return Trace(answers, one.state(emitted), before, initial, starts, one.window)

    def _walk(self, x, starts, emit: Emit) -> tuple[np.ndarray, np.ndarray]:
        """Take some steps; returns what each emitted, (steps, words), and which began anew."""
        xs, steps = self._stepper.one.feed.several(x)
        starts = _flags(starts, steps)
        began = starts.nonzero()[0]
        flags = starts[None] if len(began) else None
        xs = tuple(each[None] for each in xs)
        self._rows, emitted = self._stepper.walk(self._rows, xs, np.array([steps]), flags, emit)
        self._steps = steps - int(began[-1]) if len(began) else self._steps + steps
        return emitted[:, 0], starts

    # Going on by itself.

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
            The choices, (n, …): whole numbers (n,) for ``argmax`` and ``sample``.

        Raises:
            InputError: nothing was fed yet, or a choice does not fit the model's input.
            UnsupportedError: the model has several inputs.
        """
        self._check_goes_on(n)
        one = self._stepper.one
        choosing = Sampler(choose, encode, one.feed.inputs[0], one.gives_probabilities)
        choosing.check(self.answer)
        try:
            rows, choices = self._stepper.generate(self._rows, choosing, n, self._steps)
        except (TypeError, IndexError) as error:
            if not _is_about_tracing(error):
                raise
            rows, choices = self._generate_here(choosing, n)
        self._rows, self._steps = rows, self._steps + n
        return choices

    def _generate_here(self, choosing: Sampler, n: int) -> tuple[Any, np.ndarray]:
        """As the compiled loop does, step by step."""
        one, rows, choices = self._stepper.one, self._rows, []
        numbers = choosing.numbers()
        for step in range(self._steps, self._steps + n):
            answer = one.answers(np.asarray(rows)[0, one.words :])
            choices.append(np.asarray(choosing.choose(answer, numbers, step)))
            rows = self._stepper.step_alone(rows, (np.asarray(choosing.encode(choices[-1])),))
        return rows, np.stack(choices)

    def _check_goes_on(self, n: int) -> None:
        one = self._stepper.one
        check_count("n", n, noun="a number of steps")
        if len(one.feed.inputs) > 1:
            names = ", ".join(repr(each.name) for each in one.feed.inputs)
            raise UnsupportedError(
                f"The model has several inputs, {names}, and an answer would be only one of them: "
                "choose the next step yourself, and feed it."
            )
        if not np.isnan(np.asarray(self._rows)[:, one.words :]).all():
            return
        if self._steps == 0:
            reason = "The stream was fed nothing yet, so it has no answer to choose from"
        elif one.window is not None and one.pad is None and self._steps < one.window:
            reason = (
                f"The stream has seen {self._steps} of the {one.window} steps of its window, and "
                f"has no answer before: {one.window - self._steps} more are wanted"
            )
        else:
            reason = (
                "The stream's last answer is not known: it is NaN, or its state came from elsewhere"
            )
        raise InputError(f"{reason}. Feed it first.")

    # What it carries.

    @property
    def steps(self) -> int:
        """How many steps it has seen since it began."""
        return self._steps

    @property
    def answer(self):
        """The answer to the last step; NaN where there is none."""
        one = self._stepper.one
        return one.answers(np.asarray(self._rows)[0, one.words :])

    @property
    def state(self) -> State:
        """What it carries, one row: layer path → arrays (1, …); of a window, the last inputs.

        Assign one to put it there: of another stream, or of a model's row
        (``model.states.select([0])``). ``steps`` stays as it is.

        Raises:
            StateError: (when assigned) it does not fit, or has several rows.
        """
        return self._stepper.one.state(np.asarray(self._rows))

    @state.setter
    def state(self, state: State) -> None:
        carried = self._stepper.one.rows_of(state)
        if len(carried) != 1:
            raise StateError(
                f"A stream is one sequence, and this state has {len(carried)} rows: choose one "
                "with state.select([row])."
            )
        self.at(carried, self._steps)

    def at(self, row: np.ndarray, steps: int) -> "Stream":
        """Go on from words, (1, words), as another stream of the same model carries them."""
        rows = np.array(self._stepper.one.blank)
        rows[:, : row.shape[1]] = row
        self._rows, self._steps = rows, steps
        return self

    @property
    def nbytes(self) -> int:
        """Bytes of what it carries and of its last answer."""
        return self._stepper.one.blank.nbytes

    def reset(self) -> None:
        """Begin anew, as a stream that has seen nothing."""
        self._rows: Any = self._stepper.one.blank
        self._steps = 0

    @overload
    def fork(self, n: None = None) -> "Stream": ...
    @overload
    def fork(self, n: int) -> list["Stream"]: ...
    def fork(self, n: int | None = None) -> Any:
        """Streams that go on from here, each on its own.

        Args:
            n: how many; default: one, which is returned itself.
        """
        if n is not None:
            check_count("n", n, noun="a number of streams")
        forks: list = [copy(self) for _ in range(n or 1)]
        return forks[0] if n is None else forks

    # Files.

    def save(self, path: str | os.PathLike) -> None:
        """Write what it carries, its last answer and its steps to a safetensors file, whole or not
        at all.

        Raises:
            OutputError: the folder is missing or cannot be written.
        """
        record = StreamRecords([""], np.asarray(self._rows), np.array([self._steps]))
        self._stepper.files.write(path, record)

    def load(self, path: str | os.PathLike, *, other_weights: bool = False) -> "Stream":
        """Go on where a saved stream was, to the bit; returns the stream.

        Args:
            path: what ``save`` wrote.
            other_weights: take it also if the model's weights are others now.

        Raises:
            StateError: no such file, a damaged one, or one of another model or other weights.
        """
        records = self._stepper.files.read(path, other_weights)
        if len(records.names) != 1:
            raise StateError(
                f"{path} holds {len(records.names)} streams, and one was expected: open it with "
                "model.streams().load(path)."
            )
        return self.at(records.rows, int(records.steps[0]))


def _is_about_tracing(error: Exception) -> bool:
    """Whether an error says that a function takes numbers and no tracers, such as a table's key."""
    jax_errors = jax.errors.JAXTypeError, jax.errors.JAXIndexError
    return isinstance(error, jax_errors) or "Tracer" in str(error)


def _flags(starts, steps: int) -> np.ndarray:
    """One boolean a step; none begins anew by default."""
    if starts is None:
        return np.zeros(steps, bool)
    flags = np.asarray(starts)
    if flags.shape != (steps,) or flags.dtype != bool:
        raise InputError(
            f"starts has shape {flags.shape} and dtype {flags.dtype}; one boolean for each of the "
            f"{steps} steps was expected."
        )
    return flags
