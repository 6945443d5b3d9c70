"""Data from pipes and standard input; packed files, columns and arrays beyond the limits."""

import bz2
import gzip
import io
import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars
import pytest
from shop_files import write_file, write_zip

import legato
from legato import InputError
from legato._series.piped_files import recognize_suffix

pytestmark = pytest.mark.usefixtures("in_tmp_path")

ROWS = b"t,x\n" + b"".join(b"%d,%d.5\n" % (at, at) for at in range(20))


def packed(write) -> bytes:
    """What a function writes to a file."""
    file = io.BytesIO()
    write(file)
    return file.getvalue()


CONTENTS = {
    "CSV": ROWS,
    "gzip": gzip.compress(ROWS),
    "bzip2": bz2.compress(ROWS),
    "JSON lines": b"".join(b'{"t": %d, "x": %d.5}\n' % (at, at) for at in range(20)),
    "Parquet": packed(
        polars.DataFrame({"t": range(20), "x": [at + 0.5 for at in range(20)]}).write_parquet
    ),
    "npz": packed(lambda file: np.savez(file, t=np.arange(20), x=np.arange(20) + 0.5)),
}


def make_pipe(content: bytes, name: str = "pipe") -> str:
    """A named pipe that a thread writes to."""
    os.mkfifo(name)
    threading.Thread(target=lambda: Path(name).write_bytes(content), daemon=True).start()
    return name


@pytest.mark.parametrize("kind", CONTENTS)
def test_a_pipe_is_read_as_a_file_of_its_content(kind, monkeypatch):
    expected = np.stack([np.arange(20), np.arange(20) + 0.5], 1)
    np.testing.assert_array_equal(legato.read(make_pipe(CONTENTS[kind])).values, expected)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(CONTENTS[kind])))
    piped = legato.read("-")
    np.testing.assert_array_equal(piped.values, expected)
    assert piped.source == "standard input"


def test_the_name_of_a_pipe_may_say_what_it_is():
    assert legato.read(make_pipe(b"a,b\n1,2\n", "p.csv")).values.tolist() == [[1, 2]]
    assert len(legato.read(make_pipe(b"It was the best\nof times.\n", "p.txt")).values) == 26
    with pytest.raises(InputError, match=r"^p, line 22: 3 fields came"):
        legato.read(make_pipe(ROWS + b"1,2,3\n", "p"))
    with pytest.raises(InputError, match=r"^empty is empty"):
        legato.read(make_pipe(b"", "empty"))


def test_a_file_that_is_open_already_is_read_as_a_pipe():
    with Path(write_file(ROWS, "t")).open("rb") as file:
        assert legato.read(f"/dev/fd/{file.fileno()}").values.shape == (20, 2)


def test_devices_and_sockets_are_no_data():
    os.symlink("/dev/zero", "zero.csv")
    for path in ("zero.csv", "/dev/null"):
        with pytest.raises(InputError, match=f"^{path} is a device; a file was expected"):
            legato.read(path)


LARGE = {
    "gzip": lambda: write_file(gzip.compress(ROWS + b"9,9.5\n" * 40_000), "t.csv.gz"),
    "zip": lambda: write_zip("t.zip", {"t.csv": ROWS + b"9,9.5\n" * 40_000}),
    "text": lambda: write_file(bz2.compress(b"a b " * 50_000), "t.txt.bz2"),
    "JSON": lambda: write_file(gzip.compress(b"[" + b"1," * 60_000 + b"1]"), "t.json.gz"),
    "npz": lambda: np.savez_compressed("t.npz", x=np.zeros(40_000)) or "t.npz",
    "Parquet": lambda: polars.DataFrame({"x": np.zeros(40_000)}).write_parquet("t.pq") or "t.pq",
    "text in Parquet": lambda: (
        polars.DataFrame({"x": ["z" * 99] * 40_000, "y": 1.0}).write_parquet("t.pq") or "t.pq"
    ),
    "pipe": lambda: make_pipe(ROWS + b"9,9.5\n" * 40_000),
}


@pytest.mark.parametrize("kind", LARGE)
def test_files_that_unpack_to_more_than_the_limit_are_refused(kind, monkeypatch):
    path = LARGE[kind]()
    monkeypatch.setenv("LEGATO_UNPACKED_LIMIT", "200000")
    with pytest.raises(InputError, match=r"takes more than .* bytes .*LEGATO_UNPACKED_LIMIT"):
        legato.read(path)
    monkeypatch.setenv("LEGATO_UNPACKED_LIMIT", "8000000")
    if kind != "pipe":
        assert len(legato.read(path).values) >= 40_000


def test_nested_columns_of_parquet_are_refused_unread_unless_left_out():
    polars.DataFrame({"v": [[1, 2], [3]], "y": [1.0, 2.0]}).write_parquet("t.pq")
    with pytest.raises(InputError, match=r"t.pq: column 'v' holds List\(Int64\); numbers, text or"):
        legato.read("t.pq")
    assert legato.read("t.pq", columns="y").values.tolist() == [[1], [2]]


