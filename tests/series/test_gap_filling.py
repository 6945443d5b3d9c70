"""Rows that times leave out: counted, put in, and filled as pandas does."""

import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shop_files import write_file

import legato
from legato import InputError

pytestmark = pytest.mark.usefixtures("in_tmp_path")

thorough = settings(max_examples=100, deadline=None, derandomize=True, database=None)
OFFSETS = ["h", "D", "B", "MS", "ME", "W-WED", "15min", "BME", "QE", "YS"]


def holed(freq: str, tz: str | None = None):
    """A series with missing rows and values, as pandas has it."""
    times = pandas.date_range("2020-01-15", periods=80, freq=freq, tz=tz)
    values = pandas.Series(np.cos(np.arange(80.0)) + 3, times)
    values.iloc[[7, 20, 41]] = np.nan
    return values, values.drop(times[[3, 4, 30, 31, 32, 60]])


POLICIES = {
    "forward": lambda series: series.ffill(),
    "interpolate": lambda series: series.interpolate("time"),
    "zero": lambda series: series.fillna(0.0),
}


@pytest.mark.parametrize("freq", OFFSETS)
@pytest.mark.parametrize("fill", POLICIES)
@pytest.mark.parametrize("tz", [None, "Europe/Berlin"])
def test_missing_rows_are_put_in_and_filled_as_by_pandas(freq, fill, tz):
    whole, known = holed(freq, tz)
    found = legato.read(known.to_frame("x"), fill=fill)
    utc = whole.index if tz is None else whole.index.tz_convert("UTC").tz_localize(None)
    np.testing.assert_array_equal(found.times, utc.to_numpy())
    gaps = whole.copy()
    gaps.iloc[[3, 4, 30, 31, 32, 60]] = np.nan
    if fill == "interpolate" and tz is not None:
        gaps.index = utc
    np.testing.assert_allclose(found.values.ravel(), POLICIES[fill](gaps).to_numpy(), rtol=1e-12)
    assert "6 rows put in where they were missing, in 3 gaps." in found.notes[1]
    assert found.notes[2].startswith("9 values were missing: 9 ")
    assert len(found.notes) == 3
    unfilled = legato.read(known.dropna().to_frame("x"))
    assert unfilled.notes[-1].endswith(": 9 rows missing, which fill= (--fill) puts in.")


def test_sequences_are_filled_on_their_own():
    data = {
        "g": ["a", "a", "a", "b", "b", "b"],
        "t": [1, 2, 5, 2, 4, 5],
        "x": [1.0, np.nan, 7.0, np.nan, 2.0, np.nan],
        "label": ["u", "v", "w", "w", None, "u"],
    }
    expected = {
        "forward": ([1, 1, 1, 1, 7, 2, 2], "uvvvwwu"),
        "interpolate": ([1, 2.5, 4, 5.5, 7, 2, 2], "uvvvwwu"),
        "zero": ([1, 0, 0, 0, 7, 0, 0, 2, 0], "uvvvwwwwu"),
    }
    for fill, (values, labels) in expected.items():
        found = legato.read(data, group="g", time="t", fill=fill)
        assert found.values[:, 0].tolist() == values
        assert "".join("uvw"[int(each)] for each in found.values[:, 1]) == labels
        assert found.times.tolist() == [1, 2, 3, 4, 5, *range(6 - found.lengths[1], 6)]


def test_a_filled_file_has_no_gaps_and_keeps_its_lines():
    path = write_file("t,x\n01/02/2020,1\n13/02/2020,2\n14/02/2020,\n15/02/2020,2\n16/02/2020,3\n")
    found = legato.read(path, time="t", fill="forward")
    assert found.lengths.tolist() == [16]
    assert found.values.ravel().tolist() == [1.0] * 12 + [2, 2, 2, 3]
    assert found.lines.tolist() == [2] * 12 + [3, 4, 5, 6]
    assert found.format_times(found.times[:2]) == ["01/02/2020", "02/02/2020"]
    assert found.notes[0] == "Steps are of 1 day: 11 rows put in where they were missing, in 1 gap."


