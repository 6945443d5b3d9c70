"""Columns of text that are no labels by their looks are refused; labels of many looks are not."""

import numpy as np
import pytest

import legato
from legato import InputError

MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()

NUMBERS = {
    "a unit": (
        lambda at: f"{at % 5 + 1} kW",
        r"'1 kW' is not a number, the first of 30.*alone, 1,"),
    "no blank": (lambda at: f"{at % 5}.5°C", "alone, 0.5, or say.*categorical="),
    "two units": (lambda at: f"{at % 5} kW" if at % 3 else f"{at % 6}00 W", "alone, 000,"),
    "brackets": (lambda at: f"({at % 5})", "alone, 0, or -0 if brackets say so"),
    "a mark": (lambda at: f"5.{at % 5}*", r"alone, 5\.0,"),
    "below": (lambda at: "<0.5" if at % 5 else str(at), r"'<0\.5' .*alone, 0\.5,"),
    "percent": (lambda at: f"{at % 5} %", "alone, 0,"),
    "a currency": (lambda at: f"USD {at % 5}.50", r"alone, 0\.50,"),
    "of ten": (lambda at: f"{at % 5}/10", "alone, 0,"),
    "?": (
        lambda at: "?" if at % 5 else str(at),
        "'\\?' is not a number.*empty if the value is miss"),
    "-": (lambda at: "-" if at % 5 else str(at), "'-' is not a number"),
    "? and one number": (lambda at: "?" if at else "5", "'\\?' is not a number"),
    "a minus sign": (lambda at: f"−{at % 5}", "Write it plainly, -0"),
    "Excel": (lambda at: "#N/A" if at % 5 else str(at), "'#N/A' is not a number"),
    "marks": (lambda at: ("?", "-", "n.d.")[at % 3] if at % 5 else str(at), "'-' is not a number"),
    "any mark": (lambda at: "absent" if at % 5 else str(at), "'absent' is not a number"),
    "thousands?": (
        lambda at: f"1,{166 + at}",
        "If its commas separate thousands.*1166.*, write .*1.166"),
    "thousands": (lambda at: f"{at + 1},234,567", "Its commas separate thousands: .*1234567"),
    "and decimals": (
        lambda at: f"$1,{166 + at}.50",
        r"separate thousands: leave them out, 1166\.50"),
    "commas": (lambda at: f"{at % 9},5", r"Write decimals with a point, 0\.5, and thousands"),
    "both": (lambda at: f"1.{166 + at},50", r"Write decimals with a point, 1166\.50"),
    "and a unit": (lambda at: f"{at % 9},5 kW", r"alone, with a decimal point: 0\.5"),
    "points": (lambda at: f"1.{166 + at}.300", "Its points separate thousands.*1166300"),
    "blanks": (lambda at: f"1 {166 + at}", "Write it plainly, 1166"),
    "Indian": (lambda at: f"1,23,{456 + at}", "Its commas separate thousands: .*123456, or say"),
    "before a sign": (lambda at: f"-$3.{at % 5}", r"alone, -3\.0,"),
    "before a blank": (lambda at: f"- 3.{at % 5}", r"plainly, -3\.0,"),
    "a dash": (lambda at: f"–3.{at % 5}", r"plainly, -3\.0,"),
    "a minus sign behind": (lambda at: f"3.{at % 5}-", r"plainly, -3\.0,"),
    "a word with a point": (lambda at: f"Rs. 3.{at % 5}", r"alone, 3\.0,"),
    "a currency close by": (lambda at: f"EUR3.{at % 5}", r"alone, 3\.0,"),
    "a country's dollar": (lambda at: f"US$3.{at % 5}", r"alone, 3\.0,"),
    "several magnitudes": (lambda at: f"3.{at % 8}{'KMB'[at % 3]}", r"3\.0, in the same unit in"),
    "several sizes": (lambda at: f"{at % 8}{'KMG'[at % 3]}iB", "0, in the same unit in every row"),
    "several flags": (lambda at: f"3.{at % 8} {'bep'[at % 3]}", r"alone, 3\.0,"),
    "several notes": (lambda at: f"3.{at % 8}[{at % 5}]", r"alone, 3\.0, or say"),
    "Python": (lambda at: f"np.float64(3.{at % 8})", r"alone, 3\.0,"),
    "digits of Arabic": (lambda at: f"٣٫{'٠١٢٣'[at % 4]}", r"plainly, 3\.0,"),
    "of full width": (lambda at: f"３．{at % 4}", r"plainly, 3\.0,"),
    "a blank without width": (lambda at: f"\u200b3.{at % 4}", r"plainly, 3\.0,"),
    "a power": (lambda at: f"3.{at % 4}×10⁻³", r"plainly, 3\.0e-3,"),
    "Fortran": (lambda at: f"3.{at % 4}D+02", r"plainly, 3\.0e\+02,"),
    "before an exponent": (lambda at: f"3.{at % 4} E+02", r"plainly, 3\.0e\+02,"),
    "a fraction": (lambda at: f"{at % 4 + 1}/8", r"alone, 1, or it as a decimal number, 0\.125,"),
    "a mixed fraction": (lambda at: f"{at % 4} 1/4", r"Write it as a decimal number, 0\.25,"),
    "a half": (lambda at: f"{at % 4}½", r"Write it as a decimal number, 0\.5,"),
    "quotation marks": (lambda at: f"'3.{at % 4}'", r"alone, 3\.0,"),
    "an error": (lambda at: "#DIV/0!" if at % 5 else str(at), "empty if the value is missing, or"),
    "of Eurostat": (lambda at: ":" if at % 5 else str(at), "empty if the value is missing, or say"),
    "pairs": (lambda at: f"{110 + at}/{70 + at}", "two numbers in a cell, such as '110/70'. Make"),
    "tuples": (lambda at: f"({at % 9}.5, {at % 8}.5)", r"two numbers in a cell, such as '\(0.5"),
    "brackets and commas": (
        lambda at: f"(1,{166 + at}.50)" if at % 3 else str(at),
        r"leave them out, 1167\.50, with a minus if brackets say so, or say"),
    "points and a unit": (
        lambda at: f"1.{166 + at % 5},5 kW",
        r"alone, with a decimal point: 1166\.5, or say"),
    "many points": (
        lambda at: f"2.001.{166 + at % 5},5 EUR",
        r"alone, with a decimal point: 2001166\.5, or say"),
    "a factor": (lambda at: f"{at % 5 + 1}k", r"alone, 1 \(in full, if 'k' stands for thousands"),
    "a date": (lambda at: "1.5.2024" if at == 4 else f"{at}.5", "'1.5.2024' is .* Mend it, leave"),
    "a clock": (lambda at: "12:30" if at == 4 else f"{at}.5", "'12:30' is not .* Mend it, leave"),
    "several": (
        lambda at: f"{at} {at % 7} {at % 3}",
        "It holds several: separate the columns by comm"),
}  # fmt: skip
DATES = {
    "English": (
        lambda at: f"{MONTHS[at % 12]} {at % 5 + 1:02d}, 2024",
        "such as 'Jan 01, 2024', wh",
    ),
    "short": (
        lambda at: f"{at % 5 + 1}-Mar-24",
        "such as '1-Mar-24', which is not ISO 8601: write",
    ),
    "months": (lambda at: f"{MONTHS[at % 12]}-24", "such as 'Jan-24'"),
    "German": (lambda at: f"{at % 5 + 1}. März 2024", "such as '1. März 2024'"),
    "points": (lambda at: f"{at % 5 + 1:02d}.03.2024", "such as '01.03.2024'"),
    "quarters": (lambda at: f"2024-Q{at % 4 + 1}", "such as '2024-Q1'"),
    "weeks": (lambda at: f"2024-W{at % 5 + 10}", "holds dates. Name it with time='v'"),
    "days": (lambda at: f"2024-03-{at % 5 + 10}", "holds dates. Name it with time='v'"),
    "clock": (lambda at: f"00:{at % 5:02d}:30", "times of day or durations, such as '00:00:30'"),
    "SAS": (lambda at: f"0{at % 5 + 1}Mar2024:10:30:00", "such as '01Mar2024:10:30:00'"),
    "Apache": (lambda at: f"[0{at % 5 + 1}/Mar/2024:10:30:00 +0000]", "holds dates, such as"),
    "ordinals": (lambda at: f"March {at % 5 + 1}th, 2024", "such as 'March 1th, 2024'"),
    "without a year": (lambda at: f"{at % 5 + 1} Mar", "such as '1 Mar'"),
    "no blank": (lambda at: f"2024{MONTHS[at % 12]}", "such as '2024Jan'"),
    "of Eurostat": (lambda at: f"2024M{at % 5 + 1:02d}", "such as '2024M01'"),
    "month and year": (lambda at: f"{at % 5 + 1:02d}-2024", "such as '01-2024'"),
    "short quarters": (lambda at: f"{at % 4 + 1}Q24", "such as '1Q24'"),
    "German weeks": (lambda at: f"KW{at % 5 + 10}/2024", "such as 'KW10/2024'"),
    "week of": (lambda at: f"week of 2024-03-0{at % 5 + 1}", "such as 'week of 2024-03-01'"),
    "spans": (lambda at: f"2024-03-0{at % 5 + 1}/2024-03-09", "such as '2024-03-01/2024-03-09'"),
    "days of the year": (lambda at: f"2024-06{at % 5 + 1}", "holds dates. Name it with time='v'"),
    ".NET": (lambda at: f"/Date({1709285400000 + at % 5})/", "such as '/Date"),
    "compact": (lambda at: f"20240301_09300{at % 5}", "such as '20240301_093000'"),
    "Exif": (lambda at: f"2024:03:0{at % 5 + 1} 10:30:00", "such as '2024:03:01 10:30:00'"),
    "MetaTrader": (lambda at: f"2024.03.0{at % 5 + 1},10:30", "such as '2024.03.01,10:30'"),
    "Japanese": (lambda at: f"2024年03月0{at % 5 + 1}日", "such as '2024年03月01日'"),
    "Russian": (lambda at: f"{at % 5 + 1} марта 2024", "such as '1 марта 2024'"),
    "clock and zone": (lambda at: f"10:0{at % 5}:00+01:00", "times of day or durations"),
    "hours and minutes": (lambda at: f"{at % 5}h30m", "times of day or durations, such as '0h30m'"),
    "a. m.": (lambda at: f"{at % 5 + 1} AM", "times of day or durations, such as '1 AM'"),
    "Uhr": (lambda at: f"10:0{at % 5} Uhr", "times of day or durations"),
    "days and clock": (lambda at: f"{at % 5}:02:03:04", "times of day or durations"),
    "noon": (lambda at: f"{at % 11 + 1}:30 PM", "times of day or durations"),
    "duration": (lambda at: f"{at % 5} days 02:00:00", "times of day or durations"),
    "of ISO": (lambda at: f"PT{at % 5}M", "times of day or durations"),
}  # fmt: skip
OWN = {
    "its own": (lambda at: f"{at * 7919:08x}g", "text that differs in 30 of 30 rows, '00000000g'")
}
REFUSED = {**NUMBERS, **{f"dates, {name}": case for name, case in DATES.items()}, **OWN}


