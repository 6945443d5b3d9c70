"""Training steps that are run ahead of callbacks with batch methods, several in one call.

Passing a small network's variables to its program and taking them back costs many times the step
itself. A callback with batch methods seldom looks at them: it counts, prints a loss, or stops the
run. So a call of the program takes several steps, and the callback's methods are called for each
with the logs of that step. Meanwhile the variables have no values. Whoever reads one, in a callback
or in another thread, gets the value of the step that callbacks have reached: the steps up to there
are run again from where the call began, by the same program, so that the values are the same to the
bit. What is read or set ends the steps ahead; the run goes on from what the variables hold.

The number of steps ahead is 1 at first and after every read, and doubles with every call, up to
``AHEAD_SECONDS``.

Limits: only of small programs (``SingleFunctionProgram``), which have no effects but their results
and the same results each time, and keep the logs of every step; with ``steps_per_execution=1``, and
data that are on the device. Reading in another configuration of JAX than that of the run, such as
``jax.disable_jit()``, repeats the steps in that one, and the values may differ by rounding. An
interrupt or an error inside a call leaves the values before it.
"""

import time
from contextvars import Context
from typing import Any, NamedTuple

from jax.core import eval_context

from legato._execution.batches import Block
from legato._execution.run import Run, fetch
from legato._platform import keras_private

AHEAD_SECONDS = 0.01  # so that what callbacks show is of now, and Ctrl-C takes effect


class _Call(NamedTuple):
    """A call of the program: steps ``begin`` to ``end``, and the values before them."""

    block: Block
    begin: int
    end: int
    before: tuple


class RunAhead:
    """Steps ahead of the callbacks of one training.

    Args:
        run: the run; nobody else calls its program.
    """

    def __init__(self, run: Run):
        self._run, self._lock = run, run.model_state.lock.values
        self._length = 1  # steps of the next call
        self._last: _Call | None = None
        self._logs: Any = None  # of its steps
        self._shown: _Call | None = None  # the call whose steps callbacks are called for
        self._reached = 0  # the step before which the variables' values are
        self._held: list[tuple] = []  # variables and their values after ``_shown``; else empty
        self._contents: list[dict] = []  # of these variables
        self._repeating = False

    def logs(self, block: Block, step: int) -> tuple[Any, int]:
        """Run a step, unless it was run; returns the logs of a call, and its first step."""
        last = self._last
        if not self._held or last is None or step >= last.end:
            end = min(block.end, step + self._length)
            self._run.prepare(block)
            last = self._last = _Call(block, step, end, self._run.progress)
            began = time.perf_counter()
            self._logs = fetch(self._run.call(block, step, end))
            step_s = (time.perf_counter() - began) / (end - step)
            if self._run.can_run_ahead:
                self._length = min(2 * self._length, max(1, int(AHEAD_SECONDS / step_s)))
        return self._logs, last.begin

    def reach(self, step: int) -> None:
        """Let the variables have the values before ``step``, for whoever reads them."""
        with self._lock:
            before, self._reached, call = self._reached, step, self._last
            if call is None or call is not self._shown:
                self._show(call)
            elif not self._held:  # another thread has read, which put the run back to ``before``
                self._repeat(call, before, step)
                self._last = None

    def _show(self, call: _Call | None) -> None:
        """Begin with the steps of a call: hide the variables' values, where that is possible."""
        self._run.write_back()
        if self._run.can_run_ahead:
            variables = self._run.variables
            self._contents = list(map(vars, variables))
            values = keras_private.values_of(variables)
            self._held = list(zip(variables, values, strict=True))
            keras_private.hide_values(variables, self.read)
        self._shown = call

    def is_settled(self) -> bool:
        """Whether the variables have their values, since somebody read or set one."""
        if self._held and any("_value" in each for each in self._contents):
            self.read()
        return not self._held

    def read(self) -> None:
        """Give the variables their values, after which steps are run one by one again."""
        with self._lock:
            self._length = 1
            if self._repeating:  # JAX traces the program again, which needs values of any kind
                for variable, value in self._held:
                    keras_private.set_values([variable], [value])
            else:
                self.settle()

    def end(self) -> None:
        """Settle, and undo the steps of a call that an error or interrupt came into."""
        with self._lock:
            last = self._last
            if last is None or last is self._shown:
                self.settle()
                return
            values, _, memory = last.before
            self._run.progress = values, values, memory
            self._run.write_back()
            keras_private.forget_readers([variable for variable, _ in self._held])
            self._held, self._last = [], None

    def settle(self) -> None:
        """Give the variables the values of the step that was reached, except those set since."""
        with self._lock:
            call = self._shown
            if not self._held or call is None:
                return
            changed = keras_private.values_set_since(self._held)
            if self._reached < call.end:
                self._run.progress = call.before
                self._repeat(call, call.begin, self._reached)
            else:
                keras_private.show_values(self._held)
            keras_private.show_values(changed)
            keras_private.forget_readers([variable for variable, _ in self._held])
            self._held = []

    def _repeat(self, call: _Call, begin: int, end: int) -> None:
        """Run steps of a call again, and let the variables have the values.

        A variable may be read while a function is traced, or while a stream uses memories of its
        own: the steps are run as outside of both. JAX traces the program again after its caches
        were cleared, or in a configuration of the reader's.
        """
        self._repeating = True
        try:
            Context().run(self._repeat_outside, call, begin, end)
        finally:
            self._repeating = False

    def _repeat_outside(self, call: _Call, begin: int, end: int) -> None:
        with eval_context():
            self._run.call(call.block, begin, end)
        self._run.write_back()
