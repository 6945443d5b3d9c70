"""Times in their formats and time zones, and notes on order and gaps."""

import numpy as np
import pytest
from shop_files import write_file

import legato

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


NOTES = {
    "sorted": ("t,x\n2,1\n1,2\n", {}, ["Rows were not in order of 't'; sorted."]),
    "no gaps": ("t,x\n1,1\n2,2\n3,5\n", {}, []),
    "months": (
        "g,t,x\na,2001-01-31,1\na,2001-02-28,2\na,2001-03-31,2\na,2001-08-31,3\n"
        "b,2001-01-01,1\nb,2001-02-01,1\nb,2001-04-01,1\nb,2001-05-01,2\nb,2001-06-01,3\n",
        {"group": "g"},
        ["Steps are of 1 month, with 2 gaps: the longest, 5 months, after 2001-03 in 'a'."],
    ),
    "hours": (
        "t,x\n2001-01-01 00:00:00,1\n2001-01-01 01:00:00,1\n2001-01-01 02:00:00,1\n"
        "2001-01-04 02:00:00,2\n",
        {},
        ["Steps are of 1 hour, with 1 gap: 3 days, after 2001-01-01T02:00."],
    ),
    "decimals": (
        "t,x\n0.1,1\n0.2,1\n0.30000000000000004,2\n0.6,3\n0.7,3\n",
        {},
        ["Steps are of 0.1, with 1 gap: 0.3, after 0.3."],
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
