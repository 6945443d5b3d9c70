"""Streams beyond the laws: what counts as a step, errors, and compiled programs."""

import os
from functools import cache

import keras
import numpy as np
import pytest
from environment import AS_FOR_USERS
from forked import ForkedPython

import legato
from legato import InputError, StateError, UnsupportedError, layers
from legato._streams.supported_models import is_stepwise

FEATURES, UNITS, CLASSES = 2, 4, 5


def network(*others, **options):
    """A recurrent network with one softmax answer; weights drawn by the test's seed."""
    cell = layers.LSTM(UNITS, **options)
    return legato.Sequential(
        [layers.Input((None, FEATURES)), *others, cell, layers.Dense(CLASSES, "softmax")]
    )


fixed = cache(network)  # made once: for tests that change no weights


def steps(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.1, 0.9, (count, FEATURES)).astype("float32")


# Steps.


def test_a_model_of_windows_takes_windows():
    model = legato.Sequential([layers.Input((3, FEATURES)), layers.LSTM(UNITS), layers.Dense(2)])
    stream = model.stream()
    x = steps(5)
    windows = np.stack([x[at : at + 3] for at in range(3)])
    expected = model.predict(windows, verbose=0)
    answers = stream.feed(x)
    assert np.isnan(answers[:2]).all()
    np.testing.assert_allclose(answers[2:], expected, rtol=1e-5, atol=1e-7)
    carried = model.stream(window=None).feed(x)
    np.testing.assert_allclose(carried[2], expected[0], rtol=1e-5, atol=1e-7)
    assert not np.allclose(carried[3], expected[1], atol=1e-4)


def test_a_stateless_model_of_one_step_carries_nothing_and_a_stateful_one_does():
    for stateful in (False, True):
        model = legato.Sequential(
            [layers.Input((1, FEATURES)), layers.LSTM(UNITS, stateful=stateful)]
        )
        answers = model.stream().feed(np.ones((3, FEATURES)))
        assert np.allclose(answers[0], answers[2]) != stateful


def test_samples_without_time_are_steps():
    model = legato.Sequential(
        [layers.Input((4,)), layers.Reshape((2, 2)), layers.LSTM(UNITS), layers.Dense(2)]
    )
    X = np.random.default_rng(0).normal(size=(6, 4))
    answers = model.stream().feed(X)
    np.testing.assert_allclose(answers, model.predict(X, verbose=0), rtol=1e-5, atol=1e-7)


