"""Metrics of forecasts against plain loops, verdicts in a sentence, and quantiles of residuals.

The law of the intervals is exact: of any n + 1 numbers, each left out in turn, at least the
promised share lies between the ends that the n others give.
"""

import json
import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legato._errors import InputError
from legato._forecasting.forecast_metrics import (
    ForecastScore,
    ForecastScores,
    Scores,
    forecast_scores,
    residual_quantiles,
)
from legato._forecasting.paired_differences import Difference

thorough = settings(max_examples=100, deadline=None, derandomize=True, database=None)
shapes = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))


def rmse(errors):
    return math.sqrt(sum(error**2 for error in errors) / len(errors))


def mae(errors):
    return sum(abs(error) for error in errors) / len(errors)


def constant_scores(model, differences=None, **baselines):
    """Scores of errors that are the same at every step and target; differences by baseline."""

    def score(error):
        return ForecastScore(error, error, (error,), (error,), (error,), (error,))

    by_name = {name.replace("_", " "): score(error) for name, error in baselines.items()}
    found = {
        name: Difference(*([(model - each.mae) / (model + each.mae)] * 3), 5)
        for name, each in by_name.items()
    } | (differences or {})
    return ForecastScores(score(model), by_name, 1, 5, found)


@thorough
@given(shape=shapes, seed=st.integers(0, 99))
def test_errors_are_means_over_all_values_each_lead_and_each_target(shape, seed):
    rng = np.random.default_rng(seed)
    truth, predicted = rng.normal(size=(2, *shape))
    scores = forecast_scores(truth, predicted, {"persistence": predicted * 2})
    errors = {at: predicted[at] - truth[at] for at in product(*map(range, shape))}
    for name, mean in [("mae", mae), ("rmse", rmse)]:
        of = {
            name: mean(list(errors.values())),
            f"{name}_by_lead": [
                mean([error for at, error in errors.items() if at[1] == lead])
                for lead in range(shape[1])
            ],
            f"{name}_by_target": [
                mean([error for at, error in errors.items() if at[2] == target])
                for target in range(shape[2])
            ],
        }
        for field, expected in of.items():
            np.testing.assert_allclose(getattr(scores.model, field), expected, rtol=1e-12)
    assert (scores.horizon, scores.predictions) == (shape[1], shape[0])
    np.testing.assert_allclose(
        scores.skill, 1 - scores.model.mae / scores.baselines["persistence"].mae
    )


