"""Law (g): replicate k of many is replicate k alone, to the bit; and errors.

The oracle is a loop over seeds: seed, build, fit.
"""

import random
import signal
import threading
from functools import cache

import keras
import numpy as np
import pytest
from cells import CELLS, FEATURES, STEPS, UNITS, inputs, with_shared_programs

import legato
from legato import layers

SAMPLES = 8
X = inputs(SAMPLES)
Y = inputs(SAMPLES, seed=5)[:, :, :1]


def build():
    """A stateless model with dropout."""
    model = legato.Sequential(
        [
            layers.Input((STEPS, FEATURES)),
            layers.LSTM(UNITS, dropout=0.2, return_sequences=True),
            layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse", metrics=["mae"])
    return model


def of_cell(cell, optimizer="sgd"):
    """Builds a stateful model of a cell."""

    def make():
        model = cell.build([])
        model.compile(optimizer, "mse", metrics=["mae"])
        return model

    return make


def alone(make, seed, x=X, y=Y, key=(), **fit):
    """Seed, build, fit; with the programs of the first model of the key, if one is given."""
    keras.utils.set_random_seed(seed)
    model = make()
    if key:
        with_shared_programs(model, *key)
    return model, model.fit(x, y, verbose=0, **fit).history


def assert_is_alone(runs, make, x=X, y=Y, **fit):
    """Every replicate is its seed alone, to the bit: history, weights and state."""
    for k, seed in enumerate(runs.seeds):
        model, history = alone(make, seed, x, y, ("alone", runs), **fit)
        assert runs.histories[k] == history
        for one, other in zip(runs.weights[k], model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
        for mine, theirs in zip(runs.model(k).states.values(), model.states.values(), strict=True):
            for part, its in zip(mine, theirs, strict=True):
                np.testing.assert_array_equal(np.asarray(part), np.asarray(its))


@pytest.mark.quick_cases(6)
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_a_replicate_of_a_stateful_model_is_its_seed_alone(cell):
    x = inputs(6)
    y = np.repeat(inputs(6, seed=5)[:, :, :1], 1, axis=2)
    fit = {"epochs": 2, "batch_size": 2}
    make = of_cell(cell, "adam" if cell.name == "LSTM" else "sgd")  # which compiles sooner
    runs = legato.replicate(make, x, y, seeds=[4, 9, 2], verbose=0, **fit)
    assert_is_alone(runs, make, x, y, **fit)


@pytest.mark.quick_cases(2)
@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "nadam", "lion"])
def test_a_replicate_is_its_seed_alone_with_any_optimizer(optimizer):
    def make():
        model = build()
        model.compile(optimizer, "mse")
        return model

    fit = {"epochs": 3, "batch_size": 3}
    assert_is_alone(legato.replicate(make, X, Y, n=3, verbose=0, **fit), make, **fit)


@pytest.mark.quick_cases(3)
@pytest.mark.parametrize(
    "fit",
    [
        {"batch_size": 1, "epochs": 4},
        {"batch_size": 3, "epochs": 2, "shuffle": "batch"},
        {"batch_size": 3, "epochs": 2, "shuffle": False},
        {"batch_size": 3, "epochs": 3, "validation_split": 0.25},
        {"batch_size": 3, "epochs": 3, "validation_data": (X[:3], Y[:3]), "validation_freq": 2},
        {"batch_size": 3, "epochs": 2, "sample_weight": np.abs(X[:, :, 0])},
    ],
    ids=", ".join,
)
def test_a_replicate_is_its_seed_alone_with_what_fit_takes(fit):
    assert_is_alone(legato.replicate(build, X, Y, n=3, verbose=0, **fit), build, **fit)


@pytest.mark.parametrize("reset", ["epoch", "never", "batch"])
def test_a_replicate_carries_state_as_fit_does(reset):
    def make():
        model = legato.Sequential(
            [layers.GRU(UNITS, stateful=True, return_sequences=True), layers.Dense(1)]
        )
        model.compile("sgd", "mse")
        return model

    fit = {"batch_size": 2, "epochs": 3, "reset": reset, "starts": np.arange(SAMPLES) % 5 == 4}
    assert_is_alone(legato.replicate(make, X, Y, n=3, verbose=0, **fit), make, **fit)


def test_data_sent_in_blocks_are_ordered_by_each_seed(monkeypatch):
    monkeypatch.setenv("LEGATO_DATA_SHARE", "1e-8")
    monkeypatch.setattr(legato._analysis.parallel_training, "device_share_bytes", lambda: 1e9)
    fit = {"batch_size": 2, "epochs": 2}
    assert_is_alone(legato.replicate(build, X, Y, n=4, verbose=0, **fit), build, **fit)


def test_a_function_gives_each_seed_its_own_data():
    def data(seed):
        drawn = np.random.default_rng(seed)
        return drawn.random((SAMPLES, STEPS, FEATURES)), drawn.random((SAMPLES, STEPS, 1))

    fit = {"epochs": 2, "batch_size": 3}
    runs = legato.replicate(build, data, seeds=[5, 6, 11], verbose=0, **fit)
    for k, seed in enumerate(runs.seeds):
        model, history = alone(build, seed, *data(seed), ("own data",), **fit)
        assert runs.histories[k] == history
        np.testing.assert_array_equal(runs.weights[k][0], model.get_weights()[0])
    assert len({each["loss"][0] for each in runs.histories}) == 3


@pytest.mark.parametrize(
    ("data", "y", "message"),
    [
        (lambda seed: (X, Y), Y, "leave y out"),
        (lambda seed: X, None, "gave ndarray for seed 0; two things were expected"),
        (lambda seed: ([X] for _ in range(3)), None, "gave generator for seed 0"),
        (lambda seed: (iter([X]), Y), None, "which yields batches"),
    ],
)
def test_a_function_that_gives_no_data_is_refused(data, y, message):
    with pytest.raises(legato.InputError, match=message):
        legato.replicate(build, data, y, n=2, verbose=0)


def test_a_replicate_is_its_seed_alone_step_by_step():
    def eager():
        model = build()
        model.compile("sgd", "mse", run_eagerly=True)
        return model

    fit = {"batch_size": 4, "epochs": 2}
    assert_is_alone(legato.replicate(eager, X, Y, n=2, verbose=0, **fit), eager, **fit)


def test_build_is_given_its_seed_if_it_asks_for_it():
    def seeded(seed):
        model = legato.Sequential(
            [
                layers.Input((STEPS, FEATURES)),
                layers.LSTM(UNITS, return_sequences=True, kernel_initializer=drawn(seed)),
                layers.Dropout(0.3, seed=seed),
                layers.Dense(1),
            ]
        )
        model.compile("sgd", "mse")
        return model

    def drawn(seed):
        return keras.initializers.RandomNormal(seed=seed)

    runs = legato.replicate(seeded, X, Y, seeds=[5, 3, 8], epochs=2, verbose=0)
    for k, seed in enumerate(runs.seeds):
        _, history = alone(lambda seed=seed: seeded(seed), seed, epochs=2)
        assert runs.histories[k] == history


def test_a_default_argument_is_not_a_seed():
    def sized(units=UNITS):
        model = legato.Sequential([layers.SimpleRNN(units, return_sequences=True)])
        model.compile("sgd", "mse")
        return model

    runs = legato.replicate(sized, X, np.repeat(Y, UNITS, 2), seeds=[7, 8], verbose=0)
    assert runs.weights[0][0].shape == (FEATURES, UNITS)


def test_more_seeds_compile_nothing_more(compiled):
    legato.replicate(build, X, Y, n=2, batch_size=3, verbose=0)
    counts = []
    for n in (4, 12):
        before = compiled.count
        runs = legato.replicate(build, X, Y, n=n, batch_size=3, verbose=0)
        counts.append(compiled.count - before)
    assert counts[0] == counts[1]
    runs.model(0).predict(X, verbose=0)
    before = compiled.count
    runs.model(1).predict(X, verbose=0)
    runs.model(2).fit(X, Y, batch_size=3, verbose=0)
    assert compiled.count == before


def test_a_replicate_continues_as_its_seed_alone():
    runs = legato.replicate(build, X, Y, n=3, epochs=2, verbose=0, shuffle=False)
    model, _ = alone(build, 1, epochs=2, shuffle=False)
    again = runs.model(1)
    one, other = (each.fit(X, Y, verbose=0, shuffle=False).history for each in (again, model))
    assert one == other
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))


