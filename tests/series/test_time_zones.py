"""Times with a zone: kept in forecasts, and right where summer time begins and ends."""

import numpy as np
import pandas
import polars
import pytest
from shop_files import write_file

import legato
from legato import InputError
from legato._series.time_zones import NamedZone, ObservedOffsets, offsets_of

pytestmark = pytest.mark.usefixtures("in_tmp_path")
BERLIN = "Europe/Berlin"


def frame_of(times, kind: str):
    values = np.arange(float(len(times)))
    frame = pandas.DataFrame({"t": times, "x": values})
    if kind == "index":
        return pandas.DataFrame({"x": values}, index=times)
    if kind == "pandas":
        return frame
    utc = polars.Series(times.tz_convert("UTC").tz_localize(None).to_numpy())
    zoned = utc.dt.replace_time_zone("UTC").dt.convert_time_zone(BERLIN)
    return polars.DataFrame({"t": zoned, "x": values})


def iso(times) -> list[str]:
    return [time.isoformat(timespec="minutes") for time in times]


@pytest.mark.parametrize("kind", ["pandas", "index", "polars"])
@pytest.mark.parametrize("freq", ["h", "D", "B", "MS", "15min"])
@pytest.mark.parametrize("begin", ["2020-03-20", "2020-10-10"])
def test_frames_with_a_zone_go_on_in_it(kind, freq, begin):
    """Days are alike on the clock on the wall, hours in UTC; as pandas counts them."""
    whole = pandas.date_range(begin, periods=900 if freq == "15min" else 300, freq=freq, tz=BERLIN)
    cut = {"h": 200, "15min": 700, "D": 100, "B": 100, "MS": 20}[freq]
    for known in (cut, 30 if freq not in ("D", "B") else 12):
        data = frame_of(whole[:known], kind)
        found = legato.read(data) if kind == "index" else legato.read(data, time="t")
        ahead = found.times_after(50)[0]
        after = whole[known : known + 50]
        np.testing.assert_array_equal(ahead, after.tz_convert("UTC").tz_localize(None).to_numpy())
        assert found.format_times(ahead) == iso(after)


