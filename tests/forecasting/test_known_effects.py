"""Effects of known columns: found beside autocorrelated errors, and none where there is none."""

import keras
import numpy as np
import pytest

from legato._forecasting.known_effects import KnownEffects, encode_columns, fit_known_effects
from legato._series.sequences import Column

PROMO, JUNK = Column("promo"), Column("junk")
KIND = Column("kind", ("a", "b", "c"), (0.0, 1.0, 2.0))


def autoregression(rng, steps: int, weight: float = 0.9) -> np.ndarray:
    found = np.zeros(steps)
    for at in range(1, steps):
        found[at] = weight * found[at - 1] + rng.normal()
    return found


def draw(rng, steps: int) -> np.ndarray:
    """A promotion and a column without any effect, (steps, 2)."""
    return np.stack([rng.random(steps) < 0.3, rng.normal(size=steps)], axis=-1).astype(float)


@pytest.mark.parametrize("seasons", [(), (7,)])
def test_an_effect_is_found_beside_autocorrelated_errors(rng, seasons):
    wave, errors = 4 * np.sin(np.arange(300) * 2 * np.pi / 7), []
    for _ in range(12):
        known = draw(rng, 300)
        series = 50 + wave + autoregression(rng, 300) + 5 * known[:, 0]
        found = fit_known_effects([series], [known], (PROMO, JUNK), seasons)
        plain = np.linalg.lstsq(np.column_stack([known, np.ones(300)]), series, rcond=None)[0]
        errors.append([abs(each[0] - 5) for each in (found.weights, plain)])
    ours, least_squares = np.mean(errors, axis=0)
    assert ours < 0.3
    assert ours < 0.6 * least_squares  # which takes errors for independent


def test_an_effect_bends_where_both_ends_of_a_column_raise_a_series(rng):
    heat = rng.uniform(0, 30, (400, 1))
    raised = 3 * np.abs(heat[:, 0] - 15)
    series = autoregression(rng, 400) + raised
    found = fit_known_effects([series], [heat], (Column("heat"),), ())
    left = series - found.rest_of(series, heat)
    assert np.corrcoef(left, raised)[0, 1] > 0.99
    straight = autoregression(rng, 400) + 3 * heat[:, 0]
    line = fit_known_effects([straight], [heat], (Column("heat"),), ())
    assert line.weights[0] == pytest.approx(3, abs=0.1)
    ends = line.of(np.array([[0.0], [30.0]]))
    assert ends[1] - ends[0] == pytest.approx(90, rel=0.05)


def test_a_column_without_an_effect_is_left_out(rng):
    series = autoregression(rng, 200)
    assert fit_known_effects([series], [draw(rng, 200)[:, 1:]], (JUNK,), ()) is None
    assert fit_known_effects([series], [np.ones((200, 1))], (JUNK,), ()) is None
    assert fit_known_effects([series[:5]], [np.ones((5, 1))], (JUNK,), ()) is None


@pytest.mark.parametrize("is_relative", [False, True])
def test_the_unit_of_a_panel_is_found(rng, is_relative):
    sizes = 10.0 ** np.arange(4)
    known = [draw(rng, 120)[:, :1] for _ in sizes]
    series = [
        size * autoregression(rng, 120) + (5 * size if is_relative else 5) * own[:, 0]
        for size, own in zip(sizes, known, strict=True)
    ]
    found = fit_known_effects(series, known, (PROMO,), ())
    assert found.is_relative == is_relative
    for own, values, size in zip(series, known, sizes, strict=True):
        rest = found.rest_of(own, values)
        step = (own - rest)[values[:, 0] == 1][0] - (own - rest)[values[:, 0] == 0][0]
        assert step == pytest.approx(5 * size if is_relative else 5, rel=0.3)


def test_the_same_columns_are_taken_from_more_data(rng):
    known = draw(rng, 300)
    series = autoregression(rng, 300) + 5 * known[:, 0]
    for weights in ([1.0, 0.0], [0.0, 1.0]):
        like = KnownEffects((PROMO, JUNK), np.zeros(2), np.array(weights))
        found = fit_known_effects([series], [known], (PROMO, JUNK), (), like)
        assert (found.weights != 0).tolist() == [each != 0 for each in weights]


def test_effects_in_windows_and_after_them_are_what_is_taken_from_a_series(rng):
    columns, values = (PROMO, KIND), np.stack([rng.normal(size=30), rng.integers(3, size=30)], -1)
    effects = KnownEffects(columns, rng.normal(size=4), rng.normal(size=4))
    series = rng.normal(size=20)
    before, ahead = effects.split(series[None], values[None])
    np.testing.assert_allclose(series - before[0], effects.rest_of(series, values[:20]))
    np.testing.assert_allclose(ahead[0], effects.of(values)[20:])


def test_layers_encode_columns_as_arrays_do(rng):
    values = np.stack([rng.normal(size=(2, 5)), rng.integers(-1, 3, size=(2, 5))], -1)
    values = values.astype("float32")
    found = encode_columns((PROMO, KIND), values)
    one_hot = (values[..., 1:] == np.arange(3)).astype(float)  # -1 is unknown, and none of them
    np.testing.assert_array_equal(found, np.concatenate([values[..., :1], one_hot], -1))
    inputs = keras.Input((5, 2))
    bent = KnownEffects((PROMO, KIND), np.zeros(6), np.ones(6), False, ((-0.5, 0.5), ()))
    curve = keras.Model(inputs, bent.encode(inputs, keras.ops))
    np.testing.assert_allclose(curve.predict(values, verbose=0), bent.encode(values), 1e-6, 1e-6)
    np.testing.assert_allclose(bent.encode(values)[..., 1], np.maximum(values[..., 0] + 0.5, 0))
    model = keras.Model(inputs, encode_columns((PROMO, KIND), inputs, keras.ops))
    np.testing.assert_array_equal(model.predict(values, verbose=0), found)
