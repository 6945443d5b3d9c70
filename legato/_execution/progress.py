"""The progress of a run: a line that is rewritten, a line an epoch, or nothing.

``verbose=1`` is one line for the whole run, ``2`` one line an epoch as Keras writes it, ``"auto"``
is 1 at a terminal or in a notebook and 0 where the output is a file or a pipe; ``0`` shows nothing.
A run never fails because its progress cannot be shown.
"""

import os
import sys
import time
from typing import Any

from legato._errors import InputError
from legato._platform.output_streams import OutputStream
from legato._platform.wording import short_duration


def check_verbose(verbose) -> None:
    """Refuse a ``verbose`` that is neither ``"auto"`` nor a number.

    Numbers other than 1 and 2 show nothing, as in Keras.

    Raises:
        InputError: it is something else.
    """
    try:
        int(0 if verbose == "auto" else verbose)
    except (TypeError, ValueError) as error:
        raise InputError(f"verbose is {verbose!r}; one of 'auto', 0, 1, 2 was expected.") from error


class Progress:
    """The progress of one run, shown as ``verbose`` asks.

    Args:
        verbose: 0, 1, 2 or "auto"; see above.
        epochs: number of epochs of the run.
        steps: batches in an epoch; None while unknown.
        patience_s: seconds for which ``"auto"`` shows nothing, so that a short run leaves no line.
        stream: the text stream to write to, whatever ``OutputStream`` takes. Default: standard
            output.
        unit: the word for an epoch; several runs can be shown as epochs of one, such as seeds.
    """

    _WIDTH = 24
    _EVERY_S = 0.1  # seconds between two rewrites, each of which takes tens of microseconds

    def __init__(
        self,
        verbose,
        epochs: int,
        steps: int | None,
        patience_s: float = 0.0,
        stream: Any = None,
        unit: str = "epoch",
    ):
        check_verbose(verbose)
        self._stream = OutputStream(sys.stdout if stream is None else stream)
        self._rewrite = self._stream.isatty() or _in_notebook()
        self._verbose = int(self._rewrite) if verbose == "auto" else int(verbose)
        self._epochs, self._steps, self._unit = epochs, steps, unit
        self._began = self._shown = self._last = time.perf_counter()
        self._patience_s = patience_s if verbose == "auto" else 0.0
        self._logs: dict = {}
        self._epoch = self._done = 0  # the latest epoch, and the steps done since its beginning
        self._count = 0  # steps of this run
        self._recent = [0.0, 0]  # seconds and steps since an epoch was reported
        self._reported = False
        self._length = 0

    def begin(self, epoch: int) -> None:
        """Report that the run begins with this epoch."""
        self._epoch = epoch
        self._began = self._last = time.perf_counter()

    def steps(self, epoch: int, done: int, step_s: float | None = None) -> None:
        """Report the number of steps done since the beginning of an epoch.

        Args:
            epoch: the epoch.
            done: steps.
            step_s: seconds of a step. Default: what has passed since the last report.
        """
        new = done - (self._done if epoch == self._epoch else 0)
        self._count += new
        self._epoch, self._done = epoch, done
        now = time.perf_counter()
        if self._reported:
            self._recent, self._reported = [0.0, 0], False
        seconds = now - self._last if step_s is None else step_s * new
        self._recent = [self._recent[0] + seconds, self._recent[1] + new]
        self._last = now
        if self._verbose != 1 or not self._rewrite:
            return
        if now - self._began >= self._patience_s and now - self._shown > self._EVERY_S:
            self._shown = now
            self._show(now)

    def epoch(self, epoch: int, logs: dict) -> None:
        """Report the logs of an epoch that has ended."""
        self._logs = logs
        if self._steps is None:
            self._steps = self._done
        self._reported = True
        if self._verbose == 2:
            seconds, count = self._recent  # of several epochs, if they were one call
            steps, step_s = self._steps, seconds / max(count, 1)
            self._write(f"{self._unit.capitalize()} {epoch + 1}/{self._epochs}\n")
            self._write(
                f"{steps}/{steps} - {step_s * steps:.0f}s - "
                f"{short_duration(step_s)}/step - {_format_logs(logs, ' - ', ': ')}\n"
            )

    def end(self) -> None:
        """Report the end of the run, and write its last line."""
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
        line = f"{where} {_format_logs(self._logs, '  ', ' ')} · {rate:,.0f} steps/s{after}"
        if self._rewrite:
            line = line[: _columns(self._stream)]  # a line that wraps cannot be rewritten
            padding = " " * max(self._length - len(line), 0)
            self._length = len(line)
            line = f"\r{line}{padding}"
        self._write(line)

    def _position(self, rate: float) -> tuple[int, float, str]:
        """The number of epochs that have ended, the share of the run done, and the time left."""
        if not self._steps:
            return self._epoch, self._epoch / max(self._epochs, 1), f" · step {self._done:,}"
        done, total = self._epoch * self._steps + self._done, self._epochs * self._steps
        left = short_duration(max(total - done, 0) / max(rate, 1e-9))
        return done // self._steps, min(done / max(total, 1), 1.0), f" · {left} left"

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _columns(stream: OutputStream) -> int | None:
    """The characters that fit on a line of a terminal; None elsewhere."""
    try:
        return os.get_terminal_size(stream.fileno()).columns - 1
    except Exception:  # the stream may be anything
        return None


def _in_notebook() -> bool:
    """Whether the output is that of a notebook, which rewrites a line as a terminal does."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def _format_logs(logs: dict, between: str, colon: str) -> str:
    return between.join(
        f"{name}{colon}{value:.4f}" if abs(value) > 1e-3 else f"{name}{colon}{value:.4e}"
        for name, value in logs.items()
        if isinstance(value, (int, float))
    )
