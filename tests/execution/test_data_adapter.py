"""Data adapter: the same run from arrays of any framework and from batches of any source.

Each kind of data is compared with plain NumPy arrays.
"""

import threading
import warnings

import jax
import jax.experimental.sparse
import keras
import numpy as np
import pytest
from cells import (
    BY_NAME,
    FEATURES,
    ROWS,
    STEPS,
    UNITS,
    assert_same_states,
    inputs,
    set_weights,
    spread,
    with_shared_programs,
)

import legato
from legato import layers
from legato._execution import batches as batches_module
from legato._execution import evaluate_predict
from legato._execution.batches import BlockedData, WholeData

X = inputs(3 * ROWS, seed=4)
y = spread(np.random.default_rng(5), len(X), UNITS)
WEIGHT = np.linspace(0.5, 1.5, len(X)).astype("float32")


def model(stateful=True, **options):
    """A compiled model, the same every time."""
    keras.utils.set_random_seed(3)
    made = legato.Sequential(
        [keras.Input((None, FEATURES)), layers.LSTM(UNITS, stateful=stateful, dropout=0.1)]
    )
    made.compile("sgd", "mse", metrics=["mae"], **options)
    set_weights(made)
    return with_shared_programs(made, "adapted", stateful, *options.items())


def fit_results(made, *data, epochs=3, **options):
    """Logs, weights and state after a fit without shuffling."""
    options = {"verbose": 0, "shuffle": False, "epochs": epochs} | options
    logs = made.fit(*data, **options).history
    return logs, made.get_weights(), made.states


