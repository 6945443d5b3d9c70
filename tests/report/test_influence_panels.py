"""Influence on the page of one's own model, of models whose influence is known."""

from types import SimpleNamespace
from typing import Any, cast

import keras
import numpy as np
import pytest

import legato
from legato import Column, InputError, Sequences, Trained
from legato._forecasting.network import Shape
from legato._forecasting.predictor import Predictor
from legato._forecasting.task import Task
from legato.report._reach_panel import measure_reach
from legato.report._stretch_panel import measure_stretches, stretch_panel

X, PROMO = Column("x"), Column("promo")
LABEL = Column("label", ("no", "yes"), (0.0, 1.0))


def sequences(count: int, steps: int, columns: tuple[Column, ...]) -> Sequences:
    values = np.random.default_rng(1).normal(size=(count * steps, len(columns)))
    names = tuple(map(str, range(count)))
    return Sequences(values, np.full(count, steps), columns, names)


def test_steps_before_are_weighed_beside_columns_known_ahead():
    steps, ahead = keras.Input((4, 2), name="steps"), keras.Input((2, 1), name="ahead")
    first: Any = steps[:, -1:, 0] + 3 * steps[:, -3:-2, 0] + 100 * ahead[:, 0]
    second: Any = steps[:, -2:-1, 0] - steps[:, -3:-2, 1] + 100 * ahead[:, 1]
    model = legato.Model([steps, ahead], keras.ops.concatenate([first, second], axis=1))
    task = Task("forecast", (X, PROMO), (X,), 2, known=("promo",))
    shape = Shape("lstm", 1, 1, stateful=False, framing="ensemble", steps=4)
    trained = cast(Trained, Predictor(model, task, shape, -9.0))
    data = sequences(1, 40, (X, PROMO))
    found = measure_reach(trained, data, 0)
    np.testing.assert_allclose(found.profile, [0.25, 0, 0.75, 0], atol=1e-6)
    spread = data.values.std(0)  # an influence is in standard deviations of the input
    found = measure_reach(trained, data, 1).profile
    np.testing.assert_allclose(found[[0, 3]], 0, atol=1e-6)
    np.testing.assert_allclose(found[1] / found[2], spread[0] / spread[1], rtol=1e-4)


def labeller(score) -> Trained:
    """A model whose label depends on a score of a sequence's values, (time steps, 1)."""

    def predict_at(values, lengths, at):
        scores = np.array([score(each) for each in np.split(values, np.cumsum(lengths)[:-1])])
        yes = 1 / (1 + np.exp(-scores))
        return np.stack([1 - yes, yes], axis=1)

    task = SimpleNamespace(inputs=(X,))
    made = SimpleNamespace(
        task=task, predict_at=predict_at, inputs_of=lambda data, lenient: data.values[:, :1]
    )
    return cast(Trained, made)


def test_the_stretch_that_decides_a_label_has_the_influence():
    data = sequences(5, 40, (X, LABEL))
    found = measure_stretches(labeller(lambda own: np.abs(own[10:12]).sum()), data)
    assert found.sequences == 5
    assert found.profile.argmax() == 5  # of 20 stretches of two steps
    np.testing.assert_allclose(found.profile[5], 1, atol=1e-9)
    assert found.sentence.startswith("The stretch from 25 to 30 % of the sequence has the largest")
    assert found.sentence in stretch_panel(found).description
    evenly = measure_stretches(labeller(lambda own: np.abs(np.diff(own[:, 0])).sum() / 9), data)
    assert evenly.profile.max() < 0.2


def test_a_step_function_has_an_influence_too():
    """Random convolutions count steps above a threshold: their derivative is 0 everywhere."""
    data = sequences(6, 30, (X, LABEL))
    found = measure_stretches(labeller(lambda own: 4.0 * (own[-3:] > 0.5).mean()), data)
    assert found.profile[-2:].sum() > 0.99


def test_where_nothing_decides_the_page_says_so():
    data = sequences(3, 8, (X, LABEL))
    with pytest.raises(InputError, match="probabilities do not change if any single stretch"):
        measure_stretches(labeller(lambda own: 1.0), data)
    with pytest.raises(InputError, match="Sequences of one step have no stretches"):
        measure_stretches(labeller(lambda own: 1.0), sequences(3, 1, (X, LABEL)))
