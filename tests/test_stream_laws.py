"""The laws of streams, every cell × every law: oracles are ``predict`` and the stream alone."""

import keras
import numpy as np
import pytest
from cells import CELLS, FEATURES, STEPS, Cell, assert_same_states, inputs, predict, spread
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

STREAMED = [cell for cell in CELLS if cell.carried is None]  # all but Bidirectional
CUTTINGS = ([6], [1] * 6, [2, 4], [5, 1], [1, 2, 3], [0, 3, 0, 3])
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
    """The cell's model as it is, or with every layer made stateless."""
    made = cell.make()
    if request.param == "stateless":
        for layer in made._flatten_layers():
            if isinstance(layer, keras.layers.RNN):
                layer.stateful = False
    return made


def whole(model, X: np.ndarray) -> np.ndarray:
    """What ``predict`` answers each step of one sequence (steps, features)."""
    if model.stateful:
        model.reset_states()
    return predict(model, X[None])[0]


def sequence(steps: int = STEPS, seed: int = 0) -> np.ndarray:
    return inputs(1, steps, seed)[0]


def assert_close(cell: Cell, one, other):
    np.testing.assert_allclose(
        np.asarray(one, "float32"), np.asarray(other, "float32"), **cell.tolerance
    )


# A stream = predict on the whole sequence, however it is cut.


@few_examples
@given(pieces=st.sampled_from(CUTTINGS))
def test_a_stream_is_predict_on_the_whole_sequence(cell, model, pieces):
    X, stream = sequence(), model.stream()
    ends = np.cumsum(pieces)
    answers = [stream.feed(X[end - n : end]) for end, n in zip(ends, pieces, strict=True)]
    expected = whole(model, X)
    assert_close(cell, np.concatenate(answers), expected)
    assert answers[0].dtype == expected.dtype
    assert stream.steps == STEPS


def test_one_step_at_a_time(cell, model):
    X, stream = sequence(), model.stream()
    assert_close(cell, [stream.feed(x) for x in X], whole(model, X))
    if model.stateful:
        assert_same_states(stream.state, model.states, cell)


def test_the_model_is_not_touched(cell, model):
    expected = whole(model, sequence())
    before = model.states
    stream = model.stream()
    stream.feed(sequence(seed=1))
    stream.feed(sequence(seed=1)[0])
    assert model.states == before
    assert_close(cell, whole(model, sequence()), expected)


@pytest.mark.parametrize("pad", [None, 0.0, 0.3])
def test_a_window_is_predict_on_each_window(cell, model, pad):
    X, stream = sequence(), model.stream(window=3, pad=pad)
    front = np.full((2, FEATURES), 0.0 if pad is None else pad, "float32")
    padded = np.concatenate([front, X])
    windows = np.stack([padded[at : at + 3] for at in range(STEPS)])
    model.reset_states()
    expected = np.asarray(predict(model, windows)[:, -1], "float32")
    model.reset_states()
    if pad is None:
        expected[:2] = np.nan
    assert_close(cell, stream.feed(X), expected)
    stream.reset()
    assert_close(cell, [stream.feed(x) for x in X], expected)


# Fork, peek, reset, save: what leaves the past alone.


def test_forks_that_diverge_are_two_streams_from_the_start(cell, model):
    past, one, other = sequence(), sequence(seed=1), sequence(seed=2)
    left = model.stream().warm(past)
    right = left.fork()
    answers = [(left.feed(x), right.feed(y)) for x, y in zip(one, other, strict=True)]
    for at, future in enumerate((one, other)):
        alone = model.stream().warm(past)
        np.testing.assert_array_equal([alone.feed(x) for x in future], [a[at] for a in answers])
        assert alone.state == (left, right)[at].state


