"""How people write times: read, and written alike in forecasts, against pandas and ``strftime``."""

import datetime

import numpy as np
import pandas
import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shop_files import write_file

import legato
from legato import InputError
from legato._series.month_names import MONTH_NAMES, MONTH_NUMBERS
from legato._series.time_writings import Writing, find_writing

thorough = settings(max_examples=100, deadline=None, derandomize=True, database=None)
pytestmark = pytest.mark.usefixtures("in_tmp_path")


def quarter(time: pandas.Timestamp) -> int:
    return (time.month + 2) // 3


DAYS = {
    "31/01/2020": lambda t: f"{t:%d/%m/%Y}",
    "1/31/2020": lambda t: f"{t.month}/{t.day}/{t.year}",
    "01/31/2020": lambda t: f"{t:%m/%d/%Y}",
    "31.01.2020": lambda t: f"{t:%d.%m.%Y}",
    "31.1.2020": lambda t: f"{t.day}.{t.month}.{t.year}",
    "31-01-2020": lambda t: f"{t:%d-%m-%Y}",
    "20200131": lambda t: f"{t:%Y%m%d}",
    "2020-01-31": lambda t: f"{t:%Y-%m-%d}",
    "2020/1/31": lambda t: f"{t.year}/{t.month}/{t.day}",
    "2020.01.31": lambda t: f"{t:%Y.%m.%d}",
    "2020-031": lambda t: f"{t:%Y-%j}",
    "2020-W05-5": lambda t: f"{t:%G-W%V-%u}",
    "31-Jan-2020": lambda t: f"{t:%d-%b-%Y}",
    "Jan 31, 2020": lambda t: f"{t:%b} {t.day}, {t.year}",
    "31 January 2020": lambda t: f"{t:%d %B %Y}",
    "2020-JAN-31": lambda t: f"{t:%Y-%b-%d}".upper(),
    "2020年01月31日": lambda t: f"{t:%Y年%m月%d日}",
}
MONTHS = {
    "1991 Jul": lambda t: f"{t:%Y %b}",
    "Jul 1991": lambda t: f"{t:%b %Y}",
    "JULY 1991": lambda t: f"{t:%B %Y}".upper(),
    "jul-1991": lambda t: f"{t:%b-%Y}".lower(),
    "1991M07": lambda t: f"{t:%YM%m}",
    "1991-07": lambda t: f"{t:%Y-%m}",
    "199107": lambda t: f"{t:%Y%m}",
    "7/1991": lambda t: f"{t.month}/{t.year}",
    "07/1991": lambda t: f"{t:%m/%Y}",
    "07.1991": lambda t: f"{t:%m.%Y}",
    "1991.07": lambda t: f"{t:%Y.%m}",
    "1991-M7": lambda t: f"{t.year}-M{t.month}",
}
QUARTERS = {
    "1970 Q1": lambda t: f"{t.year} Q{quarter(t)}",
    "1970Q1": lambda t: f"{t.year}Q{quarter(t)}",
    "1970-Q1": lambda t: f"{t.year}-Q{quarter(t)}",
    "Q1 1970": lambda t: f"Q{quarter(t)} {t.year}",
    "1970:q1": lambda t: f"{t.year}:q{quarter(t)}",
    "1Q 1970": lambda t: f"{quarter(t)}Q {t.year}",
}
WEEKS = {
    "2020-W05": lambda t: f"{t:%G-W%V}",
    "2020W05": lambda t: f"{t:%GW%V}",
    "2020 W05": lambda t: f"{t:%G W%V}",
    "2020-W5": lambda t: "{}-W{}".format(*t.isocalendar()),
    "W05/2020": lambda t: f"{t:W%V/%G}",
}
CLOCKS = {
    "31/01/2020 14:30": lambda t: f"{t:%d/%m/%Y %H:%M}",
    "1/31/2020 2:30 PM": lambda t: f"{t.month}/{t.day}/{t.year} {(t.hour + 11) % 12 + 1}:{t:%M %p}",
    "2020-01-31T14:30": lambda t: f"{t:%Y-%m-%dT%H:%M}",
    "2020-01-31 14:30:00": lambda t: f"{t:%Y-%m-%d %H:%M:%S}",
    "20200131T1430": lambda t: f"{t:%Y%m%dT%H%M}",
    "2020-01-31 14:30:00 UTC": lambda t: f"{t:%Y-%m-%d %H:%M:%S UTC}",
    "2020-01-31T14": lambda t: f"{t:%Y-%m-%dT%H}",
    "1/31/2020 2 PM": lambda t: f"{t.month}/{t.day}/{t.year} {(t.hour + 11) % 12 + 1} {t:%p}",
    "202001311430": lambda t: f"{t:%Y%m%d%H%M}",
    "31 Jan 2020, 14:30:00": lambda t: f"{t:%d %b %Y, %H:%M:%S}",
}
CASES = [
    *((name, written, freq) for name, written in DAYS.items()
      for freq in ("D", "B", "W-SUN", "ME", "QE", "YE", "BME", "SME")),
    *((name, written, freq) for name, written in MONTHS.items() for freq in ("MS", "QS", "YS")),
    *((name, written, freq) for name, written in QUARTERS.items() for freq in ("QS", "2QS")),
    *((name, written, "W-MON") for name, written in WEEKS.items()),
    *((name, written, freq) for name, written in CLOCKS.items() for freq in ("h", "6h", "bh")),
]  # fmt: skip


