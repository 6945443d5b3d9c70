"""Prediction intervals against plain loops, and how much they hold where the truth is known."""

import numpy as np
import pytest
from scipy import stats

from legato._forecasting.prediction_intervals import (
    LEVELS,
    MANY,
    MIN_ERRORS,
    STORED,
    Intervals,
    independent_errors,
    pool_deviations,
)


def backtest_errors(rng, steps: int, leads: int, growth: float = 0.5) -> np.ndarray:
    """Independent errors of rolling origins in a part of ``steps``, growing with the lead."""
    errors = rng.normal(size=(steps, leads, 1)) * (np.arange(1, leads + 1) ** growth)[:, None]
    for origin in range(steps):
        errors[origin, steps - origin :] = np.nan
    return errors


def count_independent(errors: list[list[float]], lead: int, spacing: float) -> float:
    """Independent errors of one step ahead, of a list for each sequence; a plain loop."""
    count = sum(map(len, errors))
    power = sum(e**2 for own in errors for e in own) / count
    estimated = of_walk = 1.0
    lag = 1
    while lag * spacing < lead:
        pairs = [a * b for own in errors for a, b in zip(own, own[lag:], strict=False)]
        if pairs:
            correlation = np.mean(pairs) / power if power else 0.0
            estimated += 2 * len(pairs) / count * min(correlation**2, 1)
            of_walk += 2 * len(pairs) / count * (1 - lag * spacing / lead) ** 2
        lag += 1
    return max(np.sqrt(count / estimated * count / of_walk), 1.0)


@pytest.mark.parametrize("spacing", [1.0, 2.5])
def test_independent_errors_are_those_of_a_plain_loop(rng, spacing):
    parts = [backtest_errors(rng, steps, 7).cumsum(0) for steps in (9, 1, 14)]
    errors = np.concatenate(parts)
    sequence = np.repeat([0, 3, 4], [9, 1, 14])
    found = independent_errors(errors, sequence, spacing)
    for lead in range(7):
        lists = [[e for e in part[:, lead, 0].tolist() if not np.isnan(e)] for part in parts]
        expected = count_independent([own for own in lists if own], lead + 1, spacing)
        assert found[lead, 0] == pytest.approx(expected), lead


def test_one_step_ahead_all_errors_are_independent_and_nearly_equal_ones_are_not(rng):
    errors = backtest_errors(rng, 40, 12, growth=0)
    one = np.zeros(40, int)
    assert independent_errors(errors, one)[0, 0] == pytest.approx(40)
    same = np.where(np.isnan(errors), np.nan, 1.0)
    found = independent_errors(same, one)[:, 0]
    assert (found[1:] < independent_errors(errors, one)[1:, 0]).all()
    assert (found[1:] < 1.8 * (40 - np.arange(12))[1:] / np.arange(2, 13)).all()  # of stretches
    apart = independent_errors(same, np.arange(40))  # each of another sequence
    np.testing.assert_allclose(apart[:, 0], 40 - np.arange(12))
    assert (independent_errors(0 * same, one) > 0).all()


def test_half_of_the_squared_errors_of_random_walks_variance_is_that_of_so_many(rng):
    """The variance of a mean square of n independent normal errors is 2 / n of its square."""
    walks = rng.normal(size=(20_000, 31)).cumsum(1)
    errors = walks[:, 6:] - walks[:, :-6]  # 6 steps ahead, from 25 origins
    squares = (errors**2).mean(1)
    equivalent = 2 * squares.mean() ** 2 / squares.var()
    of_walk = 1 + 2 * sum((1 - lag / 25) * (1 - lag / 6) ** 2 for lag in range(1, 6))
    assert equivalent == pytest.approx(25 / of_walk, rel=0.05)
    found = [
        independent_errors(own[:, None, None].repeat(6, 1), 0 * np.arange(25))
        for own in errors[:200]
    ]
    assert np.mean([each[5, 0] for each in found]) == pytest.approx(equivalent, rel=0.25)


