"""Times in their formats and time zones, and notes on order and gaps."""

import numpy as np
import pandas
import polars
import pytest
from shop_files import write_file

import legato
from legato._series.frequency import infer_spacing

pytestmark = pytest.mark.usefixtures("in_tmp_path")


TIMES = {
    "days": ("2001-03-30", "2001-03-31", "D"),
    "months": ("2001-03", "2001-04", "M"),
    "spaces": ("2001-03-31 10:00:00", "2001-03-31 10:00:00.5", "us"),
    "minutes": ("2001-03-31T10:00", "2001-03-31T10:01", "m"),
    "slashes": ("2001/03/30", "2001/03/31", None),
    "whole": ("7", "8", None),
    "numbers": ("7.5", "8", None),
}


@pytest.mark.parametrize("case", TIMES)
def test_times(case):
    one, other, unit = TIMES[case]
    found = legato.read(write_file(f"t,x\n{one},1\n{other},2\n"), time="t")
    if unit:
        expected = np.array([one, other], f"datetime64[{unit}]").astype("datetime64[us]")
        np.testing.assert_array_equal(found.times, expected, strict=True)
    assert found.times[0] < found.times[1]
    assert found.times.dtype.kind == {"whole": "i", "numbers": "f"}.get(case, "M")


def test_times_with_zones_are_in_utc():
    found = legato.read(
        write_file("t,x\n2001-01-01T02:00:00+02:00,1\n2001-01-01T00:30:00Z,2\n"), time="t"
    )
    assert (
        found.times.tolist()
        == np.array(["2001-01-01T00:00", "2001-01-01T00:30"], "M8[us]").tolist()
    )


ISO = {
    "2024-03-01T00:00Z": "2024-03-01T00:00",
    "2024-03-01T00:00+01:00": "2024-02-29T23:00",
    "2024-03-01 00:00 +0100": "2024-02-29T23:00",
    "2024-03-01T00:00:00.25-05": "2024-03-01T05:00:00.25",
    "2024-03-01T07": "2024-03-01T07",
    "2024-03-01t07:00:00z": "2024-03-01T07",
    "20240301T070000Z": "2024-03-01T07",
    "2024-W09-5": "2024-03-01",
    "2024-W09": "2024-02-26",
    "2024W095": "2024-03-01",
    "2024W09": "2024-02-26",
    "2024-061": "2024-03-01",
    "20240301T0930": "2024-03-01T09:30",
    "20240301T0930Z": "2024-03-01T09:30",
    "2024-02-29T24:00": "2024-03-01",
    "2024-02-29 24:00:00Z": "2024-03-01",
    "2024-03-01T00:00:00.0000001": "2024-03-01T00:00:00.000000100",
    "2024-03-01T00:00:00.000000100Z": "2024-03-01T00:00:00.000000100",
}


@pytest.mark.parametrize("text", ISO)
def test_forms_of_iso_8601(text):
    found = legato.read({"t": [text], "x": [1.0]}, time="t")
    assert found.times == np.array([ISO[text]], "M8[ns]")


NEXT = {
    "days": ([20240330, 20240331], "2024-04-01"),
    "months": ([202211, 202212], "2023-01"),
    "hours": ([2024033122, 2024033123], "2024-04-01"),
    "days of the year": ([2023364, 2023365], "2024-01-01"),
    "minutes": ([202403312358, 202403312359], "2024-04-01"),
    "seconds": ([20240331235958, 20240331235959], "2024-04-01"),
}


@pytest.mark.parametrize("case", NEXT)
@pytest.mark.parametrize("kind", [list, lambda times: [str(each) for each in times],
                                  lambda times: np.array(times, float)])  # fmt: skip
def test_whole_numbers_that_are_dates_go_on_as_dates(case, kind):
    times, following = NEXT[case]
    found = legato.read({"t": kind(times), "x": [1.0, 2.0]}, time="t")
    spacing = infer_spacing(found.times, found.lengths)
    assert spacing.after(found.times[-1:], 1) == np.datetime64(following)
    assert found.notes[0].startswith(f"Numbers in 't' are dates: {times[0]} is 202")