def column_of(cell) -> dict:
    return {"v": [cell(at) for at in range(30)], "y": np.arange(30.0)}


@pytest.mark.parametrize("case", REFUSED)
def test_quantities_and_dates_are_no_labels(case):
    cell, message = REFUSED[case]
    with pytest.raises(InputError, match=message) as caught:
        legato.read(column_of(cell))
    assert "\n" not in str(caught.value)
    named = legato.read(column_of(cell), categorical="v").columns[0]
    assert named.categories == tuple(sorted({cell(at) for at in range(30)}))


LABELS = [
    ["b 00", "b 01", "b 02"], ["machine 1", "machine 2", "machine 3"], ["4wd", "2wd", "fwd"],
    ["Q1", "Q2", "Q3"], ["+", "-"], ["May", "March", "June"], ["A1", "B2", "C3"],
    ["v1.0", "v1.1", "v1.2"], ["P", "T", "S"], ["1-5", "6-10", "16+"], ["#1", "#2", "#3"],
    ["2:1", "3:0", "1:1"], ["Decision 12", "Decision 13", "Decision 14"], ["male", "female", "?"],
    ["111 22", "114 55", "753 10"], ["1234-01", "1234-02", "5678-01"], ["20-00-00", "40-11-60"],
    ["USB 2.0", "USB 3.0", "USB 3.1"], ["Python 3.9", "Python 3.10", "Python 3.11"],
    ["[0, 10)", "[10, 20)", "[20, 30)"], ["(0.5, 1.5]", "(1.5, 2.5]"], ["(0, 0)", "(0, 1)"],
    ["1.0 TSI", "1.4 TSI", "2.0 TDI"], ["205/55", "195/65", "225/45"], ["2-1", "0-0", "3-2"],
    ["§1", "§2", "§3"], ["09:00-17:00", "17:00-01:00"], ["01-Jan", "02-Feb"], ["1.1.", "1.2."],
    ["SW1A 1AA", "M1 1AE"], ["00-950", "31-872"], ["1=never", "2=often"], ["1 (low)", "2 (high)"],
    ["1a", "1b", "2a", "2b"], ["true story", "false"], ["10.0.0.1", "10.0.0.2", "10.0.0.3"],
]  # fmt: skip


