"""Progress of a run: one line that is rewritten, one line for each epoch, or nothing."""

import io
import re
import sys
import types

import keras
import numpy as np
import pytest
from cells import FEATURES, UNITS, inputs, spread

import legato
from legato import layers
from legato._execution.progress import Progress

X = inputs(6)
y = spread(np.random.default_rng(5), len(X), UNITS)


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that a test advances."""

    def __init__(self):
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr("legato._execution.progress.time", made)
    return made


def lines(stream: io.StringIO) -> list[str]:
    """The lines shown, in order."""
    return [line.strip() for line in stream.getvalue().replace("\n", "\r").split("\r") if line]


def test_a_line_with_epoch_logs_rate_and_remaining_time(clock):
    stream = Terminal()
    progress = Progress(1, epochs=4, steps=100, stream=stream)
    progress.begin(0)
    clock.now += 2
    progress.epoch(0, {"loss": 0.25, "mae": 0.00005})
    progress.steps(0, 200)  # two epochs of 100 in one call
    (shown,) = lines(stream)
    assert shown.startswith("epoch 3/4 ━━━━━━━━━━━━ ")
    assert "loss 0.2500  mae 5.0000e-05 · 100 steps/s · 2.0s left" in shown
    clock.now += 2
    progress.steps(2, 200)
    progress.end()
    assert lines(stream)[-1].endswith("100 steps/s in 4.0s")


def test_a_shorter_line_leaves_nothing_of_a_longer_one(clock):
    stream = Terminal()
    progress = Progress(1, epochs=1, steps=10, stream=stream)
    progress.epoch(0, {"loss": 0.5, "a_metric_with_a_long_name": 0.5})
    clock.now += 1
    progress.steps(0, 1)
    progress.epoch(0, {"loss": 0.5})
    clock.now += 1
    progress.steps(0, 2)
    first, second = [part for part in stream.getvalue().split("\r") if part]
    assert len(second) >= len(first)


def test_the_line_is_rewritten_at_most_ten_times_a_second(clock):
    stream = Terminal()
    progress = Progress(1, epochs=1, steps=1000, stream=stream)
    for step in range(1000):
        clock.now += 0.001
        progress.steps(0, step + 1)
    assert 9 <= len(lines(stream)) <= 10


def test_while_the_number_of_batches_is_unknown(clock):
    stream = Terminal()
    progress = Progress(1, epochs=2, steps=None, stream=stream)
    progress.begin(0)
    clock.now += 1
    progress.steps(0, 1500)
    assert lines(stream)[-1].endswith("1,500 steps/s · step 1,500")
    progress.epoch(0, {"loss": 1.0})
    clock.now += 1
    progress.steps(1, 750)
    assert lines(stream)[-1].endswith("1,125 steps/s · 667ms left")


@pytest.mark.parametrize(("terminal", "shown"), [(True, 1), (False, 0)])
def test_auto_is_silent_unless_a_terminal_shows_it(terminal, shown, clock):
    stream = Terminal() if terminal else io.StringIO()
    progress = Progress("auto", epochs=1, steps=10, stream=stream)
    clock.now += 1
    progress.steps(0, 5)
    assert len(lines(stream)) == shown


def test_a_notebook_shows_progress(clock, monkeypatch):
    shell = types.SimpleNamespace(kernel=object())
    notebook = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    stream = io.StringIO()
    progress = Progress("auto", epochs=1, steps=10, stream=stream)
    clock.now += 1
    progress.steps(0, 5)
    assert len(lines(stream)) == 1


def test_a_short_run_shows_no_line(clock):
    stream = Terminal()
    progress = Progress("auto", epochs=1, steps=10, patience_s=2.0, stream=stream)
    clock.now += 1
    progress.steps(0, 10)
    progress.end()
    assert not stream.getvalue()


@pytest.mark.parametrize("data", ["arrays", "batches"])
def test_verbose_2_prints_one_line_for_each_epoch_as_in_keras(data, capsys):
    made = legato.Sequential([keras.Input((None, FEATURES)), layers.GRU(UNITS)])
    made.compile("sgd", "mse", metrics=["mae"])
    given = (X, y) if data == "arrays" else (((X, y) for _ in range(9)),)
    steps = {} if data == "arrays" else {"steps_per_epoch": 1}
    made.fit(*given, epochs=2, verbose=2, **steps)
    output = capsys.readouterr().out.splitlines()
    assert output[0::2] == ["Epoch 1/2", "Epoch 2/2"]
    shape = re.compile(r"1/1 - \d+s - \d+(\.\d)?(us|ms|s)/step - loss: \d\.\d{4} - mae: \d\.\d{4}$")
    assert all(map(shape.match, output[1::2]))


def test_epochs_of_one_call_share_its_time(clock):
    stream = io.StringIO()
    progress = Progress(2, epochs=3, steps=10, stream=stream)
    progress.begin(0)
    clock.now += 30
    progress.steps(0, 20)
    progress.epoch(0, {"loss": 1.0})
    progress.epoch(1, {"loss": 1.0})
    clock.now += 5
    progress.steps(2, 10)
    progress.epoch(2, {"loss": 1.0})
    assert [line.split(" - ")[1:3] for line in stream.getvalue().splitlines()[1::2]] == [
        ["15s", "1.5s/step"],
        ["15s", "1.5s/step"],
        ["5s", "500ms/step"],
    ]


def test_without_a_terminal_nothing_is_printed_by_default(capsys):
    made = legato.Sequential([keras.Input((None, FEATURES)), layers.GRU(UNITS)])
    made.compile("sgd", "mse")
    made.fit(X, y)
    made.evaluate(X, y)
    made.predict(X)
    assert capsys.readouterr().out == ""
