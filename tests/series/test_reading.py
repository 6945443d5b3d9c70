"""Reading: the same sequences from every kind of source, and errors that name row and column.

The fields of a CSV file are compared with Python's ``csv`` module, the forward fill with a loop.
"""

import csv
import gzip
import io
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas
import polars
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import legato
from legato import InputError
from legato._series import csv as csv_module
from legato._series.file_formats import FORMATS, FileFormat
from legato._series.tables import ColumnRequest, Table

quick = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
HOSTILE = ["a name", "naïve 日本", "../x", "[bold]", 'say "so"', "semi;colon", "new\nline"]


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def shops(rng, rows=40) -> dict:
    """Two shops, times in order within each, columns of every kind."""
    return {
        "shop": np.array(["b 07", "a"])[np.arange(rows) % 2],
        "time": np.datetime64("2020-02-28T22:00:00", "us")
        + np.arange(rows) // 2 * np.timedelta64(1, "h"),
        "price": rng.normal(size=rows) * 10.0 ** rng.integers(-9, 9, rows),
        "count": rng.integers(-5, 90, rows),
        "open": rng.random(rows) < 0.5,
        "weather": np.array(["sun", "rain", "Schnee ☃"])[rng.integers(0, 3, rows)],
        "weekday": rng.integers(1, 8, rows),
    }


def read(source, **options):
    return legato.read(
        source, **{"group": "shop", "time": "time", "categorical": "weekday"} | options
    )


def same(one, other):
    """Equal to the bit, except for the source and the notes."""
    for name in ("values", "lengths", "times"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), strict=True)
    assert one.columns == other.columns
    assert one.names == other.names


def write(text: str | bytes, name="t.csv") -> str:
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return name


def as_csv(columns: dict, name: str, **options) -> str:
    polars.DataFrame(columns).write_csv(name, **options)
    return name


def text(columns: dict) -> str:
    return polars.DataFrame(columns).write_csv()


SOURCES = {
    "semicolons": lambda columns: as_csv(columns, "t.csv", separator=";"),
    "tabs": lambda columns: as_csv(columns, "t.tsv", separator="\t"),
    "bars": lambda columns: as_csv(columns, "t.tab", separator="|"),
    "quotes": lambda columns: as_csv(columns, "t.csv", quote_style="always"),
    "mark and Windows": lambda columns: as_csv(
        columns, "t.csv", include_bom=True, line_terminator="\r\n"
    ),
    "spaces": lambda columns: write(text(columns).replace(",", ", ")),
    "pandas' CSV": lambda columns: write(
        pandas.DataFrame(columns).to_csv(index=False)
    ),
    "gz": lambda columns: write(gzip.compress(text(columns).encode()), "t.CSV.gz"),
    "parquet": lambda columns: polars.DataFrame(columns).write_parquet("t.pq") or "t.pq",
    "npz": lambda columns: np.savez("t.npz", **columns) or "t.npz",
    "polars": polars.DataFrame,
    "lazy": polars.LazyFrame,
    "pandas": pandas.DataFrame,
    "pandas, nullable": lambda columns: pandas.DataFrame(columns).convert_dtypes(),
    "pandas, categories and a zone": lambda columns: pandas.DataFrame(
        columns | {"time": pandas.DatetimeIndex(columns["time"], tz="UTC").tz_convert("Asia/Tokyo")}
    ).astype({"weather": "category"}),
    "pandas, an index": lambda columns: pandas.DataFrame(columns).set_index(["shop", "time"]),
    "columns": lambda columns: columns,
    "lists": lambda columns: {name: values.tolist() for name, values in columns.items()},
}  # fmt: skip


@pytest.mark.parametrize("source", SOURCES)
def test_every_kind_of_source_gives_the_same_sequences(source, rng):
    columns = shops(rng)
    expected = read(as_csv(columns, "first.csv"))
    assert expected.names == ("b 07", "a")
    assert expected.lengths.tolist() == [20, 20]
    assert [column.name for column in expected.columns] == list(columns)[2:]
    np.testing.assert_array_equal(expected.of(1)[:, 0], columns["price"][1::2])
    same(read(SOURCES[source](columns)), expected)


