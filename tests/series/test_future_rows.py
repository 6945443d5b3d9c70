"""Future rows: the rows at the end of each sequence without a target, and what they hold."""

import numpy as np
import pytest

import legato
from legato import InputError
from legato._series.reading import read_with_future

SHOPS = {
    "shop": ["a"] * 4 + ["b"] * 4,
    "day": [1, 2, 3, 4, 1, 2, 3, 4],
    "price": [5.0, 6.0, 7.0, 8.0, 1.0, 2.0, 3.0, None],
    "sold": [1.0, 2.0, None, None, 4.0, 5.0, 6.0, None],
}
WHERE = {"group": "shop", "time": "day"}


def test_rows_after_the_last_target_are_the_future():
    sequences, future = read_with_future(SHOPS, ["sold"], **WHERE)
    assert future is not None
    assert (sequences.lengths.tolist(), future.lengths.tolist()) == ([2, 3], [2, 1])
    assert sequences.values[:, 1].tolist() == [1, 2, 4, 5, 6]
    assert future.values[:, 0].tolist()[:2] == [7, 8]
    assert (future.times.tolist(), future.lines.tolist()) == ([3, 4, 4], [2, 3, 7])
    assert sequences.notes[0].startswith("3 rows at the end without a target")


def test_the_last_column_is_the_target_by_default_and_several_targets_are_empty_together():
    assert read_with_future(SHOPS, **WHERE)[1].lengths.tolist() == [2, 1]
    both = {**SHOPS, "price": [5.0, 6.0, None, None, 1.0, 2.0, 3.0, None]}
    assert read_with_future(both, ["sold", "price"], **WHERE)[1].lengths.tolist() == [2, 1]
    with pytest.raises(InputError, match=r"row 2 .*'sold': the value is missing"):
        read_with_future(SHOPS, ["sold", "price"], **WHERE)


def test_a_gap_before_the_end_is_a_missing_value_as_ever():
    gap = {**SHOPS, "sold": [1.0, None, 2.0, None, 4.0, 5.0, 6.0, None]}
    with pytest.raises(InputError, match=r"row 1 .*'sold': the value is missing"):
        read_with_future(gap, ["sold"], **WHERE)
    sequences, future = read_with_future(gap, ["sold"], **WHERE, missing="drop")
    assert (sequences.lengths.tolist(), future.lengths.tolist()) == ([2, 3], [1, 1])


@pytest.mark.parametrize("fill", ["interpolate", "forward", "zero"])
def test_rows_put_in_before_the_first_row_of_the_future_have_what_is_known_ahead(fill):
    days = [1, 2, 3, 6, 1, 2, 3, 4]  # of shop a, days 4 and 5 are missing
    data = {**SHOPS, "day": days, "price": [5.0, 6.0, 7.0, 10.0, 1.0, 2.0, 3.0, None]}
    data["sold"] = [1.0, 2.0, 3.0, None, 4.0, 5.0, 6.0, None]
    sequences, future = read_with_future(data, ["sold"], **WHERE, fill=fill)
    if fill == "zero":  # nothing was there, nothing was sold
        assert sequences.values[3:5].tolist() == [[0, 0], [0, 0]]
        assert (sequences.lengths.tolist(), future.lengths.tolist()) == ([5, 3], [1, 1])
        return
    assert (sequences.lengths.tolist(), future.lengths.tolist()) == ([3, 3], [3, 1])
    assert future.values[:3, 0].tolist() == ([8, 9, 10] if fill == "interpolate" else [7, 7, 10])
    with pytest.raises(InputError, match=r"'price' .* no value for 'b' at 4"):  # as it came
        future.check_filled(["price"])


def test_a_sequence_without_any_target_has_no_future():
    none = {**SHOPS, "sold": [None] * 4 + [4.0, 5.0, 6.0, None]}
    with pytest.raises(InputError, match=r"row 0 .*'sold': the value is missing"):
        read_with_future(none, ["sold"], **WHERE)


def test_labels_have_no_future_and_read_knows_of_none():
    labels = {"x": [1.0, 2.0, 3.0], "state": ["on", "off", None]}
    for data, options in ((labels, {}), (SHOPS, WHERE)):
        with pytest.raises(InputError, match="the value is missing"):
            legato.read(data, **options)
    with pytest.raises(InputError, match="the value is missing"):
        read_with_future(labels, ["state"])


def test_rows_are_matched_to_sequences_by_name_and_time():
    sequences, future = read_with_future(SHOPS, ["sold"], **WHERE)
    turned = sequences.select([1, 0])
    assert future.after(turned).lengths.tolist() == [1, 2]
    plan = legato.read({name: SHOPS[name][:6] for name in ("shop", "day", "price")}, **WHERE)
    later = type(future).of(plan).after(sequences)
    assert (later.lengths.tolist(), later.times.tolist()) == ([2, 0], [3, 4])


def test_the_first_rows_are_sequences_of_their_own():
    _, future = read_with_future(SHOPS, ["sold"], **WHERE)
    alone = future.after(read_with_future(SHOPS, ["sold"], **WHERE)[0].select([0]))
    rows = alone.first(2, ["price"])
    assert (rows.lengths.tolist(), rows.values.tolist()) == ([2], [[7.0], [8.0]])
    with pytest.raises(InputError, match=r"To forecast 3 steps after 'a'.* has 2"):
        alone.first(3, ["price"])
    with pytest.raises(InputError, match=r"no column 'prise'.*Did you mean 'price'"):
        alone.first(1, ["prise"])
    with pytest.raises(InputError, match=r"'price' .* no value for 'b' at 4 \(row 7\)"):
        future.check_filled(["price"])


def test_a_time_that_comes_again_in_the_future_is_told():
    again = {**SHOPS, "day": [1, 2, 2, 4, 1, 2, 3, 4]}
    with pytest.raises(InputError, match="the time 2 comes twice in 'a'"):
        read_with_future(again, ["sold"], **WHERE)


def test_values_are_kept_as_they_came():
    sequences, future = read_with_future(SHOPS, ["sold"], **WHERE)
    both = np.concatenate([sequences.values[:2], future.values[:2]])
    np.testing.assert_array_equal(both[:, 0], SHOPS["price"][:4])
