"""The alphabet's questions: scores, and verdicts that follow the scores.

The quick ones are answered for real: the tests hold for any sensible training. Verdicts on other
scores are tested on made-up scores.
"""

import json
import pickle
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from forked import ForkedPython
from interrupting import interrupted
from typer.testing import CliRunner

import legato
from legato import alphabet, report
from legato._platform.wording import listed
from legato.alphabet import (
    LETTERS,
    _other_task_questions,
    _run_length_question,
    _state_questions,
    _window_questions,
)
from legato.alphabet._experiment import (
    Experiment,
    count_perfect,
    format_scores,
    prefix_sentence,
)
from legato.cli import app

# Trainings here run longer than they compile.
pytestmark = pytest.mark.usefixtures("optimized")

NAMES = "window perceptron batch prefix cold rows runs series labels".split()


@cache
def answered(name):
    (answer,) = alphabet.answer(alphabet.find_questions([name]), quick=True)
    return answer


def scores_of(answer):
    return {group.name: group.scores for group in answer.found.groups}


def test_each_question_of_the_published_text_has_a_name():
    assert [each.name for each in alphabet.QUESTIONS] == NAMES
    assert alphabet.find_questions([]) == list(alphabet.QUESTIONS)
    assert [each.name for each in alphabet.find_questions(["ROWS", "batch"])] == ["batch", "rows"]
    with pytest.raises(legato.InputError, match="no question 'row'; they are window, perceptron"):
        alphabet.find_questions(["cold", "row"])


@pytest.mark.slow
def test_carried_state_counts_letters_and_is_the_same_in_any_number_of_rows():
    cold, rows = answered("cold"), answered("rows")
    scores = scores_of(cold)
    assert cold.found.verdict == "holds in part"
    assert (scores["cold"] == 1 / 25).all()  # A alone
    assert (scores["after the letters before it"] == 1).all()
    assert "cold 1 (K → B), after the letters before it 25 (K → L)" in cold.found.sentence
    assert rows.found.verdict == "holds"
    for group in rows.found.groups[:3]:
        assert (group.scores == 1).all()
    assert cold.quick
    assert cold.seconds > 0


@pytest.mark.slow
def test_a_batch_does_not_learn_from_its_order():
    answer = answered("batch")
    scores = scores_of(answer)
    assert answer.found.verdict == "does not hold"
    assert "600 of 600 influences of one sample on another are exactly 0" in answer.found.sentence
    np.testing.assert_array_equal(scores["in order"], scores["in one other order"])
    assert scores["as many updates, batches of 1"].max() < 0.6


@pytest.mark.slow
def test_carried_state_equals_the_whole_prefix_with_masked_padding():
    answer = answered("prefix")
    scores = scores_of(answer)
    assert answer.found.verdict == "holds in part"
    np.testing.assert_array_equal(scores["state carried"], scores["its weights, masked prefixes"])
    assert scores["its weights, prefixes with zeros"].max() < 0.5


@pytest.mark.slow
def test_other_tasks_are_learnt_by_the_same_calls():
    series, labels = answered("series"), answered("labels")
    scores = scores_of(series)
    assert scores["network"].max() < scores["as a year before"]
    assert (scores_of(labels)["network"] > 0.75).all()
    assert labels.found.verdict == "holds"


