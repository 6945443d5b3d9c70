"""The initial weights of models in tests are those of a user's models."""

import jax
import keras
import numpy as np
import pytest


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("normal", {}),
        ("truncated_normal", {"lower": -2.0, "upper": 2.0}),
        ("uniform", {"minval": -0.3, "maxval": 0.7}),
    ],
)
def test_weights_are_drawn_as_jax_draws_them(name, options):
    draw = getattr(jax.random, name)
    options |= {"key": np.array([3, 5], "uint32"), "shape": (3, 16), "dtype": "float32"}
    drawn, expected = draw(**options), draw.__wrapped__(**options)
    np.testing.assert_array_equal(drawn, expected)
    assert drawn.aval == expected.aval
    assert jax.eval_shape(lambda: draw(**options)).shape == (3, 16)


@pytest.mark.parametrize("shape", [(3, 16), (16, 3), (5, 5), (40, 7, 2), (1, 1)])
@pytest.mark.parametrize("name", ["Orthogonal", "Zeros", "Ones"])
def test_arrays_of_numpy_are_those_of_keras(name, shape):
    kind = getattr(keras.initializers, name)
    options = {"seed": 7, "gain": 0.7} if name == "Orthogonal" else {}
    made, expected = kind(**options)(shape), kind.__call__.__wrapped__(kind(**options), shape)
    np.testing.assert_array_equal(made, expected)
    assert made.aval == expected.aval
    assert isinstance(jax.eval_shape(lambda: kind(**options)(shape)), jax.ShapeDtypeStruct)
