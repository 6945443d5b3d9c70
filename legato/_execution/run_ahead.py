"""Training steps that are run ahead of callbacks, several batches or epochs in one call.

Passing a small network's variables to its program and taking them back costs many times the step
itself. A callback seldom looks at them: it counts, prints a loss, or stops the run. So a call of
the program takes several batches, or epochs if no callback has batch methods, and the callback's
methods are called for each with the logs of that one. Meanwhile the variables have no values,
except those that training does not change, such as the learning rate. Whoever reads one, in a
callback or in another thread, gets the value of the step that callbacks have reached: the steps up
to there are run again from where the call began, by the same program, so that the values are the
same to the bit. What is read or set ends the steps ahead; the run goes on from what the variables
hold.

The number of batches or epochs ahead is 1 at first and after every read, and doubles with every
call, up to ``AHEAD_SECONDS``. Where every call is read, the variables keep their values most of the
time, up to ``MOST_CALLS`` of them, which saves hiding them.

Limits: only of small programs (``SingleFunctionProgram``), which have no effects but their results
and the same results each time, and keep the logs of every batch or epoch; with
``steps_per_execution=1`` for batches, and data that are on the device. Reading in another
configuration of JAX than that of the run, such as ``jax.disable_jit()``, repeats the steps in that
one, and the values may differ by rounding. An interrupt or an error inside a call leaves the values
before it.
"""

import time
from collections.abc import Callable
from contextvars import Context
from typing import Any, NamedTuple

from jax.core import eval_context

from legato._execution.batches import Block
from legato._execution.run import Run, fetch
from legato._platform import keras_variables

AHEAD_SECONDS = 0.01  # so that what callbacks show is of now, and Ctrl-C takes effect
MOST_CALLS = 16  # of one batch or epoch each, before variables are hidden again


class _Call(NamedTuple):
    """A call of the program: steps ``begin`` to ``end``, and the values before them.

    ``due`` is a function from the first step of a call to the validations that are due in it.
    """

    block: Block
    begin: int
    end: int
    before: tuple
    due: Callable[[int], Any]


class RunAhead:
    """Steps ahead of the callbacks of one training.

    Args:
        run: the run; nobody else calls its program while steps are ahead.
        unit: steps after which callbacks are called: 1, or an epoch's.

    Attributes:
        unit: as given.
        step_s: seconds that a step took in the last call.
    """

    def __init__(self, run: Run, unit: int = 1):
        self._run, self._lock = run, run.model_state.lock.values
        self.unit, self.step_s = unit, 0.0
        self._length = 1  # units of the next call
        self._calls = 0  # of one unit, before variables are hidden again
        self._reads = 0  # calls of one unit that were read, one after the other
        self._last: _Call | None = None
        self._logs: Any = None  # of its steps
        self._shown: _Call | None = None  # the call whose steps callbacks are called for
        self._reached = 0  # the step before which the variables' values are
        self._held: list[tuple] = []  # variables and their values after ``_shown``; else empty
        self._contents: list[dict] = []  # of those of these variables that have no values
        self._kept: list[tuple] = []  # those of ``_held`` that have
        self._repeating = False

    @property
    def limit_s(self) -> float:
        """Seconds that may be run ahead."""
        return AHEAD_SECONDS

    @property
    def is_possible(self) -> bool:
        """Whether the program of the run can be run ahead, as is known after its first call."""
        return self._run.can_run_ahead(self.unit)

    def logs(
        self, block: Block, step: int, due: Callable[[int], Any] = lambda _: None
    ) -> tuple[Any, int]:
        """Run a step or epoch, unless it was run; returns the logs of a call, and its first step.

        Args:
            block: the data.
            step: the first step.
            due: the validations that are due in a call, by its first step.
        """
        last = self._last
        if not self._held or last is None or last.block is not block or step >= last.end:
            if self._held:
                self._reads = 0
            end = min(block.end, step + self._length * self.unit)
            self._run.prepare(block)
            last = self._last = _Call(block, step, end, self._run.progress, due)
            began = time.perf_counter()
            self._logs = fetch(self._run.call(block, step, end, due(step)))
            self.step_s = (time.perf_counter() - began) / (end - step)
            self._calls = max(self._calls - 1, 0)
            if self.is_possible and not self._calls:
                most = int(AHEAD_SECONDS / (self.step_s * self.unit))
                self._length = min(2 * self._length, max(1, most))
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
        if self.is_possible and not (self._calls and self._has_one_unit(call)):
            variables = self._run.variables
            values = keras_variables.values_of(variables)
            kept = set(map(id, self._run.constants))
            self._held = list(zip(variables, values, strict=True))
            self._kept = [pair for pair in self._held if id(pair[0]) in kept]
            hidden = [each for each in variables if id(each) not in kept]
            self._contents = list(map(vars, hidden))
            keras_variables.hide_values(hidden, self.read)
        self._shown = call

    def _has_one_unit(self, call: _Call | None) -> bool:
        return call is not None and call.end - call.begin == self.unit

    def is_settled(self) -> bool:
        """Whether the variables have their values, since somebody read or set one."""
        was_set = any("_value" in each for each in self._contents)
        if self._held and (was_set or keras_variables.values_set_since(self._kept)):
            self.read()
        return not self._held

    def read(self) -> None:
        """Give the variables their values, after which steps are run one by one again."""
        with self._lock:
            self._length = 1
            if self._held and self._has_one_unit(self._shown):
                self._reads += 1
                self._calls = min(2**self._reads - 1, MOST_CALLS)
            if self._repeating:  # JAX traces the program again, which needs values of any kind
                for variable, value in self._held:
                    keras_variables.set_values([variable], [value])
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
            keras_variables.forget_readers([variable for variable, _ in self._held])
            self._held, self._last = [], None

    def settle(self) -> None:
        """Give the variables the values of the step that was reached, except those set since."""
        with self._lock:
            call = self._shown
            if not self._held or call is None:
                return
            changed = keras_variables.values_set_since(self._held)
            if self._reached < call.end:
                self._run.progress = call.before
                self._repeat(call, call.begin, self._reached)
            else:
                keras_variables.show_values(self._held)
            keras_variables.show_values(changed)
            keras_variables.forget_readers([variable for variable, _ in self._held])
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
            self._run.call(call.block, begin, end, call.due(begin))
        self._run.write_back()
