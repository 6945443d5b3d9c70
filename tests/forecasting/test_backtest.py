"""Scores and prediction intervals against plain loops over rolling origins.

The loops predict one step after another with the model on its own. Steps of the training part are
never scored.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from trained_examples import (
    LATER,
    LENGTHS,
    TEXT,
    TINY,
    labelled_machines,
    predict_step_by_step,
    shop_sales,
    write_csv,
)

import legato
from legato import InputError, Sequences, Trained
from legato._forecasting.backtest import usual_change
from legato._forecasting.prediction_intervals import independent_errors, pool_deviations


def rolling_origin_scores(
    trained: Trained, sequences: Sequences, begins, season: int
) -> dict[str, float]:
    """Mean absolute errors at rolling origins, one origin at a time."""
    errors: dict[str, list] = {"model": [], "persistence": [], "seasonal": []}
    for at, begin in enumerate(begins):
        own = sequences.of(at)
        answers = predict_step_by_step(trained, own.astype("float32"))
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


def main_numbers(scores: dict) -> dict[str, float]:
    beside = scores["baselines"]
    return {
        "model": scores["model"]["mae"],
        "persistence": beside["persistence"]["mae"],
        "seasonal": beside["seasonal persistence (12 steps)"]["mae"],
        "predictions": scores["predictions"],
    }


def test_scores_are_those_of_a_rolling_origin_loop(sales_file, forecaster):
    sequences = legato.read(sales_file, group="shop", time="month")
    begins = [length - round(0.2 * length) for length in LENGTHS.values()]
    expected = rolling_origin_scores(forecaster, sequences, begins, season=12)
    assert main_numbers(forecaster.known["scores"]) == pytest.approx(expected, rel=1e-5)


def test_the_training_file_scores_as_in_training(sales_file, forecaster):
    assert forecaster.evaluate(sales_file).as_numbers() == forecaster.known["scores"]


def test_a_longer_file_is_scored_on_all_its_new_steps(folder, forecaster):
    longer = write_csv(folder / "longer.csv", shop_sales(LATER))
    sequences = legato.read(longer, group="shop", time="month")
    begins = [length - round(0.2 * length) for length in LENGTHS.values()]
    expected = rolling_origin_scores(forecaster, sequences, begins, season=12)
    assert main_numbers(forecaster.evaluate(longer).as_numbers()) == pytest.approx(
        expected, rel=1e-5
    )


def test_sequences_are_recognized_by_their_first_steps(forecaster):
    table = shop_sales()
    whole = sum(length - 2 for length in LENGTHS.values())
    assert forecaster.evaluate(shop_sales(seed=2)).predictions == whole
    seen = forecaster.evaluate(table).predictions
    renamed = table | {"shop": [name.upper() for name in table["shop"]]}
    assert forecaster.evaluate(renamed).predictions == seen
    table["sold"][0] += 1  # the first shop is a new sequence now
    assert forecaster.evaluate(table).predictions == seen - 5 + 28


def test_a_shortened_training_file_leaves_nothing_to_score(sales_file, forecaster):
    sequences = legato.read(sales_file, group="shop", time="month")
    shortened = sequences.between(0 * sequences.lengths, 0 * sequences.lengths + 8)
    with pytest.raises(InputError, match="holds nothing but what the model was trained on"):
        forecaster.evaluate(shortened)


def test_a_fresh_start_scores_the_test_part_as_separate_sequences(sales_file, forecaster):
    sequences = legato.read(sales_file, group="shop", time="month")
    begins = np.array([length - round(0.2 * length) for length in LENGTHS.values()])
    own = sequences.between(begins, sequences.lengths)
    fresh = forecaster.evaluate(sales_file, fresh=True)
    assert fresh.as_numbers() == forecaster.evaluate(own).as_numbers()
    expected = rolling_origin_scores(forecaster, own, [0, 0, 0], season=12)
    assert main_numbers(fresh.as_numbers()) == pytest.approx(expected, rel=1e-5)


def test_the_season_is_as_in_training_by_default(sales_file, forecaster):
    assert "seasonal persistence (12 steps)" in forecaster.evaluate(sales_file).baselines
    assert "seasonal persistence (3 steps)" in forecaster.evaluate(sales_file, season=3).baselines
    assert list(forecaster.evaluate(sales_file, season=0).baselines) == [
        *("persistence", "drift", "line (12 steps)")
    ]


def test_origins_are_spread_over_the_test_part_and_say_what_is_missing():
    wave = {"x": np.sin(np.arange(60) / 3)}
    every = legato.train(wave, **TINY, horizon=3)
    five = legato.train(wave, **TINY, horizon=3, origins=5)
    assert (every.scores["predictions"], five.scores["predictions"]) == (10, 5)
    assert five.evaluate(wave).as_numbers() == five.scores
    sequences = legato.read(wave)
    answers = predict_step_by_step(five, sequences.values.astype("float32")).reshape(60, 3)
    truth = sequences.values[:, 0]
    errors = [abs(answers[t] - truth[t + 1 : t + 4]).mean() for t in (47, 49, 51, 54, 56)]
    assert five.scores["model"]["mae"] == pytest.approx(np.mean(errors), rel=1e-5)
    blocks = {"persistence": 3, "drift": 3, "line (12 steps)": 3}
    assert {name: each["blocks"] for name, each in five.scores["differences"].items()} == blocks
    notes = legato.plan(wave, horizon=3, origins=11).data["notes"]
    assert notes == [
        "11 origins were asked for, and the test part has 10 with 3 steps after them: a longer "
        "one (--test) gives more."
    ]


def test_the_training_part_alone_is_refused(sales_file, forecaster):
    sequences = legato.read(sales_file, group="shop", time="month")
    ends = np.array([length - round(0.2 * length) for length in LENGTHS.values()])
    with pytest.raises(
        InputError, match=r"sales\.csv holds nothing but what the model was trained"
    ):
        forecaster.evaluate(sequences.between(0 * ends, ends))


@pytest.mark.parametrize("whole", [True, False])
def test_labels_are_scored_at_the_last_step_or_at_every_step(whole, classifier):
    data = labelled_machines(seed=8)
    if not whole:
        classifier = Trained(
            **{**classifier.__dict__, "task": replace(classifier.task, whole=False)}
        )
    scores = classifier.evaluate(data)
    right, count = 0, 0
    for at in range(len(data)):
        answers = predict_step_by_step(classifier, data.of(at)[:, :1].astype("float32"))
        labels = data.of(at)[:, 1].astype(int)
        for t in range(len(answers)):
            if t == len(answers) - 1 or not whole:
                count += 1
                right += answers[t].argmax() == labels[t]
    assert (scores.predictions, scores.model.accuracy) == (count, pytest.approx(right / count))
    counts = classifier.known["label_counts"]
    majority = np.argmax(counts)
    truth = data.values[data.offsets[1:] - 1, 1] if whole else data.values[:, 1]
    assert scores.baselines["majority"].accuracy == pytest.approx((truth == majority).mean())


def test_letters_are_scored_at_every_step(text_file, generator):
    begin = len(TEXT) - round(0.2 * len(TEXT))
    scores = generator.evaluate(text_file)
    codes = np.array([[ord(each)] for each in TEXT], "float32")
    answers = predict_step_by_step(generator, codes)[begin - 1 : -1]
    truth = [generator.task.labels.index(each) for each in TEXT[begin:]]
    assert scores.predictions == len(truth)
    assert scores.model.accuracy == pytest.approx((answers.argmax(1) == truth).mean())
    nats = -np.log(answers[np.arange(len(truth)), truth]).mean()
    assert scores.model.cross_entropy_nats == pytest.approx(nats, rel=1e-4)
    last = [TEXT[at - 1] == TEXT[at] for at in range(begin, len(TEXT))]
    assert scores.baselines["last label"].accuracy == pytest.approx(np.mean(last))
    assert scores.as_numbers() == generator.known["scores"]


def test_labels_absent_from_training_are_scored_as_wrong(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("abcabcabd" * 8 + "abxabcabd")
    trained = legato.train(path, test=9, units=3, epochs=1, refit=False, verbose=0)
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


def changes_near(own: np.ndarray, t: int) -> np.ndarray:
    """The usual change of a sequence (steps, targets) at a step: a plain loop."""
    whole = np.mean([np.abs(own[at + 1] - own[at]) for at in range(len(own) - 1)], axis=0)
    recent = [np.abs(own[at] - own[at - 1]) for at in range(max(t - 23, 1), t + 1)]
    return (whole + np.mean(recent, axis=0)) / 2


def test_interval_ends_are_students_of_scaled_backtest_errors(sales_file, forecaster):
    sequences = legato.read(sales_file, group="shop", time="month")
    leads = 6  # steps of the longest test part, as its forecasts are recursive
    scale, histories, places = [], [], []
    for at, length in enumerate(LENGTHS.values()):
        own = sequences.of(at)[:, [1, 0]]
        scale.append(changes_near(own, length - 1))
        for t in range(length - round(0.2 * length) - 1, length - 1):
            histories.append(sequences.of(at)[: t + 1])
            places.append((at, t, own))
    lengths = np.array([len(each) for each in histories])
    found = forecaster.predict_ahead(np.concatenate(histories), lengths, leads)
    errors = np.full((len(places), leads, 2), np.nan)
    for row, (_, t, own) in enumerate(places):
        for lead in range(min(leads, len(own) - 1 - t)):
            errors[row, lead] = (own[t + 1 + lead] - found[row, lead]) / changes_near(own, t)
    forecast = forecaster.forecast(sales_file, leads + 3)
    assert forecast.ends.shape == (2, 2, 3, leads + 3, 2)
    known = [each[~np.isnan(each[:, 0])] for each in errors.swapaxes(0, 1)]
    known = [each for each in known if len(each) >= 3]  # (errors, targets) a lead
    assert [len(each) for each in known] == [14, 11, 8, 5, 3]
    free = independent_errors(errors[:, : len(known)], np.array([at for at, *_ in places]))
    deviations, degrees = pool_deviations(np.array([np.abs(own).mean(0) for own in known]), free)
    for level, ends in zip((0.8, 0.95), forecast.ends, strict=True):
        relative = [*(stats.t(degrees).ppf((1 + level) / 2) * deviations)]
        widest = np.max(relative, axis=0)
        for lead in range(len(known), leads + 3):
            relative.append(widest * np.sqrt((lead + 1) / len(known)))
        for lead, half in enumerate(relative):
            for at in range(3):
                middle = forecast.values[at, lead]
                expected = [middle - half * scale[at], middle + half * scale[at]]
                np.testing.assert_allclose(ends[:, at, lead], expected, rtol=1e-4)
    assert forecast.notes == (
        "The model was trained and scored for 2 steps ahead; beyond, forecasts are made from "
        "forecasts, and errors grow: to forecast 9 steps directly, and have their score, train "
        "with --horizon 9.",
        "Errors are known up to 5 steps ahead; intervals beyond are the widest of those, widened "
        "by the square root of the steps ahead.",
    )
    assert forecaster.forecast(sales_file).notes == ()


@pytest.mark.parametrize("season", [None, 3, 30])
def test_the_usual_change_is_that_of_the_whole_and_of_the_last_steps(rng, season):
    lengths = np.array([40, 1, 7, 35])
    values = rng.normal(size=(lengths.sum(), 2)).cumsum(0) * [1.0, 1e6]
    values[48:] = np.where(np.arange(35) < 5, np.arange(35), 4)[:, None]  # no change at its end
    sequence, t = np.array([0, 0, 0, 1, 2, 3]), np.array([39, 3, 0, 0, 6, 34])
    found = usual_change(values, lengths, sequence, t, season)
    reach = max(24, season or 0)
    for row, (which, step) in enumerate(zip(sequence, t, strict=True)):
        own = np.split(values, np.cumsum(lengths)[:-1])[which]
        changes = np.abs(np.diff(own, axis=0))
        whole = changes.mean(0) if len(changes) else np.full(2, np.nan)
        recent = changes[max(step - reach, 0) : step]
        expected = (whole + recent.mean(0)) / 2 if recent.any() else whole
        np.testing.assert_allclose(found[row], expected)
