"""Metrics of predicted labels against plain loops, and verdicts that take chance into account."""

import json
import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legato._errors import InputError
from legato._forecasting.baselines import majority_probabilities
from legato._forecasting.forecast_metrics import Scores
from legato._forecasting.label_metrics import label_scores
from legato._platform.wilson_interval import wilson_interval

thorough = settings(max_examples=100, deadline=None, derandomize=True, database=None)
pairs = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30)


@thorough
@given(pairs=pairs)
def test_accuracy_recall_and_confusion_are_counts(pairs):
    truth, predicted = np.array(pairs).T
    scores = label_scores(truth, predicted, {"majority": truth}, "xyz")
    assert scores.model.accuracy == sum(one == other for one, other in pairs) / len(pairs)
    assert scores.model.cross_entropy_nats is None
    assert scores.baselines["majority"].accuracy == 1
    assert scores.predictions == len(pairs)
    for at, name in enumerate("xyz"):
        there = [label for true, label in pairs if true == at]
        assert scores.recall[name] == (there.count(at) / len(there) if there else None)
        assert scores.confusion[at].tolist() == [there.count(label) for label in range(3)]


@thorough
@given(seed=st.integers(0, 99), count=st.integers(1, 12))
def test_cross_entropy_and_labels_come_from_the_probabilities(seed, count):
    rng = np.random.default_rng(seed)
    chances = rng.dirichlet(np.ones(3), size=count)
    truth = rng.integers(0, 3, count)
    scores = label_scores(
        truth, chances, {"majority": majority_probabilities(truth, 3, count)}, "xyz"
    )
    nats = sum(-math.log(chances[at, label]) for at, label in enumerate(truth)) / count
    np.testing.assert_allclose(scores.model.cross_entropy_nats, nats, rtol=1e-12)
    np.testing.assert_allclose(scores.model.cross_entropy_bits, nats / math.log(2), rtol=1e-12)
    assert scores.labels.tolist() == [max(range(3), key=lambda at: row[at]) for row in chances]


def test_cross_entropy_is_the_loss_of_keras():
    truth = np.array([0, 1, 2, 2])
    chances = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.5, 0.25, 0.25], [0.5, 0.5, 0]])
    loss = keras.losses.SparseCategoricalCrossentropy()(truth, chances)
    score = label_scores(truth, chances, {"majority": [2] * 4}, "xyz").model
    np.testing.assert_allclose(score.cross_entropy_nats, np.asarray(loss), rtol=1e-6)


@thorough
@given(count=st.integers(1, 300), share=st.floats(0, 1))
def test_at_the_ends_of_wilsons_interval_the_share_is_1_96_standard_errors_away(count, share):
    right = round(share * count)
    low, high = wilson_interval(right, count)
    assert 0 <= low <= right / count <= high <= 1
    for end in (low, high):
        away = (right / count - end) ** 2 * count
        np.testing.assert_allclose(away, 1.959963984540054**2 * end * (1 - end), atol=1e-9)


def test_wilsons_interval_is_scipys():
    stats = pytest.importorskip("scipy.stats")
    for right, count in [(0, 5), (5, 5), (3, 7), (81, 263)]:
        expected = stats.binomtest(right, count).proportion_ci(method="wilson")
        np.testing.assert_allclose(wilson_interval(right, count), tuple(expected), atol=1e-12)


def scores_of_accuracies(**right):
    """Scores of 100 predictions, with the given numbers of correct ones."""
    truth = np.arange(100) % 4
    made = {
        name.replace("_", " "): np.where(np.arange(100) < count, truth, (truth + 1) % 4)
        for name, count in right.items()
    }
    return label_scores(truth, made.pop("model"), made, "abcd")


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        (
            scores_of_accuracies(model=80, majority=60, last_label=25),
            "The model is right in 80.0 % of 100 predictions (95 % interval 71.1 % to 86.7 %), "
            "against 60.0 % (majority) and 25.0 % (last label): it beats majority.",
        ),
        (
            scores_of_accuracies(model=80, majority=75),
            "The model is right in 80.0 % of 100 predictions (95 % interval 71.1 % to 86.7 %), "
            "against 75.0 % (majority): it is not distinguishable from majority.",
        ),
        (
            scores_of_accuracies(model=80, majority=60, last_label=90),
            "The model is right in 80.0 % of 100 predictions (95 % interval 71.1 % to 86.7 %), "
            "against 60.0 % (majority) and 90.0 % (last label): it falls behind last label.",
        ),
    ],
)
def test_the_verdict_on_labels(scores: Scores, verdict):
    assert scores.verdict == verdict


def test_label_scores_survive_json():
    truth = np.array([0, 1, 1])
    baseline = majority_probabilities(truth, classes=3, predictions=3)
    numbers = label_scores(truth, truth, {"majority": baseline}, "xyz").as_numbers()
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers
    assert numbers["recall"] == {"x": 1.0, "y": 1.0, "z": None}
    assert numbers["confusion"] == [[1, 0, 0], [0, 2, 0], [0, 0, 0]]
    many = label_scores(truth, truth, {"majority": truth}, [str(at) for at in range(101)])
    assert many.as_numbers()["confusion"] is None


@pytest.mark.parametrize(
    ("truth", "predicted", "majority", "message"),
    [
        ([], [], [], r"The true labels have shape \(0,\); expected \(predictions,\), not empty"),
        ([0, 2], [0, 1], [0, 0], "The true labels run from 0 to 2, and there are 2 classes"),
        (["a", "b"], [0, 1], [0, 0], "The true labels are not whole numbers"),
        ([0, 1], [0, float("nan")], [0, 0], "The labels of the model are not whole numbers"),
        ([0, 1], [0, 1], [0, -1], "The labels of majority run from -1 to 0"),
        ([0, 1], [0], [0, 0], r"the model have shape \(1,\); expected \(2,\) classes, or prob"),
        ([0, 1], [[1, np.nan], [1, 0]], [0, 0], "The probabilities of the model are NaN or inf"),
        ([0, 1], [[5, -3], [1, 0]], [0, 0], "of the model run from -3 to 5 and add up to 1 to 2"),
        ([0, 1], [[2, -1], [1, 0]], [0, 0], "none may be negative"),
    ],
)
def test_invalid_labels_and_probabilities_are_refused(truth, predicted, majority, message):
    with pytest.raises(InputError, match=message):
        label_scores(truth, predicted, {"majority": majority}, "ab")


def test_a_baseline_is_needed():
    with pytest.raises(InputError, match="There is no baseline to compare with"):
        label_scores(np.array([0]), np.array([0]), {}, "ab")


def test_the_calibration_is_the_share_of_right_labels_by_probability():
    chances = np.array([[0.95, 0.05], [0.92, 0.08], [0.45, 0.55], [0.48, 0.52]])
    truth = np.array([0, 1, 1, 0])
    first, last = label_scores(truth, chances, {"majority": truth}, "ab").calibration
    assert (first["from"], first["to"], first["predictions"], first["right"]) == (0.5, 0.6, 2, 0.5)
    assert first["probability"] == pytest.approx(0.535)
    assert (last["from"], last["predictions"], last["right"]) == (0.9, 2, 0.5)
    assert label_scores(truth, truth, {"majority": truth}, "ab").calibration == []
