"""The compiled programs of a model's streams: one step, many steps, and generation.

Each is compiled for the first input of its shapes. The number of steps is an argument, so that
histories of all lengths share a few programs, each with a capacity of steps that longer histories
fill several times. Of a model that the native library takes (``native_steps``), only generation
that it does not take is compiled.
"""

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from operator import is_
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from legato._platform.locks import Lock, with_lock
from legato._platform.single_function import ONE_ROW_WEIGHTS, jit_one_row, jit_several_rows
from legato._streams.native_steps import NativeSteps
from legato._streams.sampling import Sampler
from legato._streams.step import ModelStep
from legato._streams.stream_files import StreamFile
from legato._streams.supported_models import mixed_steps_error

PROGRAM_STEPS = (8, 64, 512, 4096)  # capacities of the programs for many steps
_MAX_BYTES = 2**24  # most bytes of their arguments and results
_FEW_BYTES = 2**18  # of which a program for more steps costs less than to compile another
_CHECKED_STEPS = 3  # steps of the sequence that is compared with ``predict``
_MAX_PROGRAMS = 16  # most compiled generation loops that are kept
Emit = Literal["answers", "all"] | None


class CompiledSteps:
    """The compiled steps of one model, shared by its streams.

    Args:
        model_step: of the model.

    Attributes:
        model_step: as given.
        files: reads and writes files of the model's streams.

    Raises:
        UnsupportedError: the model answers otherwise step by step.
    """

    def __init__(self, model_step: ModelStep):
        self.model_step = model_step
        self._weights = sum(each.size for each in model_step.weights())
        self._one_row = jax.jit(model_step.step_one_row)
        self._native = NativeSteps.of(model_step)  # for one row
        # XLA takes several cores for the batches of a model that is not small.
        self._native_batches = self._native if self._weights <= ONE_ROW_WEIGHTS else None
        self._bound: tuple[list, Callable] | None = None
        self._lock = Lock()  # of the programs below
        self._advance_programs: dict[tuple, Callable] = {}
        self._generate_programs: dict[Any, Callable] = {}
        self.files = StreamFile(model_step)
        if not model_step.is_known_to_agree and model_step.differs_from_predict(_CHECKED_STEPS):
            raise mixed_steps_error(model_step.model)

    @property
    def takes_any_batch(self) -> bool:
        """Whether a step takes any number of rows without compiling another program."""
        return self._native_batches is not None

    # One step.

    @cached_property
    def _step(self) -> Callable:
        return jit_several_rows(self.model_step.step, self._weights)

    def step(self, rows, xs: tuple):
        """One step of each row.

        Args:
            rows: (rows, width or more), carried states.
            xs: for each input, (rows, *its shape).

        Returns:
            (rows, width and answers), on the device or, of the native library, on the host.
        """
        if self._native_batches is not None:
            return self._native_batches.step(rows, xs[0])
        return self._step(self.model_step.weights(), rows, xs)

    def step_one_row(self, rows, xs: tuple):
        """One step of one row.

        A small model's weights are constants of the program: passing them as arguments costs more
        than the arithmetic. Once they change, they are passed as arguments.

        Args:
            rows: (1, width and answers).
            xs: for each input, an array of its shape.

        Returns:
            (1, width and answers), as ``step`` does.
        """
        if self._native is not None:
            return self._native.step_one_row(rows, xs)
        weights = self.model_step.weights()
        if self._bound is None:
            small = self._weights <= ONE_ROW_WEIGHTS
            bound = (
                jax.jit(partial(self.model_step.step_one_row, weights)) if small else self._one_row
            )
            self._bound = (weights if small else [None], bound)
        known, bound = self._bound
        if all(map(is_, weights, known)):
            return bound(rows, *xs)
        return self._one_row(weights, rows, *xs)

    # Many steps.

    def advance(
        self,
        rows,
        xs: tuple[np.ndarray, ...],
        counts: np.ndarray,
        starts: np.ndarray | None = None,
        emit: Emit = "answers",
        steps_before: int = 0,
    ) -> tuple[Any, np.ndarray]:
        """Several steps of each row, in as many calls as the programs' capacity takes.

        Args:
            rows: (rows, width) or (rows, width and answers), carried states.
            xs: for each input, (rows, steps, *its shape), or (rows, *its shape) where it has none.
            counts: (rows,), how many steps each row has; later ones are padding.
            starts: booleans (rows, steps): where true, a row is reset before that step. Default:
                none is.
            emit: returned for every step: ``"answers"``; ``"all"``, carried states and answers; or
                None, nothing.
            steps_before: of an earlier call for as many rows: fewer steps then run in its program,
                if its arrays are small.

        Returns:
            The last carried states and answers, (rows, width and answers), as ``step`` does; and
            what was emitted, (most steps, rows, width of it).
        """
        model_step, steps = self.model_step, int(counts.max(initial=0))
        native = self._native if len(counts) == 1 else self._native_batches
        if native is not None:
            emit_from = {"all": 0, "answers": model_step.width, None: None}[emit]
            return native.advance(rows, xs[0], counts, starts, emit_from)
        if rows.shape[1] == model_step.width:
            rows = np.concatenate(
                [rows, np.repeat(model_step.blank[:, model_step.width :], len(rows), 0)], 1
            )
        capacity = self._capacity(steps, xs, len(counts), steps_before)
        program = self._advance_program(emit == "all", capacity, len(counts) == 1)
        parts = []
        for begin in range(0, steps, capacity):
            count = min(capacity, steps - begin)
            part = slice(begin, begin + count)
            given = tuple(
                _pad_steps(x[:, part], capacity) if each.by_step else x
                for each, x in zip(model_step.step_inputs.inputs, xs, strict=True)
            )
            left = np.clip(counts - begin, 0, count).astype(np.int32)
            begun = None if starts is None else _pad_steps(starts[:, part], capacity)
            rows, emitted = program(model_step.weights(), rows, given, left, begun)
            if emit is not None:
                parts.append(np.asarray(emitted)[:count])
        if not parts:
            parts.append(np.asarray(rows)[None, :, 0 if emit == "all" else model_step.width :][:0])
        return rows, parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _capacity(self, steps: int, xs: tuple, rows: int, steps_before: int) -> int:
        """The capacity in steps of the program for so many."""
        inputs = zip(self.model_step.step_inputs.inputs, xs, strict=True)
        each = rows * self.model_step.blank.nbytes + sum(
            x[:, :1].nbytes for i, x in inputs if i.by_step
        )
        most = max((size for size in PROGRAM_STEPS if size * each <= _MAX_BYTES), default=1)
        if steps_before * each <= _FEW_BYTES:
            steps = max(steps, steps_before)
        return min(most, next((size for size in PROGRAM_STEPS if steps <= size), most))

    @with_lock
    def _advance_program(self, every_word: bool, capacity: int, is_one_row: bool) -> Callable:
        key = (every_word, capacity, is_one_row)
        if key not in self._advance_programs:
            model_step, emitted_from = self.model_step, 0 if every_word else self.model_step.width

            def advance(weights, rows, xs, counts, starts):
                first = jnp.asarray(model_step.blank)

                def body(t, carry):
                    rows, emitted = carry
                    begun = rows if starts is None else jnp.where(starts[:, t, None], first, rows)
                    now = tuple(
                        x[:, t] if each.by_step else x
                        for each, x in zip(model_step.step_inputs.inputs, xs, strict=True)
                    )
                    moved = model_step.step(weights, begun, now)
                    rows = jnp.where((t < counts)[:, None], moved, rows)
                    return rows, emitted.at[t].set(rows[:, emitted_from:])

                emitted = jnp.zeros((capacity, *rows[:, emitted_from:].shape), rows.dtype)
                return jax.lax.fori_loop(0, counts.max(), body, (rows, emitted))

            self._advance_programs[key] = (jit_one_row if is_one_row else jit_several_rows)(
                advance, self._weights
            )
        return self._advance_programs[key]

    # Generation.

    def generate(self, rows, sampler: Sampler, count: int, done: int) -> tuple[Any, np.ndarray]:
        """Feed a stream its own choices.

        Args:
            rows: (1, width and answers).
            sampler: turns an answer into a choice, and a choice into the next input.
            count: how many steps.
            done: steps that the stream was fed before, which random draws depend on.

        Returns:
            The carried state and the last answer, (1, width and answers), as ``step`` does; and the
            choices, (count, …).
        """
        if self._native is not None:
            generated = self._native.generate(rows, sampler, count)
            if generated is not None:
                return generated
        capacity = next((size for size in PROGRAM_STEPS if count <= size), PROGRAM_STEPS[-1])
        program, numbers, parts = self._generate_program(sampler, capacity), sampler.arguments(), []
        for begin in range(0, count, capacity):
            steps = min(capacity, count - begin)
            span = np.array([steps, (done + begin) % 2**31], np.int32)
            rows, chosen = program(self.model_step.weights(), rows, numbers, span)
            parts.append(np.asarray(chosen)[:steps])
        return rows, np.concatenate(parts)

    @with_lock
    def _generate_program(self, sampler: Sampler, capacity: int) -> Callable:
        key = sampler.key
        if key is None:
            return self._make_generate_program(sampler, capacity)
        if (key, capacity) not in self._generate_programs:
            while len(self._generate_programs) >= _MAX_PROGRAMS:
                self._generate_programs.pop(next(iter(self._generate_programs)))
            self._generate_programs[key, capacity] = self._make_generate_program(sampler, capacity)
        return self._generate_programs[key, capacity]

    def _make_generate_program(self, sampler: Sampler, capacity: int) -> Callable:
        model_step = self.model_step

        def generate(weights, rows, numbers, span):
            def choose(rows, t):
                answer = model_step.answers_of(rows)
                return sampler.choose(answer, numbers, span[1] + t)

            like = jax.eval_shape(choose, rows, span[0])

            def body(t, carry):
                rows, chosen = carry
                choice = choose(rows, t)
                x = sampler.encode(choice)
                return model_step.step(weights, rows, (x[None],)), chosen.at[t].set(choice)

            chosen = jnp.zeros((capacity, *like.shape), like.dtype)
            return jax.lax.fori_loop(0, span[0], body, (rows, chosen))

        return jit_one_row(generate, self._weights)

    # Compiling ahead.

    def compile(self, sizes: Sequence[int] = ()) -> None:
        """Compile the programs of one step before anything is fed.

        Args:
            sizes: batch sizes of a pool. Default: the program of a single stream.
        """
        model_step = self.model_step
        if not sizes:
            xs = tuple(x[0] for x in model_step.example(1))
            moved = self.step_one_row(model_step.blank, xs)
            self.step_one_row(moved, xs)  # rows on the device take another path
        for size in sizes:
            rows = np.repeat(model_step.blank[:, : model_step.width], size, axis=0)
            self.step(rows, model_step.example(size))


def _pad_steps(array: np.ndarray, steps: int) -> np.ndarray:
    """Pad (rows, steps, …) with zeros to a number of steps."""
    if array.shape[1] == steps:
        return array
    padded = np.zeros((len(array), steps, *array.shape[2:]), array.dtype)
    padded[:, : array.shape[1]] = array
    return padded
