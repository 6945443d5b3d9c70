"""Columns as users keep them: masked, mixed of whole and decimal numbers, indexed by dates."""

import numpy as np
import pytest

import legato
from legato import InputError

pandas = pytest.importorskip("pandas")


@pytest.mark.parametrize(
    "values", [[1, 2.5, 3], [2.5, 1, 3], [3, None, 4.5], [None, 3, 4.5], [np.int64(1), 2.5]]
)
@pytest.mark.parametrize("kind", [list, lambda each: np.array(each, object)])
def test_whole_and_decimal_numbers_make_one_column(values, kind):
    expected = [each for each in values if each is not None]
    column = {"v": kind(values)}
    for source in (column, pandas.DataFrame(column, dtype=object)):
        assert legato.read(source, missing="drop").values.ravel().tolist() == expected


def test_times_mix_whole_and_decimal_numbers():
    assert legato.read({"t": [1, 0, 0.5], "v": [3, 1, 2]}, time="t").times.tolist() == [0, 0.5, 1]


def test_numbers_among_text_are_still_refused():
    with pytest.raises(InputError, match="several kinds"):
        legato.read({"v": [1, "a", 2.5]})


@pytest.mark.parametrize("dtype", ["int32", "float32", ">f8"])
@pytest.mark.parametrize("wrap", [lambda each: each, lambda each: {"v": each}, lambda each: [each]])
def test_masked_values_are_missing(dtype, wrap):
    source = wrap(np.ma.array(np.array([1, -9999, 3], dtype), mask=[False, True, False]))
    with pytest.raises(InputError, match="the value is missing"):
        legato.read(source)
    assert legato.read(source, missing="drop").values.ravel().tolist() == [1, 3]
    assert legato.read(source, missing="forward").values.ravel().tolist() == [1, 1, 3]


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i4", np.longdouble])
def test_any_byte_order_is_read(dtype):
    assert legato.read(np.array([1, 2, 4], dtype)).values.ravel().tolist() == [1, 2, 4]
    assert legato.read({"v": np.array([1, 2, 4], dtype)}).values.ravel().tolist() == [1, 2, 4]


DAYS = np.arange("2024-03-01", "2024-03-05", dtype="datetime64[D]")


@pytest.mark.parametrize("name", [None, "day"])
@pytest.mark.parametrize("periods", [False, True])
def test_an_index_of_dates_is_the_column_of_times(name, periods):
    dates = pandas.DatetimeIndex(DAYS[::-1], name=name)
    dates = dates.to_period("D") if periods else dates
    series = pandas.Series([4.0, 3, 2, 1], dates)
    for source in (series, pandas.DataFrame({"v": series})):
        data = legato.read(source)
        assert data.time == (name or "time")
        assert data.values.ravel().tolist() == [1, 2, 3, 4]
        assert (data.times == DAYS).all()
        assert "index" in data.notes[0]
        again = legato.read(source, time=data.time)
        assert (again.times == DAYS).all()
        assert again.values.shape == (4, 1)


def test_an_index_of_dates_gives_way_to_a_column_of_times():
    frame = pandas.DataFrame({"time": [1, 2, 3, 4], "v": [4, 3, 2, 1]}, pandas.DatetimeIndex(DAYS))
    assert legato.read(frame, time="time").times.tolist() == [1, 2, 3, 4]
    assert legato.read(frame).time == "index"
