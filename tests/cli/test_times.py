"""Times and gaps from the command line: writings, zones, filling and resampling."""

import json

import numpy as np
import pandas
from command_runs import error_of, output_of, write_file


def local_hours(tmp_path):
    """Hours of Berlin with 5 rows missing, over the end of summer time; day first."""
    hours = pandas.date_range("2020-10-02", periods=24 * 40, freq="h", tz="Europe/Berlin")
    rows = [f"{hour:%d.%m.%Y %H:%M};{np.sin(at / 4):.4f}\n" for at, hour in enumerate(hours)]
    del rows[100:105]
    return write_file(tmp_path, "hours.csv", f"Zeit;Last\n{''.join(rows)}"), hours


def test_times_are_read_filled_resampled_and_written_alike(tmp_path):
    path, hours = local_hours(tmp_path)
    message = error_of("train", path, "--time", "Zeit", "--plan")
    assert "25.10.2020" not in message  # in ISO 8601
    assert "the time 2020-10-25T02:00 comes twice, in lines" in message
    assert "name the time zone, such as --zone 'Europe/Berlin'" in message
    zone = ("--time", "Zeit", "--zone", "Europe/Berlin")
    notes = json.loads(output_of("train", path, *zone, "--plan", "--json"))["data"]["notes"]
    assert notes == [
        "Steps are of 1 hour, with 1 gap: 6 hours, after 2020-10-06T03:00: 5 rows missing, which "
        "fill= (--fill) puts in."
    ]
    out = tmp_path / "m.keras"
    words = ("--fill", "forward", "--every", "1d", "--every-by", "sum", "--units", "2")
    output_of("train", path, *zone, *words, "--epochs", "1", "-q", "-o", out)
    table = json.loads(output_of("forecast", out, path, "-n", "3", "--json"))
    after = pandas.date_range(hours[-1].normalize(), periods=4, freq="D")[1:]
    assert table["Zeit"] == [f"{day:%d.%m.%Y} 00:00" for day in after]


def test_the_order_of_days_and_months_is_asked_for_and_kept(tmp_path):
    rows = "".join(f"{at % 12 + 1:02d}/{at // 12 + 1:02d}/2021,{at % 5}\n" for at in range(144))
    path = write_file(tmp_path, "d.csv", f"t,x\n{rows}")
    assert "give --dates 'day-first' or --dates 'month-first'" in error_of(
        "train", path, "--time", "t", "--plan"
    )
    out = tmp_path / "m.keras"
    words = ("--dates", "month-first", "--units", "2", "--epochs", "1", "-q", "-o", out)
    output_of("train", path, "--time", "t", *words)
    shown = json.loads(output_of("show", out, "--json"))
    assert shown["data"]["times"] == ["2021-01-01", "2021-12-12"]
    assert len(json.loads(output_of("forecast", out, path, "--json"))["t"]) == 1
