"""Answers as frames of pandas and Polars.

The law: what is cut off the end of a frame, and forecast without error, comes back as it was: in
its kind, with its names, types and index.
"""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pandas.testing import assert_frame_equal, assert_series_equal
from polars.testing import assert_frame_equal as assert_polars_equal
from polars.testing import assert_series_equal as assert_polars_series_equal
from trained_examples import labelled_machines, shop_sales

import legato
from legato import Forecast, Labelled

CUT, STEPS = 3, 30
WAVE = np.sin(np.arange(STEPS) / 3)
DAYS = pd.date_range("2020-01-01", periods=STEPS, freq="D")
POLARS_DAYS = pl.Series("day", DAYS.to_numpy()).cast(pl.Datetime("us"))


def forecast_of(data, targets, values, **options) -> Forecast:
    before = legato.read(data, **options)
    return Forecast.after(before, targets, np.asarray(values, float), None)


PANDAS_SERIES = {
    "counted": pd.Series(WAVE, name="load"),
    "without a name": pd.Series(WAVE),
    "32 bits": pd.Series(WAVE.astype("float32"), name="load"),
    "years": pd.Series(WAVE, index=pd.RangeIndex(1960, 1960 + 2 * STEPS, 2), name=5),
    "days": pd.Series(WAVE, index=DAYS, name="load"),
    "a zone": pd.Series(WAVE, index=DAYS.tz_localize("Asia/Tokyo"), name="load"),
    "a named index": pd.Series(WAVE, index=DAYS.rename("day"), name="load"),
    "month ends": pd.Series(WAVE, index=pd.date_range("2020-01-31", periods=STEPS, freq="ME")),
    "periods": pd.Series(WAVE, index=pd.period_range("2020-01", periods=STEPS, freq="M")),
}


@pytest.mark.parametrize("series", PANDAS_SERIES.values(), ids=PANDAS_SERIES)
def test_a_pandas_series_comes_back(series):
    before, after = series.iloc[:-CUT], series.iloc[-CUT:]
    target = "0" if series.name is None else str(series.name)
    forecast = forecast_of(before, (target,), after.to_numpy().reshape(1, CUT, 1))
    assert_series_equal(forecast.frame, after)
    assert forecast.frame.index.dtype == after.index.dtype


PANEL = pd.DataFrame(
    {
        "shop": np.repeat([7, 3], STEPS),
        "day": np.tile(DAYS, 2),
        "sold": np.concatenate([WAVE, -WAVE]),
        "stock": np.concatenate([WAVE, -WAVE]).astype("float32"),
    }
)
TARGETS = ("stock", "sold")
PANELS = {
    "columns": PANEL,
    "two levels": PANEL.set_index(["shop", "day"]),
    "an index of times": PANEL.set_index("day"),
    "text": PANEL.astype({"shop": str}),
    "categories": PANEL.astype({"shop": "category"}),
    "dates as text": PANEL.assign(day=PANEL["day"].dt.strftime("%Y-%m-%d")),
    "whole numbers": PANEL.assign(day=np.tile(np.arange(STEPS), 2)),
}


@pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)
def test_a_pandas_panel_comes_back(panel):
    rows = np.arange(2 * STEPS) % STEPS
    before, after = panel[rows < STEPS - CUT], panel[rows >= STEPS - CUT]
    values = np.stack([after[each].to_numpy().reshape(2, CUT) for each in TARGETS], axis=-1)
    found = forecast_of(before, TARGETS, values, group="shop", time="day").frame
    expected = after.reset_index(drop=not panel.index.names[0])
    levels = [name for name in panel.index.names if name]
    expected = expected.set_index(levels) if levels else expected
    assert_frame_equal(found, expected[found.columns], check_column_type=False)


POLARS = {
    "times": POLARS_DAYS,
    "dates": POLARS_DAYS.cast(pl.Date),
    "milliseconds": POLARS_DAYS.cast(pl.Datetime("ms")),
    "a zone": POLARS_DAYS.dt.replace_time_zone("America/Lima"),
    "text": POLARS_DAYS.dt.strftime("%Y-%m-%d"),
    "numbers": pl.Series("day", range(STEPS), dtype=pl.Int32),
}


