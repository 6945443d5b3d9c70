"""The page shows every number of its outcomes, is one file, and opens in any browser."""

import dataclasses
import re
import shutil
from itertools import pairwise

import numpy as np
import pages
import pytest
from alphabet_outcomes import answered, outcome
from browsers import BROWSER, browsed

import legato
from legato import alphabet, report
from legato.alphabet import Answer, Found, Group, Question
from legato.report import _alphabet_page_text, _network_figures, _panels

PAGE = "alphabet.html"
HOSTILE = "<script>alert('1')</script> & \"$x$\" </svg></p>"


@pytest.fixture(scope="module")
def written(outcomes, inspections, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    verdicts = ("holds", "holds in part", "does not hold", "undecided")
    answers = [answered(each) for each in verdicts]
    return report.write_page(folder, outcomes, inspections, answers, {"command": "legato alphabet"})


@pytest.fixture(scope="module")
def text(written):
    return written[-1].read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text):
    tree, faults = pages.parse(text)
    assert faults == []
    return tree


def page_of(folder, *given) -> pages.Element:
    """The page on the given arguments, as a tree."""
    text = report.write_page(folder, *given)[-1].read_text(encoding="utf-8")
    tree, faults = pages.parse(text)
    assert faults == []
    return tree


def section(page: pages.Element, name: str) -> pages.Element:
    (found,) = page.all("section", id=name)
    return found


# The text.


def test_the_table_shows_the_outcomes(page, outcomes):
    rows = section(page, "accuracy").all("tbody")[0].all("tr")
    assert len(rows) == 6
    for row, network in zip(rows, alphabet.NETWORKS, strict=True):
        scores = np.array([run.accuracy for run in outcomes if run.network is network])
        mean = legato.interval(scores, unit="%")
        share = legato.proportion(0, 3)
        assert row.all("th")[0].words == f"{network.number} {network.name} {network.title}"
        assert [cell.words for cell in row.all("td")] == [
            f"{100 * network.published_accuracy:.2f} %",
            f"{100 * scores.mean():.2f} ± {100 * scores.std(ddof=1):.2f} %",
            f"{100 * mean.low:.1f}–{100 * mean.high:.1f} %",
            f"{100 * scores.min():.1f}–{100 * scores.max():.1f} %",
            "0 of 3",
            f"0–{100 * share.high:.0f} %",
            f"{1000 * network.number + 2:,.0f}",
            "12.0 s",
        ]


def test_scores_without_spread_have_no_interval_but_a_share(tmp_path):
    (network,) = alphabet.find(["steps"])
    page = page_of(tmp_path, [outcome(network, seed, accuracy=1.0) for seed in range(10)])
    cells = [cell.words for cell in section(page, "accuracy").all("td")]
    assert cells[1:6] == ["100.00 ± 0.00 %", "no spread", "100.0 %", "10 of 10", "72–100 %"]


def test_the_headline_compares_with_what_was_published():
    naive, steps = alphabet.find(["naive", "steps"])
    alone = [outcome(naive, 1, accuracy=0.84), outcome(steps, 1, accuracy=0.96)]
    assert _alphabet_page_text.headline(alone) == (
        "2 of six small LSTM networks learnt to predict the next letter of the alphabet, under "
        "seed 1; they were published with one run each.",
        "The published accuracy equals the accuracy here for naive; it is higher for steps.",
    )
    several = [outcome(naive, 1, accuracy=0.8), outcome(naive, 2, accuracy=0.88), *alone[1:]]
    assert _alphabet_page_text.headline(several)[1] == (
        "The published accuracy is within the range of the seeds for naive; it is above the range "
        "of the seeds for steps."
    )


def test_wrong_answers_have_a_sign_besides_their_colour(page):
    replies = section(page, "answers").all("ul", **{"class": "letters"})[0].all("li")
    assert [each.words for each in replies] == [
        "A→ answered B",
        "U→ answered W ✗, which is wrong; right is V",
        "XYZ→ answered A",
    ]
    assert [each.attributes.get("class") for each in replies] == [None, "wrong", None]