def test_models_of_replicates_are_independent():
    runs = legato.replicate(build, X, Y, n=2, verbose=0)
    before = runs.predict(X)
    model = runs.model(0)
    model.set_weights([0 * weight for weight in model.get_weights()])
    np.testing.assert_array_equal(runs.predict(X), before)
    assert not np.array_equal(before[0], before[1])


def test_predict_gives_the_outputs_of_each_model_from_a_fresh_state():
    make = of_cell(CELLS[0])
    runs = legato.replicate(make, X, Y, n=3, epochs=2, batch_size=1, verbose=0)
    predicted = runs.predict(X, batch_size=2)
    assert predicted.shape == (3, SAMPLES, STEPS, UNITS)
    for k in range(3):
        model = runs.model(k)
        model.reset_states()
        np.testing.assert_array_equal(model.predict(X, batch_size=2, verbose=0), predicted[k])


def test_scores_are_the_last_of_each_history():
    runs = legato.replicate(build, X, Y, n=5, epochs=2, verbose=0)
    assert set(runs.scores) == {"loss", "mae"}
    assert list(runs.scores["mae"]) == [each["mae"][-1] for each in runs.histories]
    assert runs.best() == int(np.argmin(runs.scores["loss"]))
    assert runs.best("mae", "max") == int(np.argmax(runs.scores["mae"]))
    with pytest.raises(legato.InputError, match="no metric 'auc'; fit gave 'loss', 'mae'"):
        runs.best("auc")
    with pytest.raises(legato.InputError, match="mode is 'most'"):
        runs.best("mae", "most")