def test_categories_and_their_numbers(rng):
    columns = shops(rng)
    found = read(columns, categorical=["weekday", "open"])
    kinds = {column.name: column for column in found.columns}
    assert kinds["price"].is_numeric
    assert kinds["open"].categories == ("false", "true")
    assert kinds["weather"].categories == ("Schnee ☃", "rain", "sun")
    assert kinds["weather"].numbers == (0, 1, 2)
    assert kinds["weekday"].categories == ("1", "2", "3", "4", "5", "6", "7")
    assert kinds["weekday"].numbers == (1, 2, 3, 4, 5, 6, 7)
    labels = np.array(kinds["weather"].categories)[found.of(0)[:, 3].astype(int)]
    np.testing.assert_array_equal(labels, columns["weather"][::2])


def test_labels_with_leading_zeros_stay_words():
    found = legato.read(write("code,x\n007,1\n01,2\n"), categorical="code")
    assert found.columns[0].categories == ("007", "01")


@quick
@given(seed=st.integers(0, 2**32))
def test_any_order_of_rows_gives_the_same_sequences(seed):
    rng = np.random.default_rng(seed)
    columns = shops(rng, 12)
    order = rng.permutation(12)
    found = read(as_csv({name: values[order] for name, values in columns.items()}, "t.csv"))
    expected = read(columns)
    for name in expected.names:
        one, other = found.names.index(name), expected.names.index(name)
        np.testing.assert_array_equal(found.of(one), expected.of(other))
        rows = order[found.lines[found.offsets[one] : found.offsets[one + 1]] - 2]
        np.testing.assert_array_equal(columns["price"][rows], found.of(one)[:, 0])


def test_without_time_the_rows_keep_their_order_in_each_group():
    found = legato.read(write("g,x\nb,3\na,1\nb,2\n\nb,9\na,0\n"), group="g")
    assert found.names == ("b", "a")
    assert found.values[:, 0].tolist() == [3, 2, 9, 1, 0]
    assert found.lines.tolist() == [2, 4, 6, 3, 7]
    assert found.times is None


WORDS = st.text(st.sampled_from('ab1,;"\n é'), max_size=5)


@quick
@given(
    rows=st.lists(st.tuples(WORDS, WORDS, st.integers(0, 9)), min_size=1, max_size=12),
    size=st.sampled_from([40, 2**23]),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
)
def test_fields_and_lines_are_those_of_the_csv_module(rows, size, end, quoting, monkeypatch):
    monkeypatch.setattr(csv_module, "PIECE_BYTES", size)
    table = io.StringIO(newline="")
    csv.writer(table, lineterminator=end, quoting=quoting).writerows([("p", "q", "r"), *rows])
    found = csv_module.read_csv(Path(write(table.getvalue())), ColumnRequest(labels=("p", "q")))
    frame, lines = found.frame, found.lines
    assert frame["r"].to_list() == [row[2] for row in rows]
    for at, name in enumerate("pq"):
        assert [word or "" for word in frame[name]] == [row[at] for row in rows]
    reader = csv.reader(io.StringIO(table.getvalue(), newline=""))
    ends = [reader.line_num for _ in reader]
    assert lines.tolist() == [end + 1 for end in ends[:-1]]


@quick
@given(
    cells=st.lists(st.lists(st.sampled_from(["", "1", "2.5", '"p,q"']), min_size=3, max_size=3)),
    at=st.integers(0, 20),
    fields=st.integers(1, 2),
    size=st.sampled_from([20, 2**23]),
    end=st.sampled_from(["\n", "\n\n", "\r\n"]),
)
def test_a_row_with_missing_fields_is_an_error(cells, at, fields, size, end, monkeypatch):
    monkeypatch.setattr(csv_module, "PIECE_BYTES", size)
    lines = ["a,b,c", *map(",".join, cells)]
    at = min(at, len(cells)) + 1
    lines.insert(at, ",".join(["1"] * fields))
    with pytest.raises(InputError, match=f"line {at * end.count(chr(10)) + 1}: {fields} field"):
        legato.read(write(end.join(lines)))


