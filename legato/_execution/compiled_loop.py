"""One pure Keras step, looped over batches and epochs inside one compiled program.

The program of a verb is compiled once for a model and the shapes of its data. Which steps it runs,
``begin`` to ``end``, is an argument: a whole run, an epoch, a single batch are calls of one
program, so that whoever watches a run sees the numbers of the run nobody watched. Data, sample
orders and the variables' values go in, the values and what each step emitted come out; nothing is
donated, so an interruption leaves everything as it was.

Meaning, as a plain Python loop over Keras's own step (``test_compiled_loop.py`` runs both)::

    for i in range(begin, end):
        if i % steps == 0:                      # an epoch begins
            metrics = metrics_at_first
            memory = memory_at_first            # under reset="epoch": see reset_rules
        rows = order[i - first]
        memory.fresh |= starts[rows]
        emitted, values = model.train_step(values, data[rows])
        if i % steps == steps - 1 and due:      # an epoch ends, and a validation is due
            checked, values = the same loop over model.test_step and the validation data
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from legato._platform.xla_small_programs import SingleFunctionProgram, is_small
from legato._recurrent.layer_memory import LayerMemory, expecting_rows
from legato._recurrent.reset_rules import Reset, fresh_before_batch, memory_before_batch

Verb = Literal["train", "test", "predict"]
ENDLESS = np.iinfo(np.int32).max  # batches in an epoch whose end is not known


@dataclass(frozen=True)
class LoopPlan:
    """What a program is compiled for, beside the shapes of its arguments.

    Attributes:
        rows: rows of state.
        batch: samples in a batch: ``rows``, or fewer where the others shall keep their state.
        last: samples in an epoch's last batch; ``batch`` if they all are as large.
        steps: batches in an epoch; ``ENDLESS`` while nobody knows.
        reset: when every row's state goes back: to what the run began with before each ``epoch``,
            to the initial state before each ``batch``, or ``never``.
        every: steps that share one emission: an epoch's for logs (the last stays), 1 for outputs.
        slots: emissions one call has room for.
    """

    rows: int
    batch: int
    last: int
    steps: int
    reset: Reset
    every: int
    slots: int


class LoopValues(NamedTuple):
    """A model's variables, or their values, as Keras's steps take them.

    What a verb does not use is empty; what it does not change comes back empty.
    """

    trainable: list
    non_trainable: list
    optimizer: list
    metrics: list


class LoopInputs(NamedTuple):
    """What a call of a program runs over.

    Attributes:
        data: a pytree of arrays (samples, …).
        starts: booleans (samples,): sequences that begin; or None.
        first_memory: the memory an epoch begins with, for ``reset="epoch"``; else empty.
        order: sample indices of batches, int32, (batches, plan.batch).
        span: the first step, the one after the last, and the step of ``order[0]``: int32 (3,).
        due: booleans (plan.slots,): epochs of the call that a validation follows; None if none.
        validation: what the validation runs over; None if there is none.
    """

    data: Any
    starts: Any
    first_memory: list
    order: Any
    span: Any
    due: Any = None
    validation: Any = None


class CompiledLoop:
    """The compiled loop of one verb over one model.

    Args:
        step: ``step(values, batch) -> (emitted, values)``, pure: Keras's ``train_step`` or alike,
            with the memory's variables at the end of ``values.non_trainable``.
        memories: what the model's stateful layers remember, in the order of those variables.
        changed: the fields of ``LoopValues`` that the step changes.

    Attributes:
        ready: what was prepared for the shapes met so far; its owner's to fill.
        runs: what was compiled for them; also for the programs of models made the same way, if
            they share it.
    """

    def __init__(
        self,
        step: Callable,
        memories: list[LayerMemory],
        changed: tuple[str, ...],
    ):
        self.ready: dict[tuple, Any] = {}
        self.runs: dict[tuple, Callable] = {}
        self._step = step
        self._kept = tuple(name for name in LoopValues._fields if name not in changed)
        self._variables = [variable for memory in memories for variable in memory.variables]
        ends = np.cumsum([len(memory.variables) for memory in memories], dtype=int)
        self._fresh_at = [int(end) - 1 for end in ends]

    def compiled(
        self,
        plan: LoopPlan,
        values: LoopValues,
        empty_metrics: list,
        validate: Callable | None = None,
    ) -> Callable:
        """The loop for a plan, compiled when it is first called.

        Args:
            plan: what to compile for.
            values: the variables' values; only shapes are looked at.
            empty_metrics: values of the metrics' variables an epoch begins with, on the host, so
                that they are constants of the program; None for one that runs on.
            validate: ``validate(values, memory, feed)`` → the logs of a validation and the values
                that it changed, for epochs that are followed by one.

        Returns:
            ``run(values, memory, feed)`` → what was emitted, stacked on axis 0 (slot ``i //
            plan.every - begin // plan.every``; with ``validate`` a pair, the validations' beside
            it), the values that changed, the new memory.
        """

        def run(values, memory, feed):
            return self.loop(plan, empty_metrics, values, memory, feed, validate)

        weights = sum(each.size for each in values.trainable)
        small = is_small(plan.batch, weights, training=bool(values.optimizer))
        return SingleFunctionProgram(run) if small else jax.jit(run)

    def once(self, plan: LoopPlan, compiled: bool = True) -> Callable:
        """One batch that holds all samples, for a verb whose outputs are wanted.

        Returns:
            ``run(values, memory, data, starts)`` → the outputs, the values that changed, the
            new memory.
        """

        def run(values, memory, data, starts):
            values, kept = self._split(values)
            return self._advance(plan, data, starts, kept, plan.batch, values, memory, None)

        return jax.jit(run) if compiled else run

    def step_by_step(self, plan: LoopPlan, empty_metrics: list) -> Callable:
        """The loop as plain Python, for ``run_eagerly=True`` and ``jit_compile=False``.

        Returns:
            ``run`` as ``compiled`` gives it; what is emitted has only the slots that were filled.
        """

        def run(values, memory, feed: LoopInputs):
            begin, end, first = map(int, feed.span)
            values, kept = self._split(values)
            data = jax.tree.map(jnp.asarray, feed.data)
            slots = {}
            for i in range(begin, end):
                if i % plan.steps == 0:
                    values = values._replace(metrics=_where(True, empty_metrics, values.metrics))
                memory = memory_before_batch(
                    plan.reset, i % plan.steps == 0, feed.first_memory, memory
                )
                rows = plan.last if i % plan.steps == plan.steps - 1 else plan.batch
                indices = feed.order[i - first]
                emitted, values, memory = self._advance(
                    plan, data, feed.starts, kept, rows, values, memory, indices
                )
                slots[i // plan.every] = emitted
            return jax.tree.map(lambda *each: jnp.stack(each), *slots.values()), values, memory

        return run

    def loop(
        self,
        plan: LoopPlan,
        empty_metrics: list,
        values: LoopValues,
        memory: list,
        feed: LoopInputs,
        validate: Callable | None = None,
    ) -> tuple:
        """What ``compiled`` compiles, to be traced: there, or inside another program's loop."""
        begin, end, first = feed.span
        values, kept = self._split(values)
        advance = partial(self._advance, plan, feed.data, feed.starts, kept)
        advance = jax.jit(advance, static_argnums=0, inline=True)
        emitted, *_ = jax.eval_shape(partial(advance, plan.batch), values, memory, feed.order[0])
        if validate is not None:
            checked, _ = jax.eval_shape(validate, values, memory, feed.validation)
            emitted = (emitted, checked)
        slots = jax.tree.map(lambda each: jnp.zeros((plan.slots, *each.shape), each.dtype), emitted)

        def body(i, carry):
            slots, values, memory = carry
            begins = i % plan.steps == 0
            values = values._replace(metrics=_where(begins, empty_metrics, values.metrics))
            memory = memory_before_batch(plan.reset, begins, feed.first_memory, memory)
            indices = feed.order[i - first]
            if plan.last == plan.batch:
                emitted, values, memory = advance(plan.batch, values, memory, indices)
            else:
                emitted, values, memory = jax.lax.cond(
                    i % plan.steps == plan.steps - 1,
                    partial(advance, plan.last),
                    partial(advance, plan.batch),
                    values,
                    memory,
                    indices,
                )
            slot = i // plan.every - begin // plan.every
            if validate is None:
                return _put(slots, slot, emitted), values, memory
            slots, checks = slots
            slots = _put(slots, slot, emitted)
            due = (i % plan.steps == plan.steps - 1) & feed.due[slot]
            check_now = partial(validate, values, memory, feed.validation)

            def check(checks, *_):
                checked, changed = check_now()
                return _put(checks, slot, checked), changed.non_trainable, changed.metrics

            changing = checks, values.non_trainable, values.metrics
            checks, own, metrics = jax.lax.cond(due, check, lambda *same: same, *changing)
            return (slots, checks), values._replace(non_trainable=own, metrics=metrics), memory

        return jax.lax.fori_loop(begin, end, body, (slots, values, memory))

    def _split(self, values: LoopValues) -> tuple[LoopValues, dict]:
        """The values the step changes, and those it only reads."""
        kept = {name: getattr(values, name) for name in self._kept}
        return values._replace(**{name: [] for name in kept}), kept

    def _advance(self, plan: LoopPlan, data, starts, kept, rows: int, values, memory, indices):
        """One step on the first ``rows`` rows of a batch; the other rows keep their memory."""
        batch = data
        if indices is not None:
            indices = indices[:rows]
            batch = jax.tree.map(lambda each: each[indices], data)
            starts = None if starts is None else starts[indices]
        before = [each[:rows] for each in memory]
        for at in self._fresh_at:
            before[at] = fresh_before_batch(plan.reset, before[at], starts)
        own = len(values.non_trainable)
        with expecting_rows(self._variables, rows):
            given = values._replace(**kept, non_trainable=[*values.non_trainable, *before])
            emitted, values = self._step(given, batch)
        after = values.non_trainable[own:]
        values, _ = self._split(values._replace(non_trainable=values.non_trainable[:own]))
        if rows < plan.rows:
            after = [old.at[:rows].set(new) for old, new in zip(memory, after, strict=True)]
        if rows < plan.batch and plan.every == 1:  # outputs: every batch takes a full one's room
            emitted = jax.tree.map(partial(_pad_rows, plan.batch), emitted)
        return emitted, values, after


def _put(slots, slot, emitted):
    return jax.tree.map(lambda all_, one: all_.at[slot].set(one), slots, emitted)


def _where(condition, then: list, otherwise: list) -> list:
    """Value by value ``then`` or ``otherwise``; always this where that is None."""
    return [
        other if value is None else jnp.where(condition, value, other)
        for value, other in zip(then, otherwise, strict=True)
    ]


def _pad_rows(rows: int, array):
    return jnp.pad(array, [(0, rows - array.shape[0])] + [(0, 0)] * (array.ndim - 1))
