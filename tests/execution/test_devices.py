"""Several devices that share the rows of a batch give the numbers of one, but for rounding.

The laws of the state hold on one device (``tests/test_laws.py``); so they hold on several. The
tests have four devices, made of the processor (``tests/environment.py``).
"""

import threading

import jax
import keras
import numpy as np
import pytest
from cells import BY_NAME, FEATURES, Cell, assert_same_states, inputs, spread
from jax.sharding import PartitionSpec

import legato
from legato import layers
from legato._execution import compiled_loop
from legato._execution import run as run_module
from legato._platform import row_devices

KINDS = [
    *("GRU-reset-before", "two-layers", "Bidirectional", "learnt-initial-state", "dropout"),
    *("plain-Keras", "subclassed", "bfloat16"),
]
ROWS = 4
SAMPLES = 10  # the last batch has two rows, which four devices cannot share


@pytest.fixture
def distribution():
    """All devices share the rows of what runs."""
    devices = keras.distribution.list_devices("cpu")
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    yield
    keras.distribution.set_distribution(None)


def trained(cell: Cell, **options):
    """The cell's model and its history, trained with carried state, which begins twice."""
    model = cell.make()
    model.compile(keras.optimizers.SGD(0.05), "mse", metrics=["mae"])
    X = inputs(SAMPLES)
    y = spread(np.random.default_rng(1), *model(X).shape)
    model.reset_states()
    starts = np.arange(SAMPLES) == 6
    options = {"batch_size": ROWS, "epochs": 3, "starts": starts, "reset": "never", **options}
    history = model.fit(X, y, validation_split=0.0, verbose=0, **options).history
    return model, history


def assert_same_training(cell: Cell, one: tuple, other: tuple) -> None:
    (model, history), (its, its_history) = one, other
    assert history.keys() == its_history.keys()
    for name, values in history.items():
        np.testing.assert_allclose(values, its_history[name], **cell.tolerance)
    for mine, theirs in zip(model.get_weights(), its.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, **cell.tolerance)
    assert_same_states(model.states, its.states, cell)


@pytest.mark.quick_cases(2)
@pytest.mark.parametrize("name", KINDS)
def test_training_on_two_devices_is_training_on_one(name):
    cell = BY_NAME[name]
    assert_same_training(cell, trained(cell), trained(cell, devices=2))


@pytest.mark.quick_cases(2)
@pytest.mark.parametrize("name", ["GRU-reset-before", "Bidirectional", "dropout", "bfloat16"])
def test_training_with_joined_sums_is_training_on_one(name, monkeypatch):
    """As they are where several processes compute."""
    joined = []

    def joining_row_sums(function, rows, adder):
        joined.append(rows)
        mesh = row_devices.mesh_of(2)
        return row_devices.joining_sums(function, mesh, PartitionSpec(("processes", "devices")))

    monkeypatch.setattr(compiled_loop, "joining_row_sums", joining_row_sums)
    cell = BY_NAME[name]
    other = trained(cell, devices=2)
    monkeypatch.undo()
    assert {2, 4} <= set(joined)
    assert_same_training(cell, trained(cell), other)


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("native", [True, False], ids=["native", "jax"])
def test_four_devices_with_every_kernel(native, monkeypatch):
    if not native:
        monkeypatch.setattr("legato._recurrent.native_kernel.unavailable", lambda: "it is off")
        monkeypatch.setattr("legato._recurrent.kernels._is_scan_faster", lambda *_: False)
        monkeypatch.setattr("cells._FIRST", {})
    for name in ("LSTM", "GRU"):
        cell = BY_NAME[name]
        assert_same_training(cell, trained(cell), trained(cell, devices=4))


