"""From a file to a forecast: nothing is learnt from what scores, and every number has two roads.

A forecaster of two columns over three shops, a teller of labels and a writer of letters are trained
once and asked by all; what they say is held against plain loops that feed one step after another.
"""

import csv
import json
import random
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import legato
from legato import Column, Forecast, InputError, OutputError, Sequences, Trained, train
from legato._forecasting.backtest import typical_change
from legato._forecasting.forecast import LEVELS

TINY = {"units": 3, "epochs": 2, "verbose": 0}
LENGTHS = {"north": 30, "south": 24, "east": 17}
LATER = 6  # months that come after those of the training file


def shops(months: int = 0, seed: int = 1) -> dict[str, list]:
    """Monthly sales of shops, so many months more than in training."""
    rng = np.random.default_rng(seed)
    table: dict[str, list] = {"shop": [], "month": [], "sold": [], "stock": []}
    for at, (name, length) in enumerate(LENGTHS.items()):
        walk = 50 * (at + 1) + rng.normal(0, at + 1, (60, 2)).cumsum(0)
        for step in range(length + months):
            month = np.datetime64("2019-01") + step
            for column, value in zip(table, (name, str(month), *walk[step]), strict=True):
                table[column].append(value)
    return table


def write(path: Path, table: dict[str, list]) -> Path:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(table)
        rows.writerows(zip(*table.values(), strict=True))
    return path


