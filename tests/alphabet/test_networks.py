"""The six networks: samples as published, training, inspection.

The outputs of a network depend on its seed; the tests hold for any sensible training: the stateful
network recites the alphabet and, from a fresh state at K, answers as if the letter were A. The
accuracies over many seeds are in ``docs/alphabet.md``, with the command that makes them.
"""

import dataclasses
import json

import keras
import numpy as np
import pytest

import legato
from legato import alphabet, report
from legato.alphabet import LETTERS, NETWORKS


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("naive", (25, 1, 1)),
        ("window", (23, 1, 3)),
        ("steps", (23, 3, 1)),
        ("batch", (25, 1, 1)),
        ("stateful", (25, 1, 1)),
        ("variable", (1000, 5, 1)),
    ],
)
def test_samples_are_as_published(name, shape):
    (network,) = alphabet.find([name])
    samples = network.samples()
    assert samples.x.shape == shape
    assert samples.y.shape == (shape[0], 26)
    for pattern, target, x, y in zip(
        samples.patterns, samples.targets, samples.x, samples.y, strict=True
    ):
        assert pattern + target in LETTERS
        assert LETTERS[y.argmax()] == target
        assert y.sum() == 1
        codes = [LETTERS.index(letter) / 26 for letter in pattern]
        padded = [0.0] * (network.window - len(codes)) + codes
        np.testing.assert_allclose(x.ravel(), padded, rtol=1e-6)


def test_random_runs_cover_all_runs_of_allowed_length_and_no_others():
    spans = {(start, end) for start in range(24) for end in range(start, min(start + 5, 25))}
    expected = {LETTERS[start : end + 1] for start, end in spans}
    assert set(alphabet.random_runs(20_000, seed=3)) == expected


def test_networks_are_found_by_name_or_number():
    assert [each.name for each in alphabet.find(["5", "Naive"])] == ["naive", "stateful"]
    assert alphabet.find([]) == list(NETWORKS)
    with pytest.raises(legato.InputError, match="no network 'gru'; the six are 1 naive, 2 window"):
        alphabet.find(["1", "gru"])


@pytest.fixture(scope="module")
def stateful():
    (network,) = alphabet.find(["stateful"])
    return alphabet.train(network, seed=7)


def test_the_stateful_network_recites_and_starts_cold_as_published(stateful):
    _, outcome = stateful
    assert outcome.accuracy == 1.0
    recited, cold = outcome.answers.values()
    assert [answer for _, answer in recited] == list(LETTERS[1:])
    assert cold[0][0] == "K"
    assert [answer for _, answer in cold] == list("BCDEF")


def test_an_outcome_records_the_training(stateful):
    model, outcome = stateful
    assert len(outcome.history["loss"]) == 300
    assert outcome.steps_per_s > 0
    assert outcome.seconds > 0
    assert outcome.probabilities.shape == (26, 26)
    np.testing.assert_allclose(outcome.probabilities.sum(axis=1), 1, rtol=1e-5)
    assert model.states.rows == 0


def test_the_same_seed_gives_the_same_run(stateful):
    _, outcome = stateful
    _, again = alphabet.train(outcome.network, seed=7)
    assert again.history == outcome.history
    assert again.answers == outcome.answers


def test_training_in_two_parts_is_the_published_single_run(stateful):
    """``train`` compiles in a first epoch of its own; that changes no number."""
    _, outcome = stateful
    alphabet.plant(7)
    samples, model = outcome.network.samples(), outcome.network.build()
    history = model.fit(samples.x, samples.y, epochs=300, batch_size=1, verbose=0).history
    assert history == outcome.history


def test_files_contain_every_number(stateful, tmp_path):
    _, outcome = stateful
    paths = report.write([outcome], str(tmp_path))
    assert sorted(path.name for path in paths) == ["alphabet.json", "alphabet.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alphabet.json", "alphabet.png"]
    written = json.loads((tmp_path / "alphabet.json").read_text(encoding="utf-8"))
    (run,) = written["runs"]
    assert run["accuracy"] == outcome.accuracy
    assert run["history"]["loss"] == outcome.history["loss"]
    assert run["network"]["published_accuracy"] == 1.0
    assert np.shape(run["probabilities"]) == (26, 26)
    assert written["versions"]["legato"] == legato.__version__
    assert (tmp_path / "alphabet.png").read_bytes().startswith(b"\x89PNG")


