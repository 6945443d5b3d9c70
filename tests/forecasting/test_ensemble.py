"""The ensemble: one model equal to its members, trained as each alone, kept in one file."""

import keras
import numpy as np
import pytest
from onnx_files import assert_exported

import legato
from legato import InputError
from legato._forecasting import window_networks
from legato._forecasting.ensemble_layout import default_horizon, plan_layout
from legato._forecasting.ensemble_model import Limits, Member, build_ensemble
from legato._forecasting.linear_forecasters import LinearForecaster
from legato._forecasting.task import infer_task
from legato._forecasting.window_networks import Architecture, WindowNetworks
from legato.report._trained_text import summary_lines

HORIZON, WINDOW = 3, 9
OPTIONS = {"verbose": 0, "horizon": HORIZON}


def wave(steps: int = 72, seed: int = 0, size: float = 1.0) -> list[float]:
    rng = np.random.default_rng(seed)
    t = np.arange(steps)
    return (size * (9 + t / 30 + np.sin(t * np.pi / 2) + rng.normal(0, 0.2, steps))).tolist()


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(window_networks, "UPDATES", 8)
    monkeypatch.setattr(window_networks, "SAMPLES", 64)


@pytest.fixture(scope="module")
def months():
    start = np.datetime64("2015-01")
    return {"month": [str(start + 3 * at) for at in range(72)], "sold": wave()}


@pytest.fixture(scope="module")
def trained(months):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window_networks, "UPDATES", 8)
        patch.setattr(window_networks, "SAMPLES", 64)
        return legato.train(months, time="month", **OPTIONS)


def members_of(trained) -> list[dict]:
    return trained.known["training"]["course"]["ensemble"]["targets"][0]["members"]


# The model.


def random_member(rng, name: str, least: float | None = None) -> Member:
    matrix = rng.dirichlet(np.ones(WINDOW), HORIZON)
    return Member(name, LinearForecaster(name, matrix, rng.normal(0, 0.01, HORIZON)), least)


def test_fewer_steps_than_the_window_are_answered_as_in_a_forecast(trained, months):
    few = np.array(months["sold"][:5], "float32")
    answers = trained.model.predict(few[None, :, None], verbose=0)[0]
    data = {name: values[:5] for name, values in months.items()}
    np.testing.assert_array_equal(answers, trained.forecast(data).values[0, :, 0])
    first = np.concatenate([np.full(99, few[0]), few])
    again = trained.model.predict(first[None, :, None], verbose=0)[0]
    np.testing.assert_allclose(answers, again, rtol=1e-5)


def test_an_onnx_file_forecasts_the_same_and_carries_no_state(trained, months, tmp_path):
    windows = np.array(months["sold"], "float32")[:60].reshape(2, 30, 1)
    windows[1, :9] = trained.pad
    assert assert_exported(trained.model, tmp_path, windows).first == {}


def test_the_model_is_the_weighted_sum_of_its_members(rng, tmp_path):
    task = infer_task(
        legato.read({"a": wave(seed=1), "b": wave(seed=2)}), "forecast", ["b", "a"], HORIZON
    )
    windows = rng.uniform(5, 15, (4, WINDOW, 2)).astype("float32")
    architecture = Architecture("gru", 3, 1, seeds=2, steps=6, season=4)
    networks = WindowNetworks(task, architecture, windows[:, -6:], True, 0.01, 1)
    networks.fit(windows[:, -6:], rng.uniform(5, 15, (4, HORIZON, 2)), verbose=0)
    first = [random_member(rng, "x"), random_member(rng, "y", 1e-3), Member("network", None)]
    second = [random_member(rng, "z", 1e-3), random_member(rng, "y", 1e-3)]
    weights = [{"x": 0.2, "y": 0.5, "network": 0.3}, {"y": 0.6, "z": 0.4}]
    model = build_ensemble(task, WINDOW, -99.0, [first, second], weights, networks)
    found = model.predict(windows, verbose=0).reshape(4, HORIZON, 2)
    b, a = windows[..., 1].astype(float), windows[..., 0].astype(float)
    by_network = networks.predict(windows[:, -6:])[..., 0]
    of_b = 0.2 * first[0].predict(b) + 0.5 * first[1].predict(b) + 0.3 * by_network
    of_a = 0.4 * second[0].predict(a) + 0.6 * second[1].predict(a)
    np.testing.assert_allclose(found, np.stack([of_b, of_a], -1), rtol=1e-5)
    assert_exported(model, tmp_path, windows)