SHOPS = {"group": "shop", "time": "month", "target": ["stock", "sold"], "horizon": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("trained")


@pytest.fixture(scope="module")
def sales(folder) -> Path:
    return write(folder / "sales.csv", shops())


@pytest.fixture(scope="module")
def seller(sales) -> Trained:
    """Forecasts both columns, named in another order than they stand in, two months ahead."""
    return train(sales, **SHOPS, **TINY)


TEXT = "the rain in spain falls mainly on the plain; " * 6


@pytest.fixture(scope="module")
def text(folder) -> Path:
    path = folder / "rain.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def writer(text) -> Trained:
    return train(text, **TINY, steps=30, learning_rate=0.05)


def machines(count: int = 12, seed: int = 3) -> Sequences:
    """Sequences with a label each."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(4, 8, count)
    labels = np.repeat(np.arange(count) % 2, lengths)
    columns = (Column("hum"), Column("state", ("good", "worn"), (0.0, 1.0)))
    values = np.column_stack([rng.normal(labels, 0.5), labels])
    return Sequences(values, lengths, columns, tuple(f"m{at} of {seed}" for at in range(count)))


@pytest.fixture(scope="module")
def teller() -> Trained:
    return train(machines(), **TINY, steps=4)


def bits(trained: Trained) -> list[bytes]:
    return [np.asarray(each).tobytes() for each in trained.model.get_weights()]


def led_alone(trained: Trained, values: np.ndarray) -> np.ndarray:
    """Answers at every step of one sequence (time steps, inputs), fed step by step."""
    trained.model.reset_states()
    steps = [trained.model.predict_on_batch(step[None, None])[0, 0] for step in values]
    trained.model.reset_states()
    return np.array(steps)


# Nothing is learnt from what scores.


def test_the_part_that_scores_leaves_no_trace_in_the_model(folder, seller):
    table = shops()
    for at in range(len(table["shop"])):
        length = LENGTHS[table["shop"][at]]
        step = [each for each in range(at + 1) if table["shop"][each] == table["shop"][at]]
        if len(step) > length - round(0.2 * length):
            table["sold"][at] = -1e4 * (at + 1)
            table["stock"][at] = 7e5 + at
    other = train(write(folder / "wild.csv", table), **SHOPS, **TINY)
    assert bits(other) == bits(seller)
    assert other.task == seller.task
    assert other.pad == seller.pad
    assert other.known["seen"] == seller.known["seen"]
    assert other.known["scores"]["model"]["mae"] > 100 * seller.known["scores"]["model"]["mae"]
    for name in ("scaling", "change"):
        told = [each.model.get_layer(name).get_config() for each in (other, seller)]
        assert repr(told[0]) == repr(told[1])


def test_scaling_is_that_of_the_training_part(sales, seller):
    sequences = legato.read(sales, group="shop", time="month")
    learnt = [
        sequences.of(at)[: length - round(0.2 * length)]
        for at, length in enumerate(LENGTHS.values())
    ]
    config = seller.model.get_layer("scaling").get_config()
    values = np.concatenate(learnt).astype("float32").astype("float64")
    np.testing.assert_allclose(np.ravel(config["mean"]), values.mean(0), rtol=1e-6)
    np.testing.assert_allclose(np.ravel(config["variance"]), values.var(0), rtol=1e-5)
    changes = [
        np.concatenate([part[t + 1][::-1] - part[t][::-1], part[t + 2][::-1] - part[t][::-1]])
        for part in learnt
        for t in range(len(part) - 2)
    ]
    config = seller.model.get_layer("change").get_config()
    np.testing.assert_allclose(np.ravel(config["mean"]), np.mean(changes, 0), rtol=1e-4, atol=1e-5)


# Scores.


def slow_scores(trained: Trained, sequences: Sequences, begins, season: int) -> dict[str, float]:
    """Mean absolute errors of the walk forward, one origin at a time."""
    errors: dict[str, list] = {"model": [], "persistence": [], "seasonal": []}
    for at, begin in enumerate(begins):
        own = sequences.of(at)
        answers = led_alone(trained, own.astype("float32"))
        own = own[:, [1, 0]]  # the targets, in their order
        for t in range(max(begin, 1) - 1, len(own) - 2):
            for ahead in (1, 2):
                truth, before = own[t + ahead], t + ahead - season
                predicted = answers[t].reshape(2, 2)[ahead - 1]
                errors["model"] += np.abs(predicted - truth).tolist()
                errors["persistence"] += np.abs(own[t] - truth).tolist()
                last = own[before] if before >= 0 else own[t]
                errors["seasonal"] += np.abs(last - truth).tolist()
    return {name: float(np.mean(each)) for name, each in errors.items()} | {
        "predictions": len(errors["model"]) // 4
    }


def as_one(scores: dict) -> dict[str, float]:
    beside = scores["baselines"]
    return {
        "model": scores["model"]["mae"],
        "persistence": beside["persistence"]["mae"],
        "seasonal": beside["seasonal persistence (12 steps)"]["mae"],
        "predictions": scores["predictions"],
    }


def test_scores_are_those_of_a_walk_forward(sales, seller):
    sequences = legato.read(sales, group="shop", time="month")
    begins = [length - round(0.2 * length) for length in LENGTHS.values()]
    expected = slow_scores(seller, sequences, begins, season=12)
    assert as_one(seller.known["scores"]) == pytest.approx(expected, rel=1e-5)


def test_the_training_file_scores_as_in_training(sales, seller):
    assert seller.evaluate(sales).as_numbers() == seller.known["scores"]


def test_a_file_that_goes_on_is_scored_on_all_that_is_new(folder, seller):
    longer = write(folder / "longer.csv", shops(LATER))
    sequences = legato.read(longer, group="shop", time="month")
    begins = [length - round(0.2 * length) for length in LENGTHS.values()]
    expected = slow_scores(seller, sequences, begins, season=12)
    assert as_one(seller.evaluate(longer).as_numbers()) == pytest.approx(expected, rel=1e-5)


def test_sequences_are_known_by_how_they_begin(seller):
    table = shops()
    whole = sum(length - 2 for length in LENGTHS.values())
    assert seller.evaluate(shops(seed=2)).predictions == whole
    seen = seller.evaluate(table).predictions
    renamed = table | {"shop": [name.upper() for name in table["shop"]]}
    assert seller.evaluate(renamed).predictions == seen
    table["sold"][0] += 1  # so the first shop is another
    assert seller.evaluate(table).predictions == seen - 5 + 28


def test_a_shortened_file_is_a_part_of_what_was_learnt(sales, seller):
    sequences = legato.read(sales, group="shop", time="month")
    shortened = sequences.between(0 * sequences.lengths, 0 * sequences.lengths + 8)
    with pytest.raises(InputError, match="holds nothing but what the model was trained on"):
        seller.evaluate(shortened)


def test_a_fresh_start_is_the_part_as_sequences_of_its_own(sales, seller):
    sequences = legato.read(sales, group="shop", time="month")
    begins = np.array([length - round(0.2 * length) for length in LENGTHS.values()])
    own = sequences.between(begins, sequences.lengths)
    fresh = seller.evaluate(sales, fresh=True)
    assert fresh.as_numbers() == seller.evaluate(own).as_numbers()
    expected = slow_scores(seller, own, [0, 0, 0], season=12)
    assert as_one(fresh.as_numbers()) == pytest.approx(expected, rel=1e-5)


def test_a_season_is_as_in_training_if_nothing_is_said(sales, seller):
    assert "seasonal persistence (12 steps)" in seller.evaluate(sales).baselines
    assert "seasonal persistence (3 steps)" in seller.evaluate(sales, season=3).baselines
    assert list(seller.evaluate(sales, season=0).baselines) == ["persistence"]


def test_nothing_is_scored_twice(sales, seller):
    sequences = legato.read(sales, group="shop", time="month")
    ends = np.array([length - round(0.2 * length) for length in LENGTHS.values()])
    with pytest.raises(
        InputError, match=r"sales\.csv holds nothing but what the model was trained"
    ):
        seller.evaluate(sequences.between(0 * ends, ends))


@pytest.mark.parametrize("whole", [True, False])
def test_labels_are_scored_where_they_are_asked_for(whole, teller):
    data = machines(seed=8)
    if not whole:
        teller = Trained(**{**teller.__dict__, "task": replace(teller.task, whole=False)})
    scores = teller.evaluate(data)
    right, asked = 0, 0
    for at in range(len(data)):
        answers = led_alone(teller, data.of(at)[:, :1].astype("float32"))
        labels = data.of(at)[:, 1].astype(int)
        for t in range(len(answers)):
            if t == len(answers) - 1 or not whole:
                asked += 1
                right += answers[t].argmax() == labels[t]
    assert (scores.predictions, scores.model.accuracy) == (asked, pytest.approx(right / asked))
    counts = teller.known["label_counts"]
    majority = np.argmax(counts)
    truth = data.values[data.offsets[1:] - 1, 1] if whole else data.values[:, 1]
    assert scores.baselines["majority"].accuracy == pytest.approx((truth == majority).mean())


def test_letters_are_scored_one_by_one(text, writer):
    begin = len(TEXT) - round(0.2 * len(TEXT))
    scores = writer.evaluate(text)
    codes = np.array([[ord(each)] for each in TEXT], "float32")
    answers = led_alone(writer, codes)[begin - 1 : -1]
    truth = [writer.task.labels.index(each) for each in TEXT[begin:]]
    assert scores.predictions == len(truth)
    assert scores.model.accuracy == pytest.approx((answers.argmax(1) == truth).mean())
    nats = -np.log(answers[np.arange(len(truth)), truth]).mean()
    assert scores.model.cross_entropy_nats == pytest.approx(nats, rel=1e-4)
    last = [TEXT[at - 1] == TEXT[at] for at in range(begin, len(TEXT))]
    assert scores.baselines["last label"].accuracy == pytest.approx(np.mean(last))
    assert scores.as_numbers() == writer.known["scores"]


# Training.


@pytest.mark.parametrize("framing", ["chunks", "runs"])
def test_a_seed_is_a_training_to_the_bit_and_nobody_elses_numbers_are_touched(framing):
    wave = {"wave": np.sin(np.arange(40) / 3)}
    options = {**TINY, "framing": framing, "steps": 4, "test": 0}
    made = []
    for seed in (1, 1, 2):
        random.seed(len(made))
        np.random.seed(len(made))
        kept, orders = random.getstate(), repr(np.random.get_state())
        made.append(bits(train(wave, **options, seed=seed)))
        assert random.getstate() == kept
        assert repr(np.random.get_state()) == orders
    assert made[0] == made[1]
    assert made[0] != made[2]


def test_early_stopping_finds_the_epochs_and_then_trains_on_all():
    rng = np.random.default_rng(4)
    noise = {"noise": rng.normal(size=40)}
    options = {**TINY, "learning_rate": 0.2, "test": 0}
    found = train(noise, **options | {"epochs": 12}, early_stop=2, validation=6)
    trial = found.known["training"]["trial"]
    losses = trial["history"]["val_loss"]
    best = trial["best_epochs"]
    assert best == np.argmin(losses) + 1
    assert len(losses) == min(best + 2, 12) < 12
    assert len(found.known["training"]["course"]["history"]["loss"]) == best
    assert bits(found) == bits(train(noise, **options | {"epochs": best}))


def test_a_label_may_stay_the_same_until_the_part_that_scores():
    """Whether a label is of the whole is settled on all data, not on what is left to learn from."""
    table = {
        "part": ["u"] * 10 + ["v"] * 10,
        "x": np.arange(20.0),
        "y": [*"kkkkkkkkkl", *"lllllllllk"],
    }
    trained = train(table, group="part", test=1, **TINY)
    assert not trained.task.whole
    assert trained.evaluate(table).predictions == 2


@pytest.mark.slow
def test_what_happened_far_back_is_told_only_if_state_is_carried():
    def signs(lengths, seed):
        rng = np.random.default_rng(seed)
        label = rng.integers(0, 2, len(lengths))
        signal = rng.normal(scale=0.3, size=lengths.sum())
        signal[np.cumsum(lengths) - lengths] = 2 * label - 1
        columns = (Column("signal"), Column("sign", ("minus", "plus"), (0.0, 1.0)))
        values = np.column_stack([signal, np.repeat(label, lengths)])
        return Sequences(
            values, lengths, columns, tuple(f"{at}/{seed}" for at in range(len(label)))
        )

    data = signs(np.random.default_rng(0).integers(12, 24, 80), 1)
    longer = signs(np.full(100, 60), 2)
    options = {"units": 6, "epochs": 150, "learning_rate": 0.02, "verbose": 0}
    carried = train(data, steps=4, **options)
    assert carried.evaluate(longer).model.accuracy == 1
    low, high = train(data, steps=4, stateful=False, **options).evaluate(longer).model.interval
    assert low < 0.5 < high


# Forecasts.


def test_intervals_are_from_errors_of_the_walk_in_usual_changes(sales, seller):
    sequences = legato.read(sales, group="shop", time="month")
    leads = 6  # steps of the longest part that scores, since it feeds itself
    errors: list[list] = [[] for _ in range(leads)]
    scale, led, places = [], [], []
    for at, length in enumerate(LENGTHS.values()):
        own = sequences.of(at)[:, [1, 0]]
        scale.append(np.mean([np.abs(own[t + 1] - own[t]) for t in range(length - 1)], axis=0))
        for t in range(length - round(0.2 * length) - 1, length - 1):
            history = sequences.of(at)[: t + 1]
            led.append(history)
            places.append((at, t, own))
    lengths = np.array([len(each) for each in led])
    found = seller.predict_ahead(np.concatenate(led), lengths, leads)
    for (at, t, own), predicted in zip(places, found, strict=True):
        for lead in range(min(leads, len(own) - 1 - t)):
            errors[lead].append((own[t + 1 + lead] - predicted[lead]) / scale[at])
    np.testing.assert_allclose(typical_change(sequences.values, sequences.lengths)[:, ::-1], scale)
    forecast = seller.forecast(sales, leads + 2)
    assert forecast.ends.shape == (2, 2, 3, leads + 2, 2)
    for lead, known in enumerate(errors):
        ordered = np.sort(known, axis=0)
        for level, ends in zip(LEVELS, forecast.ends[:, :, :, lead], strict=True):
            beyond = int((len(known) + 1) * (1 - level) / 2 + 1e-9)
            if not beyond:
                assert np.isnan(ends).all()
                continue
            for at in range(3):
                low, high = ordered[beyond - 1] * scale[at], ordered[-beyond] * scale[at]
                middle = forecast.values[at, lead]
                np.testing.assert_allclose(ends[:, at], [middle + low, middle + high], rtol=1e-4)
    assert np.isnan(forecast.ends[:, :, :, leads:]).all()
    assert not np.isnan(forecast.ends[0, :, :, 0]).any()
    assert np.isnan(forecast.ends[1]).all()  # 14 errors vouch for 80 %, and never for 95 %


def test_a_forecast_is_a_table(sales, seller):
    forecast = seller.forecast(sales, 3)
    table = forecast.columns()
    assert [*table] == [
        *("shop", "step", "month"),
        *("stock", "stock low 80 %", "stock high 80 %"),
        *("sold", "sold low 80 %", "sold high 80 %"),
    ]
    assert table["shop"] == [name for name in LENGTHS for _ in range(3)]
    assert table["step"] == [1, 2, 3] * 3
    after = [
        str(np.datetime64("2019-01") + length + step) + "-01"
        for length in LENGTHS.values()
        for step in range(3)
    ]
    assert table["month"] == after
    assert table["sold"] == forecast.values[:, :, 1].ravel().tolist()
    assert json.loads(json.dumps(table)) == table
    np.testing.assert_array_equal(seller.forecast(sales).values, forecast.values[:, :2])


@pytest.mark.parametrize(
    ("table", "group"),
    [
        ({"step": ["u", "v"], "x": [1.0, 2.0]}, "step"),
        ({"name": ["u", "v"], "step": [1.0, 2.0]}, "name"),
    ],
)
def test_a_column_called_step_hides_no_steps(table, group):
    before = legato.read(table, group=group)
    target = before.columns[0].name
    told = Forecast.after(before, (target,), np.ones((2, 3, 1)), None).columns()
    assert [*told] == [group, "steps ahead", target]
    assert told["steps ahead"] == [1, 2, 3, 1, 2, 3]


def test_without_a_part_that_scores_there_are_no_intervals():
    data = {"x": np.arange(20.0) ** 1.5}
    none = train(data, test=0, **TINY)
    assert none.forecast(data).ends is None
    assert [*none.forecast(data).columns()] == ["step", "x"]
    few = train(data, test=3, **TINY)
    assert np.isnan(few.forecast(data).ends).all()
    assert [*few.forecast(data).columns()] == ["step", "x"]


def test_labels_are_a_table(teller):
    data = machines(5, seed=6)
    told = teller.classify(data)
    assert told.columns()["sequence"] == list(data.names)
    assert [*told.columns()] == ["sequence", "label", "probability"]
    assert (told.steps, len(told)) == (None, 5)
    for at in range(5):
        answers = led_alone(teller, data.of(at)[:, :1].astype("float32"))
        np.testing.assert_allclose(told.probabilities[at], answers[-1], rtol=1e-5)
        assert told.labels[at] == ("good", "worn")[answers[-1].argmax()]
    without = {"hum": data.of(0)[:, 0]}
    assert teller.classify(without).labels == told.labels[:1]


def test_generating_again_compiles_nothing(writer, compiled):
    first = writer.generate(9, prompt="the", temperature=0.9, seed=1)
    before = compiled.count
    assert writer.generate(9, prompt="the", temperature=0.9, seed=1) == first
    writer.generate(9, prompt="the r", temperature=0.5, seed=2)
    assert compiled.count == before


def test_letters_follow_as_the_model_thinks_likely(writer):
    prompt = "the rain"
    history = [[ord(each)] for each in prompt]
    expected = ""
    for _ in range(7):
        answers = led_alone(writer, np.array(history, "float32"))[-1]
        expected += writer.task.labels[answers.argmax()]
        history.append([ord(expected[-1])])
    assert "".join(writer.generate(7, prompt=prompt, temperature=0)) == expected
    assert "".join(writer.generate(7, prompt=list(prompt), temperature=1e-320)) == expected
    drawn = writer.generate(40, prompt=prompt, seed=5)
    assert writer.generate(40, prompt=prompt, seed=5) == drawn
    assert writer.generate(40, prompt=prompt, seed=6) != drawn
    assert set(drawn) <= set(TEXT)
    assert writer.is_text
    most = max(sorted(set(TEXT)), key=TEXT.count)
    assert writer.generate(9, seed=1) == writer.generate(9, prompt=most, seed=1)


# Files.


@pytest.fixture(scope="module")
def saved(folder, seller) -> Path:
    path = folder / "seller.keras"
    seller.save(path)
    return path


def test_what_is_saved_is_what_is_opened(saved, sales, seller, writer, folder):
    again = Trained.load(saved)
    assert again.known == json.loads(json.dumps(seller.known))
    assert (again.task, again.shape, again.pad) == (seller.task, seller.shape, seller.pad)
    assert bits(again) == bits(seller)
    one, two = seller.forecast(sales, 5), again.forecast(sales, 5)
    assert one.values.tobytes() == two.values.tobytes()
    assert one.ends.tobytes() == two.ends.tobytes()
    assert again.evaluate(sales).as_numbers() == seller.known["scores"]
    writer.save(folder / "writer.keras")
    same = Trained.load(folder / "writer.keras")
    assert same.generate(20, prompt="a", seed=2) == writer.generate(20, prompt="a", seed=2)


def test_what_it_knows_stays_when_the_model_is_opened_and_saved(saved, folder, seller):
    legato.load_model(saved).save(folder / "again.keras")
    assert Trained.load(folder / "again.keras").known == Trained.load(saved).known
    with zipfile.ZipFile(folder / "again.keras") as archive:
        assert archive.namelist().count("legato.json") == 1


def test_saving_leaves_the_state_and_an_old_file_as_they_were(folder, seller, monkeypatch):
    path = folder / "kept.keras"
    seller.model.predict_on_batch(np.ones((2, 3, 2), "float32"))
    before = seller.model.states
    seller.save(path)
    assert seller.model.states == before
    content = path.read_bytes()
    monkeypatch.setitem(seller.known, "note", object())  # which JSON does not take
    with pytest.raises(TypeError, match="not JSON serializable"):
        seller.save(path)
    assert path.read_bytes() == content
    assert seller.model.states == before
    assert [each.name for each in folder.glob(".*")] == []
    seller.model.reset_states()


PLAIN = """
import sys
sys.modules["legato"] = None
import keras, numpy
model = keras.saving.load_model(sys.argv[1])
with numpy.load(sys.argv[2]) as answer:
    came = model.predict(answer["x"], verbose=0)
    numpy.testing.assert_allclose(came, answer["y"], rtol=1e-6)
model.save(sys.argv[3])
"""


def test_plain_keras_opens_it_and_what_plain_keras_saves_is_told_apart(
    saved, sales, seller, folder, monkeypatch
):
    x = legato.read(sales, group="shop", time="month").of(0)[None].astype("float32")
    seller.model.reset_states()
    np.savez(folder / "answers.npz", x=x, y=seller.model.predict(x, verbose=0))
    seller.model.reset_states()
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    files = [str(folder / each) for each in ("seller.keras", "answers.npz", "plain.keras")]
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with pytest.raises(InputError, match=r"plain\.keras is a model, but does not say what it was"):
        Trained.load(folder / "plain.keras")


def altered(path: Path, to: Path, text: str | None) -> Path:
    """The same model with another ``legato.json``."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(to, "w") as new:
        for name in old.namelist():
            if name != "legato.json":
                new.writestr(name, old.read(name))
        if text is not None:
            new.writestr("legato.json", text)
    return to


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda told: "{", r"cannot be read \(Expecting property name.*legato\.json in it was alt"),
        (lambda told: "[1, 2]", r"cannot be read \(it is a list\): legato\.json in it was altered"),
        (lambda told: "[]", "it is a list"),
        (lambda told: '"x"', "it is a str"),
        (lambda told: None, "is a model, but does not say what it was trained on"),
        (lambda told: "{}", "does not say what it was trained on"),
        (lambda told: told | {"format": "legato.trained.9"}, "does not say what it was trained on"),
        (lambda told: {"format": told["format"]}, r"cannot be read \(KeyError\('task'\)\)"),
        (lambda told: told | {"task": []}, "cannot be read .*: it was altered, or written"),
        (lambda told: told | {"shape": {"wings": 2}}, "cannot be read .*wings"),
        (lambda told: told | {"pad": None}, "cannot be read "),
        (lambda told: told | {"known": [3]}, "cannot be read "),
        (lambda told: told | {"known": {"seen": []}}, "it lacks label_counts, read, season"),
    ],
)  # fmt: skip
def test_what_was_altered_is_told_in_a_sentence(change, message, saved, folder):
    with zipfile.ZipFile(saved) as archive:
        told = change(json.loads(archive.read("legato.json")))
    text = told if told is None or isinstance(told, str) else json.dumps(told)
    path = altered(saved, folder / "altered.keras", text)
    with pytest.raises(InputError, match=message):
        Trained.load(path)


