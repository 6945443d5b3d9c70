"""The table of ``docs/from-darts.md`` beside Darts and sktime: each row has a test."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORECASTING = "tests/forecasting"
TESTS = {
    "refit on all data": (
        f"{FORECASTING}/test_refit.py",
        "test_the_kept_forecaster_learnt_from_all_data_and_the_scores_are_of_one_that_did_not",
    ),
    "a score from many origins (in Darts a *backtest*)": (
        f"{FORECASTING}/test_backtest.py",
        "test_scores_are_those_of_a_rolling_origin_loop",
    ),
    "past covariates": (
        f"{FORECASTING}/test_covariates.py",
        "test_no_forecast_of_a_backtest_depends_on_later_past_covariates",
    ),
    "covariates known ahead": (
        f"{FORECASTING}/test_covariates.py",
        "test_a_promotion_that_is_known_ahead_is_forecast",
    ),
    "static covariates": (
        f"{FORECASTING}/test_covariates.py",
        "test_columns_of_a_panel_are_told_apart_by_when_they_are_known",
    ),
    "calendar and holidays": (
        f"{FORECASTING}/test_covariates.py",
        "test_a_weekday_and_a_holiday_are_known_by_the_time_alone",
    ),
    "logarithms, differences, trends": (
        f"{FORECASTING}/test_linear_forecasters.py",
        "test_an_autoregression_goes_on_as_a_series_without_noise_does",
    ),
    "scale of each sequence": (
        f"{FORECASTING}/test_linear_forecasters.py",
        "test_several_sequences_of_unlike_size_count_alike",
    ),
    "quantiles and sample paths": (
        f"{FORECASTING}/test_forecast.py",
        "test_quantiles_are_ends_of_intervals_and_stand_in_their_place",
    ),
    "many steps ahead directly": (
        f"{FORECASTING}/test_linear_forecasters.py",
        "test_direct_regression_goes_on_as_a_wave_on_a_trend_does",
    ),
    "several targets": (
        f"{FORECASTING}/test_ensemble.py",
        "test_several_sequences_with_other_columns_and_two_targets",
    ),
    "search of settings": (
        f"{FORECASTING}/test_search.py",
        "test_a_network_is_trained_with_the_best_setting_and_the_test_part_has_no_say",
    ),
    "ensemble": (
        f"{FORECASTING}/test_ensemble.py",
        "test_the_model_is_the_weighted_sum_of_its_members",
    ),
    "early stopping": (
        f"{FORECASTING}/test_trainer.py",
        "test_early_stopping_chooses_the_epochs_and_then_all_data_are_fitted",
    ),
    "resampling and filling": (
        "tests/series/test_resampling.py",
        "test_steps_are_those_of_pandas",
    ),
    "business days and offsets": (
        "tests/series/test_calendars.py",
        "test_times_go_on_as_by_the_offset_of_pandas",
    ),
    "frames in and out": (
        f"{FORECASTING}/test_tabular.py",
        "test_a_pandas_series_comes_back",
    ),
    "estimator of scikit-learn": (
        f"{FORECASTING}/test_estimators.py",
        "test_every_check_of_scikit_learn",
    ),
    "dropout, bidirectional layers": (
        f"{FORECASTING}/test_layer_options.py",
        "test_the_layers_are_those_that_were_asked_for",
    ),
    "carried state, live series by key": (
        "tests/cli/test_stream_command.py",
        "test_every_key_is_its_own_stream",
    ),
    "one portable file": (
        f"{FORECASTING}/test_ensemble.py",
        "test_the_file_opens_in_plain_keras_and_in_legato",
    ),
}


def table() -> list[list[str]]:
    """The rows of the table, a list of its cells each."""
    page = (ROOT / "docs/from-darts.md").read_text("utf-8")
    section = page.partition("## Beside Darts and sktime")[2].partition("\n## ")[0]
    rows = [re.split(r" \| ", line[2:-2]) for line in section.splitlines() if line[:2] == "| "]
    return rows[1:]


def test_every_row_has_a_test_and_a_cell_for_each_library():
    rows = table()
    assert [row[0] for row in rows] == [*TESTS]
    assert [row for row in rows if len(row) != 4] == []


@pytest.mark.parametrize("row", TESTS)
def test_the_test_of_a_row_exists(row):
    path, name = TESTS[row]
    assert f"def {name}(" in (ROOT / path).read_text("utf-8")


def test_options_that_the_table_names_are_those_of_the_commands():
    import inspect

    from legato.cli import main  # noqa: F401  the commands are made when it is loaded
    from legato.cli._stream_command import stream
    from legato.cli._train_command import train
    from legato.cli._trained_commands import forecast

    known = {
        name
        for command in (train, forecast, stream)
        for name in inspect.signature(command).parameters
    }
    named = {
        each.replace("-", "_").removeprefix("no_")
        for row in table()
        for each in re.findall(r"--([a-z-]+)", row[1])
    }
    assert len(named) > 12
    assert named - known == set()
