"""A layer whose ``stateful`` is changed after use behaves as if it had been made that way."""

import gc
import weakref

import keras
import numpy as np
import pytest
from cells import FEATURES, UNITS, inputs, predict

import legato
from legato import layers


def made(kind, stateful: bool = True):
    """A model of one LSTM, and that layer."""
    lstm = kind.LSTM(UNITS, stateful=stateful)
    model = legato.Sequential([layers.Input((None, FEATURES)), lstm, layers.Dense(UNITS)])
    model.compile(optimizer="sgd", loss="mse")
    return model, lstm


def outputs_of_verbs(model, X) -> list[np.ndarray]:
    """The outputs of every verb that predicts."""
    return [
        predict(model, X),
        model.predict_on_batch(X),
        np.asarray(model(X)),
        np.array(model.evaluate(X, np.zeros((len(X), UNITS)), batch_size=len(X), verbose=0)),
    ]


@pytest.mark.parametrize("kind", [layers, keras.layers], ids=["legato", "keras"])
def test_set_to_false_it_is_stateless_everywhere(kind):
    model, lstm = made(kind)
    X = inputs()
    cold = predict(model, X)
    assert not np.allclose(predict(model, X), cold)
    outputs_of_verbs(model, X)
    lstm.stateful = False
    assert not model.stateful
    assert model.states.rows == len(model.states) == 0
    stateless, _ = made(layers, stateful=False)
    stateless.set_weights(model.get_weights())
    for _ in range(2):
        for mine, its in zip(
            outputs_of_verbs(model, X),
            outputs_of_verbs(stateless, X),
            strict=True,
        ):
            np.testing.assert_array_equal(mine, its)
    predict(model, X[:2])  # any number of rows, no state
    model.fit(X, np.zeros((len(X), UNITS)), shuffle=True, verbose=0)
    assert model.states.rows == 0


@pytest.mark.parametrize("kind", [layers, keras.layers], ids=["legato", "keras"])
def test_set_to_true_it_starts_fresh(kind):
    model, lstm = made(kind, stateful=False)
    X = inputs()
    cold = predict(model, X)
    outputs_of_verbs(model, X)
    for batch in (X, X[:2]):
        lstm.stateful = True
        assert model.stateful
        np.testing.assert_allclose(predict(model, batch), cold[: len(batch)], 1e-5, 1e-6)
        assert model.states.rows == len(batch)
        assert not np.allclose(predict(model, batch), cold[: len(batch)])
        lstm.stateful = False


def test_a_shared_layer_is_switched_in_all_its_models():
    model, lstm = made(layers)
    other = legato.Sequential([layers.Input((None, FEATURES)), lstm])
    X = inputs()
    first = predict(model, X), predict(other, X)
    lstm.stateful = False
    np.testing.assert_array_equal(predict(model, X), first[0])
    np.testing.assert_array_equal(predict(other, X), predict(other, X))


def test_a_layer_does_not_keep_the_models_that_run_it_alive():
    model, lstm = made(layers)
    predict(model, inputs())
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert alive() is None
    lstm.stateful = False


def test_setting_the_same_value_keeps_the_state():
    model, lstm = made(layers)
    predict(model, inputs())
    remembered = model.states
    lstm.stateful = True
    assert model.states == remembered


def test_a_model_that_only_runs_backwards_carries_no_state():
    with pytest.warns(UserWarning, match="runs backwards"):
        lstm = layers.LSTM(UNITS, stateful=True, go_backwards=True)
    model = legato.Sequential([layers.Input((None, FEATURES)), lstm])
    np.testing.assert_array_equal(predict(model, inputs()), predict(model, inputs()))
    assert not model.stateful
    assert model.states.rows == 0