def test_a_damaged_part_is_told_in_a_sentence(saved, folder):
    content = bytearray(saved.read_bytes())
    with zipfile.ZipFile(saved) as archive:
        begin = archive.getinfo("legato.json").header_offset
    for at in (begin + 60, begin + 90):  # what cannot be unpacked, or has another checksum
        damaged = content.copy()
        damaged[at] ^= 255
        (folder / "damaged.keras").write_bytes(damaged)
        with pytest.raises(InputError, match=r"damaged\.keras is not a whole model file"):
            Trained.load(folder / "damaged.keras")


def test_files_that_cannot_be_are_refused(folder, seller):
    with pytest.raises(InputError, match=r"seller\.h5 does not end in \.keras"):
        seller.save(folder / "seller.h5")
    with pytest.raises(OutputError, match="cannot be written"):
        seller.save(folder / "nowhere" / "seller.keras")
    with pytest.raises(OutputError, match="cannot be read"):
        Trained.load(folder / "nothing.keras")


# What is refused.

WAVE = {"wave": np.sin(np.arange(30) / 3), "flat": np.full(30, 2.0)}
SHORT = {"name": [*"aaaaaaaaaabb"], "x": np.arange(12.0) ** 2}
SKY = {"x": np.arange(10.0), "sky": [*"ababababac"]}


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
def test_what_cannot_be_trained_is_refused(data, options, message):
    with pytest.raises(InputError, match=message):
        train(data, **{**TINY, **options})


