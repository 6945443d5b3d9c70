"""Ensembles that label whole sequences: what they find, what they must not see, and their file."""

from functools import partial

import keras
import numpy as np
import pytest
from onnx_files import assert_exported

import legato
from legato import Column, InputError, Sequences
from legato._forecasting import label_ensemble, sequence_features, sequence_networks
from legato._forecasting.label_ensemble import LabelEnsembleTrainer
from legato._forecasting.sequence_networks import Readers
from legato._forecasting.task import infer_task
from legato._forecasting.train_config import TrainConfig

SMALL = (
    (sequence_networks, "UPDATES", 40),
    (sequence_features, "FILTERS", 200),
    (sequence_features, "LEAST_FILTERS", 200),
)
COUNT, LONGEST = 30, 20


def small(patch: pytest.MonkeyPatch, seeds: int = 1) -> None:
    for module, name, value in SMALL:
        patch.setattr(module, name, value)
    patch.setattr(label_ensemble, "Readers", partial(Readers, seeds=seeds))


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    small(monkeypatch)


def bumps(count: int = COUNT, seed: int = 0, labels=None) -> Sequences:
    """Noise of 10 to 20 steps in two columns and a mode; in half of them a bump in the first."""
    rng = np.random.default_rng(seed)
    bump = np.arange(count) % 2
    lengths = rng.integers(10, LONGEST + 1, count)
    lengths[0] = LONGEST
    labels = bump if labels is None else labels
    parts = []
    for at, length in enumerate(lengths):
        values = rng.normal(0, 0.4, (length, 2))
        begin = rng.integers(0, length - 5)
        values[begin : begin + 5, 0] += bump[at] * np.array([1.0, 3.0, 5.0, 3.0, 1.0])
        mode = rng.integers(0, 3, length)
        parts.append(np.column_stack([values, mode, np.full(length, labels[at])]))
    columns = (
        Column("x"),
        Column("y"),
        Column("mode", ("on", "off", "idle"), (0.0, 1.0, 2.0)),
        Column("state", ("flat", "bump"), (0.0, 1.0)),
    )
    names = tuple(f"s{at}" for at in range(count))
    return Sequences(np.concatenate(parts), lengths, columns, names)


@pytest.fixture(scope="module")
def trained():
    with pytest.MonkeyPatch.context() as patch:
        small(patch, seeds=2)
        return legato.train(bumps(), verbose=0)


def fitter_of(data: Sequences) -> tuple:
    """What the cross-validation of an ensemble takes, and its function."""
    task, config = infer_task(data, "classify"), TrainConfig(verbose=0)
    trainer = LabelEnsembleTrainer(int(data.lengths.max()), config)
    own = label_ensemble._Data(task, data)
    return trainer, own, label_ensemble._Fitter(own, trainer.readers, config)


# What it finds.


def test_a_planted_pattern_is_found_in_sequences_that_it_did_not_learn_from(trained):
    assert trained.shape.framing == "ensemble"
    found = trained.evaluate(bumps(60, seed=1))
    assert found.model.accuracy > 0.9
    assert found.model.cross_entropy_nats < 0.4


