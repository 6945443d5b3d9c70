"""``fit``, ``evaluate`` and ``predict`` on ``FileLanes`` are those on the same arrays in memory."""

from concurrent.futures import ThreadPoolExecutor

import jax
import keras
import numpy as np
import polars
import pytest
from cells import with_shared_programs

import legato
from legato import FileLanes, InputError, layers
from legato._series import lane_reader

COLUMNS = {"inputs": ["a", "b"], "targets": "y", "group": "id", "rows": 3, "steps": 5}


@pytest.fixture(scope="module")
def table() -> polars.DataFrame:
    """Eleven sequences whose targets are the first value of each, known from carried state only."""
    lengths = np.random.default_rng(5).integers(1, 40, 11)
    values = np.random.default_rng(6).normal(size=(2, lengths.sum())).astype("float32")
    first = np.repeat(values[0][np.cumsum(lengths) - lengths], lengths)
    names = np.repeat(np.arange(11), lengths)
    return polars.DataFrame({"id": names, "a": values[0], "b": values[1], "y": first})


@pytest.fixture(scope="module")
def folder(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("files")
    for number, begin in enumerate(range(0, table.height, 60)):
        part = table[begin : begin + 60]
        part.write_parquet(path / f"{number}.parquet", row_group_size=17)
    return path


@pytest.fixture(scope="module")
def files(folder) -> FileLanes:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lane_reader, "PIECE_BYTES", (400, 400))
        patch.setattr(lane_reader, "BATCHES_BYTES", 1_500)
        return FileLanes(folder, **COLUMNS)


@pytest.fixture(scope="module")
def arrays(files, table) -> dict:
    """The arguments of ``fit`` for the same samples in memory."""
    lanes = files.lanes
    return {
        "x": lanes.lay(table.select("a", "b").to_numpy()),
        "y": lanes.lay(table.select("y").to_numpy()),
        "sample_weight": lanes.weights,
        "starts": lanes.starts,
        "batch_size": lanes.rows,
        "verbose": 0,
    }


def model() -> legato.Sequential:
    """A compiled model, the same every time."""
    keras.utils.set_random_seed(3)
    made = legato.Sequential(
        [
            layers.Input((None, 2)),
            layers.LSTM(4, stateful=True, return_sequences=True),
            layers.Dense(1),
        ]
    )
    made.compile("adam", "mse", weighted_metrics=["mae"])
    return with_shared_programs(made, "large files")


def results(made) -> list[np.ndarray]:
    """Weights and states."""
    return [*made.get_weights(), *map(np.asarray, jax.tree.leaves(made.states))]


def assert_same(came: list, wanted: list) -> None:
    for mine, theirs in zip(came, wanted, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_fit_has_the_losses_weights_and_states_of_arrays_in_memory(files, arrays):
    checked = tuple(arrays[name] for name in ("x", "y", "sample_weight", "starts"))
    mine, theirs = model(), model()
    came = mine.fit(files, epochs=3, validation_data=files, verbose=0).history
    wanted = theirs.fit(
        **arrays, epochs=3, validation_data=checked, validation_batch_size=3
    ).history
    assert came == wanted
    assert wanted["loss"][2] < wanted["loss"][0]
    assert_same(results(mine), results(theirs))
    assert mine.states.rows == 3


def test_evaluate_and_predict_are_those_on_arrays_in_memory(files, arrays, table):
    mine, theirs = model(), model()
    assert mine.evaluate(files, verbose=0) == theirs.evaluate(**arrays)
    assert_same(results(mine), results(theirs))
    mine.reset_states()
    outputs = mine.predict(files, verbose=0)
    theirs.reset_states()
    inputs = {name: arrays[name] for name in ("x", "batch_size", "starts", "verbose")}
    np.testing.assert_array_equal(outputs, theirs.predict(**inputs))
    in_order = files.lanes.gather(outputs)
    for name in (0, 1):
        alone = table.filter(polars.col("id") == name).select("a", "b").to_numpy()
        mine.reset_states()
        np.testing.assert_allclose(
            mine.predict(alone[None], verbose=0)[0],
            in_order[table["id"].to_numpy() == name],
            atol=1e-6,
        )
    mine.reset_states()
    np.testing.assert_array_equal(mine.predict(files, steps=2, verbose=0), outputs[: 2 * 3])


def test_files_without_targets_are_predicted(files, folder):
    untargeted = FileLanes(folder, **COLUMNS | {"targets": ()})
    mine, theirs = model(), model()
    np.testing.assert_array_equal(
        mine.predict(untargeted, verbose=0), theirs.predict(files, verbose=0)
    )


def test_callbacks_of_batches_change_nothing(files):
    seen = []
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=lambda at, logs: seen.append(at))
    mine, theirs = model(), model()
    came = mine.fit(files, epochs=2, verbose=0, callbacks=[callback]).history
    wanted = theirs.fit(files, epochs=2, verbose=0).history
    np.testing.assert_allclose(came["loss"], wanted["loss"], rtol=1e-6)
    assert seen == list(range(files.batches)) * 2