def test_a_model_of_whole_samples_carries_state_between_them():
    model = legato.Sequential(
        [
            layers.Input((3, FEATURES)),
            layers.LSTM(UNITS, stateful=True, return_sequences=True),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )
    X = np.random.default_rng(0).normal(size=(5, 3, FEATURES))
    answers = model.stream().feed(X)
    expected = model.predict(X, batch_size=1, verbose=0)
    np.testing.assert_allclose(answers, expected, rtol=1e-5, atol=1e-7)


def test_with_one_feature_a_number_is_a_step():
    model = legato.Sequential([layers.Input((None, 1)), layers.LSTM(UNITS)])
    answers = model.stream().feed([[0.1], [0.2]])
    stream = model.stream()
    np.testing.assert_array_equal(stream.fork().feed([0.1, 0.2]), answers)
    np.testing.assert_allclose([stream.feed(0.1), stream.feed([0.2])], answers, 1e-6, 1e-6)


def test_tokens_and_masks():
    model = legato.Sequential(
        [
            layers.Input((None,), dtype="int32"),
            layers.Embedding(10, FEATURES, mask_zero=True),
            layers.LSTM(UNITS, return_sequences=True),
            layers.Dense(2),
        ]
    )
    tokens = np.array([0, 1, 2, 0, 0, 3, 0])
    expected = model.predict(tokens[None], verbose=0)[0]
    stream = model.stream()
    np.testing.assert_allclose(stream.fork().feed(tokens), expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(
        [stream.feed(token) for token in tokens], expected, rtol=1e-5, atol=1e-7
    )
    before = stream.state
    stream.feed(0)
    assert stream.state == before  # a masked step keeps the state to the bit


def test_tokens_of_any_size_keep_their_bits_in_a_window():
    model = legato.Sequential(
        [
            layers.Input((3,), dtype="int32"),
            layers.Embedding(2**24 + 9, 1, embeddings_initializer="zeros"),
            layers.LSTM(UNITS),
        ]
    )
    stream = model.stream()
    stream.warm([1, 2**24 + 1, 2**24 + 3])
    np.testing.assert_array_equal(stream.state["window"][0], [[2**24 + 1, 2**24 + 3]])


@cache
def many_inputs(every: bool):
    signal = layers.Input((None, 2), name="signal")
    level = layers.Input((3,), name="level")
    word = layers.Input((None,), dtype="int32", name="word")
    both = layers.Concatenate()([signal, layers.Embedding(5, 2)(word)])
    hidden = layers.GRU(3, return_sequences=every)(both, initial_state=level)
    return legato.Model([signal, level, word], {"hidden": hidden, "y": layers.Dense(2)(hidden)})


@pytest.mark.parametrize("every", [True, False])
def test_many_inputs_and_outputs(every, rng):
    model = many_inputs(every)
    X, level, words = rng.normal(size=(6, 2)), rng.normal(size=3), rng.integers(0, 5, 6)
    expected = model.predict([X[None], level[None], words[None]], verbose=0)
    named = {"signal": X, "level": level, "word": words}
    answers = model.stream().feed(named)
    one_by_one = model.stream()
    for x, word in zip(X, words, strict=True):
        last = one_by_one.feed([x, level, word])
    pool = model.streams().feed({"a": named, "b": [X[0], level, words[0]]})
    for name in ("hidden", "y"):
        whole = expected[name][0]
        close = {"rtol": 1e-5, "atol": 1e-6}
        np.testing.assert_allclose(answers[name] if every else answers[name][-1], whole, **close)
        np.testing.assert_allclose(last[name], whole[-1] if every else whole, **close)
        np.testing.assert_allclose(pool["a"][name], answers[name], **close)
        np.testing.assert_allclose(pool["b"][name], answers[name][0], **close)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([1.0], "one array for each"),
        (np.ones((3, 2)), "3 inputs, 'signal', 'level', 'word', and a ndarray came"),
        ({"signal": [1, 2], "word": 1}, "a dictionary of 'signal', 'word' came"),
        ([np.ones((3, 2)), np.ones(3), [1, 2]], "'signal' 3 steps, 'word' 2 steps"),
        ([np.ones(2), np.ones(4), 1], "no steps, and .3,. was expected"),
        ([np.ones(2), np.ones(3), 1.5], "1.5, and the input 'word' takes whole numbers"),
    ],
)
def test_many_inputs_that_do_not_fit_are_refused(x, message):
    with pytest.raises(InputError, match=message):
        many_inputs(True).stream().feed(x)


FLOAT64 = """
import legato, keras, numpy as np
from legato import layers
keras.config.set_floatx("float64")
keras.config.set_dtype_policy("float64")
model = legato.Sequential([layers.Input((None, 2), dtype="float64"), layers.LSTM(3),
                           layers.Dense(2)])
X = np.random.default_rng(0).normal(size=(6, 2))
stream = model.stream()
answers = np.stack([stream.feed(x) for x in X])
assert answers.dtype == np.float64, answers.dtype
assert stream.state["lstm"][0].dtype == "float64"
whole = model.predict(X[None], verbose=0)[0]
assert abs(answers[-1] - whole).max() < 1e-14
pool = model.streams(window=3).feed({"a": X})
expected = model.predict(np.stack([X[at : at + 3] for at in range(4)]), verbose=0)
assert abs(pool["a"][2:] - expected).max() < 1e-14
"""


def test_float64():
    environment = os.environ | AS_FOR_USERS | {"JAX_ENABLE_X64": "1"}
    process = ForkedPython(FLOAT64, environment=environment, strict=True)
    assert process.communicate() == ("", "")
    assert process.returncode == 0


# Errors.


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([1, 2, 3], r"shape \(3,\); one step is \(2,\), and several are \(steps, 2\)"),
        (np.ones((1, 3, 2)), "A stream is one sequence: it has no axis of rows"),
        ([1, np.nan], r"x\[1\] for the input .* is nan: every number must be finite"),
        ([[1, 2], [3, -np.inf]], r"x\[1, 1\] .* is -inf"),
        ([1e300, 0], "is inf"),
        ([3e38, 3e38], None),
        ("ab", "x is 'ab'; numbers were expected"),
        ([[1, 2], [3]], "cannot be made into one array"),
        (0.5, r"shape \(\)"),
        (None, "NoneType"),
    ],
)
def test_invalid_steps_are_refused_and_leave_the_state(x, message):
    stream = fixed().stream().warm(steps(3))
    before = stream.state
    if message is None:
        stream.feed(x)  # large, but finite
        return
    with pytest.raises((InputError, UnsupportedError), match=message):
        stream.feed(x)
    assert (stream.state, stream.steps) == (before, 3)
    pool = fixed().streams()
    with pytest.raises((InputError, UnsupportedError), match=message):
        pool.feed({"fine": steps(1)[0], "odd": x})
    assert len(pool) == 0


