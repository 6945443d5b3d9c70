"""What is set aside for the score, whatever the task."""

import numpy as np
import pytest

from legato._parts import parts_of
from legato._sequences import Column, Sequences
from legato._task import settle


def steps_with_labels() -> Sequences:
    """Two sequences in which every step has its own label."""
    values = np.stack([np.arange(30.0), np.arange(30) % 2], axis=-1)
    columns = (Column("level"), Column("valve", ("shut", "open"), (0.0, 1.0)))
    return Sequences(values, np.array([20, 10]), columns, ("a", "b"))


@pytest.mark.parametrize("kind", ["forecast", "classify", "generate"])
def test_the_last_steps_score_and_those_before_them_decide(kind):
    data = steps_with_labels()
    task = settle(data, kind, "level" if kind == "forecast" else "valve")
    parts = parts_of(data, task, None, 0.2, 0.25, seed=1)
    assert parts.by == "time"
    assert parts.stops.tolist() == [16, 8]
    assert parts.fits.tolist() == [12, 6]