def test_small_unsigned_numbers_do_not_wrap_around():
    truth, predicted = np.array([[[3]]], np.uint8), np.array([[[20]]], np.uint8)
    model = forecast_scores(truth, predicted, {"persistence": truth}).model
    assert (model.mae, model.rmse) == (17, 17)


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        (
            constant_scores(12.3, persistence=18.6, seasonal_persistence=11.4),
            "The model's error 1 step ahead from 5 origins (MAE 12.3) is 34 % below persistence's "
            "(18.6) and 8 % above seasonal persistence's (11.4): it is better than "
            "persistence, but it does not beat seasonal "
            "persistence, which is better by 7 to 7 % over the next 12 steps (95 % interval).",
        ),
        (
            constant_scores(12.3, persistence=11.4, seasonal_persistence=18.6),
            "The model's error 1 step ahead from 5 origins (MAE 12.3) is 8 % above persistence's "
            "(11.4) and 34 % below seasonal persistence's (18.6): it is better than seasonal "
            "persistence, but it does not beat persistence, which is better by 7 to 7 % over the "
            "next 12 steps (95 % interval).",
        ),
        (
            constant_scores(
                1234.5,
                {"last year": Difference(-0.2, -0.3, -0.1, 5)},
                persistence=2469,
                mean=3000,
                last_year=1240,
            ),
            "The model's error 1 step ahead from 5 origins (MAE 1,234) is 50 % below persistence's "
            "(2,469), 59 % below mean's (3,000) and less than 1 % below last year's (1,240): it "
            "beats every baseline, the best of them, last year, by 18 to 46 % over the next 12 "
            "steps (95 % interval).",
        ),
        (
            constant_scores(
                1234.5,
                {"last year": Difference(-0.2, -0.5, 0.1, 5)},
                persistence=2469,
                last_year=1240,
            ),
            "The model's error 1 step ahead from 5 origins (MAE 1,234) is 50 % below persistence's "
            "(2,469) and less than 1 % below last year's (1,240): it is better than persistence, "
            "and its difference from last year is not larger than its uncertainty (95 % interval "
            "over the next 12 steps 67 % below to 22 % above, 5 independent origins).",
        ),
        (
            constant_scores(
                3.0, {"mean": Difference(-0.5, None, None, 2)}, persistence=4.0, mean=9.0
            ),
            "The model's error 1 step ahead from 5 origins (MAE 3) is 25 % below persistence's (4) "
            "and 67 % below mean's (9): it is better than persistence, and its difference from "
            "mean is not larger than its uncertainty (2 independent origins, and 3 are needed).",
        ),
        (
            constant_scores(
                9.0, {"last year": Difference(0.2, None, None, 1)}, persistence=10.0, last_year=6.0
            ),
            "The model's error 1 step ahead from 5 origins (MAE 9) is 10 % below persistence's "
            "(10) and 50 % above last year's (6): it is better than persistence, and its "
            "difference from last year is not larger than its uncertainty (1 independent origin, "
            "and 3 are needed). In this test, last year was better than the model.",
        ),
        (
            constant_scores(3.21e36, persistence=1.234e9),
            "The model's error 1 step ahead from 5 origins (MAE 3.21e+36) is 2.6e+29 % above "
            "persistence's (1.23e+09): it does not beat persistence, which is better by 100 to "
            "100 % over the next 12 steps (95 % interval).",
        ),
        (
            constant_scores(0.001, persistence=0.002),
            "The model's error 1 step ahead from 5 origins (MAE 0.001) is 50 % below persistence's "
            "(0.002): it beats persistence by 50 to 50 % over the next 12 steps (95 % interval).",
        ),
        (
            constant_scores(3.0, persistence=3.0),
            "The model's error 1 step ahead from 5 origins (MAE 3) is equal to persistence's (3): "
            "its difference from persistence is not larger than its uncertainty "
            "(95 % interval over the next 12 steps 0 % above to 0 % above, 5 independent "
            "origins).",
        ),
        (
            constant_scores(3.0, persistence=0.0),
            "The model's error 1 step ahead from 5 origins (MAE 3) is above persistence's (0): it "
            "does not beat persistence, which is better by 100 to 100 % over the next 12 steps "
            "(95 % interval).",
        ),
    ],
)
def test_the_verdict_on_forecasts(scores: Scores, verdict):
    assert scores.verdict == verdict


@pytest.mark.parametrize("blocks", [1, 2, 3, 9])
@pytest.mark.parametrize("others", [(2.0,), (2.0, 1.5)])
def test_a_verdict_never_claims_more_than_every_interval_shows(blocks, others, rng):
    """Of any intervals, "beats" comes only where all of them are wholly below 0."""
    for ends in rng.normal(-0.3, 0.5, (200, len(others), 2)):
        known = blocks >= 3
        low_high = [sorted(each) if known else [None, None] for each in ends.tolist()]
        names = ["persistence", "seasonal"][: len(others)]
        differences = {
            name: Difference(1.0 - other, *each, blocks)
            for name, other, each in zip(names, others, low_high, strict=True)
        }
        scores = constant_scores(1.0, differences, **dict(zip(names, others, strict=True)))
        shown = known and (ends < 0).all()
        assert ("it beats" in scores.verdict) == shown
        if not known:
            assert "not larger than its uncertainty" in scores.verdict


def test_the_best_baseline_has_the_smallest_mae_and_a_perfect_one_leaves_no_skill():
    assert constant_scores(1.0, persistence=3.0, seasonal=2.0).best_baseline == "seasonal"
    assert constant_scores(1.0, persistence=4.0).skill == 0.75
    assert constant_scores(1.0, persistence=0.5).skill == -1
    assert constant_scores(1.0, persistence=0.0).skill is None


def test_forecast_scores_survive_json(rng):
    truth, predicted, last = rng.normal(size=(3, 5, 2, 3))
    numbers = forecast_scores(truth, predicted, {"persistence": last}).as_numbers()
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers
    assert len(numbers["baselines"]["persistence"]["mae_by_lead"]) == 2


def with_nan(shape):
    values = np.ones(shape)
    values[1, 0, 0] = np.nan
    return values


ONES = np.ones((2, 3, 1))


