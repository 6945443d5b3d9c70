"""``train`` and ``plan``: the test part does not influence the model; invalid data and options."""

import numpy as np
import pytest
from trained_examples import (
    LENGTHS,
    SHOPS,
    TINY,
    labelled_machines,
    shop_sales,
    weight_bytes,
    write_csv,
)

import legato
from legato import InputError, train
from legato._series.frequency import find_season


def test_the_test_part_does_not_influence_the_model(folder, forecaster):
    table = shop_sales()
    for at in range(len(table["shop"])):
        length = LENGTHS[table["shop"][at]]
        step = [each for each in range(at + 1) if table["shop"][each] == table["shop"][at]]
        if len(step) > length - round(0.2 * length):
            table["sold"][at] = -1e4 * (at + 1)
            table["stock"][at] = 7e5 + at
    other = train(write_csv(folder / "wild.csv", table), **SHOPS, **TINY)
    assert weight_bytes(other) == weight_bytes(forecaster)
    assert other.task == forecaster.task
    assert other.pad == forecaster.pad
    assert other.known["seen"] == forecaster.known["seen"]
    assert other.known["scores"]["model"]["mae"] > 100 * forecaster.known["scores"]["model"]["mae"]
    for name in ("scaling", "change"):
        configs = [each.model.get_layer(name).get_config() for each in (other, forecaster)]
        assert repr(configs[0]) == repr(configs[1])


def test_a_label_that_changes_only_in_the_test_part_has_a_prediction_at_every_step():
    """Whether a sequence has one label is decided on all data, not on the training part."""
    table = {
        "part": ["u"] * 10 + ["v"] * 10,
        "x": np.arange(20.0),
        "y": [*"kkkkkkkkkl", *"lllllllllk"],
    }
    trained = train(table, group="part", test=1, **TINY)
    assert not trained.task.whole
    assert trained.evaluate(table).predictions == 2


def test_categorical_takes_one_name_or_a_list():
    days = {"load": list(range(40)), "day": [at % 7 for at in range(40)]}
    plans = [
        legato.plan(days, target="load", categorical=named, task="forecast")
        for named in ("day", ["day"])
    ]
    assert [plan.task.inputs[1].is_numeric for plan in plans] == [False, False]


WAVE = {"wave": np.sin(np.arange(30) / 3), "flat": np.full(30, 2.0)}
SHORT = {"name": [*"aaaaaaaaaabb"], "x": np.arange(12.0) ** 2}


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (WAVE, {}, r"The target 'flat' is constant .*2\.0 in all 30 steps.* Name another"),
        (WAVE, {"target": "wav"}, r"no column 'wav'\. Did you mean 'wave'\? There are 'wave'"),
        (WAVE, {"target": "wave", "epochs": 0}, "epochs is 0; a whole number of at least 1"),
        (WAVE, {"target": "wave", "early_stop": -1}, "early_stop is -1; a whole number of at leas"),
        (WAVE, {"target": "wave", "early_stop": 1, "validation": 0}, "validation 0 leaves nothing"),
        (WAVE, {"target": "wave", "learning_rate": np.nan}, "learning_rate is nan; a number above"),
        (WAVE, {"target": "wave", "seed": -1}, "seed is -1; a whole number from 0 to"),
        (WAVE, {"target": "wave", "units": 0}, "units is 0; a whole number of at least 1"),
        (WAVE, {"target": "wave", "rows": 0}, "rows is 0; a whole number of at least 1"),
        (WAVE, {"target": "wave", "rows": 0, "framing": "window"}, "rows is 0; a whole number of"),
        (WAVE, {"target": "wave", "steps": 0, "framing": "window"}, "steps is 0; a whole number"),
        (WAVE, {"target": "wave", "season": -1}, "season is -1; a whole number of at least 0"),
        (WAVE, {"target": "wave", "test": -0.5}, r"test is -0\.5; a share below 1 or a whole"),
        (WAVE, {"target": "wave", "test": 0.99}, "'the dictionary' has length 30 and its test par"),
        (WAVE, {"target": "wave", "horizon": 30}, "'the dictionary' has length 30 and its test"),
        (WAVE, {"target": "wave", "horizon": 12, "test": 20},
         "has 10 steps to learn from, and to forecast 13 are needed: 1 to see and 12 ahead"),
        (WAVE, {"target": "wave", "framing": "window", "stateful": True}, "nothing to carry"),
        (WAVE, {"target": "wave", "framing": "window", "steps": 24, "test": 6},
         "has 24 steps to learn from, and to forecast 25 are needed"),
        (SHORT, {"group": "name"}, "Sequence 'b' has length 2 and its test part would take 1; at"),
        (SHORT, {"group": "name", "test": 0, "framing": "window", "steps": 3},
         r"Sequence 'b' has 2 steps to learn from, and a window takes 3\..* the 1 of 2 sequences"),
        (WAVE, {"target": "wave", "epochs": 9, "learning_rate": 1e30},
         r"The loss is no longer a number from epoch \d on.* smaller learning rate than 1e\+30"),
    ],
)  # fmt: skip
def test_invalid_data_and_options_are_refused(data, options, message):
    with pytest.raises(InputError, match=message):
        train(data, **{**TINY, **options})


