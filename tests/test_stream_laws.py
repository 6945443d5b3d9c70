"""The laws of streams, over every cell; the oracles are ``predict`` and each stream alone.

Most of the time is spent compiling, so all predictions of a model have one shape (``outputs_of``),
and all windows one length.
"""

from functools import cache

import numpy as np
import pytest
from cells import (
    CELLS,
    FEATURES,
    ROWS,
    STEPS,
    Cell,
    assert_same_states,
    inputs,
    predict,
    ready,
    spread,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

STREAMED = [cell for cell in CELLS if cell.carried is None]  # all but Bidirectional
CUTTINGS = ([6], [1] * 6, [2, 4], [5, 1], [1, 2, 3], [0, 3, 0, 3])
WINDOW, HISTORY = 3, 150  # steps
few_examples = settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module", params=STREAMED, ids=lambda cell: cell.name)
def cell(request):
    return request.param


@pytest.fixture(scope="module", params=["stateful", "stateless"])
def model(request, cell):
    """The cell's model as it is, or another with every layer made stateless."""
    return ready(cell) if request.param == "stateful" else stateless(cell)


@cache
def stateless(cell: Cell):
    return cell.make(stateful=False)


def outputs_of(model, *sequences: np.ndarray) -> list[np.ndarray]:
    """The outputs of ``predict`` at each step of up to ROWS sequences of up to STEPS steps.

    They are rows of one batch of one shape, filled up with other numbers: no answer depends on
    other rows or on later steps.
    """
    X = inputs(seed=9)
    for row, each in zip(X, sequences, strict=False):
        row[: len(each)] = each
    model.reset_states()
    found = predict(model, X)
    return [each[: len(part)] for each, part in zip(found, sequences, strict=False)]


def whole(model, X: np.ndarray) -> np.ndarray:
    """The outputs of ``predict`` at each step of one sequence (steps, features)."""
    return outputs_of(model, X)[0]


@cache
def history_outputs(cell: Cell) -> np.ndarray:
    """The outputs of ``predict`` at each step of ``history()``, predicted in chunks."""
    model, chunks = ready(cell), history().reshape(-1, STEPS, FEATURES)
    found = [predict(model, np.stack([chunk, *inputs(ROWS - 1)]))[0] for chunk in chunks]
    return np.concatenate(found)


class Oracle:
    """What ``predict`` answers, found before any stream of the model is fed.

    Predicting renews the values of a model's variables, and the program of one step that was
    compiled for the values before is not used again.

    Attributes:
        whole: the answers to ``sequence()``.
        states: the model's states after it; nothing of a stateless model.
        parts: the answers to its steps up to 2, then to 5, then to 6, each from a fresh start.
        windows: number in front → the answers to the window that ends at each of its steps.
    """

    def __init__(self, model):
        X = sequence()
        self.whole = whole(model, X)
        self.states = model.states
        self.parts = np.concatenate(outputs_of(model, X[:2], X[2:5], X[5:]))
        self.windows = {}
        for front in (0.0, 0.3):
            padded = np.concatenate([np.full((WINDOW - 1, FEATURES), front, "float32"), X])
            windows = [padded[at : at + WINDOW] for at in range(STEPS)]
            halves = outputs_of(model, *windows[:ROWS]) + outputs_of(model, *windows[ROWS:])
            self.windows[front] = np.stack(halves)[:, -1].astype("float32")


@pytest.fixture(scope="module")
def oracle(model):
    return Oracle(model)


def sequence(seed: int = 0) -> np.ndarray:
    return inputs(1, STEPS, seed)[0]


def history() -> np.ndarray:
    return inputs(1, HISTORY, seed=5)[0]


def assert_close(cell: Cell, one, other):
    np.testing.assert_allclose(
        np.asarray(one, "float32"), np.asarray(other, "float32"), **cell.tolerance
    )


# A stream = predict on the whole sequence, in any chunks.


@few_examples
@given(pieces=st.sampled_from(CUTTINGS))
def test_a_stream_is_predict_on_the_whole_sequence(cell, model, oracle, pieces):
    X, stream = sequence(), model.stream()
    ends = np.cumsum(pieces)
    found = [stream.feed(X[end - n : end]) for end, n in zip(ends, pieces, strict=True)]
    assert_close(cell, np.concatenate(found), oracle.whole)
    assert found[0].dtype == oracle.whole.dtype
    assert stream.steps == STEPS


def test_one_step_at_a_time(cell, model, oracle):
    X, stream = sequence(), model.stream()
    assert_close(cell, [stream.feed(x) for x in X], oracle.whole)
    if model.stateful:
        assert_same_states(stream.state, oracle.states.select([0]), cell)


def test_the_model_is_unchanged(cell, model):
    expected = whole(model, sequence())
    before = model.states
    stream = model.stream()
    stream.feed(sequence(seed=1))
    stream.feed(sequence(seed=1)[0])
    assert model.states == before
    assert_close(cell, whole(model, sequence()), expected)


@pytest.mark.parametrize("pad", [None, 0.0, 0.3])
def test_a_window_is_predict_on_each_window(cell, model, oracle, pad):
    X, stream = sequence(), model.stream(window=WINDOW, pad=pad)
    expected = oracle.windows[pad or 0.0].copy()
    if pad is None:
        expected[: WINDOW - 1] = np.nan
    assert_close(cell, stream.feed(X), expected)
    stream.reset()
    assert_close(cell, [stream.feed(x) for x in X], expected)


# Fork, peek, reset, save.


def test_forks_that_diverge_are_two_streams_from_the_start(cell, model):
    past, one, other = sequence(), sequence(seed=1), sequence(seed=2)
    left = model.stream().warm(past)
    right = left.fork()
    found = [(left.feed(x), right.feed(y)) for x, y in zip(one, other, strict=True)]
    for at, future in enumerate((one, other)):
        alone = model.stream().warm(past)
        np.testing.assert_array_equal([alone.feed(x) for x in future], [each[at] for each in found])
        assert alone.state == (left, right)[at].state


def test_peek_changes_nothing(cell, model):
    stream = model.stream().warm(sequence())
    before = stream.state, stream.steps
    peeked, many = stream.peek(sequence(seed=1)[0]), stream.peek(sequence(seed=1))
    assert (stream.state, stream.steps) == before
    np.testing.assert_array_equal(stream.fork().feed(sequence(seed=1)[0]), peeked)
    np.testing.assert_array_equal(stream.feed(sequence(seed=1)), many)


def test_reset_and_starts_are_a_fresh_start(cell, model, oracle):
    X, starts = sequence(), np.array([0, 0, 1, 0, 0, 1], bool)
    stream = model.stream().warm(sequence(seed=3))
    stream.reset()
    assert stream.steps == 0
    assert_close(cell, stream.feed(X, starts=starts), oracle.parts)
    assert stream.steps == 1
    assert_same_states(stream.state, model.stream().warm(X[5:]).state, cell)


@pytest.mark.parametrize("window", [None, WINDOW])
def test_saved_and_loaded_is_never_stopped_to_the_bit(cell, model, window, tmp_path):
    stream = model.stream(window=window).warm(sequence())
    stream.save(tmp_path / "a.state")
    loaded = model.stream(window=window).load(tmp_path / "a.state")
    assert loaded.steps == stream.steps
    assert loaded.state == stream.state
    np.testing.assert_array_equal(loaded.feed(sequence()[0]), stream.feed(sequence()[0]))


def test_a_stream_continues_from_a_state_that_is_set(cell, model):
    stream = model.stream().warm(sequence())
    other = model.stream()
    other.state = stream.state
    X = sequence(seed=1)
    np.testing.assert_array_equal([other.feed(x) for x in X], [stream.feed(x) for x in X])


def test_a_stream_can_begin_with_the_state_of_the_model(cell):
    model, X = ready(cell), inputs(seed=1)
    whole(model, sequence())
    stream = model.stream()
    stream.state = model.states.select([0])
    assert_close(cell, stream.feed(X[0]), predict(model, X)[0])


# A stream in a pool = the stream alone, whatever the others do.


@st.composite
def step_counts(draw) -> dict[str, int]:
    """Steps fed to one stream, or to four of five; 0 is a bare step.

    Of four, at most one is fed far more or fewer than the others, so that batches of streams have
    one row or four, and few programs are compiled.
    """
    first, *others = draw(st.permutations("abcde"))
    if draw(st.booleans()):
        return {first: draw(st.integers(1, 4))}
    alike = st.sampled_from(draw(st.sampled_from([[0], [0, 1], [3, 4]])))
    return {first: draw(alike | st.integers(0, 4)), **{each: draw(alike) for each in others[:3]}}


@few_examples
@given(
    feeds=st.lists(step_counts(), min_size=2, max_size=6), window=st.sampled_from([None, WINDOW])
)
def test_a_stream_in_a_pool_is_the_stream_alone(cell, model, feeds, window):
    pool, rng = model.streams(window=window), np.random.default_rng(0)
    alone = {}
    for feed in feeds:
        xs = {
            name: spread(rng, FEATURES) if n == 0 else spread(rng, n, FEATURES)
            for name, n in feed.items()
        }
        peeked, found = pool.peek(xs), pool.feed(xs)
        assert list(found) == list(feed)
        for name, x in xs.items():
            stream = alone.setdefault(name, model.stream(window=window))
            assert_close(cell, found[name], stream.feed(x))
            np.testing.assert_array_equal(
                peeked[name].astype("float32"), found[name].astype("float32")
            )
    assert list(pool) == list(alone)
    for name, stream in alone.items():
        assert pool.steps(name) == stream.steps
        assert_same_states(pool.state(name), stream.state, cell)


def test_a_trace_has_the_outputs_and_states_of_feeding(cell, model):
    X, starts = sequence(), np.array([0, 0, 1, 0, 0, 0], bool)
    stream, expected = model.stream(), model.stream()
    trace = stream.trace(X, starts=starts)
    np.testing.assert_array_equal(trace.answers, expected.feed(X, starts=starts))
    assert trace.states.select([STEPS - 1]) == expected.state
    assert trace.steps == STEPS
    again = model.stream()
    for at, x in enumerate(X):
        if starts[at]:
            again.reset()
        again.feed(x)
        assert_same_states(trace.states.select([at]), again.state, cell)


def test_history_of_any_length(cell, model):
    X, expected = history(), history_outputs(cell)
    stream = model.stream()
    assert_close(cell, stream.feed(X[:70]), expected[:70])
    assert_close(cell, stream.feed(X[70:], every=False), expected[-1])
    assert stream.steps == HISTORY
