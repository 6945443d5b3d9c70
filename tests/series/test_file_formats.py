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
    "a,b\n1,2\n",
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


NOT_READ = {
    "two files": (lambda: write_zip("t.zip", {"a.csv": "a\n1\n", "b.csv": "a\n1\n"}),
                  "t.zip holds 2 files, and one was expected: unpack it"),
    "an empty archive": (lambda: write_zip("t.zip", {}), "t.zip holds 0 files"),
    "twice": (lambda: write_zip("t.zip", {"a.csv.gz": "a"}), "t.zip is packed twice"),
    "an array": (lambda: write_zip("t.zip", {"a.npy": "a"}), "t.zip is packed: unpack it first"),
    "tar": (lambda: write_file(b"a", "t.tar.gz"), "is an archive: unpack it"),
    "zip as CSV": (lambda: write_file(Path(write_zip("t.zip", {"a": "b"})).read_bytes()),
                   "t.csv is no text but a zip archive or a workbook by its first bytes: name it"),
    "gzip as text": (lambda: write_file(gzip.compress(b"a"), "t.txt"), "end in .gz"),
    "no zip": (lambda: write_file(b"a,b", "t.csv.zip"), "t.csv.zip is not a whole zip file"),
    "a line": (
        lambda: write_file('{"a": 1}\n\n{"a": \n', "t.jsonl"),
        "t.jsonl, line 3: this is no"),
    "no object": (
        lambda: write_file('{"a": 1}\n[2]\n', "t.jsonl"),
        "line 2: this is no JSON object"),
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


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="Python reads Zstandard")
def test_zstandard_is_refused_where_python_does_not_read_it():
    with pytest.raises(InputError, match=r"from version 3\.14 on: unpack it first, with unzstd"):
        legato.read(write_file(b"\x28\xb5\x2f\xfd", "t.csv.zst"))


def test_lists_of_numbers_in_json_are_arrays():
    assert legato.read(write_file("[[1, 2.5], [3, 4]]", "t.json")).values.tolist() == [
        [1, 2.5],
        [3, 4],
    ]
    assert legato.read(write_file("[1, 2.5, 3]", "t.json")).values.ravel().tolist() == [1, 2.5, 3]
