"""The page on one's own model shows the numbers of its record or of ``evaluate``, and is one file.

Models are small and trained once; figures of kinds that no model here has are in other tests.
"""

import re
import shutil
import warnings
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pages
import pytest
from browsers import BROWSER, browsed

import legato
from legato import InputError, OutputError, Trained
from legato.report import _panels, write_trained_page

HOSTILE = "<script>alert('1')</script> & \"$x$\" </svg>"
SMALL = {"units": 3, "epochs": 2, "verbose": 0}


def monthly_table(name: str = "sold", months: int = 60, seed: int = 0) -> dict[str, list]:
    rng = np.random.default_rng(seed)
    wave = 50 + 9 * np.sin(np.arange(months) * np.pi / 6) + rng.normal(size=months)
    times = [str(np.datetime64("2015-01") + step) for step in range(months)]
    return {"month": times, name: wave.round(3).tolist()}


def written(trained: Trained, data, folder: Path) -> SimpleNamespace:
    """A page: its text and its tree."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = trained.report(data, folder / "page.html")
    text = path.read_text(encoding="utf-8")
    tree, faults = pages.parse(text)
    assert faults == []
    return SimpleNamespace(text=text, tree=tree, path=path)


def section(page: SimpleNamespace, name: str) -> pages.Element:
    (found,) = page.tree.all("section", id=name)
    return found


def table_of(element: pages.Element, at: int = 0) -> dict[str, list[str]]:
    """The rows of a table by their names."""
    body = element.all("table")[at].all("tbody")[0]
    return {
        row.all("th")[0].words: [cell.words for cell in row.all("td")] for row in body.all("tr")
    }


@pytest.fixture(scope="module")
def sales():
    return monthly_table(HOSTILE)


@pytest.fixture(scope="module")
def ensemble(sales) -> Trained:
    return legato.train(sales, time="month", horizon=3, verbose=0)


@pytest.fixture(scope="module")
def page(ensemble, sales, tmp_path_factory):
    return written(ensemble, sales, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def shops() -> dict[str, list]:
    """Six shops of 30 days."""
    tables = [monthly_table(months=30, seed=at) for at in range(6)]
    names = [f"shop {at}" for at in range(6) for _ in range(30)]
    both = {name: [each for table in tables for each in table[name]] for name in tables[0]}
    return {"shop": names, **both}


@pytest.fixture(scope="module")
def panel(shops) -> Trained:
    return legato.train(shops, group="shop", time="month", horizon=2, refit=False, **SMALL)


@pytest.fixture(scope="module")
def panel_page(panel, shops, tmp_path_factory):
    return written(panel, shops, tmp_path_factory.mktemp("panel"))


@pytest.fixture(scope="module")
def classifier_page(tmp_path_factory):
    rng = np.random.default_rng(3)
    labels = ["good", "worn", HOSTILE] * 8
    data = {
        "machine": [at for at in range(24) for _ in range(6)],
        "hum": [rng.normal(len(label)) for label in labels for _ in range(6)],
        "state": [label for label in labels for _ in range(6)],
    }
    trained = legato.train(data, group="machine", verbose=0)
    return written(trained, data, tmp_path_factory.mktemp("labels")), trained


# The numbers.


def test_scores_and_verdict_are_those_of_the_record(page, ensemble):
    scores = ensemble.scores
    assert scores["verdict"] in page.tree.all("header")[0].words
    rows = table_of(section(page, "score"))
    assert [*rows] == ["model", *scores["baselines"]]
    for name, cells in rows.items():
        row = scores["model"] if name == "model" else scores["baselines"][name]
        assert [float(each) for each in cells[:2]] == pytest.approx(
            [row["mae"], row["rmse"]], rel=5e-3
        )
    by_lead = table_of(section(page, "score"), 1)
    for at, cells in by_lead.items():
        assert float(cells[0]) == pytest.approx(
            scores["model"]["mae_by_lead"][int(at) - 1], rel=5e-3
        )


@pytest.mark.slow
def test_scores_of_a_model_that_did_not_learn_from_all_are_those_of_evaluate(
    panel_page, panel, shops
):
    scores = panel.evaluate(shops)
    header = panel_page.tree.all("header")[0].words
    assert scores.verdict in header
    assert "the others were kept for the score" in header
    rows = table_of(section(panel_page, "score"), 1)
    best = scores.best_baseline
    assert len(rows) == 6
    sequences = panel.read(shops)
    begins = np.full(6, 24)
    backtest = panel.backtest(sequences, begins, panel.known["season"])
    for at in range(6):
        own = backtest.sequence == at
        expected = [
            np.abs(backtest.actual[own] - each[own]).mean()
            for each in (backtest.predicted, backtest.baselines[best])
        ]
        found = [float(each) for each in rows[f"shop {at}"][1:3]]
        assert found == pytest.approx(expected, rel=5e-3)


def test_data_that_go_on_are_scored_anew_and_others_are_named(ensemble, tmp_path):
    longer = monthly_table(HOSTILE, 70)
    found = ensemble.diagnose(longer)
    assert found.scores["verdict"] == ensemble.evaluate(longer).verdict
    assert not found.is_recorded
    assert found.learnt.tolist() == [60]
    assert found.relation == (
        "The model learnt from 60 steps of 70, recognized by their values; the others are new to "
        "it."
    )
    other = ensemble.diagnose(monthly_table(HOSTILE, 40, seed=9))
    assert other.relation.startswith("These are other data than those that the model was trained")
    assert other.tested.tolist() == [0]
    few = ensemble.diagnose(monthly_table(HOSTILE, 61))  # too few new steps to score
    assert few.is_recorded
    assert few.scores == ensemble.scores


def test_the_forecasts_of_the_backtest_are_those_recorded(ensemble, sales):
    found = ensemble.diagnose(sales)
    assert found.is_same
    assert found.backtest.t.tolist() == ensemble.known["backtest"]["t"]
    values = np.array(sales[HOSTILE])
    for origin, t in enumerate(found.backtest.t):
        np.testing.assert_allclose(found.backtest.actual[origin, :, 0], values[t + 1 : t + 4])
    errors = np.abs(found.backtest.errors).mean()
    assert errors == pytest.approx(ensemble.scores["model"]["mae"], rel=1e-4)
    assert found.ends.shape == (2, 2, len(found.backtest.t), 3, 1)


def test_the_forecast_is_in_a_table(page, ensemble, sales):
    rows = table_of(section(page, "ahead"))
    values = ensemble.forecast(sales).values[0, :, 0]
    assert [*rows] == ["1", "2", "3"]
    assert [float(cells[1]) for cells in rows.values()] == pytest.approx(values.tolist(), rel=1e-4)


def test_members_have_their_errors_and_weights(page, ensemble):
    (target,) = ensemble.known["training"]["course"]["ensemble"]["targets"]
    chosen, others = (table_of(section(page, "choice"), at) for at in (0, 1))
    assert float(chosen.pop("the ensemble")[1]) == pytest.approx(target["mae"], rel=5e-3)
    assert len(chosen) + len(others) == len(target["members"])
    for each in target["members"]:
        weight, error = f"{100 * each['weight']:.0f} %", each["mae"]
        shown = chosen[each["name"]] if each["weight"] else [weight, *others[each["name"]]]
        assert shown[0] == weight
        assert float(shown[1]) == pytest.approx(error, rel=5e-3)
    words = section(page, "choice").words
    assert "season 12 steps, by times 1 month apart" in words
    assert "time = month, horizon = 3" in words or "horizon = 3, time = month" in words


@pytest.mark.slow
def test_a_panel_shows_the_worst_the_median_and_the_best(panel_page, panel, shops):
    found = panel.diagnose(shops)
    best = found.scores["best_baseline"]
    errors = found.errors.by_sequence
    ratio = {at: errors["model"][at] / errors[best][at] for at in range(6)}
    order = sorted(ratio, key=lambda at: ratio[at])
    titles = [each.words for each in section(panel_page, "data").all("figcaption")]
    assert titles == [
        f"shop {order[5]}, the worst",
        f"shop {order[3]}, the median",
        f"shop {order[0]}, the best",
    ]
    assert len(section(panel_page, "backtest").all("figure")) == 3 + 6


@pytest.mark.slow
def test_a_classifier_has_its_confusion_certainty_and_examples(classifier_page):
    page, trained = classifier_page
    assert trained.scores["verdict"] in page.tree.words
    labels = section(page, "answers")
    titles = [each.words for each in labels.all("figcaption")]
    assert titles[:2] == ["Confusion", "Certainty"]
    assert "good" in titles
    counts = np.array(trained.scores["confusion"])
    assert f"{np.trace(counts):,} of {counts.sum():,} right" in page.text
    rows = table_of(labels)
    for name, share in trained.scores["recall"].items():
        assert rows[" ".join(name.split())][1] == f"{100 * share:.1f} %"
    assert not page.tree.all("section", id="backtest")
    assert "that of a cross-validation" in page.tree.all("header")[0].words
    assert "Which part decides" in section(page, "influence").words
    history = trained.known["training"]["course"]["history"]
    each = [history[f"network_{at}"] for at in (1, 2, 3)]
    np.testing.assert_allclose(np.mean(each, axis=0), history["loss"], rtol=1e-4)
    assert "a network, each of its own seed" in section(page, "learning").words
    members = trained.known["training"]["course"]["ensemble"]["members"]
    shown = table_of(section(page, "choice"))
    assert {name: cells[1] for name, cells in shown.items()} == {
        each["name"]: f"{100 * each['accuracy']:.1f} %" for each in members
    }


@pytest.mark.slow
def test_a_text_has_a_sample_and_no_influence(tmp_path):
    text = tmp_path / "rain.txt"
    text.write_text("the rain in spain falls mainly on the plain; " * 6)
    trained = legato.train(text, **SMALL, steps=30)
    page = written(trained, text, tmp_path)
    assert len(section(page, "sample").all("pre")[0].text.strip()) > 100
    assert "no derivative by a label" in section(page, "influence").words
    assert "carried from step to step" in section(page, "states").words


@pytest.mark.slow
def test_missing_values_and_gaps_are_counted_and_marked(tmp_path):
    table = monthly_table(months=40)
    table["price"] = [None if at in (5, 6, 20) else float(at % 7) for at in range(40)]
    for name in table:
        del table[name][12:15]
    options = {"time": "month", "target": "sold", "missing": "forward", "units": 3, "epochs": 2}
    trained = legato.train(table, **options, refit=False, framing="window", steps=4, verbose=0)
    page = written(trained, table, tmp_path)
    data = section(page, "data")
    rows = table_of(data)
    assert [rows["sold"][1], rows["price"][1]] == ["0", "3"]
    assert "3 steps had a value that was filled in: marked." in data.words
    assert "1 month apart, with 1 gap." in data.words


@pytest.mark.slow
def test_a_model_without_a_test_part_has_no_score(tmp_path):
    table = monthly_table(months=40)
    trained = legato.train(table, time="month", test=0, **SMALL)
    page = written(trained, table, tmp_path)
    assert "There is no score." in page.tree.all("header")[0].words
    assert "without a test part" in section(page, "score").words
    assert not page.tree.all("section", id="errors")


def test_a_file_of_an_earlier_version_says_what_it_lacks(ensemble, sales):
    known = {name: each for name, each in ensemble.known.items() if name != "backtest"}
    older = Trained(ensemble.model, ensemble.task, ensemble.shape, ensemble.pad, known)
    found = older.diagnose(sales)
    assert found.scores == ensemble.scores
    assert found.backtest is None
    assert "written by an earlier version" in found.notes[0]


# The markup.


@pytest.fixture(
    params=[
        "page",
        pytest.param("panel_page", marks=pytest.mark.slow),
        pytest.param("classifier_page", marks=pytest.mark.slow),
    ]
)
def any_page(request):
    found = request.getfixturevalue(request.param)
    return found[0] if isinstance(found, tuple) else found


def test_ids_are_unique_and_every_reference_has_its_target(any_page):
    ids = re.findall(r'\bid="([^"]+)"', any_page.text)
    assert len(ids) == len(set(ids))
    labels = " ".join(re.findall(r'aria-labelledby="([^"]+)"', any_page.text)).split()
    links = re.findall(r'href="#([^"]+)"', any_page.text)
    links += re.findall(r"url\(#([^)]+)\)", any_page.text)
    assert {*labels, *links} <= set(ids)


def test_headings_are_in_order_and_pictures_have_descriptions(any_page):
    headings = [int(each[1]) for each in re.findall(r"<(h\d)[ >]", any_page.text)]
    assert headings.count(1) == 1
    assert all(below <= above + 1 for above, below in pairwise(headings))
    for each in any_page.tree.all("svg"):
        is_bar = each.attributes.get("class") == "bar"
        hidden = {"aria-hidden": "true"}
        assert (
            hidden.items() <= each.attributes.items() if is_bar else each.attributes["aria-label"]
        )
    for each in any_page.tree.all("table"):
        assert each.all("caption")[0].words


def test_colours_follow_the_background_and_print_has_its_own(any_page):
    body = any_page.text[any_page.text.index("<body") :]
    for light, _ in _panels.COLOURS.values():
        assert light not in body
    assert "#000000" not in body
    assert 'name="viewport" content="width=device-width' in any_page.text
    assert "prefers-color-scheme: dark" in any_page.text
    assert "@media print" in any_page.text


def test_nothing_is_loaded_from_elsewhere(any_page):
    for sign in ("http:", "https:", "<script", "src=", "@import"):
        assert sign not in any_page.text
    links = re.findall(r'href="([^"]+)"', any_page.text)
    assert all(each == "data:," or each.startswith(("data:image/png", "#")) for each in links)
    assert len(any_page.text) < 1_000_000


@pytest.mark.slow
def test_names_from_the_data_are_escaped(page, classifier_page):
    for found in (page, classifier_page[0]):
        assert not found.tree.all("script")
        assert "alert('1')" in found.tree.text
    assert page.tree.all("h1")[0].text.strip() == f"Forecasts of {HOSTILE}"


@pytest.mark.slow
def test_a_long_series_is_thinned(ensemble, tmp_path):
    rng = np.random.default_rng(2)
    long = {HOSTILE: (1e9 * (50 + rng.normal(size=20_000).cumsum())).tolist()}
    known = {**ensemble.known, "read": {**ensemble.known["read"], "time": None}, "origins": 40}
    timeless = Trained(ensemble.model, ensemble.task, ensemble.shape, ensemble.pad, known)
    page = written(timeless, long, tmp_path)
    assert len(page.text) < 600_000
    assert "#000000" not in page.text[page.text.index("<body") :]  # of offsets such as 1e9
    low, high = min(long[HOSTILE]), max(long[HOSTILE])
    assert f"from {low:.4g} to {high:.4g}" in page.text


# Files.


@pytest.mark.slow
def test_another_file_is_not_replaced_and_a_page_is(page, ensemble, sales, tmp_path):
    path = tmp_path / "notes.html"
    path.write_text("<p>mine</p>")
    with pytest.raises(OutputError, match="is there, and is no page that legato wrote"):
        ensemble.report(sales, path)
    assert path.read_text() == "<p>mine</p>"
    path.write_text(page.text)
    assert write_trained_page(ensemble, sales, path) == path
    assert path.read_text(encoding="utf-8") == page.text  # the same, to the byte
    with pytest.raises(OutputError, match="cannot be written"):
        ensemble.report(sales, tmp_path / "none" / "page.html")
    with pytest.raises(InputError, match="has no column"):
        ensemble.report({"month": sales["month"], "other": sales[HOSTILE]}, path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["notes.html"]


# In a browser.


@pytest.mark.slow
@pytest.mark.skipif(not BROWSER, reason="no Chromium here")
def test_a_browser_shows_the_page_on_a_phone_and_loads_nothing_else(page, tmp_path):
    shutil.copy(page.path, tmp_path)
    for width in (360, 1280):
        seen = browsed(tmp_path, page.path.name, width)
        assert seen.console == []
        assert seen.loaded == []
        assert seen.wide == width
        assert seen.least >= 9  # pixels
    dark = browsed(tmp_path, page.path.name, 360, "--blink-settings=preferredColorScheme=0")
    assert dark.ground == "rgb(21, 24, 27)"
