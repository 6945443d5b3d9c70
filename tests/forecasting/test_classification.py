"""Predicted labels with their probabilities, as a table."""

from dataclasses import replace

import numpy as np
import pytest
from trained_examples import TINY, labelled_machines, predict_step_by_step

from legato import InputError, train


def test_columns_of_predicted_labels(classifier):
    data = labelled_machines(5, seed=6)
    labelled = classifier.classify(data)
    assert labelled.columns()["sequence"] == list(data.names)
    assert [*labelled.columns()] == ["sequence", "label", "probability"]
    assert (labelled.steps, len(labelled)) == (None, 5)
    for at in range(5):
        answers = predict_step_by_step(classifier, data.of(at)[:, :1].astype("float32"))
        np.testing.assert_allclose(labelled.probabilities[at], answers[-1], rtol=1e-5)
        assert labelled.labels[at] == ("good", "worn")[answers[-1].argmax()]
    grouped = replace(labelled, group="machine").columns()
    assert [*grouped] == ["machine", "label", "probability"]
    assert grouped["machine"] == list(data.names)
    clash = replace(labelled, group="label", steps=np.arange(5)).columns()
    assert [*clash] == ["label", "step", "predicted label", "probability"]
    assert clash["label"] == list(data.names)
    without = {"hum": data.of(0)[:, 0]}
    assert classifier.classify(without).labels == labelled.labels[:1]


def test_a_sequence_shorter_than_the_window_is_refused():
    data = labelled_machines(seed=5)
    trained = train(labelled_machines(), framing="window", steps=4, **TINY)
    short = data.between(0 * data.lengths, np.where(np.arange(12) == 2, 3, data.lengths))
    with pytest.raises(InputError, match="Sequence 'm2 of 5' has 3 steps, and the model needs 4"):
        trained.classify(short)
    assert len(trained.classify(data)) == 12
