"""Formats of files: adding one, truncated files, and tables in files of text."""

from pathlib import Path

import numpy as np
import polars
import pytest
from shop_files import SOURCES, assert_same, read_shops, shop_columns, write_file

import legato
from legato import InputError
from legato._series.file_formats import FORMATS, FileFormat
from legato._series.tables import ColumnRequest, Table

pytestmark = pytest.mark.usefixtures("in_tmp_path")


def test_a_new_format_is_one_line(monkeypatch, rng):
    def read_json_lines(path: Path, request: ColumnRequest) -> Table:
        return Table(polars.read_ndjson(path), path.name)

    monkeypatch.setitem(FORMATS, ".jsonl", FileFormat(read_json_lines))
    columns = shop_columns(rng)
    polars.DataFrame(columns).write_ndjson("t.jsonl")
    assert_same(read_shops("t.jsonl"), read_shops(columns))


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
