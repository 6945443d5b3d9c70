"""Covariates: what is known ahead is used, what is not is not, and the file records which."""

import keras
import numpy as np
import pytest
from onnx_files import assert_exported

import legato
from legato import InputError, UnsupportedError, report
from legato._forecasting import window_networks
from legato._forecasting.covariates import Covariates

HORIZON, STEPS = 4, 96
OPTIONS = {"time": "day", "target": "sold", "horizon": HORIZON, "verbose": 0, "refit": False}
START = np.datetime64("2026-01-01")


@pytest.fixture(scope="module", autouse=True)
def _short():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window_networks, "UPDATES", 8)
        patch.setattr(window_networks, "SAMPLES", 64)
        yield


def sales(seed: int, effect: float = 5.0, steps: int = STEPS, future: int = HORIZON) -> dict:
    """An autoregression plus an effect of promotions; the last rows have no sales yet."""
    rng = np.random.default_rng(seed)
    noise, level = rng.normal(0, 0.4, steps), np.zeros(steps)
    for at in range(1, steps):
        level[at] = 0.8 * level[at - 1] + noise[at]
    promo = (rng.random(steps) < 0.4).astype(float)
    promo[-HORIZON:] = [1, 0, 1, 1]
    sold = 20 + level + effect * promo
    return {
        "day": [str(START + at) for at in range(steps)],
        "promo": promo.tolist(),
        "rain": rng.random(steps - future).tolist() + [None] * future,
        "sold": sold.tolist()[: steps - future] + [None] * future,
        "truth": sold,
    }


def without(data: dict, *names: str) -> dict:
    return {name: values for name, values in data.items() if name not in names}


def panel(effects: dict[str, float]) -> dict:
    """Shops, each with its own effect of promotions and a region that never changes."""
    table: dict = {"shop": [], "region": []}
    for at, (shop, effect) in enumerate(effects.items()):
        own = sales(at, effect)
        table["shop"] += [shop] * STEPS
        table["region"] += ["east" if at % 2 else "west"] * STEPS
        for name, values in own.items():
            table.setdefault(name, []).extend(values)
    return table


@pytest.fixture(scope="module")
def data():
    return without(sales(3), "truth")


@pytest.fixture(scope="module")
def trained(data):
    return legato.train(data, **OPTIONS)


@pytest.fixture(scope="module")
def shops():
    return without(panel({"a": 5.0, "b": 5.0, "c": 5.0}), "truth")


@pytest.fixture(scope="module")
def chain(shops):
    return legato.train(shops, group="shop", **OPTIONS)


def mean_error(trained) -> float:
    return trained.scores["model"]["mae"]


# What it is worth.


def test_a_promotion_that_is_known_ahead_is_forecast(data, trained):
    ignored = legato.train(without(data, "promo"), **OPTIONS)
    assert 3 * mean_error(trained) < mean_error(ignored)
    found = trained.forecast(data).values[0, :, 0]
    truth = sales(3)["truth"][-HORIZON:]
    guess = ignored.forecast(without(data, "promo")).values[0, :, 0]
    assert 3 * np.abs(found - truth).mean() < np.abs(guess - truth).mean()
    effects = trained.known["training"]["course"]["ensemble"]["targets"][0]["known"]["effects"]
    assert effects["promo"] == pytest.approx(5, abs=0.5)


def test_a_promotion_is_forecast_through_a_panel(shops, chain):
    ignored = legato.train(without(shops, "promo"), group="shop", **OPTIONS)
    assert 3 * mean_error(chain) < mean_error(ignored)


def test_a_single_network_takes_columns_of_the_steps_ahead(data):
    options = {**OPTIONS, "units": 8, "epochs": 60, "learning_rate": 0.02}
    network = legato.train(data, **options)
    ignored = legato.train(without(data, "promo"), **options)
    assert 1.5 * mean_error(network) < mean_error(ignored)
    base = network.forecast(data).values
    changed = {**data, "promo": [*data["promo"][:-1], 1 - data["promo"][-1]]}
    assert not np.allclose(network.forecast(changed).values[0, -1], base[0, -1])


# What a forecast depends on.


def flip(values: list, *places: int) -> list:
    return [1 - value if at in places else value for at, value in enumerate(values)]


def origin_forecast(trained, data: dict, origin: int) -> np.ndarray:
    """The forecast of an origin, as a backtest of all the data has it."""
    sequences = trained.read(data)
    backtest = trained.backtest(sequences, np.array([60]), None)
    return backtest.predicted[list(backtest.t).index(origin)]


def test_no_forecast_of_a_backtest_depends_on_later_past_covariates(data, trained):
    base = origin_forecast(trained, data, 70)
    rain = [*data["rain"][:71], *(9.0 for _ in data["rain"][71:-HORIZON]), *[None] * HORIZON]
    np.testing.assert_array_equal(origin_forecast(trained, {**data, "rain": rain}, 70), base)


