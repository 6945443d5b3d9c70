"""Formats of files: adding one, truncated and packed files, JSON, and tables in files of text."""

import bz2
import gzip
import lzma
import sys
from pathlib import Path

import numpy as np
import polars
import pytest
from shop_files import SOURCES, assert_same, read_shops, shop_columns, write_file, write_zip

import legato
from legato import InputError
from legato._series.file_formats import FORMATS, FileFormat
from legato._series.tables import ColumnRequest, Table

pytestmark = pytest.mark.usefixtures("in_tmp_path")


def test_a_new_format_is_one_line(monkeypatch, rng):
    def read_json_lines(path: Path, request: ColumnRequest) -> Table:
        return Table(polars.read_ndjson(path), path.name)

    monkeypatch.setitem(FORMATS, ".rows", FileFormat(read_json_lines))
    columns = shop_columns(rng)
    polars.DataFrame(columns).write_ndjson("t.rows")
    assert_same(read_shops("t.rows"), read_shops(columns))


@pytest.mark.parametrize("kind", ["t.pq", "t.npy", "t.npz"])
def test_files_cut_anywhere(kind, rng):
    whole = {
        "t.pq": SOURCES["parquet"],
        "t.npz": SOURCES["npz"],
        "t.npy": lambda columns: np.save("t.npy", columns["price"]) or "t.npy",
    }[kind](shop_columns(rng))
    content = Path(whole).read_bytes()
    for size in np.linspace(1, len(content) - 1, 25).astype(int):
        write_file(content[:size], kind)
        with pytest.raises(InputError, match="is not a whole"):
            legato.read(kind)


ROWS = [f"{at},{at}.5,{'pq'[at % 2]}" for at in range(8)]
LOOK_LIKE_TABLES = {
    "commas": (
        "t,x,y\n" + "\n".join(ROWS),
        "a table, 3 fields in every line separated by ','.*.csv",
    ),
    "semicolons": ("t,x,y\n".replace(",", ";") + "\n".join(ROWS).replace(",", ";"), "by ';'"),
    "tabs of words": ("a\tb\nc\td\ne\tf\n", "2 fields in every line separated by tabs"),
    "no header": ("\n".join(ROWS), "a table, 3 fields"),
    "blanks": (" t  x\n 1  2\n10 20\n", "2 fields in every line separated by blanks"),
    "colons": ("a:b\n1:2\n3:4\n", "separated by ':'"),
    "numbers": ("1.5\n2.5\n-3\n", "a table of one column, a number in every line"),
    "a name": ("load\n1.5\n2.5\n-3\n", "a table of one column"),
    "control characters": ("a\x01b\n1\x012\n3\x014\n", r"separated by '\\x01'"),
    "a title": ("My data\n\na,b\n1,2\n3,4\n5,6\n", "2 fields in most lines separated by ','"),
    "comments": ("# of x\n# y\nt x\n1 2\n3 4\n5 6\n", "2 fields in most lines separated by blanks"),
    "a sum": ("a;b\n1;2\n3;4\n5;6\nSum\n", "2 fields in most lines separated by ';'"),
    "of a database": (
        " t | x\n---+---\n 1 | 2\n 3 | 4\n(2 rows)\n",
        r"2 fields in most lines separated by '\|'",
    ),
    "a list of JSON": ("[1, 2.5, 3]\n", r"looks like JSON\. Let its name end in .json"),
    "lists of JSON": ('["a", 1]\n["b", 2]\n', r"looks like JSON lines"),
    "columns of JSON": ('{"t": [1, 2], "x": [2, 3]}\n', r"looks like JSON\. .*in .json to read"),
    "JSON lines": ('{"a": 1}\n{"a": 2}\n', r"looks like JSON lines. Let its name end in .jsonl"),
    "JSON": ('[\n {"a": 1},\n {"a": 2}\n]\n', r"looks like JSON. Let its name end in .json"),
}


@pytest.mark.parametrize("case", LOOK_LIKE_TABLES)
@pytest.mark.parametrize("name", ["t.txt", "t.data", "t"])
def test_a_table_is_not_read_as_characters(case, name):
    text, message = LOOK_LIKE_TABLES[case]
    with pytest.raises(InputError, match=f"{message}.*in .text if its characters are meant"):
        legato.read(write_file(text, name))
    assert len(legato.read(write_file(text, "t.text")).values) == len(text)


