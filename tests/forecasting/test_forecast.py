"""Forecasts as tables, with and without prediction intervals."""

import json

import numpy as np
import pytest
from trained_examples import LENGTHS, TINY

import legato
from legato import Forecast, InputError, train


def test_columns_of_a_forecast(sales_file, forecaster):
    forecast = forecaster.forecast(sales_file, 3)
    table = forecast.columns()
    assert [*table] == [
        *("shop", "step", "month"),
        *("stock", "stock low 80 %", "stock high 80 %", "stock low 95 %", "stock high 95 %"),
        *("sold", "sold low 80 %", "sold high 80 %", "sold low 95 %", "sold high 95 %"),
    ]
    assert table["shop"] == [name for name in LENGTHS for _ in range(3)]
    assert table["step"] == [1, 2, 3] * 3
    after = [
        str(np.datetime64("2019-01") + length + step)
        for length in LENGTHS.values()
        for step in range(3)
    ]
    assert table["month"] == after
    sold = forecast.values[:, :, 1].ravel()
    np.testing.assert_array_equal(np.array(table["sold"], sold.dtype), sold)
    texts = [repr(each).lstrip("-0.").replace(".", "") for each in table["sold low 80 %"]]
    assert max(map(len, texts)) <= 9  # digits, where networks compute with 32 bits
    assert json.loads(json.dumps(table)) == table
    assert repr(forecast) == "<Forecast: stock, sold; 3 steps ahead of 3 sequences>"
    np.testing.assert_array_equal(forecaster.forecast(sales_file).values, forecast.values[:, :2])


@pytest.mark.parametrize(
    ("table", "group"),
    [
        ({"step": ["u", "v"], "x": [1.0, 2.0]}, "step"),
        ({"name": ["u", "v"], "step": [1.0, 2.0]}, "name"),
    ],
)
def test_a_column_named_step_does_not_hide_the_steps_ahead(table, group):
    before = legato.read(table, group=group)
    target = before.columns[0].name
    columns = Forecast.after(before, (target,), np.ones((2, 3, 1)), None).columns()
    assert [*columns] == [group, "steps ahead", target]
    assert columns["steps ahead"] == [1, 2, 3, 1, 2, 3]


@pytest.mark.parametrize("targets", [("low 80 %",), ("sequence", "sequence low 80 %", "step")])
def test_targets_named_like_other_columns_keep_their_names_and_values(targets):
    before = legato.read([np.arange(9.0), np.arange(8.0)])  # whose own names do not matter here
    values = np.arange(1.0, 1 + 2 * 3 * len(targets)).reshape(2, 3, -1)
    ends = np.stack([np.stack([-values, 100 + values])] * 2)
    forecast = Forecast.after(before, targets, values, ends)
    columns = forecast.columns()
    assert len(columns) == 2 + 5 * len(targets)
    for at, target in enumerate(targets):
        assert columns[target] == values[..., at].ravel().tolist()
    names = [*columns]
    assert names[0] == ("sequence name" if "sequence" in targets else "sequence")
    assert names[1] == ("steps ahead" if "step" in targets else "step")
    low = {"low 80 %": "low 80 % low 80 %", "sequence": "sequence low 80 % (2)"}[targets[0]]
    assert columns[low] == (-values[..., 0]).ravel().tolist()


def test_without_a_test_part_there_are_no_intervals():
    data = {"x": np.arange(20.0) ** 1.5}
    none = train(data, test=0, **TINY)
    assert none.forecast(data).ends is None
    assert [*none.forecast(data).columns()] == ["step", "x"]
    assert none.forecast(data).notes == (
        "There are no intervals: the model was trained without a test part, so its errors are not "
        "known; train with --test 0.2, the default.",
    )
    with pytest.raises(
        InputError, match=r"Quantiles come from intervals\. There are no intervals:"
    ):
        none.forecast(data, quantiles=[0.1])
    few = train(data, test=2, **TINY)
    assert np.isnan(few.forecast(data).ends).all()
    assert [*few.forecast(data).columns()] == ["step", "x"]
    assert few.forecast(data).notes[0] == (
        "There are no intervals: the test part gave 2 errors of the first step ahead, and 3 are "
        "needed; a larger one (--test) gives more."
    )
    three = train(data, test=3, **TINY)
    assert np.isfinite(three.forecast(data).ends).all()
    assert three.forecast(data).notes == ()


