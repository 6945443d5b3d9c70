"""Clones and copies of models are models of legato, and carry state like the originals."""

import copy
import importlib.util

import keras
import numpy as np
import pytest
from cells import assert_same_states

import legato
from legato import layers

ROWS, STEPS, FEATURES, UNITS = 3, 4, 2, 3


def _input():
    return layers.Input((STEPS, FEATURES))


def _functional():
    first = _input()
    return legato.Model(first, layers.Dense(UNITS)(layers.LSTM(UNITS, stateful=True)(first)))


def _sequential_in_functional():
    first = _input()
    lower = layers.GRU(UNITS, stateful=True, return_sequences=True)
    inner = legato.Sequential([lower, layers.LSTM(UNITS, stateful=True)])
    return legato.Model(first, inner(first))


def test_a_copied_model_goes_on_from_the_state():
    model = CLONED["Sequential"]()
    x = np.random.rand(ROWS, STEPS, FEATURES)
    model.predict(x, verbose=0)  # the copy goes on from this state
    copied = copy.deepcopy(model)
    assert type(copied) is legato.Sequential
    np.testing.assert_array_equal(copied.predict(x, verbose=0), model.predict(x, verbose=0))
    assert copied.states.rows == ROWS


class _OwnFunctional(legato.Model):
    """A functional model with a constructor of its own."""

    def __init__(self):
        first = _input()
        super().__init__(first, layers.LSTM(UNITS, stateful=True)(first))


class _OwnSequential(legato.Sequential):
    def __init__(self):
        super().__init__([_input(), layers.LSTM(UNITS, stateful=True)])


class _OwnCall(legato.Model):
    def __init__(self, units=UNITS, **options):
        super().__init__(**options)
        self.units, self.recurrent = units, layers.LSTM(units, stateful=True)

    def build(self, shape):
        self.recurrent.build(shape)
        super().build(shape)

    def call(self, x):
        return self.recurrent(x)

    def get_config(self):
        return {"units": self.units}


CLONED = {
    "Sequential": lambda: legato.Sequential([_input(), layers.LSTM(UNITS, stateful=True)]),
    "Sequential without input": lambda: legato.Sequential([layers.LSTM(UNITS, stateful=True)]),
    "functional": _functional,
    "Sequential-in-functional": _sequential_in_functional,
    "own functional": _OwnFunctional,
    "own Sequential": _OwnSequential,
    "own call": _OwnCall,
}


@pytest.mark.parametrize("name", CLONED)
def test_a_clone_carries_state(name):
    model = CLONED[name]()
    model.compile("sgd", "mse")
    x = np.random.rand(2 * ROWS, STEPS, FEATURES)
    clones = [keras.models.clone_model(model)]
    if name != "own call":  # Keras takes no clone function for it
        clones.append(keras.models.clone_model(model, clone_function=_same_layer, recursive=True))
    expected = model.predict(x, batch_size=ROWS, verbose=0)
    for clone in clones:
        assert isinstance(clone, legato.Model)
        assert clone.compiled
        if not clone.built:
            clone.build(x.shape)
        clone.set_weights(model.get_weights())
        np.testing.assert_array_equal(clone.predict(x, batch_size=ROWS, verbose=0), expected)
        assert_same_states(clone.states, model.states)
    clones[0].fit(x, np.zeros((len(x), UNITS)), batch_size=ROWS, epochs=1, verbose=0)


def _same_layer(layer):
    return layer.__class__.from_config(layer.get_config())


def test_a_wrapper_of_scikit_learn_takes_a_model():
    """Its ``fit`` clones the model; ``sklearn.base.clone`` copies the wrapper and the model."""
    model = CLONED["Sequential"]()
    model.compile("sgd", "mse")
    x, y = np.random.rand(2 * ROWS, STEPS * FEATURES), np.random.rand(2 * ROWS)
    inner = legato.Sequential([layers.Input((STEPS * FEATURES,)), layers.Reshape((STEPS, -1))])
    inner.add(model)
    inner.add(layers.Dense(1))  # the wrapper takes one target a row
    inner.compile("sgd", "mse")
    if importlib.util.find_spec("sklearn") is None:
        fitted = keras.models.clone_model(copy.deepcopy(inner))
        fitted.fit(x, y, verbose=0)
    else:
        clone = importlib.import_module("sklearn.base").clone
        wrapper = clone(keras.wrappers.SKLearnRegressor(inner)).fit(x, y, verbose=0)
        fitted = wrapper.model_
    assert isinstance(fitted, legato.Sequential)
    assert fitted.predict(x, verbose=0).shape == (len(x), 1)
    assert fitted.states.rows == len(x)


def test_a_clone_of_a_plain_model_stays_plain():
    plain = keras.Sequential([keras.Input((STEPS, FEATURES)), keras.layers.LSTM(UNITS)])
    assert type(keras.models.clone_model(plain)) is keras.Sequential