def test_a_forecast_of_a_backtest_depends_on_known_columns_of_its_steps(data, trained):
    base = origin_forecast(trained, data, 70)
    flipped = {**data, "promo": flip(data["promo"], 72)}
    changed = np.abs(origin_forecast(trained, flipped, 70) - base)[:, 0]
    assert changed[1] > 2
    assert changed[[0, 2, 3]].max() < 1e-4
    beyond = {**data, "promo": flip(data["promo"], 75)}
    np.testing.assert_array_equal(origin_forecast(trained, beyond, 70), base)


def test_rows_without_a_target_a_file_and_sequences_give_one_forecast(tmp_path, data, trained):
    found = trained.forecast(data)
    past = {name: values[:-HORIZON] for name, values in data.items()}
    future = {name: data[name] for name in ("day", "promo")}  # from the beginning on
    path = tmp_path / "future.csv"
    lines = zip(future["day"], future["promo"], strict=True)
    path.write_text("\n".join(["day,promo", *(f"{day},{promo}" for day, promo in lines)]))
    for given in (future, path, legato.read(future, time="day")):
        again = trained.forecast(past, HORIZON, future=given)
        np.testing.assert_array_equal(again.values, found.values)
        np.testing.assert_array_equal(again.times, found.times)


def test_the_number_of_steps_is_that_of_the_future_rows(data, trained):
    short = {name: values[:-2] for name, values in data.items()}
    assert trained.forecast(short).values.shape[1] == 2
    first = trained.forecast(data).values[:, :2]
    np.testing.assert_allclose(trained.forecast(short).values, first, rtol=1e-6)


def test_it_goes_on_beyond_the_horizon_where_all_is_known(data):
    options = {**OPTIONS, "horizon": 2}
    trained = legato.train(without(data, "rain"), **options)
    longer = trained.forecast(data).values
    assert longer.shape == (1, HORIZON, 1)
    changed = trained.forecast({**data, "promo": flip(data["promo"], STEPS - 1)}).values
    np.testing.assert_array_equal(changed[0, :-1], longer[0, :-1])
    assert abs(changed[0, -1, 0] - longer[0, -1, 0]) > 2


# Panels.


def test_columns_of_a_panel_are_told_apart_by_when_they_are_known(chain):
    assert chain.covariates == Covariates(("rain",), ("promo",), ("region",))


