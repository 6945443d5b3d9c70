"""Gaps in the plots of series: where the times of a sequence leave steps out, by its calendar."""

import numpy as np
import polars as pl
import pytest

import legato
from legato.report._series_axis import line_of

DAYS = np.arange("2025-03-10", "2025-04-19", dtype="M8[D]")  # summer time begins on the 30th
WEEKDAYS = DAYS[np.is_busday(DAYS)]
MONTHS = np.arange("2024-01", "2025-03", dtype="M8[M]").astype("M8[D]")
HOURS = np.arange("2025-03-29T20", "2025-03-30T06", dtype="M8[h]")


def gaps_of(times, zone: str | None = None) -> list[int]:
    """The steps of a sequence that have a gap before them."""
    table = {"at": list(map(str, times)), "x": np.arange(len(times)) % 5}
    return np.flatnonzero(line_of(legato.read(table, time="at", zone=zone), 0, "x").gaps).tolist()


@pytest.mark.parametrize(
    ("times", "zone"),
    [
        (DAYS, None),
        (DAYS, "Europe/Berlin"),  # a day of 23 hours is among them
        (WEEKDAYS, None),
        (WEEKDAYS, "Europe/Berlin"),
        (MONTHS, None),
        (MONTHS, "Europe/Berlin"),
        (HOURS[np.datetime64("2025-03-30T02") != HOURS], "Europe/Berlin"),  # there was no such hour
        (["2024-01-01", "2024-01-03", "2024-01-04", "2024-01-09", "2024-01-30"], None),  # irregular
    ],
)
def test_calendars_have_no_gaps(times, zone):
    assert gaps_of(times, zone) == []


@pytest.mark.parametrize(
    ("times", "left_out"),
    [(DAYS, [6]), (WEEKDAYS, [3, 4]), (MONTHS, [5]), (np.arange(12), [7, 8])],
)
def test_what_is_left_out_is_a_gap(times, left_out):
    assert gaps_of(np.delete(times, left_out)) == [left_out[0]]


def test_gaps_of_a_sequence_are_its_own():
    rows = [("a", at) for at in (0, 1, 2, 3)] + [("b", at) for at in (0, 1, 5, 6, 7)]
    rows += [("c", 4)] + [("d", at) for at in (8, 9, 10, 14)]
    table = pl.DataFrame(
        rows,
        schema=[
            "shop",
            "day",
        ],
        orient="row",
    ).with_columns(x=pl.col("day"))
    shops = legato.read(table, group="shop", time="day")
    found = [np.flatnonzero(line_of(shops, at, "x").gaps).tolist() for at in range(4)]
    assert found == [[], [2], [], [3]]
