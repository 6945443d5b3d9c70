"""Callbacks get exactly the calls and logs of plain Keras.

The same layers with the same weights and seeds, stateless and unshuffled, once in
``legato.Sequential`` and once in ``keras.Sequential``: the same calls in the same order, the same
logs, the same weights at the end.
"""

import keras
import numpy as np
import pytest
from cells import BY_NAME, FEATURES, ROWS, STEPS, UNITS, inputs, spread

import legato
from legato._execution.run import Run

X = inputs(2 * ROWS + 1, seed=4)
y = spread(np.random.default_rng(5), len(X), 2)
TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}
EVENTS = [
    name
    for name in dir(keras.callbacks.Callback)
    if name.startswith("on_") and name not in ("on_batch_begin", "on_batch_end")
]


class Recorder(keras.callbacks.Callback):
    """Records every call, with a copy of its logs."""

    def __init__(self):
        super().__init__()
        self.calls = []


def _recording(name: str):
    def record(self, *arguments, logs=None):
        *numbers, given = (
            arguments
            if arguments and not _is_number(arguments[-1])
            else (
                *arguments,
                logs,
            )
        )
        self.calls.append((name, *numbers, dict(given or {})))

    return record


def _is_number(value) -> bool:
    return isinstance(value, (int, np.integer))


for _name in EVENTS:
    setattr(Recorder, _name, _recording(_name))


def stacked(make_layers, optimizer="sgd"):
    """One model of legato's and one of Keras's: the same layers, weights and seeds."""
    models = []
    for package in (legato, keras):
        keras.utils.set_random_seed(7)
        model = package.Sequential([keras.Input((STEPS, FEATURES)), *make_layers(package.layers)])
        made = keras.optimizers.get(optimizer)
        made = type(made).from_config(made.get_config())
        model.compile(made, "mse", metrics=["mae"], weighted_metrics=["mse"])
        models.append(model)
    for mine, theirs in zip(*[model.get_weights() for model in models], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    return models


def plain(layers):
    return [layers.LSTM(UNITS), layers.Dense(2)]


def assert_same_calls(one: list, other: list) -> None:
    assert [call[:-1] for call in one] == [call[:-1] for call in other]
    for mine, theirs in zip(one, other, strict=True):
        assert set(mine[-1]) == set(theirs[-1]), mine[:-1]
        for name, value in mine[-1].items():
            np.testing.assert_allclose(value, theirs[-1][name], **TOLERANCE, err_msg=str(mine[:-1]))


def assert_same_weights(one, other) -> None:
    for mine, theirs in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, **TOLERANCE)


def assert_same_fits(models, callbacks=list, **options) -> list:
    """Fit both; returns legato's callbacks and Keras's."""
    made = [callbacks(), callbacks()]
    options = {"batch_size": ROWS, "epochs": 3, "verbose": 0, "shuffle": False} | options
    logs = [
        model.fit(X, y, callbacks=each, **options) for model, each in zip(models, made, strict=True)
    ]
    assert logs[0].epoch == logs[1].epoch
    assert list(logs[0].history) == list(logs[1].history)
    for name, values in logs[0].history.items():
        np.testing.assert_allclose(values, logs[1].history[name], **TOLERANCE, err_msg=name)
    assert_same_weights(*models)
    return made


@pytest.fixture(scope="module")
def _models():
    models = stacked(plain)
    return models, models[0].get_weights()


@pytest.fixture
def models(_models):
    """The pair, reset to its initial weights and optimizer."""
    pair, weights = _models
    for model in pair:
        model.set_weights(weights)
        model.optimizer.learning_rate = 0.1
        if model.optimizer.built:
            model.optimizer.iterations.assign(0)
    return pair


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"validation_data": (X[:4], y[:4])},
        {"validation_split": 0.3, "validation_freq": 2},
        {"epochs": 4, "initial_epoch": 2},
        {"sample_weight": np.linspace(0.5, 1.5, len(X))},
        {"epochs": 0},
    ],
    ids=lambda options: "-".join(options) or "plain",
)
def test_fit_calls_back_as_keras_does(models, options):
    (mine,), (theirs,) = assert_same_fits(models, lambda: [Recorder()], **options)
    assert_same_calls(mine.calls, theirs.calls)


@pytest.mark.parametrize("verb", ["evaluate", "predict"])
def test_other_verbs_call_back_as_keras_does(models, verb):
    records, results = [], []
    for model in models:
        records.append(Recorder())
        data = (X, y) if verb == "evaluate" else (X,)
        results.append(
            getattr(model, verb)(*data, batch_size=ROWS, verbose=0, callbacks=[records[-1]])
        )
    assert_same_calls(records[0].calls, records[1].calls)
    np.testing.assert_allclose(*results, **TOLERANCE)


