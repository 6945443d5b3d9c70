"""Intervals of means and shares against SciPy, sums written out, and simulated runs."""

import json
import math
import statistics
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import legato
from legato import InputError, Interval, Proportion, interval, proportion

thorough = settings(max_examples=100, deadline=None, derandomize=True, database=None)
levels = st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99])
# Coarse enough that no two differ by less than rounding.
several_scores = st.lists(st.integers(-640, 640), min_size=2, max_size=12).map(
    lambda whole: [each / 64 for each in whole]
)
scores_that_differ = several_scores.filter(lambda scores: len(set(scores)) > 1)


# Means.


def ends(found):
    return [found.low, found.high]


@thorough
@given(scores=scores_that_differ, level=levels)
def test_an_interval_is_scipys(scores, level):
    found = interval(scores, level)
    expected = stats.ttest_1samp(scores, 0.0).confidence_interval(level)
    np.testing.assert_allclose(ends(found), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.mean, statistics.mean(scores), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.deviation, statistics.stdev(scores), rtol=1e-12)
    assert (found.count, found.level, found.method) == (len(scores), level, "t")


@thorough
@given(scores=scores_that_differ, shift=st.integers(-9, 9), seed=st.integers(0, 9))
def test_an_interval_shifts_and_scales_with_its_scores(scores, shift, seed):
    found, order = interval(scores), np.random.default_rng(seed).permutation(len(scores))
    assert interval(np.array(scores)[order]) == found
    moved = interval(np.array(scores) + shift)
    np.testing.assert_allclose(ends(moved), np.add(ends(found), shift), atol=1e-9)
    scaled = interval(np.array(scores) * -3)
    np.testing.assert_allclose(ends(scaled), -3 * np.array(ends(found))[::-1], atol=1e-9)


@pytest.mark.parametrize(("level", "count"), [(0.95, 3), (0.95, 30), (0.8, 5)])
def test_coverage_of_the_mean_is_as_stated(rng, level, count):
    """Of 4,000; the standard error of the share is at most 0.0064."""
    found = [interval(scores, level) for scores in rng.normal(2.0, 3.0, size=(4_000, count))]
    held = np.mean([each.low <= 2.0 <= each.high for each in found])
    assert abs(held - level) < 0.02


def test_the_bootstrap_is_scipys_on_demand(rng):
    scores = rng.gamma(0.5, size=40)
    found = interval(scores, 0.9, method="bootstrap", seed=3)
    expected = stats.bootstrap(
        (np.sort(scores),), np.mean, confidence_level=0.9, rng=3
    ).confidence_interval
    assert ends(found) == list(expected)
    assert found == interval(scores[::-1], 0.9, method="bootstrap", seed=3)
    assert found != interval(scores, 0.9, method="bootstrap", seed=4)
    assert found.high - found.mean > found.mean - found.low  # it leans the way the scores do
    assert interval(scores, method="t").method == "t"


@pytest.mark.parametrize("scores", [[0.0, 1.0], [0, 0, 0, 0, 5], [1.0, 1.0, 1.00001]])
def test_the_bootstrap_of_few_scores_stays_within_them(scores):
    low, high = ends(interval(scores, method="bootstrap"))
    assert min(scores) <= low <= high <= max(scores)


def test_shares_are_printed_in_percent_and_stay_within_0_and_1():
    found = interval([0.9, 1.0, 1.0, 1.0], unit="%")
    assert found.high == 1.0
    assert interval([0.9, 1.0, 1.0, 1.0]).high > 1
    assert str(found) == (
        "98 % on average, 95 % interval 90 to 100 %, 4 seeds (standard deviation 5 points)."
    )
    low = interval([0.0, 0.0, 0.1], unit="%").low
    assert low == 0.0


@pytest.mark.parametrize("count", [2, 3, 10, 30])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_identical_scores_bound_the_share_of_other_values(count, level):
    """Whatever the distribution, it is wrong in at most 1 - level of all tries.

    The worst ones have several scores that come equally often: they are tried up to 500.
    """
    found = interval([0.25] * count, level)
    assert (found.mean, found.low, found.high, found.deviation) == (0.25, None, None, 0.0)
    for scores in range(1, 500):
        others = 1 - Fraction(1, scores)
        all_the_same = scores * Fraction(1, scores) ** count
        assert others <= found.otherwise + 1e-12 or all_the_same <= 1 - level + 1e-12


