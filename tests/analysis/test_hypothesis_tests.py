"""``compare`` and ``corrected`` against SciPy and simulated runs.

Errors are simulated both ways: without a difference, one may be found in 1 of 20 tries; with as
many seeds as are said to be needed, a difference must be found in 4 of 5. Such tests are slow.
"""

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from score_strategies import either, thorough

from legato import InputError, compare, corrected, interval
from legato._analysis.statistics.comparison import seeds_needed


def ends(found):
    return [found.low, found.high]


# Intervals and effects.


@thorough
@given(case=either, level=st.sampled_from([0.8, 0.95, 0.99]))
def test_intervals_are_scipys(case, level):
    x, y, paired = case
    found = compare(x, y, paired=paired, level=level)
    np.testing.assert_allclose(found.difference, np.mean(x) - np.mean(y), atol=1e-12)
    if not (np.std(np.subtract(x, y)) if paired else np.std(x) + np.std(y)):
        assert ends(found) == [None, None]
        assert found.effect is None
        return
    test = stats.ttest_rel(x, y) if paired else stats.ttest_ind(x, y, equal_var=False)
    np.testing.assert_allclose(ends(found), test.confidence_interval(level), rtol=1e-9, atol=1e-9)
    assert (found.one, found.other) == (interval(x, level), interval(y, level))


@thorough
@given(case=either)
def test_dominance_is_the_difference_of_shares_of_higher_scores(case):
    x, y, paired = case
    against = [*zip(x, y, strict=True)] if paired else [*itertools.product(x, y)]
    lead = sum((one > other) - (one < other) for one, other in against)
    dominance = compare(x, y, paired=paired, permutations=99).dominance
    assert dominance == pytest.approx(lead / len(against))
    if not paired:
        u = stats.mannwhitneyu(x, y, method="asymptotic").statistic if len({*x, *y}) > 1 else None
        assert u is None or dominance == pytest.approx(2 * u / len(against) - 1)


@pytest.mark.slow
def test_the_effect_size_is_unbiased(rng):
    """Of 3,000 draws from normal scores that lie 1 deviation apart; standard error below 0.02."""
    x, y = rng.normal(1.0, size=(3_000, 4)), rng.normal(0.0, size=(3_000, 6))
    found = [compare(*both, permutations=1).effect for both in zip(x, y, strict=True)]
    assert abs(np.mean(found) - 1) < 0.06
    apart = rng.normal(1.0, size=(3_000, 6))
    found = [compare(a, a * 0, paired=True, permutations=1).effect for a in apart]
    assert abs(np.mean(found) - 1) < 0.06
    pooled = math.sqrt((2 * 1 + 3 * 4) / 5)
    found = compare([1, 2, 3], [1, 1, 1 + math.sqrt(12), 1 + math.sqrt(12)]).effect
    about = (1 - 3 / (4 * 5 - 1)) * (2 - 1 - math.sqrt(3)) / pooled  # Hedges' approximation
    assert found == pytest.approx(about, rel=5e-3)
    assert compare([1, 2], [2, 4], paired=True).effect is None


@thorough
@given(case=either, seed=st.integers(0, 9), permutations=st.sampled_from([50, 1_000]))
def test_invariance_to_order_sides_shift_and_scale(case, seed, permutations):
    x, y, paired = case

    def by(x, y):
        return compare(x, y, paired=paired, permutations=permutations, seed=seed)

    def numbers_of(found):
        return [found.difference, found.low or 0, found.high or 0]

    def same(found, other, sign=1):
        assert found.p == other.p
        assert found.dominance == pytest.approx(sign * other.dominance)
        assert (found.effect is None) == (other.effect is None)
        if found.effect is not None:
            assert found.effect == pytest.approx(sign * other.effect, abs=1e-9)

    x, y, rng = np.array(x), np.array(y), np.random.default_rng(seed)
    found, order = by(x, y), rng.permutation(len(x))
    shuffled = by(x[order], y[order if paired else rng.permutation(len(y))])
    same(shuffled, found)
    np.testing.assert_allclose(numbers_of(shuffled), numbers_of(found), atol=1e-9)
    swapped = by(y, x)
    same(swapped, found, -1)
    np.testing.assert_allclose(
        numbers_of(swapped),
        -np.array(numbers_of(found))[[0, 2, 1]],
        atol=1e-9,
    )
    moved = by(x + 5, y + 5)
    same(moved, found)
    np.testing.assert_allclose(numbers_of(moved), numbers_of(found), atol=1e-9)
    scaled = by(x / 8, y / 8)
    same(scaled, found)
    np.testing.assert_allclose(numbers_of(scaled), np.array(numbers_of(found)) / 8, atol=1e-9)
    apart = by(x + 1, y)
    assert apart.difference == pytest.approx(found.difference + 1)


