"""Differences of errors against plain loops and SciPy, and how often chance makes a claim."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from legato._forecasting.paired_differences import (
    origin_blocks,
    paired_difference,
    upcoming_forecasts,
)

thorough = settings(max_examples=150, deadline=None, derandomize=True, database=None)


@thorough
@given(
    spans=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    horizon=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_blocks_are_whole_stretches_of_one_sequence_at_least_a_horizon_long(spans, horizon, seed):
    rng = np.random.default_rng(seed)
    sequence = np.repeat(np.arange(len(spans)) * 2, spans)  # some sequences have no origin
    t = np.concatenate([rng.integers(9) + np.arange(span) for span in spans])
    blocks = origin_blocks(sequence, t, horizon)
    assert np.unique(blocks).tolist() == [*range(blocks.max() + 1)]
    assert (np.diff(blocks) >= 0).all()
    for block in range(blocks.max() + 1):
        own = blocks == block
        assert len(set(sequence[own])) == 1
        span = spans[sequence[own][0] // 2]
        assert own.sum() >= min(horizon, span)
    assert blocks.max() + 1 == sum(max(span // horizon, 1) for span in spans)


@thorough
@given(
    counts=st.lists(st.integers(1, 4), min_size=3, max_size=8),
    seed=st.integers(0, 99),
    upcoming=st.integers(1, 30),
)
def test_the_interval_is_students_of_the_mean_of_the_next_forecasts(counts, seed, upcoming):
    rng = np.random.default_rng(seed)
    blocks = np.repeat(np.arange(len(counts)), counts)
    one, other = rng.gamma(2.0, size=(2, len(blocks)))
    relative = [(a - b) / (a + b) for a, b in zip(one, other, strict=True)]
    mean = np.mean(relative)
    variance = np.mean([(each - mean) ** 2 for each in relative])
    variance *= len(counts) / (len(counts) - 1)  # of so many independent ones
    spread = np.sqrt(variance / upcoming + variance / len(counts))
    low, high = mean + spread * stats.t(len(counts) - 1).ppf([0.025, 0.975])
    found = paired_difference(one, other, blocks, upcoming)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)
    assert found.mean == pytest.approx(mean)
    assert found.is_below == (high < 0)
    assert found.is_above == (low > 0)
    mirrored = paired_difference(other, one, blocks, upcoming)
    assert (mirrored.low, mirrored.high) == pytest.approx((-high, -low))
    larger = paired_difference(1e6 * one, 1e6 * other, blocks, upcoming)
    assert (larger.low, larger.high) == pytest.approx((low, high))


def test_two_forecasters_without_an_error_are_equal():
    found = paired_difference(np.zeros(4), np.zeros(4), np.arange(4))
    assert (found.mean, found.low, found.high) == (0, 0, 0)


@pytest.mark.parametrize(
    ("horizon", "forecasts"), [(1, 12), (2, 6), (5, 2), (8, 2), (12, 1), (99, 1)]
)
def test_the_next_forecasts_are_about_twelve_steps_or_one_horizon(horizon, forecasts):
    assert upcoming_forecasts(horizon) == forecasts


@pytest.mark.parametrize(("horizon", "stretches"), [(1, 12), (4, 4), (12, 6)])
@pytest.mark.parametrize("ratio", [1.0, 0.8, 0.5])
def test_the_next_forecasts_seldom_contradict_a_claim(horizon, stretches, ratio, rng):
    """Errors of two forecasters, of which one is so much better; the claim is of their means."""
    trials, steps = 1_500, stretches * horizon
    upcoming = upcoming_forecasts(horizon)
    wrong = 0
    later = steps + np.arange(upcoming) * horizon  # origins of the next forecasts
    for noise in np.abs(rng.normal(size=(trials, 2, steps + (upcoming + 1) * horizon))):
        one, other = (np.convolve(each, np.full(horizon, 1 / horizon), "valid") for each in noise)
        one = one * ratio
        blocks = origin_blocks(np.zeros(steps, int), np.arange(steps), horizon)
        found = paired_difference(one[:steps], other[:steps], blocks, upcoming)
        relative = ((one - other) / (one + other))[later].mean()
        wrong += (found.is_below and relative >= 0) or (found.is_above and relative <= 0)
    assert wrong / trials < 0.04


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_blocks_show_nothing(count):
    found = paired_difference(np.zeros(count), np.full(count, 9.0), np.arange(count))
    assert (found.low, found.high, found.blocks) == (None, None, count)
    assert not found.is_below
    assert not found.is_above


@pytest.mark.parametrize("horizon", [1, 6])
def test_chance_seldom_makes_a_claim(horizon, rng):
    """Two forecasters that are equally good, whose errors overlap as those of a horizon do."""
    claims, trials, steps = 0, 2_000, 10 * horizon
    for noise in rng.normal(size=(trials, 2, steps + horizon - 1)):
        one, other = (
            np.convolve(np.abs(each), np.full(horizon, 1 / horizon), "valid") for each in noise
        )
        blocks = origin_blocks(np.zeros(steps, int), np.arange(steps), horizon)
        found = paired_difference(one, other, blocks)
        claims += found.is_below or found.is_above
    assert claims / trials < 0.06