def test_every_sequence_is_scored_once_by_cross_validation(trained):
    scores = trained.scores
    assert scores["predictions"] == COUNT
    assert scores["model"]["accuracy"] > 0.8
    assert np.sum(scores["confusion"], 1).tolist() == [COUNT // 2] * 2
    assert trained.known["refit"]
    assert trained.known["backtest"]["sequence"] == [*range(COUNT)]
    assert trained.known["label_counts"] == [COUNT // 2] * 2
    members = trained.known["training"]["course"]["ensemble"]["members"]
    assert [each["name"] for each in members] == [*label_ensemble.MEMBERS]


def test_probabilities_add_up_to_1(trained):
    found = trained.classify(bumps(9, seed=2)).probabilities
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
    assert (found > 0).all()


def test_an_onnx_file_finds_the_same_and_carries_no_state(trained, tmp_path):
    data = bumps(9, seed=2)
    rows = np.full((9, LONGEST, len(trained.task.inputs)), trained.pad, "float32")
    for at, row in enumerate(rows):
        own = data.of(at)[:, : rows.shape[2]]
        row[LONGEST - len(own) :] = own
    assert assert_exported(trained.model, tmp_path, rows).first == {}


def test_one_seed_gives_one_ensemble(trained, monkeypatch):
    small(monkeypatch, seeds=2)
    again = legato.train(bumps(), verbose=0)
    for one, other in zip(again.model.get_weights(), trained.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


# What it must not see.


def test_labels_drawn_at_random_are_scored_as_chance():
    labels = np.random.default_rng(8).permutation(np.arange(60) % 2)
    found = legato.train(bumps(60, labels=labels), verbose=0).scores
    assert found["model"]["interval"][0] < 0.5 < found["model"]["interval"][1]
    assert found["model"]["cross_entropy_nats"] < 0.8  # and the probabilities know it
    assert "not distinguishable" in found["verdict"]


def test_a_label_has_no_influence_on_the_members_that_it_scores(monkeypatch):
    def halves(labels, seed):
        yield from np.split(np.arange(len(labels)), 2)

    monkeypatch.setattr(label_ensemble, "_parts", halves)
    answers = []
    for changed in (False, True):
        labels = np.arange(20) % 2
        labels[:2] = labels[1::-1] if changed else labels[:2]
        trainer, data, fitter = fitter_of(bumps(20, labels=labels))
        _, predicted, _ = trainer._label_unseen(data, fitter)
        answers.append(predicted)
    np.testing.assert_array_equal(answers[0][:, :10], answers[1][:, :10])
    assert np.abs(answers[0][:, 10:] - answers[1][:, 10:]).max() > 1e-3


def test_values_that_are_scored_have_no_influence_on_the_scaling():
    _, data, _ = fitter_of(bumps())
    learnt = np.arange(20)
    before = data.encode(learnt)[learnt]
    data.values[~data.steps_of(learnt), :2] *= 1000.0
    np.testing.assert_array_equal(data.encode(learnt)[learnt], before)


def test_every_label_is_spread_over_the_parts():
    labels = np.repeat([0, 1, 2], [25, 11, 1])
    parts = list(label_ensemble._parts(labels, 7))
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(37))
    for each in parts:
        counts = np.bincount(labels[each], minlength=3)
        assert counts[0] == 5
        assert 2 <= counts[1] <= 3


def test_of_many_sequences_one_part_is_held_out(monkeypatch):
    monkeypatch.setattr(label_ensemble, "FEW", 5)
    trained = legato.train(bumps(), verbose=0)
    assert trained.scores["predictions"] == 5
    assert trained.known["training"]["course"]["ensemble"]["parts"] == 1


# The same sequence has the same label.


def test_neither_order_nor_company_nor_padding_matters(trained):
    data = bumps(12, seed=3)
    found = trained.classify(data).probabilities
    order = np.random.default_rng(1).permutation(12)
    moved = trained.classify(data.select(order)).probabilities
    np.testing.assert_allclose(moved, found[order], rtol=1e-4, atol=1e-6)
    alone = trained.classify(data.select([4])).probabilities
    np.testing.assert_allclose(alone, found[4:5], rtol=1e-4, atol=1e-6)
    sequences = np.split(trained.inputs_of(data), data.offsets[1:-1])
    for before in (0, 7):
        steps = np.full((before, 3), trained.pad, "float32")
        one = np.concatenate([steps, sequences[4]])[None]
        direct = trained.model.predict(one, verbose=0)
        np.testing.assert_allclose(direct, alone, rtol=1e-4, atol=1e-6)


def test_a_sequence_longer_than_all_learnt_from_is_seen_as_a_whole(trained):
    values = np.random.default_rng(2).normal(0, 0.4, (3 * LONGEST, 2))
    values[:5, 0] += [1.0, 3.0, 5.0, 3.0, 1.0]  # further back than the longest
    long = {"x": values[:, 0], "y": values[:, 1], "mode": ["on"] * len(values)}
    bump = trained.classify(long).probabilities
    inputs = trained.inputs_of(trained.read(long, answered=False))
    direct = trained.model.predict(inputs[None], verbose=0)
    np.testing.assert_allclose(bump, direct, rtol=1e-4, atol=1e-6)


def test_the_file_opens_in_plain_keras_and_in_legato(trained, tmp_path):
    path = tmp_path / "bumps.keras"
    trained.save(path)
    data = bumps(5, seed=4)
    found = trained.classify(data).probabilities
    opened = legato.Trained.load(path)
    np.testing.assert_array_equal(opened.classify(data).probabilities, found)
    assert opened.evaluate(bumps(8, seed=5)).predictions == 8
    plain = keras.models.load_model(path)
    for at, own in enumerate(np.split(trained.inputs_of(data), data.offsets[1:-1])):
        answer = plain.predict(own[None], verbose=0)
        np.testing.assert_allclose(answer, found[at : at + 1], rtol=1e-4, atol=1e-6)


def test_a_live_sequence_gets_the_label_of_the_whole(trained):
    data = bumps(3, seed=6)
    pool, found = trained.streams(), trained.classify(data).probabilities
    for at in range(3):
        for step in trained.inputs_of(data.select([at])):
            answer = pool.feed({f"s{at}": step})[f"s{at}"]
        np.testing.assert_allclose(answer, found[at], rtol=1e-4, atol=1e-6)
    assert trained.decode(answer)["label"] in ("flat", "bump")


# Options.


def test_an_option_of_the_network_asks_for_a_single_one():
    data = bumps()
    assert legato.plan(data).shape.framing == "ensemble"
    assert legato.plan(data).refits
    for option in ({"units": 3}, {"epochs": 1}, {"framing": "chunks"}, {"early_stop": 1}):
        assert legato.plan(data, **option).shape.framing != "ensemble"
    planned = legato.plan(data, framing="ensemble", units=3, cell="gru")
    assert (planned.shape.units, planned.shape.cell) == (3, "gru")


@pytest.mark.parametrize("option", [{"test": 6}, {"refit": False}])
def test_a_test_part_is_set_aside_where_it_is_asked_for(option):
    found = legato.train(bumps(), verbose=0, **option)
    assert found.scores["predictions"] == 6
    assert found.known["data"]["split"] == "group"
    assert found.known["refit"] == ("refit" not in option)


def test_without_a_test_part_there_is_no_score():
    assert legato.train(bumps(12), verbose=0, test=0).scores == {}


def test_a_label_of_each_step_is_learnt_by_a_single_network():
    table = {"x": [0.0, 1.0] * 40, "sky": ["dry", "wet"] * 40}
    assert legato.plan(table, task="classify").shape.framing == "chunks"


# Bad and unusual input.


def test_a_label_of_one_sequence_and_sequences_of_one_step():
    data = bumps(14)
    ends = np.where(np.arange(14) < 6, 1, data.lengths)
    short = data.between(0 * ends, ends)
    place, last = short.place("state"), short.offsets[-2]
    values = short.values.copy()
    values[:, place] = 0.0
    values[short.offsets[3] : short.offsets[5], place] = 1.0
    values[last:, place] = 2.0
    columns = (*short.columns[:3], Column("state", ("a", "b", "c"), (0.0, 1.0, 2.0)))
    odd = Sequences(values, short.lengths, columns, short.names)
    trained = legato.train(odd, verbose=0)
    found = trained.classify(odd)
    assert np.isfinite(found.probabilities).all()
    assert trained.scores["recall"]["c"] == 0.0  # it was never learnt where it was scored
    assert trained.task.labels == ("a", "b", "c")


def test_few_sequences_train_a_single_network_and_are_no_ensemble():
    few = bumps(9)
    assert legato.plan(few).shape.framing == "chunks"
    with pytest.raises(InputError, match="There are 9 sequences, and an ensemble labels sequences"):
        legato.plan(few, framing="ensemble")


def test_sequences_that_would_take_too_much_memory_train_a_single_network(monkeypatch):
    monkeypatch.setattr(label_ensemble, "MAX_VALUES", COUNT * LONGEST * 3)
    assert legato.plan(bumps()).shape.framing == "ensemble"
    monkeypatch.setattr(label_ensemble, "MAX_VALUES", COUNT * LONGEST * 3 - 1)
    assert legato.plan(bumps()).shape.framing == "chunks"


def as_table(data: Sequences, labels) -> dict:
    """Sequences as columns by name, with a label for each sequence."""
    each = data.lengths
    names = np.repeat(data.names, each).tolist()
    return {"case": names, "x": data.values[:, 0], "label": np.repeat(labels, each).tolist()}


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.arange(COUNT) % 3, ("0", "1", "2")),
        (np.arange(COUNT) % 2 + 1.0, ("1", "2")),
        (np.arange(COUNT) % 2 == 0, ("false", "true")),
    ],
    ids=["whole numbers", "decimals that are whole", "booleans"],
)
def test_numbers_that_never_change_within_a_sequence_are_its_label(labels, expected, tmp_path):
    table = as_table(bumps(), labels)
    planned = legato.plan(table, group="case")
    assert (planned.task.kind, planned.task.whole) == ("classify", True)
    assert planned.task.labels == expected
    assert planned.data["notes"] == [
        "The numbers of 'label' never change within a sequence: they are read as its label."
    ]
    assert not legato.plan(table, group="case", task="classify").data["notes"]
    for given in ({"task": "forecast"}, {"horizon": 2}):
        with pytest.raises(
            InputError, match="never changes within a sequence, so there is nothing"
        ):
            legato.plan(table, group="case", **given)
    of_numbers = legato.read(table, group="case")
    with pytest.raises(InputError, match="never changes within a sequence, so there is nothing"):
        legato.plan(of_numbers)