@pytest.mark.quick_cases(60)
@pytest.mark.parametrize(("name", "written", "freq"), CASES, ids=lambda each: str(each)[:20])
def test_forecasts_go_on_as_the_file_is_written(name, written, freq):
    """Read texts, and write the times that follow as pandas' own offset and ``strftime`` do."""
    known = 150 if freq == "bh" else 40
    times = pandas.date_range("2018-09-28", periods=known + 25, freq=freq)
    texts = [written(time) for time in times]
    sequences = legato.read({"t": texts[:known], "x": np.arange(known) * 1.0}, time="t")
    np.testing.assert_array_equal(sequences.times, times[:known].to_numpy().astype("M8[us]"))
    ahead = sequences.times_after(25)
    assert sequences.format_times(ahead[0]) == texts[known:]
    assert sequences.format_times(sequences.times) == texts[:known]


def test_a_file_is_read_as_its_columns_are():
    for at, (name, written, freq) in enumerate(CASES[::7]):
        times = pandas.date_range("2018-09-28", periods=60, freq=freq)
        texts = [written(time) for time in times]
        path = write_file("t;x\n" + "".join(f"{text} ;{n}\n" for n, text in enumerate(texts)))
        found = legato.read(path, time="t")
        same = legato.read({"t": texts, "x": np.arange(60.0)}, time="t")
        np.testing.assert_array_equal(found.times, same.times, err_msg=f"{at} {name}")
        assert found.writing == same.writing


