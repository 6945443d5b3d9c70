"""The initial weights of models in tests are those of a user's models."""

import jax
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
