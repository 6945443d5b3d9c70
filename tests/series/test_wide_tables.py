"""Sequences in rows: wide tables, as of the UCR archive, and .ts files of aeon and sktime."""

import gzip

import numpy as np
import pandas as pd
import polars
import pytest
from shop_files import write_file

import legato
from legato import InputError

pytestmark = pytest.mark.usefixtures("in_tmp_path")

SEQUENCES = [[0.5, 1.25, -2.0, 3.5], [7.0, 8.5], [1.5, 2.5, 4.5]]
LABELS = ["2", "1", "2"]
ROWS = [[label, *map(str, values), *["NaN"] * (4 - len(values))]
        for label, values in zip(LABELS, SEQUENCES, strict=True)]  # fmt: skip
NAMED = polars.DataFrame(
    {
        "kind": [2, 1, 2],
        **{f"t{at}": [each[at] if at < len(each) else None for each in SEQUENCES]
           for at in range(4)},
    }
)  # fmt: skip


def text(separator: str, rows=ROWS, end: str = "\n") -> str:
    return "".join(separator.join(row) + end for row in rows)


def exponents() -> str:
    """As older files of the archive are: blanks, and labels such as 2.0000000e+00."""
    rows = [[f"{float(each):.7e}" for each in row] for row in ROWS]
    return "".join(f"  {'  '.join(row)}\n" for row in rows)


WIDE = {
    "tabs": lambda: write_file(text("\t"), "t.tsv"),
    "commas": lambda: write_file(text(","), "t.txt"),
    "blanks": lambda: write_file(exponents(), "t.txt"),
    "no suffix": lambda: write_file(text(","), "t"),
    "of Windows, packed": lambda: write_file(gzip.compress(text(",", end="\r\n").encode()), "t.gz"),
    "empty cells": lambda: write_file(text(",").replace("NaN", "")),
    "a header": lambda: write_file(NAMED.write_csv()),
    "a header of numbers": lambda: write_file("label,0,1,2,3\n" + text(",")),
    "a frame": lambda: NAMED,
    "a frame of pandas": lambda: pd.DataFrame(NAMED.to_dict(as_series=False)),
    "Parquet": lambda: NAMED.write_parquet("t.parquet") or "t.parquet",
    "an array": lambda: np.array(ROWS, float),
}  # fmt: skip


def assert_read(found: legato.Sequences, label: str) -> None:
    assert found.lengths.tolist() == [4, 2, 3]
    assert [column.name for column in found.columns] == ["value", label]
    assert found.values[:, 0].tolist() == np.concatenate(SEQUENCES).tolist()
    (_, labels) = found.columns
    assert labels.categories == ("1", "2")
    assert [labels.categories[labels.numbers.index(each)] for each in found.values[:, 1]] == [
        label for label, each in zip(LABELS, SEQUENCES, strict=True) for _ in each
    ]


@pytest.mark.parametrize("source", WIDE)
def test_each_row_of_a_wide_table_is_a_sequence(source):
    named = source in ("a header", "a frame", "a frame of pandas", "Parquet")
    assert_read(legato.read(WIDE[source](), wide=True), "kind" if named else "label")


HEADER = """# of one column
@problemName waves
@timeStamps false
@univariate true
@classLabel true 1 2

@DATA
"""


def ts_lines(labels=True) -> str:
    rows = [",".join(map(str, values)) for values in SEQUENCES]
    pairs = zip(rows, LABELS, strict=True)
    return "\n".join(f"{row}:{label}" if labels else row for row, label in pairs)


def test_ts_files_hold_sequences_with_labels():
    assert_read(legato.read(write_file(HEADER + ts_lines(), "t.ts")), "label")
    assert_read(legato.read(write_file(gzip.compress((HEADER + ts_lines()).encode()), "t.ts.gz")),
                "label")  # fmt: skip
    unlabelled = HEADER.replace("true 1 2", "false") + ts_lines(labels=False)
    found = legato.read(write_file(unlabelled, "t.ts"))
    assert [column.name for column in found.columns] == ["value"]
    assert found.lengths.tolist() == [4, 2, 3]


def test_columns_of_ts_files_are_those_of_an_array():
    content = "@classLabel true a b\n@data\n1,2,3:4,5,6:a\n7,?:8,9:b\n"
    found = legato.read(write_file(content, "t.ts"), missing="forward")
    assert [column.name for column in found.columns] == ["0", "1", "label"]
    assert found.values.tolist() == [[1, 4, 0], [2, 5, 0], [3, 6, 0], [7, 8, 1], [7, 9, 1]]


def test_a_missing_value_amid_a_sequence_is_named_by_its_line():
    rows = [*ROWS, ["1", "2", "", "3", "4"]]
    with pytest.raises(InputError, match=r"t\.csv, line 4, column 'value': the value is missing"):
        legato.read(write_file(text(",", rows)), wide=True)
    with pytest.raises(InputError, match=r"t\.ts, line 2, column 'value': the value is missing"):
        legato.read(write_file("@data\n1,?,3\n", "t.ts"))


REFUSED = {
    "words": (lambda: write_file(text(",", [*ROWS, ["1", "2", "x", "3", "4"]])),
              "line 4, .*no number"),
    "one value": (lambda: write_file("1,2\n2,3\n"), "has 2 columns; with wide=True each row is"),
    "no value": (lambda: write_file("1,2,3\n2,,\n"), "line 2: there is no value behind the label"),
    "dates": (lambda: pd.DataFrame({"kind": [1], "a": [1.0], "b": pd.to_datetime(["2020"])}),
              "column 'b' holds Datetime.*, and no numbers"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_wide_table_is_refused(case):
    make, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        legato.read(make(), wide=True)


DAMAGED = {
    "no header": ("1,2:a\n", "has no line @data"),
    "prose": ("export const a = 1\n", "has no line @data"),
    "nothing": ("@data\n\n", "has no sequence below @data"),
    "times": ("@timeStamps true\n@data\n(0,1),(1,2):a\n", "a time for each value"),
    "a quantity": ("@targetLabel true\n@data\n1,2:0.5\n", "a number to predict for each sequence"),
    "no number": ("@data\n1,2\n1,b\n", "line 3: 'b' is no number"),
    "no label": ("@classLabel true a\n@data\n1,2\n", "line 3: values and a label behind a colon"),
    "unlike columns": ("@data\n1,2:3\n", "line 2: the columns have 1 and 2 values"),
    "a column more": ("@data\n1,2\n1,2:3,4\n", "line 3: the sequence has 2 columns, and the first"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_ts_files_are_refused(case):
    content, message = DAMAGED[case]
    with pytest.raises(InputError, match=message):
        legato.read(write_file(content, "t.ts"))


def test_a_table_without_names_says_how_rows_are_sequences():
    with pytest.raises(InputError, match=r"if each row is a sequence.*say so with wide=True"):
        legato.read(write_file(text("\t"), "t.tsv"))


def test_a_model_trained_on_rows_labels_rows():
    rng = np.random.default_rng(3)
    rows = [[str(1 + at % 2), *(f"{each:.3f}" for each in rng.normal(at % 2, 0.1, 9))]
            for at in range(6)]  # fmt: skip
    write_file(text("\t", rows), "train.tsv")
    write_file(text("\t", rows[:1]), "one.tsv")
    trained = legato.train("train.tsv", wide=True, framing="chunks", units=2, epochs=1, verbose=0)
    trained.save("t.keras")
    again = legato.Trained.load("t.keras")
    assert len(again.classify("train.tsv")) == 6
    assert len(again.classify("one.tsv")) == 1