@pytest.mark.parametrize("count", [18, 2 * MANY])
def test_few_errors_give_students_ends_and_many_their_quantiles(rng, count):
    errors = rng.gamma(2.0, size=(count, 1, 2)) * [1.0, 50.0]
    ends = Intervals.of(errors).ends  # (levels, 2, 1, 2)
    for at, level in enumerate(STORED):
        for target in range(2):
            own = sorted(errors[:, 0, target].tolist())
            if count < MANY:
                scale = np.mean(np.abs(own)) * np.sqrt(np.pi / 2)
                high = stats.t(count).ppf((1 + level) / 2) * scale
                low = -high
            else:
                beyond = int((count + 1) * (1 - level) / 2 + 1e-9)
                low, high = own[beyond - 1], own[-beyond]
            assert ends[at, :, 0, target].tolist() == pytest.approx([low, high]), (level, target)


def test_every_month_of_two_hundred_has_both_intervals(rng):
    """A fifth of 200 steps: 40 origins, of which 29 know the error 12 steps ahead."""
    found = Intervals.of(backtest_errors(rng, 40, 12))
    ends = found.around(np.zeros((1, 12, 1)), np.ones((1, 1)))
    assert np.isfinite(ends).all()
    assert found.notes(12) == ()


def test_levels_between_those_stored_lie_between_them_and_wider_ones_contain_narrower(rng):
    found = Intervals.of(backtest_errors(rng, 30, 3))
    zero, one = np.zeros((1, 3, 1)), np.ones((1, 1))
    levels = tuple(np.linspace(0.01, 0.99, 99).tolist())
    low, high = found.around(zero, one, levels)[:, :, 0, :, 0].swapaxes(0, 1)
    assert (np.diff(low, axis=0) <= 0).all()
    assert (np.diff(high, axis=0) >= 0).all()
    np.testing.assert_allclose(high[[79, 94]], found.around(zero, one)[:, 1, 0, :, 0], rtol=1e-12)
    np.testing.assert_allclose(high[76], 0.6 * high[74] + 0.4 * high[79])  # 77 % of 75 and 80
    np.testing.assert_allclose(high[0], 0.2 * high[4])  # 1 % of 0 and 5


# What lies inside, of series whose truth is known.

STEPS, AHEAD, ORIGINS = 120, 12, 30  # of a series, of a forecast, of a backtest
SERIES = 250


def make_series(kind: str, rng) -> np.ndarray:
    """Series (series, STEPS + AHEAD) of a kind."""
    noise = rng.normal(size=(SERIES, STEPS + AHEAD))
    if kind == "random walk":
        return noise.cumsum(1)
    if kind == "autoregression":
        values = noise.copy()
        for step in range(1, values.shape[1]):
            values[:, step] += 0.7 * values[:, step - 1]
        return values
    steps = np.arange(STEPS + AHEAD)
    return noise + (3 * np.sin(steps * np.pi / 6) if kind == "season" else 0.1 * steps)


def forecast_series(kind: str, values: np.ndarray, origin: int, known: int) -> np.ndarray:
    """Forecasts (AHEAD,) after an origin, of a model fitted on the first ``known`` values."""
    fitted, ahead = values[:known], np.arange(1, AHEAD + 1)
    if kind == "random walk":
        return np.full(AHEAD, values[origin])
    if kind == "autoregression":
        rest = fitted - fitted.mean()
        rate = rest[1:] @ rest[:-1] / (rest @ rest)
        return fitted.mean() + (values[origin] - fitted.mean()) * rate**ahead
    if kind == "season":
        return np.array([fitted[at % 12 :: 12].mean() for at in origin + ahead])
    slope, level = np.polyfit(np.arange(known), fitted, 1)
    return level + slope * (origin + ahead)