def test_rounding_of_float32_is_no_spread():
    scores = [0.84, float(np.float32(0.84)), np.float64(np.float32(0.84))]
    assert interval(scores).low is None
    assert interval(scores).otherwise is not None
    assert interval([0.84, 0.8401]).otherwise is None
    assert interval([0.0, 0.0]).mean == 0.0


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (
            interval([100, 200, 310], unit="ms"),
            "203 ms on average, 95 % interval -58 to 464 ms, 3 seeds (standard deviation 105 ms).",
        ),
        (
            interval([0.0012, 0.0013, 0.0012, 0.0011], 0.999),
            "0.0012 on average, 99.9 % interval 0.0007 to 0.0017, 4 seeds "
            "(standard deviation 0.0001).",
        ),
        (
            interval([1234567, 1234568, 1234568]),
            "1,234,567.7 on average, 95 % interval 1,234,566.2 to 1,234,569.1, 3 seeds "
            "(standard deviation 0.6).",
        ),
        (
            interval([1.0] * 30, unit="%"),
            "100 % in each of 30 seeds: they have no spread to take an interval from; with 95 % "
            "confidence at most 9.8 % of seeds score otherwise.",
        ),
        (
            interval([-1e-12, 1e-12]),
            "0 on average, 95 % interval -1.27062e-11 to 1.27062e-11, 2 seeds "
            "(standard deviation 1.41421e-12).",
        ),
    ],
)
def test_an_interval_in_a_sentence(found: Interval, sentence):
    assert str(found) == sentence


# Shares.


@thorough
@given(count=st.integers(1, 60), share=st.floats(0, 1), level=levels)
def test_at_the_ends_of_wilsons_interval_the_share_is_z_standard_errors_away(count, share, level):
    successes = round(share * count)
    found = proportion(successes, count, level)
    assert 0 <= found.low <= found.share <= found.high <= 1
    far = statistics.NormalDist().inv_cdf((1 + level) / 2)
    for end in ends(found):
        away = (found.share - end) ** 2 * count
        np.testing.assert_allclose(away, far**2 * end * (1 - end), atol=1e-9)


def chance_of(successes, count, share):
    return math.comb(count, successes) * share**successes * (1 - share) ** (count - successes)


@thorough
@given(count=st.integers(1, 40), share=st.floats(0, 1), level=levels)
def test_outside_the_exact_interval_the_outcome_is_too_rare(count, share, level):
    successes = round(share * count)
    low, high = ends(proportion(successes, count, level, method="exact"))
    as_many = sum(chance_of(each, count, low) for each in range(successes, count + 1))
    as_few = sum(chance_of(each, count, high) for each in range(successes + 1))
    np.testing.assert_allclose(as_many, (1 - level) / 2 if successes else 1, atol=1e-9)
    np.testing.assert_allclose(as_few, (1 - level) / 2 if successes < count else 1, atol=1e-9)


@pytest.mark.parametrize("count", [5, 10, 30])
def test_coverage_of_the_share_is_as_stated(count):
    """By every outcome there is: the exact interval always, Wilson's on average."""
    shares = np.linspace(0.01, 0.99, 99)
    held = {}
    for method in ("exact", "wilson"):
        found = [proportion(each, count, method=method) for each in range(count + 1)]
        held[method] = [
            sum(
                chance_of(each.successes, count, share)
                for each in found
                if each.low <= share <= each.high
            )
            for share in shares
        ]
    assert min(held["exact"]) >= 0.95
    assert abs(np.mean(held["wilson"]) - 0.95) < 0.015


def test_booleans_are_counted():
    accuracies = np.array([1, 1, 0.96, 1])
    found = proportion(accuracies == 1, did="reached 100 %")
    assert found == proportion(3, 4, did="reached 100 %")
    assert proportion([True, False]) == proportion(1, 2)
    assert str(found) == "3 of 4 seeds reached 100 %, 95 % interval 30 to 95 %."
    assert str(proportion(1, 1)) == "1 of 1 seeds succeeded, 95 % interval 21 to 100 %."
    assert str(proportion(9_890, 10_000, 0.9)) == (
        "9,890 of 10,000 seeds succeeded, 90 % interval 98.71 to 99.06 %."
    )


