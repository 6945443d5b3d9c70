"""The compiled program: emitted as one function if it is small, with the same numbers either way.

XLA's mark for that is not documented. If a jaxlib ignores it, ``test_the_mark_has_an_effect``
fails; if it aborts on a program legato would mark, the process that runs these tests dies with it.
"""

import jax
import keras
import numpy as np
import pytest

import legato
from legato import layers
from legato._execution import compiled_loop
from legato._execution import run as run_module
from legato._execution.batches import WholeData
from legato._execution.samples import read_samples
from legato._platform.single_function import (
    _SUPPORTED_OPERATIONS,
    SingleFunctionProgram,
    _are_options_supported,
    _operations,
    _options,
    jit_several_rows,
)


def small_model(**options):
    model = legato.Sequential(
        [layers.Input((3, 2)), layers.LSTM(4, **options), layers.Dense(3, activation="softmax")]
    )
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    return model


def samples(count=7):
    x = np.random.rand(count, 3, 2).astype("float32") + 0.1
    y = np.eye(3, dtype="float32")[np.random.randint(3, size=count)]
    return x, y


def run_of(model):
    """The program of the model's last ``fit``."""
    return next(iter(model.train_function.prepared.values())).run


@pytest.mark.quick_cases(3)
@pytest.mark.parametrize("stateful", [False, True])
@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_one_function_and_plain_give_the_same_run(monkeypatch, stateful, batch_size):
    x, y = samples()
    weights = None
    histories, ends = [], []
    for small in (True, False):
        monkeypatch.setattr(compiled_loop, "is_small", lambda *_, small=small, **__: small)
        model = small_model(stateful=stateful)
        weights = weights or model.get_weights()
        model.set_weights(weights)
        histories.append(model.fit(x, y, batch_size, 30, verbose=0, shuffle=False).history)
        ends.append(model.get_weights())
        assert isinstance(run_of(model), SingleFunctionProgram) is small
    np.testing.assert_allclose(histories[0]["loss"], histories[1]["loss"], rtol=1e-5)
    for one, plain in zip(*ends, strict=True):
        np.testing.assert_allclose(one, plain, rtol=1e-4, atol=1e-6)


def test_the_mark_has_an_effect():
    """A marked program is one call in the optimized program; an unmarked one is a loop there."""
    model = small_model()
    model.fit(*samples(), batch_size=1, verbose=0)
    x, y = samples()
    run = run_module.Run(model._model_state, "train")
    (block,) = WholeData(read_samples(x, y), 1).training(1)
    run.prepare(block)
    span = np.array((0, 7, 0), np.int32)
    feed = compiled_loop.LoopInputs(block.samples.packed, None, [], block.order, span)
    marked = run._run._marked().lower(run._values, run.memory, feed).compile().as_text()
    entry = marked[marked.index("ENTRY") :]
    assert "xla_cpu_small_call" in marked
    assert " call(" in entry
    assert " while(" not in entry
    plain = jax.jit(run._run._run).lower(run._values, run.memory, feed).compile().as_text()
    assert " while(" in plain[plain.index("ENTRY") :]


def test_a_program_with_other_operations_is_not_marked():
    class Sorts(keras.layers.Layer):
        def call(self, inputs):
            return keras.ops.sort(inputs, axis=-1)

    model = legato.Sequential([layers.Input((3, 2)), layers.LSTM(4), Sorts(), layers.Dense(1)])
    model.compile(loss="mse")
    x, _ = samples()
    model.fit(x, np.ones((7, 1)), batch_size=1, verbose=0)
    chosen = run_of(model)
    assert isinstance(chosen, SingleFunctionProgram)
    assert "sort" not in _SUPPORTED_OPERATIONS
    assert not chosen.is_one_function
    assert chosen._compiled is not None


@pytest.mark.parametrize(("operation", "is_supported"), [("sort", False), ("tanh", True)])
def test_a_program_is_traced_once_however_it_is_compiled(operation, is_supported):
    traced, values = [], np.float32([3, 1, 2])

    def run(x):
        traced.append(x.shape)
        return getattr(jax.numpy, operation)(x)

    program = SingleFunctionProgram(run)
    for _ in range(2):
        np.testing.assert_allclose(program(values), getattr(np, operation)(values), rtol=1e-5)
    assert program.is_one_function is is_supported
    assert traced == [(3,)]


def test_operations_are_found_at_any_depth():
    def nested(x):
        return jax.lax.scan(lambda c, _: (jax.jit(jax.numpy.sort)(c), None), x, length=2)[0]

    assert {"scan", "sort"} <= _operations(jax.make_jaxpr(nested)(np.ones(3)).jaxpr)


def test_programs_of_large_steps_are_not_marked():
    model = legato.Sequential([layers.Input((50, 8)), layers.LSTM(64), layers.Dense(1)])
    model.compile(loss="mse")
    model.fit(np.ones((8, 50, 8)), np.ones((8, 1)), batch_size=8, verbose=0)
    assert not isinstance(run_of(model), SingleFunctionProgram)


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("option", [{"run_eagerly": True}, {"jit_compile": False}])
def test_run_eagerly_equals_the_compiled_run(option):
    """``run_eagerly`` runs every step in Python, with a smaller last batch and state carried."""
    x, y = samples()
    results = []
    weights = None
    for options in ({}, option):
        model = small_model(stateful=True)
        model.compile(loss="mse", optimizer="sgd", metrics=["mae"], **options)
        weights = weights or model.get_weights()
        model.set_weights(weights)
        history = model.fit(x, y, batch_size=3, epochs=2, verbose=0).history
        model.reset_states()
        scores = model.evaluate(x, y, batch_size=3, verbose=0)
        outputs = model.predict(x, batch_size=3, verbose=0)
        results.append([*history["loss"], *history["mae"], *scores, *outputs.ravel()])
    np.testing.assert_allclose(*results, rtol=1e-5)


def test_run_eagerly_shows_a_step_its_values():
    seen = []

    class ReadsValues(legato.Sequential):
        def train_step(self, state, data):
            seen.append(float(data[0][0, 0, 0]))
            return super().train_step(state, data)

    model = ReadsValues([layers.Input((3, 2)), layers.LSTM(2), layers.Dense(3)])
    model.compile(loss="mse", run_eagerly=True)
    x, y = samples(3)
    model.fit(x, y, batch_size=1, verbose=0, shuffle=False)
    np.testing.assert_allclose(seen, x[:, 0, 0])


def test_options_unknown_to_xla_are_left_out(monkeypatch):
    _are_options_supported.cache_clear()
    assert _are_options_supported()
    monkeypatch.setattr(
        "legato._platform.single_function._ONE_FUNCTION_OPTIONS", {"xla_no_such_option": True}
    )
    _are_options_supported.cache_clear()
    try:
        assert not _are_options_supported()
        assert float(jit_several_rows(lambda x: 2 * x, 1)(np.float32(3))) == 6
    finally:
        _are_options_supported.cache_clear()


def test_jaxs_setting_for_few_optimizations_is_kept(optimized):
    assert _options()["xla_backend_optimization_level"] == 1
    jax.config.update("jax_disable_most_optimizations", True)
    assert _options()["xla_backend_optimization_level"] == 0