@pytest.mark.parametrize("kind", ["random walk", "autoregression", "season", "trend"])
def test_intervals_hold_what_they_promise_where_the_truth_is_known(kind, rng):
    """Of forecasts by a model that fits, from a backtest with two or three separate horizons."""
    inside = np.zeros((len(LEVELS), AHEAD))
    for values in make_series(kind, rng):
        first = STEPS - ORIGINS
        errors = np.full((ORIGINS, AHEAD, 1), np.nan)
        for at in range(ORIGINS):
            origin = first - 1 + at
            shown = min(AHEAD, STEPS - 1 - origin)
            ahead = forecast_series(kind, values, origin, first)[:shown]
            errors[at, :shown, 0] = values[origin + 1 : origin + 1 + shown] - ahead
        ends = Intervals.of(errors).ends[[STORED.index(level) for level in LEVELS], :, :, 0]
        left = values[STEPS:] - forecast_series(kind, values, STEPS - 1, STEPS)
        inside += (ends[:, 0] <= left) & (left <= ends[:, 1])
    shares = inside / SERIES
    assert (shares.mean(1) >= [0.77, 0.93]).all(), shares.mean(1)
    assert (shares.mean(1) <= [0.86, 0.98]).all(), shares.mean(1)
    assert (shares[0] >= 0.73).all(), shares[0]  # at every step: its standard error is 0.025
    assert (shares[0] <= 0.93).all(), shares[0]


def test_ends_of_independent_errors_cover_what_they_promise_at_every_step(rng):
    """Of 300 parts of 18 steps; the standard error of a mean is below 0.02 at each step."""
    inside = np.zeros((len(LEVELS), 12))
    trials = 300
    for _ in range(trials):
        found = Intervals.of(backtest_errors(rng, 18, 12))
        ends = found.around(np.zeros((1, 12, 1)), np.ones((1, 1)))[:, :, 0, :, 0]
        fresh = rng.normal(size=(50, 1, 12)) * np.arange(1, 13) ** 0.5
        inside += ((ends[:, 0] <= fresh) & (fresh <= ends[:, 1])).mean(0)
    shares = inside / trials
    assert (shares >= [[0.78], [0.92]]).all()
    assert (shares[:, :8] <= [[0.93], [0.99]]).all()
    assert (shares[0] <= 0.93).all()  # with 10 errors and fewer, 95 % are wider than they need be


def test_an_interval_is_wider_where_few_separate_errors_are_known(rng):
    """The same errors, as of many sequences, and as of one whose neighbours are alike."""
    walk = rng.normal(size=60).cumsum()
    errors = np.stack([walk[lead + 1 : 45 + lead] - walk[:44] for lead in range(12)], 1)[..., None]
    together, apart = Intervals.of(errors), Intervals.of(errors, np.arange(44))
    ratio = together.ends[:, 1] / apart.ends[:, 1]
    np.testing.assert_allclose(ratio[:, 0], 1.0, rtol=0.02)
    assert (ratio[:, 11] > 1.02).all()
    assert (ratio[STORED.index(0.95), 11] > 1.1).all()


def test_late_steps_with_one_independent_error_have_intervals_of_the_errors_of_all_steps():
    """A year ahead from 36 months: 14 steps are held out, and 3 origins know the last error.

    Student's t with one degree of freedom would make 95 % intervals 6.5 times as wide as known
    deviations do.
    """
    rng, wide, inside = np.random.default_rng(4), [], []
    for _ in range(300):
        noise = rng.normal(size=14)  # the error of each step, forecast from whatever origin
        errors = np.full((14, 12, 1), np.nan)
        for origin in range(14):
            errors[origin, : 14 - origin, 0] = noise[origin : origin + 12]
        high = Intervals.of(errors).ends[STORED.index(0.95), 1, :, 0]
        wide.append(high)
        inside.append(np.abs(rng.normal(size=(50, 12))) < high)
    assert (np.median(wide, axis=0) < 2.5 * 1.96).all()
    assert (np.mean(inside, axis=(0, 1)) > 0.93).all()