NO_TIMES = ["01/03/24", "1-3-24", "01.03.24", "13/2024", "2024.13.", "12:30", "2024,5",
            "2024-13", "1990-91"]  # fmt: skip


@pytest.mark.parametrize("text", NO_TIMES)
def test_what_is_no_time_is_refused(text):
    for source in ({"t": [text], "x": [1.0]}, write_file(f"t;x\n{text};1\n")):
        with pytest.raises(legato.InputError, match=f"'{text}' is no time.*ISO 8601"):
            legato.read(source, time="t")


def test_decimal_years_are_numbers():
    assert legato.read({"t": ["2024.00", "2024.08"], "x": [1, 2]}, time="t").times[1] == 2024.08


@pytest.mark.parametrize(
    "times", [[20240331, 20240332], [2023365, 2023366], [202212, 202213], [2020, 2021], [1, 2]]
)
def test_other_whole_numbers_are_numbers(times):
    found = legato.read({"t": times, "x": [1.0, 2.0]}, time="t")
    assert (found.times.tolist(), found.notes) == (times, ())


@pytest.mark.parametrize("source", ["array", "Timestamps", "pandas", "polars", "parquet", "csv"])
def test_nanoseconds_are_kept(source):
    fine = np.datetime64("2024-03-01", "ns") + np.arange(1, 4) * np.timedelta64(100, "ns")
    frame = polars.DataFrame({"t": fine, "x": [1.0, 2.0, 3.0]})
    frame.write_parquet("t.parquet")
    write_file("t,x\n" + "".join(f"{each},1\n" for each in fine))
    sources = {
        "array": {"t": fine, "x": [1.0, 2.0, 3.0]},
        "Timestamps": {"t": list(pandas.DatetimeIndex(fine)), "x": [1.0, 2.0, 3.0]},
        "pandas": pandas.DataFrame({"t": fine, "x": 1.0}),
        "polars": frame,
        "parquet": "t.parquet",
        "csv": "t.csv",
    }
    np.testing.assert_array_equal(legato.read(sources[source], time="t").times, fine, strict=True)


NOTES = {
    "sorted": ("t,x\n2,1\n1,2\n", {}, ["Rows were not in order of 't'; sorted."]),
    "no gaps": ("t,x\n1,1\n2,2\n3,5\n", {}, []),
    "months": (
        "g,t,x\na,2001-01-31,1\na,2001-02-28,2\na,2001-03-31,2\na,2001-08-31,3\n"
        "b,2001-01-01,1\nb,2001-02-01,1\nb,2001-04-01,1\nb,2001-05-01,2\nb,2001-06-01,3\n",
        {"group": "g"},
        ["Steps are of 1 month, with 2 gaps: the longest, 5 months, after 2001-03 in 'a': 5 rows "
         "missing, which fill= (--fill) puts in."],
    ),
    "hours": (
        "t,x\n2001-01-01 00:00:00,1\n2001-01-01 01:00:00,1\n2001-01-01 02:00:00,1\n"
        "2001-01-04 02:00:00,2\n",
        {},
        ["Steps are of 1 hour, with 1 gap: 3 days, after 2001-01-01T02:00: 71 rows missing, "
         "which fill= (--fill) puts in."],
    ),
    "decimals": (
        "t,x\n0.1,1\n0.2,1\n0.30000000000000004,2\n0.6,3\n0.7,3\n",
        {},
        ["Steps are of 0.1, with 1 gap: 0.3, after 0.3: 2 rows missing, which fill= (--fill) "
         "puts in."],
    ),
    "irregular": ("t,x\n1,1\n2,2\n5,5\n11,5\n", {}, ["Times are irregular: steps of 1 to 6."]),
    "dropped": (
        "t,x\n1,\n2,2\n3,5\n", {"missing": "drop"}, ["1 value was missing: 1 row left out."],
    ),
    "vanished": (
        "g,t,x\na,1,\nb,2,2\nb,3,\n",
        {"missing": "forward", "group": "g"},
        [
            "2 values were missing: 1 filled with the last known of the same sequence, "
            "1 row before the first known left out.",
            "1 sequence has no row left, 'a'.",
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NOTES)
def test_notes(case):
    text, options, notes = NOTES[case]
    assert list(legato.read(write_file(text), time="t", **options).notes) == notes
