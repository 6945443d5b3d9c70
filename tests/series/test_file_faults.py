"""What is wrong with files of sequences is one error that names the file, row or option."""

import os
from pathlib import Path

import numpy as np
import polars
import pytest

from legato import FileLanes, InputError
from legato._series.file_table import find_files


def refuse(files, message: str, **options) -> None:
    """Expect the error when the files are opened or read."""
    options = {"rows": 1, "steps": 2, "inputs": "x", **options}
    with pytest.raises(InputError, match=message):
        list(FileLanes(files, **options))


def frames(folder: Path, *tables: dict) -> Path:
    for number, table in enumerate(tables):
        polars.DataFrame(table, strict=False).write_parquet(folder / f"{number}.parquet")
    return folder


def test_files_that_are_absent_or_of_another_format_are_refused(tmp_path):
    refuse(tmp_path / "none.parquet", r"There is no file .*none\.parquet")
    refuse(f"{tmp_path}/*.parquet", r"No file matches the pattern .*\*\.parquet")
    refuse(tmp_path, r"The folder .* has no Parquet or Arrow file")
    refuse([], r"files is \[\]; a folder, a pattern .* or a list of paths was expected")
    refuse(3, "files is 3; a folder")
    (tmp_path / "a.csv").write_text("x\n1\n")
    refuse(tmp_path / "a.csv", r"a\.csv is no Parquet or Arrow file, whose names end in \.parquet")


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_damaged_files_are_named(tmp_path, suffix):
    frame, path = polars.DataFrame({"a": np.linspace(0, 1, 400)}), tmp_path / f"part-0{suffix}"
    (frame.write_parquet if suffix == ".parquet" else frame.write_ipc)(path)
    path.write_bytes(path.read_bytes()[:900])
    refuse(tmp_path, rf"part-0{suffix} is not a whole (Parquet|Arrow) file .*cut short", inputs="a")


def test_a_file_that_is_changed_or_removed_while_it_is_read_is_named(tmp_path):
    frames(tmp_path, {"x": [1.0, 2.0, 3.0]})
    files = FileLanes(tmp_path, inputs="x", rows=1, steps=2)
    for values in ([1.0, 2.0], [4.0] * 9, [7.0, 8.0, 9.0]):  # shorter, longer, others
        frames(tmp_path, {"x": values})
        os.utime(tmp_path / "0.parquet", (1e9, 1e9))
        with pytest.raises(InputError, match=r"0\.parquet was changed since its sequences were"):
            list(files)
    (tmp_path / "0.parquet").unlink()
    with pytest.raises(InputError, match=r"There is no longer a file .*0\.parquet"):
        list(files)


def test_files_are_found_again_from_another_working_directory(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    frames(tmp_path / "data", {"x": [1.0, 2.0]})
    monkeypatch.chdir(tmp_path)
    for source in ("data", "data/*.parquet", ["data/0.parquet"], Path("data/0.parquet")):
        files = FileLanes(source, inputs="x", rows=1, steps=2)
        with monkeypatch.context() as patch:
            patch.chdir("/")
            assert next(iter(files))[0].tolist() == [[[1.0], [2.0]]]


def test_files_with_one_name_in_several_folders_are_told_apart(tmp_path):
    for at, values in enumerate(([1.0], [2.0, np.nan])):
        (tmp_path / f"day={at}").mkdir()
        frames(tmp_path / f"day={at}", {"x": values})
    files = FileLanes(tmp_path, inputs="x", rows=1, steps=2)
    assert files.names.to_list() == ["day=0/0.parquet", "day=1/0.parquet"]
    refuse(tmp_path, r"^day=1/0\.parquet, row 1 ")
    refuse(tmp_path, r"day=0/0\.parquet has no column 'day'\. Values in the names of", group="day")


def test_a_folder_with_the_name_of_a_file_is_refused_in_patterns_and_lists(tmp_path):
    (tmp_path / "a.parquet").mkdir()
    frames(tmp_path / "a.parquet", {"x": [1.0]})
    frames(tmp_path, {"x": [2.0]})
    message = r"a\.parquet is a folder, and files were expected.*such as 'a\.parquet/\*'"
    refuse(f"{tmp_path}/*.parquet", message)
    refuse([tmp_path / "a.parquet"], message)
    for source in (tmp_path, f"{tmp_path}/**/*.parquet"):
        assert len(find_files(source)) == 2


def test_columns_that_are_absent_differ_or_hold_no_numbers_are_named(tmp_path):
    frames(tmp_path, {"x": [1.0], "load": [1.0], "s": ["a"]}, {"x": [1], "load": [1.0], "s": ["a"]})
    refuse(tmp_path, r"0\.parquet has no column 'lod'. Did you mean 'load'\?", inputs="lod")
    refuse(tmp_path, r"0\.parquet has no column 'id'", inputs="load", group="id")
    refuse(tmp_path, r"Column 'x' is of type Int64 in 1\.parquet, and of type Float64 in 0\.pa")
    refuse(tmp_path, r"Column 's' of 0\.parquet is of type String; numbers", inputs="s")
    refuse(tmp_path, "inputs names no column", inputs=[])
    (tmp_path / "1.parquet").unlink()
    refuse(tmp_path, r"time= takes numbers, dates or times", time="s")
    frames(tmp_path, {"x": []})
    refuse(tmp_path, r"0\.parquet has no rows")


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (
            None,
            polars.Float64,
            r"1\.parquet, row 1 \(counted from 0\), column 'x': the value is mi",
        ),
        (np.nan, polars.Float64, r"1\.parquet, row 1 .* the value is nan, not a finite number"),
        (-np.inf, polars.Float32, "the value is -inf, not a finite number"),
        (1e300, polars.Float64, r"the value is 1e\+300, not a finite number in float32"),
        (None, polars.Int64, "column 'x': the value is missing"),
        (2**40, polars.Int64, "the value is 1099511627776, beyond 32 bits"),
        (2**64 - 1, polars.UInt64, "the value is 18446744073709551615, beyond 32 bits"),
    ],
)
def test_values_that_are_missing_or_not_finite_are_named(tmp_path, value, dtype, message):
    for number, values in enumerate(([1, 2, 3], [4, value, 5])):
        column = polars.Series("x", values, dtype=dtype)
        polars.DataFrame([column]).write_parquet(tmp_path / f"{number}.parquet")
    refuse(tmp_path, message)