def test_sequences_take_no_options_of_reading():
    with pytest.raises(
        InputError, match=r"The data are Sequences, .* so group, columns cannot be gi"
    ):
        train(labelled_machines(), group="hum", columns=["hum"], **TINY)


def test_a_season_is_not_looked_for_in_the_test_part(rng):
    values = rng.normal(size=200)
    values[160:] += 40 * np.sin(np.arange(40) * np.pi / 2)  # a season of 4 where nobody may look
    assert find_season(values) == 4
    assert find_season(values[:160]) is None
    assert legato.plan({"x": values}, horizon=4).season is None
    assert legato.plan({"x": values}, horizon=4, test=0).season == 4
    assert legato.plan({"x": values}, horizon=4, season=4).season == 4


def test_a_season_that_the_training_part_does_not_hold_has_no_baseline():
    month = [str(np.datetime64("2020-01") + at) for at in range(14)]
    data = {"month": month, "x": np.sin(np.arange(14.0))}
    assert legato.plan(data, time="month", horizon=2).season is None
    assert legato.plan(data, time="month", horizon=2, season=12).season == 12


def test_values_far_from_those_around_them_are_noted(rng):
    day = [f"{np.datetime64('2020-01-01') + at:}" for at in range(60)]
    table = {"day": day, "x": 100 + rng.normal(0, 1, 60), "y": rng.poisson(0.5, 60).astype(float)}
    assert legato.plan(table, time="day", target=["x", "y"]).data["notes"] == []
    table["x"][[7, 59]] = 9_000, -500
    (note,) = legato.plan(table, time="day", target=["x", "y"]).data["notes"]
    assert note == (
        "Far from the values around: 9000 of 'x' at 2020-01-08, and 1 more. The forecast, its "
        "score and its intervals depend on them: make errors empty, and fill them with --fill "
        "interpolate."
    )
    rare = np.where(rng.random(300) < 0.06, rng.lognormal(3, 1, 300), 0.0)  # how it is
    assert legato.plan({"x": rare}).data["notes"] == []
    panel = {"shop": ["a"] * 40 + ["b"] * 40, "x": rng.normal(0, 1, 80)}
    panel["x"][50] = 1e4
    (note,) = legato.plan(panel, group="shop").data["notes"]
    assert "10000 of 'x' at step 11 of 'b'. The" in note


@pytest.mark.parametrize("options", [{"horizon": 30, "test": 49}, {"horizon": 4, "test": 70}])
def test_a_single_network_in_place_of_an_ensemble_says_so(options):
    wave = {"x": np.sin(np.arange(80) / 3)}
    steps = options["horizon"]
    assert legato.plan(wave, **options).data["notes"] == [
        f"The longest sequence has 80 steps, too few for an ensemble to forecast {steps} steps "
        "ahead and be scored: a single network is trained in its place."
    ]
    assert legato.plan(wave, **options, framing="chunks").data["notes"] == []
    with pytest.raises(InputError, match=r"too few for an ensemble .* or test part \(--test\), or"):
        legato.plan(wave, **options, framing="ensemble")
    with pytest.raises(InputError, match="10 steps to learn from, and to forecast"):  # as train
        legato.plan({"x": wave["x"][:30]}, horizon=12, test=20)
