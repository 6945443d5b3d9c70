"""Splits against loops over short series: the test part is later or other sequences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legato._errors import InputError
from legato._series.sequences import Column, Sequences
from legato._series.splits import rolling_origins, split_by_group, split_by_time

thorough = settings(max_examples=150, deadline=None, derandomize=True, database=None)
lengths_of = st.lists(st.integers(3, 40), min_size=1, max_size=6)


def sequences(lengths, times=None):
    """Sequences named a, b, c, …, with one column that counts."""
    lengths = np.asarray(lengths)
    values = np.arange(1.0, lengths.sum() + 1)[:, None]
    names = tuple("abcdefghijklmnopqrstuvwxyz"[: len(lengths)])
    return Sequences(values, lengths, (Column("x"),), names, times)


def days(*counts, begin="2020-01-01"):
    """Daily times of sequences that begin on the same day."""
    return np.concatenate([np.datetime64(begin) + np.arange(count) for count in counts])


# By time.


@thorough
@given(lengths=lengths_of, share=st.floats(0.01, 0.6), least=st.integers(1, 3))
def test_the_test_part_is_the_last_share_of_each_sequence(lengths, share, least):
    tests = [max(round(share * length), least) for length in lengths]
    if any(length - test < 2 for length, test in zip(lengths, tests, strict=True)):
        with pytest.raises(InputError, match="at least 2 time steps must be left"):
            split_by_time(sequences(lengths), share, least)
    else:
        cuts = split_by_time(sequences(lengths), share, least)
        assert [n - cut for n, cut in zip(lengths, cuts, strict=True)] == tests


def test_the_test_part_may_be_a_number_of_steps():
    assert split_by_time(sequences([10, 5]), share=3).tolist() == [7, 2]


@thorough
@given(lengths=lengths_of, day=st.integers(2, 45), hours=st.sampled_from([0, 5]))
def test_a_cut_at_a_time_is_at_that_time_in_every_sequence(lengths, day, hours):
    at = np.datetime64("2020-01-01T00") + 24 * day - hours
    cuts = []
    for length in lengths:
        before = [t for t in days(length) if t < at]
        cuts.append(len(before))
    data = sequences(lengths, days(*lengths))
    if cuts == lengths:
        with pytest.raises(InputError, match=r"No time step is at .* or later"):
            split_by_time(data, at=at)
    else:
        assert split_by_time(data, at=at).tolist() == cuts


def test_a_time_may_be_a_string_a_coarser_date_or_a_number():
    data = sequences([40, 36], days(40, 36))
    assert split_by_time(data, at="2020-02").tolist() == [31, 31]
    assert split_by_time(data, at="2020-02-09").tolist() == [39, 36]
    numbered = sequences([4, 3], np.array([1.0, 2, 3, 4, 2, 3, 4]))
    assert split_by_time(numbered, at=4).tolist() == [3, 2]


@pytest.mark.parametrize(
    ("lengths", "arguments", "message"),
    [
        ([9, 3], {"share": 2}, "Sequence 'b' has length 3 and its test part would take 2; at"),
        ([9, 3], {"share": 3}, "smaller share, or leave out the 1 of 2 sequences"),
        ([1], {}, "Sequence 'a' has length 1 and its test part would take 1"),
        ([1, 2], {"share": 2}, "smaller share, or give longer sequences"),
        ([9], {"share": 1.0}, "share=1.0 is neither a share between 0 and 1"),
        ([9], {"share": float("nan")}, "share=nan is neither"),
        ([9], {"share": True}, "share=True is neither"),
        ([9], {"share": 0}, "share is 0; a whole number of"),
        ([9], {"least": 0}, "least is 0; a whole number of"),
        ([9], {"at": "2020"}, "There are no times to cut at '2020'"),
    ],
)
def test_an_invalid_split_by_time_is_refused(lengths, arguments, message):
    with pytest.raises(InputError, match=message):
        split_by_time(sequences(lengths), **arguments)


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ("soon", "'soon' is not a time such as 2020-01-01"),
        (7, "7 is not a time such as 2020-01-01"),
        ("NaT", "No time step is at NaT or later"),
        ("2021", "the test part is empty; the times are 2020-01-01 to 2020-01-09"),
        ("2020-01-02", "Sequence 'a' has length 9 and its .* take 8; .* Take a later time"),
        ("2019", "Sequence 'a' has length 9 and its test part would take 9"),
    ],
)
def test_an_invalid_time_is_refused(at, message):
    with pytest.raises(InputError, match=message):
        split_by_time(sequences([9, 8], days(9, 8)), at=at)


# By group.


@thorough
@given(
    count=st.integers(2, 20),
    share=st.floats(0.01, 0.99) | st.integers(1, 19),
    seed=st.integers(0, 9),
)
def test_every_sequence_is_in_one_part_and_none_is_empty(count, share, seed):
    data = sequences([3] * count)
    if share >= count:
        with pytest.raises(InputError, match="leaves none to train on"):
            split_by_group(data, share, seed)
        return
    train, test = split_by_group(data, share, seed)
    assert sorted([*train, *test]) == list(range(count))
    assert len(train)
    wanted = share if share >= 1 else round(share * count)
    assert len(test) == min(max(wanted, 1), count - 1)
    assert sorted(train) == train.tolist()
    assert sorted(test) == test.tolist()


@thorough
@given(labels=st.lists(st.sampled_from("xyz"), min_size=2, max_size=20), share=st.floats(0.05, 0.9))
def test_each_class_of_two_or_more_is_in_both_parts(labels, share):
    data = sequences([3] * len(labels))
    members = {label: labels.count(label) for label in labels}
    if max(members.values()) == 1:
        with pytest.raises(InputError, match="a class of its own"):
            split_by_group(data, share, labels=labels)
        return
    _, test = split_by_group(data, share, labels=labels)
    drawn = [labels[at] for at in test]
    for label, count in members.items():
        exact = round(share * count)
        assert drawn.count(label) == (0 if count == 1 else min(max(exact, 1), count - 1))


def test_a_seed_repeats_its_draw_and_every_sequence_can_be_drawn():
    data = sequences([3] * 8)
    draws = [tuple(split_by_group(data, 0.25, seed)[1]) for seed in range(40)]
    assert draws == [tuple(split_by_group(data, 0.25, seed)[1]) for seed in range(40)]
    assert {at for draw in draws for at in draw} == set(range(8))


def test_a_draw_within_a_class_is_random():
    draws = [
        split_by_group(sequences([3] * 6), 2, seed, labels=[0, 1] * 3)[1] for seed in range(40)
    ]
    assert {at for draw in draws for at in draw.tolist()} == set(range(6))


@pytest.mark.parametrize(
    ("count", "arguments", "message"),
    [
        (1, {}, "One sequence cannot be split by group: split it by time"),
        (3, {"share": 3}, "share=3 of 3 sequences leaves none to train on"),
        (3, {"share": -0.5}, "share=-0.5 is neither"),
        (3, {"share": 0}, "share is 0; a whole number of"),
        (3, {"labels": [0, 1]}, r"labels have shape \(2,\) and there are 3 sequences"),
    ],
)
def test_an_invalid_split_by_group_is_refused(count, arguments, message):
    with pytest.raises(InputError, match=message):
        split_by_group(sequences([4] * count), **arguments)


# Origins.


@thorough
@given(
    parts=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 12)), min_size=1, max_size=5),
    horizon=st.integers(1, 6),
    stride=st.integers(1, 4),
)
def test_origins_are_all_with_their_whole_horizon_in_the_test_part(parts, horizon, stride):
    expected = []
    for sequence, (train, test) in enumerate(parts):
        t = train - 1
        while t + horizon <= train + test - 1:
            expected.append((sequence, t))
            t += stride
    cuts, lengths = np.array([(train, train + test) for train, test in parts]).T
    if expected:
        found = rolling_origins(cuts, lengths, horizon, stride)
        assert [tuple(pair) for pair in np.transpose(found)] == expected
    else:
        with pytest.raises(InputError, match="There is nothing to score: the horizon"):
            rolling_origins(cuts, lengths, horizon, stride)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([8], [10], 0), "horizon is 0; a whole number of"),
        (([8], [10], 1, 0), "stride is 0; a whole number of"),
        (([8], [10], 3), "the horizon is 3 steps and the longest test part has 2. Take a larger"),
        (([10], [10], 1), "the longest test part has 0"),
        (([8, 8], [10], 1), "There are 2 cuts and 1 sequences"),
        (([4, 0], [10, 10], 1), "Sequence 1 is cut at 0: nothing is before"),
    ],
)
def test_invalid_origins_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        rolling_origins(*arguments)
