"""Permutation tests against all arrangements written out."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from score_strategies import pairs, sides, thorough

from legato import compare


def two_sided(seen, arrangements):
    above = sum(each >= seen for each in arrangements)
    below = sum(each <= seen for each in arrangements)
    return min(Fraction(1), 2 * Fraction(min(above, below), len(arrangements)))


def squared_t(x, y):
    """Welch's t with its sign, squared, exactly; and where nothing varies, infinite."""
    means = [Fraction(sum(side), len(side)) for side in (x, y)]
    squares = [
        sum((score - mean) ** 2 for score in side) / (len(side) - 1) / len(side)
        for side, mean in zip((x, y), means, strict=True)
    ]
    difference, error = means[0] - means[1], sum(squares)
    if error:
        return difference * abs(difference) / error
    return Fraction(0) if not difference else math.copysign(math.inf, difference)


def regroupings(x, y):
    """All arrangements of the scores on two sides."""
    for chosen in itertools.combinations(range(len(x) + len(y)), len(x)):
        rest = [at for at in range(len(x) + len(y)) if at not in chosen]
        both = [*x, *y]
        yield [both[at] for at in chosen], [both[at] for at in rest]


@thorough
@given(both=sides)
def test_p_of_two_sides_is_the_share_of_arrangements_as_extreme(both):
    x, y = both
    found = compare(x, y)
    arrangements = [squared_t(*way) for way in regroupings(x, y)]
    assert (found.seed, found.arrangements) == (None, len(arrangements))
    assert found.p == pytest.approx(float(two_sided(squared_t(x, y), arrangements)), abs=1e-12)


@thorough
@given(both=pairs)
def test_p_of_pairs_is_the_share_of_sign_flips_as_extreme(both):
    apart = [one - other for one, other in zip(*both, strict=True)]
    sums = [
        sum(sign * each for sign, each in zip(signs, apart, strict=True))
        for signs in itertools.product([1, -1], repeat=len(apart))
    ]
    found = compare(*both, paired=True)
    assert (found.seed, found.arrangements) == (None, len(sums))
    assert found.p == pytest.approx(float(two_sided(sum(apart), sums)), abs=1e-12)


@thorough
@given(both=sides.filter(lambda both: len(both[0]) == len(both[1])))
def test_with_equal_counts_p_compares_differences_of_means(both):
    seen = sum(both[0]) - sum(both[1])
    arrangements = [sum(x) - sum(y) for x, y in regroupings(*both)]
    assert compare(*both).p == pytest.approx(float(two_sided(seen, arrangements)), abs=1e-12)


def test_scores_that_float32_has_rounded_still_tie():
    right = np.array([[19, 20, 21, 22, 22, 21], [18, 19, 20, 20, 21, 22]])
    as_float32 = (right / 23).astype(np.float32).astype(float)
    for paired in (False, True):
        exact, rounded = compare(*right, paired=paired), compare(*as_float32, paired=paired)
        assert (exact.p, exact.dominance) == (rounded.p, rounded.dominance)


def test_sampled_arrangements_are_close_and_record_their_seed(rng):
    x, y = rng.normal([[0.8], [0]], size=(2, 8))
    for paired, most in [(False, 9_999), (True, 200)]:
        exact = compare(x, y, paired=paired)
        drawn = compare(x, y, paired=paired, permutations=most, seed=3)
        assert exact.seed is None
        assert (drawn.seed, drawn.arrangements) == (3, most)
        assert abs(drawn.p - exact.p) < 4 * math.sqrt(exact.p / most) + 2 / most
        assert drawn == compare(x, y, paired=paired, permutations=most, seed=3)
        assert drawn.p != compare(x, y, paired=paired, permutations=most, seed=4).p


def test_no_p_is_zero(rng):
    found = compare(rng.normal(size=30), rng.normal(9, size=30), permutations=999)
    assert found.p == 2 / 1_000
    assert f"p = {2 / 1_000} of 999 drawn" in str(found)