@pytest.mark.parametrize(("is_single", "season"), [(True, 1), (False, 1), (False, 4)])
def test_networks_side_by_side_are_trained_as_each_alone(rng, is_single, season):
    task = infer_task(legato.read({"a": wave()}), "forecast", None, HORIZON)
    windows, truth = rng.normal(9, 1, (40, 7, 1)), rng.normal(9, 1, (40, HORIZON, 1))
    found = []
    for seeds in (1, 2):
        architecture = Architecture("simple", 3, 1, seeds=seeds, steps=7, season=season)
        networks = WindowNetworks(task, architecture, windows, is_single, 0.01, 5)
        networks.fit(windows, truth, verbose=0)
        found.append(networks.core.get_weights())
    alone, (*layers, kernel, bias, _, _) = found
    for one, beside in zip(alone, [*layers[:3], kernel, bias], strict=True):
        np.testing.assert_allclose(beside, one, atol=1e-4)
    assert not np.allclose(layers[0], layers[3], atol=1e-2)  # another seed


@pytest.mark.parametrize("is_single", [True, False])
def test_networks_of_another_series_have_the_same_programs(is_single, compiled):
    task = infer_task(legato.read({"a": wave()}), "forecast", None, HORIZON)
    rng = np.random.default_rng()  # numbers that no run before this one had
    new = []
    for _ in range(2):
        compiled.new = 0
        windows, truth = rng.normal(9, 1, (40, 7, 1)), rng.normal(9, 1, (40, HORIZON, 1))
        architecture = Architecture("simple", 5, steps=7, season=2)
        networks = WindowNetworks(task, architecture, windows, is_single, 0.01, 5)
        networks.fit(windows, truth, verbose=0)
        networks.predict(windows)
        new.append(compiled.new)
    assert new[1] == 0, new


def test_networks_are_trained_again_from_the_beginning(rng):
    task = infer_task(legato.read({"a": wave()}), "forecast", None, HORIZON)
    windows, truth = rng.normal(9, 1, (40, 7, 1)), rng.normal(9, 1, (40, HORIZON, 1))
    networks = WindowNetworks(task, Architecture("simple", 3, steps=7), windows, True, 0.01, 5)
    histories, predicted = [], []
    for _ in range(2):
        histories.append(networks.fit(windows, truth, verbose=0))
        predicted.append(networks.predict(windows))
        networks.fit(windows[:5], truth[:5] + 3, verbose=0)
    assert histories[0] == histories[1]
    np.testing.assert_array_equal(*predicted)


@pytest.mark.parametrize("samples", [40, 2000])
def test_networks_take_the_updates_that_their_learning_rate_falls_over(rng, samples):
    task = infer_task(legato.read({"a": wave()}), "forecast", None, HORIZON)
    windows, truth = rng.normal(9, 1, (samples, 7, 1)), rng.normal(9, 1, (samples, HORIZON, 1))
    networks = WindowNetworks(task, Architecture("simple", 3, steps=7), windows, True, 0.01, 5)
    networks.fit(windows, truth, verbose=0)
    assert int(networks.core.optimizer.iterations.value) == window_networks.UPDATES


