"""Training sets: every step with a target is a target once, with the steps before it as input.

Quantities are all different, so that the last step of a sample identifies its step and sequence;
the expected sample and target are then looked up.
"""

import numpy as np
import pytest

from legato import Column, Sequences
from legato._forecasting.network import Networks, Shape
from legato._forecasting.task import Task, infer_task
from legato._forecasting.train_config import TrainConfig
from legato._forecasting.trainer import Trainer

LENGTHS, STEPS, PAD = np.array([11, 5, 8]), 3, -1e6
MEAN, SPREAD = np.array([0.5, -1.0, 2.0, 3.0]), np.array([2.0, 0.5, 4.0, 8.0])
KINDS = {
    "forecast": (Task("forecast", (Column("a"), Column("b")), (Column("b"), Column("a")), 2), 2),
    "generate": (None, 1),
    "classify": (None, 0),
}


def data() -> Sequences:
    rng = np.random.default_rng(2)
    numbers = rng.permutation(2 * LENGTHS.sum()).reshape(-1, 2).astype(float)
    sky = Column("sky", ("dry", "wet", "wild"), (0.0, 1.0, 2.0))
    labels = np.arange(LENGTHS.sum()) * 7 % 3
    columns = (Column("a"), Column("b"), sky)
    return Sequences(np.column_stack([numbers, labels]), LENGTHS, columns, ("r", "s", "t"))


def training_set_of(kind: str, framing, stateful: bool, begins):
    task, _ = KINDS[kind]
    task = task or infer_task(data(), kind, "sky")
    shape = Shape(stateful=stateful, framing=framing, steps=STEPS)
    trainer = Trainer(task, shape, TrainConfig(seed=3, rows=2))
    scale = (MEAN, SPREAD) if kind == "forecast" else None
    networks = Networks(None, None, PAD, scale)  # only pad and scale are used
    return trainer.training_set(networks, data(), np.array(begins))


def expected(kind: str, at: int, t: int):
    """The target at a step of a sequence; None if there is none."""
    own, ahead = data().of(at), KINDS[kind][1]
    if t + ahead >= len(own):
        return None
    if kind == "forecast":
        changes = [own[t + 1] - own[t], own[t + 2] - own[t]]
        return (np.concatenate([each[[1, 0]] for each in changes]) - MEAN) / SPREAD
    return own[t + ahead, 2]


FRAMINGS = [
    ("chunks", True),
    ("chunks", False),
    ("window", False),
    ("features", False),
    ("prefix", False),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("framing", "stateful"), FRAMINGS)
@pytest.mark.parametrize("begins", [[0, 0, 0], [6, 3, 8]])
def test_every_step_with_a_target_occurs_once(kind, framing, stateful, begins):
    sequences, found = data(), training_set_of(kind, framing, stateful, begins)
    where = {step[0]: (at, t) for at in range(3) for t, step in enumerate(sequences.of(at))}
    ahead, targets_found = KINDS[kind][1], []
    for x, y, weight in zip(found.x, found.y, found.weight, strict=True):
        steps = range(STEPS) if framing == "chunks" else [STEPS - 1]
        for step in steps:
            if (weight[step] if framing == "chunks" else weight) == 0:
                continue
            at, t = where[x[step, 0]]
            targets_found.append((at, t))
            np.testing.assert_allclose(
                y[step] if framing == "chunks" else y, expected(kind, at, t), rtol=1e-6
            )
            for back in range(step + 1):
                row = x[step - back]
                if t >= back:
                    assert row.tolist() == sequences.of(at)[t - back, : len(row)].tolist()
                else:
                    assert (row == PAD).all()
    least = STEPS - 1 if framing in ("window", "features") else 0
    assert sorted(targets_found) == [
        (at, t)
        for at, length in enumerate(LENGTHS)
        for t in range(least, length)
        if t + ahead < length and t + ahead >= begins[at]
    ]


def test_random_runs_end_at_steps_with_a_target():
    sequences, found = data(), training_set_of("forecast", "runs", False, [0, 0, 0])
    where = {step[0]: (at, t) for at in range(3) for t, step in enumerate(sequences.of(at))}
    sizes = set()
    for x, y in zip(found.x, found.y, strict=True):
        at, t = where[x[-1, 0]]
        np.testing.assert_allclose(y, expected("forecast", at, t), rtol=1e-6)
        size = int((x[:, 0] != PAD).sum())
        sizes.add(size)
        assert x[STEPS - size :].tolist() == sequences.of(at)[t + 1 - size : t + 1, :2].tolist()
    assert sizes == {1, 2, 3}
    again = training_set_of("forecast", "runs", False, [0, 0, 0])
    np.testing.assert_array_equal(again.x, found.x)


def test_the_number_of_rows_is_as_requested():
    assert training_set_of("generate", "chunks", True, [0, 0, 0]).rows == 2
    assert training_set_of("generate", "window", False, [0, 0, 0]).rows == 2