@pytest.mark.parametrize("labels", LABELS)
def test_labels_of_many_looks_stay_labels(labels):
    found = legato.read(column_of(lambda at: labels[at % len(labels)]))
    assert found.columns[0].categories == tuple(sorted(labels))


def test_few_rows_may_all_differ():
    assert legato.read({"v": [f"name {at:x}" for at in range(5)]}).columns[0].categories


@pytest.mark.parametrize(
    "days", [[20240300 + at for at in range(1, 11)], [202300 + at for at in range(1, 11)]]
)
def test_numbers_that_are_dates_are_no_quantities(days):
    for column in (days, np.array(days, float), list(map(str, days))):
        with pytest.raises(
            InputError, match=f"numbers that are dates, {days[0]} first. Name it wi"
        ):
            legato.read({"day": column, "x": np.arange(10.0)})
    data = {"day": np.arange(10) * 0 + days[0], "x": np.arange(10.0)}
    assert legato.read(data).columns[0].is_numeric
    assert legato.read({"day": days}, columns="day", categorical="day").columns[0].categories
    frame = {"day": days, "x": np.arange(10.0)}
    assert legato.read(frame, time="day").times.dtype.kind == "M"
    assert legato.read({"day": [20.0240301 * at for at in range(10)]}).columns[0].is_numeric
