"""The page of a server: well formed, in need of nothing from elsewhere, and live."""

import re

import httpx
import numpy as np
import pytest
from pages import parse
from serve.browser import BROWSER, Tab
from serve.serving import config_of, serving

import legato
from legato._serve.live_page import read_page

KEY = "k" * 16
HOSTILE = '<img src=x onerror="document.title=1">/.. é'


@pytest.fixture(scope="module")
def page():
    return read_page()[0].decode()


def test_it_is_well_formed_and_needs_nothing_from_elsewhere(page):
    root, faults = parse(page)
    assert set(faults) == {"dt in div", "dd in div"}  # which HTML allows in a dl
    assert root.all("html")[0].attributes["lang"] == "en"
    assert root.all("meta", name="viewport")
    addresses = [
        each.attributes[name]
        for each in root.all("link") + root.all("a") + root.all("script")
        for name in ("href", "src")
        if name in each.attributes
    ]
    assert sorted(addresses) == ["data:,", "openapi.json"]
    assert not re.search(r"url\(|@import|https?://(?!www.w3.org/2000/svg)", page)
    assert "innerHTML" not in page  # what comes from the server is text


def test_each_field_has_a_label_and_each_id_is_there_once(page):
    root, _ = parse(page)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(set(ids)) == len(ids)
    labels = {each.attributes["for"] for each in root.all("label")}
    fields = {each.attributes["id"] for each in root.all("input") + root.all("select")}
    assert fields == labels
    assert all(each.attributes["scope"] == "col" for each in root.all("th"))
    assert set(re.findall(r'\$\("([\w-]+)"\)', page)) <= set(ids)
    assert set(re.findall(r'aria-labelledby="([^"]+)"', page)) <= set(ids)


def test_metrics_and_columns_that_it_reads_are_there(page, client):
    shown = set(re.findall(r"legato_\w+", page)) - {"legato_w"}
    given = set(re.findall(r"^(legato_\w+)", client.get("/metrics").text, re.MULTILINE))
    assert shown - given == {"legato_refusals_total"}  # comes with the first refusal


@pytest.fixture
def guarded(model_file, tmp_path):
    """A client of a server with a key, which is not sent."""
    (tmp_path / "keys").write_text(f"ada:{KEY}")
    keys = str(tmp_path / "keys")
    with serving(config_of(model_file, tmp_path / "s", api_key_file=keys)) as client:
        yield client


def test_it_is_sent_to_everybody_and_only_it_may_run(guarded):
    response = guarded.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert guarded.get("/v1/models").status_code == 401


@pytest.mark.quick_cases(1)
@pytest.mark.skipif(not BROWSER, reason="no Chromium here")
@pytest.mark.parametrize(
    ("width", "is_dark", "ground"), [(1280, False, "253, 253, 251"), (360, True, "21, 24, 27")]
)
def test_a_browser_shows_the_trace_of_a_stream(guarded, tmp_path, rng, width, is_dark, ground):
    address = str(guarded.base_url)
    names = [HOSTILE, *(f"s{at:02}" for at in range(30))]
    with legato.connect(address, api_key=KEY) as model, Tab(tmp_path / "profile") as tab:
        model.streams().feed({name: rng.normal(size=3) for name in names})
        tab.open(address, width, is_dark)
        assert "no API key" in tab.wait_for("!$('message').hidden && $('message').textContent")
        tab.run(f"$('key').value = '{KEY}'; $('login').requestSubmit()")
        tab.wait_for("$('streams').rows.length === 20 && $('message').hidden")
        assert tab.run("$('models').rows[0].cells[0].textContent") == "m"
        tab.run("$('next').click()")
        tab.wait_for("$('streams').rows.length === 11 && $('next').disabled")
        tab.run("$('prefix').value = '<img'; $('search').requestSubmit()")
        tab.wait_for(
            "$('streams').rows.length === 1 && $('streams').rows[0].cells[1].textContent==1"
        )
        assert tab.run("$('streams').rows[0].cells[0].textContent") == HOSTILE
        tab.run("$('streams').rows[0].querySelector('button').click()")
        tab.wait_for("$('state').textContent.startsWith('Connected')")
        stream = model.stream(HOSTILE)
        stream.feed(rng.normal(size=3))
        answers = stream.feed(rng.normal(size=(4, 3)))
        tab.wait_for("points.length === 5")
        tab.wait_for(
            "$('outputs').rows.length === 2 && document.querySelectorAll('#plot path').length"
        )
        tab.wait_for("$('newest').textContent === 'step 6'")  # drawn with the next frame
        shown = tab.run("[...$('outputs').rows].map(row => Number(row.cells[1].textContent))")
        np.testing.assert_allclose(shown, answers[-1], rtol=1e-4)
        assert tab.run("$('streams').rows[0].cells[1].textContent") == "6"
        assert tab.run("document.documentElement.scrollWidth") <= width
        assert tab.run("getComputedStyle(document.body).backgroundColor") == f"rgb({ground})"
        assert tab.run("document.title") == "legato serve"
        expected = re.compile("status of 40[14]")  # before the key, and of the prefix as a name
        assert [each for each in tab.problems if not expected.search(each)] == []


@pytest.mark.skipif(not BROWSER, reason="no Chromium here")
def test_the_answers_of_models_of_all_forms_are_split_into_steps(guarded, tmp_path):
    """One step and several; one output, several in a list or by name; columns with names."""
    cases = [
        ({"y": [1, 2]}, [1], [{"0": 1, "1": 2}]),
        ({"y": [[1, 2], [3, None]]}, [1], [{"0": 1, "1": 2}, {"0": 3, "1": None}]),
        ({"y": [[1], [3]]}, [1], [{"y": 1}, {"y": 3}]),
        ({"y": [[1], [2, 3]]}, [1, 1], [{"0": 1, "1 0": 2, "1 1": 3}]),
        ({"y": {"b": [[1], [2]], "a": [[3], [4]]}}, [1, 1], [{"a": 3, "b": 1}, {"a": 4, "b": 2}]),
        ({"answer": {"heat": 1.5}}, [1], [{"heat": 1.5}]),
        ({"answer": {"heat": [1, 2]}}, [1], [{"heat 0": 1, "heat 1": 2}]),
        (
            {"answers": [{"label": "up"}, {"label": "down"}]},
            [1],
            [{"label": "up"}, {"label": "down"}],
        ),
    ]
    with Tab(tmp_path / "profile") as tab:
        tab.open(str(guarded.base_url), 800)
        tab.wait_for("typeof stepsOf === 'function'")
        for event, axes, steps in cases:
            given = httpx.Response(200, json=[event, axes]).text
            assert tab.run(f"stepsOf(...{given})") == steps
