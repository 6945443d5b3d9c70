"""Steps in C++ equal the compiled ones, and either continues what the other began.

The oracle is the compiled step of the same model, which takes whatever the native library cannot.
"""

import copy
import os
from functools import cache

import keras
import numpy as np
import pytest
from environment import AS_FOR_USERS
from forked import ForkedPython

import legato
from legato import layers
from legato._recurrent import native_kernel
from legato._streams.compiled_steps import CompiledSteps
from legato._streams.native_steps import describe_chain
from legato._streams.step import ModelStep
from legato._streams.stream import Stream
from legato._streams.streams import Streams

pytestmark = pytest.mark.skipif(
    native_kernel.unavailable() is not None, reason=str(native_kernel.unavailable())
)
FEATURES = 3
CELLS = {
    "lstm": layers.LSTM,
    "gru": layers.GRU,
    "gru_reset_before": lambda *a, **o: layers.GRU(*a, reset_after=False, **o),
    "simple_rnn": layers.SimpleRNN,
    "rnn": lambda units, use_bias=True, **o: layers.RNN(
        keras.layers.LSTMCell(units, use_bias=use_bias), **o
    ),
}


def sequential(*parts, features: int = FEATURES, seed: int = 0):
    """A model with weights of both signs and biases that are not zero."""
    model = legato.Sequential([layers.Input((None, features)), *parts])
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0, 0.3, w.shape) for w in model.get_weights()])
    return model


@cache
def lstm_model():
    return sequential(layers.LSTM(5), layers.Dense(4, "softmax"))


def steps(count: int, seed: int = 0, features: int = FEATURES) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, features)).astype("float32")


@pytest.fixture
def compiled_steps(monkeypatch):
    """A function: model → its compiled steps, made without the native library."""

    def make(model) -> CompiledSteps:
        with monkeypatch.context() as patch:
            patch.setattr(native_kernel, "unavailable", lambda: "for this test")
            return CompiledSteps(ModelStep(model._model_state))

    return make


def is_native(model) -> bool:
    return describe_chain(ModelStep(model._model_state)) is not None


def assert_close(one, other):
    np.testing.assert_allclose(one, other, rtol=2e-6, atol=1e-6)


def assert_equals_compiled(model, compiled: CompiledSteps, features: int = FEATURES):
    assert is_native(model)
    native, oracle, x = model.stream(), Stream(compiled), steps(6, features=features)
    assert native._compiled.takes_any_batch
    assert not compiled.takes_any_batch
    for each in x[:3]:
        assert_close(native.feed(each), oracle.feed(each))
    assert_close(native.feed(x[3:]), oracle.feed(x[3:]))
    assert native.state.allclose(oracle.state, rtol=2e-6, atol=1e-6)


# Equal to the compiled step.


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell(cell, compiled_steps):
    one, other = CELLS[cell](7, return_sequences=True), CELLS[cell](18, use_bias=False)
    model = sequential(one, layers.Dropout(0.5), other, layers.Dense(2))
    assert_equals_compiled(model, compiled_steps(model))


@pytest.mark.parametrize("activation", ["linear", "tanh", "sigmoid", "relu", "softmax"])
def test_every_activation(activation, compiled_steps):
    model = sequential(
        layers.SimpleRNN(4, return_sequences=True),
        layers.Dense(19, activation, use_bias=False),
        layers.Activation("relu"),
        layers.Dense(1),
        layers.Dense(17),
        layers.Activation(activation),
    )
    assert_equals_compiled(model, compiled_steps(model))


@pytest.mark.parametrize("instruction_set", native_kernel.instruction_sets())
def test_every_instruction_set(instruction_set, compiled_steps):
    model = sequential(layers.LSTM(21), layers.Dense(1, "sigmoid"), features=1)
    before = native_kernel.instruction_set()
    native_kernel.use_instruction_set(instruction_set)
    try:
        assert_equals_compiled(model, compiled_steps(model), features=1)
    finally:
        native_kernel.use_instruction_set(before)