def test_a_shuffled_run_that_was_interrupted_goes_on_with_the_orders_of_its_epochs(
    folder, files, monkeypatch, tmp_path
):
    monkeypatch.setattr(lane_reader, "PIECE_BYTES", (400, 400))
    shuffled = FileLanes(folder, shuffle_seed=1, **COLUMNS)

    def interrupt(epoch, logs):
        if epoch == 1:
            raise OSError("the power is gone")

    backup = keras.callbacks.BackupAndRestore(tmp_path)
    whole, broken, resumed = model(), model(), model()
    wanted = whole.fit(shuffled, epochs=3, verbose=0).history["loss"]
    ending = keras.callbacks.LambdaCallback(on_epoch_end=interrupt)
    with pytest.raises(OSError, match="power"):
        broken.fit(shuffled, epochs=3, verbose=0, callbacks=[backup, ending])
    came = resumed.fit(shuffled, epochs=3, verbose=0, callbacks=[backup]).history["loss"]
    np.testing.assert_allclose(came, wanted[-len(came) :], rtol=1e-6)
    assert_same(results(resumed), results(whole))
    plain = model().fit(files, epochs=3, verbose=0).history["loss"]
    assert wanted[0] != plain[0]
    assert model().evaluate(shuffled, verbose=0) == model().evaluate(files, verbose=0)


def test_arguments_that_do_not_go_with_files_are_refused(files, folder):
    made = model()
    with pytest.raises(InputError, match=r"steps_per_epoch=2 cuts epochs where sequences go on"):
        made.fit(files, steps_per_epoch=2)
    with pytest.raises(InputError, match=r"x is a FileLanes, which yields batches of"):
        made.fit(files, np.zeros(3))
    with pytest.raises(InputError, match=r"validation_split cuts arrays"):
        made.fit(files, validation_split=0.5)
    with pytest.raises(InputError, match=r"class_weight does not go with FileLanes, whose sample"):
        made.fit(files, class_weight={0: 2.0})
    for verb in (made.fit, made.evaluate, made.predict):
        with pytest.raises(InputError, match=r"batch_size=7 does not go with FileLanes, whose bat"):
            verb(files, batch_size=7)
    made.fit(files, batch_size=files.rows, verbose=0)
    with pytest.raises(InputError, match=r"Batch 0 is invalid: it has 4 parts; x, \(x, y\) or"):
        made.fit(iter(files), verbose=0)
    narrow = FileLanes(folder, **COLUMNS | {"inputs": "a"})
    with pytest.raises(InputError, match=r"x has shape \(3, 5, 1\), but the model's input"):
        made.fit(narrow, verbose=0)


@pytest.mark.parametrize("is_built", [False, True])
def test_a_model_without_time_steps_in_its_output_is_refused(files, is_built):
    made = legato.Sequential([layers.GRU(2), layers.Dense(1)])
    made.compile("sgd", "mse")
    if is_built:
        made.fit(np.zeros((3, 5, 2)), np.zeros((3, 1)), verbose=0)
    for verb in (made.fit, made.evaluate):
        with pytest.raises(InputError, match=r"shape \(None, 1\), without time steps.*return_seq"):
            verb(files, verbose=0)
    assert made.predict(files, verbose=0).shape == (files.rows * files.batches, 1)


def test_a_loss_without_targets_is_refused_of_files_and_arrays(files, folder, arrays):
    untargeted = FileLanes(folder, **COLUMNS | {"targets": ()})
    made = model()
    for data in (untargeted, arrays["x"]):
        for verb in (made.fit, made.evaluate):
            with pytest.raises(InputError, match=r"with the loss 'mse', and the data have no"):
                verb(data, verbose=0)
    with pytest.raises(InputError, match=r"the data have no targets"):
        made.fit(files, validation_data=untargeted, verbose=0)
    with pytest.raises(InputError, match=r"the data have no targets"):
        made.train_on_batch(arrays["x"][:3])


def test_a_run_that_was_interrupted_and_two_at_once_leave_the_files_as_they_were(files):
    def interrupt(batch, logs):
        if batch == 4:
            raise KeyboardInterrupt

    ending = keras.callbacks.LambdaCallback(on_train_batch_end=interrupt)
    with pytest.raises(KeyboardInterrupt):
        model().fit(files, verbose=0, callbacks=[ending])
    models = [model(), model()]
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(each.fit, files, epochs=2, verbose=0) for each in models]
        losses = [run.result().history["loss"] for run in runs]
    assert losses[0] == losses[1] == model().fit(files, epochs=2, verbose=0).history["loss"]


def test_a_missing_value_in_a_later_file_ends_fit_with_its_place(folder, table, tmp_path):
    for number, begin in enumerate(range(0, table.height, 60)):
        part = table[begin : begin + 60]
        if number == 2:
            is_third = polars.int_range(polars.len()) == 3
            part = part.with_columns(polars.when(~is_third).then("b").alias("b"))
        part.write_parquet(tmp_path / f"{number}.parquet")
    made = model()
    with pytest.raises(
        InputError, match=r"2\.parquet, row 3 \(counted from 0\), column 'b': the value is missing"
    ):
        made.fit(FileLanes(tmp_path, **COLUMNS), verbose=0)
    assert np.isfinite(made.fit(FileLanes(folder, **COLUMNS), verbose=0).history["loss"]).all()