@pytest.mark.slow
def test_the_page_of_a_model_shows_what_comes_next(tmp_path, data, trained):
    trained.report(data, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "has no rows after its end" not in text
    assert f"{START + STEPS - 1}" in text  # the last step ahead, in the table


def test_a_summary_lists_them(capsys, chain):
    report.print_summary(chain)
    shown = capsys.readouterr().out
    assert "static    region" in shown
    assert "ahead     promo" in shown


def test_forecasts_of_a_panel_are_those_of_each_sequence(shops, chain):
    found = chain.forecast(shops).values
    for at, shop in enumerate("abc"):
        own = [each == shop for each in shops["shop"]]
        alone = {
            name: [value for value, is_own in zip(values, own, strict=True) if is_own]
            for name, values in shops.items()
        }
        np.testing.assert_allclose(chain.forecast(alone).values[0], found[at], rtol=1e-5)


def test_effects_in_proportion_to_the_size_of_each_sequence(rng):
    sizes = {"a": 1.0, "b": 30.0, "c": 900.0}
    shops = without(panel(dict.fromkeys(sizes, 5.0)), "rain", "region", "truth")
    shops["sold"] = [
        value and value * sizes[shop] - 10 * sizes[shop]
        for value, shop in zip(shops["sold"], shops["shop"], strict=True)
    ]
    trained = legato.train(shops, group="shop", **OPTIONS)
    found = trained.forecast(shops).values[..., 0]
    none = trained.forecast({**shops, "promo": _without_last(shops["promo"])}).values[..., 0]
    gaps = (found - none) / np.array([*sizes.values()])[:, None]
    np.testing.assert_allclose(gaps[:, [0, 2, 3]], 5, atol=1.5)
    np.testing.assert_array_equal(gaps[:, 1], 0)


def _without_last(promo: list) -> list:
    """Promotions of a panel, none in the last steps of each sequence."""
    table = np.array(promo).reshape(-1, STEPS)
    table[:, -HORIZON:] = 0
    return table.ravel().tolist()


# The calendar.


def test_a_weekday_and_a_holiday_are_known_by_the_time_alone(rng):
    calendar = pytest.importorskip("holidays").country_holidays("US")
    days = np.arange(np.datetime64("2024-01-01"), np.datetime64("2025-12-24"))
    holiday = np.array([day in calendar for day in days.tolist()])
    sold = 50 + rng.normal(0, 1, len(days)) - 30 * holiday
    data = {"day": days.astype(str).tolist(), "sold": sold.tolist()}
    options = {**OPTIONS, "season": 0, "calendar": "weekday", "holidays": "US", "test": 0}
    trained = legato.train(data, **options)
    found = trained.forecast(data, 3).values[0, :, 0]
    assert found[1] < min(found[0], found[2]) - 20  # on 25 December
    assert trained.covariates.calendar[:2] == ("weekday", "holiday")


# Files.


def test_the_file_keeps_it_and_plain_keras_opens_it(tmp_path, data, trained):
    trained.save(tmp_path / "m.keras")
    again = legato.Trained.load(tmp_path / "m.keras")
    found = trained.forecast(data).values
    assert again.covariates == trained.covariates
    np.testing.assert_array_equal(again.forecast(data).values, found)
    plain = keras.models.load_model(tmp_path / "m.keras")
    assert [each.name for each in plain.inputs] == ["steps", "ahead"]
    columns = [data[name][:-HORIZON] for name in ("promo", "rain", "sold")]
    steps = np.stack(columns, axis=-1)[None].astype("float32")
    ahead = np.array(data["promo"][-HORIZON:], "float32").reshape(1, HORIZON, 1)
    predicted = plain.predict([steps, ahead], verbose=0)
    np.testing.assert_allclose(predicted.ravel(), found.ravel(), rtol=1e-5)
    assert_exported(trained.model, tmp_path, steps, ahead)


def test_categories_are_known_ahead(data):
    kinds = {**without(data, "promo"), "kind": ["yes" if p else "no" for p in data["promo"]]}
    trained = legato.train(kinds, **OPTIONS, known="kind")
    found = trained.forecast(kinds).values
    changed = {**kinds, "kind": [*kinds["kind"][:-1], "no" if data["promo"][-1] else "yes"]}
    assert abs(trained.forecast(changed).values[0, -1, 0] - found[0, -1, 0]) > 2
    unknown = {**kinds, "kind": [*kinds["kind"][:-1], "perhaps"]}
    with pytest.raises(InputError, match="holds 'perhaps'"):
        trained.forecast(unknown)


# What does not fit.


def test_too_few_rows_of_the_future(data, trained):
    short = {name: values[:-1] for name, values in data.items()}
    with pytest.raises(InputError, match=r"To forecast 4 steps .* with promo .* has 3"):
        trained.forecast(short, HORIZON)
    past = {name: values[:-HORIZON] for name, values in data.items()}
    with pytest.raises(InputError, match=r"takes promo of the steps ahead.*no rows after its end"):
        trained.forecast(past)


def test_a_known_column_with_a_blank_in_the_future(data, trained):
    promo = [*data["promo"][:-1], None]
    with pytest.raises(InputError, match=r"'promo' .* has no value at 2026-04-06 \(row 95\)"):
        legato.plan({**data, "promo": promo}, **OPTIONS, known="promo")
    with pytest.raises(InputError, match=r"'promo' .* has no value at 2026-04-06 \(row 95\)"):
        trained.forecast({**data, "promo": promo})
    past = {name: values[:-HORIZON] for name, values in data.items()}
    future = {"day": data["day"][-HORIZON:], "promo": promo[-HORIZON:]}
    with pytest.raises(InputError, match=r"row 3.*must have a value at every step ahead: fill it"):
        trained.forecast(past, future=future)
    planned = legato.plan({**data, "promo": promo}, **OPTIONS)
    assert planned.covariates.known == ()
    assert any("not in every row: 'promo'" in note for note in planned.data["notes"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"known": "prmo"}, "no column 'prmo'.*Did you mean 'promo'"),
        ({"known": "sold"}, "'sold' is the target"),
        ({"static": "rain"}, "'rain' is named as static, and changes in the sequence"),
        ({"static": "promo", "known": "promo"}, "changes in the sequence"),
        ({"calendar": "moon"}, "'moon' is no calendar feature; hour, weekday"),
        ({"holidays": "XX"}, "'XX' is no country"),
        ({"calendar": "auto", "time": None, "columns": ["promo", "sold"]}, "no column of times"),
    ],
)
def test_what_is_named_wrongly_is_told(data, options, message):
    if "holidays" in options:
        pytest.importorskip("holidays")
    with pytest.raises(InputError, match=message):
        legato.plan(data, **{**OPTIONS, **options})


def test_rows_missing_between_the_end_and_the_future(data, trained):
    past = {name: values[:-HORIZON] for name, values in data.items()}
    late = {"day": [str(START + STEPS + 3 + at) for at in range(HORIZON)], "promo": [0.0] * HORIZON}
    with pytest.raises(
        InputError, match=r"is at \d{4}-\d\d-\d\d, .* at \d{4}-\d\d-\d\d: rows between are missing"
    ):
        trained.forecast(past, HORIZON, future=late)


def test_a_stream_cannot_be_fed_what_is_known_ahead(trained):
    with pytest.raises(UnsupportedError, match="takes promo of the steps ahead"):
        trained.streams()


def test_labels_have_no_known_columns(data):
    labels = {"load": [1.0, 2.0] * 20, "state": ["on", "off"] * 20}
    with pytest.raises(InputError, match="columns are known ahead of forecasts only"):
        legato.plan(labels, known="load", verbose=0)


def test_a_model_takes_names_with_commas_as_several(data):
    planned = legato.plan({**data, "price": data["promo"]}, **OPTIONS, known="promo, price")
    assert planned.covariates.known == ("promo", "price")