def test_pooled_deviations_are_those_of_a_regression_with_a_prior():
    """Against the posterior of a linear model, by rows of data and of the prior."""
    absolute = np.array([[1.0], [1.8], [1.1], [2.5]])
    free = np.array([[9.0], [5.0], [3.0], [1.0]])
    deviations, degrees = pool_deviations(absolute, free)
    own = np.sqrt(np.pi / 2) * absolute[:, 0]
    counts = free[:, 0] * np.sqrt(9 * 4.5) / 18
    rows = np.column_stack([np.ones(4), np.log([1, 2, 3, 4])])
    weighted = np.vstack([rows * np.sqrt(2 * counts)[:, None], [0, 1 / 0.3]])
    wanted = np.append(np.log(own) * np.sqrt(2 * counts), 0.5 / 0.3)
    line = rows @ np.linalg.lstsq(weighted, wanted)[0]
    worth = 0.5 / np.diag(rows @ np.linalg.inv(weighted.T @ weighted) @ rows.T)
    power = (worth * np.exp(2 * line) + free[:, 0] * own**2) / (worth + free[:, 0])
    np.testing.assert_allclose(deviations[:, 0], np.sqrt(power))
    own_degrees = free[:, 0]
    np.testing.assert_allclose(degrees[:, 0], (np.maximum(worth, own_degrees) + own_degrees) / 2)


def test_a_step_without_errors_takes_its_deviation_from_the_others_and_none_from_none():
    absolute = np.array([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    deviations, degrees = pool_deviations(absolute, np.full((3, 2), 4.0))
    assert 0 < deviations[1, 0] < deviations[0, 0]
    assert deviations[:, 1].tolist() == [0.0, 0.0, 0.0]
    assert (degrees >= 4).all()


def test_steps_with_fewer_errors_than_three_are_widened_from_the_widest(rng):
    errors = backtest_errors(rng, 12, 12)
    errors[:, 3] *= 9  # the widest
    found = Intervals.of(errors)
    last = 12 - MIN_ERRORS + 1
    assert found.known == last
    ends = found.around(np.zeros((1, 40, 1)), np.ones((1, 1)))[:, :, 0, :, 0]
    for level, own in zip(LEVELS, ends, strict=True):
        for lead in range(last, 40):
            expected = found.ends[STORED.index(level), :, 3, 0] * np.sqrt((lead + 1) / last)
            np.testing.assert_allclose(own[:, lead], expected, rtol=1e-12)
    assert "Errors are known up to 10 steps ahead" in found.notes(11)[0]
    assert found.notes(10) == ()


@pytest.mark.parametrize(("steps", "blank"), [(1, True), (2, True), (3, False), (9, False)])
def test_too_few_errors_leave_all_levels_blank_with_a_reason(rng, steps, blank):
    found = Intervals.of(backtest_errors(rng, steps, steps))
    ends = found.around(np.zeros((1, steps, 1)), np.ones((1, 1)))
    assert np.isnan(ends).all() == blank
    assert np.isfinite(ends).all() != blank
    errors = "1 error" if steps == 1 else f"{steps} errors"
    reason = f"There are no intervals: the test part gave {errors} of the first step ahead, and 3"
    assert found.notes(steps)[0].startswith(reason) == blank
    again = Intervals.from_numbers(found.as_numbers())
    np.testing.assert_allclose(again.ends, found.ends, rtol=1e-5)
    assert (again.levels, again.errors.tolist()) == (found.levels, found.errors.tolist())


def test_intervals_of_older_files_have_two_levels_some_of_them_blank():
    ends = [-1.0, -2.0, 1.0, 3.0, None, None, None, None]
    found = Intervals.from_numbers({"ends": ends, "shape": [2, 2, 2, 1], "errors": [4, 3]})
    low, high = found.around(np.zeros((1, 2, 1)), np.ones((1, 1)))[:, :, 0, :, 0].swapaxes(0, 1)
    np.testing.assert_array_equal(low, [[-1, -2], [np.nan, np.nan]])
    np.testing.assert_array_equal(high, [[1, 3], [np.nan, np.nan]])
    with pytest.raises(ValueError, match="levels of its intervals are not as they were written"):
        Intervals.from_numbers({"ends": ends[:4], "shape": [1, 2, 2, 1], "errors": [4, 3]})
