"""A loop over batches and epochs of one pure Keras step, compiled as one program.

Algorithm, as a plain Python loop over Keras's own step (``step_by_step`` is that loop, and
``test_compiled_loop.py`` compares the two)::

    for i in range(begin, end):
        if i % steps == 0:                      # an epoch begins
            metrics = metrics_at_first
            memory = memory_at_first            # under reset="epoch": see reset_rules
        rows = order[i - first]
        memory.fresh |= starts[rows]
        emitted, values = model.train_step(values, data[rows])
        if i % steps == steps - 1 and due:      # an epoch ends, and a validation is due
            checked, values = the same loop over model.test_step and the validation data

The program is compiled once for a model and the shapes of its data. The steps to run, ``begin`` to
``end``, are an argument: a whole run, an epoch and a single batch are calls of one program, so that
a run gives the same numbers with and without callbacks. Inputs are the data, the sample orders and
the variables' values; results are the changed values and the output of each slot.

Source: ``jax.lax.fori_loop`` around the steps of Keras's JAX trainer (``keras.src.backend.jax``),
which takes and returns the variables' values. The values of the recurrent state follow those of the
non-trainable variables.

Limits: gradients stop at the end of a batch (truncated backpropagation through time). Only the last
batch of an epoch may be smaller, which costs a second trace of the step. No buffer is donated, so
that an interruption leaves the model as it was, at the cost of a second copy of the variables.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from legato._execution.process_sums import jit_with_sums, process_adder
from legato._execution.recent_programs import RecentPrograms
from legato._platform.row_devices import (
    all_rows,
    in_all_processes,
    joining_row_sums,
    per_process,
    sharing_rows,
    split_rows,
)
from legato._platform.single_function import SingleFunctionProgram, is_small, jit_wide
from legato._recurrent.layer_memory import LayerMemory, expecting_rows
from legato._recurrent.reset_rules import Reset, fresh_before_batch, memory_before_batch

Verb = Literal["train", "test", "predict"]
ENDLESS = np.iinfo(np.int32).max  # batches in an epoch whose end is not known


@dataclass(frozen=True)
class LoopPlan:
    """The static arguments of a program.

    Attributes:
        rows: rows of state of a process, as all sizes here.
        batch: samples in a batch: ``rows``, or fewer, and then the other rows keep their state.
        last: samples in an epoch's last batch; ``batch`` if all are of one size.
        steps: batches in an epoch; ``ENDLESS`` while unknown.
        reset: when state is reset; see ``reset_rules``.
        every: steps that share a slot for their output, of which the last stays: an epoch's for
            logs, 1 for predictions, and for logs of training that callbacks may be given by batch.
        slots: the number of outputs that a call has room for.
        logs: whether the outputs are logs; those of predictions have an axis of rows.
        mesh: the devices that share the rows; None for a single one.
    """

    rows: int
    batch: int
    last: int
    steps: int
    reset: Reset
    every: int
    slots: int
    logs: bool = False
    mesh: Mesh | None = None


class LoopValues(NamedTuple):
    """A model's variables, or their values, as Keras's steps take them.

    Fields that a verb does not use are empty; fields that it does not change come back empty.
    """

    trainable: list
    non_trainable: list
    optimizer: list
    metrics: list


class LoopInputs(NamedTuple):
    """The arguments of a call of a program, beside values and memory.

    Attributes:
        data: a pytree of arrays (samples, …).
        starts: booleans (samples,): the sample begins a sequence; None: none does.
        first_memory: the memory that the run began with, for ``reset="epoch"``; else empty.
        order: sample indices of batches, int32, (batches, plan.batch).
        span: the first step, the one after the last, and the step of ``order[0]``: int32 (3,).
        due: booleans (plan.slots,): whether a validation follows each epoch of the call; or None.
        validation: the inputs of the validation; None if there is none.
    """

    data: Any
    starts: Any
    first_memory: list
    order: Any
    span: Any
    due: Any = None
    validation: Any = None


@dataclass
class StepUpdates:
    """The variables that a step changes, such as the seeds of dropout in training.

    Keras's steps return the others too, as they were.

    Attributes:
        is_known: whether a step was traced.
        positions: of the variables that it changes.
        constants: positions of the optimizer's variables that it does not change.
    """

    is_known: bool = False
    positions: tuple[int, ...] = ()
    constants: tuple[int, ...] = ()

    def record(self, before: LoopValues, after: LoopValues, own: int) -> None:
        """Record the values of variables before and after a step.

        Args:
            before, after: the values.
            own: the number of non-trainable variables without those of the recurrent state.
        """
        changed = _changed(before.non_trainable[:own], after.non_trainable[:own])
        self.positions = tuple(sorted(changed.union(self.positions)))
        same = set(range(len(before.optimizer))) - _changed(before.optimizer, after.optimizer)
        self.constants = tuple(sorted(same.intersection(self.constants) if self.is_known else same))
        self.is_known = True


def _changed(before: list, after: list) -> set[int]:
    """The positions at which a step gave back another value."""
    return {at for at, (old, new) in enumerate(zip(before, after, strict=True)) if new is not old}


class CompiledLoop:
    """The compiled loop of one verb over one model.

    Args:
        step: ``step(values, batch) -> (emitted, values)``, pure, such as Keras's ``train_step``,
            with the memory variables at the end of ``values.non_trainable``.
        memories: the memories of the model's stateful layers, in the order of those variables.
        changed: the fields of ``LoopValues`` that the step changes.

    Attributes:
        prepared: the programs with their variables, by shapes; filled by ``ProgramCache``.
        repeated: predictions with everything prepared, by the samples' shape and dtype.
        runs: the programs without variables, by shapes; models that are built alike may share it.
        updates: the non-trainable variables that the step changes; shared as ``runs`` are.
        differentiated: what others make of the step to differentiate it, by its options.
    """

    def __init__(
        self,
        step: Callable,
        memories: list[LayerMemory],
        changed: tuple[str, ...],
    ):
        self.prepared, self.repeated, self.runs = (RecentPrograms() for _ in range(3))
        self.differentiated = RecentPrograms()
        self.updates = StepUpdates()
        self._step = step
        self._kept = tuple(name for name in LoopValues._fields if name not in changed)
        self._variables = [variable for memory in memories for variable in memory.variables]
        ends = np.cumsum([len(memory.variables) for memory in memories], dtype=int)
        self._fresh_at = [int(end) - 1 for end in ends]

    def recently_used(self, key: tuple):
        """The prepared program of a key, which counts as used; None if it was dropped."""
        self.runs.get(key)
        return self.prepared.get(key)

    def compiled(
        self,
        plan: LoopPlan,
        values: LoopValues,
        empty_metrics: list,
        validate: Callable | None = None,
    ) -> Callable:
        """The loop for a plan, compiled when it is first called.

        Args:
            plan: the static arguments.
            values: the variables' values; only shapes are read.
            empty_metrics: the values of the metrics' variables at the beginning of an epoch, on
                the host, so that they are constants of the program; None for a variable that is
                not reset.
            validate: ``validate(values, memory, inputs)`` → the logs of a validation and the values
                that it changed; None without validation.

        Returns:
            ``run(values, memory, inputs)`` → the outputs, stacked on axis 0 (slot ``i // plan.every
            - begin // plan.every``; with ``validate`` a pair of those and of the validations'
            logs), the values that changed, the new memory.
        """

        def run(values, memory, inputs):
            with sharing_rows(plan.mesh):
                results = self.loop(plan, empty_metrics, values, memory, inputs, validate)
                return in_all_processes(*results)

        if plan.mesh is not None:
            return jit_with_sums(run)
        weights = sum(each.size for each in values.trainable)
        small = is_small(plan.batch, weights, training=bool(values.optimizer))
        return SingleFunctionProgram(run) if small else jit_wide(run)

    def single_batch(self, plan: LoopPlan, compiled: bool = True) -> Callable:
        """A prediction of all samples as one batch.

        Returns:
            ``run(values, memory, data, starts)`` → the outputs, the values that changed, the
            new memory.
        """

        def run(values, memory, data, starts):
            values, kept = self._split(values)
            return self._advance(plan, data, starts, kept, plan.batch, values, memory, None)

        return jit_wide(run) if compiled else run

    def step_by_step(self, plan: LoopPlan, empty_metrics: list) -> Callable:
        """The loop as plain Python, for ``run_eagerly=True`` and ``jit_compile=False``.

        Returns:
            ``run`` as ``compiled`` gives it; the outputs have only the slots that were filled.
        """

        def run(values, memory, inputs: LoopInputs):
            begin, end, first = map(int, inputs.span)
            values, kept = self._split(values)
            data = jax.tree.map(jnp.asarray, inputs.data)
            slots = {}
            for i in range(begin, end):
                if i % plan.steps == 0:
                    values = values._replace(metrics=_where(True, empty_metrics, values.metrics))
                memory = memory_before_batch(
                    plan.reset, i % plan.steps == 0, inputs.first_memory, memory
                )
                rows = plan.last if i % plan.steps == plan.steps - 1 else plan.batch
                indices = inputs.order[i - first]
                emitted, values, memory = self._advance(
                    plan, data, inputs.starts, kept, rows, values, memory, indices
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
        inputs: LoopInputs,
        validate: Callable | None = None,
    ) -> tuple:
        """The loop, to be traced: by ``compiled``, or as a validation inside another loop."""
        begin, end, first = inputs.span
        values, kept = self._split(values)
        advance = partial(self._advance, plan, inputs.data, inputs.starts, kept)
        advance = jax.jit(advance, static_argnums=0, inline=True)
        emitted, *_ = jax.eval_shape(partial(advance, plan.batch), values, memory, inputs.order[0])
        if validate is not None:
            validate = jax.jit(validate, inline=True)  # traced once
            checked, _ = jax.eval_shape(validate, values, memory, inputs.validation)
            emitted = (emitted, checked)
        slots = jax.tree.map(lambda each: jnp.zeros((plan.slots, *each.shape), each.dtype), emitted)

        def body(i, carry):
            slots, values, memory = carry
            begins = i % plan.steps == 0
            values = values._replace(metrics=_where(begins, empty_metrics, values.metrics))
            memory = memory_before_batch(plan.reset, begins, inputs.first_memory, memory)
            indices = inputs.order[i - first]
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
                return _write_slot(slots, slot, emitted), values, memory
            slots, checks = slots
            slots = _write_slot(slots, slot, emitted)
            due = (i % plan.steps == plan.steps - 1) & inputs.due[slot]
            check_now = partial(validate, values, memory, inputs.validation)

            def check(checks, *_):
                checked, changed = check_now()
                return _write_slot(checks, slot, checked), changed.non_trainable, changed.metrics

            changing = checks, values.non_trainable, values.metrics
            checks, own, metrics = jax.lax.cond(due, check, lambda *same: same, *changing)
            return (slots, checks), values._replace(non_trainable=own, metrics=metrics), memory

        return jax.lax.fori_loop(begin, end, body, (slots, values, memory))

    def _split(self, values: LoopValues) -> tuple[LoopValues, dict]:
        """The values that the step changes, and those that it only reads."""
        kept = {name: getattr(values, name) for name in self._kept}
        return values._replace(**{name: [] for name in kept}), kept

    def _advance(self, plan: LoopPlan, data, starts, kept, rows: int, values, memory, indices):
        """Run the step on one batch, with the state of its first ``rows`` rows.

        Select the samples, take the memory of the batch's rows, raise the fresh flags that the
        reset rules raise, run Keras's step on values and memory together, and write the new memory
        of these rows back; the other rows keep theirs. Stateful layers start fresh rows from their
        initial state inside the step (``LayerMemory.start_state``).

        Limits: ``rows`` is static, so that each size of batch is traced by itself. Predictions of a
        smaller batch are padded to ``plan.batch`` rows, since all slots have one shape; the caller
        cuts them off.

        Args:
            plan: the static arguments of the program.
            data: a pytree of arrays (samples, …).
            starts: booleans (samples,), or None.
            kept: the values that the step only reads, by field of ``LoopValues``.
            rows: samples in this batch.
            values: the values that the step changes.
            memory: the values of the memory variables, (plan.rows, …).
            indices: the samples of the batch, (plan.batch,); None: all samples, in order.

        Returns:
            The step's output, the changed values, the new memory.
        """
        with sharing_rows(plan.mesh):
            batch = data
            if indices is not None:
                chosen = indices[:rows]
                batch, starts = per_process(_samples_at, (data, starts), chosen)
            before = per_process(partial(_first_rows, rows), memory) if rows < plan.rows else memory
            before = list(before)
            for at in self._fresh_at:
                before[at] = fresh_before_batch(plan.reset, before[at], starts)
            own = len(values.non_trainable)
            with expecting_rows(self._variables, all_rows(rows)):
                batch, before = split_rows((batch, before))
                given = values._replace(**kept)
                step = joining_row_sums(self._step_with_memory, all_rows(rows), process_adder())
                emitted, values = step(given, (before, batch))
                self.updates.record(given, values, own)
                after = split_rows(values.non_trainable[own:])
            values, _ = self._split(values._replace(non_trainable=values.non_trainable[:own]))
            if rows < plan.rows:
                after = per_process(partial(_write_first_rows, rows), (memory, after))
        if rows < plan.batch and not plan.logs:  # every batch takes a full one's room
            emitted = jax.tree.map(partial(_pad_rows, plan.batch), emitted)
        return emitted, values, after

    def _step_with_memory(self, values: LoopValues, rows: tuple) -> tuple:
        memory, batch = rows
        non_trainable = [*values.non_trainable, *memory]
        return self._step(values._replace(non_trainable=non_trainable), batch)


def _samples_at(samples, indices):
    return jax.tree.map(lambda each: each[indices], samples)


def _first_rows(rows: int, memory: list, _):
    return [each[:rows] for each in memory]


def _write_first_rows(rows: int, memories: tuple[list, list], _):
    return [old.at[:rows].set(new) for old, new in zip(*memories, strict=True)]


def _write_slot(slots, slot, emitted):
    return jax.tree.map(lambda all_, one: all_.at[slot].set(one), slots, emitted)


def _where(condition, then: list, otherwise: list) -> list:
    """Value by value ``then`` or ``otherwise``; ``otherwise`` if ``then`` is None."""
    return [
        other if value is None else jnp.where(condition, value, other)
        for value, other in zip(then, otherwise, strict=True)
    ]


def _pad_rows(rows: int, array):
    return jnp.pad(array, [(0, rows - array.shape[0])] + [(0, 0)] * (array.ndim - 1))