@pytest.mark.parametrize("days", POLARS.values(), ids=POLARS)
def test_a_polars_frame_comes_back(days):
    frame = pl.DataFrame([days, pl.Series("load", WAVE, dtype=pl.Float32)])
    before, after = frame[:-CUT], frame[-CUT:]
    values = after["load"].to_numpy().reshape(1, CUT, 1)
    assert_polars_equal(forecast_of(before, ("load",), values, time="day").frame, after)


def test_a_polars_series_comes_back():
    series = pl.Series("load", WAVE)
    found = forecast_of(series[:-CUT], ("load",), WAVE[-CUT:].reshape(1, CUT, 1)).frame
    assert_polars_series_equal(found, series[-CUT:])


def test_a_series_without_a_name_has_none_whatever_indexes_it():
    series = pd.Series(WAVE, index=[f"row {at}" for at in range(STEPS)])
    found = forecast_of(series, ("0",), np.ones((1, 2, 1))).frame
    assert found.name is None
    assert found.tolist() == [1.0, 1.0]


def test_forecasts_of_whole_numbers_are_none():
    values = np.full((1, CUT, 1), 2.5)
    for frame in (pd.DataFrame({"n": range(9)}), pl.DataFrame({"n": range(9)})):
        assert forecast_of(frame, ("n",), values).frame["n"].to_list() == [2.5] * CUT


def test_intervals_follow_the_forecast_and_missing_ends_are_null():
    ends = np.stack([np.stack([WAVE[:2], WAVE[2:4]])] * 2).reshape(2, 2, 1, 2, 1)
    ends[0, 0, 0, 1] = np.nan
    before = legato.read(pd.Series(WAVE, name="load"))
    forecast = Forecast.after(before, ("load",), np.ones((1, 2, 1)), ends)
    table = forecast.to_polars()
    assert table.columns == ["load", "low 80 %", "high 80 %", "low 95 %", "high 95 %"]
    assert table["low 80 %"].to_list() == [WAVE[0], None]
    assert forecast.to_pandas().index.tolist() == [STEPS, STEPS + 1]


def test_an_index_that_counts_goes_on_from_the_end_of_the_history():
    before = legato.read(pd.Series(WAVE, name="load", index=range(10, 10 + 2 * STEPS, 2)))
    history = before.between([0], [STEPS - CUT])  # the rows after it are of the future
    forecast = Forecast.after(history, ("load",), np.ones((1, 2, 1)), None)
    assert forecast.frame.index.tolist() == [10 + 2 * (STEPS - CUT), 12 + 2 * (STEPS - CUT)]


def test_other_data_give_a_frame_of_polars():
    forecast = forecast_of({"load": WAVE}, ("load",), np.ones((1, 2, 1)))
    assert_polars_equal(forecast.frame, pl.DataFrame({"step": [1, 2], "load": [1.0, 1.0]}))
    assert forecast.to_pandas().columns.tolist() == ["step", "load"]


def test_labels_of_steps_have_their_times_and_labels_of_sequences_their_names():
    frame = pd.DataFrame({"hum": WAVE}, index=DAYS.tz_localize("Asia/Tokyo"))
    sequences, at = legato.read(frame), np.array([1, 4])
    chances = np.array([[0.25, 0.75], [1.0, 0.0]])
    labelled = Labelled.of(sequences, ("good", "worn"), at, chances, whole=False)
    assert labelled.frame.index.equals(frame.index[at])
    assert labelled.frame["label"].tolist() == ["worn", "good"]
    panel = pl.from_pandas(PANEL)
    sequences = legato.read(panel, group="shop", time="day")
    ends = sequences.offsets[1:] - 1
    labelled = Labelled.of(sequences, ("good", "worn"), ends, chances, whole=True)
    assert labelled.frame.columns == ["shop", "label", "probability"]
    assert labelled.frame["shop"].to_list() == [7, 3]


def test_scores_are_tables(forecaster, classifier):
    scores = forecaster.evaluate(shop_sales(months=6))
    table = scores.to_polars()
    assert table["model"].to_list() == ["model", *scores.baselines]
    assert table["mae"].to_list()[0] == scores.model.mae
    assert scores.frame.equals(table)
    sales = pd.DataFrame(shop_sales(months=6))
    assert_frame_equal(forecaster.evaluate(sales).frame, scores.to_pandas())
    scores = classifier.evaluate(labelled_machines(seed=5))
    assert scores.to_pandas()["accuracy"].tolist()[0] == scores.model.accuracy
