"""Tasks: the inputs and targets of a model, and how they are inferred, against plain loops.

Targets are looked up one step at a time, labels by their names; Keras is not needed.
"""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legato import Column, InputError, Sequences, read
from legato._forecasting.task import Task, infer_task

quick = settings(deadline=None, derandomize=True, database=None, max_examples=60)
many_lengths = st.lists(st.integers(1, 9), min_size=1, max_size=6)
LABELS = ("calm", "dry", "wet", "wild")


def made(lengths, seed: int = 0, quantities: int = 2, labels: tuple[str, ...] = LABELS):
    """Sequences with some quantities, a, b, c …, and a column of labels, "sky"."""
    rng = np.random.default_rng(seed)
    total = sum(lengths)
    values = np.column_stack(
        [rng.normal(size=(total, quantities)), rng.integers(0, len(labels), total)]
    )
    sky = Column("sky", labels, tuple(map(float, range(len(labels)))))
    columns = (*(Column("abcdef"[at]) for at in range(quantities)), sky)
    return Sequences(
        values, np.array(lengths), columns, tuple(f"s{at}" for at in range(len(lengths)))
    )


def readable(sequences: Sequences, name: str) -> list[list[Any]]:
    """A column sequence by sequence: numbers, or the names of labels."""
    place = sequences.place(name)
    column = sequences.columns[place]
    parts = [sequences.of(at)[:, place].tolist() for at in range(len(sequences))]
    if column.categories is None or column.numbers is None:
        return parts
    names = dict(zip(column.numbers, column.categories, strict=True))
    return [[names[number] for number in part] for part in parts]


# Inputs and targets.


@quick
@given(lengths=many_lengths, horizon=st.integers(1, 5), targets=st.permutations("abc"))
def test_targets_of_forecasts_are_the_next_steps_the_nearest_first(lengths, horizon, targets):
    sequences = made(lengths, quantities=3)
    columns = tuple(Column(name) for name in targets[:2])
    task = Task("forecast", sequences.columns, columns, horizon)
    answers, there = task.answers_of(sequences)
    assert answers.shape == (sum(lengths), 2 * horizon)
    row = 0
    for at, length in enumerate(lengths):
        for step in range(length):
            assert there[row] == (step + horizon < length)
            for ahead in range(horizon):
                for which, name in enumerate(targets[:2]):
                    wanted = readable(sequences, name)[at][step + ahead + 1] if there[row] else 0.0
                    assert answers[row, 2 * ahead + which] == wanted
            row += 1


@quick
@given(lengths=many_lengths, kind=st.sampled_from(["classify", "generate"]), seed=st.integers(0, 9))
def test_targets_of_labels_stand_for_their_names(lengths, kind, seed):
    sequences = made(lengths, seed)
    ahead = int(kind == "generate")
    column = sequences.columns[-1]
    task = Task(kind, sequences.columns, (column,), ahead)
    answers, there = task.answers_of(sequences)
    expected = [
        part[step + ahead] if step + ahead < len(part) else None
        for part in readable(sequences, "sky")
        for step in range(len(part))
    ]
    assert there.tolist() == [label is not None for label in expected]
    assert [task.labels[answer] for answer in answers[there]] == [each for each in expected if each]


def test_the_vocabulary_is_that_of_the_training_part():
    data = {"x": [1.0, 2, 3, 4, 5, 6], "sky": ["dry", "wet", "dry", "wet", "calm", "wild"]}
    sequences = read(data)
    assert infer_task(sequences).labels == ("calm", "dry", "wet", "wild")
    first = infer_task(sequences.between([0], [4]))
    assert first.labels == ("dry", "wet")
    assert first.targets[0].numbers == (0, 1)  # an index in the remaining list
    answers, there = first.answers_of(sequences.between([0], [4]))
    assert (answers.tolist(), there.all()) == ([0, 1, 0, 1], True)
    with pytest.raises(InputError, match=r"'sky' .* holds 'calm' in row 4, which .* \(2 such"):
        first.answers_of(sequences)


@quick
@given(order=st.permutations(LABELS), seed=st.integers(0, 9))
def test_labels_are_encoded_by_name_whatever_their_order(order, seed):
    trained = made([12, 9], seed)
    task = infer_task(trained, "generate", "sky")
    other = made([7, 1, 8], seed, labels=tuple(order))
    kept = [label in task.labels for part in readable(other, "sky") for label in part]
    if not all(kept):
        return
    names = [task.labels[int(number)] for number in task.inputs_of(other)[:, -1]]
    assert names == [label for part in readable(other, "sky") for label in part]
    answers, there = task.answers_of(other)
    wanted = [label for part in readable(other, "sky") for label in part[1:]]
    assert [task.labels[answer] for answer in answers[there]] == wanted


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        ([3, 1, 8, 3], (1, 3, 8)),
        ([-3, 5, 5, 0], (-3, 0, 5)),
        ([0.1, 0.3, 0.2, 0.1], (0, 1, 2)),  # by index: float32 represents none of them
        ([20_000_001, 20_000_000, 20_000_002, 20_000_001], (0, 1, 2)),  # nor distinguishes these
        (["b", "a", "c", "b"], (0, 1, 2)),
    ],
)
def test_small_whole_numbers_are_their_own_codes_and_other_labels_have_an_index(values, numbers):
    sequences = read({"x": [1.0, 2, 3, 5], "kind": values}, categorical="kind")
    task = infer_task(sequences, "generate", "kind")
    assert task.targets[0].numbers == numbers
    encoded = task.inputs_of(sequences)[:, 1]
    assert encoded.dtype == "float32"
    labels = dict(zip(map(float, numbers), task.labels, strict=True))
    assert [labels[number] for number in encoded.tolist()] == [str(value) for value in values]
    answers, there = task.answers_of(sequences)
    assert [task.labels[each] for each in answers[there]] == [str(value) for value in values[1:]]


