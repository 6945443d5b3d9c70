"""A prediction of a known shape gives what a full one gives, and refuses what that refuses."""

from functools import partial

import keras
import numpy as np
import pytest
from cells import FEATURES, STEPS, inputs

import legato
from legato import InputError
from legato._execution.progress import Progress
from legato._models import verbs
from legato._platform.large_arrays import empty_for_jax

COUNT, ROWS = 7, 3  # the last batch is smaller
X = [inputs(COUNT, seed=seed) for seed in (1, 2, 3)]


@pytest.fixture(params=[False, True], ids=["stateless", "stateful"])
def made(request):
    layers = [legato.layers.LSTM(3, stateful=request.param), legato.layers.Dense(2)]
    return legato.Sequential([keras.Input((STEPS, FEATURES)), *layers])


def in_full(model, x, rows=ROWS):
    """Predict with a callback, for which the loop runs in full."""
    return model.predict(x, rows, verbose=0, callbacks=[keras.callbacks.Callback()])


def test_it_gives_what_a_full_prediction_gives(made):
    other = keras.models.clone_model(made)
    other.set_weights(made.get_weights())
    for x in X:
        np.testing.assert_array_equal(made.predict(x, ROWS, verbose=0), in_full(other, x))
    assert len(made.predict_function.repeated) == 1
    assert len(other.predict_function.repeated) == 0


def test_it_advances_the_state_only_if_asked(made):
    first = made.predict(X[0], ROWS, verbose=0, advance=False)
    again = [made.predict(X[0], ROWS, verbose=0, advance=False) for _ in range(2)]
    np.testing.assert_array_equal(again, [first, first])
    made.predict(X[0], ROWS, verbose=0)
    third = made.predict(X[0], ROWS, verbose=0)
    assert np.array_equal(third, first) != made.stateful


@pytest.mark.parametrize("rows", [ROWS, COUNT], ids=["batches", "one batch"])
def test_it_refuses_what_a_full_prediction_refuses(made, rows):
    bad = X[1].copy()
    bad[-1, 1, 0] = np.inf
    with pytest.raises(InputError) as first:
        made.predict(bad, rows, verbose=0)
    expected = made.predict(X[0], rows, verbose=0, advance=False)
    for _ in range(2):
        with pytest.raises(InputError) as known:
            made.predict(bad, rows, verbose=0)
        assert str(known.value) == str(first.value)
    np.testing.assert_array_equal(made.predict(X[0], rows, verbose=0), expected)


def test_numbers_beyond_the_type_of_an_input_are_refused_every_time():
    layers = [keras.layers.Embedding(5, 2), legato.layers.SimpleRNN(2)]
    model = legato.Sequential([keras.Input((2,), dtype="int8"), *layers])
    model.predict(np.ones((1, 2)), verbose=0)
    for _ in range(2):
        with pytest.raises(InputError, match="300"):
            model.predict(np.full((1, 2), 300.0), verbose=0)


@pytest.mark.parametrize("rows", [float(ROWS), True, [ROWS], np.array(ROWS)], ids=str)
def test_an_invalid_size_of_batches_is_refused_every_time(made, rows):
    for _ in range(2):
        with pytest.raises(InputError, match=r"batch_size is .*; a whole number of at least 1"):
            made.predict(X[0], rows, verbose=0)
        made.predict(X[0], ROWS, verbose=0)
        if not made.stateful:
            made.predict(X[0], 1, verbose=0)


@pytest.mark.parametrize("rows", [ROWS, None])
def test_numbers_beyond_float32_are_refused_every_time(made, rows):
    numbers = X[0].astype(np.float64)
    for _ in range(2):
        with pytest.raises(InputError, match="is inf"):
            made.predict(np.full_like(numbers, 1e300), rows, verbose=0)
        made.predict(numbers, rows, verbose=0)


class LastInput(keras.layers.Layer):
    """Gives what came in the call before."""

    def build(self, shape):
        self.last = self.add_weight(shape=shape, initializer="zeros", trainable=False)

    def call(self, x):
        last = self.last * 1.0
        self.last.assign(x)
        return last


@pytest.mark.parametrize("eagerly", [False, True])
def test_what_a_layer_keeps_of_its_input_is_not_the_array_of_the_user(eagerly):
    model = legato.Sequential([keras.Input(batch_shape=(4, 3)), LastInput()])
    model.compile(loss="mse", run_eagerly=eagerly)
    x = empty_for_jax((4, 3), np.float32)  # whose memory JAX shares
    for number in range(1, 4):
        x[:] = number
        assert model.predict(x, verbose=0)[0, 0] == number - 1
        x[:] = -1


def test_other_batches_of_the_same_samples_are_another_prediction(made):
    made.predict(X[0], ROWS, verbose=0)
    if made.stateful:
        made.reset_state()
    whole = made.predict(X[0], COUNT, verbose=0)
    assert len(made.predict_function.repeated) == 2
    if not made.stateful:
        np.testing.assert_allclose(whole, made.predict(X[0], ROWS, verbose=0), 1e-6, 1e-6)


def test_progress_is_shown_every_time(made, monkeypatch, capsys):
    at_once = partial(Progress, patience_s=0.0)
    monkeypatch.setattr(verbs, "Progress", lambda *given, **_: at_once(*given))
    for _ in range(3):
        made.predict(X[0], ROWS, verbose=1)
        assert "steps/s" in capsys.readouterr().out
        assert len(made.predict_function.repeated) == 0  # nothing is prepared that is not used