def test_a_new_format_is_one_line(monkeypatch, rng):
    def read_json_lines(path: Path, request: ColumnRequest) -> Table:
        return Table(polars.read_ndjson(path), path.name)

    monkeypatch.setitem(FORMATS, ".jsonl", FileFormat(read_json_lines))
    columns = shops(rng)
    polars.DataFrame(columns).write_ndjson("t.jsonl")
    same(read("t.jsonl"), read(columns))


def test_a_column_that_is_numbers_in_one_piece_only_is_words(monkeypatch):
    monkeypatch.setattr(csv_module, "PIECE_BYTES", 16)
    found = legato.read(write("x,y\n" + "1,1\n" * 5 + "p,2\nq,3\n" * 9))
    assert found.columns[0].categories == ("1", "p", "q")
    late = write("x,y\n" + "1,1\n" * 15 + ",2\nn/a,3\n" * 3)
    with pytest.raises(InputError, match=r"line 18, column 'x': 'n/a' is not a number"):
        legato.read(late, missing="drop")


@pytest.mark.parametrize("source", ["csv", "parquet", "pandas", "columns"])
def test_any_string_is_a_column_name(source):
    columns = {name: np.arange(3.0) + at for at, name in enumerate(HOSTILE)}
    sources = {**SOURCES, "csv": lambda columns: as_csv(columns, "t.csv")}
    found = legato.read(sources[source](columns))
    assert [column.name for column in found.columns] == HOSTILE
    assert found.values[1].tolist() == [1 + at for at in range(len(HOSTILE))]


def test_arrays(rng):
    one, many = rng.normal(size=(5, 2)), rng.normal(size=(3, 4, 2))
    np.save("one.npy", one)
    np.save("many.npy", many)
    found = legato.read("one.npy")
    np.testing.assert_array_equal(found.values, one)
    assert (found.names, [column.name for column in found.columns]) == (("one.npy",), ["0", "1"])
    for source in (many, "many.npy", list(many)):
        found = legato.read(source)
        assert found.lengths.tolist() == [4, 4, 4]
        np.testing.assert_array_equal(found.values, many.reshape(12, 2))
    found = legato.read([one[:2], one[:, :]])
    assert found.lengths.tolist() == [2, 5]
    assert legato.read(one[:, 0]).columns == (legato.Column("value"),)
    assert legato.read([1, 2, 3]).values.tolist() == [[1], [2], [3]]


def test_text():
    found = legato.read(write("\ufeffab☃\r\na", "t.txt"))
    column = found.columns[0]
    assert column.categories == ("\n", "a", "b", "☃")
    assert column.numbers == (10, 97, 98, 0x2603)
    assert "".join(map(chr, found.values[:, 0])) == "ab☃\na"
    assert found.values.dtype == np.int32
    assert found.lines.tolist() == [1, 1, 1, 1, 2]


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
    found = legato.read(write(f"t,x\n{one},1\n{other},2\n"), time="t")
    if unit:
        expected = np.array([one, other], f"datetime64[{unit}]").astype("datetime64[us]")
        np.testing.assert_array_equal(found.times, expected, strict=True)
    assert found.times[0] < found.times[1]
    assert found.times.dtype.kind == {"whole": "i", "numbers": "f"}.get(case, "M")


def test_times_with_zones_are_in_utc():
    found = legato.read(
        write("t,x\n2001-01-01T02:00:00+02:00,1\n2001-01-01T00:30:00Z,2\n"), time="t"
    )
    assert (
        found.times.tolist()
        == np.array(["2001-01-01T00:00", "2001-01-01T00:30"], "M8[us]").tolist()
    )