def test_a_functional_chain(compiled_steps):
    given = layers.Input((None, FEATURES))
    hidden = layers.LSTM(4, return_sequences=True)(given)
    model = legato.Model(given, layers.Dense(2, "tanh")(layers.GRU(3)(hidden)))
    assert_equals_compiled(model, compiled_steps(model))


def test_a_loaded_model(tmp_path):
    model = lstm_model()
    model.save(tmp_path / "model.keras")
    loaded = legato.load_model(tmp_path / "model.keras")
    assert is_native(loaded)
    np.testing.assert_array_equal(loaded.stream().feed(steps(4)), model.stream().feed(steps(4)))


def test_nan_and_infinity_pass_through(compiled_steps):
    model = sequential(layers.SimpleRNN(3), layers.Dense(4, "relu"), layers.Activation("softmax"))
    weights = model.get_weights()
    weights[-1][:] = [np.nan, np.inf, -np.inf, 1]
    model.set_weights(weights)
    native, oracle = model.stream(), Stream(compiled_steps(model))
    np.testing.assert_array_equal(native.feed(steps(3)), oracle.feed(steps(3)))
    weights[1][0, 0] = np.nan
    model.set_weights(weights)
    np.testing.assert_array_equal(native.feed(steps(3)), oracle.feed(steps(3)))
    assert np.isnan(native.state[next(iter(native.state))][0]).any()


# One arithmetic, in whatever pieces.


def test_a_step_alone_among_others_and_in_a_pool_has_the_same_bits():
    model = sequential(layers.LSTM(21, return_sequences=True), layers.GRU(5), layers.Dense(3))
    x = np.stack([steps(9, seed) for seed in range(70)])
    pool, one_by_one, whole = model.streams(), model.stream(), model.stream()
    for at in range(4):
        answers = pool.feed({name: each[at] for name, each in enumerate(x)})
    mixed = pool.feed({name: each[4 : 5 + name % 4] for name, each in enumerate(x)})
    for name in (0, 31, 33, 69):
        one_by_one.reset()
        whole.reset()
        alone = [one_by_one.feed(each) for each in x[name][: 5 + name % 4]]
        np.testing.assert_array_equal(whole.feed(x[name][: 5 + name % 4]), alone)
        np.testing.assert_array_equal(answers[name], alone[3])
        np.testing.assert_array_equal(mixed[name], alone[4:])
        assert pool.state(name) == one_by_one.state == whole.state


def test_starts_and_traces(compiled_steps):
    model, x = lstm_model(), steps(8)
    starts = np.array([0, 0, 1, 0, 1, 1, 0, 0], bool)
    native, oracle = model.stream(), Stream(compiled_steps(model))
    mine, its = native.trace(x, starts=starts), oracle.trace(x, starts=starts)
    assert_close(mine.answers, its.answers)
    assert mine.states.allclose(its.states, rtol=2e-6, atol=1e-6)
    np.testing.assert_array_equal(model.stream().feed(x, starts=starts), mine.answers)
    assert native.steps == oracle.steps


def test_long_histories_are_fed_in_pieces(monkeypatch):
    monkeypatch.setattr("legato._streams.native_steps._STEPS", 4)
    model, x = lstm_model(), steps(11)
    stream, one_by_one = model.stream(), model.stream()
    np.testing.assert_array_equal(stream.feed(x), [one_by_one.feed(each) for each in x])
    pool = model.streams()
    answers = pool.feed({"long": x, "short": x[:6], "bare": x[0]})
    np.testing.assert_array_equal(answers["long"], model.stream().feed(x))
    np.testing.assert_array_equal(answers["short"], model.stream().feed(x[:6]))
    assert_close(stream.fork().generate(9, encode=one_hot), stream.generate(9, encode=one_hot))