def test_an_answer_is_shown_whole(page):
    found = answered()
    articles = section(page, "questions").all("article")
    marks = [each.all("span", **{"class": each.all("span")[0].attributes["class"]})[0].words
            for each in articles]  # fmt: skip
    assert marks == ["✓ holds", "◐ holds in part", "✗ does not hold", "? undecided"]
    words = articles[0].words
    for each in (
        "Is it real?",
        "It may be.",
        "It is by 6 points.",
        "A remark.",
        *(f"{each.name}: {legato.interval(each.scores, unit='%')}" for each in found.found.groups),
        str(found.found.comparisons[0]),
        "answered in 12.3 s, with fewer seeds and settings",
    ):
        assert " ".join(each.split()) in words
    assert "Of 4 claims 1 holds, 1 holds in part, 1 does not hold and 1 is undecided." in (
        section(page, "questions").words
    )


def test_the_last_section_describes_how_the_page_was_made(page):
    made = section(page, "made")
    names, values = ([each.words for each in made.all(tag)] for tag in ("dt", "dd"))
    said = dict(zip(names, values, strict=True))
    assert said["command"] == "legato alphabet"
    assert said["runs"] == "seeds 1–3"
    assert said["legato"] == legato.__version__
    assert {"python", "machine", "keras", "jax"} <= said.keys()


def test_pictures_are_also_files(written):
    names = ["learning", "answers", "influence", "traces", "questions"]
    assert [path.name for path in written] == [*(f"{each}.png" for each in names), "alphabet.html"]
    assert sorted(written[0].parent.iterdir()) == sorted(written)
    for path in written[:-1]:
        assert path.read_bytes().startswith(b"\x89PNG")


# NaN.


def test_nan_is_shown_and_not_averaged(tmp_path):
    (naive,) = alphabet.find(["naive"])
    broken = outcome(naive, 2, accuracy=np.nan)
    broken.history["loss"][40:] = [np.nan] * 261
    runs = [outcome(naive, 1), broken]
    page = page_of(tmp_path, runs, [], [answered(scores=[[0.5, np.nan, 0.7], [np.inf]])])
    assert "not finite in 1 of 2" in section(page, "accuracy").words
    assert "cannot be compared" in page.all("header")[0].words
    assert (
        "Seed 2: the loss is not finite in 261 of 301 epochs, first in epoch 41; neither line nor "
        "band is drawn there."
    ) in section(page, "learning").words
    assert "group 0: 1 of 3 scores are not finite, so no mean is shown." in page.words
    assert "group 1: 1 of 1 scores are not finite" in page.words
    line = _network_figures.learning_panel(runs).as_figure().axes[0].lines[0].get_ydata()
    at = _network_figures.shown_epochs(301)
    np.testing.assert_array_equal(np.isfinite(line), at < 40)


# The markup.


def test_ids_are_unique_and_every_reference_has_its_target(text):
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    labels = " ".join(re.findall(r'aria-labelledby="([^"]+)"', text)).split()
    links = re.findall(r'href="#([^"]+)"', text) + re.findall(r"url\(#([^)]+)\)", text)
    assert {*labels, *links} <= set(ids)
    assert links


def test_headings_are_in_order_and_pictures_have_descriptions(page):
    headings = [int(each.tag[1]) for each in _all(page) if re.fullmatch(r"h\d", each.tag)]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(below <= above + 1 for above, below in pairwise(headings))
    pictures = page.all("svg")
    assert len(pictures) == 6 + 6 + 1 + 2 + 2 + 4
    for each in pictures:
        assert each.attributes["role"] == "img"
        assert each.attributes["aria-label"]


def _all(element: pages.Element) -> list[pages.Element]:
    return [each for child in element.children for each in (child, *_all(child))]


def test_colours_follow_the_background(text):
    body = text[text.index("<body") :]
    for light, dark in _panels.COLOURS.values():
        assert light not in body
        assert f"{light};" in text
        assert f"{dark};" in text
    assert "var(--ink)" in body
    assert "font-family" not in body
    assert "#000000" not in body


def test_nothing_is_loaded_from_elsewhere(text):
    assert "http:" not in text
    assert "https:" not in text
    assert "<script" not in text
    assert "src=" not in text
    assert "@import" not in text
    links = re.findall(r'href="([^"]+)"', text)
    assert all(each == "data:," or each.startswith(("data:image/png", "#")) for each in links)
    assert len(text) < 3_000_000