@pytest.mark.parametrize(
    "task",
    [
        infer_task(made([9, 4]), "generate", "sky"),
        infer_task(made([9, 4]), "classify", "sky"),
        infer_task(made([9, 4]), "forecast", ["b", "a"], 3),
    ],
    ids=lambda task: task.kind,
)
def test_a_task_survives_json(task):
    again = Task.from_numbers(json.loads(json.dumps(task.as_numbers())))
    assert again == task
    np.testing.assert_array_equal(again.inputs_of(made([9, 4])), task.inputs_of(made([9, 4])))


# Inferring the task.


def whole(labels: list[str]) -> Sequences:
    """Sequences of three steps with one label each."""
    names = [f"s{at}" for at in range(len(labels)) for _ in range(3)]
    values = [float(at) for at in range(len(names))]
    return read(
        {"name": names, "x": values, "y": [each for each in labels for _ in range(3)]}, group="name"
    )


def test_the_task_is_inferred_from_the_data():
    assert infer_task(read({"a": [1.0, 2], "b": [3.0, 4]})) == Task(
        "forecast", (Column("a"), Column("b")), (Column("b"),), 1
    )
    found = infer_task(read({"a": [1.0, 2], "b": ["x", "y"]}))
    assert (found.kind, found.horizon, found.whole) == ("classify", 0, False)
    assert [column.name for column in found.inputs] == ["a"]
    found = infer_task(read({"b": ["x", "y"]}))
    assert (found.kind, found.horizon, found.is_autoregressive) == ("generate", 1, True)
    assert infer_task(whole(["u", "v", "u"])).whole
    assert not infer_task(whole(["u", "v", "u"]), "generate", "y").whole
    assert not infer_task(read({"a": [1.0, 2], "b": ["x", "y"]})).whole


def test_a_task_is_autoregressive_if_its_targets_are_all_of_its_inputs():
    sequences = made([9], quantities=2).select([0])
    two = Sequences(sequences.values[:, :2], sequences.lengths, sequences.columns[:2], ("s",))
    assert infer_task(two, target=["b", "a"]).is_autoregressive
    assert infer_task(two, target=["b", "a"]).places == [1, 0]
    assert not infer_task(two, target="a").is_autoregressive
    assert not infer_task(sequences, "generate", "sky").is_autoregressive
    assert not infer_task(sequences, "classify", "sky").is_autoregressive


# Errors.

TABLE = {
    "name": ["u", "u", "v", "v"],
    "day": [1, 2, 1, 2],
    "x": [1.0, 2.0, 3.0, 5.0],
    "same": [7.0] * 4,
    "sky": ["dry", "wet", "dry", "dry"],
    "sea": ["high", "low", "low", "low"],
    "flat": ["level"] * 4,
}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "same"}, r"'same' is constant .*: it is 7\.0 in all 4 steps.* Name another"),
        ({"target": "flat"}, "'flat' is constant .*: it is level in all 4 steps"),
        ({"target": "name"}, "'name' is the column of the sequences. Name another"),
        ({"target": "day"}, "'day' is the column of the times. Name another"),
        ({"target": "skye"}, "no column 'skye'. Did you mean 'sky'. There are 'x', 'same'"),
        ({"target": 5}, "no column 5. There are 'x'"),
        ({"target": []}, "target is empty: name at least one column"),
        ({"target": ["x", "y"]}, "no column 'y'"),
        ({"target": "sky", "horizon": 2}, "horizon is 2, but the task is to classify: only quan"),
        ({"target": "sky", "kind": "forecast"}, "'sky' holds labels, and only quantities are"),
        ({"target": ["x", "sky"]}, "The targets are 'x', 'sky'; to classify, exactly one was"),
        ({"target": ["sea", "sky"], "kind": "generate"}, "to generate, exactly one was expected"),
        ({"target": "x", "kind": "classify"}, "'x' holds quantities, and to classify, labels wer"),
    ],
)  # fmt: skip
def test_impossible_tasks_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        infer_task(read(TABLE, group="name", time="day"), **options)


def test_labels_need_another_column_as_input():
    with pytest.raises(InputError, match="'sky' is the only column: at least one other is"):
        infer_task(read({"sky": ["dry", "wet"]}), "classify")


def test_data_unlike_those_of_training_are_refused():
    task = infer_task(read({"x": [1.0, 2.0], "sky": ["dry", "wet"]}), "generate", "sky")
    with pytest.raises(InputError, match=r"has no column 'x'\. There is 'sky'"):
        task.inputs_of(read({"sky": ["dry", "wet"]}))
    with pytest.raises(InputError, match="'x' of the dictionary holds labels; quantities were exp"):
        task.inputs_of(read({"x": ["a", "b"], "sky": ["dry", "wet"]}))
    with pytest.raises(InputError, match="'sky' of the dictionary holds quantities; labels were"):
        task.inputs_of(read({"x": [1.0, 2.0], "sky": [1.0, 2.0]}))
    with pytest.raises(
        InputError,
        match=r"'sky' of the dictionary holds 'calm' in row 1, .* Its labels are 'dry', 'wet'\.",
    ):
        task.inputs_of(read({"x": [1.0, 2.0], "sky": ["dry", "calm"]}))
