"""Predictions along sequences, side by side in few calls, against each sequence alone.

The oracle predicts one step after another; to look ahead it appends its prediction and reads the
whole history again.
"""

from dataclasses import replace

import numpy as np
import pytest
from cells import set_weights
from hypothesis import given, settings
from hypothesis import strategies as st

from legato import Column, InputError, Sequences
from legato._forecasting import rollout
from legato._forecasting.network import Shape, build_networks
from legato._forecasting.predictor import Predictor
from legato._forecasting.task import Task

few = settings(deadline=None, derandomize=True, database=None, max_examples=12)
LENGTHS = np.array([9, 1, 4, 7, 2, 1, 3])
WINDOW = 3
A, B = Column("a"), Column("b")
LETTER = Column("character", ("x", "y", "z"), (120.0, 121.0, 122.0))
FORECAST, AHEAD = Task("forecast", (A, B), (B, A), 1), Task("forecast", (A, B), (B, A), 3)
GENERATE = Task("generate", (LETTER,), (LETTER,), 1)
ALONE = Shape("gru", 3, stateful=False, steps=WINDOW)
KINDS = {
    "carrying": (FORECAST, Shape("lstm", 3)),
    "carrying, three ahead": (AHEAD, Shape("gru", 3)),
    "carrying letters": (GENERATE, Shape("gru", 3)),
    "chunks": (FORECAST, ALONE),
    "window": (FORECAST, replace(ALONE, framing="window")),
    "features": (AHEAD, replace(ALONE, framing="features")),
    "prefix": (FORECAST, replace(ALONE, framing="prefix")),
    "runs": (GENERATE, replace(ALONE, framing="runs")),
}


def drawn(task: Task, steps: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    columns = [
        rng.normal(20, 3, steps) if each.numbers is None else rng.choice(each.numbers, steps)
        for each in task.inputs
    ]
    return np.stack(columns, axis=1).astype("float32")


@pytest.fixture(scope="module")
def networks():
    """A function that gives the model of a kind, built once."""
    kept = {}

    def made(kind: str) -> Predictor:
        if kind not in kept:
            task, shape = KINDS[kind]
            outputs = task.horizon * len(task.targets)
            changes = np.random.default_rng(1).normal(1, 2, (30, outputs))
            found = build_networks(task, shape, drawn(task, 30), changes)
            fitted = [each for each in found.model.layers if each.name in ("scaling", "change")]
            weights = [each.get_weights() for each in fitted]
            set_weights(found.core)
            for layer, each in zip(fitted, weights, strict=True):
                layer.set_weights(each)
            kept[kind] = Predictor(found.model, task, shape, found.pad)
        return kept[kind]

    return made


@pytest.fixture
def small(monkeypatch):
    """Few rows and steps in a call, so that a handful of sequences takes several."""
    monkeypatch.setattr(rollout, "ROWS", 3)
    monkeypatch.setattr(rollout, "STEPS", 4)


def alone(predictor: Predictor, history: np.ndarray) -> np.ndarray:
    """The output after a history (time steps, inputs), read from its beginning."""
    model, shape = predictor.model, predictor.shape
    if shape.stateful:
        model.reset_states()
        for step in history:
            answer = model.predict_on_batch(step[None, None])[0, 0]
        return answer
    short = shape.framing in ("window", "features") and len(history) < WINDOW
    if short or np.isnan(history).any():
        return np.full(model.output_shape[-1], np.nan)
    padding = np.full((max(WINDOW - len(history), 0), history.shape[1]), predictor.pad, "float32")
    answer = model.predict_on_batch(np.concatenate([padding, history[-WINDOW:]])[None])[0]
    return answer[-1] if shape.at_every_step else answer


@pytest.mark.quick_cases(4)
@pytest.mark.parametrize("kind", KINDS)
def test_predictions_are_those_of_each_sequence_alone(kind, networks, small):
    predictor = networks(kind)
    values = drawn(predictor.task, LENGTHS.sum())
    parts = np.split(values, np.cumsum(LENGTHS)[:-1])
    expected = [alone(predictor, part[: t + 1]) for part in parts for t in range(len(part))]
    came = predictor.predict_steps(values, LENGTHS)
    np.testing.assert_allclose(came, expected, rtol=1e-5, atol=1e-5)
    unseen = [t < WINDOW - 1 for part in parts for t in range(len(part))]
    needs = predictor.shape.framing in ("window", "features")
    assert np.isnan(came).all(1).tolist() == (unseen if needs else [False] * len(unseen))


def slow_ahead(predictor: Predictor, history: np.ndarray, leads: int) -> list[np.ndarray]:
    """Predict, append, predict again; (leads, targets)."""
    task, found = predictor.task, []
    names = [column.name for column in task.targets]
    while len(found) < leads:
        answer = alone(predictor, history)
        for step in range(task.horizon):
            predicted = answer[step * len(names) : (step + 1) * len(names)]
            found.append(predicted)
            row = [predicted[names.index(column.name)] for column in task.inputs]
            history = np.concatenate([history, np.array([row], "float32")])
    return found[:leads]


@pytest.mark.parametrize("kind", [name for name, (task, _) in KINDS.items() if task != GENERATE])
@pytest.mark.parametrize("leads", [1, 5])
def test_recursive_forecasts_are_predictions_appended_to_the_history(kind, leads, networks, small):
    predictor = networks(kind)
    values = drawn(predictor.task, LENGTHS.sum())
    parts = np.split(values, np.cumsum(LENGTHS)[:-1])
    expected = [slow_ahead(predictor, part, leads) for part in parts]
    came = predictor.predict_ahead(values, LENGTHS, leads)
    np.testing.assert_allclose(came, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["carrying letters", "runs"])
def test_the_likeliest_letters_become_the_next_inputs(kind, networks):
    predictor = networks(kind)
    numbers = np.array(LETTER.numbers)
    history = drawn(GENERATE, 5)
    expected, extended = [], history
    for _ in range(6):
        expected.append(numbers[alone(predictor, extended).argmax()])
        extended = np.concatenate([extended, np.array([[expected[-1]]], "float32")])

    def likeliest(answers):
        return numbers[answers.argmax(1)][:, None, None].astype("float32")

    came = predictor.rollout.predict_ahead(history, np.array([5]), 6, likeliest, horizon=1)
    assert came[0, :, 0].tolist() == expected


@few
@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=30), rows=st.integers(1, 9))
def test_blocks_hold_every_sequence_once_the_longest_first(lengths, rows):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rollout, "ROWS", rows)
        found = list(rollout.blocks(np.array(lengths)))
    assert len({len(block) for block in found}) == 1
    assert len(found[0]) <= rows
    members = [at for block in found for at in block.tolist() if at >= 0]
    assert sorted(members) == list(range(len(lengths)))
    assert [lengths[at] for at in members] == sorted(lengths, reverse=True)