@pytest.mark.quick_cases(2)
@pytest.mark.parametrize(
    "options",
    [
        {"validation": "fresh"},
        {"validation": "continue", "callbacks": [keras.callbacks.LambdaCallback()]},
        {"reset": "epoch", "callbacks": [keras.callbacks.LambdaCallback(print)]},
        {"reset": "batch", "shuffle": True},
    ],
    ids=["validation", "continued validation", "a callback", "shuffled"],
)
def test_options_of_fit_on_four_devices(options):
    cell = BY_NAME["LSTM"]
    if state := options.pop("validation", None):
        X = inputs(ROWS, seed=5)
        options |= {"validation_data": (X, X[..., :1]), "validation_state": state}

    def run(devices):
        keras.utils.set_random_seed(9)
        return trained(cell, devices=devices, **options)

    assert_same_training(cell, run(None), run(4))


def test_masks_and_weights_of_samples_on_two_devices():
    cell = BY_NAME["GRU"]
    X, weight = inputs(SAMPLES), np.linspace(0.5, 2, SAMPLES, dtype="float32")
    X[::3, 4:] = 0

    def run(devices):
        model = cell.make(masked=True)
        model.compile(keras.optimizers.SGD(0.05), "mse")
        fit = {
            "batch_size": ROWS,
            "sample_weight": weight[:, None],
            "verbose": 0,
        }
        y = X[..., :1] * np.ones(4, "float32")
        return model, model.fit(X, y, devices=devices, **fit).history

    assert_same_training(cell, run(1), run(2))


def test_a_generator_on_two_devices():
    cell = BY_NAME["LSTM"]
    X = inputs(SAMPLES)

    def run(devices):
        model = cell.make()
        model.compile(keras.optimizers.SGD(0.05), "mse")
        batches = ((X[at : at + ROWS], X[at : at + ROWS, :, :1]) for at in (0, 4, 8))
        return model, model.fit(batches, devices=devices, verbose=0).history

    assert_same_training(cell, run(None), run(2))


def test_state_after_devices_is_read_and_fed_as_ever():
    cell = BY_NAME["LSTM"]
    model, _ = trained(cell, devices=4)
    alone, _ = trained(cell)
    X = inputs(ROWS, seed=2)
    np.testing.assert_allclose(model.predict(X), alone.predict(X), **cell.tolerance)
    assert all(len(each.value.devices()) == 1 for each in model.variables)
    model.states = alone.states
    stream, other = model.stream(), alone.stream()
    np.testing.assert_allclose(stream.feed(X[0]), other.feed(X[0]), **cell.tolerance)


def test_a_distribution_of_keras_is_used_by_every_verb(distribution):
    model, history = trained(BY_NAME["two-layers"])  # variables are made on all devices
    X = inputs(ROWS, seed=2)
    found = [model.predict(X), model.predict(X), model(X), model.evaluate(X, X[..., :1], ROWS)]
    found.append(model.stream().feed(X[0]))
    after = model.states
    model.reset_states()
    odd = model.predict(X[:3], batch_size=3)  # which four devices cannot share
    keras.distribution.set_distribution(None)
    alone, other_history = trained(BY_NAME["two-layers"])
    expected = [alone.predict(X), alone.predict(X), alone(X), alone.evaluate(X, X[..., :1], ROWS)]
    expected.append(alone.stream().feed(X[0]))
    np.testing.assert_allclose(history["loss"], other_history["loss"], rtol=1e-5)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=2e-6)
    assert_same_states(after, alone.states, BY_NAME["two-layers"])
    model.reset_states()
    np.testing.assert_allclose(model.predict(X[:3], batch_size=3), odd, rtol=1e-5, atol=2e-6)


def test_programs_of_a_distribution_are_not_used_without_it(distribution):
    model = BY_NAME["LSTM"].make()
    X = inputs(ROWS)
    shared = [model.predict(X, advance=False) for _ in range(2)]
    keras.distribution.set_distribution(None)
    for one in [*shared, model.predict(X, advance=False)]:
        np.testing.assert_allclose(one, shared[0], rtol=1e-5, atol=2e-6)