def test_global_random_states_are_restored():
    random.seed(1)
    np.random.seed(2)
    expected = random.random(), np.random.random()
    random.seed(1)
    np.random.seed(2)
    legato.replicate(build, X, Y, n=3, verbose=0)
    assert (random.random(), np.random.random()) == expected


def test_every_seed_has_its_own_callbacks():
    stopped = {}

    class Records(keras.callbacks.Callback):
        def __init__(self, seed):
            super().__init__()
            self.seed, self.batches = seed, 0

        def on_train_batch_end(self, batch, logs=None):
            self.batches += 1
            stopped[self.seed] = self.batches

    def callbacks(seed):
        return [Records(seed), keras.callbacks.EarlyStopping("loss", min_delta=9, patience=seed)]

    fit = {"epochs": 6, "batch_size": 4}
    runs = legato.replicate(build, X, Y, seeds=[1, 2, 3], callbacks=callbacks, verbose=0, **fit)
    assert stopped == {1: 4, 2: 6, 3: 8}
    for k, seed in enumerate(runs.seeds):
        _, history = alone(build, seed, key=("callbacks",), callbacks=callbacks(seed), **fit)
        assert runs.histories[k] == history


def test_one_line_shows_the_progress_of_all(capsys):
    legato.replicate(build, X, Y, n=3, epochs=2, verbose=1)
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert "seed 3/3" in printed
    legato.replicate(build, X, Y, n=3, verbose="auto")
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_reports_how_many_had_finished():
    main = threading.main_thread().ident
    assert main is not None

    class Interrupts(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 3:
                signal.pthread_kill(main, signal.SIGINT)

    def callbacks(seed):
        return [Interrupts()] if seed == 2 else []

    def many():
        legato.replicate(build, X, Y, n=3, epochs=10_000, callbacks=quick, verbose=0)

    def quick(seed):
        return callbacks(seed) or [keras.callbacks.EarlyStopping("loss", min_delta=9)]

    with pytest.raises(KeyboardInterrupt, match=r"[12] of 3 seeds had finished"):
        many()
    workers = [each for each in threading.enumerate() if "replicate" in each.name]
    for each in workers:  # one whose start was interrupted is not waited for, but trains no more
        each.join(10)
    assert not any(each.is_alive() for each in workers)


def test_a_warning_names_the_seeds_that_came_to_nan():
    def wild(seed):
        model = legato.Sequential([layers.Input((STEPS, FEATURES)), layers.GRU(UNITS)])
        model.compile("sgd", wild_loss)
        if seed == 7:
            model.set_weights([weight + np.nan for weight in model.get_weights()])
        return model

    def wild_loss(true, predicted):
        return keras.ops.mean(keras.ops.square(true - predicted))

    with pytest.warns(UserWarning, match="1 of 3 replicates came to NaN: seed 7. Their scores"):
        runs = legato.replicate(wild, X, X[:, 0, :1], seeds=[6, 7, 8], verbose=0)
    assert list(np.isnan(runs.scores["loss"])) == [False, True, False]
    assert runs.best() != 1


def uncompiled():
    return legato.Sequential([layers.LSTM(UNITS)])


def seedless():
    keras.utils.set_random_seed(1)
    return build()


def by_size(seed):
    model = legato.Sequential([layers.SimpleRNN(UNITS + seed, return_sequences=True)])
    model.compile("sgd", "mse")
    return model


def by_rate(seed):
    model = build()
    model.compile(keras.optimizers.Adam(0.1 * (seed + 1)), "mse")
    return model


def by_dropout(seed):
    model = legato.Sequential(
        [layers.Input((STEPS, FEATURES)), layers.Dense(1), layers.Dropout(0.1 + 0.1 * seed)]
    )
    model.compile("sgd", "mse")
    return model


class Features(keras.layers.Layer):
    """Random features, drawn once and kept beside the variables."""

    def build(self, input_shape):
        self.drawn = np.random.rand(input_shape[-1], 1).astype("float32")

    def call(self, inputs):
        return keras.ops.matmul(inputs, self.drawn)


def by_constant():
    model = legato.Sequential([layers.Input((STEPS, FEATURES)), Features(), layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (build, {"n": 1}, "1 seed came, and replicates are two or more: give n=10"),
        (build, {"seeds": []}, "0 seeds came"),
        (build, {"n": 2.5}, "n is 2.5; a whole number of seeds from 2 up"),
        (build, {"n": 2, "seeds": [1, 2]}, "Give n or seeds, not both"),
        (build, {"seeds": [1, "b"]}, r"seeds\[1\] is 'b'; a whole number from 0"),
        (build, {"seeds": [1, -1]}, r"seeds\[1\] is -1"),
        (build, {"seeds": [3, 4, 3]}, "Seed 3 comes twice"),
        (build, {"steps_per_epoch": 2}, "no option 'steps_per_epoch'"),
        (build, {"callbacks": [keras.callbacks.Callback()]}, "callbacks is a list"),
        (uncompiled, {}, "not compiled for seed 0: call model.compile"),
        (lambda: None, {}, "build gave NoneType for seed 0"),
        (cache(build), {}, "the same model for seeds 0 and 1"),
        (seedless, {}, "build ignores its seed: it gave seeds 0 and 1 the same initial weights"),
        (by_size, {}, "different shapes for seeds 0 and 1"),
        (by_rate, {}, "different settings for seeds 0 and 1: their Adam differs"),
        (by_constant, {}, "different settings for seeds 0 and 1: their Features differs"),
        (by_dropout, {}, "different settings for seeds 0 and 1: their Dropout differs"),
    ],
)
def test_invalid_builds_and_seeds_are_refused(make, options, message):
    with pytest.raises(legato.InputError, match=message):
        legato.replicate(make, X, Y, verbose=0, **options)


def test_generators_of_batches_are_refused():
    with pytest.raises(legato.InputError, match="X is a generator, which yields batches"):
        legato.replicate(build, (each for each in [(X, Y)]))


def test_invalid_data_are_refused_as_by_fit():
    with pytest.raises(legato.InputError, match="y has 7"):
        legato.replicate(build, X, Y[:7], verbose=0)


def test_results_too_large_to_keep_are_refused(monkeypatch):
    monkeypatch.setattr(legato._analysis.parallel_training, "device_share_bytes", lambda: 1000.0)
    with pytest.raises(legato.InputError, match=r"10 replicates of .* MiB each would be kept"):
        legato.replicate(build, X, Y, verbose=0)