def test_an_empty_array_is_no_steps():
    stream = fixed().stream()
    assert stream.feed(steps(0)).shape == (0, CLASSES)
    assert stream.warm(steps(0)).steps == 0
    with pytest.raises(InputError, match="there is no last one to answer"):
        stream.feed(steps(0), every=False)
    assert stream.trace(steps(0)).steps == 0


@pytest.mark.parametrize("starts", [[True], [1, 0, 0], np.ones((3, 1), bool)])
def test_starts_are_one_boolean_a_step(starts):
    with pytest.raises(InputError, match="one boolean for each of the 3 steps"):
        fixed().stream().feed(steps(3), starts=starts)


def shared():
    cell, one, other = layers.LSTM(UNITS), layers.Input((None, 2)), layers.Input((None, 2))
    return legato.Model([one, other], layers.Add()([cell(one), cell(other)]))


def decoder():
    whole = layers.Input((None, 2))
    read = layers.Dense(2)(layers.GRU(2)(whole))
    return legato.Model(whole, layers.GRU(2, return_sequences=True)(whole, initial_state=read))


class Centred(layers.Layer):
    """Subtracts the mean over all time steps."""

    def __init__(self, **options):
        super().__init__(**options)
        self.supports_masking = True

    def call(self, x):
        return x - keras.ops.mean(x, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: network(layers.GRU(2, go_backwards=True, return_sequences=True)), "from its end"),
        (
            lambda: network(
                layers.Bidirectional(layers.GRU(2, return_sequences=True), merge_mode="sum")
            ),
            "its layer 'backward_gru.*' reads a sequence from its end",
        ),
        (lambda: network(layers.Conv1D(2, 2, padding="causal")), "maybe one of 'conv1d"),
        (lambda: network(Centred()), "maybe one of 'centred"),
        (lambda: network(layers.Conv1D(2, 2)), "it takes no sample of 1 time step"),
        (shared, "is used 2 times, and one state cannot be carried for all"),
        (decoder, "it answers otherwise than to the whole sequence"),
    ],
)
def test_a_model_that_cannot_be_streamed_is_refused(model, message):
    model = model()
    with pytest.raises(UnsupportedError, match=f"cannot be streamed.*{message}.*window=n"):
        model.stream()
    stream = model.stream(window=3)  # the advice works
    x = [steps(4)] * len(model.inputs)
    assert np.isfinite(stream.feed(x if len(x) > 1 else x[0])[2:]).all()


def scaled(**options):
    """As ``legato train`` makes networks: scaled, masked, a change added to the last value."""
    inputs = layers.Input((4, 2))
    mask = keras.ops.any(keras.ops.not_equal(inputs, options.get("pad", -9.0)), axis=-1)
    axis = options.get("axis", -1)
    mean = np.zeros((4, 2) if axis == (1, 2) else 2)
    scale = layers.Normalization(axis, mean=mean, variance=mean + 1)
    features = scale(keras.ops.take(inputs, [1, 0], axis=options.get("taken", -1)))
    state = layers.GRU(2, return_sequences=True)(features, mask=mask)
    change = layers.Dense(2)(options.get("between", lambda x: x)(state))
    return legato.Model(inputs, layers.Add()([change, features]))


@pytest.mark.parametrize(
    ("options", "known"),
    [
        ({}, True),
        ({"pad": np.full(2, -9.0)}, True),
        ({"pad": np.full((4, 2), -9.0)}, False),
        ({"axis": (1, 2)}, False),
        ({"between": Centred()}, False),
        ({"between": lambda x: keras.ops.take(x, [3, 2, 1, 0], axis=1)}, False),
    ],
)
def test_operations_on_the_last_axis_are_known_to_be_stepwise(options, known):
    model = scaled(**options)
    assert is_stepwise(model) == known
    if known:
        stream = model.stream(window=None)
        x = steps(4)
        np.testing.assert_allclose(
            stream.feed(x), model.predict(x[None], verbose=0)[0], rtol=1e-5, atol=1e-6
        )


def test_window_none_without_a_recurrent_layer_is_refused():
    model = legato.Sequential([layers.Input((3,)), layers.Dense(2)])
    with pytest.raises(UnsupportedError, match="no recurrent layer"):
        model.stream(window=None)