@pytest.mark.parametrize(
    ("truth", "predicted", "last", "message"),
    [
        (ONES[:0], ONES[:0], ONES[:0], r"The true values are none, \(0, 3, 1\): the test part is"),
        (ONES, with_nan((2, 3, 1)), ONES, r"forecasts of the model are NaN or .* 1 of 6 .* \(1, 0"),
        (ONES, ONES, with_nan((2, 3, 1)), "The forecasts of persistence are NaN or infinite"),
        (with_nan((2, 3, 1)), ONES, ONES, "The true values are NaN or infinite"),
        (ONES, ONES[:1], ONES, r"the model have shape \(1, 3, 1\) and the true values \(2, 3, 1\)"),
        (ONES, ONES, ONES[:, :1], r"persistence have shape \(2, 1, 1\) and the true values"),
        (ONES[0], ONES, ONES, r"The true values have shape \(3, 1\); expected \(origins, horizon"),
    ],
)
def test_invalid_forecasts_are_refused(truth, predicted, last, message):
    with pytest.raises(InputError, match=message):
        forecast_scores(truth, predicted, {"persistence": last})


def test_without_persistence_there_is_no_skill():
    with pytest.raises(InputError, match=r"must be among the baselines, which are \['mean'\]"):
        forecast_scores(ONES, ONES, {"mean": ONES})


# Intervals.

LEVELS = (0.5, 0.8, 0.9, 0.95)


@thorough
@given(residuals=st.lists(st.integers(-50, 50), min_size=2, max_size=60))
def test_the_promised_share_of_left_out_numbers_lies_between_the_ends_of_the_others(residuals):
    residuals = np.array(residuals, float)
    inside = coverages = np.zeros(len(LEVELS))
    for at, left_out in enumerate(residuals):
        ends, coverages = residual_quantiles(np.delete(residuals, at)[:, None, None], LEVELS)
        inside = inside + ((ends[:, 0, 0, 0] <= left_out) & (left_out <= ends[:, 1, 0, 0]))
    assert (inside >= np.rint(coverages * len(residuals))).all()
    for level, promised in zip(LEVELS, coverages, strict=True):
        enough = len(residuals) * (1 - level) / 2 >= 1 - 1e-9
        assert enough == (promised >= level - 1e-9)


@thorough
@given(shape=st.tuples(st.integers(1, 50), st.integers(1, 2), st.integers(1, 2)))
def test_the_ends_are_ordered_residuals(shape):
    residuals = np.random.default_rng(shape).normal(size=shape)
    ends, _ = residual_quantiles(residuals, LEVELS)
    for at, lead, target in product(range(len(LEVELS)), *map(range, shape[1:])):
        ordered = sorted(residuals[:, lead, target])
        beyond = 0  # residuals outside, at each end
        while (beyond + 1) / (len(ordered) + 1) <= (1 - LEVELS[at]) / 2 + 1e-12:
            beyond += 1
        skipped = max(beyond - 1, 0)
        expected = [ordered[skipped], ordered[len(ordered) - 1 - skipped]]
        assert ends[at, :, lead, target].tolist() == expected


def test_coverage_of_independent_noise_is_as_promised(rng):
    """The mean coverage of 400 intervals from 59 residuals; its standard error is below 0.004."""
    draws = rng.gamma(2.0, size=(59, 20, 20))  # far from symmetric
    ends, coverages = residual_quantiles(draws)
    fresh = rng.gamma(2.0, size=(2_000, 1, 20, 20))
    coverage = ((ends[:, 0] <= fresh) & (fresh <= ends[:, 1])).mean((0, 2, 3))
    np.testing.assert_allclose(coverages, [0.8, 58 / 60], atol=1e-12)
    np.testing.assert_allclose(coverage, coverages, atol=0.012)


def test_too_few_residuals_give_their_range_and_its_coverage():
    ends, coverages = residual_quantiles(np.array([2.0, -1.0, 5.0])[:, None, None])
    assert ends[:, :, 0, 0].tolist() == [[-1, 5], [-1, 5]]
    assert coverages.tolist() == [0.5, 0.5]
    ends, coverages = residual_quantiles(np.array([[[2.0]]]))
    assert ends[:, :, 0, 0].tolist() == [[2, 2], [2, 2]]
    assert coverages.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("residuals", "levels", "message"),
    [
        (ONES[:0], [0.8], "The residuals are none"),
        (with_nan((2, 1, 1)), [0.8], "The residuals are NaN or infinite in 1 of 2 places"),
        (ONES, [80], r"levels=\[80\] must each lie between 0 and 1"),
        (ONES, [0.5, float("nan")], "must each lie between 0 and 1"),
    ],
)
def test_invalid_residuals_and_levels_are_refused(residuals, levels, message):
    with pytest.raises(InputError, match=message):
        residual_quantiles(residuals, levels)