@pytest.mark.parametrize("dtype", [polars.Int64, polars.UInt64, polars.Int128])
def test_integers_beside_floats_are_as_exact_as_in_arrays(tmp_path, dtype):
    for value in (2**24 + 1, 2**40, 2**40 + 1):
        whole = polars.Series("n", [0, value], dtype=dtype)
        polars.DataFrame([whole, polars.Series("x", [0.5, 1.5])]).write_parquet(tmp_path / "a.pq")
        if value == 2**40 + 1:
            refuse(
                tmp_path,
                r"row 1 .*'n': the value is 1099511627777, beyond 32 bits .*float32 d"
                "oes not represent it",
                inputs=["n", "x"],
            )
        else:
            ((x, *_),) = FileLanes(tmp_path, inputs=["n", "x"], rows=1, steps=2)
            assert x[0, 1].tolist() == [np.float32(value), 1.5]


def test_sequences_that_are_not_together_or_not_in_order_are_named(tmp_path):
    frames(tmp_path, {"id": ["a", "b", "b"], "t": [1, 1, 2]}, {"id": ["b", "a"], "t": [3, 2]})
    together = (
        r"Sequence 'a' is in two places: up to 0\.parquet, row 0 \(counted from 0\), and again "
        r"from 1\.parquet, row 1 .*sort\('id', 't', maintain_order=True\)"
    )
    refuse(tmp_path, together, inputs="t", group="id", time="t")
    frames(tmp_path, {"id": ["a", "b", "b"], "t": [1, 1, 2]}, {"id": ["b", "b"], "t": [2, 3]})
    order = r"1\.parquet, row 0 .*: the time in column 't' is 2, not after that of the row before"
    refuse(tmp_path, order, inputs="t", group="id", time="t")
    frames(tmp_path, {"id": ["a", "b", "b"], "t": [1, 2, 1]})
    refuse(tmp_path, r"0\.parquet, row 2 ", inputs="t", group="id", time="t")
    (tmp_path / "1.parquet").unlink()
    refuse(tmp_path, r"0\.parquet, row 2 ", inputs="t", time="t")
    frames(tmp_path, {"id": ["a", None], "t": [1, None]})
    refuse(tmp_path, r"row 1 .*: column 'id' is empty. Every row needs", inputs="t", group="id")
    refuse(tmp_path, r"row 1 .*: column 't' is empty", inputs="t", time="t")


@pytest.mark.parametrize(
    "values",
    [
        polars.Series([1, 2, 2**70, 2**70 + 1], dtype=polars.Int128),
        polars.Series([1, 2**62, 2**63, 2**64 - 1], dtype=polars.UInt64),
        polars.Series(["0.1", "0.2", "9007199254740992.1", "9007199254740992.2"]).cast(
            polars.Decimal(30, 1)
        ),
        polars.Series([1, 2, 2**60, 2**60 + 1]).cast(polars.Datetime("ns", "Europe/Berlin")),
        polars.Series([1.0, 2.0, 3.0, np.inf]),
    ],
    ids=lambda each: str(each.dtype),
)
def test_times_of_any_type_are_compared_exactly_also_from_file_to_file(tmp_path, values):
    def written(times):
        for at, part in enumerate((times[:3], times[3:])):
            polars.DataFrame(
                {"t": part, "id": [1] * len(part), "x": [0.0] * len(part)}
            ).write_parquet(tmp_path / f"{at}.parquet")
        return tmp_path

    files = FileLanes(written(values), inputs="x", group="id", time="t")
    assert files.lengths.tolist() == [4]
    late = values.gather([0, 1, 3, 2])
    refuse(written(late), r"1\.parquet, row 0 .* not after that of the row", group="id", time="t")
    late = values.gather([0, 3, 2, 1])
    refuse(written(late), r"0\.parquet, row 2 .* not after that of the row", group="id", time="t")


def test_options_that_name_no_column_or_number_are_refused(tmp_path):
    frames(tmp_path, {"id": [1, 1], "x": [1.0, 2.0], "t": [1.0, np.nan]})
    refuse(tmp_path, r"group is \['id'\]; the name of one column was expected", group=["id"])
    refuse(tmp_path, r"time is 3; the name of one column was expected", time=3)
    refuse(tmp_path, r"group and time are both 'id'", group="id", time="id")
    refuse(tmp_path, r"row 1 .*: the time in column 't' is NaN", time="t")
    refuse(tmp_path, r"pad is 1e\+39; the inputs are float32", pad=1e39)
    refuse(tmp_path, r"pad is 4294967296; the inputs are int32", inputs="id", pad=2**32)
    with pytest.raises(InputError, match=r"epoch is -1; a whole number from 0 was expected"):
        FileLanes(tmp_path, inputs="x").epoch(-1)