def test_forecasts_of_networks_move_with_the_units_of_each_sequence(rng):
    task = infer_task(legato.read({"a": wave()}), "forecast", None, HORIZON)
    windows, truth = rng.normal(9, 1, (40, 7, 1)), rng.normal(9, 1, (40, HORIZON, 1))
    networks = WindowNetworks(task, Architecture(units=3, steps=7), windows, False, 0.01, 5)
    networks.fit(windows, truth, verbose=0)
    moved = networks.predict(500 + 20 * windows)
    np.testing.assert_allclose(moved, 500 + 20 * networks.predict(windows), rtol=1e-3)


def test_a_window_without_change_does_not_spoil_the_networks_of_others(rng, monkeypatch):
    """Sequences that turn back to their mean; after one window nothing had changed, and then it
    did, by more than a thousand times the changes of that window."""
    task = infer_task(legato.read({"a": wave()}), "forecast", None, HORIZON)
    monkeypatch.setattr(window_networks, "UPDATES", 600)
    windows, truth = rng.normal(9, 1, (60, 7, 1)), np.full((60, HORIZON, 1), 9.0)
    flat = np.full((1, 7, 1), 9.0)
    errors = []
    for more, come in [(flat, 9.0), (flat, 10.0)]:
        networks = WindowNetworks(task, Architecture(units=4, steps=7), windows, False, 0.01, 5)
        networks.fit(
            np.concatenate([windows, more]),
            np.concatenate([truth, come + 0 * truth[:1]]),
            verbose=0,
        )
        errors.append(np.abs(networks.predict(windows) - truth).mean())
    assert errors[1] < 1.5 * errors[0] < 0.6


# Training.


def test_quantities_are_forecast_by_an_ensemble_unless_a_network_is_asked_for(trained, months):
    assert trained.shape.framing == "ensemble"
    assert repr(trained) == "<Trained: forecast sold, ensemble>"
    assert trained.known["refit"]
    weights = [each["weight"] for each in members_of(trained)]
    assert abs(sum(weights) - 1) < 1e-6
    for option in ({"units": 3}, {"epochs": 1}, {"framing": "window"}, {"early_stop": 1}):
        assert legato.plan(months, time="month", **option).shape.framing != "ensemble"
    assert legato.plan(months, time="month", framing="ensemble", units=3).shape.units == 3


def test_its_scores_are_those_of_forecasts_it_did_not_learn_from(trained, months):
    scores = trained.scores
    assert scores["horizon"] == HORIZON
    assert scores["model"]["mae"] < scores["baselines"]["persistence"]["mae"]


def test_the_file_opens_in_plain_keras_and_in_legato(trained, months, tmp_path):
    path = tmp_path / "sold.keras"
    trained.save(path)
    found = trained.forecast(months).values
    window = np.array(months["sold"][-trained.shape.steps :], "float32")[None, :, None]
    plain = keras.models.load_model(path)
    np.testing.assert_allclose(plain.predict(window, verbose=0), found[..., 0], rtol=1e-5)
    np.testing.assert_array_equal(legato.Trained.load(path).forecast(months).values, found)


def test_a_live_sequence_gets_the_forecasts_of_the_whole(trained, months):
    stream = trained.model.stream(**trained.lookback)
    for value in months["sold"]:
        answer = stream.feed([value])
    np.testing.assert_allclose(answer, trained.forecast(months).values[0, :, 0], rtol=1e-5)


def test_before_a_short_history_its_first_value_is_repeated(trained, months):
    short = {name: each[-5:] for name, each in months.items()}
    start, missing = np.datetime64(short["month"][0]), trained.shape.steps - 5
    longer = {
        "month": [str(start - 3 * at) for at in range(missing, 0, -1)] + short["month"],
        "sold": [short["sold"][0]] * missing + short["sold"],
    }
    found = trained.forecast(short).values
    np.testing.assert_allclose(found, trained.forecast(longer).values, rtol=1e-5)