def by_loop(values, lengths):
    """The last known value of the same sequence, by a loop."""
    rows, at = [], 0
    for length in lengths:
        last = [np.nan] * values.shape[1]
        for row in values[at : at + length]:
            last = [old if np.isnan(new) else new for old, new in zip(last, row, strict=True)]
            if not np.isnan(last).any():
                rows.append(list(last))
        at += length
    return rows


@quick
@given(seed=st.integers(0, 2**32))
def test_missing_values(seed):
    rng = np.random.default_rng(seed)
    values = np.where(rng.random((12, 2)) < 0.4, np.nan, rng.integers(0, 9, (12, 2)))
    values[0] = 1
    group = np.sort(rng.integers(0, 3, 12))
    lengths = np.unique(group, return_counts=True)[1]
    words = np.array(["", "NA", "N/A", "NaN", "nan", "null", "None", " "])[
        rng.integers(0, 8, (12, 2))
    ]
    cells = np.where(np.isnan(values), words, values.astype(str))
    lines = [f"{g},{p},{q}" for g, (p, q) in zip(group, cells, strict=True)]
    name = write("\n".join(["g,p,q", *lines]))
    filled = legato.read(name, group="g", missing="forward", columns=["p", "q"])
    assert filled.values.tolist() == by_loop(values, lengths)
    dropped = legato.read(
        {"g": group, "p": values[:, 0], "q": values[:, 1]}, group="g", missing="drop"
    )
    np.testing.assert_array_equal(dropped.values, values[~np.isnan(values).any(axis=1)])
    same(legato.read(name, group="g", missing="drop"), dropped)


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
    assert list(legato.read(write(text), time="t", **options).notes) == notes