def test_an_unbuilt_model_has_no_streams():
    with pytest.raises(StateError, match="not built yet, so the shape of a step is unknown"):
        legato.Sequential([layers.GRU(2)]).stream()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, "window is 0"),
        ({"window": True}, "window is True"),
        ({"window": "long"}, "window is 'long'"),
        ({"window": np.ones(2)}, "window is array"),
        ({"window": 2, "pad": np.nan}, "pad=nan"),
        ({"window": 2, "pad": "0"}, "pad='0'; a finite number was expected"),
        ({"pad": 0.0}, "pad=0.0 fills a window before its first step, and the stream has none"),
    ],
)
def test_invalid_windows_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        fixed().stream(**options)


def test_a_window_without_time_is_refused():
    model = legato.Sequential([layers.Input((4,)), layers.Reshape((4, 1)), layers.GRU(3)])
    with pytest.raises(InputError, match="the model's inputs have no time steps"):
        model.stream(window=2)


@pytest.mark.parametrize("n", [0, -1, 1.5, True])
def test_an_invalid_number_of_forks_is_refused(n):
    with pytest.raises(InputError, match="a number of streams of at least 1"):
        fixed().stream().fork(n)


def test_forks_are_one_or_a_list():
    stream = fixed().stream().warm(steps(3))
    assert isinstance(stream.fork(), legato.Stream)
    forks = stream.fork(3)
    assert [fork.state == stream.state for fork in forks] == [True] * 3
    forks[0].reset()
    assert (forks[1].steps, stream.steps) == (3, 3)


def test_states_of_other_models_are_refused():
    stream = fixed().stream()
    with pytest.raises(StateError, match="layers gru, and the stream carries layers lstm"):
        stream.state = (
            legato.Sequential([layers.Input((None, 2)), layers.GRU(2, name="gru")]).stream().state
        )
    with pytest.raises(StateError, match=r"float32 \(5,\) and float32 \(5,\) a row"):
        stream.state = legato.State({"lstm": [np.ones((1, 5), "float32")] * 2})
    with pytest.raises(StateError, match="this state has 2 rows"):
        stream.state = stream.state.repeat(2)
    with pytest.raises(StateError, match="layers window, and the stream carries layers lstm"):
        stream.state = fixed().stream(window=2).state
    with pytest.raises(StateError, match="State was expected, and dict came"):
        stream.state = {}


# Changing weights, and compiled programs.


def test_streams_use_the_current_weights():
    model = network()
    stream = model.stream().warm(steps(3))
    first = stream.peek(steps(1)[0])
    before = model.get_weights()
    for weights in ([w + 0.1 for w in before], [w - 0.1 for w in before], before):
        model.set_weights(weights)
        expected = model.stream().warm(steps(3))
        expected.state = stream.state
        np.testing.assert_array_equal(stream.peek(steps(1)[0]), expected.feed(steps(1)[0]))
    np.testing.assert_array_equal(stream.peek(steps(1)[0]), first)


def test_the_same_shapes_again_compile_nothing(compiled):
    model = network()
    stream, pool = model.stream(), model.streams()

    def use(seed: int):
        for x in steps(3, seed):
            stream.feed(x)
        for count in (2, 5, 8):
            stream.feed(steps(count, seed))
        stream.generate(3, encode=lambda choice: choice * np.ones(FEATURES))
        stream.generate(7, legato.sample(0.5 + seed, seed=seed), encode=lambda c: [c / 9, 1.0])
        pool.feed({seed + name: steps(1)[0] for name in range(7)})
        pool.feed({seed + name: steps(1)[0] for name in range(5)})
        stream.fork().peek(steps(4))

    use(0)
    before = compiled.count
    assert before > 0
    for seed in range(1, 5):
        use(seed)
    assert compiled.count == before


def test_compiling_before_the_first_step(compiled):
    model = network()
    stream = model.stream(compile=True)
    before = compiled.count
    stream.feed(steps(1)[0])
    stream.feed(steps(1)[0])
    assert compiled.count == before
    pool = model.streams(compile=True)
    before = compiled.count
    for count in (1, 3, 700):
        pool.feed({name: steps(1)[0] for name in range(count)})
    assert compiled.count == before


def test_after_further_training_a_stream_uses_the_new_weights():
    model = network()
    model.compile("sgd", "mse")
    stream = model.stream().warm(steps(2))
    before = stream.peek(steps(1)[0])
    model.fit(steps(6)[None], np.ones((1, CLASSES)), epochs=3, verbose=0)
    assert not np.allclose(stream.peek(steps(1)[0]), before)


def test_after_setting_a_layer_stateful_a_stream_carries_its_state():
    model = legato.Sequential([layers.Input((1, 2)), layers.GRU(2)])
    assert "window of 1 step" in repr(model.stream())
    model.layers[0].stateful = True
    assert "carries gru" in repr(model.stream())