def assert_same(one, other):
    assert one[0] == other[0]
    for mine, theirs in zip(one[1], other[1], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert len(one[2]) == len(other[2])
    for mine, theirs in zip(one[2].values(), other[2].values(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


# Arrays.


def frame(package):
    return lambda array: pytest.importorskip(package).DataFrame(array.reshape(len(array), -1))


def sparse(array):
    matrix = pytest.importorskip("scipy.sparse")
    return matrix.csr_matrix(array.reshape(len(array), -1))


def jax_sparse(array):
    return jax.experimental.sparse.BCOO.fromdense(array)


def tf_sparse(array):
    return pytest.importorskip("tensorflow").sparse.from_dense(array)


def nullable(array):
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(array.reshape(len(array), -1)).convert_dtypes()


ARRAYS = {
    "float64": lambda array: array.astype("float64"),
    "lists": lambda array: array.tolist(),
    "Fortran": np.asfortranarray,
    "JAX": jax.numpy.asarray,
    "TensorFlow": lambda array: pytest.importorskip("tensorflow").constant(array),
    "PyTorch": lambda array: pytest.importorskip("torch").tensor(array, requires_grad=True),
    "pandas": frame("pandas"),
    "pandas, nullable": nullable,
    "polars": frame("polars"),
    "SciPy, sparse": sparse,
    "JAX, sparse": jax_sparse,
    "TensorFlow, sparse": tf_sparse,
}


def flat_model():
    """A model of rows of numbers, for data frames."""
    keras.utils.set_random_seed(3)
    made = legato.Sequential(
        [
            keras.Input((STEPS * FEATURES,)),
            layers.Reshape((STEPS, FEATURES)),
            layers.LSTM(UNITS, stateful=True),
        ]
    )
    made.compile("sgd", "mse")
    return with_shared_programs(made, "flat")


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_of_any_kind(kind):
    flat = X.reshape(len(X), -1)
    expected = fit_results(flat_model(), flat, y, batch_size=ROWS)
    made = flat_model()
    assert_same(fit_results(made, ARRAYS[kind](flat), y, batch_size=ROWS), expected)
    made.reset_states()
    first = made.predict(ARRAYS[kind](flat[:ROWS]), verbose=0)
    made.reset_states()
    np.testing.assert_array_equal(first, made.predict(flat[:ROWS], verbose=0))


def test_bfloat16_of_other_frameworks():
    torch = pytest.importorskip("torch")
    made = flat_model()
    given = torch.tensor(X.reshape(len(X), -1)[:ROWS]).bfloat16()
    np.testing.assert_array_equal(
        made.predict(given, verbose=0, advance=False),
        made.predict(given.float().numpy(), verbose=0, advance=False),
    )


def test_frames_that_are_not_all_numbers():
    pandas = pytest.importorskip("pandas")
    data = pandas.DataFrame({"ok": [1, 2, 3], "gap": pandas.array([1, None, 3], "Int64")})
    made = legato.Sequential([layers.Dense(1)])
    with pytest.raises(legato.InputError, match=r"x\[1, 1\] is nan"):
        made.predict(data)
    data["gap"] = list("abc")
    with pytest.raises(legato.InputError, match="Column 'gap' of x holds something else"):
        made.predict(data)


# Batches.


def batches():
    for begin in range(0, len(X), ROWS):
        at = slice(begin, begin + ROWS)
        yield X[at], y[at], WEIGHT[at]


def for_ever():
    while True:
        yield from batches()


class Lazy(keras.utils.PyDataset):
    """Batches by number; records when epochs begin and end."""

    def __init__(self, **options):
        super().__init__(**options)
        self.noted = []

    @property
    def num_batches(self):
        return len(X) // ROWS

    def __getitem__(self, number):
        return list(batches())[number]

    def on_epoch_begin(self):
        self.noted.append("begin")

    def on_epoch_end(self):
        self.noted.append("end")


def tf_data():
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices((X, y, WEIGHT)).batch(ROWS)


def tf_data_of_unknown_length():
    return tf_data().filter(lambda *_: True)


def loader():
    data = pytest.importorskip("torch.utils.data")
    torch = pytest.importorskip("torch")
    return data.DataLoader(data.TensorDataset(*map(torch.tensor, (X, y, WEIGHT))), batch_size=ROWS)


def grain():
    grain = pytest.importorskip("grain")
    samples = [(X[at], y[at], WEIGHT[at]) for at in range(len(X))]
    return grain.MapDataset.source(samples).to_iter_dataset().batch(ROWS)


SOURCES = {
    "PyDataset": Lazy,
    "PyDataset, on threads": lambda: Lazy(workers=2),
    "tf.data": tf_data,
    "tf.data of unknown length": tf_data_of_unknown_length,
    "DataLoader": loader,
    "Grain": grain,
}


@pytest.fixture(scope="module")
def expected():
    return fit_results(model(), X, y, sample_weight=WEIGHT, batch_size=ROWS)


@pytest.mark.parametrize("kind", SOURCES)
def test_batches_of_any_source(kind, expected):
    made = model()
    assert_same(fit_results(made, SOURCES[kind]()), expected)
    made.reset_states()
    mine = made.evaluate(SOURCES[kind](), verbose=0, return_dict=True)
    made.reset_states()
    options = {"sample_weight": WEIGHT, "batch_size": ROWS, "verbose": 0, "return_dict": True}
    assert mine == made.evaluate(X, y, **options)
    made.reset_states()
    outputs = made.predict(SOURCES[kind](), verbose=0)
    made.reset_states()
    np.testing.assert_array_equal(outputs, made.predict(X, ROWS, verbose=0))


@pytest.mark.parametrize("source", [for_ever, lambda: map(tuple, for_ever())])
def test_generators_and_other_iterators(source, expected):
    assert_same(fit_results(model(), source(), steps_per_epoch=len(X) // ROWS), expected)


def test_a_generator_may_end_with_its_epoch():
    mine = fit_results(model(), batches(), epochs=1)
    assert_same(mine, fit_results(model(), X, y, sample_weight=WEIGHT, batch_size=ROWS, epochs=1))


@pytest.mark.parametrize("by", ["nothing", "epochs", "batches"])
def test_epochs_of_a_dataset_begin_and_end(by):
    callbacks = {
        "nothing": [],
        "epochs": [keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)],
        "batches": [keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)],
    }
    data, other = Lazy(), Lazy()
    model().fit(data, epochs=2, verbose=0, shuffle=False, callbacks=callbacks[by])
    plain = keras.Sequential([keras.Input((None, FEATURES)), keras.layers.LSTM(UNITS)])
    plain.compile("sgd", "mse")
    plain.fit(other, epochs=2, verbose=0, shuffle=False)
    assert data.noted[-4:] == other.noted[-4:] == ["begin", "end"] * 2


def test_class_weights_of_batches():
    classes = np.eye(UNITS, dtype="float32")[np.arange(len(X)) % UNITS]
    weights = {0: 2.0, 1: 0.5}

    def pairs():
        while True:
            for begin in range(0, len(X), ROWS):
                yield X[begin : begin + ROWS], classes[begin : begin + ROWS]

    arrays = fit_results(model(), X, classes, batch_size=ROWS, class_weight=weights)
    assert_same(fit_results(model(), pairs(), steps_per_epoch=3, class_weight=weights), arrays)


def test_batches_of_several_sizes_and_lengths():
    """A smaller batch advances the rows it has; the time steps of a batch are its own."""
    cuts = [(3, 6), (3, 6), (2, 6), (3, 4), (1, 2), (3, 6)]
    parts = [X[:rows, :steps] + at / 10 for at, (rows, steps) in enumerate(cuts)]
    made, expected_model = model(), model()
    outputs = made.predict((part,) for part in parts)
    expected = []
    for part in parts:
        kept = expected_model.states
        if kept.rows > len(part):
            expected_model.states = kept.select(range(len(part)))
        expected.append(expected_model.predict(part, verbose=0))
        if kept.rows > len(part):
            rest = kept.select(range(len(part), kept.rows))
            expected_model.states = legato.State.stack([expected_model.states, rest])
    np.testing.assert_allclose(outputs, np.concatenate(expected), rtol=1e-5, atol=1e-6)
    assert_same_states(made.states, expected_model.states, BY_NAME["LSTM"])


@pytest.mark.usefixtures("optimized")
def test_validation_batches():
    options = {"epochs": 3, "shuffle": False, "verbose": 0}
    arrays = model().fit(
        X, y, batch_size=ROWS, validation_data=(X, y, WEIGHT), validation_batch_size=ROWS, **options
    )
    in_blocks = model().fit(X, y, batch_size=ROWS, validation_data=Lazy(), **options)
    assert in_blocks.history == arrays.history
    some = model().fit(
        Lazy(), validation_data=for_ever(), validation_steps=2, validation_freq=2, **options
    )
    assert len(some.history["val_loss"]) == 1


# Blocks.


def test_blocks_are_full_but_for_the_last():
    samples = legato._execution.samples.read_samples(X, y)
    in_blocks = batches_module.in_blocks(samples, ROWS, shuffle=False)
    (block,) = in_blocks.training(1)
    assert (block.begin, block.end, block.batch) == (0, 3, ROWS)
    assert [block.end for block in in_blocks.training(1, by_batch=1)] == [1, 2, 3]


@pytest.mark.quick_cases(3)
@pytest.mark.parametrize("block_batches", [1, 2, 64])
@pytest.mark.parametrize("samples", [len(X), len(X) - 1])
def test_data_too_large_for_the_device_are_sent_in_blocks(monkeypatch, block_batches, samples):
    starts = np.arange(samples) % 4 == 0
    data = (X[:samples], y[:samples])
    options = {"batch_size": ROWS, "starts": starts, "validation_data": (X, y)}
    whole = fit_results(model(), *data, **options)
    monkeypatch.setenv("LEGATO_DATA_SHARE", "0")
    monkeypatch.setattr(batches_module, "BLOCK_BATCHES", block_batches)
    made = model()
    in_blocks = fit_results(made, *data, **options)
    for name, values in whole[0].items():
        np.testing.assert_allclose(in_blocks[0][name], values, rtol=1e-6, err_msg=name)
    for mine, theirs in zip(in_blocks[1], whole[1], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-7)
    for mine, theirs in zip(in_blocks[2].values(), whole[2].values(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)
    made.reset_states()
    outputs = made.predict(data[0], ROWS, verbose=0)
    monkeypatch.undo()
    made.reset_states()
    np.testing.assert_allclose(outputs, made.predict(data[0], ROWS, verbose=0), 1e-5, 1e-6)


def test_shuffled_data_in_blocks_have_the_same_order(monkeypatch):
    options = {"batch_size": ROWS, "shuffle": True}
    whole = fit_results(model(stateful=False), X, y, **options)
    monkeypatch.setenv("LEGATO_DATA_SHARE", "0")
    in_blocks = fit_results(model(stateful=False), X, y, **options)
    np.testing.assert_allclose(in_blocks[0]["loss"], whole[0]["loss"], rtol=1e-6)


def test_an_invalid_share_is_refused(monkeypatch):
    monkeypatch.setenv("LEGATO_DATA_SHARE", "a lot")
    with pytest.raises(legato.InputError, match="LEGATO_DATA_SHARE is 'a lot'; a number from 0"):
        model().fit(X, y, verbose=0)


def test_batches_are_read_only_when_a_callback_by_batch_needs_them():
    read, seen = [], []

    def noted():
        for number, batch in enumerate(for_ever()):
            read.append(number)
            yield batch

    callback = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append((batch, read[-1]))
    )
    model().fit(noted(), steps_per_epoch=5, verbose=0, callbacks=[callback])
    peeked = 2  # Keras reads two batches of a generator to infer its structure
    assert seen == [(batch, max(batch, peeked - 1)) for batch in range(5)]


def test_batches_are_read_on_another_thread_while_the_program_runs():
    readers = set()

    def noted():
        for batch in for_ever():
            readers.add(threading.current_thread().name.split("_")[0])
            yield batch

    model().fit(noted(), steps_per_epoch=9, verbose=0)
    assert "legato-feeding" in readers


@pytest.mark.parametrize("by_batch", [True, False])
def test_all_of_a_source_is_read_on_one_thread(by_batch):
    """Sources bound to the thread that opened them, such as databases, can be read."""
    threads = set()

    def noted():
        for batch in for_ever():
            threads.add(threading.get_ident())
            yield batch

    callback = [keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)]
    made = legato.Sequential([layers.LSTM(UNITS)])  # built for what comes first
    made.compile("sgd", "mse")
    made.fit(
        noted(), steps_per_epoch=9, epochs=2, verbose=0, callbacks=callback if by_batch else []
    )
    assert len(threads) == 1


def test_an_error_of_a_generator_is_raised_in_the_caller():
    def breaks():
        yield from batches()
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="the disk is gone"):
        model().fit(breaks(), steps_per_epoch=9, verbose=0)


class Shifted(keras.layers.Layer):
    """Adds a second input, if it is there."""

    def call(self, x, shift=None):
        return x if shift is None else x + shift


def test_an_optional_input_may_be_none():
    signal = keras.Input((None, FEATURES), name="signal")
    shift = keras.Input((None, FEATURES), name="shift", optional=True)
    outputs = layers.LSTM(UNITS, stateful=True)(Shifted()(signal, shift))
    made = legato.Model({"signal": signal, "shift": shift}, outputs)
    made.compile("sgd", "mse")
    results = []
    for given in (None, np.zeros_like(X), np.ones_like(X)):
        made.reset_states()
        results.append(made.predict({"signal": X, "shift": given}, verbose=0))
    np.testing.assert_allclose(results[0], results[1], 1e-6, 1e-6)
    assert not np.allclose(results[1], results[2])
    made.fit({"signal": X, "shift": None}, y, batch_size=len(X), verbose=0)


def test_entries_that_are_no_inputs_are_ignored_with_a_warning_of_keras():
    signal = keras.Input((None, FEATURES), name="signal")
    made = legato.Model({"signal": signal}, layers.LSTM(UNITS)(signal))
    expected = made.predict({"signal": X}, verbose=0)
    with pytest.warns(UserWarning, match="structure of `inputs` doesn't match"):
        given = made.predict({"signal": X, "times": X[:, :, 0]}, verbose=0)
    np.testing.assert_allclose(given, expected, rtol=1e-6)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interruption_keeps_the_last_completed_step(monkeypatch, error):
    """As in Keras: weights, optimizer and state of the last completed step."""
    monkeypatch.setattr(batches_module, "BLOCK_BATCHES", 2)

    def breaks():
        for number, batch in enumerate(for_ever()):
            if number == 5:
                raise error
            yield batch

    made, other = model(), model()
    with pytest.raises(error):
        made.fit(breaks(), steps_per_epoch=9, verbose=0)
    other.fit(for_ever(), steps_per_epoch=4, verbose=0)
    assert int(made.optimizer.iterations) == 4
    for mine, theirs in zip(made.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert_same_states(made.states, other.states)


def test_the_next_epoch_of_batches_compiles_nothing(compiled):
    made = model()
    made.fit(Lazy(), epochs=1, verbose=0)
    made.reset_states()
    before = compiled.count
    made.fit(Lazy(), epochs=3, verbose=0)
    assert compiled.count == before


# Steps.


def events_of(fit):
    """The events that a callback by batch gets from a fit."""
    seen = []
    callback = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: seen.append(f"epoch {epoch}"),
        on_train_batch_begin=lambda batch, logs: seen.append(f"begin {batch}"),
        on_train_batch_end=lambda batch, logs: seen.append(f"end {batch}"),
    )
    fit([callback])
    return seen


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_steps_per_epoch_of_arrays_continue_where_the_last_epoch_ended(steps):
    """As in Keras; the run as a whole is that of the same batches in a row."""
    runs = []
    for package in (legato, keras):
        keras.utils.set_random_seed(3)
        made = package.Sequential([keras.Input((None, FEATURES)), package.layers.GRU(UNITS)])
        made.compile("sgd", "mse")
        options = {"steps_per_epoch": steps, "epochs": 4, "shuffle": False, "verbose": 0}

        def fit(callbacks, made=made, options=options):
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", ".* ran out")
                made.fit(X, y, batch_size=ROWS, callbacks=callbacks, **options)

        runs.append((events_of(fit), made.get_weights()))
    assert runs[0][0] == runs[1][0]
    for mine, theirs in zip(runs[0][1], runs[1][1], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("steps", [2, 5])
@pytest.mark.parametrize("data", ["arrays", "batches"])
def test_steps_per_execution(steps, data):
    given = {"arrays": (X, y), "batches": (Lazy(),)}[data]
    runs = []
    for each in (1, steps):
        made = model(steps_per_execution=each)
        seen = events_of(
            lambda callbacks, made=made: made.fit(
                *given, batch_size=ROWS if data == "arrays" else None, epochs=2, verbose=0,
                callbacks=callbacks,
            )
        )  # fmt: skip
        runs.append((seen, made.get_weights()))
    begins = [f"begin {at}" for at in range(0, 3, steps)]
    ends = [f"end {at + steps - 1}" for at in range(0, 3, steps)]
    epoch = [each for pair in zip(begins, ends, strict=True) for each in pair]
    assert runs[1][0] == ["epoch 0", *epoch, "epoch 1", *epoch]
    for one, other in zip(runs[0][1], runs[1][1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


class Uneven(keras.utils.PyDataset):
    """Batches of several sizes."""

    sizes = (3, 3, 2, 3, 1)

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, index):
        return X[: self.sizes[index]], y[: self.sizes[index]]


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("steps", [2, 3, 9])
def test_an_execution_may_have_batches_of_several_sizes(steps):
    """Callbacks get the calls of Keras, with the same logs and outputs."""
    runs = []
    for package in (legato, keras):
        keras.utils.set_random_seed(3)
        made = package.Sequential([keras.Input((None, FEATURES)), package.layers.GRU(UNITS)])
        made.compile("sgd", "mse", steps_per_execution=steps)
        seen, outputs = [], []

        def recorder(event, seen=seen, outputs=outputs):
            def record(batch, logs=None):
                seen.append((event, batch, (logs or {}).get("loss", 0.0)))
                outputs.extend((logs or {}).get("outputs", ()))

            return record

        names = [f"on_{verb}_batch_{at}" for verb in ("test", "predict") for at in ("begin", "end")]
        callback = keras.callbacks.Callback()
        vars(callback).update({name: recorder(name) for name in [*names, "on_train_batch_end"]})
        made.fit(Uneven(), epochs=2, shuffle=False, verbose=0, callbacks=[callback])
        made.evaluate(Uneven(), verbose=0, callbacks=[callback])
        outputs.extend(made.predict(Uneven(), verbose=0, callbacks=[callback]))
        runs.append((seen, outputs))
    for mine, theirs in zip(*[seen for seen, _ in runs], strict=True):
        assert mine[:2] == theirs[:2]
        np.testing.assert_allclose(mine[2], theirs[2], rtol=1e-5)
    np.testing.assert_allclose(runs[0][1], runs[1][1], rtol=1e-5, atol=1e-6)


def test_an_execution_may_have_more_outputs_than_one_program_holds(monkeypatch):
    monkeypatch.setattr(evaluate_predict, "OUTPUT_SLOTS", 2)
    made, seen = model(steps_per_execution=5), []
    callback = keras.callbacks.Callback()
    callback.on_predict_batch_end = lambda batch, logs: seen.append((batch, logs["outputs"]))
    outputs = made.predict(X, batch_size=ROWS, verbose=0, callbacks=[callback])
    assert len(outputs) == len(X)
    assert [batch for batch, _ in seen] == [4]
    np.testing.assert_array_equal(seen[0][1], outputs)


def test_the_global_limits_of_keras_are_obeyed():
    keras.config.set_max_epochs(2)
    keras.config.set_max_steps_per_epoch(1)
    try:
        made = model()
        with pytest.warns(UserWarning, match="limits 5 epochs to 2"):
            made.fit(X, y, batch_size=ROWS, epochs=5, verbose=0)
    finally:
        keras.config.set_max_epochs(None)
        keras.config.set_max_steps_per_epoch(None)
    assert int(made.optimizer.iterations) == 2


def test_whole_and_blocked_data_know_the_number_of_batches_of_an_epoch():
    samples = legato._execution.samples.read_samples(X, y)
    assert WholeData(samples, 4).steps == 3
    assert BlockedData(lambda: iter([samples])).steps is None
