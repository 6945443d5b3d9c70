"""Who looks at a run, and how often: that decides how much of it is one call of the program.

Nobody: as many steps as fit in a fraction of a second, so that progress can be shown and Ctrl-C is
heard. Callbacks that look at epochs: an epoch. Callbacks that look at batches: a batch. The numbers
are the same each time, since it is the same program.
"""

import os
import sys
import time
from typing import IO

import keras

from legato._execution.backup import adopt
from legato._platform.wording import short_duration

CALL_SECONDS = 0.2  # one call of the program in a run nobody watches, about
FIRST_CALL_STEPS = 256  # until the rate is known


def watching(callbacks, model, history: bool, **params) -> keras.callbacks.Callback:
    """Who is told about a run: the user's callbacks, and for a training run a History."""
    for each in told_by(callbacks):
        adopt(each)
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    if callbacks:
        return keras.callbacks.CallbackList(callbacks, add_history=history, model=model, **params)
    if not history:
        return keras.callbacks.Callback()
    alone = keras.callbacks.History()
    alone.set_params(params)
    alone.set_model(model)
    model.history = alone
    return alone


def watches_batches(callback: keras.callbacks.Callback, verb: str) -> bool:
    """Whether any callback wants to be called for every batch of ``"train"``, ``"test"`` …."""
    names = [f"on_{verb}_batch_begin", f"on_{verb}_batch_end"]
    names += ["on_batch_begin", "on_batch_end"] if verb == "train" else []
    return any(_overrides(each, name) for each in told_by(callback) for name in names)


def watches_epochs(callback: keras.callbacks.Callback) -> bool:
    """Whether any callback wants to be called for every epoch (History is told afterwards)."""
    return any(
        _overrides(each, name)
        for each in told_by(callback)
        if type(each) is not keras.callbacks.History
        for name in ("on_epoch_begin", "on_epoch_end")
    )


def watches_tests(callback: keras.callbacks.Callback) -> bool:
    """Whether any callback wants to be called for a validation."""
    names = ("on_test_begin", "on_test_end", "on_test_batch_begin", "on_test_batch_end")
    return any(_overrides(each, name) for each in told_by(callback) for name in names)


def told_by(callbacks) -> list[keras.callbacks.Callback]:
    """The single callbacks of what was given as ``callbacks``."""
    if isinstance(callbacks, (list, tuple)):
        return list(callbacks)
    return getattr(callbacks, "callbacks", [callbacks])


def _overrides(callback, name: str) -> bool:
    method = getattr(callback, name)
    return getattr(method, "__func__", method) is not getattr(keras.callbacks.Callback, name)


class Pace:
    """How many steps a call may take so that it lasts about ``CALL_SECONDS``."""

    def __init__(self):
        self._rate: float | None = None
        self._calls = 0

    @property
    def steps(self) -> int:
        return FIRST_CALL_STEPS if self._rate is None else max(1, int(self._rate * CALL_SECONDS))

    def took(self, steps: int, seconds: float) -> None:
        """Learn from a call; the first may have compiled, so only later ones are measured."""
        self._calls += 1
        if self._calls > 1 and seconds > 0:
            self._rate = steps / seconds


