"""Differences of errors against plain loops and SciPy, and how often chance makes a claim."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from legato._forecasting import paired_differences
from legato._forecasting.paired_differences import origin_blocks, paired_difference

thorough = settings(max_examples=150, deadline=None, derandomize=True, database=None)


def test_the_examples_in_the_docstrings():
    assert doctest.testmod(paired_differences).failed == 0


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
@given(counts=st.lists(st.integers(1, 4), min_size=3, max_size=8), seed=st.integers(0, 99))
def test_the_interval_is_students_over_the_means_of_the_blocks(counts, seed):
    rng = np.random.default_rng(seed)
    blocks = np.repeat(np.arange(len(counts)), counts)
    one, other = rng.gamma(2.0, size=(2, len(blocks)))
    means = [np.mean((one - other)[blocks == block]) for block in range(len(counts))]
    found = paired_difference(one, other, blocks)
    expected = stats.ttest_1samp(means, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert found.mean == pytest.approx(np.mean(means))
    assert found.is_below == (expected.high < 0)
    assert found.is_above == (expected.low > 0)


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
    assert claims / trials < (0.06 if horizon == 1 else 0.12)
