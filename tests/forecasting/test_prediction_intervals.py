"""Prediction intervals of steps ahead with few errors, and beyond the last with any."""

import numpy as np
import pytest

from legato._forecasting.prediction_intervals import LEVELS, MIN_ERRORS, Intervals, needed_errors


def backtest_errors(rng, steps: int, leads: int, growth: float = 0.5) -> np.ndarray:
    """Independent errors of rolling origins in a part of ``steps``, growing with the lead."""
    errors = rng.normal(size=(steps, leads, 1)) * (np.arange(1, leads + 1) ** growth)[:, None]
    for origin in range(steps):
        errors[origin, steps - origin :] = np.nan
    return errors


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95, 0.99])
def test_the_needed_errors_are_the_fewest_with_an_end_for_the_level(level):
    count = needed_errors(level)
    assert (count + 1) * (1 - level) / 2 >= 1 - 1e-9
    assert count * (1 - level) / 2 < 1 - 1e-9


def test_every_month_of_two_hundred_has_both_intervals(rng):
    """A fifth of 200 steps: 40 origins, of which 29 know the error 12 steps ahead."""
    found = Intervals.of(backtest_errors(rng, 40, 12))
    ends = found.around(np.zeros((1, 12, 1)), np.ones((1, 1)))
    assert np.isfinite(ends).all()
    assert found.notes(12) == ()


def test_pooled_ends_cover_what_they_promise_at_every_step(rng):
    """Of 300 parts of 18 steps; the standard error of a mean is below 0.02 at each step."""
    inside = np.zeros((len(LEVELS), 12))
    trials = 300
    for _ in range(trials):
        ends = Intervals.of(backtest_errors(rng, 18, 12)).ends[..., 0]
        fresh = rng.normal(size=(50, 1, 12)) * np.arange(1, 13) ** 0.5
        inside += ((ends[:, 0] <= fresh) & (fresh <= ends[:, 1])).mean(0)
    shares = inside / trials
    assert (shares >= [[0.78], [0.92]]).all()
    assert (shares <= [[0.93], [0.99]]).all()  # 17 of 19 is the promise nearest to 80 % from above


def test_steps_with_fewer_errors_than_three_are_widened_from_the_widest(rng):
    errors = backtest_errors(rng, 12, 12)
    errors[:, 3] *= 9  # the widest
    found = Intervals.of(errors)
    last = 12 - MIN_ERRORS + 1
    assert found.known == last
    ends = found.around(np.zeros((1, 40, 1)), np.ones((1, 1)))[:, :, 0, :, 0]
    for level, own in enumerate(ends):
        for lead in range(last, 40):
            expected = found.ends[level, :, 3, 0] * np.sqrt((lead + 1) / last)
            np.testing.assert_allclose(own[:, lead], expected, rtol=1e-12)
    assert "Errors are known up to 10 steps ahead" in found.notes(11)[0]
    assert found.notes(10) == ()


@pytest.mark.parametrize(("steps", "blank"), [(1, "both"), (4, "95"), (9, "none")])
def test_too_few_errors_leave_a_level_blank_with_a_reason(rng, steps, blank):
    found = Intervals.of(backtest_errors(rng, steps, steps))
    total = steps * (steps + 1) // 2
    pooled = sum(count for count in range(steps + 1) if count >= MIN_ERRORS)
    wanted = [f"{100 * level:g} %" for level in LEVELS if pooled < needed_errors(level)]
    notes = found.notes(steps)
    reasons = [note for note in notes if note.startswith("There is no ")]
    assert [note.split(" interval")[0][12:] for note in reasons] == wanted
    assert all(f"gave {total} error" in note for note in reasons)
    ends = found.around(np.zeros((1, steps, 1)), np.ones((1, 1)))
    assert np.isnan(ends).all((1, 2, 3, 4)).tolist() == [
        f"{100 * level:g} %" in wanted for level in LEVELS
    ]
    again = Intervals.from_numbers(found.as_numbers())
    np.testing.assert_array_equal(again.ends, found.ends)
