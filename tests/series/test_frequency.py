"""Spacing of times: the times that follow, and the season it suggests."""

import numpy as np
import pytest

from legato._series.frequency import Spacing, format_step, format_time, infer_spacing, same_sequence


def known(spacing: Spacing | None) -> Spacing:
    """The spacing, which must not be None."""
    assert spacing is not None
    return spacing


@pytest.mark.parametrize(
    ("begin", "end", "step", "season", "described"),
    [
        ("2020-01", "2023-01", np.timedelta64(1, "M"), 12, "1 month"),
        ("2020-01", "2023-01", np.timedelta64(3, "M"), 4, "3 months"),
        ("2020-01-01", "2021-01-01", np.timedelta64(7, "D"), 52, "7 days"),
        ("2020-01-01", "2020-03-01", np.timedelta64(1, "D"), 7, "1 day"),
        ("2020-01-01T00", "2020-01-09T00", np.timedelta64(1, "h"), 24, "1 hour"),
        ("2020-01-01T00:00", "2020-01-03T00:00", np.timedelta64(30, "m"), 48, "30 minutes"),
        ("2020-01-01T00:00", "2020-01-01T09:00", np.timedelta64(1, "m"), 60, "1 minute"),
        ("2020-01-01T00:00", "2020-01-01T09:00", np.timedelta64(7, "m"), None, "7 minutes"),
        ("2000", "2020", np.timedelta64(1, "Y"), None, "1 year"),
    ],
)
@pytest.mark.parametrize("unit", ["s", "us", "ns"])
def test_times_give_their_spacing_their_season_and_the_next_times(
    begin, end, step, season, described, unit
):
    times = np.arange(begin, end, step, dtype="datetime64")
    fine = times.astype(f"datetime64[{unit}]")
    spacing = known(infer_spacing(fine[:-3], np.array([len(fine) - 3])))
    assert (spacing.season, str(spacing)) == (season, described)
    assert np.array_equal(spacing.after(fine[-4:-3], 3)[0], fine[-3:])
    if len(times) > 12:  # gaps, and a second sequence that begins before the first ends
        panel = np.delete(np.concatenate([fine, fine[3:]]), [5, 9])
        again = known(infer_spacing(panel, np.array([len(fine) - 2, len(fine) - 3])))
        assert (again.season, str(again)) == (season, described)


@pytest.mark.parametrize(
    ("last", "after"),
    [
        (["2023-11-30", "2023-12-31"], ["2024-01-31", "2024-02-29", "2024-03-31"]),
        (["2023-11-28", "2023-12-30"], ["2024-01-30", "2024-02-29", "2024-03-30"]),
        (["2022-11-01T06:30", "2022-12-01T06:30"], ["2023-01-01T06:30", "2023-02-01T06:30"]),
    ],
)
def test_months_continue_by_the_calendar(last, after):
    times = np.array(last, "datetime64[us]")
    spacing = known(infer_spacing(times, np.array([2])))
    assert spacing.after(times[-1:], len(after))[0].tolist() == [
        each.item() for each in np.array(after, "datetime64[us]")
    ]


def test_days_without_weekends_continue_without_them():
    days = np.arange("2024-01-01", "2024-02-03", dtype="datetime64[D]")
    weekdays = days[np.is_busday(days)].astype("datetime64[us]") + np.timedelta64(16, "h")
    kept = np.delete(weekdays, [3, 11])  # two holidays
    spacing = known(infer_spacing(kept, np.array([len(kept)])))
    assert (str(spacing), spacing.season, spacing.unit) == ("1 weekday", 5, "weekday")
    assert np.unique(spacing.steps, return_counts=True)[1].tolist() == [len(kept) - 3, 2]
    ahead = spacing.after(kept[-1:], 6)[0]
    assert [format_time(each) for each in ahead[[0, 4, 5]]] == [
        "2024-02-05T16:00", "2024-02-09T16:00", "2024-02-12T16:00",
    ]  # fmt: skip
    assert format_step(2, "weekday") == "2 weekdays"


@pytest.mark.parametrize(
    ("begin", "end", "step", "described"),
    [
        ("2024-01-01", "2024-01-13", 1, "1 day"),  # one weekend left out may be a gap
        ("2024-01-01", "2024-03-01", 7, "7 days"),  # Mondays
        ("2024-01-02", "2024-01-06", 1, "1 day"),
    ],
)
def test_few_weekdays_are_days(begin, end, step, described):
    days = np.arange(begin, end, dtype="datetime64[D]")[::step]
    times = days[np.is_busday(days)].astype("datetime64[us]")
    assert str(infer_spacing(times, np.array([len(times)]))) == described


def test_numbers_continue_and_have_no_season():
    times = np.array([0.1, 0.2, 0.3, 5.0, 5.1])
    spacing = known(infer_spacing(times, np.array([3, 2])))
    assert spacing.season is None
    assert np.allclose(spacing.after(times[[2, 4]], 2), [[0.4, 0.5], [5.2, 5.3]])


def test_one_time_has_no_spacing():
    assert infer_spacing(np.array([3.0, 1.0]), np.array([1, 1])) is None


def test_steps_stay_within_a_sequence():
    assert same_sequence(np.array([2, 1, 3])).tolist() == [True, False, False, True, True]
    assert same_sequence(np.array([1])).tolist() == []


def test_times_are_formatted_without_parts_that_are_zero():
    fine = np.array(["2001-03-01T00:00", "2001-03-01T06:00"], "datetime64[us]")
    assert [format_time(each) for each in fine] == ["2001-03-01", "2001-03-01T06:00"]
    assert (format_time(np.datetime64("2001-03")), format_time(2.5)) == ("2001-03", "2.5")
    assert format_step(90 * 10**6, "us") == "90 seconds"