def test_numbers_that_differ_in_every_sequence_are_no_labels():
    with pytest.raises(InputError, match="never changes within a sequence, so there is nothing"):
        legato.plan(as_table(bumps(), np.arange(COUNT)), group="case")
    with pytest.raises(InputError, match="holds quantities, and to classify, labels were expected"):
        legato.plan(as_table(bumps(), np.arange(COUNT) / 2), group="case", task="classify")


def test_a_label_that_changes_in_one_sequence_is_pointed_out():
    table = as_table(bumps(), np.where(np.arange(COUNT) % 2, "a", "b"))
    table["label"][1] = "a"
    planned = legato.plan(table, group="case")
    assert not planned.task.whole
    (note,) = planned.data["notes"]
    assert note.startswith("'label' changes within 1 of 30 sequences, 's0' first")


def test_rows_that_may_be_sequences_are_pointed_out():
    rows = {f"t{at}": np.arange(30.0) % (at + 2) for at in range(9)}
    labelled = {**rows, "label": list("ab" * 15)}
    (note,) = legato.plan(labelled).data["notes"]
    assert note.startswith("The columns 't0' to 't8' are numbered. If they are the time steps")
    assert "legato.Classifier" in note
    assert legato.plan({"label": np.arange(30) % 3, **rows}).data["notes"] == [note]
    named = {"at": np.arange(30), **labelled}
    assert not legato.plan(named, time="at").data["notes"]
    apart = {f"c{at * at}": rows["t0"] for at in range(9)}
    assert not legato.plan({**apart, "sold": rows["t1"]}).data["notes"]
    assert not legato.plan({"price": rows["t0"], **labelled}).data["notes"]


