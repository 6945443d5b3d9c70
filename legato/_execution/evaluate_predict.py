"""Evaluation and prediction: one pass over the data, with what callbacks are told of its batches.

Host work only. What is told to whom, and when, is what Keras does.
"""

from collections.abc import Callable, Iterable, Iterator

import jax
import numpy as np

from legato._execution.batches import OUTPUT_SLOTS, Block, DataSource
from legato._execution.callbacks import has_batch_callbacks
from legato._execution.compiled_loop import ENDLESS, Verb
from legato._execution.progress import Progress
from legato._execution.run import Run, fetch, logs_of


class Execution:
    """The batches between two calls of the callbacks that look at batches.

    ``steps_per_execution`` of them, however many calls of the program those take: batches of
    several shapes take several, and so do more than a program has room for.

    Args:
        run: whose values the callbacks may look at and change.
        verb: what they are told of.
        callbacks: who is told.
        memory: whether the model's memory is theirs to see, too.

    Attributes:
        size: batches; 0 if nobody looks at any.
    """

    def __init__(self, run: Run, verb: Verb, callbacks, memory: bool = True):
        self._run, self._verb, self._callbacks, self._memory = run, verb, callbacks, memory
        watched = has_batch_callbacks(callbacks, verb)
        self.size: int = run.engine.model.steps_per_execution if watched else 0
        self._first: int | None = None  # the step it began with; None between two of them

    def calls(
        self, pieces: Iterable[Block], most: Callable[[Block], int]
    ) -> Iterator[tuple[Block, int, int]]:
        """Piece, first step and step after the last of each call of the program.

        Args:
            pieces: what is run; the next one is asked for when the one before it is done.
            most: how many steps of a piece a call may take; asked before each.
        """
        for piece in pieces:
            begin = piece.begin
            while begin < piece.end:
                end = min(begin + most(piece), piece.end)
                if self.size:
                    end = min(end, begin - begin % self.size + self.size)
                yield piece, begin, end
                begin = end

    def begin(self, step: int) -> None:
        """A call begins."""
        if self.size and self._first is None:
            self._first = step
            getattr(self._callbacks, f"on_{self._verb}_batch_begin")(step)
            self._run.read_back(self._memory)

    def is_over(self, step: int) -> bool:
        """Whether a call that ends before this step is its last, whatever comes."""
        return self._first is not None and step % self.size == 0

    def end(self, logs: dict) -> bool:
        """Tell of its end, if it has begun; returns whether it had."""
        if self._first is None:
            return False
        last, self._first = self._first + self.size - 1, None
        self._run.hold(self._memory)
        getattr(self._callbacks, f"on_{self._verb}_batch_end")(last, logs)
        return True


def run_evaluate(
    run: Run, feeding: DataSource, callbacks, progress: Progress, advance: bool
) -> dict:
    """Evaluate; returns the logs of the whole data.

    ``advance`` says whether the model remembers what it saw, here and in ``run_predict``.
    """
    model = run.engine.model
    execution = Execution(run, "test", callbacks, advance)
    model.stop_evaluating = False
    callbacks.on_test_begin()
    logs: dict = {}
    pieces = feeding.once(1, execution.size)
    for piece, begin, end in execution.calls(pieces, lambda _: ENDLESS):
        execution.begin(begin)
        logs = logs_of(fetch(run.call(piece, begin, end)), 0)
        if execution.is_over(end):
            execution.end(logs)
        progress.steps(0, end)
        if model.stop_evaluating:
            break
    execution.end(logs)
    run.hold(advance)
    progress.epoch(0, logs)
    callbacks.on_test_end(logs)
    return logs


def run_predict(run: Run, feeding: DataSource, callbacks, progress: Progress, advance: bool):
    """Predict; returns the outputs of all samples, as NumPy arrays of the caller's own."""
    model = run.engine.model
    execution = Execution(run, "predict", callbacks, advance)
    model.stop_predicting = False
    callbacks.on_predict_begin()
    parts: list = []
    told = 0  # parts that callbacks have seen
    pieces = feeding.once(OUTPUT_SLOTS, execution.size)
    for piece, begin, end in execution.calls(pieces, lambda each: each.slots):
        execution.begin(begin)
        parts.append(_outputs(run, piece, begin, end))
        if execution.is_over(end):
            execution.end({"outputs": _joined(parts[told:])})
            told = len(parts)
        progress.steps(0, end)
        if model.stop_predicting:
            break
    if told < len(parts) and execution.size:
        execution.end({"outputs": _joined(parts[told:])})
    run.hold(advance)
    callbacks.on_predict_end()
    return _joined(parts)


def _joined(parts: list):
    """Outputs one after the other."""
    if len(parts) == 1:
        return parts[0]
    return jax.tree.map(lambda *each: np.concatenate(each), *parts)


def _outputs(run: Run, piece: Block, begin: int, end: int):
    """The outputs of some steps, (samples, …)."""
    if piece.steps == 1:
        return jax.tree.map(np.array, run.call_once(piece))
    count = (end - begin) * piece.batch
    if end == piece.steps:  # its last batch may be smaller
        count += piece.last - piece.batch

    def joined(array: np.ndarray) -> np.ndarray:
        return array.reshape(-1, *array.shape[2:])[:count].copy()

    return jax.tree.map(joined, fetch(run.call(piece, begin, end)))
