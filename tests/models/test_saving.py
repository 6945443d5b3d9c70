"""Model files: those that legato saves open in plain Keras, and the other way round.

Every kind of model is tested for opening without legato, with the same outputs from a fresh state,
on every backend that is installed; for opening in legato unchanged; and for continuing as if never
stopped, to the bit.
"""

import importlib.util
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from cells import assert_same_states
from full_disk import file_size_limit
from plain_keras import HalfCell

import legato
from legato import InputError, OutputError, layers
from legato._models import saving
from legato._platform.keras_private import known_inputs

ROWS, STEPS, FEATURES, UNITS = 3, 4, 2, 3
SEQUENCES = {"stateful": True, "return_sequences": True}
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def _input(**options):
    return layers.Input((STEPS, FEATURES), **options)


def _functional(make: Callable, **options) -> Callable:
    def build():
        first = _input(**options)
        return legato.Model(first, layers.Dense(UNITS)(make()(first)))

    return build


def _functional_in_sequential():
    first = _input()
    inner = legato.Model(first, layers.LSTM(UNITS, **SEQUENCES)(first))
    return legato.Sequential([_input(), inner, layers.GRU(UNITS, stateful=True)])


def _sequential_in_functional():
    first = _input()
    inner = legato.Sequential([layers.GRU(UNITS, **SEQUENCES), layers.LSTM(UNITS, stateful=True)])
    return legato.Model(first, inner(first))


def _two_inputs():
    one, other = _input(name="one"), _input(name="other")
    first = layers.Dense(UNITS)(other[:, 0])
    # The state comes from other inputs: the layer is built for several shapes.
    return legato.Model([one, other], layers.GRU(UNITS, stateful=True)(one, initial_state=first))


def _stacked():
    return layers.RNN([layers.LSTMCell(2), layers.GRUCell(UNITS)], stateful=True)


@keras.saving.register_keras_serializable("test_files")
class Own(legato.Model):
    """A user's model class."""

    def __init__(self, units: int):
        super().__init__()
        self.units = units
        self.memory = layers.LSTM(units, stateful=True)
        self.mixed = layers.Dense(units)

    def call(self, x):
        return self.mixed(self.memory(x))

    def get_config(self):
        return {"units": self.units}


MODELS: dict[str, Callable] = {
    "Sequential": lambda: legato.Sequential([_input(), layers.LSTM(UNITS, stateful=True)]),
    "Sequential-without-Input": lambda: legato.Sequential(
        [layers.LSTM(UNITS, **SEQUENCES), layers.GRU(UNITS, stateful=True), layers.Dense(UNITS)]
    ),
    "stateless": lambda: legato.Sequential([layers.LSTM(UNITS), layers.Dense(UNITS)]),
    "no-recurrent-layer": lambda: legato.Sequential([_input(), layers.Dense(UNITS)]),
    "functional": _functional(lambda: layers.GRU(UNITS, stateful=True)),
    "functional-stateless": _functional(lambda: layers.SimpleRNN(UNITS)),
    "declared": _functional(lambda: layers.LSTM(UNITS, stateful=True), batch_size=ROWS),
    "plain-Keras-layer": lambda: legato.Sequential([keras.layers.LSTM(UNITS, stateful=True)]),
    "stacked": _functional(_stacked),
    "own-cell": _functional(lambda: layers.RNN(HalfCell(UNITS), stateful=True)),
    "Bidirectional": _functional(lambda: layers.Bidirectional(layers.GRU(UNITS, stateful=True))),
    "backwards": _functional(lambda: layers.GRU(UNITS, stateful=True, go_backwards=True)),
    "ConvLSTM1D": lambda: legato.Sequential(
        [layers.Reshape((STEPS, FEATURES, 1)), layers.ConvLSTM1D(2, 2, stateful=True)]
    ),
    "functional-in-Sequential": _functional_in_sequential,
    "Sequential-in-functional": _sequential_in_functional,
    "two-inputs": _two_inputs,
}
WITHOUT_H5 = ("two-inputs",)  # plain Keras's old format loses layers called by name


def data(model, rows: int = ROWS) -> list[np.ndarray]:
    """The model's inputs, all different."""
    rng = np.random.default_rng(5)
    count = len(known_inputs(model) or [None])
    return [rng.uniform(0.1, 0.9, (rows, STEPS, FEATURES)).astype("float32") for _ in range(count)]


def predict(model, inputs: list, **options) -> np.ndarray:
    x = inputs if len(inputs) > 1 else inputs[0]
    return model.predict(x, batch_size=len(inputs[0]), verbose=0, **options)