@pytest.fixture
def short_trainings(monkeypatch):
    """A fifth of the epochs on random runs, and of the many on windows; those on every run are as
    many as ever."""
    variants = _run_length_question._variants

    def shortened(quick):
        return [
            replace(each, epochs=each.epochs // 5) if each.patterns else each
            for each in variants(quick)
        ]

    monkeypatch.setattr(_run_length_question, "_variants", shortened)
    monkeypatch.setattr(_window_questions, "_LONGER", _window_questions._LONGER // 5)


@pytest.mark.slow
@pytest.mark.usefixtures("short_trainings")
@pytest.mark.parametrize("name", ["window", "perceptron", "runs"])
def test_the_longer_questions_are_answered(name):
    answer = answered(name)
    for group in answer.found.groups:
        assert len(group.scores) > 1
        assert ((group.scores > 0) & (group.scores <= 1)).all()
    if name == "runs":
        assert (scores_of(answer)["each of the 114 runs once, as many updates"] > 0.98).all()


def test_the_simple_forecasts_are_those_of_the_months_kept():
    """By a plain loop over the months, without windows or logarithms."""
    series = _other_task_questions._PASSENGERS
    assert (len(series), series[0], series[-1]) == (144, 112, 432)
    errors = {"as last month": [], "as a year before": [], "grown as a year before": []}
    for month in range(115, 144):
        forecasts = (
            series[month - 1],
            series[month - 12],
            series[month - 1] * series[month - 12] / series[month - 13],
        )
        for name, forecast in zip(errors, forecasts, strict=True):
            errors[name].append(abs(forecast - series[month]))
    scores = scores_of(answered("series"))
    for name, each in errors.items():
        np.testing.assert_allclose(scores[name], np.mean(each))


def test_letters_are_in_order_or_two_are_exchanged():
    x, y = _other_task_questions._ordered_or_not(3)
    assert x.shape == (1000, 5, 1)
    assert y.sum(axis=0).tolist() == [500, 500]
    for letters, label in zip(x[..., 0], y.argmax(-1), strict=True):
        places = np.flatnonzero(letters != np.sort(letters))
        assert len(places) == 2 * label
        assert len(set(letters)) == 5
    other, _ = _other_task_questions._ordered_or_not(4)
    assert (x != other).any()


def test_prefixes_end_in_their_letter():
    for masking, padding in ((True, -1.0), (False, 0.0)):
        x = _state_questions._prefixes(masking)
        for at, row in enumerate(x[..., 0]):
            expected = [padding] * (24 - at) + [code / 26 for code in range(at + 1)]
            np.testing.assert_allclose(row, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "way",
    _run_length_question._variants(False) + _run_length_question._variants(True),
    ids=lambda w: w.name,
)
def test_runs_are_drawn_from_all_possible_runs(way):
    around = LETTERS * 2
    every = way.all_runs()
    assert len(set(every)) == len(every)
    assert max(map(len, every)) == way.longest
    for run in every:
        assert run in (around if way.loops else LETTERS[:-1])
    assert set(way.draw_runs(0)) <= set(every)
    assert way.network.samples_of(every[:3]).x.shape == (3, way.longest, 1)
    if way.patterns:
        assert way.draw_runs(1) != way.draw_runs(2)
        assert len(way.draw_runs(1)) == way.patterns


def test_runs_past_z_are_followed_by_the_letter_after():
    (network,) = alphabet.find(["variable"])
    samples = network.samples_of(["XYZ", "YZAB", "Z"])
    assert samples.targets == ["A", "C", "A"]


class MadeUpPredictions:
    """Stands for replicates: predictions that are right about these numbers of the samples."""

    def __init__(self, samples, counts):
        self._samples, self._counts = samples, counts

    def predict(self, x, batch_size=None):
        right = self._samples.y
        return np.stack([np.where(np.arange(len(x)) < k, right.T, 0).T for k in self._counts])


@pytest.mark.parametrize(
    ("window", "verdict", "lead"),
    [
        ([18, 19, 20, 19, 18, 20], "does not hold", "No: the window's accuracy (8"),
        ([22, 23, 23, 22, 23, 22], "holds", "Yes: the window's accuracy (9"),
        ([16, 23, 19, 22, 15, 20], "undecided", "Whether the window's accuracy (8"),
    ],
)
def test_the_window_s_verdict_follows_the_scores(monkeypatch, window, verdict, lead):
    naive, wide = alphabet.find(["naive", "window"])

    def train_network(self, what, network, n, **fit):
        counts = window if network.name == "window" else [20, 21, 22, 21, 20, 22]
        return MadeUpPredictions((naive if network.name == "naive" else wide).samples(), counts)

    monkeypatch.setattr(Experiment, "train_network", train_network)
    monkeypatch.setattr(_window_questions, "_MARGIN", 0.06)
    found = _window_questions._compare_window_with_naive(Experiment())
    assert found.verdict == verdict
    assert found.sentence.startswith(lead)
    naive_same = (np.array([20, 21, 22, 21, 20, 22]) - 2) / 23  # without A and B, where it is right
    np.testing.assert_allclose(found.groups[1].scores, naive_same)


@pytest.mark.parametrize(
    ("once", "longer", "more", "verdict"),
    [
        (1.0, 0.98, 1.0, "holds"),
        (1.0, 0.98, 0.99, "holds in part"),
        (0.97, 0.5, 1.0, "holds in part"),
        (0.97, 0.5, 0.99, "does not hold"),
    ],
)
def test_the_verdict_on_runs_follows_the_scores(once, longer, more, verdict):
    def every(score):
        return np.array([score, score])

    scores = {
        "as published": every(0.98),
        "200 patterns": np.array([0.7, 0.9]),
        "each of the 114 runs once, as many updates": every(once),
        "runs past Z, up to 26": every(longer),
        "64 units": every(more),
    }
    met = {"as published": 114.0, "200 patterns": 95.0}
    found = _run_length_question._summarize(scores, met, {"200 patterns": (0.99, 0.25)}, 2)
    assert found.verdict == verdict
    assert "which are 95 different runs, 80.0 ± 14.1 %" in found.sentence
    assert ("Fewer patterns do" in found.sentence) is (once > 0.98)
    assert "99.0 % on the runs among them and 25.0 % on the others" in found.remarks[0]


def test_scores_are_printed_with_their_spread():
    assert format_scores(np.array([0.5, 0.75])) == "62.5 ± 17.7 %"
    assert format_scores(np.array([1.0, 1.0])) == "100.0 %"
    assert count_perfect(np.array([1, 0.99, 1])) == "2 of 3 seeds"
    assert [listed("abc"[:count]) for count in (1, 2, 3)] == ["a", "a and b", "a, b and c"]
    assert prefix_sentence("No: ", "The end.") == "No: the end."
    assert prefix_sentence("", "The end.") == "The end."


@pytest.mark.parametrize("question", alphabet.QUESTIONS, ids=lambda each: each.name)
def test_what_a_question_trains_can_be_sent_to_another_process(question, monkeypatch):
    class Sent(Exception):  # noqa: N818  (no error)
        pass

    def send(self, message, build, X, y=None, **fit):
        received = pickle.loads(pickle.dumps((build, X, y)))
        assert received[0]().count_params() == build().count_params()
        raise Sent

    monkeypatch.setattr(Experiment, "train", send)
    with pytest.raises(Sent):
        question.experiment(Experiment(quick=True))


def test_an_experiment_reports_its_trainings():
    messages = []
    (network,) = alphabet.find(["naive"])
    Experiment(True, messages.append).train_network("two of them", network, 2, epochs=2)
    assert messages == ["two of them"]
    assert (Experiment(True).choose(1, 2), Experiment(False).choose(1, 2)) == (2, 1)


def made_up(verdict="does not hold"):
    groups = (
        alphabet.Group("one", np.array([0.5, 0.75])),
        alphabet.Group("other", np.array([1.0])),
    )
    compared = legato.compare([0.5, 0.75], [0.5, 1.0], unit="%")
    found = alphabet.Found(verdict, "It is [so].", groups, (compared,), ("As ever.",))
    question = alphabet.Question("why", "Why?", "Because.", lambda effort: found)
    return alphabet.Answer(question, found, True, 1.25)


def test_an_answer_is_printed_whole_or_in_brief(capsys):
    report.print_answer(made_up())
    whole = capsys.readouterr().out
    lines = [line.rstrip() for line in whole.splitlines()]
    assert lines[:6] == [
        "why · the claim does not hold",
        "question  Why?",
        "claimed   Because.",
        "answer    It is [so].",
        "also      As ever.",
        "took      1.2 s (quick: fewer seeds and settings)",
    ]
    assert lines[8].split() == "one 62.5 ± 17.7 % 50.0–75.0 2".split()
    assert lines[9].split() == "other 100.0 % 100.0–100.0 1".split()
    report.print_answer(made_up("undecided"), brief=True)
    assert capsys.readouterr().out == "why · undecided\n  It is [so].\n"


def test_an_answer_is_plain_numbers():
    facts = json.loads(json.dumps(report.answer_facts(made_up())))
    assert facts["scores"] == {"one": [0.5, 0.75], "other": [1.0]}
    assert (facts["question"], facts["verdict"], facts["quick"]) == ("why", "does not hold", True)
    assert facts["comparisons"][0]["finding"] == "undecided"


def test_the_command_answers_and_refuses_unknown_questions():
    done = CliRunner().invoke(app, ["alphabet", "questions", "series", "--quick", "--json"])
    assert done.exit_code == 0
    (facts,) = json.loads(done.output)["answers"]
    assert facts["question"] == "series"
    assert len(facts["scores"]["network"]) == 5
    refused = CliRunner().invoke(app, ["alphabet", "questions", "serie"])
    assert refused.exit_code == 2
    assert "no question 'serie'" in refused.output
    help_text = CliRunner().invoke(app, ["alphabet", "questions", "--help"]).output
    assert all(name in help_text for name in NAMES)


@pytest.mark.usefixtures("interruptible")
def test_an_interruption_reports_how_many_questions_were_answered():
    code = """
import time
from legato import alphabet
def wait(effort):
    print("begun", flush=True)
    for _ in range(600):  # a signal that came just before a sleep would not end it
        time.sleep(0.1)
alphabet._questions.QUESTIONS = (alphabet.Question("a", "Is it?", "It is.", wait),)
from legato.cli import app
app(["alphabet", "questions"])
"""
    process = ForkedPython(code)
    assert process.stdout.readline() == "begun\n"
    assert interrupted(process) == (
        "Interrupted: 0 of 1 questions were answered; no file was written."
    )
