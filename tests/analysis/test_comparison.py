"""Comparisons: the finding, the sentence, and the number of seeds needed to find a difference."""

import dataclasses
import functools
import itertools
import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from legato import Comparison, compare, corrected
from legato._analysis.statistics.comparison import least_seeds, seeds_needed


@pytest.mark.parametrize("deviations", [(1.0,), (1.0, 1.0), (0.2, 3.0), (1.0, 0.0)])
@pytest.mark.parametrize("difference", [0.2, 0.7, 5.0])
@pytest.mark.parametrize(("alpha", "power"), [(0.05, 0.8), (0.01, 0.5), (0.2, 0.95)])
def test_the_seeds_needed_are_those_of_a_t_test(difference, deviations, alpha, power):
    """Counted up from 2, with SciPy's distribution."""
    variances = [each**2 for each in deviations]
    for seeds in itertools.count(2):
        df = sum(variances) ** 2 / sum(each**2 / (seeds - 1) for each in variances)
        away = difference / math.sqrt(sum(variances) / seeds)
        if stats.nct.sf(stats.t.isf(alpha / 2, df), df, away) >= power:
            break
    expected = max(seeds, least_seeds(alpha, paired=len(deviations) == 1))
    assert seeds_needed(difference, deviations, alpha, power) == expected


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_with_fewer_than_the_least_seeds_nothing_can_be_found(paired, level):
    seeds = least_seeds(1 - level, paired)
    x, y = np.arange(seeds) + 1000.0, np.arange(seeds) * 1.5
    assert compare(x, y, paired=paired, level=level).finding == "higher"
    if seeds > 2:
        assert compare(x[1:], y[1:], paired=paired, level=level).finding == "undecided"


def test_seeds_needed_of_a_comparison(rng):
    x, y = rng.normal(size=(2, 10))
    found = compare(x, y)
    deviations = (found.one.deviation, found.other.deviation)
    assert found.seeds_needed() == seeds_needed(abs(found.difference), deviations, 0.05, 0.8)
    assert found.seeds_needed(0.7, power=0.9) == seeds_needed(0.7, deviations, 0.05, 0.9)
    of_four = corrected([found] * 4)[0]
    assert of_four.seeds_needed(0.7) == seeds_needed(0.7, deviations, 0.05 / 4, 0.8)
    in_pairs = compare(x, y, paired=True)
    assert in_pairs.seeds_needed(0.7) == seeds_needed(0.7, [np.std(x - y, ddof=1)], 0.05, 0.8)
    assert compare([1, 2], [1, 2]).seeds_needed() is None  # no difference
    assert compare([1, 1], [2, 2]).seeds_needed() is None  # no spread
    assert compare([1, 2], [1, 2.000001]).seeds_needed() is None  # some 10^13
    assert found.seeds_needed(1e-300) is None
    assert found.seeds_needed(1e300) == 4


def found_with(low, high, p, margin=None, difference=1.0):
    return dataclasses.replace(
        compare([1, 2], [3, 5]), low=low, high=high, p=p, margin=margin, difference=difference
    )


@pytest.mark.parametrize(
    ("comparison", "finding"),
    [
        (found_with(0.1, 2, p=0.04), "higher"),
        (found_with(-2, -0.1, p=0.05, difference=-1), "lower"),
        (found_with(0.1, 2, p=0.06), "undecided"),
        (found_with(-0.1, 2, p=0.04), "undecided"),
        (found_with(0.0, 2, p=0.04), "undecided"),
        (found_with(None, None, p=0.04), "higher"),
        (found_with(None, None, p=0.06), "undecided"),
        (found_with(None, None, p=0.06, margin=9), "undecided"),
        (found_with(-0.1, 2, p=0.4, margin=2.1), "equal"),
        (found_with(0.1, 2, p=0.04, margin=2.1), "equal"),
        (found_with(-0.1, 2, p=0.4, margin=2), "undecided"),
        (found_with(-3, 2, p=0.4, margin=2.1), "undecided"),
        (found_with(0.1, 2, p=0.04, margin=1.9), "higher"),
    ],
)
def test_the_finding(comparison, finding):
    assert comparison.finding == finding


OF_LETTERS = {"names": ("the window", "naive"), "what": "accuracy", "unit": "%"}
WINDOW = [20, 20, 21, 19, 20, 21, 20, 20, 19, 20]
NAIVE = [21, 21, 20, 21, 22, 21, 20, 21, 21, 22]


@functools.cache
def letters(shift=0, paired=False, **how):
    window, naive = np.array(WINDOW) / 23, (np.array(NAIVE) + shift) / 25
    return compare(window, naive, paired=paired, **OF_LETTERS, **how)


