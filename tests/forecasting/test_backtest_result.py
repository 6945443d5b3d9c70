"""What a model's file records of a backtest, against plain loops over all of it."""

import json

import numpy as np
import pytest
from trained_examples import LENGTHS, SHOPS, TINY, labelled_machines

import legato
from legato import train
from legato._forecasting.backtest_result import Backtest, ErrorSummary, LabelBacktest

RNG = np.random.default_rng(5)


def backtest_of(origins: list[tuple[int, int]], horizon: int = 3, targets: int = 2) -> Backtest:
    sequence, t = np.array(origins).T
    actual, predicted, last = RNG.normal(size=(3, len(origins), horizon, targets))
    return Backtest(sequence, t, actual, predicted, {"persistence": last})


def autocorrelation_by_loops(backtest: Backtest, lag: int) -> np.ndarray:
    """Of the errors of the next step, over pairs of origins of one sequence."""
    errors = backtest.actual[:, 0] - backtest.predicted[:, 0]
    errors = errors - errors.mean(0)
    places = [*zip(backtest.sequence.tolist(), backtest.t.tolist(), strict=True)]
    products = [
        errors[one] * errors[places.index((sequence, t + lag))]
        for one, (sequence, t) in enumerate(places)
        if (sequence, t + lag) in places
    ]
    return np.sum(products, axis=0) / (errors**2).sum(0)


def test_the_autocorrelation_is_that_of_pairs_of_one_sequence():
    backtest = backtest_of([*((0, t) for t in range(4, 16)), *((2, t) for t in (3, 4, 5, 9, 10))])
    found = backtest.summary()
    assert found.errors == 17
    for lag in (1, 2, 5):
        expected = autocorrelation_by_loops(backtest, lag)
        np.testing.assert_allclose(found.autocorrelation[:, lag - 1], expected, rtol=1e-10)
    sparse = backtest_of([(0, 0), (0, 7), (1, 7), (1, 30)]).summary().autocorrelation
    assert np.isnan(sparse).all()


def test_a_record_keeps_some_forecasts_and_the_errors_of_each_sequence():
    backtest = backtest_of([(at % 3 + 1, at // 3) for at in range(3000)], horizon=2)
    numbers = json.loads(json.dumps(backtest.of_sequences(np.arange(5) * 10).as_numbers()))
    assert len(numbers["predicted"]) <= 6000
    kept = np.array(numbers["predicted"]).reshape(-1, 2, 2)
    first = next(zip(numbers["sequence"], numbers["t"], strict=True))
    assert first == (10, 0)
    np.testing.assert_allclose(kept[0], backtest.predicted[0], rtol=1e-5)
    np.testing.assert_allclose(kept[-1], backtest.predicted[-1], rtol=1e-5)
    summary = ErrorSummary.from_numbers(numbers, targets=2)
    for name, forecasts in {"model": backtest.predicted, **backtest.baselines}.items():
        sizes = np.abs(backtest.actual - forecasts)
        expected = {10 * at: sizes[backtest.sequence == at].mean() for at in (1, 2, 3)}
        assert summary.by_sequence[name] == pytest.approx(expected, rel=1e-5)
    assert json.dumps(numbers).count("NaN") == 0


def test_a_refitted_forecaster_records_the_forecasts_of_the_one_that_was_scored(
    sales_file, forecaster
):
    found = train(sales_file, **SHOPS, **{**TINY, "refit": True}).known["backtest"]
    sequences = legato.read(sales_file, group="shop", time="month")
    begins = np.array([length - round(0.2 * length) for length in LENGTHS.values()])
    backtest = forecaster.backtest(sequences, begins, 12)
    assert found["t"] == backtest.t.tolist()
    assert found["sequence"] == backtest.sequence.tolist()
    np.testing.assert_allclose(found["predicted"], backtest.predicted.ravel(), rtol=1e-5)
    assert found["seen"] == forecaster.known["seen"]


def test_a_refitted_classifier_records_the_labels_of_the_one_that_was_scored(classifier):
    machines = labelled_machines()
    found = train(machines, **{**TINY, "refit": True}, steps=4).known
    truth = np.array([at % 2 for at in found["backtest"]["sequence"]])
    right = truth == found["backtest"]["label"]
    assert right.mean() == found["scores"]["model"]["accuracy"]
    assert found["scores"] == classifier.known["scores"]
    assert found["backtest"]["seen"] == classifier.known["seen"]
    counts = [each["predictions"] for each in found["scores"]["calibration"]]
    assert sum(counts) == len(truth)


def test_a_record_of_many_labels_is_a_thousand_of_them():
    chances = RNG.dirichlet(np.ones(3), size=5000)
    steps = np.arange(5000)
    numbers = LabelBacktest(0 * steps, steps, 0 * steps, chances, {}, ("a", "b", "c")).as_numbers()
    assert len(numbers["label"]) == 1000
    assert numbers["label"] == chances.argmax(1)[numbers["step"]].tolist()


def test_the_loss_of_the_networks_is_the_mean_of_theirs(wave_history):
    losses = [wave_history[f"network_{at}"] for at in (1, 2, 3)]
    np.testing.assert_allclose(np.mean(losses, axis=0), wave_history["loss"], rtol=1e-4)
    assert losses[0] != losses[1]


@pytest.fixture(scope="module")
def wave_history():
    rng = np.random.default_rng(2)
    wave = {"x": np.sin(np.arange(60) / 3) + rng.normal(0, 0.1, 60)}
    return train(wave, horizon=2, verbose=0, refit=False).known["training"]["course"]["history"]
