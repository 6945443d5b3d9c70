"""Resampling against pandas' ``resample``."""

import numpy as np
import pandas
import pytest

import legato
from legato import InputError

RULES = {"mean": "mean", "sum": "sum", "last": "last"}
STEPS = {"15min": "15min", "1h": "h", "6h": "6h", "1d": "D", "1w": "W-MON", "1mo": "MS", "1q": "QS"}


def minutes(tz: str | None = None, step: str = "7min", count: int = 9000) -> pandas.Series:
    times = pandas.date_range("2020-03-01 00:03", periods=count, freq=step, tz=tz)
    values = np.random.default_rng(1).normal(size=count)
    values[::11] = np.nan
    return pandas.Series(values, times)


@pytest.mark.parametrize("tz", [None, "Europe/Berlin", "Asia/Kolkata"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("every", STEPS)
def test_steps_are_those_of_pandas(every, rule, tz):
    series = minutes(tz)
    closed = {"closed": "left", "label": "left"}
    grouped = series.resample(STEPS[every], **closed)
    expected = grouped.sum(min_count=1) if rule == "sum" else getattr(grouped, rule)()
    found = legato.read(series.to_frame("x"), every=every, every_by=rule, missing="drop")
    expected = expected.dropna()
    utc = expected.index if tz is None else expected.index.tz_convert("UTC").tz_localize(None)
    np.testing.assert_array_equal(found.times, utc.to_numpy())
    np.testing.assert_allclose(found.values.ravel(), expected.to_numpy(), rtol=1e-9)
    assert f"by the {rule} of each: 9,000 rows became {len(grouped):,}." in "".join(found.notes)


def test_offsets_that_are_written_name_the_hours():
    texts = [f"2020-01-01 00:{at:02d}+05:30" for at in range(0, 60, 5)]
    texts += [f"2020-01-01 01:{at:02d}+05:30" for at in range(0, 60, 5)]
    found = legato.read({"t": texts, "x": np.arange(24.0)}, time="t", every="1h")
    assert found.format_times(found.times) == ["2020-01-01 00:00+05:30", "2020-01-01 01:00+05:30"]
    assert found.values.ravel().tolist() == [5.5, 17.5]


def test_sequences_labels_and_gaps():
    data = {
        "g": ["a"] * 5 + ["b"] * 3,
        "t": ["2020-01-01 10:00", "2020-01-01 11:00", "2020-01-02 09:00", "2020-01-04 09:00",
              "2020-01-05 09:00", "2020-01-03 09:00", "2020-01-03 10:00", "2020-01-04 11:00"],
        "x": [1.0, 3, 4, 6, 7, 1, 2, 3],
        "label": ["u", "v", "w", "w", "u", "u", "v", "u"],
    }  # fmt: skip
    found = legato.read(data, group="g", time="t", every="1d", every_by="sum", fill="zero")
    assert found.lengths.tolist() == [5, 2]
    assert found.values[:, 0].tolist() == [4, 4, 0, 6, 7, 3, 3]
    assert "".join("uvw"[int(each)] for each in found.values[:, 1]) == "vwwwuvu"
    assert found.notes[0] == ("Resampled to steps of 1 day by the sum of each: 8 rows became 6.")
    assert found.notes[1].startswith("Steps are of 1 day: 1 row put in")


def test_a_last_step_that_is_not_whole_is_said():
    times = pandas.date_range("2020-01-01", periods=50, freq="h")
    found = legato.read(pandas.DataFrame({"x": np.arange(50.0)}, times), every="1d", every_by="sum")
    assert found.notes[-1].endswith("became 3. The last step holds 2 rows, others 24.")


def test_repeated_times_are_part_of_a_step():
    data = {"t": ["2020-01-01", "2020-01-01", "2020-01-02", "2020-01-09"], "x": [1.0, 3, 4, 5]}
    found = legato.read(data, time="t", every="1w", every_by="last")
    assert found.values.ravel().tolist() == [4, 5]
    assert found.format_times(found.times_after(1)[0]) == ["2020-01-13"]


FAULTS = {
    "no duration": ({"every": "hourly"}, "every is 'hourly'; a number and a unit were expected"),
    "months or minutes": ({"every": "1M"}, r"'1M'.*'1mo' \(a month\)"),
    "zero": ({"every": "0h"}, "'0h'"),
    "shorter": ({"every": "1h"}, "every= is 1 hour, and most steps are longer, 1 day"),
    "a rule": ({"every": "1w", "every_by": "median"}, "every_by"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_cannot_be_resampled_is_said(case):
    options, message = FAULTS[case]
    days = pandas.DataFrame({"x": np.arange(9.0)}, pandas.date_range("2020-01-01", periods=9))
    with pytest.raises(InputError, match=message):
        legato.read(days, **options)


def test_numbers_and_rows_without_times_are_not_resampled():
    with pytest.raises(InputError, match=r"\(time=\) holds numbers"):
        legato.read({"t": [1, 2], "x": [1.0, 2.0]}, time="t", every="1h")
    with pytest.raises(InputError, match=r"\(time=\) is not named"):
        legato.read({"x": [1.0, 2.0]}, every="1h")


def test_models_resample_as_in_training(tmp_path):
    wave = minutes(step="15min", count=4000).ffill().fillna(0.0).to_frame("x")
    options = {"every": "1h", "every_by": "last", "units": 2, "epochs": 1, "verbose": 0}
    trained = legato.train(wave, **options)
    trained.save(tmp_path / "m.keras")
    again = legato.Trained.load(tmp_path / "m.keras")
    assert again.known["read"]["every"] == "1h"
    assert again.read(wave).lengths.tolist() == [1000]
    assert again.forecast(wave).columns()["time"] == ["2020-04-11T16:00"]
    assert again.forecast(wave).frame.index.freq is None
    assert "Resampled to steps of 1 hour by the last" in again.known["data"]["notes"][1]