@thorough
@given(st.sets(st.integers(1, 58), max_size=25), st.sampled_from(["h", "D", "MS", "W-SUN"]))
def test_any_rows_that_are_left_out_come_back(left_out, freq):
    times = pandas.date_range("2021-01-31", periods=60, freq=freq)
    kept = np.setdiff1d(np.arange(60), list(left_out))
    data = {"t": times[kept].to_numpy(), "x": kept * 1.0}
    steps = np.diff(kept)
    if 2 * (steps == 1).sum() < len(steps) or (steps == 1).sum() <= (steps == 2).sum():
        return
    found = legato.read(data, time="t", fill="interpolate")
    if found.spacing is None or found.spacing.unit not in ("us", "month"):
        return  # a day of the week was always left out, say
    np.testing.assert_array_equal(found.times, times.to_numpy().astype("M8[us]"))
    if freq != "MS":
        np.testing.assert_allclose(found.values.ravel(), np.arange(60.0))


FAULTS = {
    "no times": ({"x": [1.0, np.nan]}, {"fill": "zero"}, "the column of times is not named: name"),
    "two options": (
        {"t": [1, 2], "x": [1.0, 2.0]},
        {"time": "t", "fill": "zero", "missing": "drop"},
        "fill='zero' says what missing values become, and missing='drop' came with",
    ),
    "no such": ({"t": [1, 2], "x": [1.0, 2.0]}, {"time": "t", "fill": "mean"}, "fill"),
    "years of seconds": (
        {"t": [*(f"2020-01-01T00:00:0{at}" for at in range(9)), "2021-01-01"],
         "x": np.arange(10.0)},
        {"time": "t", "fill": "zero"},
        "put in 31,622,391 rows between 10, as steps are of 1 second. Resample to longer steps",
    ),
    "twice": (
        {"t": [1, 2, 2, 3], "x": np.arange(4.0)}, {"time": "t", "fill": "zero"}, "comes twice",
    ),
    "nothing known": (
        {"t": [1, 2], "x": [1.0, 2.0], "y": [np.nan, np.nan]}, {"time": "t", "fill": "forward"},
        "column 'y' holds no value",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_what_cannot_be_filled_is_said(case):
    data, options, message = FAULTS[case]
    with pytest.raises(InputError, match=message):
        legato.read(data, **options)


def test_irregular_times_have_no_rows_put_in():
    found = legato.read({"t": [1, 2, 7, 11], "x": [1.0, np.nan, 2.0, 3.0]}, time="t", fill="zero")
    assert found.values.ravel().tolist() == [1, 0, 2, 3]
    assert found.notes[0].startswith("No rows were put in: times are irregular. every= (--every)")
    assert found.notes[-1] == "Times are irregular: steps of 1 to 5."
    data = {"t": [0, 1, 2, 3, 4.5, 5.5, 6.5, 8.5], "x": np.arange(8.0)}
    found = legato.read(data, time="t", fill="forward")
    assert found.times.tolist() == [0, 1, 2, 3, 4.5, 5.5, 6.5, 7.5, 8.5]
    assert found.notes[0].startswith("1 gap of no whole number of steps of 1: left as they are.")


def test_models_fill_as_in_training():
    _, known = holed("D")
    data = known.to_frame("x")
    trained = legato.train(data, fill="interpolate", units=2, epochs=1, verbose=0)
    assert trained.known["data"]["steps"] == 80
    assert any("6 rows put in" in note for note in trained.known["data"]["notes"])
    trained.save("m.keras")
    again = legato.Trained.load("m.keras")
    assert again.read(data).lengths.tolist() == [80]
    assert again.forecast(data).columns()["time"] == ["2020-04-04"]