OFFSETS = {
    "T+02:00": ("2020-01-01T00:00+02:00", "2020-01-01T01:00+02:00", "2020-01-01T02:00+02:00"),
    "Z": ("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z", "2020-01-03T00:00:00Z"),
    "+0530": ("2020-01-01 00:00:00+0530", "2020-01-02 00:00:00+0530", "2020-01-03 00:00:00+0530"),
    "-08": ("2020-01-01 00:00-08", "2020-01-01 00:15-08", "2020-01-01 00:30-08"),
    "month ends": ("2020-01-31T00:00-03:00", "2020-02-29T00:00-03:00", "2020-03-31T00:00-03:00"),
    "clocks go forward": (
        "2020-03-29T01:00+01:00", "2020-03-29T03:00+02:00", "2020-03-29T04:00+02:00",
    ),
    "days, forward": (
        *(f"2020-03-{day}T00:00+01:00" for day in range(26, 30)),
        "2020-03-30T00:00+02:00", "2020-03-31T00:00+02:00",
    ),
    "day first": (
        "30/01/2020 14:30+01:00", "31/01/2020 14:30+01:00", "01/02/2020 14:30+01:00",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OFFSETS)
@pytest.mark.parametrize("source", ["columns", "file"])
def test_texts_with_offsets_go_on_with_them(case, source):
    *known, after = OFFSETS[case]
    data = {"t": known, "x": np.arange(len(known)) * 1.0}
    if source == "file":
        data = write_file("t;x\n" + "".join(f"{text};{at}\n" for at, text in enumerate(known)))
    found = legato.read(data, time="t")
    assert found.format_times(found.times) == list(known)
    assert found.format_times(found.times_after(1)[0]) == [after]


HOURS = pandas.date_range("2020-10-24 20:00", periods=24, freq="h", tz=BERLIN)
LOCAL = [f"{time:%Y-%m-%d %H:%M}" for time in HOURS]


@pytest.mark.parametrize("backwards", [False, True])
def test_an_hour_that_comes_twice_is_told_apart_in_its_zone(backwards):
    texts = LOCAL[::-1] if backwards else LOCAL
    data = {"t": texts, "x": np.arange(24.0)[:: -1 if backwards else 1]}
    with pytest.raises(InputError, match="twice where summer time ends, name the time zone"):
        legato.read(data, time="t")
    found = legato.read(data, time="t", zone=BERLIN)
    np.testing.assert_array_equal(found.times, HOURS.tz_convert("UTC").tz_localize(None).to_numpy())
    assert found.values.ravel().tolist() == list(range(24))
    assert str(found.spacing) == "1 hour"
    assert not any("gap" in note for note in found.notes)
    assert found.format_times(found.times) == LOCAL
    assert found.format_times(found.times_after(2)[0]) == ["2020-10-25 19:00", "2020-10-25 20:00"]


def test_the_hour_that_is_skipped_is_no_gap_in_its_zone():
    hours = pandas.date_range("2020-03-28 20:00", periods=24, freq="h", tz=BERLIN)
    texts = [f"{time:%d.%m.%Y %H:%M}" for time in hours]
    data = {"t": texts, "x": np.arange(24.0)}
    plain = legato.read(data, time="t")
    assert "1 gap: 2 hours, after 2020-03-29T01:00" in plain.notes[-1]
    assert "summer time" in plain.notes[-1]
    found = legato.read(data, time="t", zone=BERLIN)
    assert found.notes == ()
    first = legato.read({"t": texts[:6], "x": np.arange(6.0)}, time="t", zone=BERLIN)
    assert first.format_times(first.times_after(2)[0]) == texts[6:8]
    wrong = {"t": ["2020-03-29 01:30", "2020-03-29 02:30"], "x": [1.0, 2.0]}
    with pytest.raises(InputError, match=r"row 1 .* never show 2020-03-29T02:30, the first of 1"):
        legato.read(wrong, time="t", zone=BERLIN)


def test_the_zone_of_sequences_is_told_apart_in_each():
    data = {"t": LOCAL * 2, "g": ["a"] * 24 + ["b"] * 24, "x": np.arange(48.0)}
    found = legato.read(data, time="t", group="g", zone=BERLIN)
    assert found.lengths.tolist() == [24, 24]
    np.testing.assert_array_equal(found.times[:24], found.times[24:])


def test_a_zone_is_given_to_times_alone():
    with pytest.raises(InputError, match="'Europe/Bern', which is no time zone"):
        legato.read({"t": LOCAL, "x": np.arange(24.0)}, time="t", zone="Europe/Bern")
    with pytest.raises(InputError, match="holds numbers, and zone= is that of dates"):
        legato.read({"t": [1, 2], "x": [1.0, 2.0]}, time="t", zone=BERLIN)
    with pytest.raises(InputError, match=r"name their column with time="):
        legato.read({"x": [1.0, 2.0]}, zone=BERLIN)


def test_a_zone_that_is_named_has_the_offsets_of_the_future():
    texts = ["2020-03-26T00:00+01:00", "2020-03-27T00:00+01:00", "2020-03-28T00:00+01:00"]
    data = {"t": texts, "x": [1.0, 2.0, 3.0]}
    assert legato.read(data, time="t").times_after(2)[0][1] == np.datetime64("2020-03-29T23:00")
    found = legato.read(data, time="t", zone=BERLIN)
    assert found.format_times(found.times_after(2)[0]) == [
        "2020-03-29T00:00+01:00", "2020-03-30T00:00+02:00",
    ]  # fmt: skip


def test_frames_come_back_in_their_zone():
    hours = pandas.date_range("2020-10-23 20:00", periods=40, freq="h", tz=BERLIN)
    wave = np.sin(np.arange(40.0))
    options = {"units": 2, "epochs": 1, "verbose": 0, "horizon": 3}
    trained = legato.train(pandas.DataFrame({"x": wave}, index=hours), **options)
    index = trained.forecast(pandas.DataFrame({"x": wave}, index=hours)).frame.index
    assert index.equals(pandas.date_range(hours[-1], periods=4, freq="h")[1:])
    naive = pandas.DataFrame({"t": hours.tz_localize(None), "x": wave})
    trained = legato.train(naive, time="t", zone=BERLIN, **options)
    assert trained.known["read"]["zone"] == BERLIN
    ahead = trained.forecast(naive)
    expected = pandas.date_range(hours[-1], periods=4, freq="h")[1:].tz_localize(None)
    assert ahead.frame["t"].tolist() == expected.tolist()
    assert ahead.columns()["t"] == [f"{time:%Y-%m-%dT%H:%M}" for time in expected]


def test_offsets_hold_from_the_first_time_that_has_them():
    zone, times = NamedZone(BERLIN), pandas.date_range("2020-01-01", periods=9000, freq="h")
    utc = times.to_numpy().astype("M8[us]")
    observed = ObservedOffsets.of(utc, offsets_of(zone, utc))
    assert len(observed.minutes) == 3
    np.testing.assert_array_equal(observed.wall(utc), zone.wall(utc))
    wall = np.unique(zone.wall(utc))
    np.testing.assert_array_equal(zone.wall(zone.instants(wall)), wall)
