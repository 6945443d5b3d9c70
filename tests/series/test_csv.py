"""CSV files: fields and line numbers against Python's ``csv`` module, and short rows."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shop_files import quick, write_file

import legato
from legato import InputError
from legato._series import csv as csv_module
from legato._series import csv_records
from legato._series.tables import ColumnRequest

pytestmark = pytest.mark.usefixtures("in_tmp_path")


WORDS = st.text(st.sampled_from('ab1,;"\n é'), max_size=5)


@quick
@given(
    rows=st.lists(st.tuples(WORDS, WORDS, st.integers(0, 9)), min_size=1, max_size=12),
    size=st.sampled_from([40, 2**23]),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
)
def test_fields_and_lines_are_those_of_the_csv_module(rows, size, end, quoting, monkeypatch):
    monkeypatch.setattr(csv_records, "PIECE_BYTES", size)
    table = io.StringIO(newline="")
    csv.writer(table, lineterminator=end, quoting=quoting).writerows([("p", "q", "r"), *rows])
    found = csv_module.read_csv(
        Path(write_file(table.getvalue())), ColumnRequest(labels=("p", "q"))
    )
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
    monkeypatch.setattr(csv_records, "PIECE_BYTES", size)
    lines = ["a,b,c", *map(",".join, cells)]
    at = min(at, len(cells)) + 1
    lines.insert(at, ",".join(["1"] * fields))
    with pytest.raises(InputError, match=f"line {at * end.count(chr(10)) + 1}: {fields} field"):
        legato.read(write_file(end.join(lines)))


def test_a_column_that_is_numbers_in_one_piece_only_is_words(monkeypatch):
    monkeypatch.setattr(csv_records, "PIECE_BYTES", 16)
    found = legato.read(write_file("x,y\n" + "1,1\n" * 5 + "p,2\nq,3\n" * 9))
    assert found.columns[0].categories == ("1", "p", "q")
    late = write_file("x,y\n" + "1,1\n" * 15 + ",2\nn/a,3\n" * 3)
    with pytest.raises(InputError, match=r"line 18, column 'x': 'n/a' is not a number"):
        legato.read(late, missing="drop")


DAYS = [f"2024-03-{at:02d}" for at in range(1, 6)]


def test_empty_columns_without_a_name_and_empty_rows_at_the_end_are_left_out():
    rows = "".join(f"{day};{at}.5;{at};;\n" for at, day in enumerate(DAYS))
    found = legato.read(write_file(f"Date;CO;T;;\n{rows};;;;\n;;;;\n"), time="Date")
    assert found.values.tolist() == [[at + 0.5, at] for at in range(5)]
    assert found.notes == (
        "2 columns without a name or a value: left out.",
        "2 rows without any value at the end: left out.",
    )
    with pytest.raises(InputError, match="column 4 of 4 has no name"):
        legato.read(write_file("a;b;c;\n1;2;3;\n1;2;3;4\n"))
    with pytest.raises(InputError, match="line 3: the line ends in ',', and the header does not"):
        legato.read(write_file("a,b\n1,2\n3,4,\n"))


@pytest.mark.parametrize(
    ("line", "separator"),
    [("sep=;", ";"), ("SEP=,\r", ","), ('"sep=;"', ";"), ("sep=\t", "\t"), ("sep=:", ":"),
     ("sep= ", " ")],
)  # fmt: skip
def test_the_line_that_names_the_separator_is_honoured(line, separator):
    rows = ["a b".replace(" ", separator), *(f"{at}{separator}{at}.5" for at in range(4))]
    found = legato.read(write_file("\n".join([line, *rows])))
    assert [column.name for column in found.columns] == ["a", "b"]
    assert found.values.tolist() == [[at, at + 0.5] for at in range(4)]
    assert found.lines[0] == 3


def test_a_file_of_decimal_commas_and_dates_names_each_fault():
    rows = "".join(f"{at:02d}.03.2024;{at},5;{at + 1}.{at}66,5\n" for at in range(1, 6))
    name = write_file(f"Date;CO;Sum\n{rows}")
    with pytest.raises(InputError, match=r"such as '01.03.2024', which are read as times"):
        legato.read(name)
    with pytest.raises(InputError, match=r"'CO': '1,5'.*Write decimals with a point, 1.5"):
        legato.read(name, columns="CO")
    with pytest.raises(InputError, match=r"'Sum': '2.166,5'.*with a point, 2166.5, and thousands"):
        legato.read(name, columns="Sum")


def test_blanks_separate_fields_where_every_line_has_as_many():
    found = legato.read(write_file(' t  x "the y"\n 1   2.5\t"a b" \n\n10  3.5  "c"\r\n 2 4 "c"\n'))
    assert [column.name for column in found.columns] == ["t", "x", "the y"]
    assert found.columns[2].categories == ("a b", "c")
    assert found.values[:, 1].tolist() == [2.5, 3.5, 4]
    assert found.lines.tolist() == [2, 4, 5]
    np.savetxt("t.csv", [[1, 2], [3, 4]], header="p q")
    assert [column.name for column in legato.read("t.csv").columns] == ["p", "q"]
    with pytest.raises(InputError, match="line 205: 1 field came, and the header has 2"):
        legato.read(write_file("a b\n" + "1 2\n" * 203 + "1\n"))


def test_values_in_place_of_the_header_are_refused():
    for row in ("5.1,3.5,setosa\n", "2024-03-01,3.5\n"):
        with pytest.raises(
            InputError, match=r"line 1: the first line holds values .*Write a line of"
        ):
            legato.read(write_file(row * 4))
    names = ["t", "0.1", "0.5", "2024-03-01"]
    found = legato.read(write_file(",".join(names) + "\n1,2,3,4\n2,3,4,5\n"))
    assert [column.name for column in found.columns] == names


def test_a_header_that_comes_again_and_a_row_of_labels_in_its_place_are_refused():
    with pytest.raises(InputError, match=r"line 1: the first line comes again in line 4\. If"):
        legato.read(write_file("a,b\n1,2\n3,4\na,b\n5,6\n"))
    with pytest.raises(InputError, match=r"first line holds values \(p first\) .*Write a line of"):
        legato.read(write_file("p,x\nq,x\np,y\nq,y\n"))
    with pytest.raises(InputError, match=r"first line holds numbers \(0 first\) and not the names"):
        legato.read(write_file("0,0,a\n1,2,b\n"))


ABOVE = {
    "a title": (
        "My data\na;b\n1;2\n3;4\n5;6\n",
        "has 1 field, and most lines have 2, separated by",
    ),
    "comments": ("# of x\n# y\na,b\n1,2\n3,4\n5,6\n7,8\n", "line 1: the first line has 1 field"),
    "a title with commas": (
        "Data, of 2024\na,b,c\n1,2,3\n4,5,6\n",
        "line 2: 3 fields came, as in most lines, and the header has 2. Take out what is above",
    ),
    "sep=": (
        "sep=;\na,b\n1,2\n3,4\n",
        "has the line sep=;, and looks like a table separated by ','",
    ),
}


@pytest.mark.parametrize("case", ABOVE)
def test_what_is_above_the_header_is_to_be_taken_out(case):
    text, message = ABOVE[case]
    with pytest.raises(InputError, match=message):
        legato.read(write_file(text))


@pytest.mark.parametrize("labels", ["machine 1\nmachine 2\nmachine 3\n", '"a;b"\n"c;d"\ne\n'])
def test_one_column_of_labels_is_no_table_of_several(labels):
    assert len(legato.read(write_file(f"name\n{labels}")).columns[0].categories) == 3


def test_an_unusual_separator_is_named():
    with pytest.raises(InputError, match=r"separated by '\\x01'.*Write tabs in its place"):
        legato.read(write_file("a\x01b\n1\x012\n3\x014\n"))
    with pytest.raises(
        InputError, match=r"separated by ':'.*Write the line sep=: above the header"
    ):
        legato.read(write_file("a:b\n1:2\n3:4\n"))
    assert legato.read(write_file("word\na:b\nc:d\ne\n")).columns[0].categories