@pytest.mark.parametrize("dtype", ["V0", "U0", "S0"])
def test_items_of_zero_bytes_take_memory_as_numbers(dtype):
    header = f"{{'descr': '<{dtype}', 'fortran_order': False, 'shape': (10000000000,)}}".ljust(117)
    content = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + header.encode() + b"\n"
    for name in (write_file(content, "t.npy"), write_zip("t.npz", {"x.npy": content})):
        with pytest.raises(InputError, match=f"{name} takes more than"):
            legato.read(name)


def test_a_packed_file_that_is_too_large_is_refused_before_its_rows_are_read(monkeypatch):
    path = write_file(gzip.compress(b"x,y\n1,2,3\n" + b"1,2\n" * 100_000), "t.csv.gz")
    monkeypatch.setenv("LEGATO_UNPACKED_LIMIT", "200000")
    with pytest.raises(InputError, match="takes more than"):
        legato.read(path)
    monkeypatch.delenv("LEGATO_UNPACKED_LIMIT")
    with pytest.raises(InputError, match="line 2"):
        legato.read(path)


@pytest.mark.parametrize("name", ["t.jsonl", "t.json"])
def test_objects_of_many_names_are_refused_before_they_are_columns(name, monkeypatch):
    rows = [f'{{"k{at}": {at}, "x": 1}}' for at in range(400)]
    text = "\n".join(rows) if name == "t.jsonl" else f"[{','.join(rows)}]"
    assert legato.read(write_file(text, name), columns="x").values.shape == (400, 1)
    monkeypatch.setenv("LEGATO_UNPACKED_LIMIT", "200000")
    with pytest.raises(InputError, match=f"{name} takes more than 200,000 bytes"):
        legato.read(name)
    monkeypatch.setenv("LEGATO_COLUMN_LIMIT", "20")
    with pytest.raises(InputError, match="401 columns, and at most 20 are read"):
        legato.read(name)


def test_arrays_of_many_columns_are_refused_unless_some_are_named(monkeypatch):
    monkeypatch.setenv("LEGATO_COLUMN_LIMIT", "20")
    array = np.arange(600.0).reshape(2, 300)
    with pytest.raises(InputError, match="the array has 300 columns, and at most 20 are read"):
        legato.read(array)
    assert legato.read(array, columns=["7", "299"]).values.tolist() == [[7, 299], [307, 599]]


WIDE = [f"c{at}" for at in range(200)]
TABLES = {
    "CSV": lambda frame: frame.write_csv("t.csv") or "t.csv",
    "Parquet": lambda frame: frame.write_parquet("t.parquet") or "t.parquet",
    "JSON": lambda frame: frame.write_ndjson("t.jsonl") or "t.jsonl",
    "npz": lambda frame: np.savez("t.npz", **frame.to_dict(as_series=False)) or "t.npz",
    "polars": lambda frame: frame,
    "pandas": lambda frame: __import__("pandas").DataFrame(frame.to_dict(as_series=False)),
}


@pytest.mark.parametrize("kind", TABLES)
def test_many_columns_are_refused_unless_those_that_are_meant_are_named(kind, monkeypatch, rng):
    frame = polars.DataFrame({name: rng.normal(size=9) for name in WIDE})
    source = TABLES[kind](frame)
    monkeypatch.setenv("LEGATO_COLUMN_LIMIT", "20")
    with pytest.raises(InputError, match=r"200 columns, and at most 20 are read. Name .*columns="):
        legato.read(source)
    with pytest.raises(InputError, match=r"no column 'c1x'. Did you mean 'c1"):
        legato.read(source, columns="c1x")
    found = legato.read(source, columns=["c7", "c199"])
    np.testing.assert_allclose(found.values, frame.select("c7", "c199").to_numpy(), rtol=1e-12)
    monkeypatch.setenv("LEGATO_COLUMN_LIMIT", "200")
    assert legato.read(source).values.shape == (9, 200)
    assert frame.columns == WIDE  # as it was


def test_rows_of_many_columns_are_checked(monkeypatch):
    monkeypatch.setenv("LEGATO_COLUMN_LIMIT", "2")
    for row, count in (("1,2", 2), ("1,2,3,4", 4)):
        write_file(f"a,b,c\n1,2,3\n{row}\n\n4,5,6\n", "t.csv")
        with pytest.raises(InputError, match=f"t.csv, line 3: {count} fields came"):
            legato.read("t.csv", columns=["a"])
    write_file('a,b,c\n1,"2\n",3\n\n4,5,6\n', "t.csv")
    assert legato.read("t.csv", columns=["c", "a"]).values.tolist() == [[3, 1], [6, 4]]


def test_bzip2_is_recognized_whatever_its_level_and_text_is_not_taken_for_it():
    packed = [bz2.compress(b"a", 1), bz2.compress(b"a", 9), bz2.compress(b"")]
    assert [recognize_suffix(each) for each in packed] == [".bz2"] * 3
    assert recognize_suffix(b"BZhang,Li\n1,2\n") == ""
