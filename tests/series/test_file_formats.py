"""Formats of files: adding one, and truncated files."""

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