def test_peek_changes_nothing(cell, model):
    stream = model.stream().warm(sequence())
    before = stream.state, stream.steps
    peeked, many = stream.peek(sequence(seed=1)[0]), stream.peek(sequence(seed=1))
    assert (stream.state, stream.steps) == before
    np.testing.assert_array_equal(stream.fork().feed(sequence(seed=1)[0]), peeked)
    np.testing.assert_array_equal(stream.feed(sequence(seed=1)), many)


def test_reset_and_starts_are_a_fresh_start(cell, model):
    X, starts = sequence(), np.array([0, 0, 1, 0, 0, 1], bool)
    expected = np.concatenate([whole(model, X[:2]), whole(model, X[2:5]), whole(model, X[5:])])
    stream = model.stream().warm(sequence(seed=3))
    stream.reset()
    assert stream.steps == 0
    assert_close(cell, stream.feed(X, starts=starts), expected)
    assert stream.steps == 1
    assert_same_states(stream.state, model.stream().warm(X[5:]).state, cell)


@pytest.mark.parametrize("window", [None, 3])
def test_saved_and_loaded_is_never_stopped_to_the_bit(cell, model, window, tmp_path):
    stream = model.stream(window=window).warm(sequence())
    stream.save(tmp_path / "a.state")
    loaded = model.stream(window=window).load(tmp_path / "a.state")
    assert loaded.steps == stream.steps
    assert loaded.state == stream.state
    np.testing.assert_array_equal(loaded.feed(sequence()[0]), stream.feed(sequence()[0]))


def test_a_state_read_and_set_goes_on_from_there(cell, model):
    stream = model.stream().warm(sequence())
    other = model.stream()
    other.state = stream.state
    X = sequence(seed=1)
    np.testing.assert_array_equal([other.feed(x) for x in X], [stream.feed(x) for x in X])


def test_the_models_own_state_is_taken_up(cell):
    model = cell.make()
    whole(model, sequence())
    stream = model.stream()
    stream.state = model.states
    assert_close(cell, stream.feed(sequence(seed=1)), predict(model, inputs(1, seed=1))[0])


# A stream in the pool = the stream alone, whatever the others do.

A_STEP = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 3), min_size=1)


@few_examples
@given(feeds=st.lists(A_STEP, min_size=1, max_size=6), window=st.sampled_from([None, 2]))
def test_a_stream_in_the_pool_is_the_stream_alone(cell, model, feeds, window):
    pool, rng = model.streams(window=window), np.random.default_rng(0)
    alone = {}
    for feed in feeds:
        xs = {
            name: spread(rng, FEATURES) if n == 0 else spread(rng, n, FEATURES)
            for name, n in feed.items()
        }
        peeked, answers = pool.peek(xs), pool.feed(xs)
        assert list(answers) == list(feed)
        for name, x in xs.items():
            stream = alone.setdefault(name, model.stream(window=window))
            assert_close(cell, answers[name], stream.feed(x))
            np.testing.assert_array_equal(
                peeked[name].astype("float32"), answers[name].astype("float32")
            )
    assert list(pool) == list(alone)
    for name, stream in alone.items():
        assert pool.steps(name) == stream.steps
        assert_same_states(pool.state(name), stream.state, cell)


def test_traced_is_fed(cell, model):
    X, starts = sequence(), np.array([0, 0, 1, 0, 0, 0], bool)
    stream, fed = model.stream(), model.stream()
    trace = stream.trace(X, starts=starts)
    np.testing.assert_array_equal(trace.answers, fed.feed(X, starts=starts))
    assert trace.states.select([STEPS - 1]) == fed.state
    assert trace.steps == STEPS
    again = model.stream()
    for at, x in enumerate(X):
        if starts[at]:
            again.reset()
        again.feed(x)
        assert_same_states(trace.states.select([at]), again.state, cell)


def test_history_of_any_length(cell, model):
    X = sequence(150, seed=5)
    stream = model.stream()
    assert_close(cell, stream.feed(X[:70]), whole(model, X)[:70])
    assert_close(cell, stream.feed(X[70:], every=False), whole(model, X)[-1])
    assert stream.steps == 150
