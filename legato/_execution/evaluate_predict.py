"""Evaluation and prediction: one pass over the data, with Keras's calls of the callbacks.

This part runs in Python: it calls the program of ``compiled_loop`` and collects its results.
"""

from collections.abc import Callable, Iterable, Iterator

import jax
import numpy as np

from legato._execution.batches import OUTPUT_SLOTS, Block, DataSource
from legato._execution.callbacks import has_batch_callbacks
from legato._execution.compiled_loop import ENDLESS, Verb
from legato._execution.progress import Progress
from legato._execution.repeated_prediction import first_outputs
from legato._execution.run import Run, fetch, logs_of
from legato._execution.run_ahead import RunAhead


class BatchCallbacks:
    """Calls the batch methods of callbacks before and after every ``steps_per_execution`` batches.

    These batches, an execution in Keras's words, may take several calls of the program: batches of
    several shapes do, and so do more batches than a program has room for.

    Args:
        run: its values are written back before a callback, and read back after it.
        verb: which batch methods are called.
        callbacks: a ``CallbackList`` or one callback.
        memory: whether the recurrent state is written and read back, too.

    Attributes:
        size: batches in an execution; 0 if no callback has batch methods.
        ahead: runs steps ahead of the callbacks, and replaces reading and writing back; or None.
    """

    ahead: RunAhead | None = None

    def __init__(self, run: Run, verb: Verb, callbacks, memory: bool = True):
        self._run, self._verb, self._callbacks, self._memory = run, verb, callbacks, memory
        watched = has_batch_callbacks(callbacks, verb)
        size: int = run.model_state.model.steps_per_execution if watched else 0
        (self.size,) = run.agreement.most(f"the callbacks of {verb!r}", size)
        self._first: int | None = None  # the first step of the current execution; None between two

    def split_into_calls(
        self, blocks: Iterable[Block], most: Callable[[Block], int], done: int = 0
    ) -> Iterator[tuple[Block, int, int]]:
        """Block, first step and step after the last of each call of the program.

        Args:
            blocks: the blocks to run; each is read after the calls of the one before it.
            most: the number of steps of a block that the next call may take.
            done: steps that an interrupted run had done. No call has some of them and others.
        """
        agreement = self._run.agreement
        for block in blocks:
            self._run.agree_on(block)
            begin, orders = block.begin, agreement.orders(block)
            while begin < block.end:
                end = min(begin + most(block), block.end)
                if begin < done:
                    end = min(done, block.end)
                elif self.size:
                    end = min(end, begin - begin % self.size + self.size)
                end = agreement.end(begin, end, orders)
                if end == begin:  # another process has stopped
                    return
                yield block, begin, end
                begin = end

    def begin(self, step: int) -> None:
        """Call the callbacks before an execution, if the call at this step is its first."""
        if self.size and self._first is None:
            self._first = step
            getattr(self._callbacks, f"on_{self._verb}_batch_begin")(step)
            if self.ahead is None or self.ahead.is_settled():
                self._run.read_back(self._memory)

    def ends_at(self, step: int) -> bool:
        """Whether the execution is complete when this many steps are done."""
        return self._first is not None and step % self.size == 0

    def end(self, logs: dict) -> bool:
        """Call the callbacks after an execution; returns False if none has begun."""
        if self._first is None:
            return False
        last, self._first = self._first - self._first % self.size + self.size - 1, None
        if self.ahead is None:
            self._run.write_back(self._memory)
        else:
            self.ahead.reach(last + 1)
        getattr(self._callbacks, f"on_{self._verb}_batch_end")(last, logs)
        return True


def run_evaluate(
    run: Run, source: DataSource, callbacks, progress: Progress, advance: bool
) -> dict:
    """Evaluate; returns the logs of all data.

    Args:
        run: the run of ``"test"``.
        source: the data.
        callbacks: a ``CallbackList`` or one callback.
        progress: shows the progress.
        advance: whether the model's state advances.
    """
    model = run.model_state.model
    batch_callbacks = BatchCallbacks(run, "test", callbacks, advance)
    model.stop_evaluating = False
    callbacks.on_test_begin()
    logs: dict = {}
    blocks = source.single_pass(1, batch_callbacks.size)
    for block, begin, end in batch_callbacks.split_into_calls(blocks, lambda _: ENDLESS):
        batch_callbacks.begin(begin)
        logs = logs_of(fetch(run.call(block, begin, end)), 0)
        if batch_callbacks.ends_at(end):
            batch_callbacks.end(logs)
        progress.steps(0, end)
        if model.stop_evaluating:
            run.agreement.tell_stop()
            break
    run.agreement.tell_end()
    batch_callbacks.end(logs)
    run.write_back(advance)
    progress.epoch(0, logs)
    callbacks.on_test_end(logs)
    return logs


def run_predict(run: Run, source: DataSource, callbacks, progress: Progress, advance: bool):
    """Predict; returns the outputs of all samples, as new NumPy arrays.

    Args:
        run: the run of ``"predict"``.
        source, callbacks, progress, advance: as for ``run_evaluate``.
    """
    model = run.model_state.model
    batch_callbacks = BatchCallbacks(run, "predict", callbacks, advance)
    model.stop_predicting = False
    callbacks.on_predict_begin()
    parts: list = []
    reported = 0  # number of parts that callbacks were given
    blocks = source.single_pass(OUTPUT_SLOTS, batch_callbacks.size)
    for block, begin, end in batch_callbacks.split_into_calls(blocks, lambda each: each.slots):
        batch_callbacks.begin(begin)
        parts.append(_outputs(run, block, begin, end))
        if batch_callbacks.ends_at(end):
            batch_callbacks.end({"outputs": _concatenate(parts[reported:])})
            reported = len(parts)
        progress.steps(0, end)
        if model.stop_predicting:
            break
    if reported < len(parts) and batch_callbacks.size:
        batch_callbacks.end({"outputs": _concatenate(parts[reported:])})
    run.write_back(advance)
    callbacks.on_predict_end()
    return _concatenate(parts)


def _concatenate(parts: list):
    """The outputs of several calls, concatenated."""
    if len(parts) == 1:
        return parts[0]
    return jax.tree.map(lambda *each: np.concatenate(each), *parts)


def _outputs(run: Run, block: Block, begin: int, end: int):
    """The outputs of some steps, (samples, …)."""
    if block.steps == 1:
        return jax.tree.map(np.array, run.call_once(block))
    count = (end - begin) * block.batch
    if end == block.steps:  # its last batch may be smaller
        count += block.last - block.batch
    outputs = fetch(run.call(block, begin, end))
    return jax.tree.map(lambda each: first_outputs(each, count), outputs)