def made(name: str):
    """A model of the list, built, with its state reset."""
    model = MODELS[name]()
    predict(model, data(model))
    model.reset_states()
    return model


def rows_of(name: str) -> int:
    """Rows that plain Keras takes of a file saved with the state reset."""
    return ROWS if name == "declared" else 1


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A folder with every model of the list in a file, and its outputs beside it."""
    folder = tmp_path_factory.mktemp("saved")
    for name in MODELS:
        model = made(name)
        inputs = data(model, rows_of(name))
        model.save(folder / f"{name}.keras")
        if name not in WITHOUT_H5:
            model.save(folder / f"{name}.h5")
        outputs = predict(model, inputs)
        named = {f"x{at}": each for at, each in enumerate(inputs)}
        np.savez(folder / f"{name}.npz", **named, outputs=outputs)
    own = Own(UNITS)
    np.savez(folder / "own.npz", x0=data(own)[0], outputs=predict(own, data(own)))
    own.save(folder / "own.keras")
    return folder


def in_plain_keras(folder: Path, backend: str, *suffixes: str) -> dict:
    """File → the outcome of opening it in a process that cannot import legato."""
    script = Path(__file__).parents[1] / "plain_keras.py"
    done = subprocess.run(
        [sys.executable, script, folder, *suffixes],
        env=os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def opened(saved):
    """Backend, suffixes → the outcomes of ``in_plain_keras``, from one process for all tests."""
    return cache(partial(in_plain_keras, saved))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "suffixes"),
    [
        ("jax", [".keras"]),
        ("tensorflow", [".keras", ".h5"]),
        pytest.param("torch", [".keras"], marks=pytest.mark.slow),
    ],
)
def test_every_model_opens_without_legato_with_the_same_outputs(saved, opened, backend, suffixes):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    found = opened(backend, *suffixes)
    assert len(found) == sum(each.suffix in suffixes for each in saved.iterdir()) > len(MODELS)
    wrong = {name for name, far in found.items() if isinstance(far, str) or far > 1e-5}
    assert wrong == {"own.keras"}, found  # see the next test


def test_the_process_without_legato_cannot_import_it(opened):
    """The check above can fail: a class of legato is not found there."""
    assert "Could not locate class 'Own'" in opened("jax", ".keras")["own.keras"]


@pytest.mark.parametrize("name", MODELS)
def test_every_model_opens_in_legato_unchanged(saved, name):
    before, after = made(name), legato.load_model(saved / f"{name}.keras")
    assert isinstance(after, legato.Sequential) == isinstance(before, legato.Sequential)
    assert isinstance(after, legato.Model)
    assert after.stateful == before.stateful
    assert after.input_shape == before.input_shape  # nothing more is declared
    after.reset_states()
    before.set_weights(after.get_weights())
    inputs = data(before)
    for _ in range(2):
        np.testing.assert_array_equal(predict(after, inputs), predict(before, inputs))
    assert after.states.rows == before.states.rows
    assert_same_states(after.states, before.states)
    after.reset_states()
    assert len(predict(after, data(before, rows=5))) == 5  # any number of rows, declared or not


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("name", ["Sequential", "Bidirectional", "functional-in-Sequential"])
def test_plain_keras_takes_the_rows_of_the_state(name, suffix, tmp_path):
    model, path = made(name), tmp_path / f"m{suffix}"
    x = data(model)[0]
    outputs = model.predict(x[:2], verbose=0)
    model.save(path)
    plain = keras.saving.load_model(path)
    np.testing.assert_allclose(plain.predict(x[:2], verbose=0), outputs, **CLOSE)
    with pytest.raises(ValueError, match="Expected batch size: 2"):
        plain.predict(x, verbose=0)


def test_rows_of_the_state_are_not_declared_by_a_file(tmp_path):
    model = made("Sequential")
    predict(model, data(model))
    model.save(tmp_path / "three.keras")
    again = legato.load_model(tmp_path / "three.keras")
    assert again.input_shape == (None, STEPS, FEATURES)
    again.save(tmp_path / "fresh.keras")
    plain = keras.saving.load_model(tmp_path / "fresh.keras")
    assert plain.predict(data(model, rows=1)[0], verbose=0).shape == (1, UNITS)


@pytest.mark.parametrize("kind", ["plain", "custom", "subclassed"])
def test_nested_models_become_models_of_legato(saved, kind, tmp_path):
    if kind == "plain":
        model = legato.load_model(saved / "functional-in-Sequential.keras")
        assert isinstance(model.layers[0], legato.Model)
        assert predict(model.layers[0], data(model)).shape == (ROWS, STEPS, UNITS)
    if kind == "custom":
        inner = keras.Sequential([keras.layers.LSTM(UNITS, stateful=True)])
        plain = keras.Sequential([keras.Input((STEPS, FEATURES), batch_size=ROWS), inner])
        plain.save(tmp_path / "plain.keras")
        model = legato.load_model(tmp_path / "plain.keras")
        assert isinstance(model.layers[0], legato.Sequential)
        assert model.states.rows == 0
    if kind == "subclassed":
        model = Own(UNITS)
        predict(model, data(model))
        model.save(tmp_path / "own.keras")
        again = legato.load_model(tmp_path / "own.keras")
        assert type(again) is Own
        model.reset_states()
        np.testing.assert_array_equal(predict(again, data(model)), predict(model, data(model)))
        assert again.states.rows == ROWS


@keras.saving.register_keras_serializable("test_files")
class PlainOwn(keras.Model):
    """A user's model class, written for plain Keras."""

    def __init__(self, units: int):
        super().__init__()
        self.units = units
        self.memory = keras.layers.LSTM(units, stateful=True)

    def build(self, input_shape):
        self.memory.build(input_shape)

    def call(self, x):
        return self.memory(x)

    def predict(self, *args, **kwargs):
        return -super().predict(*args, **kwargs)

    def get_config(self):
        return {"units": self.units}


