"""Reading: the same sequences from every kind of source, and errors that name row and column.

The forward fill of missing values is compared with a loop.
"""

import gzip
import os
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pandas
import polars
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shop_files import SOURCES, as_csv, assert_same, quick, read_shops, shop_columns, write_file

import legato
from legato import InputError

pytestmark = pytest.mark.usefixtures("in_tmp_path")


HOSTILE = ["a name", "naïve 日本", "../x", "[bold]", 'say "so"', "semi;colon", "new\nline"]


@pytest.mark.parametrize("source", SOURCES)
def test_every_kind_of_source_gives_the_same_sequences(source, rng):
    columns = shop_columns(rng)
    expected = read_shops(as_csv(columns, "first.csv"))
    assert expected.names == ("b 07", "a")
    assert expected.lengths.tolist() == [20, 20]
    assert [column.name for column in expected.columns] == list(columns)[2:]
    np.testing.assert_array_equal(expected.of(1)[:, 0], columns["price"][1::2])
    assert_same(read_shops(SOURCES[source](columns)), expected)


def test_categories_and_their_numbers(rng):
    columns = shop_columns(rng)
    found = read_shops(columns, categorical=["weekday", "open"])
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
    found = legato.read(write_file("code,x\n007,1\n01,2\n"), categorical="code")
    assert found.columns[0].categories == ("007", "01")


@quick
@given(seed=st.integers(0, 2**32))
def test_any_order_of_rows_gives_the_same_sequences(seed):
    rng = np.random.default_rng(seed)
    columns = shop_columns(rng, 12)
    order = rng.permutation(12)
    found = read_shops(as_csv({name: values[order] for name, values in columns.items()}, "t.csv"))
    expected = read_shops(columns)
    for name in expected.names:
        one, other = found.names.index(name), expected.names.index(name)
        np.testing.assert_array_equal(found.of(one), expected.of(other))
        rows = order[found.lines[found.offsets[one] : found.offsets[one + 1]] - 2]
        np.testing.assert_array_equal(columns["price"][rows], found.of(one)[:, 0])


def test_without_time_the_rows_keep_their_order_in_each_group():
    found = legato.read(write_file("g,x\nb,3\na,1\nb,2\n\nb,9\na,0\n"), group="g")
    assert found.names == ("b", "a")
    assert found.values[:, 0].tolist() == [3, 2, 9, 1, 0]
    assert found.lines.tolist() == [2, 4, 6, 3, 7]
    assert found.times is None


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
    found = legato.read(write_file("\ufeffab☃\r\na", "t.txt"))
    column = found.columns[0]
    assert column.categories == ("\n", "a", "b", "☃")
    assert column.numbers == (10, 97, 98, 0x2603)
    assert "".join(map(chr, found.values[:, 0])) == "ab☃\na"
    assert found.values.dtype == np.int32
    assert found.lines.tolist() == [1, 1, 1, 1, 2]


# Missing values.


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
    name = write_file("\n".join(["g,p,q", *lines]))
    filled = legato.read(name, group="g", missing="forward", columns=["p", "q"])
    assert filled.values.tolist() == by_loop(values, lengths)
    dropped = legato.read(
        {"g": group, "p": values[:, 0], "q": values[:, 1]}, group="g", missing="drop"
    )
    np.testing.assert_array_equal(dropped.values, values[~np.isnan(values).any(axis=1)])
    assert_same(legato.read(name, group="g", missing="drop"), dropped)


# Errors.


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
        r"numbers. Mend it.*categorical='a'"),
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
        r"line 3, column 'a': '31/12/2001' is no time, the first of 1.*ISO 8601.*totals"),
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
        r"column 'a' lies between \d.*Subtract a constant"),
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
        legato.read(write_file(text), **options)
    assert "\n" not in str(caught.value)