FAULTS = {
    "empty": ("", {}, r"t.csv is empty; a header and rows"),
    "blank": ("\n\n", {}, r"t.csv is empty"),
    "header only": ("a,b\n", {}, r"t.csv has a header and no rows below it"),
    "no header": (
        "1.5,2\n3,4\n", {},
        r"line 1: the first line holds numbers \(1.5 first\).*Write a"),
    "Latin 1": (
        "a,b\n1,2\n3,4\n\n5,Zürich\n".encode("latin1"), {},
        r"line 5: the byte 0xfc is not UTF-8 text.*save as UTF-8"),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16"), {}, r"t.csv is UTF-16 text.*save as UTF-8"),
    "zero": (b"a,b\n1,\x00\n", {}, r"line 2: a zero byte is not UTF-8"),
    "Mac": ("a,b\r1,2\r", {}, r"lone carriage return"),
    "short": ('a,b\n"1\n1",2\n3\n', {}, r"line 4: 1 field came, and the header has 2"),
    "long": ("a;b\n1;2\n3;4;5\n", {}, r"line 3: 3 fields came, and the header has 2.*';'"),
    "open": ('a,b\n1,2\n"3,4\n', {}, r"line 3: a quotation mark in the record.*never closed"),
    "stray": ('a,b\n1,2\n5" pipe,6" pipe\n', {}, r"line 3: a quotation mark stands in the middle"),
    "same name": ("a,b, a\n1,2,3\n", {}, r"columns 1 and 3 are both called 'a'"),
    "no name": (",b\n1,2\n", {}, r"column 1 of 2 has no name.*index=False"),
    "a word": (
        "a,b\n1,2\nn/a,3\n4,5\n", {},
        r"t.csv, line 3, column 'a': 'n/a' is not a number, and the column looks like one of "
        r"numbers. Mend it.*categorical=\['a'\]"),
    "commas": (
        "a;b\n1,5;2\n2,5;3\n", {},
        r"line 2, column 'a': '1,5' is not a number, the first of 2 such.*with a point, 1.5"),
    "a comma": ('a,b\n1,2\n"12,5",3\n', {}, r"line 3, column 'a': '12,5'.*with a point, 12.5"),
    "no column": (
        "Price,b\n1,2\n", {"columns": "prise"},
        r"no column 'prise'. Did you mean 'Price'\? There are 'Price', 'b'\."),
    "infinite": ("a,b\n1,2\ninf,3\n", {}, r"line 3, column 'a': the value is inf, the first of 1"),
    "huge": ("a,b\n1,2\n1e300,3\n", {}, r"line 3, column 'a': the value is 1e\+300.*beyond 3e\+38"),
    "missing": (
        "a,b\n1,2\n3,NA\n,4\n", {},
        r"line 3, column 'b': the value is missing, the first of 2 such.*'drop'.*'forward'"),
    "blank in one column": ("a\n\n1\n\n", {}, r"line 2, column 'a': the value is missing\. Leave"),
    "missing group": (
        "a,b\n1,2\n,4\n", {"group": "a"},
        r"line 3, column 'a': the value is missing, the first of 1.*group= or time="),
    "missing time": (
        "a,b\n1,2\nNA,4\n", {"time": "a"},
        r"line 3, column 'a': the value is missing"),
    "all missing": (
        "a,b\n1,\n2,NA\n", {"missing": "drop"},
        r"column 'b' holds no value at all.*columns="),
    "none left": (
        "a,b\n1,\n,2\n", {"missing": "drop"},
        r"no row would be left with missing='drop'"),
    "no time": (
        "a,b\n2001-01-31,1\n31/12/2001,2\n", {"time": "a"},
        r"line 3, column 'a': '31/12/2001' is no time, the first of 1.*ISO 8601"),
    "infinite time": ("a,b\n1.5,1\ninf,2\n", {"time": "a"}, r"line 3, column 'a': the time is inf"),
    "twice": (
        "t,b\n2001-01,1\n2001-02,2\n2001-01,3\n", {"time": "t"},
        r"the time 2001-01-01 comes twice, in lines 2 and 4. Take one out, or name.*group="),
    "twice in a group": (
        "g,t,b\nx,2,1\ny,2,3\ny,2,5\n", {"time": "t", "group": "g"},
        r"the time 2 comes twice in 'y', in lines 3 and 4. Take one out\."),
    "dates": (
        "day,b\n2001-01-01,1\n2001-01-02,4\n", {},
        r"column 'day' holds dates. Name it with time='day', or leave it out with columns="),
    "spread": (
        "a,b\n1000000000,1\n1000000001,4\n", {},
        r"column 'a' lies between.*Subtract a constant"),
    "both": ("a,b\n1,2\n", {"group": "a", "time": "a"}, r"'a' cannot be both"),
    "group as value": (
        "a,b\n1,2\n", {"group": "a", "columns": ["a", "b"]},
        r"'a' is named as group="),
    "nothing left": ("a,b\n1,2\n", {"group": "a", "time": "b"}, r"no column of values is left"),
    "unused label": ("a,b\n1,2\n", {"columns": "a", "categorical": "b"}, r"categorical names 'b'"),
    "German dates": ("d,b\n31.12.2001,1\n1.1.2002 10:00,2\n", {}, "column 'd' holds dates"),
    "no names": ("a\n1\n", {"columns": 3}, "columns is 3; the name of a column or several was"),
    "policy": ("a\n1\n", {"missing": "zero"}, "missing is 'zero'; one of 'error', 'drop', 'for"),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_faults(case):
    text, options, message = FAULTS[case]
    with pytest.raises(InputError, match=message) as caught:
        legato.read(write(text), **options)
    assert "\n" not in str(caught.value)


INVALID_SOURCES = {
    "absent": (lambda: "nowhere.csv", "There is no file nowhere.csv"),
    "a long text": (lambda: "words " * 999, "There is no file words words"),
    "a folder": (lambda: ".", r"is a folder; a file was expected"),
    "a workbook": (lambda: write(b"PK", "t.xlsx"), "workbook: save the sheet that is meant as CSV"),
    "bytes": (
        lambda: write(b"a\n\xff\xfeb", "t.dat"),
        r"t.dat, line 2: the byte 0xff is not UTF-8"),
    "cut gz": (
        lambda: write(gzip.compress(b"a,b\n1,2\n" * 99)[:-12], "t.csv.gz"),
        "not a whole gzip file"),
    "no gz": (lambda: write(b"a,b\n1,2\n", "t.csv.gz"), "cannot be read"),
    "packed": (lambda: write(b"a", "t.npy.gz"), "t.npy.gz is packed: unpack it"),
    "no npy": (lambda: write(b"a", "t.npy"), "t.npy is not a whole NumPy file"),
    "no npz": (lambda: write(b"PK\x03\x04", "t.npz"), "t.npz is not a whole NumPy file"),
    "pickle": (lambda: write(pickle.dumps([1]), "t.npy"), "t.npy holds pickled Python objects"),
    "objects": (lambda: np.save("t.npy", np.array([{}])) or "t.npy", "t.npy holds pickled"),
    "2-D in npz": (
        lambda: np.savez("t.npz", a=np.ones((2, 2))) or "t.npz",
        r"'a' has shape \(2, 2\)"),
    "lengths": (lambda: {"a": [1, 2], "b": [1]}, "differ in length: 'a' 2, 'b' 1"),
    "kinds": (lambda: {"a": [1, "x", 2.0]}, "'a' holds values of several kinds"),
    "no rows": (lambda: {"a": []}, "the dictionary has no rows"),
    "four axes": (lambda: np.ones((1, 2, 3, 4)), r"ndarray of shape \(1, 2, 3, 4\)"),
    "a number": (lambda: 3, r"int of shape \(\)"),
    "widths": (lambda: [np.ones((2, 2)), np.ones((2, 3))], "sequences of 2 and 3 columns"),
    "none": (lambda: None, "NoneType of shape"),
    "complex": (
        lambda: np.ones(3, complex),
        "values of several kinds, or of one that no column has"),
    "lists": (lambda: polars.DataFrame({"a": [[1], [2]]}), r"column 'a' holds List\(Int64\)"),
    "NaN in many": (lambda: np.array([[[1.0], [2.0]], [[3.0], [np.nan]]]), "step 1 of sequence 1"),
    "NaN in a frame": (
        lambda: pandas.DataFrame({"a": [1, None]}),
        "the frame, row 1 .counted from 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", INVALID_SOURCES)
def test_invalid_sources_are_refused(case):
    make, message = INVALID_SOURCES[case]
    with pytest.raises(InputError, match=message) as caught:
        legato.read(make())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["t.pq", "t.npy", "t.npz"])
def test_files_cut_anywhere(kind, rng):
    whole = {
        "t.pq": SOURCES["parquet"],
        "t.npz": SOURCES["npz"],
        "t.npy": lambda columns: np.save("t.npy", columns["price"]) or "t.npy",
    }[kind](shops(rng))
    content = Path(whole).read_bytes()
    for size in np.linspace(1, len(content) - 1, 25).astype(int):
        write(content[:size], kind)
        with pytest.raises(InputError, match="is not a whole"):
            legato.read(kind)


def test_data_without_columns_take_no_column_names(rng):
    with pytest.raises(InputError, match=r"read as plain text.*end in .csv"):
        legato.read(write("a,b\n1,2\n", "t.txt"), group="a")
    with pytest.raises(InputError, match="many by themselves"):
        legato.read(rng.normal(size=(2, 3, 4)), group="0")
    with pytest.raises(
        InputError, match=r"column 'g' holds List\(Int64\), which tells no sequences"
    ):
        legato.read(polars.DataFrame({"g": [[1]], "x": [1.0]}), group="g")


def test_the_allocator_of_polars_still_reads_its_settings():
    code = "import polars; polars.DataFrame({'a': [1]})"
    settings = {**os.environ, "_RJEM_MALLOC_CONF": "stats_print:true"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=settings, capture_output=True, text=True, check=True
    )
    assert "jemalloc statistics" in done.stderr