@keras.saving.register_keras_serializable("test_files")
class PlainLSTM(keras.layers.LSTM):
    """A user's layer class, written for plain Keras."""


def test_classes_written_for_plain_keras_carry_state_and_keep_their_class(tmp_path):
    plain = PlainOwn(UNITS)
    plain.build((ROWS, STEPS, FEATURES))
    plain.save(tmp_path / "plain.keras")
    model = legato.load_model(tmp_path / "plain.keras")
    assert isinstance(model, (PlainOwn, legato.Model))
    x = data(model)[0]
    first = model.predict(x, verbose=0)  # the class's own verb, over legato's
    assert model.states.rows == ROWS
    model.save(tmp_path / "again.keras")
    again = keras.saving.load_model(tmp_path / "again.keras")
    assert type(again) is PlainOwn
    np.testing.assert_allclose(again.predict(x, verbose=0), first, **CLOSE)

    model = legato.Sequential([_input(), PlainLSTM(UNITS, stateful=True)])
    model.save(tmp_path / "layer.keras")
    plain = keras.saving.load_model(tmp_path / "layer.keras")
    assert type(plain.layers[0]) is PlainLSTM
    assert isinstance(legato.load_model(tmp_path / "layer.keras").layers[0], PlainLSTM)


@pytest.mark.parametrize("batched", [True, False])
def test_models_saved_by_plain_keras_carry_state_in_legato(tmp_path, batched):
    options = {"batch_size": ROWS} if batched else {}
    plain = keras.Sequential(
        [keras.Input((STEPS, FEATURES), **options), keras.layers.LSTM(UNITS, stateful=batched)]
    )
    plain.compile(optimizer="adam", loss="mse", metrics=["mae"])
    x, y = np.random.rand(ROWS, STEPS, FEATURES), np.random.rand(ROWS, UNITS)
    plain.fit(x, y, batch_size=ROWS, verbose=0)
    plain.save(tmp_path / "plain.keras")
    model = legato.load_model(tmp_path / "plain.keras")
    assert type(model) is legato.Sequential
    assert type(model.layers[0]) is layers.LSTM
    assert model.input_shape == plain.input_shape
    for mine, theirs in zip(model.optimizer.variables, plain.optimizer.variables, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert model.predict(np.random.rand(7, STEPS, FEATURES), verbose=0).shape == (7, UNITS)
    assert model.states.rows == (ROWS if batched else 0)  # the batch size that was declared
    model.reset_states()
    assert set(model.fit(x, y, verbose=0).history) == {"loss", "mae"}


# Training continues to the bit.


@pytest.mark.parametrize(
    "build",
    [
        lambda: legato.Sequential(
            [layers.LSTM(UNITS, dropout=0.3, stateful=True), layers.Dense(UNITS)]
        ),
        MODELS["functional"],
        lambda: legato.Sequential([layers.SimpleRNN(UNITS), layers.BatchNormalization()]),
        lambda: Own(UNITS),
    ],
    ids=["dropout", "functional", "stateless", "subclassed"],
)
def test_training_continues_to_the_bit(build, tmp_path):
    model = build()
    rate = keras.optimizers.schedules.ExponentialDecay(0.01, 2, 0.9)
    model.compile(optimizer=keras.optimizers.Adam(rate), loss="mse", metrics=["mae"])
    x, y = np.random.rand(6, STEPS, FEATURES), np.random.rand(6, UNITS)
    options = {"batch_size": ROWS, "epochs": 2, "shuffle": False, "verbose": 0, "reset": "never"}
    model.fit(x, y, **options)
    model.save(tmp_path / "m.keras")
    model.save_states(tmp_path / "m.state")
    loaded = legato.load_model(tmp_path / "m.keras")
    loaded.load_states(tmp_path / "m.state")
    one, other = [each.fit(x, y, **options).history for each in (model, loaded)]
    assert one == other
    for mine, theirs in zip(loaded.variables, model.variables, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert_same_states(loaded.states, model.states)
    assert loaded.optimizer.iterations == model.optimizer.iterations == 8


def test_a_loaded_model_is_compiled_as_it_was_or_not_at_all(tmp_path):
    model = made("functional")
    model.compile(optimizer=keras.optimizers.SGD(0.25), loss="mae", run_eagerly=True)
    with warnings.catch_warnings():  # Keras: the optimizer was never used
        warnings.simplefilter("ignore")
        model.save(tmp_path / "m.keras")
        loaded = legato.load_model(tmp_path / "m.keras")
    assert loaded.optimizer.learning_rate == 0.25
    assert loaded.loss == "mae"
    assert loaded.run_eagerly
    assert not legato.load_model(tmp_path / "m.keras", compile=False).compiled


# Weights.


def test_weights_that_do_not_fit_change_nothing(tmp_path):
    def network(classes):
        return legato.Sequential(
            [layers.Input((None, 2)), layers.SimpleRNN(3), layers.Dense(classes)]
        )

    network(5).save_weights(tmp_path / "five.weights.h5")  # the first layer's weights fit
    model = network(4)
    before = model.get_weights()
    with pytest.raises(InputError, match="not a whole file of weights for this model"):
        model.load_weights(tmp_path / "five.weights.h5")
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["Sequential", "Bidirectional", "functional-in-Sequential"])
def test_weights_are_saved_and_loaded_both_ways(saved, name, tmp_path):
    model, plain = made(name), keras.saving.load_model(saved / f"{name}.keras")
    model.save_weights(tmp_path / "mine.weights.h5")
    plain.save_weights(tmp_path / "theirs.weights.h5")
    before = plain.get_weights()
    plain.load_weights(tmp_path / "mine.weights.h5")
    for mine, theirs in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    model.load_weights(tmp_path / "theirs.weights.h5")
    for mine, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    model.load_weights(saved / f"{name}.keras")
    if name != "functional-in-Sequential":
        model.load_weights(saved / f"{name}.h5")
        for mine, theirs in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("name", [name for name in MODELS if name not in WITHOUT_H5])
def test_the_old_format_opens_in_legato(saved, name):
    model = legato.load_model(saved / f"{name}.h5")
    with np.load(saved / f"{name}.npz") as answer:
        np.testing.assert_allclose(predict(model, [answer["x0"]]), answer["outputs"], **CLOSE)
    model.reset_states()
    assert len(predict(model, data(model))) == ROWS


# Lambdas, custom objects, warnings.


def test_lambdas_and_unknown_classes_are_refused_as_keras_does(tmp_path):
    model = legato.Sequential([_input(), layers.Lambda(lambda x: 2 * x), layers.LSTM(UNITS)])
    model.save(tmp_path / "lambda.keras")
    with pytest.raises(ValueError, match="safe_mode=False"):
        legato.load_model(tmp_path / "lambda.keras")
    loaded = legato.load_model(tmp_path / "lambda.keras", safe_mode=False)
    np.testing.assert_array_equal(predict(loaded, data(model)), predict(model, data(model)))

    class Unregistered(layers.Dense):
        pass

    model = legato.Sequential([_input(), layers.LSTM(UNITS), Unregistered(UNITS)])
    model.save(tmp_path / "custom.keras")
    with pytest.raises(TypeError, match="Could not locate class 'Unregistered'"):
        legato.load_model(tmp_path / "custom.keras")
    known = {"Unregistered": Unregistered}
    assert legato.load_model(tmp_path / "custom.keras", known).layers[-1].units == UNITS


def test_a_backward_layer_warns_once(saved):
    with pytest.warns(UserWarning, match="runs backwards in time") as message:
        legato.load_model(saved / "Bidirectional.keras")
    assert len(message) == 1


# Interrupted writes.


@keras.saving.register_keras_serializable("test_files")
class Interrupted(layers.Dense):
    """A layer that runs a function in the middle of being saved."""

    happens: Callable = staticmethod(lambda: None)

    def save_own_variables(self, store):
        super().save_own_variables(store)
        type(self).happens()


@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5"])
def test_an_interruption_leaves_the_old_file(name, tmp_path, monkeypatch):
    path = tmp_path / name
    model = legato.Sequential([_input(), layers.LSTM(UNITS, stateful=True), Interrupted(2)])
    save = model.save if name == "m.keras" else model.save_weights
    save(path)
    old = path.read_bytes()
    seen = []

    def stop():
        seen.append(path.read_bytes())
        raise KeyboardInterrupt

    monkeypatch.setattr(Interrupted, "happens", stop)
    with pytest.raises(KeyboardInterrupt):
        save(path)
    assert seen == [old]  # the file that a process killed just then would leave
    assert [each.name for each in tmp_path.iterdir()] == [name]
    assert path.read_bytes() == old


def test_overwrite_false_requests_confirmation(tmp_path, monkeypatch):
    model = made("Sequential")
    path = tmp_path / "m.keras"
    path.write_text("old")
    requests = []
    monkeypatch.setattr(saving.keras_private, "may_overwrite", requests.append)
    model.save(path, overwrite=False)
    assert requests == [path]
    assert path.read_text() == "old"
    model.save(tmp_path / "new.keras", overwrite=False)
    assert requests == [path]


def test_an_unzipped_model_is_written_by_keras(tmp_path):
    model = made("Sequential")
    model.save(tmp_path / "folder", zipped=False)
    loaded = legato.load_model(tmp_path / "folder")
    np.testing.assert_array_equal(predict(loaded, data(model)), predict(model, data(model)))


def test_checkpoints_of_keras_are_written_atomically(tmp_path):
    model = legato.Sequential([_input(), layers.LSTM(UNITS, stateful=True)])
    model.compile(loss="mse")
    keep = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="loss")
    model.fit(data(model)[0], np.zeros((ROWS, UNITS)), callbacks=[keep], verbose=0)
    assert legato.load_model(tmp_path / "best.keras").optimizer.iterations == 1


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "m.weights.h5"])
def test_on_a_full_disk_the_old_file_stays(name, tmp_path):
    """The HDF5 library itself would crash the process, at one size or another."""
    model = made("Sequential")
    save = model.save_weights if "weights" in name else model.save
    save(tmp_path / name)
    old = (tmp_path / name).read_bytes()
    for size in range(0, len(old), len(old) // 5):
        with file_size_limit(size), pytest.raises(OutputError, match=r"cannot be written \(File"):
            save(tmp_path / name)
        assert [each.name for each in tmp_path.iterdir()] == [name]
        assert (tmp_path / name).read_bytes() == old


# The old format.


def test_the_old_format_keeps_the_rest_of_the_file(saved):
    with h5py.File(saved / "functional.h5") as file:
        config = json.loads(file.attrs["model_config"])
    shapes = [each["batch_shape"] for each in saving._input_configs(config)]
    assert shapes == [[1, STEPS, FEATURES]]


@pytest.mark.parametrize("suffix", [".h5", ".hdf5"])
def test_saving_in_the_old_format_leaves_the_model_compiled_as_it_was(suffix, tmp_path):
    """Keras takes the optimizer out of the compile options, and a later file would lack it."""
    model = legato.Sequential([layers.Input((STEPS, FEATURES)), layers.LSTM(UNITS)])
    model.compile(keras.optimizers.SGD(0.5), keras.losses.MeanSquaredError())
    before = model.get_compile_config()
    model.save(tmp_path / f"m{suffix}")
    assert model.get_compile_config() == before
    model.save(tmp_path / "m.keras")
    for name in (f"m{suffix}", "m.keras"):
        again = legato.load_model(tmp_path / name)
        assert isinstance(again.optimizer, keras.optimizers.SGD)
        assert float(again.optimizer.learning_rate) == 0.5


def test_a_loss_that_keras_cannot_read_back_from_the_old_format_is_named(tmp_path):
    """Keras finds no loss of this name; the file is whole."""
    model, path = legato.Sequential([layers.Input((2, 1)), layers.LSTM(1)]), tmp_path / "m.h5"
    model.compile("adam", "mse")
    model.save(path)
    with pytest.raises(InputError, match=r"m\.h5 was compiled with 'mse'.*compile=False") as raised:
        legato.load_model(path)
    assert "altered" not in str(raised.value)
    again = legato.load_model(path, compile=False)
    again.compile("adam", "mse")
    x = np.ones((1, 2, 1))
    np.testing.assert_array_equal(predict(again, [x]), predict(model, [x]))