def test_sequences_are_not_read_again():
    with pytest.raises(
        InputError, match=r"The data are Sequences, .* so group, columns cannot be gi"
    ):
        train(machines(), group="hum", columns=["hum"], **TINY)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda seller, writer, teller: writer.forecast(SKY), "trained to generate, not to"),
        (lambda seller, writer, teller: seller.generate(3), "trained to forecast, not to generate"),
        (lambda seller, writer, teller: seller.classify(SKY), "use forecast, or train another"),
        (lambda seller, writer, teller: seller.forecast(shops(), 0), "steps is 0; a number"),
        (lambda seller, writer, teller: writer.generate(3, temperature=-1), "temperature is -1; a"),
        (lambda seller, writer, teller: writer.generate(3, temperature=np.nan), "ature is nan"),
        (lambda seller, writer, teller: writer.generate(0), "length is 0; a whole number of"),
        (lambda seller, writer, teller: writer.generate(3, prompt="Z"), "The prompt holds 'Z'"),
        (lambda seller, writer, teller: seller.forecast({"sold": [1.0]}), "has no column 'shop'"),
        (lambda seller, writer, teller: teller.evaluate({"hum": [1.0, 2.0]}), "no column 'state'"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(ask, message, seller, writer, teller):
    with pytest.raises(InputError, match=message):
        ask(seller, writer, teller)


def test_further_than_the_horizon_takes_all_columns():
    data = {"rain": np.cos(np.arange(30.0)), "wave": WAVE["wave"]}
    trained = train(data, horizon=2, **TINY)
    assert trained.forecast(data).values.shape == (1, 2, 1)
    with pytest.raises(InputError, match=r"3 steps ahead .* looks 2 ahead: .* what rain will be"):
        trained.forecast(data, 3)


def test_a_window_that_is_too_short_has_no_answer():
    data = machines(seed=5)
    trained = train(machines(), framing="window", steps=4, **TINY)
    short = data.between(0 * data.lengths, np.where(np.arange(12) == 2, 3, data.lengths))
    with pytest.raises(InputError, match="Sequence 'm2 of 5' has 3 steps, and the model needs 4"):
        trained.classify(short)
    assert len(trained.classify(data)) == 12


def test_labels_that_look_like_numbers_are_labels_as_in_training():
    """A column of codes stays one where all that is left of it are digits."""
    data = {"x": np.arange(21.0) % 4, "code": ["12", "B7", "C9"] * 7}
    trained = train(data, target="x", **TINY)
    only = {"x": [1.0, 2.0], "code": ["12", "12"]}
    assert trained.forecast(only).values.shape == (1, 1, 1)


def test_labels_that_are_kept_alone_are_scored_as_wrong(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("abcabcabd" * 8 + "abxabcabd")
    trained = legato.train(path, test=9, units=3, epochs=1, verbose=0)
    assert trained.task.labels == ("a", "b", "c", "d")
    assert trained.known["data"]["notes"][0].startswith("1 step to be scored: the column")
    scores = trained.known["scores"]
    assert scores["classes"] == ["a", "b", "c", "d", "(not learnt from)"]
    assert (scores["predictions"], scores["recall"]["(not learnt from)"]) == (9, 0)
    with pytest.warns(UserWarning, match="holds 'x' in row 1, which was not learnt from"):
        again = trained.evaluate(path)
    assert again.as_numbers() == scores
    with pytest.raises(InputError, match="'x'"):
        trained.generate(2, prompt="abx")


def test_a_model_that_is_trained_on_knows_no_more_of_its_training(seller, tmp_path):
    path = tmp_path / "seller.keras"
    seller.save(path)
    model = legato.load_model(path)
    model.compile("sgd", "mse")
    model.fit(np.ones((1, 2, 2)), np.ones((1, 2, 4)), verbose=0)
    model.save(path)
    with pytest.raises(InputError, match="does not say what it was trained on"):
        legato.Trained.load(path)


def test_one_categorical_column_is_named_as_in_read():
    days = {"load": list(range(40)), "day": [at % 7 for at in range(40)]}
    plans = [
        legato.plan(days, target="load", categorical=named, task="forecast")
        for named in ("day", ["day"])
    ]
    assert [plan.task.inputs[1].is_numeric for plan in plans] == [False, False]