def test_each_device_has_its_rows_and_all_weights(monkeypatch):
    reached = []
    copy = run_module.on_first

    def copying(*given):
        reached.append(given[0])
        return copy(*given)

    monkeypatch.setattr(run_module, "on_first", copying)
    trained(BY_NAME["LSTM"], devices=4)
    values, memory = reached[-1]
    assert [each.sharding.shard_shape(each.shape)[0] for each in memory] == [1, 1, 1]
    assert all(each.is_fully_replicated for each in jax.tree.leaves(values))


def test_runs_of_two_threads_do_not_wait_for_each_other():
    cells = [BY_NAME["LSTM"], BY_NAME["GRU"]]
    alone = [trained(cell) for cell in cells]
    shared: dict = {}

    def run(cell):
        shared[cell.name] = trained(cell, devices=4, epochs=3)

    threads = [threading.Thread(target=run, args=(cell,)) for cell in cells]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    for cell, one in zip(cells, alone, strict=True):
        assert_same_training(cell, one, shared[cell.name])


def test_replicates_under_a_distribution_are_those_of_one_device(distribution):
    def build():
        model = legato.Sequential([layers.Input((5, FEATURES)), layers.GRU(3), layers.Dense(1)])
        model.compile("sgd", "mse")
        return model

    X = inputs(8, 5)
    options = {"n": 2, "epochs": 2, "batch_size": 4, "verbose": 0}
    shared = legato.replicate(build, X, X[:, 0, :1], **options)
    keras.distribution.set_distribution(None)
    alone = legato.replicate(build, X, X[:, 0, :1], **options)
    for one, other in zip(shared.histories, alone.histories, strict=True):
        np.testing.assert_allclose(one["loss"], other["loss"], rtol=1e-5)


def test_explain_says_which_rows_a_device_computes():
    model = BY_NAME["LSTM"].make()
    explained = model.explain(inputs(8), 8, devices=4)
    assert explained.devices[1] == f"rows 2 to 3 are computed on {jax.devices()[1]}"
    assert "Of each batch rows 0 to 1 are computed on" in str(explained)
    assert model.explain(inputs(8), 8).devices == ()


# Bad input.


@pytest.mark.parametrize(
    ("devices", "rows", "message"),
    [
        (
            4,
            6,
            "6 rows cannot be shared equally by 4 devices. Give batch_size=4 or 8, or dev.*=3",
        ),
        (2, 1, "1 row cannot be shared equally by 2 devices. Give batch_size=2, or devices=1"),
        (5, 5, "devices is 5, and JAX has 4 here.*JAX_NUM_CPU_DEVICES=5"),
        (0, 4, "devices is 0"),
        ("two", 4, "devices is 'two'"),
    ],
)
def test_devices_that_cannot_share_the_rows_are_refused(devices, rows, message):
    model = BY_NAME["LSTM"].make()
    model.compile("sgd", "mse")
    X = inputs(SAMPLES)
    before = model.get_weights()
    with pytest.raises(legato.InputError, match=message):
        model.fit(X, X[..., :1], batch_size=rows, devices=devices)
    with pytest.raises(legato.InputError, match=message):
        model.explain(X, rows, devices=devices)
    assert all(map(np.array_equal, model.get_weights(), before))


def test_a_distribution_of_weights_is_refused():
    names = keras.distribution.list_devices("cpu")
    mesh = keras.distribution.DeviceMesh((len(names) // 2, 2), ["batch", "model"], names)
    layout = keras.distribution.LayoutMap(mesh)
    split = keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch")
    model = BY_NAME["LSTM"].make()
    keras.distribution.set_distribution(split)
    try:
        with pytest.raises(legato.UnsupportedError, match=r"ModelParallel is set.*Unset it"):
            model.predict(inputs(ROWS))
    finally:
        keras.distribution.set_distribution(None)