any_scores = st.lists(st.floats(), min_size=1, max_size=6)


@settings(thorough, max_examples=300)
@given(x=any_scores, y=any_scores, paired=st.booleans(), unit=st.sampled_from(["", "%"]))
def test_any_scores_give_a_sentence_or_an_error(x, y, paired, unit):
    try:
        found = compare(x, y, paired=paired, unit=unit, permutations=99, margin=1)
    except InputError:
        return
    assert str(found).endswith(".")
    for each in found.one, corrected([found])[0]:
        json.dumps(each.as_numbers(), allow_nan=False)


# Error rates.


def share_found(draw, tries, **how):
    """The shares of tries with a difference: found, by p alone, and by the interval alone."""
    found = [compare(*draw(), permutations=399, **how) for _ in range(tries)]
    return [
        float(np.mean([each.finding != "undecided" for each in found])),
        float(np.mean([each.p <= 0.05 for each in found])),
        float(np.mean([not each.low <= 0 <= each.high for each in found])),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: rng.normal(size=(2, 10)),
        lambda rng: rng.exponential(size=(2, 8)),
        lambda rng: rng.binomial(25, 0.9, size=(2, 12)) + rng.normal(0, 1e-3, (2, 12)),
        lambda rng: (rng.normal(size=5), rng.normal(size=25)),
    ],
)
@pytest.mark.parametrize("paired", [False, True])
def test_without_a_difference_few_are_found(rng, draw, paired):
    """At most 5 %; of 500 tries the standard error is 1 %."""
    if paired and len(draw(rng)[0]) == 5:
        return
    found, by_p, _ = share_found(lambda: draw(rng), 500, paired=paired)
    assert found <= by_p <= 0.08


@pytest.mark.slow
def test_few_seeds_of_larger_spread_mislead_p_but_not_the_interval(rng):
    def draw():
        return rng.normal(0, 1, 25), rng.normal(0, 4, 5)

    found, by_p, by_interval = share_found(draw, 500)
    assert by_p > 0.1
    assert found <= by_interval < 0.08


@pytest.mark.slow
@pytest.mark.parametrize(
    ("difference", "deviations"),
    [(1.0, (1.0, 1.0)), (3.0, (1.0, 1.0)), (1.5, (1.0, 3.0)), (1.0, (1.0,)), (0.8, (1.0,))],
)
def test_the_seeds_needed_find_a_difference_in_4_of_5_tries(rng, difference, deviations):
    """Of 500; the standard error is 1.8 %."""
    seeds = seeds_needed(difference, deviations, alpha=0.05, power=0.8)

    def draw():
        other = rng.normal(0, deviations[-1], seeds)
        if len(deviations) == 1:
            return other * 3 + difference, other * 2
        return rng.normal(difference, deviations[0], seeds), other

    found = share_found(draw, 500, paired=len(deviations) == 1)[0]
    assert 0.74 < found < 0.88


# Several comparisons.


def test_a_p_of_just_1_minus_the_level_is_enough():
    """Of 3 seeds each 2 of 20 arrangements are as far out, and 1 - 0.9 is not quite 0.1."""
    assert compare([7, 8, 9], [1, 2, 3], level=0.9).finding == "higher"


def closed(alone):
    """Holm's p by the closure of Bonferroni's: the largest over all sets that one is in."""
    sets = [
        chosen
        for size in range(1, len(alone) + 1)
        for chosen in itertools.combinations(range(len(alone)), size)
    ]
    return [
        max(min(1, len(each) * min(alone[at] for at in each)) for each in sets if one in each)
        for one in range(len(alone))
    ]


def stepped_up(alone):
    """Benjamini and Hochberg's: the smallest rate at which it is among those that are found."""
    return [
        min([1, *(p * len(alone) / sum(q <= p for q in alone) for p in alone if p >= one)])
        for one in alone
    ]