class Stopper(Recorder):
    """Requests the end at one event."""

    def __init__(self, event: str, number: int):
        super().__init__()
        self.event, self.number = event, number


def _stopping(name: str):
    def record(self, *arguments, **options):
        _recording(name)(self, *arguments, **options)
        if (name, self.number) == (self.event, arguments[0]):
            self.model.stop_training = self.model.stop_evaluating = True
            self.model.stop_predicting = True

    return record


for _name in ("on_epoch_begin", "on_epoch_end", "on_train_batch_end", "on_test_batch_end"):
    setattr(Stopper, _name, _stopping(_name))


@pytest.mark.parametrize("event", ["on_epoch_end", "on_train_batch_end"])
@pytest.mark.parametrize("validated", [False, True])
def test_stop_training_is_honoured(models, event, validated):
    options = {"validation_data": (X[:4], y[:4])} if validated else {}
    (mine,), (theirs,) = assert_same_fits(models, lambda: [Stopper(event, 1)], **options)
    assert_same_calls(mine.calls, theirs.calls)


def test_stop_evaluating_is_honoured(models):
    records = [Stopper("on_test_batch_end", 1) for _ in models]
    for model, record in zip(models, records, strict=True):
        model.evaluate(X, y, batch_size=ROWS, verbose=0, callbacks=[record])
    assert_same_calls(records[0].calls, records[1].calls)


class Changer(keras.callbacks.Callback):
    """Halves the weights at every occurrence of one event."""

    def __init__(self, event: str):
        super().__init__()
        setattr(self, event, self._change)

    def _change(self, *_arguments, **_logs):
        for variable in self.model.trainable_variables:
            variable.assign(variable * 0.5)


@pytest.mark.parametrize("event", EVENTS)
def test_weights_changed_by_a_callback_are_used_from_then_on(models, event):
    assert_same_fits(models, lambda: [Changer(event)], validation_data=(X[:4], y[:4]))
    logs = [
        model.evaluate(X, y, batch_size=ROWS, verbose=0, callbacks=[Changer(event)])
        for model in models
    ]
    np.testing.assert_allclose(*logs, **TOLERANCE)
    outputs = [
        model.predict(X, batch_size=ROWS, verbose=0, callbacks=[Changer(event)]) for model in models
    ]
    np.testing.assert_allclose(*outputs, **TOLERANCE)
    assert_same_weights(*models)


# Keras's callbacks, and users'.


class Changes(keras.callbacks.Callback):
    """Sets the learning rate by batch and by epoch, and stops."""

    def on_train_batch_begin(self, batch, logs=None):
        self.model.optimizer.learning_rate = 0.1 / (batch + 1)

    def on_epoch_begin(self, epoch, logs=None):
        self.model.optimizer.learning_rate.assign(0.05 * (epoch + 1))

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = epoch == 2


def worse_from_the_third_epoch_on():
    return keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 if epoch < 2 else -0.5)


def file_contents(folder) -> dict:
    """The files of a run: weights and outputs of saved models, opened by Keras, and tables."""
    found = {}
    for file in sorted(folder.iterdir()):
        if file.suffix == ".keras":
            opened = keras.saving.load_model(file)
            assert type(opened) is keras.Sequential
            found[file.name] = [*opened.get_weights(), opened.predict(X, verbose=0)]
        elif file.suffix == ".h5":
            fresh = keras.Sequential([keras.Input((STEPS, FEATURES)), *plain(keras.layers)])
            fresh.load_weights(file)
            found[file.name] = fresh.get_weights()
        elif file.suffix == ".csv":
            names, *rows = file.read_text().splitlines()
            found[names] = [[float(each) for each in row.split(",")] for row in rows]
    return found


