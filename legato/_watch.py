"""Who looks at a run, and how often: that decides how much of it is one call of the program.

Nobody: as many steps as fit in a fraction of a second, so that progress can be shown and Ctrl-C is
heard. Callbacks that look at epochs: an epoch. Callbacks that look at batches: a batch. The numbers
are the same each time, since it is the same program.
"""

import sys
import time
from typing import IO

import keras

CALL_SECONDS = 0.2  # one call of the program in a run nobody watches, about
FIRST_CALL_STEPS = 256  # until the rate is known


def watching(callbacks, model, history: bool, **params) -> keras.callbacks.Callback:
    """Who is told about a run: the user's callbacks, and for a training run a History."""
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
    return any(_overrides(each, name) for each in _each(callback) for name in names)


def watches_epochs(callback: keras.callbacks.Callback) -> bool:
    """Whether any callback wants to be called for every epoch (History is told afterwards)."""
    return any(
        _overrides(each, name)
        for each in _each(callback)
        if type(each) is not keras.callbacks.History
        for name in ("on_epoch_begin", "on_epoch_end")
    )


def _each(callback: keras.callbacks.Callback) -> list:
    return getattr(callback, "callbacks", [callback])


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
    and nothing where the output is a file or a pipe; ``0`` is nothing.

    Args:
        verbose: 0, 1, 2 or "auto".
        epochs: epochs the run will have.
        steps: batches in an epoch.
        patience_s: how long ``"auto"`` shows nothing, so that what is over soon leaves no line.
        stream: where it is written.
    """

    _WIDTH = 24

    def __init__(
        self,
        verbose,
        epochs: int,
        steps: int,
        patience_s: float = 0.0,
        stream: IO[str] | None = None,
    ):
        self._stream = stream or sys.stdout
        terminal = self._stream.isatty()
        self._verbose = int(terminal) if verbose == "auto" else int(verbose)
        self._rewrite = terminal
        self._epochs, self._steps = epochs, steps
        self._began = self._shown = self._epoch_began = time.perf_counter()
        self._patience_s = patience_s if verbose == "auto" else 0.0
        self._logs: dict = {}
        self._done = self._first = 0
        self._length = 0

    def begin(self, epoch: int) -> None:
        """The run begins with this epoch."""
        self._first = epoch
        self._done = epoch * self._steps
        self._began = self._epoch_began = time.perf_counter()

    def epoch(self, epoch: int, logs: dict) -> None:
        """An epoch has ended."""
        self._logs = logs
        if self._verbose == 2:
            now = time.perf_counter()
            seconds, self._epoch_began = now - self._epoch_began, now
            self._write(f"Epoch {epoch + 1}/{self._epochs}\n")
            self._write(
                f"{self._steps}/{self._steps} - {seconds:.0f}s - "
                f"{_duration(seconds / self._steps)}/step - {_told(logs, ' - ', ': ')}\n"
            )

    def steps(self, done: int) -> None:
        """So many steps are done, counted from epoch 0."""
        self._done = done
        now = time.perf_counter()
        waited = now - self._began >= self._patience_s
        if self._verbose == 1 and self._rewrite and waited and now - self._shown > 0.1:
            self._shown = now
            self._show(now)

    def end(self) -> None:
        """The run is over: leave its last line."""
        now = time.perf_counter()
        if self._verbose == 1 and now - self._began >= self._patience_s:
            self._show(now, last=True)
            self._write("\n")

    def _show(self, now: float, last: bool = False) -> None:
        total = self._epochs * self._steps
        part = self._done / max(total, 1)
        rate = (self._done - self._first * self._steps) / max(now - self._began, 1e-9)
        left = "" if last else f" · {_duration((total - self._done) / max(rate, 1e-9))} left"
        bar = "━" * round(self._WIDTH * part)
        spent = f" in {_duration(now - self._began)}" if last else ""
        epoch = min(self._done // max(self._steps, 1) + (not last), self._epochs)
        line = (
            f"epoch {epoch}/{self._epochs} {bar:<{self._WIDTH}} {_told(self._logs, '  ', ' ')}"
            f" · {rate:,.0f} steps/s{spent}{left}"
        )
        if self._rewrite:
            padding = " " * max(self._length - len(line), 0)
            self._length = len(line)
            line = f"\r{line}{padding}"
        self._write(line)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _told(logs: dict, between: str, colon: str) -> str:
    return between.join(
        f"{name}{colon}{value:.4f}" if abs(value) > 1e-3 else f"{name}{colon}{value:.4e}"
        for name, value in logs.items()
        if isinstance(value, (int, float))
    )


def _duration(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f}us"
    if seconds < 1:
        return f"{seconds * 1e3:.0f}ms"
    if seconds < 90:
        return f"{seconds:.0f}s" if seconds >= 10 else f"{seconds:.1f}s"
    return f"{seconds / 60:.0f}min"