def test_text_is_escaped(tmp_path, inspections):
    (naive,) = alphabet.find(["naive"])
    network = dataclasses.replace(naive, title=HOSTILE, published_behaviour=HOSTILE)
    run = outcome(network, 1, answers={HOSTILE: [("A", HOSTILE)]})
    found = Found("holds", HOSTILE, (Group(HOSTILE, np.array([1.0, 2])),), (), (HOSTILE,))
    question = Question("a", HOSTILE, HOSTILE, lambda effort: found, HOSTILE, HOSTILE)
    inspection = dataclasses.replace(inspections[0], network=network)
    given = ([run], [inspection], [Answer(question, found, False, 1.0)], {HOSTILE: HOSTILE})
    page = page_of(tmp_path, *given)
    assert not page.all("script")
    assert page.text.count("alert('1')") > 10
    words = page.all("article")[0].all("p", **{"class": "answer"})[0].text
    assert words == HOSTILE


@pytest.mark.parametrize("name", ["naive", "variable"])
def test_one_network_under_one_seed_without_answers_is_a_page(name, tmp_path):
    (network,) = alphabet.find([name])
    page = page_of(tmp_path, [outcome(network, 4)])
    assert "under seed 4" in page.words
    assert [each.words for each in section(page, "accuracy").all("td")][1] == (
        f"{100 * (0.8 + 0.01 * network.number + 0.012):.2f} %"
    )
    assert "legato alphabet --report DIR" in section(page, "questions").words
    assert not page.all("section", id="influence")
    assert not page.all("a", href="#influence")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "alphabet.html",
        "answers.png",
        "learning.png",
    ]


@pytest.mark.slow
def test_the_same_input_gives_the_same_page_to_the_byte(outcomes, inspections, tmp_path):
    given = (outcomes[:3], inspections[:1], [answered()])
    first, second = (tmp_path / each for each in "ab")
    for folder in (first, second):
        folder.mkdir()
        report.write_page(folder, *given)
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()


def test_an_interrupted_page_leaves_the_old_one(outcomes, tmp_path, monkeypatch):
    with pytest.raises(legato.OutputError, match="cannot be written"):
        report.write_page(tmp_path / "none", outcomes[:1])
    page = tmp_path / "alphabet.html"
    page.write_text("as it was")

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.write_text", interrupted)
    with pytest.raises(KeyboardInterrupt):
        report.write_page(tmp_path, outcomes[:1])
    assert page.read_text() == "as it was"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "alphabet.html",
        "answers.png",
        "learning.png",
    ]


def test_wrong_nesting_is_detected():
    assert pages.parse("<p><div>a</div></p>")[1] == ["div in p"]
    assert "</ul> closes p" in pages.parse("<ul><p>a</ul>")[1]
    assert pages.parse("<td>a</td>")[1] == ["td in "]


# In a browser.


@pytest.mark.slow
@pytest.mark.skipif(not BROWSER, reason="no Chromium here")
def test_a_browser_shows_the_page_on_a_phone_and_loads_nothing_else(written, tmp_path):
    shutil.copy(written[-1], tmp_path)
    for width in (360, 1280):
        seen = browsed(tmp_path, PAGE, width)
        assert seen.console == []
        assert seen.loaded == []
        assert seen.wide == width
        assert seen.least >= 9  # pixels
        assert seen.ground == "rgb(253, 253, 251)"
    dark = browsed(tmp_path, PAGE, 360, "--blink-settings=preferredColorScheme=0")
    assert dark.ground == "rgb(21, 24, 27)"


@pytest.mark.skipif(not BROWSER, reason="no Chromium here")
def test_faults_are_detected_in_the_browser(tmp_path):
    page = '<p style="width:500px">a</p><svg><text>a</text></svg><img src="there.png">'
    page += '<img src="https://example.org/a.png"><script>nothing()</script>'
    (tmp_path / "alphabet.html").write_text(f"<!doctype html>{page}")
    (tmp_path / "there.png").touch()
    seen = browsed(tmp_path, PAGE, 360)
    assert seen.wide > 360
    assert [each.rpartition("/")[2] for each in seen.loaded] == ["there.png", "a.png"]
    assert "nothing is not defined" in " ".join(seen.console)
