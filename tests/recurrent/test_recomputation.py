"""``model.remat``: the same training with less memory."""

import jax
import keras
import numpy as np
import pytest
from jax import numpy as jnp

from legato import InputError, Model, Sequential, layers
from legato._recurrent.recomputation import recomputing

ROWS, STEPS, FEATURES = 3, 11, 2
RNG = np.random.default_rng(0)
X = RNG.normal(size=(2 * ROWS, STEPS, FEATURES)).astype("float32")
X[:, 4:6] = 0  # masked
Y = RNG.normal(size=(2 * ROWS, STEPS, 1)).astype("float32")


def trained(remat):
    """The weights and the state after two epochs of a model with layers of every kind."""
    keras.utils.set_random_seed(1)
    inputs = layers.Input((STEPS, FEATURES))
    hidden = layers.Masking()(inputs)
    hidden = layers.LSTM(4, stateful=True, return_sequences=True, dropout=0.3)(hidden)
    hidden = layers.Bidirectional(layers.GRU(3, return_sequences=True))(hidden)
    hidden = layers.RNN(keras.layers.SimpleRNNCell(3), return_sequences=True, unroll=True)(hidden)
    last = layers.SimpleRNN(2)(hidden)
    model = Model(inputs, layers.Dense(1)(hidden) + layers.Dense(1)(last)[:, None])
    model.compile("sgd", "mse")
    model.remat = remat
    model.fit(X, Y, batch_size=ROWS, epochs=2, verbose=0)
    return [*model.get_weights(), *jax.tree.leaves(model.states)]


@pytest.mark.slow
def test_training_is_the_same():
    expected = trained(None)
    for remat in (4, True):  # segments of 4, 4 and 3 steps, twice
        for some, others in zip(trained(remat), expected, strict=True):
            np.testing.assert_allclose(some, others, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("remat", [1, 3, 10, 11, 50])
def test_every_length_of_segments_gives_the_same_gradient(remat):
    layer = layers.LSTM(4, go_backwards=True)
    layer.build((ROWS, STEPS, FEATURES))
    weights = [each.value for each in layer.trainable_variables]
    others = [each.value for each in layer.non_trainable_variables]

    def loss(weights):
        return (layer.stateless_call(weights, others, X)[0] ** 2).sum()

    with recomputing(remat):
        found = jax.jit(jax.grad(loss))(weights)
    for some, one in zip(found, jax.jit(jax.grad(loss))(weights), strict=True):
        np.testing.assert_allclose(some, one, rtol=1e-5, atol=1e-7)


def memory(steps: int, remat) -> int:
    """Bytes of temporary memory of a gradient."""
    layer = layers.LSTM(16)
    layer.build((ROWS, steps, 1))
    weights = [each.value for each in layer.trainable_variables]
    others = [each.value for each in layer.non_trainable_variables]

    def gradient(weights, xs):
        return jax.grad(lambda w: layer.stateless_call(w, others, xs)[0].sum())(weights)

    with recomputing(remat):
        compiled = jax.jit(gradient).lower(weights, jnp.zeros((ROWS, steps, 1))).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def test_memory_grows_with_the_square_root_of_the_steps():
    inputs = ROWS * 4  # bytes of a step's inputs, which are needed as before
    short, long = (memory(steps, True) - 2 * inputs * steps for steps in (400, 40_000))
    assert long < 15 * short  # the square root of 100 is 10
    assert memory(40_000, None) > 20 * memory(40_000, True)


def test_setting_it_between_runs_compiles_anew():
    model = Sequential([layers.Input((STEPS, FEATURES)), layers.LSTM(4)])
    model.compile("sgd", "mse")
    model.fit(X, Y[:, 0], batch_size=ROWS, verbose=0)
    before = model.train_function
    model.remat = None
    assert model.train_function is before
    model.remat = 4
    model.fit(X, Y[:, 0], batch_size=ROWS, verbose=0)
    assert model.train_function is not before


def test_one_step_is_not_the_square_root():
    model = Sequential([layers.Input((STEPS, FEATURES)), layers.LSTM(4)])
    for remat in (1, True, 1):
        model.remat = remat
        assert model.remat is remat


@pytest.mark.parametrize("remat", [0, -3, 2.5, "auto"])
def test_refuses_what_is_no_number_of_steps(remat):
    model = Sequential([layers.Input((None, 1)), layers.GRU(2)])
    with pytest.raises(InputError, match=f"remat is {remat!r}"):
        model.remat = remat
    assert model.remat is None
