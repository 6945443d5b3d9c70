"""Requests from other projects' users, each as the script its author would write.

The numbers are the rows of ``docs/requests.md``, which links each request. The contract and the
laws go deeper; these tests show that the short way works. A row that legato does not do says so on
that page, and has no test here.
"""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

import legato
from legato import State, layers

PAGE = Path(__file__).parents[1] / "docs" / "requests.md"
ROWS = {*range(1, 27), 31, *range(34, 37), 44, 48, 50}

_rng = np.random.default_rng(0)
X = _rng.normal(size=(8, 4, 2)).astype("float32")
y = _rng.normal(size=(8, 1)).astype("float32")


def network(layer=None, stateful=True, front=()):
    """A compiled model of one recurrent layer and a Dense, its weights always the same."""
    keras.utils.set_random_seed(1)
    recurrent = layer or layers.LSTM(3, stateful=stateful)
    model = legato.Sequential([layers.Input((None, 2)), *front, recurrent, layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


def predict(model, x, **options):
    return model.predict(x, batch_size=len(x), verbose=0, **options)


def fit(model, x=X, targets=y, batch_size=2, **options):
    return model.fit(x, targets, batch_size=batch_size, verbose=0, **options).history["loss"]


def close(one, other):
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_01_predict_without_touching_the_state():
    model = network()
    fit(model)
    remembered = model.states
    looked = predict(model, X[:2], advance=False)
    assert model.states == remembered
    np.testing.assert_array_equal(predict(model, X[:2]), looked)


def test_02_state_survives_from_call_to_call():
    model = network()
    fit(model)
    after_fit = model.states
    one, two = predict(model, X[:2]), predict(model, X[2:4])
    model.states = after_fit
    close(model.predict(X[:4], batch_size=2, verbose=0), np.concatenate([one, two]))


def test_03_one_step_at_a_time_as_data_arrive():
    model = network()
    whole = predict(model, X[:1])
    stream = model.stream()
    for x in X[0]:
        last = stream.feed(x)
    close(last, whole[0])


def test_04_train_stateless_then_predict_statefully():
    model = network(stateful=False)
    fit(model, shuffle=True)
    whole = predict(model, X[:1])
    stream = model.stream().warm(X[0, :3])
    close(stream.feed(X[0, 3]), whole[0])
    model.layers[0].stateful = True
    predict(model, X[:1, :3])
    close(predict(model, X[:1, 3:]), whole)


def test_05_other_batch_sizes_for_training_and_predicting():
    model = network()
    fit(model, batch_size=4)
    model.reset_states()
    together = predict(model, X)
    for row in range(8):
        model.reset_states()
        close(predict(model, X[row : row + 1]), together[row : row + 1])


def test_06_stateful_as_an_argument_of_fit_and_predict():
    model, stateless = network(), network(stateful=False)
    np.random.seed(1)
    losses = fit(model, reset="batch", shuffle=True, epochs=2)
    np.random.seed(1)
    close(losses, fit(stateless, shuffle=True, epochs=2))
    remembered = model.states
    alone = model.predict(X, batch_size=2, starts=np.ones(8, bool), advance=False, verbose=0)
    close(alone, predict(stateless, X))
    assert model.states == remembered


def test_07_every_epoch_begins_fresh():
    model, reset_each_epoch = network(), network()
    losses = fit(model, epochs=3)
    alone = []
    for _ in range(3):
        reset_each_epoch.reset_states()
        alone += fit(reset_each_epoch)
    assert losses == alone


def test_08_validation_leaves_the_training_as_it_was():
    validated, alone = network(), network()
    losses = fit(validated, epochs=3, reset="never", validation_data=(X[::-1], y[::-1]))
    assert losses == fit(alone, epochs=3, reset="never")
    for mine, its in zip(validated.states.values(), alone.states.values(), strict=True):
        np.testing.assert_array_equal(mine, its)


def test_09_samples_need_not_fill_the_batches():
    model = network()
    fit(model, batch_size=3, validation_split=0.4)  # 4 samples and 4
    model.reset_states()
    outputs = model.predict(X, batch_size=3, verbose=0)  # 3, 3 and 2
    assert outputs.shape == (8, 1)
    model.reset_states()
    for sample in (1, 4, 7):  # row 1 alone
        close(predict(model, X[sample : sample + 1])[0], outputs[sample])


def test_10_chosen_rows_are_reset():
    model = network()
    fresh = predict(model, X[:3])
    model.reset_states()
    predict(model, X[3:6])
    went_on = predict(model, X[:3], advance=False)
    model.reset_states(np.array([True, False, True]))
    outputs = predict(model, X[:3])
    close(outputs, np.where([[True], [False], [True]], fresh, went_on))


def test_11_reset_after_every_so_many_samples():
    model = network()
    outputs = model.predict(X, batch_size=1, starts=np.arange(8) % 4 == 0, verbose=0)
    for text in range(2):
        model.reset_states()
        alone = model.predict(X[4 * text : 4 * text + 4], batch_size=1, verbose=0)
        close(outputs[4 * text : 4 * text + 4], alone)


def test_12_reset_where_the_data_say_so():
    model, data, rows, end = network(), X.copy(), 2, 9.0
    data[[3, 4], -1, 0] = end
    ended = data[:, -1, 0] == end
    starts = np.concatenate([np.zeros(rows, bool), ended[:-rows]])  # the row's next sample
    with_starts = model.predict(data, batch_size=rows, starts=starts, verbose=0)
    model.reset_states()
    for batch in range(0, 8, rows):  # live: look, then reset
        close(with_starts[batch : batch + rows], predict(model, data[batch : batch + rows]))
        model.reset_states(ended[batch : batch + rows])


def test_13_sequences_of_uneven_lengths_continue_side_by_side():
    model = network(front=[layers.Masking(0.0)])
    lengths, padded = (3, 8), X[:4].reshape(2, 8, 2).copy()
    padded[0, 3:] = 0.0  # row 0 has 3 steps, row 1 has 8
    chunks = padded.reshape(2, 2, 4, 2).swapaxes(0, 1).reshape(4, 4, 2)  # chunk by chunk
    last = model.predict(chunks, batch_size=2, verbose=0)[2:]
    for row, length in enumerate(lengths):
        model.reset_states()
        close(predict(model, padded[row : row + 1, :length]), last[row : row + 1])


def test_14_short_chunks_in_training_long_in_validation_one_step_live():
    model = network()
    fit(model, X[:, :2], validation_data=(X, y))
    model.reset_states()
    whole = predict(model, X[:1])
    model.reset_states()
    close([predict(model, X[:1, t : t + 1])[0] for t in range(4)][-1], whole[0])


def test_15_many_long_sequences():
    model, long = network(), X.reshape(2, 2, 8, 2)  # 4 sequences of 8 steps, two at a time
    chunks = np.concatenate([pair[:, at : at + 4] for pair in long for at in (0, 4)])
    starts = np.array([1, 1, 0, 0] * 2, bool)  # each sequence's first chunk
    outputs = model.predict(chunks, batch_size=2, starts=starts, verbose=0)
    model.reset_states()
    close(outputs[[2, 3, 6, 7]], predict(model, long.reshape(4, 8, 2)))


def test_16_states_are_got_set_and_reset_on_the_model():
    model = network()
    predict(model, X[:2])
    past = model.states
    one = predict(model, X[2:4])
    model.reset_states()
    assert model.states.rows == 0
    model.states = past
    np.testing.assert_array_equal(predict(model, X[2:4]), one)


def test_17_states_are_set_to_given_values():
    model, (path,) = network(), network().states
    h, c = np.full((2, 3), 0.5, "float32"), np.full((2, 3), -0.5, "float32")
    model.states = State({path: (h, c)})
    outputs = predict(model, X[:2])
    model.layers[0].reset_state(states=[h, c])  # as Keras's documentation says
    np.testing.assert_array_equal(predict(model, X[:2]), outputs)


def test_18_a_model_is_saved_with_its_state(tmp_path):
    model = network()
    fit(model)
    model.save(tmp_path / "model.keras")
    model.save_states(tmp_path / "model.state")
    loaded = legato.load_model(tmp_path / "model.keras")
    loaded.load_states(tmp_path / "model.state")
    np.testing.assert_array_equal(predict(loaded, X[:2]), predict(model, X[:2]))


def test_19_resetting_works_as_documented_by_keras():
    model = network()
    fresh = predict(model, X[:2])
    layer = model.layers[0]
    for reset in (model.reset_state, model.reset_states, layer.reset_state, layer.reset_states):
        reset()
        np.testing.assert_array_equal(predict(model, X[:2]), fresh)


def test_20_state_variables_have_unique_names():
    model = network(layers.RNN([layers.LSTMCell(3), layers.GRUCell(3)], stateful=True))
    model.add(layers.Reshape((1, 1)))
    model.add(layers.GRU(3, stateful=True))
    predict(model, X[:2])
    paths = [each.path for each in model.non_trainable_variables if "/state_" in each.path]
    assert len(paths) == len(set(paths)) == 4


@pytest.mark.parametrize("cell", [layers.GRUCell(3), [layers.GRUCell(3), layers.LSTMCell(3)]])
def test_21_reset_before_the_first_call_and_after_an_initial_state(cell):
    layer = layers.RNN(cell, stateful=True)
    layer.reset_state()
    model = network(layer)
    model.reset_states()
    fresh = predict(model, X[:2])
    layer.reset_state()
    layer(X[:2], initial_state=layer.get_initial_state(2))
    layer.reset_state()
    np.testing.assert_array_equal(predict(model, X[:2]), fresh)


def test_22_bidirectional_the_forward_half_carries():
    both = layers.Bidirectional(layers.GRU(3, stateful=True, return_sequences=True))
    model = legato.Sequential([layers.Input((None, 2)), both])
    whole = predict(model, X[:2])
    both.reset_state()
    cut = np.concatenate([predict(model, X[:2, :2]), predict(model, X[:2, 2:])], axis=1)
    close(cut[..., :3], whole[..., :3])
    close(cut[:, 2:, 3:], whole[:, 2:, 3:])  # the backward half starts each sample fresh
    assert not np.allclose(cut[:, :2, 3:], whole[:, :2, 3:])


def test_23_an_initial_state_seeds_a_stateful_layer_which_then_carries():
    signal, seed = layers.Input((None, 2)), layers.Input((3,))
    model = legato.Model([signal, seed], layers.GRU(3, stateful=True)(signal, initial_state=seed))
    one, other = np.ones((2, 3), "float32"), np.zeros((2, 3), "float32")
    whole = predict_two(model, X[:2], one)
    model.reset_states()
    predict_two(model, X[:2, :2], one)
    close(predict_two(model, X[:2, 2:], other), whole)


def predict_two(model, x, seed):
    return model.predict([x, seed], batch_size=len(x), verbose=0)


class Warm(layers.SimpleRNNCell):
    """Its initial state is 2, as in the request."""

    def get_initial_state(self, batch_size=None):
        return [keras.ops.full((batch_size, self.units), 2.0)]


def test_24_the_cells_own_initial_state_also_after_a_reset():
    model = network(layers.RNN(Warm(3), stateful=True, name="warm"))
    fresh = predict(model, X[:2])
    model.reset_states()
    np.testing.assert_array_equal(model.initial_states(2)["warm"][0], np.full((2, 3), 2.0))
    np.testing.assert_array_equal(predict(model, X[:2]), fresh)


class Learnt(layers.SimpleRNNCell):
    """Its initial state is a weight."""

    def build(self, input_shape):
        super().build(input_shape)
        self.first = self.add_weight(shape=(self.units,), initializer="zeros", name="first")

    def get_initial_state(self, batch_size=None):
        return [keras.ops.broadcast_to(self.first, (batch_size, self.units))]


def test_25_a_learnt_initial_state():
    model = network(layers.RNN(Learnt(3), stateful=True, name="rnn"))
    assert not np.any(model.initial_states()["rnn"][0])
    fit(model)
    assert np.all(model.initial_states()["rnn"][0])


def test_26_an_initial_state_that_is_random_in_training():
    signal = layers.Input((None, 2))
    zeros = layers.Lambda(lambda x: keras.ops.zeros((x.shape[0], 3)), (3,))(signal)
    start = layers.GaussianNoise(1.0)(zeros)  # noise in training, nothing else
    model = legato.Model(signal, layers.GRU(3, stateful=True)(signal, initial_state=start))
    plain = [predict(model, X[:2], advance=False), np.asarray(model(X[:2], training=False))]
    model.reset_states()
    noisy = np.asarray(model(X[:2], training=True))
    np.testing.assert_array_equal(*plain)
    assert not np.allclose(noisy, plain[0])


def test_34_a_stateful_model_inside_another():
    inner = legato.Sequential([layers.GRU(3, stateful=True, return_sequences=True)], name="inner")
    model = network(inner)
    fresh = predict(model, X[:2])
    assert model.states.rows == inner.states.rows == 2
    went_on = predict(model, X[:2])
    for each in (model, inner):
        each.reset_states()
        np.testing.assert_array_equal(predict(model, X[:2]), fresh)
    assert not np.allclose(went_on, fresh)


def test_35_the_state_at_every_step():
    model = network()
    trace = model.stream().trace(X[0])
    for step in range(4):
        predict(model, X[:1, step : step + 1])
        assert trace.states.select([step]).allclose(model.states)
    assert all(not np.any(part) for parts in trace.before.values() for part in parts)


@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_36_padding_does_not_reach_the_state(kind):
    model = network(kind(3, stateful=True), front=[layers.Masking(0.0)])
    lengths = [3, 0, 4]
    padded = X[:3] * (np.arange(4) < np.array(lengths)[:, None])[..., None]
    predict(model, X[3:6])
    past = model.states
    predict(model, padded)
    after = model.states
    assert after.select([1]) == past.select([1])  # nothing came
    model.states = past.select([0])
    predict(model, X[:1, :3])
    assert after.select([0]).allclose(model.states)


def test_31_several_devices_share_the_rows_of_a_batch():
    one, several = network(), network()
    for model, devices in ((one, 1), (several, 2)):
        model.compile("sgd", "mse")
        outputs = np.zeros((4, *model.output_shape[1:]), "float32")
        model.fit(X[:4, :1], outputs[:, :1], batch_size=4, devices=devices, verbose=0)
    close(one.get_weights()[0], several.get_weights()[0])


def test_44_trained_in_batches_then_fed_without_end():
    model = network(stateful=False)
    fit(model, batch_size=8)
    stream = model.stream()
    for x in np.tile(X[0], (50, 1)):
        last = stream.feed(x)
    close(last, predict(model, np.tile(X[:1], (1, 50, 1)))[0])


def test_48_live_states_out_of_a_server_for_a_new_model(tmp_path):
    model = network()
    pool = model.streams()
    pool.feed({"ada": X[0], "bob": X[1]})
    pool.save(tmp_path / "live.state")
    renewed = network()
    fit(renewed, epochs=2)
    with pytest.raises(legato.StateError, match="other weights"):
        renewed.streams().load(tmp_path / "live.state")
    after = renewed.streams().load(tmp_path / "live.state", other_weights=True)
    assert after.steps("ada") == 4
    assert all(map(np.array_equal, *(each.state("bob").values() for each in (pool, after))))


def test_50_a_state_for_each_sequence_and_one_batch_of_those_that_are_ready(tmp_path):
    pool = network().streams(limit=100, folder=tmp_path)
    for step in range(4):
        pool.feed({name: X[name, step] for name in range(8) if step % (name + 1) == 0})
    pool.evict(pool.idle(3))
    answers = pool.feed({name: X[name, 0] for name in range(8)})
    alone = network().stream().warm(X[1, [0, 2]])
    close(answers[1], alone.feed(X[1, 0]))
    assert [pool.steps(name) for name in range(8)] == [5, 3, 3, 2, 2, 2, 2, 2]


# The page and the tests have the same rows.


def answers_by_row(page: str) -> dict[int, str]:
    """The rows of the page's table: number → the answer."""
    return {int(row[1]): row[2] for row in re.finditer(r"^\| (\d+) \|.*\| ([^|]+) \|$", page, re.M)}


def inconsistent_rows(page: str) -> set[int]:
    """Rows that are not in the table, or have neither a test nor a reason, or have both."""
    answers = answers_by_row(page)
    tested = {int(name[5:7]) for name in globals() if re.match(r"test_\d\d_", name)}
    reasons = {row for row, answer in answers.items() if answer.startswith("Not done: ")}
    return (ROWS ^ set(answers)) | (ROWS ^ tested ^ reasons)


def test_the_page_and_the_tests_have_the_same_rows():
    page = PAGE.read_text(encoding="utf-8")
    assert inconsistent_rows(page) == set()
    assert inconsistent_rows(page.replace("\n| 8 |", "\n")) == {8}
    assert inconsistent_rows(page.replace("\n| 31 |", "\n")) == {31}
