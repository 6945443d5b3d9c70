"""Sample paths: their quantiles at each step, and how the steps go together."""

import numpy as np
import pytest
from trained_examples import TINY

import legato
from legato import InputError
from legato._forecasting.prediction_intervals import STORED, Intervals
from legato._forecasting.sample_paths import draw_paths

STEPS = 6


def walk_errors(rng, origins: int) -> np.ndarray:
    """Errors of a naive forecast of a random walk from origins of separate sequences."""
    return rng.normal(size=(origins, STEPS, 1)).cumsum(1)


def test_every_step_has_the_quantiles_of_its_intervals(rng):
    errors = np.concatenate([walk_errors(rng, 30), rng.exponential(size=(30, STEPS, 1))], axis=2)
    intervals = Intervals.of(errors, np.arange(30))
    values, scale = rng.normal(size=(2, STEPS + 2, 2)), np.array([[1.0, 2.0], [30.0, 4.0]])
    paths = draw_paths(intervals, values, scale, 20_000, seed=1)
    assert paths.shape == (20_000, 2, STEPS + 2, 2)
    for quantile in (0.1, 0.5, 0.9, 0.975):
        own = intervals.quantiles(values, scale, (quantile,))[0]
        np.testing.assert_allclose((paths <= own).mean(0), quantile, atol=0.012)
    widest = intervals.around(values, scale, (0.99,))[0]
    assert (paths >= widest[0] - 1e-9).all()
    assert (paths <= widest[1] + 1e-9).all()


@pytest.mark.parametrize("kind", ["walk", "noise"])
def test_steps_go_together_as_the_errors_did(kind, rng):
    errors = walk_errors(rng, 2_000)
    if kind == "noise":
        errors[:, 1:] -= errors[:, :-1].copy()
    intervals = Intervals.of(errors, np.arange(2_000))
    paths = draw_paths(intervals, np.zeros((1, STEPS + 2, 1)), np.ones((1, 1)), 20_000, seed=2)
    found = np.corrcoef(paths[:, 0, :STEPS, 0].T)
    for one in range(STEPS):
        for other in range(one, STEPS):
            expected = np.sqrt((one + 1) / (other + 1)) if kind == "walk" else float(one == other)
            assert found[one, other] == pytest.approx(expected, abs=0.06), (one, other)
    beyond = np.corrcoef(paths[:, 0, STEPS - 1 :, 0].T)  # beyond, as those of a random walk
    assert beyond[0, 1] == pytest.approx(np.sqrt(6 / 7), abs=0.02)
    assert beyond[0, 2] == pytest.approx(np.sqrt(6 / 8), abs=0.02)
    apart = draw_paths(intervals, np.zeros((2, 1, 1)), np.ones((2, 1)), 5_000, seed=3)[:, :, 0, 0]
    assert abs(np.corrcoef(apart.T)[0, 1]) < 0.05  # sequences are drawn by themselves


def test_correlations_are_kept_in_the_file_and_older_files_have_none(rng):
    intervals = Intervals.of(walk_errors(rng, 9))
    numbers = intervals.as_numbers()
    again = Intervals.from_numbers(numbers)
    errors = walk_errors(rng, 1)
    assert Intervals.of(errors).following.shape == (0, 1)
    np.testing.assert_allclose(again.following, intervals.following, atol=1e-4)
    older = Intervals.from_numbers({k: v for k, v in numbers.items() if k != "following"})
    with pytest.raises(InputError, match="an earlier version and does not hold what sample paths"):
        draw_paths(older, np.zeros((1, 2, 1)), np.ones((1, 1)), 3, seed=0)
    with pytest.raises(ValueError, match="reshape"):
        Intervals.from_numbers({**numbers, "following": [[0.5]]})


def test_a_model_draws_paths_as_a_table_of_rows_and_by_its_seed():
    shops = {"shop": ["a"] * 30 + ["b"] * 24, "sold": np.sin(np.arange(54) / 3).tolist()}
    trained = legato.train(shops, group="shop", horizon=2, **TINY)
    found = trained.forecast(shops, 3, paths=4, seed=5)
    assert found.paths.shape == (4, 2, 3, 1)
    columns = found.path_columns()
    assert [*columns] == ["path", "shop", "step", "sold"]
    assert columns["path"] == np.repeat([1, 2, 3, 4], 6).tolist()
    assert columns["shop"] == (["a"] * 3 + ["b"] * 3) * 4
    assert columns["step"] == [1, 2, 3] * 8
    assert columns["sold"] == pytest.approx(found.paths.reshape(-1), rel=1e-8)
    np.testing.assert_array_equal(trained.forecast(shops, 3, paths=4, seed=5).paths, found.paths)
    assert (trained.forecast(shops, 3, paths=4, seed=6).paths != found.paths).all()
    plain = trained.forecast(shops, 3)
    assert (plain.paths, plain.path_columns()) == (None, {})
    assert found.columns() == plain.columns()
    for wrong in (0, -1, 2.5):
        with pytest.raises(InputError, match="a number of sample paths"):
            trained.forecast(shops, paths=wrong)
    with pytest.raises(InputError, match="seed"):
        trained.forecast(shops, paths=3, seed=-1)
    none = legato.train(shops, group="shop", test=0, **TINY)
    with pytest.raises(InputError, match=r"Sample paths come from intervals\. There are no"):
        none.forecast(shops, paths=3)
    assert len(STORED) == len(trained.known["intervals"]["levels"])