def test_batches_of_a_large_model_are_compiled(monkeypatch):
    monkeypatch.setattr("legato._streams.compiled_steps.ONE_ROW_WEIGHTS", 10)
    model, x = sequential(layers.GRU(4), layers.Dense(2)), steps(6)
    pool, stream = model.streams(), model.stream()
    assert not pool._compiled.takes_any_batch
    pool.feed({"a": x[0], "b": x[1], "c": x[2]})
    answers = pool.feed({"a": x[1:], "b": x[:3]})
    assert_close(answers["a"], stream.feed(x)[1:])
    pool.put("a", stream)
    assert pool.state("a") == stream.state


# Native and compiled steps of one stream.


def test_states_are_exchanged_in_memory_and_by_files(compiled_steps, tmp_path):
    model, x = sequential(layers.LSTM(5), layers.Dense(4, "softmax")), steps(6)
    native, compiled = model.stream(), Stream(compiled_steps(model))
    whole = Stream(compiled_steps(model)).feed(x)
    native.feed(x[0])
    compiled.state = native.state
    assert_close(compiled.feed(x[1]), whole[1])
    compiled.save(tmp_path / "stream.state")
    native = model.stream().load(tmp_path / "stream.state")
    assert_close(native.answer, whole[1])
    native.warm(x[2:5])
    native.save(tmp_path / "native.state")
    assert_close(Stream(compiled._compiled).load(tmp_path / "native.state").feed(x[5]), whole[5])
    fork = native.fork()
    assert_close(fork.feed(x[5]), whole[5])
    np.testing.assert_array_equal(native.peek(x[5]), fork.answer)
    native.reset()
    assert_close(copy.deepcopy(native).feed(x), whole)
    assert_close(native.feed(x), whole)
    pool = Streams(compiled._compiled)
    pool.put("a", model.stream().warm(x[:5]))
    assert_close(pool.feed({"a": x[5]})["a"], whole[5])


def test_changed_weights_are_used_from_the_next_step_on(compiled_steps):
    model = sequential(layers.GRU(4), layers.Dense(2))
    native, compiled = model.stream(), Stream(compiled_steps(model))
    for change in (0.0, 0.1, -0.2):
        model.set_weights([w + np.float32(change) for w in model.get_weights()])
        assert_close(native.feed(steps(1)[0]), compiled.feed(steps(1)[0]))
        assert_close(native.feed(steps(2)), compiled.feed(steps(2)))
    model.compile("sgd", "mse")
    model.fit(steps(4)[None], np.ones((1, 2)), verbose=0)
    assert_close(native.feed(steps(1)[0]), compiled.feed(steps(1)[0]))


# Generation.


def one_hot(choice):
    return keras.ops.one_hot(choice % FEATURES, FEATURES)


@pytest.mark.parametrize("choose", [None, legato.argmax])
def test_generation_makes_the_choices_of_the_compiled_loop(choose, compiled_steps):
    native, compiled = lstm_model().stream(), Stream(compiled_steps(lstm_model()))
    for stream in (native, compiled):
        stream.warm(steps(3))
    for encode in (one_hot, lambda choice: [choice / 4, 0.5, -1.0]):
        mine, its = (s.fork().generate(40, choose, encode=encode) for s in (native, compiled))
        np.testing.assert_array_equal(mine, its)
        assert mine.dtype == its.dtype
    one, other = native.fork(2)
    parts = [one.generate(5, encode=one_hot), one.generate(7, encode=one_hot)]
    np.testing.assert_array_equal(np.concatenate(parts), other.generate(12, encode=one_hot))
    assert (one.state, one.steps) == (other.state, other.steps)


def test_answers_are_fed_back(compiled_steps):
    model = sequential(layers.LSTM(6), layers.Dense(FEATURES, "tanh"))
    native, compiled = model.stream(), Stream(compiled_steps(model))
    mine, its = (stream.warm(steps(3)).generate(20) for stream in (native, compiled))
    assert_close(mine, its)
    assert mine.dtype == its.dtype
    assert_close(native.answer, compiled.answer)