@pytest.mark.parametrize(
    "found", [interval([1, 2]), interval([1, 1]), proportion(np.int64(1), np.int64(2))]
)
def test_intervals_survive_json(found: Interval | Proportion):
    numbers = found.as_numbers()
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers
    assert numbers["sentence"] == str(found)
    assert {"level", "low", "high", "count"} <= numbers.keys()


# Errors.

NAN = float("nan")


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([], "The scores are 0; the spread over seeds needs at least 2"),
        ([0.9], "The scores are 1; the spread"),
        (0.9, r"The scores have shape \(\); expected \(seeds,\), one score per seed"),
        (np.ones((3, 10)), r"have shape \(3, 10\); .* such as the last epoch's"),
        ([0.9, NAN, 0.8, NAN], r"NaN, infinite .* for 2 of 4 seeds, counted from 0: 1 and 3\. A r"),
        ([0.9, math.inf], "for 1 of 2 seeds, counted from 0: 1. A run that failed is a result"),
        ([NAN] * 9, "for 9 of 9 seeds, counted from 0: 0, 1, 2, 3, 4 and 4 more"),
        ([1e200, 1.0], r"beyond 1e\+100 for 1 of 2 seeds, counted from 0: 0"),
        ([True, False], "are not numbers: bool came. .* legato.proportion counts booleans"),
        (["0.9", "0.8"], "are not numbers: <U3 came"),
        ([0.9, None], "are not numbers: object came"),
        ([[0.9], [0.8, 0.7]], "are not numbers: setting an array element with a sequence"),
        ([1j, 2], "are not numbers: complex128 came"),
    ],
)
def test_invalid_scores_are_refused(scores, message):
    with pytest.raises(InputError, match=message):
        interval(scores)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: interval([1, 2], 95), "level=95 must lie between 0 and 1, such as 0.95"),
        (lambda: interval([1, 2], 0), "level=0 must lie"),
        (lambda: interval([1, 2], 1.0), "level=1.0 must lie"),
        (lambda: interval([1, 2], NAN), "level=nan must lie"),
        (lambda: interval([1, 2], "95%"), "level='95%' must lie"),
        (lambda: interval([84, 88], unit="%"), r"run from 84 to 88, and unit='%' is for shares"),
        (lambda: interval([-0.1, 1], unit="%"), r"run from -0.1 to 1, .* such as unit='points'"),
        (lambda: interval([1, 2], method="z"), "method is 'z'; one of 't', 'bootstrap' was"),
        (lambda: interval([1, 2], method="bootstrap", seed=-1), "seed is -1; a whole number"),
        (lambda: proportion(11, 10), "11 successes of 10 seeds cannot be"),
        (lambda: proportion(-1, 10), "-1 successes of 10 seeds cannot be"),
        (lambda: proportion(0, 0), "0 successes of 0 seeds cannot be; .* at least one seed"),
        (lambda: proportion(0.9, 10), "0.9 successes of 10 seeds cannot be; expected whole numb"),
        (lambda: proportion(9), "successes=9 came without a count; expected booleans"),
        (lambda: proportion([1, 0, 1]), r"successes=\[1, 0, 1\] came without a count"),
        (lambda: proportion(np.ones(0, bool)), "came without a count; expected booleans, one per"),
        (lambda: proportion(np.ones((2, 2), bool)), "one per seed, as accuracies == 1 gives"),
        (lambda: proportion([True], 1), r"\[True\] successes of 1 seeds cannot be"),
        (lambda: proportion(9, 10, 1.5), "level=1.5 must lie between 0 and 1"),
        (lambda: proportion(9, 10, method="wald"), "one of 'wilson', 'exact' was expected"),
    ],
)
def test_invalid_arguments_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_scores_may_be_any_kind_of_array():
    jnp = pytest.importorskip("jax.numpy")
    expected = interval([0.5, 0.75])
    for scores in ((0.5, 0.75), np.float16([0.5, 0.75]), jnp.array([0.5, 0.75])):
        assert interval(scores) == expected
    assert interval(range(4)).mean == 1.5
    assert legato.interval([np.float32(0.5), jnp.float32(0.75)]) == expected
