"""Splitting data into the parts for fitting, for early stopping and for testing."""

import numpy as np
import pytest

from legato._forecasting.partition import split_parts
from legato._forecasting.task import infer_task
from legato._forecasting.train_config import TrainConfig
from legato._series.sequences import Column, Sequences


def steps_with_labels() -> Sequences:
    """Two sequences in which every step has its own label."""
    values = np.stack([np.arange(30.0), np.arange(30) % 2], axis=-1)
    columns = (Column("level"), Column("valve", ("shut", "open"), (0.0, 1.0)))
    return Sequences(values, np.array([20, 10]), columns, ("a", "b"))


@pytest.mark.parametrize("kind", ["forecast", "classify", "generate"])
def test_by_time_the_last_steps_are_the_test_part_and_those_before_them_the_validation_part(kind):
    data = steps_with_labels()
    task = infer_task(data, kind, "level" if kind == "forecast" else "valve")
    parts = split_parts(data, task, TrainConfig(validation=0.25, early_stop=1, seed=1))
    assert parts.by == "time"
    assert parts.stops.tolist() == [16, 8]
    assert parts.fits.tolist() == [12, 6]


def test_by_group_whole_sequences_are_the_test_part():
    data = steps_with_labels()
    task = infer_task(data, "forecast", "level")
    parts = split_parts(data, task, TrainConfig(split="group", test=1, seed=1))
    assert parts.by == "group"
    assert sorted(parts.stops.tolist()) in ([0, 10], [0, 20])
    assert parts.fits.tolist() == parts.stops.tolist()


@pytest.mark.parametrize(
    ("length", "horizon", "options", "window", "test"),
    [
        (60, 12, {}, 1, 14),  # a fifth has one origin: three of them
        (60, 11, {}, 1, 12),  # a fifth has two origins
        (30, 12, {}, 1, 12),  # two horizons are left before it, or one origin
        (40, 12, {}, 15, 13),  # what the window needs is left
        (60, 12, {"test": 12}, 1, 12),  # as it was given
        (144, 12, {}, 1, 29),
        (8, 1, {"test": 0.1}, 1, 2),
    ],
)
def test_a_share_leaves_several_origins_where_the_sequence_is_long_enough(
    length, horizon, options, window, test
):
    data = Sequences(np.arange(float(length))[:, None], np.array([length]), (Column("x"),), ("a",))
    task = infer_task(data, "forecast", "x", horizon)
    parts = split_parts(data, task, TrainConfig(**options), window)
    assert length - parts.stops[0] == test
    fifth = max(round(options.get("test", 0.2) * length), 1)
    lengthened = "test" not in options or options["test"] < 1
    assert bool(parts.notes) == (lengthened and test != max(fifth, horizon))


def required(part: tuple[Sequences, np.ndarray] | None) -> tuple[Sequences, np.ndarray]:
    """The part, which must not be None."""
    assert part is not None
    return part


def test_parts_by_time_follow_each_other_in_every_sequence():
    lengths = np.array([11, 5, 8])
    values = np.arange(48.0).reshape(24, 2)
    sequences = Sequences(values, lengths, (Column("a"), Column("b")), ("r", "s", "t"))
    task = infer_task(sequences, "forecast", "a")
    parts = split_parts(
        sequences, task, TrainConfig(test=0.2, validation=0.25, early_stop=1, seed=1)
    )
    for at, length in enumerate(lengths.tolist()):
        stop = length - max(round(0.2 * length), 1)
        assert parts.stops[at] == stop
        assert parts.fits[at] == stop - max(round(0.25 * stop), 1)
    part, begins = required(parts.test(sequences))
    assert part.lengths.tolist() == lengths.tolist()
    assert begins.tolist() == parts.stops.tolist()
    part, begins = required(parts.validation(sequences))
    assert part.lengths.tolist() == parts.stops.tolist()
    assert begins.tolist() == parts.fits.tolist()
    assert parts.training(sequences).lengths.tolist() == parts.stops.tolist()
    assert parts.fitting(sequences).lengths.tolist() == parts.fits.tolist()
    none = split_parts(sequences, task, TrainConfig(test=0, validation=0, seed=1))
    assert none.test(sequences) is None
    assert none.validation(sequences) is None


def test_parts_of_whole_sequences_have_every_label_and_no_sequence_twice():
    count = 20
    labels = np.repeat(np.arange(count) % 2, 3)
    columns = (Column("x"), Column("y", ("u", "v"), (0.0, 1.0)))
    values = np.column_stack([np.arange(60.0), labels])
    names = tuple(map(str, range(count)))
    sequences = Sequences(values, np.full(count, 3), columns, names)
    task = infer_task(sequences)
    assert task.whole
    parts = split_parts(
        sequences, task, TrainConfig(test=0.2, validation=0.25, early_stop=1, seed=4)
    )
    fits = set(parts.fitting(sequences).names)
    stops, scores = required(parts.validation(sequences)), required(parts.test(sequences))
    assert [len(fits), len(stops[0]), len(scores[0])] == [12, 4, 4]
    assert fits.isdisjoint(stops[0].names)
    assert not (fits | set(stops[0].names)) & set(scores[0].names)
    assert set(parts.training(sequences).names) == fits | set(stops[0].names)
    for part, begins in (stops, scores):
        assert not begins.any()
        assert set(part.values[:, 1]) == {0, 1}
    other = split_parts(
        sequences, task, TrainConfig(test=0.2, validation=0.25, early_stop=1, seed=5)
    )
    assert required(other.test(sequences))[0].names != scores[0].names