@pytest.mark.slow
def test_several_sequences_with_other_columns_and_two_targets():
    rng = np.random.default_rng(3)
    table = {
        "shop": np.repeat(["north", "south"], 60),
        "price": rng.uniform(1, 2, 120),
        "sold": [*wave(60, 1), *wave(60, 2, 50.0)],
        "stock": [*wave(60, 3, 1000.0), *wave(60, 4, 2000.0)],
    }
    target = ["stock", "sold"]
    trained = legato.train(table, group="shop", target=target, season=4, units=3, **OPTIONS)
    assert trained.shape.framing == "chunks"
    trained = legato.train(
        table, group="shop", target=target, season=4, framing="ensemble", units=3, **OPTIONS
    )
    found = trained.forecast(table).values
    last = [[2000 * 11, 50 * 11]]
    assert found.shape == (2, HORIZON, 2)
    np.testing.assert_allclose(found[1], np.repeat(last, HORIZON, 0), rtol=0.3)


def test_one_seed_gives_one_ensemble(trained, months):
    again = legato.train(months, time="month", **OPTIONS)
    for one, other in zip(again.model.get_weights(), trained.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_default_horizon_is_a_season_and_at_most_an_eighth(months):
    assert legato.plan(months, time="month").task.horizon == 4
    assert default_horizon(200, (12,)) == 12
    assert default_horizon(40, (12,)) == 5
    assert default_horizon(200, ()) == 12


def test_a_season_that_is_found_has_its_baseline(months):
    name = "seasonal persistence (4 steps)"
    found = legato.train({"sold": months["sold"]}, **OPTIONS, refit=False)
    assert name in found.scores["baselines"]
    for season in (0, 1):
        assert legato.plan({"sold": months["sold"]}, season=season).season is None


def test_windows_fit_into_what_is_learnt():
    for steps in [*range(6, 30), *range(30, 400, 7)]:
        for horizon in (1, 4, 12):
            for seasons in ((), (4,), (12,), (24, 168)):
                layout = plan_layout(steps, horizon, seasons)
                if layout is not None:
                    left = steps - layout.held_out
                    assert left >= layout.window
                    assert not layout.network_steps or left >= layout.network_steps + horizon
                    assert layout.held_out >= horizon
                    assert all(each <= layout.window for each in layout.seasons)


def months_of(steps: int) -> dict[str, list]:
    rng, t = np.random.default_rng(3), np.arange(steps)
    sold = 200 + 1.5 * t + 40 * np.sin(t * np.pi / 6) + rng.normal(0, 6, steps)
    start = np.datetime64("2015-01")
    return {"month": [str(start + each) for each in t], "sold": sold.tolist()}


@pytest.mark.parametrize("steps", [36, 42, 48, 54, 60, 61, 66, 72])
def test_a_year_ahead_from_few_years_uses_the_season(steps):
    planned = legato.plan(months_of(steps), time="month", horizon=12)
    assert planned.shape.framing == "ensemble"
    assert planned._ensemble.layout.seasons == (12,)
    kept = (planned._kept or planned._ensemble).layout
    assert kept.seasons == (12,)
    assert kept.window >= 22
    assert kept.network_steps >= 4
    if steps >= 42:
        assert kept.has_whole_seasons
    test = planned.data["test_steps"]
    assert 12 <= test <= max(14, steps // 5 + 1)


def test_a_year_ahead_from_three_years_is_better_than_the_year_before():
    sold = months_of(48)
    data = {name: values[:36] for name, values in sold.items()}
    trained = legato.train(data, time="month", horizon=12, verbose=0)
    truth, before = np.array(sold["sold"][36:]), np.array(data["sold"][-12:])
    error = np.abs(trained.forecast(data).values[0, :, 0] - truth).mean()
    assert error < 0.8 * np.abs(before - truth).mean()
    scored = trained.known["training"]["scored"]["ensemble"]
    assert scored["seasons"] == (12,)
    assert scored["networks"] is None  # too few steps for them
    _, alone, _ = legato.plan(data, time="month", horizon=12, verbose=0).train_scored()
    lines = dict(summary_lines(alone))
    assert lines["ensemble"] == "linear forecasters, on a window of 12 steps"
    assert lines["training"].endswith(" s")
    assert "lstm networks" in dict(summary_lines(trained))["ensemble"]
    assert dict(summary_lines(trained))["refit"].endswith("is kept, whose weights these are")


def test_holidays_do_not_move_the_week(rng):
    days = np.arange("2023-01-02", "2023-07-01", dtype="M8[D]")
    days = days[np.is_busday(days)]
    price = 400 + 20.0 * (np.arange(len(days)) % 5 == 4) + rng.normal(0, 1, len(days))
    open_ = ~np.isin(np.arange(len(days)), [33, 70, 95, len(days) - 7])
    data = {"day": days[open_].astype(str), "price": price[open_]}
    trained = legato.train(data, time="day", horizon=5, refit=False, verbose=0)
    assert trained.known["data"]["steps"] == len(days)
    assert any("keeps its place in the week" in note for note in trained.known["data"]["notes"])
    ahead = trained.forecast(data).values[0, :, 0]
    assert ahead.argmax() == 4  # from Monday to Friday
    assert ahead[4] > ahead[:4].max() + 10
    for option in ({"missing": "drop"}, {"framing": "chunks"}):
        assert legato.plan(data, time="day", **option).data["steps"] == open_.sum()


# Limits.


def test_a_member_that_explodes_is_limited_by_the_range_of_its_window(rng):
    task = infer_task(legato.read({"a": wave()}), "forecast", None, HORIZON)
    matrix = np.zeros((HORIZON, WINDOW))
    matrix[:, -1] = [3.0, 1e9, -1e9]
    member = Member("x", LinearForecaster("x", matrix, np.zeros(HORIZON)))
    windows = rng.uniform(5, 15, (4, WINDOW, 1)).astype("float32")
    for span in (0.0, 40.0):
        limits = [Limits(span)]
        model = build_ensemble(task, WINDOW, -99.0, [[member]], [{"x": 1.0}], None, limits)
        first, above, below = model.predict(windows, verbose=0).T
        low, high = windows.min((1, 2)), windows.max((1, 2))
        reach = 10 * np.maximum(high - low, span)
        np.testing.assert_allclose(first, 3 * windows[:, -1, 0], rtol=1e-6)
        np.testing.assert_allclose(above, high + reach, rtol=1e-5)
        np.testing.assert_allclose(below, low - reach, rtol=1e-5)


def test_a_target_that_was_never_negative_has_no_negative_forecast_unless_it_is_now(rng):
    task = infer_task(legato.read({"a": wave()}), "forecast", None, HORIZON)
    matrix = np.zeros((HORIZON, WINDOW))
    matrix[:, -1] = [1.0, -1.0, -1e9]
    member = Member("x", LinearForecaster("x", matrix, np.zeros(HORIZON)))
    windows = rng.uniform(5, 15, (4, WINDOW, 1)).astype("float32")
    windows[3, 2] = -7
    limits = Limits(0.0, 0.0)
    model = build_ensemble(task, WINDOW, -99.0, [[member]], [{"x": 1.0}], None, [limits])
    found = model.predict(windows, verbose=0)
    assert not found[:3, 1:].any()
    assert (found[3, 1:] < 0).all()
    series = windows[..., 0].astype(float)
    expected = np.clip(member.predict(series), *limits.around(series))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_counts_have_neither_negative_forecasts_nor_negative_ends(tmp_path):
    """Six steps ahead of a count that falls, on average, and rarely is above 0."""
    rng = np.random.default_rng(1)
    counts = {"v": rng.poisson(np.linspace(6, 0.1, 90)).astype(float)}
    trained = legato.train(counts, **OPTIONS)
    trained.save(tmp_path / "counts.keras")
    trained = legato.Trained.load(tmp_path / "counts.keras")
    found = trained.forecast(counts, 6, quantiles=[0.05, 0.9], paths=50, seed=1)
    assert found.values.min() >= 0
    for each in (found.ends, found.quantile_values, found.paths):
        assert each is not None
        assert each.min() == 0
        assert each.max() > 0.5
    ends = trained.diagnose({"v": [*counts["v"], *counts["v"][:20]]}).ends
    assert ends is not None
    assert ends.min() == 0
    below = {"v": counts["v"] - 1.0}  # of another sequence, which may be negative
    ends = trained.forecast(below).ends
    assert ends is not None
    assert ends.min() < 0


def test_members_of_logarithms_are_not_weighed_if_they_cannot_be_fitted_on_everything():
    grows = np.exp(np.arange(72) * 0.1 + np.sin(np.arange(72) * np.pi / 2))
    names = [each["name"] for each in members_of(legato.train({"v": grows}, **OPTIONS))]
    assert any("logarithms" in name for name in names)
    grows[-1] = 0.0
    trained = legato.train({"v": grows}, **OPTIONS)
    assert not any("logarithms" in each["name"] for each in members_of(trained))
    assert trained.forecast({"v": grows[:-1]}).values.min() > 0.3 * grows[-6:-1].min()


def test_a_series_that_takes_off_after_training_gives_no_error_beyond_all_measure():
    take_off = np.exp(np.maximum(np.arange(90) - 65, 0) * 0.5)
    scores = legato.train({"v": take_off}, **OPTIONS, refit=False).scores
    assert scores["model"]["mae"] < 20 * scores["baselines"]["persistence"]["mae"]


def test_forecasts_from_forecasts_that_grow_beyond_all_numbers_are_left_out_and_told(tmp_path):
    grows = {"v": np.exp(np.arange(60) * 0.3) * (-1.0) ** np.arange(60)}
    found = legato.train(grows, **OPTIONS).forecast(grows, 600)
    lost = np.isnan(found.values[0, :, 0])
    first = int(np.argmax(lost))
    assert np.isfinite(found.values[0, :first]).all()
    assert lost[first:].all()
    assert any(f"no forecast from step {first + 1} on" in note for note in found.notes)
    assert found.columns()["v"][-1] is None


def test_scores_are_those_of_the_outputs_at_every_step(trained, months):
    sequences = trained.read(months)
    values, at = trained.inputs_of(sequences), np.array([0, 3, 40, 71])
    every = trained.predict_steps(values, sequences.lengths)
    found = trained.predict_at(values, sequences.lengths, at)
    np.testing.assert_allclose(found, every[at], rtol=1e-5)


def test_forecasts_beyond_the_horizon_take_forecasts_for_values(trained, months):
    longer = {"month": list(months["month"]), "sold": list(months["sold"])}
    expected = []
    for _ in range(3):
        expected += trained.forecast(longer).values[0, :, 0].tolist()
        last = np.datetime64(longer["month"][-1])
        longer["month"] += [str(last + 3 * at) for at in range(1, HORIZON + 1)]
        longer["sold"] += expected[-HORIZON:]
    found = trained.forecast(months, 3 * HORIZON).values[0, :, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


# Bad input.


def test_data_too_short_for_an_ensemble_train_a_single_network():
    short = {"v": wave(6)}
    assert legato.plan(short).shape.framing == "chunks"
    with pytest.raises(InputError, match="has 6 steps, too few for an ensemble to forecast"):
        legato.plan(short, framing="ensemble")


@pytest.mark.parametrize("option", [{"steps": 5}, {"rows": 2}, {"epochs": 3}, {"early_stop": 2}])
def test_what_an_ensemble_chooses_itself_is_refused(option, months):
    (name,) = option
    with pytest.raises(InputError, match=f"An ensemble chooses .* itself, and {name} came with it"):
        legato.plan(months, time="month", framing="ensemble", **option)


def test_an_ensemble_of_labels_is_refused():
    with pytest.raises(InputError, match="The task is to generate, and an ensemble forecasts"):
        legato.plan({"letter": list("abcde") * 20}, framing="ensemble")
