"""The compiled programs of a model's streams: one step, many steps, and a loop on its own answers.

Each is compiled when shapes are first met. The number of steps is an argument: histories of all
lengths share the programs of a few sizes.
"""

from collections.abc import Callable, Sequence
from functools import partial
from operator import is_
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from legato._platform.xla_small_programs import ONE_ROW_WEIGHTS, jit_one_row, jit_several_rows
from legato._streams.sampling import Sampler
from legato._streams.step import ModelStep
from legato._streams.stream_files import StreamFile
from legato._streams.supported_models import looks_across

STEPS = (8, 64, 512, 4096)  # that programs for many steps have room for
_ROOM_BYTES = 2**24  # in their arguments and results, at most
_TRIED = 3  # time steps of the sequence a model is tried on
_KEPT = 16  # programs for ways to choose that are kept
Emit = Literal["answers", "all"] | None


class CompiledSteps:
    """What leads streams of one model.

    Args:
        one: the model's step.

    Attributes:
        one: as given.
        files: reads and writes what its streams carry.

    Raises:
        UnsupportedError: the model answers otherwise step by step.
    """

    def __init__(self, one: ModelStep):
        self.one = one
        self._weights = sum(each.size for each in one.weights())
        self._step = jit_several_rows(one.step, self._weights)
        self._alone = jax.jit(one.step_alone)
        self._bound: tuple[list, Callable] | None = None
        self._walks: dict[tuple, Callable] = {}
        self._choosers: dict[Any, Callable] = {}
        self.files = StreamFile(one)
        if not one.is_known_to_agree and one.differs(_TRIED):
            raise looks_across(one.model)

    # One step.

    def step(self, rows, xs: tuple):
        """One step of each row.

        Args:
            rows: (rows, words or more), what is carried.
            xs: for each input, (rows, *its shape).

        Returns:
            (rows, words and answers), on the device.
        """
        return self._step(self.one.weights(), rows, xs)

    def step_alone(self, rows, xs: tuple):
        """One step of one row.

        A small model's weights are bound into the program: handing them over costs more than the
        arithmetic. Should they change, they are handed over from then on.

        Args:
            rows: (1, all words), what is carried.
            xs: for each input, an array of its shape.

        Returns:
            (1, all words), on the device.
        """
        weights = self.one.weights()
        if self._bound is None:
            small = self._weights <= ONE_ROW_WEIGHTS
            bound = jax.jit(partial(self.one.step_alone, weights)) if small else self._alone
            self._bound = (weights if small else [None], bound)
        known, bound = self._bound
        if all(map(is_, weights, known)):
            return bound(rows, *xs)
        return self._alone(weights, rows, *xs)

    # Many steps.

    def walk(
        self,
        rows,
        xs: tuple[np.ndarray, ...],
        counts: np.ndarray,
        starts: np.ndarray | None = None,
        emit: Emit = "answers",
    ) -> tuple[Any, np.ndarray]:
        """Several steps of each row, in calls that programs have room for.

        Args:
            rows: (rows, words or all words), what is carried.
            xs: for each input, (rows, steps, *its shape), or (rows, *its shape) where it has none.
            counts: (rows,), how many steps each row has; what follows them is not looked at.
            starts: booleans (rows, steps): where true, a row begins anew before that step; None if
                none does.
            emit: what is wanted of every step: its answers; all that is carried and they; nothing.

        Returns:
            What is carried, and the last answers, (rows, all words), on the device; and what was
            wanted, (most steps, rows, words of that).
        """
        one, steps = self.one, int(counts.max(initial=0))
        if rows.shape[1] == one.words:
            rows = np.concatenate([rows, np.repeat(one.blank[:, one.words :], len(rows), 0)], 1)
        room = self._room(steps, xs, len(counts))
        program = self._walk(emit == "all", room, len(counts) == 1)
        parts = []
        for begin in range(0, steps, room):
            count = min(room, steps - begin)
            part = slice(begin, begin + count)
            given = tuple(
                _spread(x[:, part], room) if each.by_step else x
                for each, x in zip(one.feed.inputs, xs, strict=True)
            )
            left = np.clip(counts - begin, 0, count).astype(np.int32)
            begun = None if starts is None else _spread(starts[:, part], room)
            rows, emitted = program(one.weights(), rows, given, left, begun)
            if emit is not None:
                parts.append(np.asarray(emitted)[:count])
        if not parts:
            parts.append(np.asarray(rows)[None, :, 0 if emit == "all" else one.words :][:0])
        return rows, parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _room(self, steps: int, xs: tuple, rows: int) -> int:
        """The steps of a program that has room for some."""
        inputs = zip(self.one.feed.inputs, xs, strict=True)
        each = rows * self.one.blank.nbytes + sum(x[:, :1].nbytes for i, x in inputs if i.by_step)
        most = max((size for size in STEPS if size * each <= _ROOM_BYTES), default=1)
        return min(most, next((size for size in STEPS if steps <= size), most))

    def _walk(self, every_word: bool, room: int, alone: bool) -> Callable:
        key = (every_word, room, alone)
        if key not in self._walks:
            one, emitted_from = self.one, 0 if every_word else self.one.words

            def walk(weights, rows, xs, counts, starts):
                first = jnp.asarray(one.blank)

                def body(t, carry):
                    rows, emitted = carry
                    begun = rows if starts is None else jnp.where(starts[:, t, None], first, rows)
                    now = tuple(
                        x[:, t] if each.by_step else x
                        for each, x in zip(one.feed.inputs, xs, strict=True)
                    )
                    moved = one.step(weights, begun, now)
                    rows = jnp.where((t < counts)[:, None], moved, rows)
                    return rows, emitted.at[t].set(rows[:, emitted_from:])

                emitted = jnp.zeros((room, *rows[:, emitted_from:].shape), rows.dtype)
                return jax.lax.fori_loop(0, counts.max(), body, (rows, emitted))

            self._walks[key] = (jit_one_row if alone else jit_several_rows)(walk, self._weights)
        return self._walks[key]

    # On its own answers.

    def generate(self, rows, choosing: Sampler, count: int, done: int) -> tuple[Any, np.ndarray]:
        """A stream goes on, its answers fed back.

        Args:
            rows: (1, all words).
            choosing: how an answer becomes a choice, and that the next input.
            count: steps.
            done: steps the stream has seen, which random draws depend on.

        Returns:
            What is carried and the last answer, (1, all words), on the device; and the choices,
            (count, …).
        """
        room = next((size for size in STEPS if count <= size), STEPS[-1])
        program, numbers, parts = self._chooser(choosing, room), choosing.numbers(), []
        for begin in range(0, count, room):
            steps = min(room, count - begin)
            span = np.array([steps, (done + begin) % 2**31], np.int32)
            rows, chosen = program(self.one.weights(), rows, numbers, span)
            parts.append(np.asarray(chosen)[:steps])
        return rows, np.concatenate(parts)

    def _chooser(self, choosing: Sampler, room: int) -> Callable:
        key = choosing.key
        if key is None:
            return self._made_chooser(choosing, room)
        if (key, room) not in self._choosers:
            while len(self._choosers) >= _KEPT:
                self._choosers.pop(next(iter(self._choosers)))
            self._choosers[key, room] = self._made_chooser(choosing, room)
        return self._choosers[key, room]

    def _made_chooser(self, choosing: Sampler, room: int) -> Callable:
        one = self.one

        def generate(weights, rows, numbers, span):
            def choose(rows, t):
                answer = one.answers_of(rows)
                return choosing.choose(answer, numbers, span[1] + t)

            like = jax.eval_shape(choose, rows, span[0])

            def body(t, carry):
                rows, chosen = carry
                choice = choose(rows, t)
                x = choosing.encode(choice)
                return one.step(weights, rows, (x[None],)), chosen.at[t].set(choice)

            chosen = jnp.zeros((room, *like.shape), like.dtype)
            return jax.lax.fori_loop(0, span[0], body, (rows, chosen))

        return jit_one_row(generate, self._weights)

    # Before the first.

    def compile(self, sizes: Sequence[int] = ()) -> None:
        """Compile what a step takes, before anything is fed.

        Args:
            sizes: numbers of rows of a pool's batches; none for a stream by itself.
        """
        one = self.one
        if not sizes:
            xs = tuple(x[0] for x in one.example(1))
            moved = self.step_alone(one.blank, xs)
            self.step_alone(moved, xs)  # what is on the device comes in another way
        for size in sizes:
            rows = np.repeat(one.blank[:, : one.words], size, axis=0)
            self.step(rows, one.example(size))


def _spread(array: np.ndarray, steps: int) -> np.ndarray:
    """(rows, steps, …) with zeros behind them, up to some number of steps."""
    if array.shape[1] == steps:
        return array
    spread = np.zeros((len(array), steps, *array.shape[2:]), array.dtype)
    spread[:, : array.shape[1]] = array
    return spread