@pytest.mark.parametrize(
    ("find", "sentence"),
    [
        (
            letters,
            "The window's accuracy (87.0 %) is higher than naive's (84.0 %) by 3.0 points, 95 % "
            "interval 0.3 to 5.6, 10 seeds each (exact permutation p = 0.0308).",
        ),
        (
            lambda: letters(2),
            "The window's accuracy (87.0 %) is lower than naive's (92.0 %) by 5.0 points, 95 % "
            "interval 2.4 to 7.7, 10 seeds each (exact permutation p = 0.000714).",
        ),
        (
            lambda: letters(0.8),
            "Whether the window's accuracy (87.0 %) is higher or lower than naive's (87.2 %) is "
            "undecided: it differs by -0.2 points, 95 % interval -2.9 to 2.4, 10 seeds each "
            "(exact permutation p = 0.734); about 2,100 seeds each would find such a difference "
            "with 80 % power.",
        ),
        (
            lambda: letters(0.8, margin=0.01),
            "Whether the window's accuracy (87.0 %) is higher or lower than naive's (87.2 %) is "
            "undecided: it differs by -0.2 points, 95 % interval -2.9 to 2.4, 10 seeds each "
            "(exact permutation p = 0.734); about 130 seeds each would find a difference of 1 "
            "point with 80 % power.",
        ),
        (
            lambda: letters(0.8, margin=0.05),
            "The window's accuracy (87.0 %) equals naive's (87.2 %) within 5 points: the "
            "difference is -0.2 points, 95 % interval -2.9 to 2.4, 10 seeds each (exact "
            "permutation p = 0.734).",
        ),
        (
            lambda: letters(paired=True),
            "Whether the window's accuracy (87.0 %) is higher or lower than naive's (84.0 %) is "
            "undecided: it differs by 3.0 points, 95 % interval -0.2 to 6.1, 10 pairs of seeds "
            "(exact permutation p = 0.0605); about 20 pairs of seeds would find such a difference "
            "with 80 % power.",
        ),
        (
            lambda: compare([1.5, 2, 3], [1, 2.5, 3.7, 2], names=("steps", "GRU"), what="loss"),
            "Whether steps' loss (2.2) is higher or lower than GRU's (2.3) is undecided: it "
            "differs by -0.1, 95 % interval -2.0 to 1.7, 3 and 4 seeds (exact permutation p = "
            "0.914); about 820 seeds each would find such a difference with 80 % power.",
        ),
        (
            lambda: compare([12, 12.5, 13], [1, 2, 3], unit="ms", level=0.9),
            "The first's score (12.5 ms) is higher than the second's (2.0 ms) by 10.5 ms, 90 % "
            "interval 9.0 to 12.0, 3 seeds each (exact permutation p = 0.1).",
        ),
        (
            lambda: compare([1] * 4, [0.84] * 4, **OF_LETTERS),
            "The window's accuracy (100 %) is higher than naive's (84 %) by 16 points, with no "
            "spread to take an interval from, 4 seeds each (exact permutation p = 0.0286).",
        ),
        (
            lambda: corrected([letters(), letters(0.3)])[0],
            "Whether the window's accuracy (87.0 %) is higher or lower than naive's (84.0 %) is "
            "undecided: it differs by 3.0 points, 95 % interval 0.3 to 5.6, 10 seeds each (exact "
            "permutation p = 0.0615, corrected by Holm for 2 comparisons); about 19 seeds each "
            "would find such a difference with 80 % power.",
        ),
        (
            lambda: corrected([letters(2)], "benjamini-hochberg")[0],
            "The window's accuracy (87.0 %) is lower than naive's (92.0 %) by 5.0 points, 95 % "
            "interval 2.4 to 7.7, 10 seeds each (exact permutation p = 0.000714, corrected by "
            "Benjamini and Hochberg for 1 comparison).",
        ),
        (
            lambda: compare(range(40), range(30, 70), permutations=49_999),
            "The first's score (20) is lower than the second's (50) by 30, 95 % interval 25 to "
            "35, 40 seeds each (permutation p < 0.0001 of 49,999 drawn).",
        ),
    ],
)
def test_a_comparison_in_a_sentence(find: Callable[[], Comparison], sentence):
    assert str(find()) == sentence


def test_comparisons_survive_json():
    for found in [
        compare([1, 2], [3, 5]),
        compare([1, 1], [1, 1], paired=True),
        corrected([compare(np.float32([1, 2]), [3, 5], margin=np.float32(2), seed=np.int64(3))])[0],
    ]:
        numbers = found.as_numbers()
        assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers
        assert numbers["sentence"] == str(found)
        assert numbers["one"]["mean"] == found.one.mean
        assert numbers["finding"] == found.finding