LANGUAGES = {
    "German": ["Dez. 2019", "Jan. 2020", "Feb. 2020", "März 2020"],
    "French": ["déc 2019", "janv 2020", "févr 2020", "mars 2020"],
    "Spanish": ["DICIEMBRE 2019", "ENERO 2020", "FEBRERO 2020", "MARZO 2020"],
    "Italian": ["dic 2019", "gen 2020", "feb 2020", "mar 2020"],
    "Portuguese": ["dez/2019", "jan/2020", "fev/2020", "mar/2020"],
    "Dutch": ["1 december 2019", "1 januari 2020", "1 februari 2020", "1 maart 2020"],
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_months_have_their_names_in_other_languages(language):
    texts = LANGUAGES[language]
    if language == "German":
        texts = [text if "März" not in text else "Mär. 2020" for text in texts]
    found = legato.read({"Zeit": texts[:3], "x": [1.0, 2.0, 3.0]}, time="Zeit")
    months = np.arange("2019-12", "2020-03", dtype="M8[M]")
    np.testing.assert_array_equal(found.times, months.astype("M8[us]"))
    assert found.format_times(found.times_after(1)[0]) == texts[3:]


@thorough
@given(
    st.sampled_from([*DAYS, *CLOCKS]).filter(lambda name: not name.isdigit()),
    st.datetimes(datetime.datetime(1000, 1, 1), datetime.datetime(9998, 1, 1)),
)
def test_a_writing_gives_back_what_it_reads(name, time):
    stamp = pandas.Timestamp(time.replace(second=0, microsecond=0))
    text = {**DAYS, **CLOCKS}[name](stamp)
    order = "day-first" if name.startswith("31") else "month-first"
    writing = find_writing(polars.Series([text]), order)
    assert isinstance(writing, Writing)
    parsed = writing.parse(polars.Series([text]))
    assert parsed.null_count() == 0
    assert writing.format(parsed.to_numpy()) == [text]


ORDERS = {
    "31/01/2020": ("2020-01-31", "day-first"),
    "1/31/2020": ("2020-01-31", "month-first"),
    "13.1.2020": ("2020-01-13", "day-first"),
    "01-13-2020": ("2020-01-13", "month-first"),
}


@pytest.mark.parametrize("text", ORDERS)
def test_a_number_above_twelve_tells_days_from_months(text):
    time, order = ORDERS[text]
    separator = next(each for each in "/.-" if each in text)
    unclear = separator.join(["02", "03", "2020"])
    found = legato.read({"t": [unclear, text], "x": [1.0, 2.0]}, time="t")
    assert np.datetime64(time) in found.times
    assert found.writing is not None
    assert found.writing.order == order
    day = "2020-03-02" if order == "day-first" else "2020-02-03"
    assert np.datetime64(day) in found.times


def test_days_and_months_that_cannot_be_told_apart_are_asked_for():
    path = write_file("t,x\n01/02/2020,1\n02/02/2020,2\n03/02/2020,3\n")
    with pytest.raises(InputError) as caught:
        legato.read(path, time="t")
    assert str(caught.value) == (
        "t.csv, line 2, column 't': '01/02/2020' is no time until it is known whether its day or "
        "its month comes first, which no row shows: give dates='day-first' or dates='month-first', "
        "or write dates as ISO 8601 has them, 2001-03-31."
    )
    days = legato.read(path, time="t", dates="day-first")
    assert (str(days.spacing), days.format_times(days.times_after(1)[0])) == (
        "1 day",
        ["04/02/2020"],
    )
    months = legato.read(path, time="t", dates="month-first")
    assert (str(months.spacing), months.format_times(months.times_after(1)[0])) == (
        "1 month",
        ["04/02/2020"],
    )
    with pytest.raises(InputError, match="dates"):
        legato.read(path, time="t", dates="days")


def test_between_points_the_day_comes_first_unless_it_is_said_otherwise():
    texts = ["01.02.2020", "02.02.2020", "03.02.2020"]
    days = legato.read({"t": texts, "x": [1.0, 2.0, 3.0]}, time="t")
    assert days.format_times(days.times_after(1)[0]) == ["04.02.2020"]
    months = legato.read({"t": texts, "x": [1.0, 2.0, 3.0]}, time="t", dates="month-first")
    assert (str(months.spacing), str(days.spacing)) == ("1 month", "1 day")
    told = legato.read({"t": ["01.02.2020", "01.13.2020"], "x": [1.0, 2.0]}, time="t")
    assert told.times.tolist()[-1] == datetime.datetime(2020, 1, 13)


def test_the_order_of_training_is_that_of_a_forecast():
    """A shorter file need not tell what the file of the training told."""
    times = pandas.date_range("2020-01-25", periods=40)
    texts = [f"{time:%d/%m/%Y}" for time in times]
    values = np.sin(np.arange(40.0))
    options = {"units": 2, "epochs": 1, "verbose": 0}
    trained = legato.train({"t": texts, "x": values}, time="t", **options)
    trained.save("m.keras")
    again = legato.Trained.load("m.keras")
    ahead = again.forecast({"t": texts[8:12], "x": values[8:12]})
    assert ahead.columns()["t"] == ["06/02/2020"]
    assert again.known["read"]["dates"] == "day-first"


FAULTS = {
    "mixed": (["31/01/2020", "2020-02-01"], r"row 1 .*'2020-02-01' is no time, the first of 1: ?"),
    "both orders": (["31/01/2020", "1/31/2020"], r"row 1 .*written as '31/01/2020' is in row 0"),
    "no such day": (["31/01/2020", "31/02/2020"], r"row 1 .*'31/02/2020' is no time"),
    "two digits": (["31/01/20", "01/02/20"], "'31/01/20' is no time.* two digits, and four"),
    "a short month": (["Jan-24", "Feb-24"], "'Jan-24' is no time.* two digits, and four"),
    "a short quarter": (["Q1 '20"], '"Q1 \'20" is no time.* two digits, and four'),
    "not two digits": (["2020 Wk52"], r"'2020 Wk52' is no time, the first of 1\. Write"),
    "no month": (["1991 Jux"], "'1991 Jux' is no time"),
    "a fifth quarter": (["1970 Q4", "1970 Q5"], "row 1 .*'1970 Q5' is no time"),
    "week 54": (["2020-W53", "2020-W54"], "row 1 .*'2020-W54' is no time"),
    "13 o'clock": (["1/31/2020 12:30 PM", "1/31/2020 13:30 PM"], "row 1 .*'1/31/2020 13:30 PM' is"),
    "year 0 of a database": (["2020-01-01", "0000-00-00"], "row 1 .*'0000-00-00' is no time"),
    "a total": (["1991 Jul", "Total"], "row 1 .*'Total' is no time.*take out rows"),
    "blank": (["31/01/2020", " "], "row 1 .*the value is missing"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_is_no_time_is_named_with_its_row(case):
    texts, message = FAULTS[case]
    with pytest.raises(InputError, match=message.removesuffix(": ?")) as caught:
        legato.read({"t": texts, "x": np.arange(len(texts)) * 1.0}, time="t")
    assert "\n" not in str(caught.value)


def test_unsorted_and_repeated_times_of_any_writing():
    found = legato.read({"t": ["Feb 1991", "Jan 1991"], "x": [2.0, 1.0]}, time="t")
    assert found.values.ravel().tolist() == [1, 2]
    assert found.notes == ("Rows were not in order of 't'; sorted.",)
    mixed = legato.read({"t": ["July 1991", "Aug 1991", "Sept 1991"], "x": [1.0, 2, 3]}, time="t")
    assert str(mixed.spacing) == "1 month"
    with pytest.raises(InputError, match="time 1991-01-01 comes twice, in rows"):
        legato.read({"t": ["Jan 1991", "Jan 1991"], "x": [2.0, 1.0]}, time="t")


@pytest.mark.parametrize("texts", [["0001-01-01", "0001-01-02"], ["9999-12-30", "9999-12-31"],
                                   ["01/12/9999", "31/12/9999"], ["13 Jan 0800", "14 Jan 0800"],
                                   ["1991 Jul"], ["31/01/2020"]])  # fmt: skip
def test_ancient_last_and_single_times(texts):
    found = legato.read({"t": texts, "x": np.arange(len(texts)) * 1.0}, time="t")
    assert found.format_times(found.times) == texts
    ahead = found.times_after(3)
    assert (ahead is None) == (len(texts) == 1)
    if ahead is not None:
        assert len(found.format_times(ahead[0])) == 3


def test_a_counter_stays_a_number_and_dates_do_not():
    counter = legato.read({"t": np.arange(20200125, 20200165), "x": np.arange(40.0)}, time="t")
    assert counter.times.dtype.kind == "i"
    assert counter.format_times(counter.times_after(1)[0]) == ["20200165"]
    dates = legato.read({"t": [20200227, 20200228], "x": [1.0, 2.0]}, time="t")
    assert dates.format_times(dates.times_after(2)[0]) == ["20200229", "20200301"]


@pytest.mark.parametrize("freq", ["Y", "Q", "M", "W", "D", "h"])
@pytest.mark.parametrize("where", ["index", "column"])
def test_periods_of_pandas_are_times(freq, where):
    periods = pandas.period_range("2019-01-01", periods=6, freq=freq)
    frame = pandas.DataFrame({"x": np.arange(6.0)}, index=periods)
    if where == "column":
        frame = frame.rename_axis("time").reset_index()
    found = legato.read(frame, **({"time": "time"} if where == "column" else {}))
    np.testing.assert_array_equal(found.times, periods.to_timestamp().to_numpy().astype("M8[us]"))
    after = pandas.period_range(periods[-1], periods=3, freq=freq)[1:]
    np.testing.assert_array_equal(
        found.times_after(2)[0], after.to_timestamp().to_numpy().astype("M8[us]")
    )


def test_a_name_of_a_month_is_that_of_one_month():
    for names in MONTH_NAMES:
        assert len(names) == 12
        assert [MONTH_NUMBERS[name] for name in names] == list(range(1, 13))