INVALID_SOURCES = {
    "absent": (lambda: "nowhere.csv", "There is no file nowhere.csv"),
    "a long text": (lambda: "words " * 999, "There is no file words words"),
    "a folder": (lambda: ".", r"is a folder; a file was expected"),
    "a workbook": (
        lambda: write_file(b"PK", "t.xlsx"), "workbook: save the sheet that is meant as CSV"),
    "bytes": (
        lambda: write_file(b"a\n\xff\xfeb", "t.dat"),
        r"t.dat, line 2: the byte 0xff is not UTF-8"),
    "cut gz": (
        lambda: write_file(gzip.compress(b"a,b\n1,2\n" * 99)[:-12], "t.csv.gz"),
        "not a whole gzip file"),
    "no gz": (lambda: write_file(b"a,b\n1,2\n", "t.csv.gz"), "or leave .gz out of"),
    "packed": (lambda: write_file(b"a", "t.npy.gz"), "t.npy.gz is packed: unpack it"),
    "no npy": (lambda: write_file(b"a", "t.npy"), "t.npy is not a whole NumPy file"),
    "no npz": (lambda: write_file(b"PK\x03\x04", "t.npz"), "t.npz is not a whole NumPy file"),
    "pickle": (
        lambda: write_file(pickle.dumps([1]), "t.npy"), "t.npy holds pickled Python objects"),
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


def test_data_without_columns_take_no_column_names(rng):
    with pytest.raises(InputError, match=r"read as plain text.*end in .csv"):
        legato.read(write_file("a,b\n1,2\n", "t.txt"), group="a")
    with pytest.raises(InputError, match="already has several sequences"):
        legato.read(rng.normal(size=(2, 3, 4)), group="0")
    with pytest.raises(
        InputError, match=r"column 'g' holds List\(Int64\), which cannot identify sequences"
    ):
        legato.read(polars.DataFrame({"g": [[1]], "x": [1.0]}), group="g")


def test_the_allocator_of_polars_still_reads_its_settings():
    code = "import polars; polars.DataFrame({'a': [1]})"
    settings = {**os.environ, "_RJEM_MALLOC_CONF": "stats_print:true"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=settings, capture_output=True, text=True, check=True
    )
    assert "jemalloc statistics" in done.stderr


READ_AND_HASH = """
    import hashlib
    import polars
    from legato import read

    assert polars.thread_pool_size() == {threads}
    found = read("t.csv", group="id", time="t")
    print(found.names[:3], found.lengths[:3], *found.columns)
    print(hashlib.sha256(found.values.tobytes() + found.times.tobytes()).hexdigest())
"""


def test_threads_of_polars_change_nothing(rng):
    count = 100_000
    at = polars.Series(rng.permutation(count))
    table = polars.DataFrame({"x": rng.normal(size=count), "label": at.cast(str).str.slice(0, 2)})
    table.with_columns(id=at % 7, t=at).write_csv("t.csv")
    printed = [
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(READ_AND_HASH.format(threads=threads))],
            env=os.environ | {"POLARS_MAX_THREADS": str(threads)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in (1, 4)
    ]
    assert printed[0] == printed[1]


@pytest.mark.parametrize(
    "source",
    [
        lambda labels: pandas.DataFrame({"v": pandas.Categorical(labels), "x": 1.5}),
        lambda labels: pandas.DataFrame(
            {"v": pandas.Categorical(list(map(int, labels))), "x": 1.5}
        ),
        lambda labels: polars.DataFrame({"v": polars.Series(labels, dtype=polars.Categorical)}),
        lambda labels: polars.DataFrame({"v": polars.Series(labels, dtype=polars.Enum("123"))}),
    ],
)
def test_categories_of_frames_are_labels_even_if_they_are_numbers(source):
    assert legato.read(source(["1", "3", "1", "2"])).columns[0].categories == ("1", "2", "3")


def test_categories_of_frames_may_look_like_quantities():
    frame = pandas.DataFrame({"v": pandas.Categorical([f"{at % 5} kW" for at in range(30)])})
    assert len(legato.read(frame).columns[0].categories) == 5


@pytest.mark.parametrize(
    "values",
    [polars.Series([1, 2], dtype=polars.Duration), polars.Series([b"\xff", b"a"]), [1e30, 2.0]],
)
def test_what_cannot_identify_sequences_is_refused(values):
    with pytest.raises(InputError, match=r"'g' holds .*, which cannot identify sequences"):
        legato.read({"g": values, "x": [1.0, 2.0]}, group="g")


def test_names_that_are_the_same_as_text_are_refused():
    with pytest.raises(InputError, match="columns 1 and 2 are both called '1'"):
        legato.read({1: [1, 2], "1": [3, 4]})


def test_whole_numbers_that_float64_merges_are_labels_apart_and_no_quantities():
    numbers = [2**60 + at for at in range(4)]
    sources = [
        {"v": numbers},
        {"v": np.array(numbers)},
        write_file("v\n" + "\n".join(map(str, numbers))),
    ]
    for source in sources:
        found = legato.read(source, categorical="v")
        assert found.columns[0].categories == tuple(map(str, numbers))
    for source in sources[:2]:
        with pytest.raises(InputError, match=r"float32 cannot tell apart\. Subtract a"):
            legato.read(source)


def test_intervals_of_pandas_are_labels():
    frame = pandas.DataFrame({"v": pandas.cut([0.5, 1.5, 2.5, 1.2], [0, 1, 2, 3]), "x": 1.0})
    assert legato.read(frame).columns[0].categories == ("(0, 1]", "(1, 2]", "(2, 3]")
    frame.loc[1, "v"] = None
    assert len(legato.read(frame, missing="drop").values) == 3


@pytest.mark.parametrize(
    "index",
    [
        *(["p", "q"], pandas.to_timedelta([0, 1], "h"), [1871, 1872], [1.5, 2.5]),
        pandas.RangeIndex(2, name="year"),
    ],
)
def test_an_index_of_other_types_is_left_out_with_a_note(index):
    frame = pandas.DataFrame({"v": [1.0, 2.0]}, index=index)
    assert legato.read(frame).notes[0].startswith("The frame's index is left out")
    assert legato.read(frame["v"]).notes[0].startswith("The frame's index is left out")
    assert legato.read(frame.reset_index(drop=True)).notes == ()


def test_columns_without_a_value_are_left_out_unless_they_are_asked_for():
    path = write_file("a,note,b\n1,,2\n3,NA,4\n")
    found = legato.read(path)
    assert [each.name for each in found.columns] == ["a", "b"]
    assert found.notes == ("Column 'note' holds no value; left out.",)
    for options in ({"columns": ["note", "b"]}, {"categorical": "note"}):
        with pytest.raises(InputError, match="'note' holds no value at all"):
            legato.read(path, **options)
    with pytest.raises(InputError, match="'note' holds no value at all"):
        legato.train(path, target="note")