@thorough
@given(alone=st.lists(st.integers(1, 100).map(lambda each: each / 100), min_size=1, max_size=7))
def test_corrections_follow_their_definitions(alone):
    given_ = [dataclasses.replace(compare([1, 2], [3, 5]), p=p, p_alone=p) for p in alone]
    for method, definition in [("holm", closed), ("benjamini-hochberg", stepped_up)]:
        found = corrected(given_, method)
        np.testing.assert_allclose([each.p for each in found], definition(alone), atol=1e-12)
        assert [each.p_alone for each in found] == alone
        assert {(each.correction, each.comparisons) for each in found} == {(method, len(alone))}
        assert corrected(corrected(found, "holm"), method) == found


@pytest.mark.slow
def test_twenty_corrected_comparisons_of_equals_find_something_in_one_of_twenty_tries(rng):
    def any_found():
        found = [compare(*rng.normal(size=(2, 8)), permutations=999) for _ in range(20)]
        return [
            any(each.finding != "undecided" for each in several)
            for several in (found, corrected(found))
        ]

    alone, together = np.mean([any_found() for _ in range(60)], axis=0)
    assert alone > 0.4
    assert together < 0.13  # three standard errors above 0.05


# Without spread.


def test_identical_scores_on_both_sides():
    best = compare([1.0] * 30, [1.0] * 30, unit="%")
    assert (best.finding, best.p, best.difference, best.dominance) == ("undecided", 1, 0, 0)
    assert (best.low, best.high, best.effect, best.seeds_needed()) == (None, None, None, None)
    apart = compare([1.0] * 10, [0.84] * 10)
    assert (apart.finding, apart.low, apart.effect) == ("higher", None, None)
    assert apart.p == 2 / math.comb(20, 10)
    assert compare([1, 1], [2, 2]).finding == "undecided"
    half = compare([1.0] * 10, [0.8, 0.9] * 5)
    assert half.finding == "higher"
    assert half.low > 0
    zero = compare([0, 0], [0, 0])
    assert (zero.p, zero.difference) == (1, 0)


def test_pairs_with_identical_differences():
    x = np.array([0.5, 0.6, 0.7, 0.8, 0.9, 0.75])
    found = compare(x + 0.1, x, paired=True)
    assert (found.finding, found.low, found.effect, found.deviation) == ("higher", None, None, 0)
    assert (found.p, found.dominance) == (2 / 2**6, 1)
    same = compare(x, x, paired=True, margin=0.1)
    assert (same.finding, same.p) == ("undecided", 1)


# Errors.


NAN = float("nan")
ONES = [0.5, 0.75, 1.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compare(ONES, [0.5]), "The scores of the second are 1; the spread over seeds n"),
        (
            lambda: compare([0.5, NAN, NAN], ONES, names=("naive", "window")),
            "scores of naive are NaN, infinite or beyond .* for 2 of 3 seeds, .*: 1 and 2. A run",
        ),
        (lambda: compare(ONES, [ONES, ONES]), r"scores of the second have shape \(2, 3\); exp"),
        (lambda: compare(ONES, [True, False]), "The scores of the second are not numbers: bool"),
        (
            lambda: compare(ONES, ONES[:2], paired=True),
            "Pairs need as many scores of both, and the first has 3, the second has 2. Give both",
        ),
        (lambda: compare([84, 88], ONES, unit="%"), "The scores of the first run from 84 to 88"),
        (lambda: compare(ONES, ONES, level=95), "level=95 must lie between 0 and 1"),
        (lambda: compare(ONES, ONES, margin=0), "margin=0 must be a number above 0, such as 0.02"),
        (lambda: compare(ONES, ONES, margin=NAN), "margin=nan must be a number above 0"),
        (lambda: compare(ONES, ONES, permutations=0), "permutations is 0; a whole number of at"),
        (lambda: compare(ONES, ONES, permutations=1e5), "permutations is 100000.0; a whole"),
        (lambda: compare(ONES, ONES, seed=-1), "seed is -1; a whole number of at least 0"),
        (lambda: compare(ONES, ONES, names="ab"), r"names='ab' must be two, such as \('window'"),
        (lambda: compare(ONES, ONES, names=("a", "b", "c")), r"names=\('a', 'b', 'c'\) must be"),
        (lambda: compare(ONES, ONES).seeds_needed(-1), "difference=-1 must be a number above 0"),
        (lambda: compare(ONES, ONES).seeds_needed(1, power=80), "power=80 must be at least 0.5"),
        (lambda: corrected([]), "Comparisons are expected, from legato.compare; none came"),
        (lambda: corrected([0.04]), r"from legato.compare; \['float'\] came"),
        (lambda: corrected([compare(ONES, ONES)], "bonferroni"), "one of 'holm', 'benjamini-"),
    ],
)
def test_invalid_comparisons_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