TEXTS = [
    "It was the best of times, it was the worst of times,\nit was the age of wisdom.\nIt was\n",
    "Hello, world\nGoodbye, moon\nFarewell, 7 stars\n", "the\ncat\nsat\non\n",
    "Ada Lovelace\nAlan Turing\nGrace Hopper\n",
    "1:1 In the beginning\n1:2 And the earth\n1:3 And\n",
    "[1] A. Turing\n[2] G. Hopper\n", "{braces} in prose\n", "for x in y:\n    print(x)\n",
    "a,b\n1,2\n", "[1] Turing\n", "Chapter 1\nIt was 5, 6 or 7.\nChapter 2\nIt was not.\n",
    "Eggs, 3\nMilk\nBread, 2\nButter\nSalt\n",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_prose_is_read_as_characters(text):
    assert len(legato.read(write_file(text, "t.txt")).values) == len(text)


@pytest.mark.parametrize("kind", ["csv.gz", "csv.bz2", "csv.xz", "csv.zip"])
def test_damaged_packed_files_are_refused(kind, rng):
    pack = {
        "csv.gz": gzip.compress, "csv.bz2": bz2.compress, "csv.xz": lzma.compress,
        "csv.zip": lambda content: Path(write_zip("w.zip", {"t.csv": content})).read_bytes(),
    }[kind]  # fmt: skip
    rows = "".join(f"{at},{value}\n" for at, value in enumerate(rng.normal(size=200)))
    content = pack(f"t,x\n{rows}".encode())
    expected = legato.read(write_file(content, f"t.{kind}")).values
    cut = [content[:size] for size in np.linspace(1, len(content) - 1, 20).astype(int)]
    flips = [bytearray(content) for _ in range(60)]
    for at, flipped in zip(rng.integers(0, len(content), len(flips)), flips, strict=True):
        flipped[at] ^= 1 << int(rng.integers(8))
    for altered in (*cut, *map(bytes, flips)):
        write_file(altered, f"t.{kind}")
        try:
            found = legato.read(f"t.{kind}")
        except InputError:
            continue
        np.testing.assert_array_equal(found.values, expected)  # a name or a date of the archive


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_what_follows_a_packed_stream_is_another_or_zeros(kind):
    pack = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[kind]
    one, other = pack(b"a\n1\n"), pack(b"2\n")
    for content in (one + other, one + other + b"\0" * 512, one + b"\0" * 512 + other):
        assert legato.read(write_file(content, f"t.csv.{kind}")).values.ravel().tolist() == [1, 2]
    damaged = bytearray(one + other)
    damaged[len(one) + 1] ^= 4
    for content in (one + b"rubbish", bytes(damaged), one + other[:-3], one + other[:2]):
        with pytest.raises(InputError, match=rf"t\.csv\.{kind} is not a whole"):
            legato.read(write_file(content, f"t.csv.{kind}"))


NOT_READ = {
    "two files": (lambda: write_zip("t.zip", {"a.csv": "a\n1\n", "b.csv": "a\n1\n"}),
                  "t.zip holds 2 files, and one was expected: unpack it"),
    "an empty archive": (lambda: write_zip("t.zip", {}), "t.zip holds 0 files"),
    "twice": (lambda: write_zip("t.zip", {"a.csv.gz": "a"}), "t.zip is packed twice"),
    "an array": (lambda: write_zip("t.zip", {"a.npy": "a"}), "t.zip is packed: unpack it first"),
    "of Weka": (lambda: write_file(b"@data\n1,2,a", "t.arff"), "load it with aeon or sktime"),
    "tar": (lambda: write_file(b"a", "t.tar.gz"), "is an archive: unpack it"),
    "zip as CSV": (lambda: write_file(Path(write_zip("t.zip", {"a": "b"})).read_bytes()),
                   "t.csv is no text but a zip archive or a workbook by its first bytes: name it"),
    "gzip as text": (
        lambda: write_file(gzip.compress(b"a"), "t.txt"),
        r"let its name end in \.txt\.gz"),
    "no zip": (lambda: write_file(b"a,b", "t.csv.zip"), "t.csv.zip is not a whole zip file"),
    "gzip in gzip": (
        lambda: write_file(gzip.compress(gzip.compress(b"a")), "t.csv.gz"),
        r"by the first bytes of what is packed in it, but a \.gz file: unpack it first"),
    "a table in gzip": (
        lambda: write_file(gzip.compress(b"a,b\n1,2\n3,4\n"), "t.gz"),
        r"Let its name end in \.csv\.gz to read it as such, or in \.text\.gz"),
    "a table in zip": (
        lambda: write_zip("t.zip", {"t.txt": "a,b\n1,2\n3,4\n"}),
        r"Let the name of the file in it end in \.csv to read"),
    "Arrow": (lambda: write_file(b"ARROW1\0\0", "t.arrow"), "is no text but Arrow by its first"),
    "HDF5": (lambda: write_file(b"\x89HDF\r\n\x1a\n"), "is no text but HDF5 .*as Parquet or CSV"),
    "pickle": (lambda: write_file(b"\x80\x04\x95\0", "t.pkl"), "is no text but pickled Python"),
    "PDF": (lambda: write_file(b"%PDF-1.4\n1 0 obj\n"), "is no text but PDF by its first bytes"),
    "Git LFS": (
        lambda: write_file("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        "is no text but a pointer of Git LFS .*git lfs pull"),
    "HTML": (lambda: write_file("<!DOCTYPE html>\n<p>404</p>\n"), "t.csv is HTML or XML by its"),
    "UTF-32": (lambda: write_file("a,b\n1,2\n".encode("utf-32")), "t.csv is UTF-32 text"),
    "a line": (
        lambda: write_file('{"a": 1}\n\n{"a": \n', "t.jsonl"),
        "t.jsonl, line 3: this is no"),
    "no object": (
        lambda: write_file('{"a": 1}\n[2]\n', "t.jsonl"),
        "line 2: this is no JSON object"),
    "a name twice": (
        lambda: write_file('{"columns": ["t", "t"], "data": [[1, 2]]}', "t.json"),
        "t.json: the columns 1 and 2 are both called 't'"),
    "a row too short": (
        lambda: write_file('{"columns": ["t", "x"], "data": [[1, 2], [3]]}', "t.json"),
        r"row 1 \(counted from 0\): a list of 2 values was expected, one of each"),
    "a list in lines": (
        lambda: write_file('[{"t": 1}, {"t": 2}]', "t.jsonl"),
        "a list on its only line, and .* Let its name end in .json"),
    "no name": (lambda: write_file('[{"": 1, "x": 2}]', "t.json"), "column 1 of 2 has no name"),
    "a long number": (
        lambda: write_file(f'[{{"t": 1{"0" * 5000}}}]', "t.json"),
        r"t.json is no JSON \(Exceeds the limit [^;]*\)\.$"),
    "deep lines": (lambda: write_file("[" * 99999, "t.jsonl"), "line 1: this is no JSON"),
    "deep": (lambda: write_file("[" * 99999, "t.json"), "t.json is nested too deeply"),
    "no JSON": (lambda: write_file("a,b\n1,2\n", "t.json"), "t.json is no JSON"),
    "no table": (lambda: write_file('{"a": 1}', "t.json"), "t.json holds no table; a list of obj"),
    "empty": (lambda: write_file("[]", "t.json"), "t.json holds no table"),
    "nested": (lambda: write_file('{"a": [1]}\n{"a": [2]}\n', "t.jsonl"), r"holds List\(Int64\)"),
    "kinds": (
        lambda: write_file('{"a": 1}\n{"a": "x"}\n', "t.jsonl"),
        "'a' holds values of several"),
    "missing": (
        lambda: write_file('\n{"a": 1}\n{"b": 1}', "t.jsonl"),
        "line 2, column 'b': the value"),
}  # fmt: skip


@pytest.mark.parametrize("case", NOT_READ)
def test_what_is_not_read_is_named(case):
    make, message = NOT_READ[case]
    with pytest.raises(InputError, match=message) as caught:
        legato.read(make())
    assert "\n" not in str(caught.value)


def test_zstandard_is_refused_where_no_package_reads_it(monkeypatch):
    def fail(name):
        raise ImportError(name)

    monkeypatch.setattr("legato._series.packed_files.importlib.import_module", fail)
    with pytest.raises(InputError, match=r"pip install backports\.zstd.*or unpack the file first"):
        legato.read(write_file(b"\x28\xb5\x2f\xfd", "t.csv.zst"))


def test_zstandard_is_read_where_a_package_does():
    is_in_python = sys.version_info >= (3, 14)
    module = pytest.importorskip("compression.zstd" if is_in_python else "backports.zstd")
    packed = module.compress(b"t,x\n1,2.5\n2,3.5\n")
    found = legato.read(write_file(packed, "t.csv.zst"), time="t")
    assert found.values[:, 0].tolist() == [2.5, 3.5]
    with pytest.raises(InputError, match=r"t\.csv\.zst"):
        legato.read(write_file(packed[:-4], "t.csv.zst"))


ROWS_BY_NAME = {
    "rows of pandas": '{"0": {"t": 1, "x": 2.5}, "1": {"t": 2, "x": 3.5}}',
    "rows by date": '{"2024-03-01": {"t": 1, "x": 2.5}, "2024-03-02": {"t": 2, "x": 3.5}}',
    "columns of pandas": '{"t": {"0": 1, "1": 2}, "x": {"0": 2.5, "1": 3.5}}',
    "in another order": '{"t": {"0": 1, "1": 2}, "x": {"1": 3.5, "0": 2.5}}',
}


@pytest.mark.parametrize("case", ROWS_BY_NAME)
def test_rows_of_json_are_those_of_one_name(case):
    found = legato.read(write_file(ROWS_BY_NAME[case], "t.json"))
    assert [column.name for column in found.columns] == ["t", "x"]
    assert found.values.tolist() == [[1, 2.5], [2, 3.5]]


def test_a_row_that_a_column_of_json_lacks_is_missing():
    name = write_file('{"t": {"0": 1, "1": 2}, "x": {"0": 2.5, "2": 3.5}}', "t.json")
    with pytest.raises(InputError, match="the value is missing"):
        legato.read(name)
    assert legato.read(name, missing="drop").values.tolist() == [[1, 2.5]]


def test_lists_of_numbers_in_json_are_arrays():
    assert legato.read(write_file("[1, 2.5]\n[3, 4]\n", "t.jsonl")).values.tolist() == [
        [1, 2.5],
        [3, 4],
    ]
    assert legato.read(write_file("[[1, 2.5], [3, 4]]", "t.json")).values.tolist() == [
        [1, 2.5],
        [3, 4],
    ]
    assert legato.read(write_file("[1, 2.5, 3]", "t.json")).values.ravel().tolist() == [1, 2.5, 3]
