"""Batches read from files are those of the same sequences laid out in memory, to the bit."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legato import FileLanes, InputError
from legato._series import lane_reader
from legato._series.file_table import FileTable, find_files

COLUMNS = {"inputs": ["a", "b"], "targets": "y", "group": "id", "time": "t"}
quick = settings(deadline=None, derandomize=True, database=None, max_examples=20)


def make_table(lengths) -> polars.DataFrame:
    """Sequences one after the other, all values different."""
    total = sum(lengths)
    values = np.random.default_rng(total).normal(size=(3, total))
    return polars.DataFrame(
        {
            "id": np.repeat([f"s{at}" for at in range(len(lengths))], lengths),
            "t": np.concatenate([np.arange(each) for each in lengths]),
            "a": values[0].astype("float32"),
            "b": values[1],
            "y": values[2].astype("float32"),
            "unused": ["text"] * total,
        }
    )


def write(table: polars.DataFrame, folder: Path, file_rows: int, group_rows: int, suffix: str):
    """Write a table as files of so many rows, of row groups of so many."""
    folder.mkdir(exist_ok=True)
    for number, begin in enumerate(range(0, table.height, file_rows)):
        part, path = table[begin : begin + file_rows], folder / f"part-{number}{suffix}"
        if suffix == ".parquet":
            part.write_parquet(path, row_group_size=group_rows)
        else:
            part.write_ipc(path, compression="lz4" if number % 2 else "uncompressed")


def read_all(batches) -> list[np.ndarray]:
    """Inputs, targets, weights and starts of all samples."""
    return [np.concatenate(each) for each in zip(*batches, strict=True)]


def assert_same(batches, expected) -> None:
    for came, wanted in zip(read_all(batches), expected, strict=True):
        assert came.dtype == wanted.dtype
        np.testing.assert_array_equal(came, wanted)


def laid_out(files: FileLanes, table: polars.DataFrame, pad: float = 0.0) -> list[np.ndarray]:
    """The samples of a table in memory: inputs, targets, weights, starts."""
    lanes = files.lanes
    inputs = lanes.lay(table.select("a", "b").to_numpy().astype("float32"), pad)
    return [inputs, lanes.lay(table.select("y").to_numpy()), lanes.weights, lanes.starts]


@quick
@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=25)
    | st.lists(st.integers(1, 3), min_size=150, max_size=300),  # many share a piece
    rows=st.integers(1, 5),
    steps=st.integers(1, 9),
    file_rows=st.integers(7, 400),
    group_rows=st.integers(3, 90),
    suffix=st.sampled_from([".parquet", ".arrow"]),
    sizes=st.tuples(st.integers(60, 2_000), st.integers(60, 4_000)),
)
def test_batches_are_those_of_the_layout_in_memory(
    lengths, rows, steps, file_rows, group_rows, suffix, sizes, tmp_path_factory
):
    table, folder = make_table(lengths), tmp_path_factory.mktemp("files")
    write(table, folder, file_rows, group_rows, suffix)
    with pytest.MonkeyPatch.context() as patch:  # so that pieces and blocks are small
        patch.setattr(lane_reader, "PIECE_BYTES", (sizes[0], sizes[0]))
        patch.setattr(lane_reader, "BATCHES_BYTES", sizes[1])
        patch.setattr("legato._series.sequence_scan.SCAN_ROWS", sizes[0])
        files = FileLanes(folder, rows=rows, steps=steps, pad=-1.0, **COLUMNS)
    assert files.names.to_list() == [f"s{at}" for at in range(len(lengths))]
    assert files.lengths.tolist() == lengths
    expected = laid_out(files, table, pad=-1.0)
    assert_same(files, expected)
    assert_same(files.epoch(3), expected)
    assert len(files) == files.lanes.batches


@pytest.fixture
def folder(tmp_path) -> Path:
    """Files of 340 sequences, short ones between others; ``part-10`` follows ``part-9``."""
    random = np.random.default_rng(3)
    lengths = random.permutation(np.append(random.integers(20, 90, 40), random.integers(1, 9, 300)))
    write(make_table(lengths), tmp_path / "data", 150, 40, ".parquet")
    assert (tmp_path / "data" / "part-10.parquet").exists()
    return tmp_path / "data"


@pytest.fixture
def table(folder) -> polars.DataFrame:
    return polars.concat([polars.read_parquet(each) for each in find_files(folder)])


def test_folders_patterns_and_lists_name_the_same_files(folder, table):
    (folder / "README.txt").write_text("not data")
    (folder / "_temporary").mkdir()
    table.write_parquet(folder / "_temporary" / "part-0.parquet")
    table.write_parquet(folder / ".part-0.parquet")
    listed = [folder / f"part-{number}.parquet" for number in range(100)]
    listed = [each for each in listed if each.exists()]
    for source in (folder, str(folder), f"{folder}/*.parquet", listed):
        assert find_files(source) == listed
    assert find_files(listed[3]) == [listed[3]]
    for name in ("log[1]*.arrow", "log[1]*.parquet"):  # no patterns: there are such files
        write_one = table.write_ipc if name.endswith(".arrow") else table.write_parquet
        write_one(folder / name)
        assert FileLanes(folder / name, **COLUMNS).lengths.sum() == table.height
    assert find_files(listed[::-1]) == listed[::-1]


def test_shards_joined_are_the_whole_and_each_reads_its_own_sequences(folder, table, monkeypatch):
    options = {"rows": 6, "steps": 5, **COLUMNS}
    whole = FileLanes(folder, **options)
    shards = [FileLanes(folder, shard=(index, 3), **options) for index in range(3)]
    rows_read, read = [], FileTable.read

    def recorded(self, begin, end, columns):
        rows_read.append(np.arange(begin, end))
        return read(self, begin, end, columns)

    monkeypatch.setattr(FileTable, "read", recorded)
    parts = [list(each) for each in shards]
    assert np.sort(np.concatenate(rows_read)).tolist() == list(range(table.height))
    assert {len(each) for each in parts} == {whole.batches}
    joined = [
        [np.concatenate(arrays) for arrays in zip(*batch, strict=True)]
        for batch in zip(*parts, strict=True)
    ]
    assert_same(joined, laid_out(whole, table))
    assert "of 6 rows, of which rows 2 to 3 are read, 5 steps each" in str(shards[1])


def test_shards_of_a_shuffled_epoch_are_those_of_the_whole(tmp_path, monkeypatch):
    lengths = np.random.default_rng(3).integers(1, 9, 700)  # many in a row, next to each other
    write(make_table(lengths), tmp_path, 1_500, 40, ".parquet")
    monkeypatch.setattr(lane_reader, "PIECE_BYTES", (400, 10**6))
    monkeypatch.setattr(lane_reader, "PIECES_BYTES", 9_000)
    options = {"rows": 6, "steps": 5, "shuffle_seed": 2, **COLUMNS}
    shards = [FileLanes(tmp_path, shard=(index, 3), **options).epoch(4) for index in range(3)]
    joined = [
        [np.concatenate(arrays) for arrays in zip(*batch, strict=True)]
        for batch in zip(*shards, strict=True)
    ]
    assert_same(joined, read_all(FileLanes(tmp_path, **options).epoch(4)))


def sequences_of(files: FileLanes, batches) -> list[list[np.ndarray]]:
    """The sequences of each row, in the order in which they came: inputs and targets, joined."""
    found: list[list] = [[] for _ in range(files.rows)]
    for x, y, weights, starts in batches:
        for row in range(files.rows):
            if starts[row]:
                found[row].append([])
            kept = weights[row] > 0
            if kept.any():
                found[row][-1].append(np.concatenate([x[row], y[row]], -1)[kept])
    return [[np.concatenate(each) for each in row] for row in found]


def test_a_shuffled_epoch_has_the_same_whole_sequences_in_each_row_in_its_own_order(
    folder, monkeypatch
):
    monkeypatch.setattr(lane_reader, "PIECE_BYTES", (1_500, 1_500))
    options = {"rows": 3, "steps": 5, **COLUMNS}
    files = FileLanes(folder, shuffle_seed=7, **options)
    plain = sequences_of(files, files)
    orders = []
    for number in range(3):
        rows = sequences_of(files, files.epoch(number))
        orders.append([each.tobytes() for row in rows for each in row])
        for came, wanted in zip(rows, plain, strict=True):
            assert sorted(each.tobytes() for each in came) == sorted(
                each.tobytes() for each in wanted
            )
    assert len({tuple(order) for order in orders}) == 3
    assert orders[0] != [each.tobytes() for row in plain for each in row]
    assert len(list(files.epoch(1))) == files.batches
    again = FileLanes(folder, shuffle_seed=7, **options)
    assert_same(again.epoch(1), read_all(files.epoch(1)))


def test_each_row_of_the_files_is_read_once_in_an_epoch_shuffled_or_not(folder, monkeypatch):
    monkeypatch.setattr(lane_reader, "PIECE_BYTES", (1_500, 1_500))
    files = FileLanes(folder, rows=3, steps=5, shuffle_seed=1, **COLUMNS)
    total, read = [], FileTable.read

    def recorded(self, begin, end, columns):
        total.append(np.arange(begin, end))
        return read(self, begin, end, columns)

    monkeypatch.setattr(FileTable, "read", recorded)
    for batches in (iter(files), files.epoch(0)):
        total.clear()
        list(batches)
        assert np.sort(np.concatenate(total)).tolist() == list(range(files.lengths.sum()))


def test_without_a_group_each_file_is_a_sequence(folder, table):
    files = FileLanes(folder, inputs=["a", "b"], targets="y", rows=2, steps=8)
    heights = [polars.read_parquet(each).height for each in find_files(folder)]
    assert files.lengths.tolist() == heights
    assert files.names[1] == "part-1.parquet"
    assert_same(files, laid_out(files, table))


def test_integers_stay_integers_and_targets_may_be_absent(tmp_path):
    whole = {"id": [1, 1, 2], "n": [3, 4, 5], "is": [True, False, True]}
    polars.DataFrame(whole).write_parquet(tmp_path / "a.parquet")
    files = FileLanes(tmp_path, inputs=["n", "is"], group="id", rows=2, steps=2, pad=-1)
    ((x, y, weights, starts),) = files
    assert x.dtype == "int32"
    assert x.tolist() == [[[3, 1], [4, 0]], [[5, 1], [-1, -1]]]
    assert y is None
    assert weights.tolist() == [[1, 1], [1, 0]]
    assert starts.tolist() == [True, True]
    with pytest.raises(InputError, match=r"pad is 0\.5, and the inputs are integers"):
        FileLanes(tmp_path, inputs="n", pad=0.5)


def test_categories_that_files_number_differently_are_told_apart_by_name(tmp_path):
    for number, names in enumerate((["b", "a"], ["a", "c"])):
        frame = polars.DataFrame({"id": names, "x": [1.0, 2.0]})
        frame.with_columns(polars.col("id").cast(polars.Categorical)).write_parquet(
            tmp_path / f"{number}.parquet"
        )
    files = FileLanes(tmp_path, inputs="x", group="id")
    assert files.names.to_list() == ["b", "a", "c"]
    assert files.lengths.tolist() == [1, 2, 1]


# Shards that are refused.


@pytest.mark.parametrize("shard", [(2, 2), (-1, 2), 1, (0, 0), "01", (0.0, 2)])
def test_shards_that_are_none_are_refused(folder, shard):
    with pytest.raises(InputError, match=r"shard is .*; \(index, count\) was expected"):
        FileLanes(folder, shard=shard, **COLUMNS)


@pytest.mark.parametrize("index", [0, 1])
def test_a_shard_without_a_sequence_is_named_in_all_processes(tmp_path, index):
    polars.DataFrame({"x": [1.0, 2.0]}).write_parquet(tmp_path / "0.parquet")
    message = "Shard 1 of 2 has no sequence: the files have 1 sequence for 2 rows"
    with pytest.raises(InputError, match=message):
        FileLanes(tmp_path, inputs="x", rows=2, steps=2, shard=(index, 2))


def test_rows_are_a_multiple_of_the_shards(folder):
    with pytest.raises(InputError, match="rows=3 cannot be shared equally by 2 shards"):
        FileLanes(folder, rows=3, shard=(0, 2), **COLUMNS)
    assert FileLanes(folder, shard=(1, 5), **COLUMNS).rows % 5 == 0


# Memory.

MEASURE = """
    import sys
    from legato._series import lane_reader, sequence_scan
    from legato import FileLanes

    lane_reader.PIECES_BYTES, lane_reader.BATCHES_BYTES = 2**21, 2**20
    sequence_scan.SCAN_ROWS = 2**16
    files = FileLanes(sys.argv[1], inputs=["a", "b"], targets="y", group="id", rows=4, steps=50)
    total = sum(float(x.sum()) for x, *_ in files)
    status = open("/proc/self/status").read()
    print(files.lengths.sum(), int(status.split("VmHWM:")[1].split()[0]) / 1024)
"""


def peak_mib(folder: Path) -> tuple[int, float]:
    """The rows of the files, and the peak memory of a process that reads them, in MiB."""
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEASURE), str(folder)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "POLARS_MAX_THREADS": "1"},
    )
    rows, mib = found.stdout.split()
    return int(rows), float(mib)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measures it as Linux does")
def test_memory_does_not_grow_with_the_files(tmp_path):
    part = make_table(np.full(200, 1_000)).drop("unused", "t")
    peaks = []
    for name, files in (("small", 1), ("large", 12)):
        (tmp_path / name).mkdir()
        for number in range(files):
            numbered = part.with_columns(polars.col("id") + f" of {number}")
            numbered.write_parquet(tmp_path / name / f"{number}.parquet", row_group_size=20_000)
        rows, peak = peak_mib(tmp_path / name)
        assert rows == files * part.height
        peaks.append(peak)
    assert peaks[1] < peaks[0] + 15  # the values of the large ones are 27 MiB
