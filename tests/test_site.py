"""The site of the documentation in a browser, and its pictures.

The site is built once, with every warning an error, for slow tests, and pictures are made again by
``docs/pictures/draw.py``.
"""

import re
import subprocess
import sys
from dataclasses import fields
from itertools import product
from pathlib import Path

import browsers
import pytest
from forked import ForkedPython

from legato import TrainConfig

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PICTURES = DOCS / "pictures"
LARGEST = 80_000  # bytes of a picture
needs_browser = pytest.mark.skipif(not browsers.BROWSER, reason="no Chromium here")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The folder of the built site."""
    for plugin in ("material", "mkdocstrings"):
        pytest.importorskip(plugin)
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    done = subprocess.run(
        [*command, "--config-file", str(ROOT / "mkdocs.yml"), "--site-dir", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_every_page_is_built(site):
    built = {path.parent.relative_to(site).as_posix() for path in site.rglob("index.html")}
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")}
    assert pages - built == {"index"}


@pytest.mark.slow
def test_the_options_of_training_are_in_the_reference(site):
    page = (site / "api" / "training" / "index.html").read_text("utf-8")
    missing = [each.name for each in fields(TrainConfig) if f"<code>{each.name}</code>" not in page]
    assert missing == []


@pytest.mark.slow
def test_the_text_for_contributors_is_a_page(site):
    page = (site / "contributing" / "index.html").read_text("utf-8")
    assert 'id="where-to-add"' in page
    assert 'href="../words/"' in page


def hosts(text: str) -> set[str]:
    """The addresses on other hosts from which HTML or CSS loads something."""
    loads = re.findall(r"<(?:script|img|iframe|source|video)\b[^>]*?\bsrc=\"?([^\">\s]+)", text)
    loads += [
        link["href"]
        for link in re.finditer(r"<link\b[^>]*?\bhref=\"?(?P<href>[^\">\s]+)[^>]*>", text)
        if 'rel="canonical"' not in link[0] and "rel=canonical" not in link[0]
    ]
    styles = re.findall(r"url\([\"']?([^\"')]+)|@import\s+[\"']([^\"']+)", text)
    loads += [one or other for one, other in styles]
    return {each for each in loads if re.match(r"(https?:)?//", each)}


def test_what_another_host_would_serve_is_found():
    assert hosts('<link rel="stylesheet" href="https://a.org/x.css">') == {"https://a.org/x.css"}
    assert hosts("<script src=//a.org/x.js></script>") == {"//a.org/x.js"}
    assert hosts("@font-face{src:url(https://a.org/x.woff)}") == {"https://a.org/x.woff"}
    assert hosts('<a href="https://a.org">a</a><img src="x.svg">') == set()


@pytest.mark.slow
def test_nothing_is_loaded_from_another_host(site):
    files = [path for kind in ("*.html", "*.css") for path in site.rglob(kind)]
    assert len(files) > 20
    assert {path.name: found for path in files if (found := hosts(path.read_text("utf-8")))} == {}


DARK = ("--blink-settings=preferredColorScheme=0",)


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize(("page", "width"), [("index", 360), ("keras/index", 1280)])
def test_a_page_in_a_browser(site, page, width):
    seen = [browsers.browsed(site, f"{page}.html", width, *more) for more in ((), DARK)]
    for each in seen:
        assert each.wide <= width
        assert each.console == []
        assert not [address for address in each.loaded if "//127.0.0.1" not in address]
    light, dark = (each.ground for each in seen)
    assert light != dark


def names() -> list[str]:
    found = re.search(r"for draw in \((.*?)\)", (PICTURES / "draw.py").read_text("utf-8"), re.S)
    assert found
    return re.findall(r"\w+", found[1])


def test_every_picture_is_drawn_by_the_script_shown_somewhere_and_small():
    files = {f"{name}-{mode}.svg" for name, mode in product(names(), ("light", "dark"))}
    assert {path.name for path in PICTURES.glob("*-*.svg")} == files
    pages = "".join(path.read_text("utf-8") for path in DOCS.rglob("*.md"))
    assert [file for file in sorted(files) if f"pictures/{file}" not in pages] == []
    assert [f for f in files if (PICTURES / f).stat().st_size > LARGEST] == []


def test_texts_of_dark_pictures_are_light():
    for name in names():
        light, dark = ((PICTURES / f"{name}-{each}.svg").read_text() for each in ("light", "dark"))
        assert "<text" in light
        assert "<style>text{fill:#d8dae5}" in dark
        assert "<style>text" not in light


@pytest.mark.slow
def test_the_script_draws_every_picture(tmp_path):
    code = f"import runpy; runpy.run_path({str(PICTURES / 'draw.py')!r}, run_name='__main__')"
    process = ForkedPython(code, ["--out", tmp_path])
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    drawn = {path.name for path in tmp_path.iterdir()}
    assert drawn == {path.name for path in PICTURES.glob("*-*.svg")}
