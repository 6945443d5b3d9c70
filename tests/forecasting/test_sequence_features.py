"""Features of sequences, beside loops over their time steps."""

import numpy as np
import pytest

from legato._forecasting import sequence_features
from legato._forecasting.sequence_features import SequenceFeatures

LENGTHS, COLUMNS = np.array([30, 1, 41, 9, 2]), 2


def padded(sequences: list[np.ndarray], steps: int) -> np.ndarray:
    """Sequences with padding before them, and the column that marks their steps."""
    found = np.zeros((len(sequences), steps, COLUMNS + 1), "float32")
    for at, each in enumerate(sequences):
        found[at, steps - len(each) :] = np.column_stack([each, np.ones(len(each))])
    return found


@pytest.fixture(scope="module")
def sequences():
    rng = np.random.default_rng(5)
    return [rng.normal(0, 1, (length, COLUMNS)) for length in LENGTHS]


@pytest.fixture(scope="module")
def features(sequences):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("FILTERS", 30), ("LEAST_FILTERS", 30), ("POOLED", 16)):
            patch.setattr(sequence_features, name, value)
        found = SequenceFeatures(LENGTHS, COLUMNS, seed=3)
    found.fit(padded(sequences, 41))
    return found


def share_above(values: np.ndarray, kernel: np.ndarray, dilation: int, threshold: float) -> float:
    """The share of steps at which a filter (WIDTH, columns) is above a threshold."""
    above = 0
    for at in range(len(values)):
        total = 0.0
        for tap in range(9):
            place = at + (tap - 4) * dilation
            if 0 <= place < len(values):
                total += float(values[place] @ kernel[tap])
        above += total > threshold
    return above / len(values)


def test_convolutions_are_shares_of_steps_above_thresholds(features, sequences):
    found, _, _ = features.transform(padded(sequences, 41))
    at = 0
    for dilation, kernel in features._kernels.items():
        assert set(np.unique(kernel)) <= {-1.0, 0.0, 2.0}
        np.testing.assert_array_equal(kernel.sum(0), 0)
        for number, threshold in enumerate(features._thresholds[dilation]):
            expected = [
                share_above(each, kernel[..., number], dilation, threshold) for each in sequences
            ]
            # the threshold is an output of one step, which rounding moves to either side
            slack = 1.01 / LENGTHS
            assert (np.abs(found[:, at] - expected) <= slack).all()
            at += 1
    assert at == found.shape[1]
    assert found.std(0).max() > 0.1


def test_summaries_are_those_of_the_steps(features, sequences):
    _, found, _ = features.transform(padded(sequences, 41))
    for own, x in zip(found, sequences, strict=True):
        changes = np.diff(x, axis=0) if len(x) > 1 else np.zeros((1, COLUMNS))
        quarter = np.arange(len(x)) * 4 // len(x)
        quarters = [x[quarter == q].sum(0) / max((quarter == q).sum(), 1) for q in range(4)]
        size = np.abs(changes).mean(0), np.sqrt(np.square(changes).mean(0))
        expected = [x.mean(0), x.std(0), x.min(0), x.max(0), x[0], x[-1], *size, *quarters]
        np.testing.assert_allclose(
            own, [*np.concatenate(expected), np.log(len(x))], rtol=1e-4, atol=1e-5
        )


def test_pooled_steps_are_means_counted_from_the_end(features, sequences):
    *_, found = features.transform(padded(sequences, 41))
    assert features.stride == 3
    for own, x in zip(found, sequences, strict=True):
        parts = [x[max(0, end - 3) : end] for end in range(len(x), 0, -3)][::-1]
        means = np.array([each.mean(0) for each in parts])
        changes = np.diff(means, axis=0, prepend=means[:1])
        expected = np.column_stack([means, changes, np.ones(len(means))])
        np.testing.assert_allclose(own[len(own) - len(means) :], expected, rtol=1e-4, atol=1e-5)
        assert (own[: len(own) - len(means)] == 0).all()


def test_neither_the_order_nor_the_company_of_sequences_matters(features, sequences):
    steps = padded(sequences, 41)
    order = [3, 0, 4, 1, 2]
    for one, other in zip(features.transform(steps[order]), features.transform(steps), strict=True):
        np.testing.assert_allclose(one, other[order], rtol=1e-5, atol=1e-6)
    for one, other in zip(features.transform(steps[1:2]), features.transform(steps), strict=True):
        np.testing.assert_allclose(one, other[1:2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("values", [np.full((60, 1), 0.1), np.arange(60)[:, None] % 2 * 0.3])
def test_rounding_does_not_decide_what_is_above_a_threshold(values):
    rng = np.random.default_rng(2)
    kernel = sequence_features._draw_kernel(rng, 1, 40).astype("float64")
    steps = np.column_stack([values, np.ones(60)])
    thresholds = sequence_features._quantiles(steps, kernel, 2, (np.arange(40) + 0.5) / 40)
    padded = np.pad(values, ((8, 8), (0, 0)))[:, 0]
    seen = padded[np.arange(60)[:, None] + 2 * np.arange(9)]
    assert np.abs(seen @ kernel[:, 0] - thresholds).min() > 1e-5