callbacks = keras.callbacks
VALIDATED = {"validation_data": (X[:4], y[:4])}
STOCK = {  # callbacks of a folder; other options of fit; compared attributes
    "LearningRateScheduler": (
        lambda folder: [callbacks.LearningRateScheduler(lambda epoch, rate: rate / (epoch + 2))],
        {},
        (),
    ),
    "EarlyStopping, best weights": (
        lambda folder: [
            worse_from_the_third_epoch_on(),
            callbacks.EarlyStopping("loss", patience=2, restore_best_weights=True),
        ],
        {"epochs": 8},
        ("stopped_epoch", "best_epoch"),
    ),
    "EarlyStopping, from an epoch": (
        lambda folder: [
            callbacks.EarlyStopping("val_mae", min_delta=0.5, patience=1, start_from_epoch=2)
        ],
        {"epochs": 8, **VALIDATED},
        ("stopped_epoch", "best_epoch"),
    ),
    "ReduceLROnPlateau": (
        lambda folder: [
            callbacks.ReduceLROnPlateau("val_loss", 0.5, patience=1, min_delta=0.1, cooldown=1)
        ],
        {"epochs": 8, **VALIDATED},
        ("best", "wait"),
    ),
    "ModelCheckpoint, weights": (
        lambda folder: [
            callbacks.ModelCheckpoint(folder / "{epoch}.weights.h5", save_weights_only=True)
        ],
        {},
        (),
    ),
    "ModelCheckpoint, batches": (
        lambda folder: [callbacks.ModelCheckpoint(folder / "{epoch}.keras", save_freq=2)],
        {"epochs": 2},
        (),
    ),
    "ModelCheckpoint, best": (
        lambda folder: [
            worse_from_the_third_epoch_on(),
            callbacks.ModelCheckpoint(folder / "best.keras", "val_loss", save_best_only=True),
        ],
        {"epochs": 4, **VALIDATED},
        ("best",),
    ),
    "CSVLogger": (lambda folder: [callbacks.CSVLogger(folder / "log.csv")], VALIDATED, ()),
    "BackupAndRestore": (lambda folder: [callbacks.BackupAndRestore(folder / "backup")], {}, ()),
    "TerminateOnNaN": (
        lambda folder: [
            callbacks.LearningRateScheduler(lambda epoch: 0.1 if epoch < 2 else 1e38),
            callbacks.TerminateOnNaN(),
        ],
        {"epochs": 5},
        (),
    ),
    "no TerminateOnNaN": (
        lambda folder: [
            callbacks.LearningRateScheduler(lambda epoch: 0.1 if epoch < 2 else 1e38),
        ],
        {"epochs": 5},
        (),
    ),
    "ProgbarLogger": (lambda folder: [callbacks.ProgbarLogger()], {"verbose": 1}, ()),
    "of the user's own": (lambda folder: [Changes()], {"epochs": 5}, ()),
}


@pytest.mark.parametrize("name", STOCK)
def test_callbacks_of_keras_do_the_same_as_in_keras(models, tmp_path, name):
    make, options, compared = STOCK[name]
    folders = [tmp_path / "legato", tmp_path / "keras"]
    for folder in folders:
        folder.mkdir()
    coming = iter(folders)
    mine, theirs = assert_same_fits(models, lambda: make(next(coming)), **options)
    for one, other in zip(mine, theirs, strict=True):
        for attribute in compared:
            if hasattr(one, attribute):
                wanted = getattr(other, attribute)
                np.testing.assert_allclose(getattr(one, attribute), wanted, **TOLERANCE)
    left, wanted = map(file_contents, folders)
    assert list(left) == list(wanted)
    for one, other in zip(*map(keras.tree.flatten, (left, wanted)), strict=True):
        np.testing.assert_allclose(one, other, **TOLERANCE)


def test_csv_logger_appends(models, tmp_path):
    left = []
    for model in models:
        folder = tmp_path / type(model).__module__.split(".")[0]
        folder.mkdir()
        for _ in range(2):
            logger = callbacks.CSVLogger(folder / "log.csv", append=True)
            model.fit(X, y, ROWS, 2, verbose=0, shuffle=False, callbacks=[logger], **VALIDATED)
        left.append(file_contents(folder))
    ((names, mine),), ((wanted, theirs),) = (each.items() for each in left)
    assert names == wanted
    assert len(mine) == 4
    np.testing.assert_allclose(mine, theirs, **TOLERANCE)


def test_tensorboard(models, tmp_path):
    pytest.importorskip("tensorboard")
    assert_same_fits(models, lambda: [callbacks.TensorBoard(tmp_path, write_graph=False)])
    assert any(tmp_path.rglob("events*"))


@pytest.mark.parametrize("swap_on_epoch", [False, True])
def test_swapped_averages_of_weights(swap_on_epoch):
    rate = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
    models = stacked(plain, rate)
    assert_same_fits(models, lambda: [callbacks.SwapEMAWeights(swap_on_epoch)], **VALIDATED)