def test_a_table_of_several_seeds_shows_their_spread(stateful):
    _, outcome = stateful
    lower = alphabet.Outcome(**{**vars(outcome), "accuracy": 0.96, "seed": 8})
    made = report.table([outcome, lower])
    cells = [next(iter(column.cells)) for column in made.columns]
    assert cells[:5] == [
        "5 stateful",
        "100.00 %",
        "98.00 ± 2.83 %",
        "96.0–100.0",
        "1 of 2",
    ]


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("name", ["naive", "batch", "stateful"])
def test_parallel_runs_equal_each_run_alone(name):
    (network,) = alphabet.find([name])
    network = dataclasses.replace(network, epochs=12)
    together = alphabet.train_all([network], [3, 4, 5])
    for seed, outcome in zip([3, 4, 5], together, strict=True):
        _, alone = alphabet.train(network, seed)
        for part in ("seed", "accuracy", "loss", "history", "answers"):
            assert getattr(outcome, part) == getattr(alone, part)
        np.testing.assert_array_equal(outcome.probabilities, alone.probabilities)
        assert outcome.steps_per_s > 0


def test_each_seed_has_its_own_random_runs():
    (network,) = alphabet.find(["variable"])
    network = dataclasses.replace(network, epochs=2, random_runs=30)
    begun = []
    together = alphabet.train_all([network], [3, 4], on_begin=begun.append)
    assert begun == [network]
    assert network.samples(3).patterns != network.samples(4).patterns
    for seed, outcome in zip([3, 4], together, strict=True):
        _, alone = alphabet.train(network, seed)
        assert (outcome.history, outcome.answers) == (alone.history, alone.answers)


# Inspection.


@pytest.fixture(scope="module", params=NETWORKS, ids=lambda network: network.name)
def inspected(request):
    """An untrained network and its inspection."""
    network = request.param
    alphabet.plant(7)
    model = network.build()
    return model, alphabet.look(model, network)


def test_an_inspection_covers_every_letter_with_a_successor(inspected):
    _, inspection = inspected
    assert inspection.letters == tuple(LETTERS[26 - 1 - len(inspection.patterns) : 25])
    assert all(pattern in LETTERS for pattern in inspection.patterns)
    longest = inspection.network.window
    assert {len(pattern) for pattern in inspection.patterns[longest - 1 :]} == {longest}


def test_influence_between_samples_is_zero_unless_state_is_carried(inspected):
    _, inspection = inspected
    matrix = inspection.influence.matrix
    assert (np.diag(matrix) > 0).all()
    earlier, later = np.tril(matrix, -1), np.triu(matrix, 1)
    assert not later.any()
    assert np.count_nonzero(earlier) == (300 if inspection.network.stateful else 0)


@pytest.mark.quick_cases(1)
def test_inspected_states_are_those_of_plain_keras(inspected):
    model, inspection = inspected
    network = inspection.network
    lstm = keras.layers.LSTM(network.units, return_state=True)
    x = network.encode(inspection.patterns)
    begun = [x.reshape(1, -1, x.shape[-1])[:, : at + 1] for at in range(len(x))]
    each = begun if network.stateful else x[:, None]
    lstm.build(each[0].shape)
    lstm.set_weights(model.layers[0].get_weights())
    for at, steps in enumerate(each):
        _, h, c = lstm(steps)
        np.testing.assert_allclose(inspection.held["h"][at], np.asarray(h)[0], atol=1e-6)
        np.testing.assert_allclose(inspection.held["c"][at], np.asarray(c)[0], atol=1e-6)


def test_the_trace_has_the_outputs_of_predict_and_leaves_the_model_unchanged(inspected):
    model, inspection = inspected
    assert model.states.rows == 0
    x = inspection.network.encode(inspection.patterns)
    predicted = model.predict(x, batch_size=inspection.network.batch_size, verbose=0)
    model.reset_states()
    last = inspection.trace.answers[x.shape[1] - 1 :: x.shape[1]]
    np.testing.assert_allclose(last, predicted, atol=1e-6)