class Progress:
    """What ``verbose`` shows of a run.

    ``1`` is one line that is rewritten; ``2`` is one line an epoch; ``"auto"`` is 1 at a terminal
    or in a notebook, and nothing where the output is a file or a pipe; ``0`` is nothing.

    Args:
        verbose: 0, 1, 2 or "auto".
        epochs: epochs the run will have.
        steps: batches in an epoch; None while nobody knows.
        patience_s: how long ``"auto"`` shows nothing, so that what is over soon leaves no line.
        stream: where it is written.
        unit: what an epoch is called: runs are told of as epochs of one that is longer.
    """

    _WIDTH = 24
    _EVERY_S = 0.1  # between two showings: a showing takes some tens of microseconds

    def __init__(
        self,
        verbose,
        epochs: int,
        steps: int | None,
        patience_s: float = 0.0,
        stream: IO[str] | None = None,
        unit: str = "epoch",
    ):
        self._stream = stream or sys.stdout
        self._rewrite = self._stream.isatty() or _in_notebook()
        self._verbose = int(self._rewrite) if verbose == "auto" else int(verbose)
        self._epochs, self._steps, self._unit = epochs, steps, unit
        self._began = self._shown = self._last = time.perf_counter()
        self._patience_s = patience_s if verbose == "auto" else 0.0
        self._logs: dict = {}
        self._epoch = self._done = 0  # steps are counted from that epoch's beginning
        self._count = 0  # steps of this run
        self._recent = [0.0, 0]  # seconds and steps since an epoch was told of
        self._told = False
        self._length = 0

    def begin(self, epoch: int) -> None:
        """The run begins with this epoch."""
        self._epoch = epoch
        self._began = self._last = time.perf_counter()

    def steps(self, epoch: int, done: int) -> None:
        """So many steps are done, counted from the beginning of an epoch."""
        new = done - (self._done if epoch == self._epoch else 0)
        self._count += new
        self._epoch, self._done = epoch, done
        now = time.perf_counter()
        if self._told:
            self._recent, self._told = [0.0, 0], False
        self._recent = [self._recent[0] + now - self._last, self._recent[1] + new]
        self._last = now
        if self._verbose != 1 or not self._rewrite:
            return
        if now - self._began >= self._patience_s and now - self._shown > self._EVERY_S:
            self._shown = now
            self._show(now)

    def epoch(self, epoch: int, logs: dict) -> None:
        """An epoch has ended."""
        self._logs = logs
        if self._steps is None:
            self._steps = self._done
        self._told = True
        if self._verbose == 2:
            seconds, count = self._recent  # of several epochs, if they were one call
            steps, step_s = self._steps, seconds / max(count, 1)
            self._write(f"{self._unit.capitalize()} {epoch + 1}/{self._epochs}\n")
            self._write(
                f"{steps}/{steps} - {step_s * steps:.0f}s - "
                f"{short_duration(step_s)}/step - {_told(logs, ' - ', ': ')}\n"
            )

    def end(self) -> None:
        """The run is over: leave its last line."""
        now = time.perf_counter()
        if self._verbose == 1 and now - self._began >= self._patience_s:
            self._show(now, last=True)
            self._write("\n")

    def _show(self, now: float, last: bool = False) -> None:
        rate = self._count / max(now - self._began, 1e-9)
        ended, part, left = self._position(rate)
        epoch = min(ended + (not last), self._epochs)
        bar = "━" * round(self._WIDTH * part)
        after = f" in {short_duration(now - self._began)}" if last else left
        where = f"{self._unit} {epoch}/{self._epochs} {bar:<{self._WIDTH}}"
        line = f"{where} {_told(self._logs, '  ', ' ')} · {rate:,.0f} steps/s{after}"
        if self._rewrite:
            line = line[: _columns(self._stream)]  # a line that wraps cannot be rewritten
            padding = " " * max(self._length - len(line), 0)
            self._length = len(line)
            line = f"\r{line}{padding}"
        self._write(line)

    def _position(self, rate: float) -> tuple[int, float, str]:
        """Epochs that have ended, how much of the whole is done, and how long the rest takes."""
        if not self._steps:
            return self._epoch, self._epoch / max(self._epochs, 1), f" · step {self._done:,}"
        done, total = self._epoch * self._steps + self._done, self._epochs * self._steps
        left = short_duration(max(total - done, 0) / max(rate, 1e-9))
        return done // self._steps, min(done / max(total, 1), 1.0), f" · {left} left"

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _columns(stream: IO[str]) -> int | None:
    """How many characters fit on a line of a terminal; None elsewhere."""
    try:
        return os.get_terminal_size(stream.fileno()).columns - 1
    except (AttributeError, OSError, ValueError):
        return None


def _in_notebook() -> bool:
    """Whether the output is a notebook's, which rewrites a line as a terminal does."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def _told(logs: dict, between: str, colon: str) -> str:
    return between.join(
        f"{name}{colon}{value:.4f}" if abs(value) > 1e-3 else f"{name}{colon}{value:.4e}"
        for name, value in logs.items()
        if isinstance(value, (int, float))
    )