def test_a_column_that_may_name_the_sequences_is_noted():
    rows, names = np.arange(48) // 6, [f"walk{at}" for at in range(8)]
    table = {"id": [names[at] for at in rows], "x": np.sin(np.arange(48.0))}
    labelled = {**table, "label": ["ab"[at % 2] for at in rows]}

    def is_noted(data, **options) -> bool:
        begin = "All rows are one sequence, and each of the 8 values of 'id' is in rows that follow"
        notes = [each for each in legato.plan(data, **options).data["notes"] if "(--group" in each]
        assert all(each.startswith(begin) for each in notes)
        assert all(each.endswith("give it as group= (--group id).") for each in notes)
        return bool(notes)

    assert is_noted(labelled)
    assert is_noted({**labelled, "id": rows})
    assert is_noted({**table, "sold": table["x"]})
    assert not is_noted(labelled, group="id")
    assert not is_noted({"id": rows, "month": np.arange(48) % 6, "sold": table["x"]})  # as years
    assert not is_noted({**labelled, "id": rows, "label": [*"aab" * 16]})  # changes within
    assert not is_noted({**labelled, "id": [names[at % 4] for at in rows]})  # in two places


def test_values_without_an_answer_are_named(trained):
    huge = bumps(2)
    huge.values[:, 0] = 1e30
    with pytest.raises(InputError, match="no answer for sequence 's0': its values are so large"):
        trained.classify(huge)


def test_one_label_only_is_refused():
    with pytest.raises(InputError, match="'state' is constant where the model would be trained"):
        legato.plan(bumps(labels=np.zeros(COUNT, int)))


def test_a_missing_value_is_named(trained):
    rows = {
        "case": ["a"] * 3 + ["b"] * 3,
        "x": [1.0, 2.0, None, 3.0, 4.0, 5.0],
        "label": list("pppqqq"),
    }
    with pytest.raises(InputError, match=r"row 2 .* 'x': the value is missing"):
        legato.train(rows, group="case", verbose=0)
    with pytest.raises(InputError, match="the value is missing"):
        trained.classify({"x": [1.0, None], "y": [1.0, 2.0], "mode": ["on", "on"]})