# The state of the model, and later steps, have no influence.


class StopHereError(Exception):
    pass


@pytest.mark.parametrize("kind", ["carrying", "window"])
def test_the_state_of_the_model_is_as_before(kind, networks, small):
    predictor = networks(kind)
    values = drawn(FORECAST, LENGTHS.sum())
    predictor.model.reset_states()
    predictor.model.predict_on_batch(drawn(FORECAST, 2 * WINDOW, 4).reshape(2, WINDOW, 2))
    before = predictor.model.states
    predictor.predict_steps(values, LENGTHS)
    predictor.predict_ahead(values, LENGTHS, 4)
    for _ in predictor.rollout.predict_steps(values, LENGTHS):
        break  # the rest is never consumed

    def stop(_):
        raise StopHereError

    with pytest.raises(StopHereError):
        predictor.rollout.predict_ahead(values, LENGTHS, 4, stop, horizon=1)
    assert predictor.model.states == before


@pytest.mark.parametrize("kind", KINDS)
def test_later_steps_change_no_earlier_prediction(kind, networks, small):
    predictor = networks(kind)
    values = drawn(predictor.task, LENGTHS.sum())
    changed = values.copy()
    other = drawn(predictor.task, LENGTHS.sum(), seed=9)
    offsets = np.cumsum(LENGTHS) - LENGTHS
    late = np.concatenate([np.arange(length) > length // 2 for length in LENGTHS])
    changed[late] = other[late]
    one, two = predictor.predict_steps(values, LENGTHS), predictor.predict_steps(changed, LENGTHS)
    np.testing.assert_array_equal(one[~late], two[~late])
    assert (one[late] != two[late]).any()
    assert not late[offsets].any()


def test_a_step_equal_to_padding_is_refused(networks):
    predictor = networks("carrying")
    values = np.array([[1.0, predictor.pad], [predictor.pad, predictor.pad]])
    data = Sequences(values, np.array([2]), (A, B), ("s",), source="t.csv")
    with pytest.raises(InputError, match=r"Step 1 of t\.csv holds -.* in every column, the number"):
        predictor.inputs_of(data)


@pytest.mark.parametrize("kind", ["carrying, three ahead", "chunks"])
def test_looking_further_ahead_than_the_horizon_compiles_no_other_program(kind, networks, compiled):
    predictor, lengths = networks(kind), np.array([30, 20])
    values = drawn(predictor.task, lengths.sum())
    horizon = predictor.task.horizon
    once = predictor.predict_ahead(values, lengths, horizon)
    compiled.count = 0
    further = predictor.predict_ahead(values, lengths, 2 * horizon + 1)
    assert compiled.count == 0
    np.testing.assert_array_equal(further[:, :horizon], once)