LAYERS = {
    "dropout": lambda layers: [
        layers.LSTM(UNITS, dropout=0.3, recurrent_dropout=0.2, return_sequences=True),
        layers.Dropout(0.3),
        layers.GRU(UNITS, recurrent_dropout=0.3),
        layers.Dense(2),
    ],
    "batch normalization": lambda layers: [
        layers.SimpleRNN(UNITS, return_sequences=True),
        layers.BatchNormalization(),
        layers.Bidirectional(layers.GRU(UNITS)),
        layers.BatchNormalization(momentum=0.5),
        layers.Dense(2, kernel_regularizer="l2", activity_regularizer="l1"),
    ],
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in ("batch normalization", "dropout")))
        for name in LAYERS
    ],
)
def test_models_train_as_in_keras(name):
    models = stacked(LAYERS[name], "adam")
    assert_same_fits(models, epochs=5, validation_data=(X[:4], y[:4]))
    np.testing.assert_allclose(
        *[model.predict(X, batch_size=ROWS, verbose=0) for model in models], **TOLERANCE
    )
    np.testing.assert_allclose(
        *[model.evaluate(X, y, batch_size=ROWS, verbose=0) for model in models], **TOLERANCE
    )


# What callbacks are given, and how often a run stops for them.


class Adding(Recorder):
    """Adds a number to the logs of every epoch, and keeps the logs of every event."""

    def __init__(self):
        super().__init__()
        self.given = []

    def on_train_batch_end(self, batch, logs=None):
        self.given.append(logs)

    def on_epoch_end(self, epoch, logs=None):
        self.given.append(logs)
        assert logs is not None
        logs["added"] = epoch


def test_logs_are_dictionaries_of_floats_that_callbacks_may_add_to(models):
    adding, later = Adding(), Recorder()
    history = models[0].fit(X, y, ROWS, 2, verbose=0, callbacks=[adding, later])
    assert history.history["added"] == [0, 1]
    assert all(type(logs) is dict for logs in adding.given)
    assert len({id(logs) for logs in adding.given}) == len(adding.given)
    assert {type(value) for logs in adding.given for value in logs.values()} <= {float, int}
    given = {name: logs for name, *_, logs in later.calls}  # the last of each event
    assert given["on_epoch_end"]["added"] == 1
    assert "added" not in given["on_train_batch_end"] | given["on_train_end"]


class Histories(keras.callbacks.History):
    """A user's own ``History``."""

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, {"own": epoch})


def test_a_history_of_the_users_own_is_called_and_returned(models):
    own = Histories()
    assert models[0].fit(X, y, ROWS, 2, verbose=0, callbacks=[own]) is own
    assert own.history == {"own": [0, 1]}


@pytest.mark.parametrize("save_freq", ["epoch", 2])
def test_a_checkpoint_by_epoch_does_not_stop_a_run_after_every_batch(
    models, tmp_path, monkeypatch, save_freq
):
    calls = []
    call = Run.call
    monkeypatch.setattr(Run, "call", lambda *given: calls.append(given) or call(*given))
    path = tmp_path / "best.weights.h5"
    checkpoint = keras.callbacks.ModelCheckpoint(path, save_weights_only=True, save_freq=save_freq)
    models[0].fit(X, y, ROWS, 2, verbose=0, callbacks=[checkpoint])
    assert len(calls) == 2 if save_freq == "epoch" else len(calls) > 2


# The same run with callbacks by epoch, by batch, and without.


def test_runs_have_the_same_numbers_with_and_without_callbacks():
    runs = []
    for callbacks in (
        [],
        [keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)],
        [keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)],
    ):
        model = BY_NAME["two-layers"].make()
        model.compile("adam", "mse", metrics=["mae"])
        targets = spread(np.random.default_rng(5), len(X), STEPS, UNITS)
        logs = model.fit(X, targets, ROWS, 3, verbose=0, callbacks=callbacks).history
        runs.append((logs, np.concatenate([each.ravel() for each in model.get_weights()])))
    for logs, weights in runs:
        assert logs == runs[0][0]
        np.testing.assert_array_equal(weights, runs[0][1])


@pytest.mark.slow
def test_run_eagerly_and_jit_compile_give_the_same_numbers(models):
    logs = [models[0].fit(X, y, ROWS, 2, verbose=0, shuffle=False).history]
    for options in ({"run_eagerly": True}, {"jit_compile": False}):
        keras.utils.set_random_seed(7)
        model = legato.Sequential([keras.Input((STEPS, FEATURES)), *plain(legato.layers)])
        rate = keras.optimizers.SGD(0.1)
        model.compile(rate, "mse", metrics=["mae"], **options)
        logs.append(model.fit(X, y, ROWS, 2, verbose=0, shuffle=False).history)
    for each in logs[1:]:
        np.testing.assert_allclose(each["loss"], logs[0]["loss"], **TOLERANCE)
