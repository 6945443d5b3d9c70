"""After the score a network learns from all the data, and is the one that is kept.

The oracles: the kept network is that of a training without a test part, to the bit, and its scores
and intervals are those of a training that keeps the network that was scored.
"""

import json

import numpy as np
import pytest
from trained_examples import SHOPS, TEXT, TINY, labelled_machines, shop_sales, weight_bytes

import legato
from legato import InputError, Trained, report, train
from legato.report import _trained_text

REFIT = {**TINY, "refit": True}
LETTERS = {"character": [*TEXT.replace(" ", "_")]}


@pytest.fixture(scope="module")
def refitted(sales_file) -> Trained:
    return train(sales_file, **SHOPS, **REFIT)


def test_the_kept_forecaster_learnt_from_all_data_and_the_scores_are_of_one_that_did_not(
    sales_file, forecaster, refitted
):
    whole = train(sales_file, **SHOPS, **TINY, test=0)
    assert weight_bytes(refitted) == weight_bytes(whole)
    assert refitted.shape == whole.shape
    assert refitted.pad == whole.pad
    assert refitted.known["seen"] == whole.known["seen"]
    for name in ("scores", "intervals"):
        assert refitted.known[name] == forecaster.known[name]
    assert [each.known["refit"] for each in (refitted, forecaster, whole)] == [True, False, False]
    scored = forecaster.known["training"]["course"]["history"]
    assert refitted.known["training"]["scored"]["history"] == scored


def test_early_stopping_decides_once_and_its_epochs_are_those_of_both():
    data = {"x": np.sin(np.arange(40) / 3)}
    found = train(data, **{**REFIT, "epochs": 6}, early_stop=1, seed=2)
    epochs = found.known["training"]["trial"]["best_epochs"]
    whole = train(data, **{**TINY, "epochs": epochs}, test=0, seed=2)
    assert weight_bytes(found) == weight_bytes(whole)
    for name in ("course", "scored"):
        assert len(found.known["training"][name]["history"]["loss"]) == epochs


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize(
    ("data", "options"),
    [(labelled_machines(), {"steps": 4}), (LETTERS, {"steps": 30, "task": "generate"})],
)
def test_classifiers_and_generators_learn_from_all_sequences_and_steps(data, options):
    found = train(data, **REFIT, **options)
    whole = train(data, **TINY, **options, test=0)
    kept = train(data, **TINY, **options)
    assert weight_bytes(found) == weight_bytes(whole)
    assert found.known["label_counts"] == whole.known["label_counts"]
    assert found.known["scores"] == kept.known["scores"]


@pytest.mark.slow
def test_a_label_of_the_test_part_alone_is_known_to_the_kept_model():
    found = train({"character": [*("abcabcabd" * 8 + "abxabcabd")]}, test=9, **REFIT)
    assert found.task.labels == ("a", "b", "c", "d", "x")
    assert found.scores["classes"] == ["a", "b", "c", "d", "(not learnt from)"]
    assert len(found.generate(2, prompt="abx", seed=1)) == 2


def test_the_data_of_training_are_refused_with_the_way_to_the_score(sales_file, refitted):
    with pytest.raises(
        InputError,
        match=r"sales\.csv holds nothing but .* After its score it was trained on all of its data, "
        r"and legato show prints that score; .* refit=False \(--no-refit\) can be scored on its",
    ):
        refitted.evaluate(sales_file)
    assert refitted.evaluate(shop_sales(6)).predictions == 3 * 5  # of each shop's six new months


def test_a_single_new_step_is_scored_one_step_ahead(refitted):
    month = refitted.read(shop_sales(1))
    with pytest.warns(UserWarning, match="Only the next step is scored: .* the horizon of 2 steps"):
        scores = refitted.evaluate(month)
    ends = month.lengths - 1
    before = month.between(0 * ends, ends)
    ahead = refitted.forecast(before, 1).values[:, 0]
    came = refitted.truth(month)[month.offsets[1:] - 1]
    last = refitted.truth(before)[before.offsets[1:] - 1]
    assert (scores.predictions, scores.horizon) == (3, 1)
    assert scores.model.mae == pytest.approx(np.abs(ahead - came).mean(), rel=1e-5)
    assert scores.baselines["persistence"].mae == pytest.approx(np.abs(last - came).mean())


def test_the_summary_says_that_all_was_learnt(refitted, forecaster):
    lines = dict(_trained_text.summary_lines(refitted))
    assert lines["refit"] == "after the score on all 71 steps: the model that is kept"
    assert "refit" not in dict(_trained_text.summary_lines(forecaster))
    assert report.facts(refitted)["refit"] is True
    plans = [legato.plan(shop_sales(), **SHOPS, refit=each) for each in (True, False)]
    assert [report.plan_facts(each)["refit"] for each in plans] == [True, False]


def test_the_file_says_which_it_is_and_older_files_open(refitted, tmp_path):
    path = tmp_path / "shops.keras"
    refitted.save(path)
    assert Trained.load(path).known == json.loads(json.dumps(refitted.known))
    older = Trained(**{**refitted.__dict__, "known": {**refitted.known}})
    del older.known["refit"]
    older.save(path)
    assert Trained.load(path).evaluate(shop_sales(6)).predictions == 15
    older.known["refit"] = "yes"
    older.save(path)
    with pytest.raises(InputError, match="its 'refit' is not as it was written"):
        Trained.load(path)
