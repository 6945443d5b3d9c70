"""A search over options: what is tried, what is kept, and that it goes on where it was stopped."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from trained_examples import write_csv

import legato
from legato import InputError, MissingError, OutputError, TrainConfig, Trained
from legato._forecasting.search import NAMES, Options, Search, Space
from legato._platform.wording import describe_settings

SPACE = Space(NAMES, most_steps=25)
SEARCH = Search(count=9, seed=3, space=SPACE, metric="MAE", subject="waves")
WAVE = {"load": np.sin(np.arange(60) / 3)}
SMALL = {"units": 2, "epochs": 1, "layers": 1, "horizon": 2, "verbose": 0, "test": 10}


def fake_score(options: Options) -> float:
    """A score with one best setting; 2 of what was given."""
    if not options:
        return 2.0
    return abs(np.log(options["units"] / 30)) + 10 * options["learning_rate"] + options["dropout"]


def slow_at_first(score):
    """A score that takes longer for some options, the first ones of a round among them."""

    def scored(options: Options) -> float:
        time.sleep(0.02 * (options.get("layers") != 1))
        return score(options)

    return scored


def refuse_all(options: Options) -> float:
    raise InputError("The loss is no longer a number.")


def ignore(line: str) -> None:
    """Nobody reads what was tried."""


def without_seconds(record: dict) -> dict:
    trials = [{**each, "seconds": None} for each in record["trials"]]
    assert all(each["seconds"] >= 0 for each in record["trials"])
    return {**record, "trials": trials}


@pytest.fixture(scope="module")
def uninterrupted() -> tuple[Options, dict]:
    best, record = SEARCH.run(fake_score, ignore)
    return best, without_seconds(record)


def test_the_best_is_kept_and_the_options_as_given_are_tried_first(uninterrupted):
    best, record = uninterrupted
    scores = [each["score"] for each in record["trials"]]
    assert len(scores) == 9
    assert record["trials"][0] == {"options": {}, "score": 2.0, "seconds": None, "error": None}
    assert record["best"] == int(np.argmin(scores))
    assert record["trials"][record["best"]]["options"] == best
    assert [each["score"] for each in record["trials"][1:]] == [
        fake_score(each["options"]) for each in record["trials"][1:]
    ]


def test_what_is_never_better_than_the_options_as_given_is_not_taken():
    best, record = SEARCH.run(lambda options: 1.0 if options else 0.5, ignore)
    assert (best, record["best"]) == ({}, 0)


def test_settings_are_valid_options_and_all_are_varied(uninterrupted):
    tried = [each["options"] for each in uninterrupted[1]["trials"][1:]]
    for options in tried:
        assert [*options] == [*NAMES]
        TrainConfig(**options)
        assert 4 <= options["steps"] <= 25
    assert all(len({each[name] for each in tried}) > 1 for name in NAMES)


@pytest.mark.parametrize("stopped", [0, 1, 5, 8])
def test_a_search_that_was_interrupted_goes_on_as_if_it_had_not_been(
    tmp_path, uninterrupted, stopped
):
    search, calls = replace(SEARCH, path=tmp_path / "waves.study"), []

    def interrupted(options: Options) -> float:
        calls.append(options)
        if len(calls) > stopped:
            raise KeyboardInterrupt
        return fake_score(options)

    with pytest.raises(KeyboardInterrupt):
        search.run(interrupted, ignore)
    lines: list[str] = []
    best, record = search.run(fake_score, lines.append)
    assert (best, without_seconds(record)) == uninterrupted
    assert len(lines) == 9 - stopped  # what was finished is not tried again
    assert search.run(lambda options: 1 / 0, ignore)[0] == best  # nor is anything now
    more = replace(search, count=10).run(fake_score, ignore)[1]
    assert without_seconds(more)["trials"][:9] == uninterrupted[1]["trials"]


def test_a_search_on_an_executor_finds_the_same(uninterrupted):
    with ThreadPoolExecutor(3) as pool:  # in which settings are done in another order
        best, record = SEARCH.run(slow_at_first(fake_score), ignore, pool)
    assert (best, without_seconds(record)) == uninterrupted
    assert SEARCH.run(slow_at_first(fake_score), ignore)[0] == best
    with ThreadPoolExecutor(3) as pool, pytest.raises(InputError, match="no longer a number"):
        SEARCH.run(refuse_all, ignore, pool)


def test_settings_that_cannot_be_trained_are_recorded_and_others_are_tried():
    def diverging(options: Options) -> float:
        if options.get("cell") == "gru":
            raise InputError("The loss is no longer a number.")
        return np.nan if options.get("layers") == 2 else fake_score(options)

    lines: list[str] = []
    best, record = SEARCH.run(diverging, lines.append)
    assert len(record["trials"]) == len(lines) == 9
    for each in record["trials"]:
        if each["options"].get("cell") == "gru":
            assert each["error"] == "The loss is no longer a number."
        assert (each["score"] is None) == (each["error"] is not None)
    assert best == record["trials"][record["best"]]["options"]
    assert any(": failed, the best" in line for line in lines)
    with pytest.raises(InputError, match="no longer a number"):  # the options as given
        SEARCH.run(lambda options: diverging({"cell": "gru"}), ignore)


def test_a_study_of_something_else_is_refused(tmp_path):
    search = replace(SEARCH, path=tmp_path / "waves.study", count=2)
    search.run(fake_score, ignore)
    with pytest.raises(InputError, match="is of other data, options or another seed"):
        replace(search, subject="tides").run(fake_score, ignore)
    other = tmp_path / "notes.txt"
    other.write_text("a list of things\n")
    with pytest.raises(InputError, match="is no study of a search"):
        legato.plan(WAVE, search=2, study=other)
    assert other.read_text() == "a list of things\n"
    with pytest.raises(OutputError, match=r"The folder of the study .* is missing"):
        legato.plan(WAVE, search=2, study=tmp_path / "nowhere" / "waves.study")


def test_a_study_that_was_cut_off_goes_on_and_a_damaged_one_is_named(tmp_path):
    search = replace(SEARCH, path=tmp_path / "waves.study", count=2)
    expected = search.run(fake_score, ignore)[1]["trials"]
    whole = search.path.read_bytes()
    search.path.write_bytes(whole[:-40])  # as a loss of power may leave it
    found = search.run(fake_score, ignore)[1]["trials"]
    assert [each["options"] for each in found] == [each["options"] for each in expected]
    assert search.run(fake_score, ignore)[1]["trials"] == found
    for place in (len(whole) // 3, len(whole) // 2):
        search.path.write_bytes(whole[:place] + b"\0" * 9 + whole[place + 9 :])
        with pytest.raises(InputError, match="is no study of a search, or damaged"):
            search.run(fake_score, ignore)
    with pytest.raises(OutputError, match=r"The study .* cannot be written"):
        replace(search, path=Path("/proc/waves.study")).run(fake_score, ignore)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"search": 0}, "search is 0; a whole number of at least 1 was expected"),
        ({"search": -2}, "search is -2; a whole number of at least 1 was expected"),
        ({"study": "a.study"}, "study is 'a.study', the file of a search, and no search is asked"),
        ({"search": 2, "validation": 0}, "validation 0 leaves nothing to choose by"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(InputError, match=message):
        legato.plan(WAVE, **options)


def test_optuna_is_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingError, match=r'pip install "legato\[search\]"'):
        legato.plan(WAVE, search=2)


@pytest.mark.slow
def test_a_network_is_trained_with_the_best_setting_and_the_test_part_has_no_say(tmp_path, capsys):
    planned = legato.plan(WAVE, **SMALL, search=3)
    best = planned.search()
    found = best._search_record
    assert [set(each["options"]) for each in found["trials"][1:]] == [
        {"framing", "steps", "cell", "dropout", "learning_rate"}
    ] * 2  # units, layers and epochs are given
    options = found["trials"][found["best"]]["options"]
    assert {name: getattr(best.config, name) for name in options} == options
    assert (best.shape.units, best.task.horizon) == (2, 2)
    trained = best.train()
    assert trained.known["training"]["search"] == found
    trained.save(tmp_path / "model.keras")
    opened = Trained.load(tmp_path / "model.keras")
    assert opened.known["training"]["search"]["trials"] == found["trials"]
    legato.report.print_summary(opened)
    assert "Search over 3 settings, scored on the validation part" in capsys.readouterr().out
    other = WAVE["load"].copy()
    other[-10:] += 1.0
    again = legato.plan({"load": other}, **SMALL, search=3).search()._search_record
    assert without_seconds(again) == without_seconds(found)


def test_networks_are_tried_beside_an_ensemble_that_takes_columns_known_ahead():
    data = {"promotion": (np.arange(40) % 5 == 0) * 1.0, "load": WAVE["load"][:40]}
    found = legato.plan(data, known="promotion", horizon=2, search=2, verbose=0).search()
    assert [each["error"] for each in found._search_record["trials"]] == [None, None]


def test_a_search_from_the_command_line(tmp_path, monkeypatch, capsys):
    from legato.cli import main

    monkeypatch.chdir(tmp_path)
    write_csv(Path("wave.csv"), {"load": WAVE["load"].tolist()})
    options = "--units 2 --epochs 1 --layers 1 --horizon 2 --search 2 --study wave.study"
    monkeypatch.setattr(sys, "argv", ["legato", "train", "wave.csv", *options.split()])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code
    assert "Search over 2 settings" in capsys.readouterr().out
    assert Path("wave.study").exists()


def test_options_in_words():
    assert describe_settings({}) == "as given"
    assert describe_settings({"learning_rate": 0.00123, "cell": "gru"}) == (
        "learning rate 0.00123, cell gru"
    )