def test_quantiles_are_ends_of_intervals_and_stand_in_their_place():
    data = {"rain": np.cos(np.arange(60.0)), "wave": np.sin(np.arange(60) / 3)}
    trained = train(data, target=["rain", "wave"], horizon=2, **TINY)
    plain = trained.forecast(data, 3)
    asked = [0.025, 0.1, 0.3, 0.5, 0.9, 0.975]
    found = trained.forecast(data, 3, quantiles=asked)
    values = found.quantile_values
    assert (found.quantiles, values.shape) == (tuple(asked), (6, 1, 3, 2))
    np.testing.assert_allclose(values[[1, 4]], plain.ends[0], rtol=1e-6)
    np.testing.assert_allclose(values[[0, 5]], plain.ends[1], rtol=1e-6)
    np.testing.assert_array_equal(values[3], plain.values)
    assert (np.diff(values, axis=0) > 0).all()
    columns = found.columns()
    names = [f"{name} quantile {each:g}" for name in ("rain", "wave") for each in asked]
    assert [*columns] == ["step", "rain", *names[:6], "wave", *names[6:]]
    assert columns["wave quantile 0.3"] == pytest.approx(values[2, 0, :, 1], rel=1e-8)
    np.testing.assert_array_equal(found.ends, plain.ends)
    for wrong in ([0.9, 0.1], [0.1, 0.1], [0.0, 0.5], [0.1, 1.0], [80], [], ["a"], [np.nan], "x"):
        with pytest.raises(
            InputError, match=r"expected numbers from 0\.005 to 0\.995, in ascending"
        ):
            trained.forecast(data, quantiles=wrong)
    older = trained.known["intervals"]
    numbers = {**older, "ends": older["ends"][: 2 * len(older["ends"]) // older["shape"][0]]}
    del numbers["levels"]
    trained.known["intervals"] = {**numbers, "shape": [2, *older["shape"][1:]]}
    assert trained.forecast(data, quantiles=[0.1, 0.5, 0.975]).quantile_values.shape[0] == 3
    with pytest.raises(InputError, match=r"an earlier version and holds quantiles 0\.025, 0\.1"):
        trained.forecast(data, quantiles=[0.1, 0.3])


def test_forecasts_beyond_the_horizon_need_every_input_as_a_target():
    data = {"rain": np.cos(np.arange(30.0)), "wave": np.sin(np.arange(30) / 3)}
    trained = train(data, horizon=2, **TINY)
    assert trained.forecast(data).values.shape == (1, 2, 1)
    with pytest.raises(InputError, match=r"3 steps ahead .* looks 2 ahead: .* what rain will be"):
        trained.forecast(data, 3)


def test_sequences_that_never_change_have_no_part_in_the_intervals_of_others():
    walk = np.random.default_rng(2).normal(size=(2, 60)).cumsum(1) + 50
    shops = [*(["a"] * 60), *(["b"] * 60), *(["c"] * 60)]
    still = {"shop": shops, "sold": [*walk[0], *walk[1], *([7.0] * 60)]}
    trained = train(still, group="shop", target="sold", **TINY)
    found = trained.forecast(still)
    assert found.ends is not None
    assert np.isfinite(found.ends).all()
    halves = (found.ends[:, 1] - found.ends[:, 0])[:, :, 0, 0] / 2
    assert (halves[:, :2] > 0).all()
    assert (halves[:, 2] == 0).all()
    assert found.notes == ("The intervals of sequence 'c' have no width: it never changed.",)
    assert trained.known["intervals"]["errors"][0] == 24  # of the last 12 steps of two sequences
    few = {"shop": ["d"], "sold": [3.0]}
    one = trained.forecast(few)
    assert np.isnan(one.ends).all()
    assert one.notes == ("The intervals of sequence 'd' are not known: it has a single step.",)
