"""Differences of errors against plain loops and SciPy, and how often chance makes a claim."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from legato._forecasting.paired_differences import (
    design_effect,
    origin_blocks,
    paired_difference,
    upcoming_forecasts,
)


def of_one_sequence(one, other, blocks, upcoming=1):
    """The difference of errors from origins of one sequence, (origins,) or (origins, horizon)."""
    one, other = (each.reshape(len(blocks), -1) for each in (one, other))
    return paired_difference(one, other, blocks, np.zeros(len(blocks), int), upcoming)


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
    found = of_one_sequence(one, other, blocks, upcoming)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)
    assert found.mean == pytest.approx(mean)
    assert found.is_below == (high < 0)
    assert found.is_above == (low > 0)
    mirrored = of_one_sequence(other, one, blocks, upcoming)
    assert (mirrored.low, mirrored.high) == pytest.approx((-high, -low))
    larger = of_one_sequence(1e6 * one, 1e6 * other, blocks, upcoming)
    assert (larger.low, larger.high) == pytest.approx((low, high))


def test_two_forecasters_without_an_error_are_equal():
    found = of_one_sequence(np.zeros(4), np.zeros(4), np.arange(4))
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
        found = of_one_sequence(one[:steps], other[:steps], blocks, upcoming)
        relative = ((one - other) / (one + other))[later].mean()
        wrong += (found.is_below and relative >= 0) or (found.is_above and relative <= 0)
    assert wrong / trials < 0.04


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_blocks_show_nothing(count):
    found = of_one_sequence(np.zeros(count), np.full(count, 9.0), np.arange(count))
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
        found = of_one_sequence(one, other, blocks)
        claims += found.is_below or found.is_above
    assert claims / trials < 0.06


def panel(rng, sequences, common, horizon=12):
    """Signed differences of two equally good forecasters in a panel, (sequences, 2 × horizon): the
    steps that are scored and the next, whose shocks are common to all by a share."""
    alone = rng.normal(size=(sequences, 2 * horizon))
    return np.sqrt(1 - common) * alone + np.sqrt(common) * rng.normal(size=2 * horizon)


@pytest.mark.parametrize("common", [0.0, 0.3, 0.9])
def test_sequences_that_rise_and_fall_together_seldom_make_a_claim(common, rng):
    """One origin in each of 20 sequences."""
    trials, sequences, claims = 1_000, 20, 0
    for _ in range(trials):
        shocks = panel(rng, sequences, common)[:, :12]
        one, other = 1 + 0.3 * np.tanh(shocks), 1 - 0.3 * np.tanh(shocks)
        each = np.arange(sequences)
        found = paired_difference(one, other, each, each)
        claims += found.is_below or found.is_above
    assert claims / trials < 0.06


def test_the_design_effect_is_one_of_independent_sequences_and_their_number_of_equal_ones(rng):
    steps = rng.normal(size=(1, 5000))
    assert design_effect(np.repeat(steps, 7, axis=0)) == pytest.approx(7)
    assert design_effect(rng.normal(size=(7, 5000))) == pytest.approx(1, abs=0.05)
    half = np.sqrt(0.5) * (steps + rng.normal(size=(7, 5000)))  # pairs correlate by a half
    assert design_effect(half) == pytest.approx(1 + 6 * 0.5, rel=0.05)
    assert design_effect(np.ones((7, 3))) == 1


def test_equal_sequences_are_as_good_as_one(rng):
    one, other = rng.gamma(2.0, size=(2, 10, 3))
    sequence, blocks = np.repeat(np.arange(4), 10), np.arange(40)
    many = paired_difference(np.tile(one, (4, 1)), np.tile(other, (4, 1)), blocks, sequence)
    alone = of_one_sequence(one, other, np.arange(10))
    assert (many.mean, many.low, many.high) == pytest.approx((alone.mean, alone.low, alone.high))
    assert many.blocks == 10