def test_drawn_choices_and_functions_of_ones_own_go_through_jax(compiled_steps):
    native, compiled = lstm_model().stream(), Stream(compiled_steps(lstm_model()))
    for choose in (legato.sample(0.9, seed=3), lambda answer: answer[:3] * 2):
        encode = one_hot if isinstance(choose, legato.sample) else None
        mine, its = (
            s.warm(steps(2)).generate(6, choose, encode=encode) for s in (native, compiled)
        )
        assert_close(mine, its)
        assert_close(native.feed(steps(1)[0]), compiled.feed(steps(1)[0]))


# What takes the compiled step.


class Doubled(legato.Sequential):
    def predict_step(self, *given):
        outputs, variables = super().predict_step(*given)
        return 2 * outputs, variables


class OwnCell(keras.layers.SimpleRNNCell):
    def call(self, inputs, states, training=False):
        output, states = super().call(inputs, states, training=training)
        return output + 1, states


class OwnLayer(layers.GRU):
    def get_initial_state(self, batch_size):
        return [keras.ops.ones((batch_size, self.units))]


def branching():
    given = layers.Input((None, FEATURES))
    hidden = layers.GRU(FEATURES, return_sequences=True)(given)
    return legato.Model(given, layers.Add()([hidden, given]))


def always_training():
    given = layers.Input((None, FEATURES))
    return legato.Model(given, layers.GRU(2, return_sequences=True)(given, training=True))


def two_outputs():
    given = layers.Input((None, FEATURES))
    hidden = layers.GRU(2, return_sequences=True)(given)
    return legato.Model(given, [hidden, layers.Dense(2)(hidden)])


def returning_state():
    given = layers.Input((None, FEATURES))
    _, state = layers.GRU(2, return_state=True)(given)
    return legato.Model(given, layers.Dense(2)(state))


def with_rank():
    model = sequential(layers.GRU(2), layers.Dense(2))
    model.layers[-1].enable_lora(1)
    return model


OTHERS = {
    "another activation": lambda: sequential(layers.LSTM(2, activation="relu")),
    "another gate activation": lambda: sequential(
        layers.GRU(2, recurrent_activation="hard_sigmoid")
    ),
    "another dense activation": lambda: sequential(layers.GRU(2), layers.Dense(2, "gelu")),
    "a mask": lambda: sequential(layers.Masking(), layers.GRU(2)),
    "another layer": lambda: sequential(layers.GRU(2), layers.LayerNormalization()),
    "bfloat16": lambda: sequential(layers.GRU(2, dtype="mixed_bfloat16")),
    "a cell in bfloat16": lambda: sequential(
        layers.RNN(keras.layers.GRUCell(2, dtype="mixed_bfloat16"))
    ),
    "its own cell": lambda: sequential(layers.RNN(OwnCell(2))),
    "its own layer": lambda: sequential(OwnLayer(2)),
    "its own step": lambda: Doubled([layers.Input((None, FEATURES)), layers.GRU(2)]),
    "a window": lambda: legato.Sequential([layers.Input((4, FEATURES)), layers.GRU(2)]),
    "branches": branching,
    "always training": always_training,
    "two outputs": two_outputs,
    "states as outputs": returning_state,
    "low-rank adaptation": with_rank,
}


@pytest.mark.parametrize("model", OTHERS)
def test_other_models_take_the_compiled_step(model):
    assert not is_native(OTHERS[model]())


WITHOUT = """
import numpy as np, legato
from legato import layers
model = legato.Sequential([layers.Input((None, 2)), layers.LSTM(3), layers.Dense(2)])
stream = model.stream()
assert not stream._compiled.takes_any_batch
assert np.isfinite(stream.feed([[1, 2], [3, 4]])).all()
"""


def test_without_the_library_steps_are_compiled():
    environment = os.environ | AS_FOR_USERS | {"LEGATO_NATIVE": "off"}
    process = ForkedPython(WITHOUT, environment=environment, strict=True)
    assert process.communicate() == ("", "")
    assert process.returncode == 0
