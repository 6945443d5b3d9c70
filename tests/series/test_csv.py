"""CSV files: fields and line numbers against Python's ``csv`` module, and short rows."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shop_files import quick, write_file

import legato
from legato import InputError
from legato._series import csv as csv_module
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
    monkeypatch.setattr(csv_module, "PIECE_BYTES", size)
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
    monkeypatch.setattr(csv_module, "PIECE_BYTES", size)
    lines = ["a,b,c", *map(",".join, cells)]
    at = min(at, len(cells)) + 1
    lines.insert(at, ",".join(["1"] * fields))
    with pytest.raises(InputError, match=f"line {at * end.count(chr(10)) + 1}: {fields} field"):
        legato.read(write_file(end.join(lines)))


def test_a_column_that_is_numbers_in_one_piece_only_is_words(monkeypatch):
    monkeypatch.setattr(csv_module, "PIECE_BYTES", 16)
    found = legato.read(write_file("x,y\n" + "1,1\n" * 5 + "p,2\nq,3\n" * 9))
    assert found.columns[0].categories == ("1", "p", "q")
    late = write_file("x,y\n" + "1,1\n" * 15 + ",2\nn/a,3\n" * 3)
    with pytest.raises(InputError, match=r"line 18, column 'x': 'n/a' is not a number"):
        legato.read(late, missing="drop")
