"""A small table of two shops, and files with it."""

import bz2
import gzip
import json
import lzma
import zipfile
from pathlib import Path

import numpy as np
import pandas
import polars
from hypothesis import HealthCheck, settings

import legato


def shop_columns(rng, rows=40) -> dict:
    """Two shops, times in order within each, columns of every kind."""
    return {
        "shop": np.array(["b 07", "a"])[np.arange(rows) % 2],
        "time": np.datetime64("2020-02-28T22:00:00", "us")
        + np.arange(rows) // 2 * np.timedelta64(1, "h"),
        "price": rng.normal(size=rows) * 10.0 ** rng.integers(-9, 9, rows),
        "count": rng.integers(-5, 90, rows),
        "open": rng.random(rows) < 0.5,
        "weather": np.array(["sun", "rain", "Schnee ☃"])[rng.integers(0, 3, rows)],
        "weekday": rng.integers(1, 8, rows),
    }


def read_shops(source, **options):
    return legato.read(
        source, **{"group": "shop", "time": "time", "categorical": "weekday"} | options
    )


def assert_same(one, other):
    """Equal to the bit, except for the source and the notes."""
    for name in ("values", "lengths", "times"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), strict=True)
    assert one.columns == other.columns
    assert one.names == other.names


def write_file(text: str | bytes, name="t.csv") -> str:
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return name


def as_csv(columns: dict, name: str, **options) -> str:
    polars.DataFrame(columns).write_csv(name, **options)
    return name


def csv_text(columns: dict) -> str:
    return polars.DataFrame(columns).write_csv()


def json_rows(columns: dict) -> list[list]:
    """Rows as JSON takes them, dates as text."""
    frame = polars.DataFrame(columns).with_columns(polars.col("time").dt.to_string("iso:strict"))
    return [list(row) for row in frame.iter_rows()]


def json_text(columns: dict, kind=list) -> str:
    """Columns by name, each a list, or, of kind ``dict``, an object by the number of the row."""
    values = zip(columns, zip(*json_rows(columns), strict=True), strict=True)
    rows = {name: list(each) for name, each in values}
    if kind is dict:
        rows = {name: dict(enumerate(each)) for name, each in rows.items()}
    return json.dumps(rows)


def write_zip(name: str, members: dict[str, str]) -> str:
    with zipfile.ZipFile(name, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, text in members.items():
            archive.writestr(member, text)
    return name


SOURCES = {
    "semicolons": lambda columns: as_csv(columns, "t.csv", separator=";"),
    "tabs": lambda columns: as_csv(columns, "t.tsv", separator="\t"),
    "bars": lambda columns: as_csv(columns, "t.tab", separator="|"),
    "quotes": lambda columns: as_csv(columns, "t.csv", quote_style="always"),
    "mark and Windows": lambda columns: as_csv(
        columns, "t.csv", include_bom=True, line_terminator="\r\n"
    ),
    "spaces": lambda columns: write_file(csv_text(columns).replace(",", ", ")),
    "pandas' CSV": lambda columns: write_file(
        pandas.DataFrame(columns).to_csv(index=False)
    ),
    "gz": lambda columns: write_file(gzip.compress(csv_text(columns).encode()), "t.CSV.gz"),
    "bz2": lambda columns: write_file(bz2.compress(csv_text(columns).encode()), "t.csv.bz2"),
    "xz": lambda columns: write_file(lzma.compress(csv_text(columns).encode()), "t.csv.xz"),
    "zip": lambda columns: write_zip("t.csv.zip", {"t.csv": csv_text(columns)}),
    "zip of macOS": lambda columns: write_zip(
        "t.zip", {"in/t.TSV": csv_text(columns).replace(",", "\t"), "__MACOSX/._t.TSV": "x"}
    ),
    "a line that names the separator": lambda columns: write_file(
        "sep=;\r\n" + csv_text(columns).replace(",", ";")
    ),
    "JSON lines": lambda columns: polars.DataFrame(columns).write_ndjson("t.jsonl") or "t.jsonl",
    "JSON lines, packed": lambda columns: write_file(
        gzip.compress(polars.DataFrame(columns).write_ndjson().encode()), "t.ndjson.gz"
    ),
    "JSON": lambda columns: write_file(polars.DataFrame(columns).write_json(), "t.json"),
    "JSON lines called JSON": lambda columns: write_file(
        polars.DataFrame(columns).write_ndjson(), "t.json"
    ),
    "JSON by columns": lambda columns: write_file(json_text(columns), "t.json"),
    "JSON by columns and rows": lambda columns: write_file(json_text(columns, dict), "t.json"),
    "JSON, split": lambda columns: write_file(
        json.dumps({"columns": list(columns), "data": json_rows(columns)}), "t.json"
    ),
    "parquet": lambda columns: polars.DataFrame(columns).write_parquet("t.pq") or "t.pq",
    "npz": lambda columns: np.savez("t.npz", **columns) or "t.npz",
    "polars": polars.DataFrame,
    "lazy": polars.LazyFrame,
    "pandas": pandas.DataFrame,
    "pandas, nullable": lambda columns: pandas.DataFrame(columns).convert_dtypes(),
    "pandas, categories and a zone": lambda columns: pandas.DataFrame(
        columns | {"time": pandas.DatetimeIndex(columns["time"], tz="UTC").tz_convert("Asia/Tokyo")}
    ).astype({"weather": "category"}),
    "pandas, an index": lambda columns: pandas.DataFrame(columns).set_index(["shop", "time"]),
    "columns": lambda columns: columns,
    "lists": lambda columns: {name: values.tolist() for name, values in columns.items()},
}  # fmt: skip


quick = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
