"""Values that were missing and filled in are no targets: neither learnt from nor scored."""

import numpy as np
import pytest

import legato
from legato._forecasting.task import infer_task

COUNT = 60
GONE = [5, 6, 17, 30, 55]
OPTIONS = {"units": 2, "epochs": 2, "verbose": 0}


def series(invented: float = np.nan) -> dict:
    values = np.sin(np.arange(COUNT) / 2) + 2
    values[GONE] = invented
    return {"t": np.arange(COUNT), "x": values}


def oracle(known: np.ndarray, horizon: int) -> np.ndarray:
    """Steps all of whose targets are there and known, one after another."""
    found = []
    for t in range(len(known)):
        ahead = range(t + 1, t + horizon + 1) if horizon else [t]
        found.append(all(each < len(known) and bool(known[each]) for each in ahead))
    return np.array(found)


@pytest.mark.parametrize("horizon", [1, 2, 5])
def test_a_step_has_a_target_if_all_of_it_is_known(horizon):
    known = np.ones(COUNT, bool)
    known[GONE] = False
    sequences = legato.read(series(), time="t", fill="interpolate")
    task = infer_task(sequences, horizon=horizon)
    np.testing.assert_array_equal(task.answers_of(sequences)[1], oracle(known, horizon))
    parts = sequences.between(np.array([3]), np.array([40]))
    np.testing.assert_array_equal(task.answers_of(parts)[1], oracle(known[3:40], horizon))


def test_labels_that_were_filled_in_are_no_targets():
    labels = [("u", "v")[at % 3 == 0] if at % 7 else None for at in range(40)]
    data = {"x": np.arange(40.0), "label": labels}
    sequences = legato.read(data, missing="forward")
    task = infer_task(sequences)
    known = np.array([each is not None for each in labels[1:]])
    np.testing.assert_array_equal(task.answers_of(sequences)[1], oracle(known, 0))


def test_a_network_learns_nothing_from_what_was_filled_in():
    sequences = legato.read(series(), time="t", fill="zero")
    planned = legato.plan(sequences, **OPTIONS)
    answers, there = planned.task.answers_of(sequences)
    assert not there[np.array(GONE) - 1].any()
    assert there.sum() == COUNT - 1 - len(GONE)
    assert (answers[np.array(GONE) - 1] == 0).all()
    assert planned.data["notes"][-1] == (
        "Neither learnt nor scored as targets: 5 steps whose target was filled in. As inputs they "
        "are as filled in."
    )


def test_what_was_filled_in_is_not_scored():
    trained = legato.train(series(), time="t", fill="forward", **OPTIONS)
    last = [at for at in GONE if at >= COUNT - COUNT // 5]
    assert trained.scores["predictions"] == COUNT // 5 - len(last)
    assert legato.train(series(1.0), time="t", **OPTIONS).scores["predictions"] == COUNT // 5


def test_an_ensemble_says_that_it_cannot_leave_them_out():
    long = {"t": np.arange(150), "x": np.sin(np.arange(150) / 2)}
    long["x"][[20, 40]] = np.nan
    notes = legato.plan(long, time="t", fill="forward").data["notes"]
    assert notes[-1] == (
        "Not scored: 2 steps whose target was filled in. The ensemble learns from them as if they "
        "were known; a single network (--framing chunks) does not."
    )


def test_where_no_step_would_be_left_filled_values_are_targets():
    data = {"t": np.arange(30), "x": np.sin(np.arange(30) / 2)}
    data["x"][1::2] = np.nan
    sequences = legato.read(data, time="t", fill="interpolate")
    task = infer_task(sequences, horizon=2)
    assert task.answers_of(sequences)[1].sum() == 28
