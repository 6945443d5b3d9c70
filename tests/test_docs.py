"""The documentation is right: its code runs and prints what it shows.

Every fenced ``python`` block of ``README.md`` and of ``docs/*.md`` is run, the blocks of a page in
order in one namespace, every warning an error, in a folder with the passengers of the examples. A
``text`` block straight after one is its expected output. A page that begins with ``continues:
PAGE`` is run after that page, in its namespace and folder. Every argument that legato adds to
Keras's is on ``state-in-fit.md``. The API reference: ``test_reference.py``; the site:
``test_site.py``.
"""

import contextlib
import importlib.util
import inspect
import io
import json
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import keras
import numpy as np
import pytest

import legato

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [path for path in (ROOT / "README.md", *sorted(DOCS.glob("*.md"))) if path.exists()]
CONTINUES = re.compile(r"\A---\ncontinues: (?P<page>\S+)\n---\n")
FENCE = re.compile(r"^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A block of code: the lines above it, the code, and its expected output, if any."""

    line: int
    code: str
    printed: str | None


def blocks(page: str) -> Iterator[Block]:
    """The ``python`` blocks of a page."""
    fences = list(FENCE.finditer(page))
    for at, fence in enumerate(fences):
        if fence["kind"] != "python":
            continue
        printed = None
        for following in fences[at + 1 : at + 2]:
            between = page[fence.end() : following.start()]
            if following["kind"] == "text" and not between.strip():
                printed = following["text"]
        yield Block(page.count("\n", 0, fence.start("text")), fence["text"], printed)


def continues(page: Path) -> Path | None:
    """The page whose examples those of this page go on from."""
    found = CONTINUES.match(page.read_text("utf-8"))
    return page.with_name(found["page"]) if found else None


def run(page: Path, namespace: dict | None = None) -> None:
    """Run a page's blocks, and compare what each prints with its expected output."""
    namespace = {"__name__": "__main__"} if namespace is None else namespace
    for block in blocks(page.read_text(encoding="utf-8")):
        said = io.StringIO()
        code = compile("\n" * block.line + block.code, str(page), "exec")
        with contextlib.redirect_stdout(said):
            exec(code, namespace)
        if block.printed is not None:
            assert said.getvalue() == block.printed, f"{page.name}, line {block.line}"


BEGINNINGS = [page for page in PAGES if not continues(page) and [*blocks(page.read_text("utf-8"))]]


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.slow] * (page.name != "README.md"))
        for page in BEGINNINGS
    ],
    ids=lambda page: page.name,
)
def test_the_code_of_a_page_runs_and_prints_what_the_page_shows(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "examples" / "passengers.csv", tmp_path)
    keras.utils.clear_session()  # layers are numbered as in a fresh process
    random.seed(7)
    np.random.seed(7)
    namespace = {"__name__": "__main__"}
    run(page, namespace)
    if page.name == "your-data.md":
        check_figures_of_passengers(namespace["trained"], namespace["ahead"])
    for following in [each for each in PAGES if continues(each) == page]:
        run(following, dict(namespace))


@pytest.mark.parametrize(
    ("page", "package"), [("from-darts.md", "darts"), ("from-pytorch.md", "torch")]
)
def test_the_code_of_another_library_runs_where_it_is_installed(
    page, package, tmp_path, monkeypatch
):
    pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "examples" / "passengers.csv", tmp_path)
    (code,) = (
        fence["text"]
        for fence in FENCE.finditer((DOCS / page).read_text("utf-8"))
        if fence["kind"] == "py"
    )
    exec(compile(code, page, "exec"), {"__name__": "__main__"})


FIGURES_OF_PASSENGERS = [
    ("docs/your-data.md", r"^model +(\S+)"),
    ("docs/your-data.md", r"from 18 origins \(MAE (\S+)\)"),
    ("README.md", r"mean absolute error of the ensemble \| ([\d.]+)"),
    ("docs/choose.md", r"The ensemble's ([\d.]+) on other pages"),
    ("docs/your-data.md", r"^ +1  1961-01 +(\S+)"),
    ("docs/stream-command.md", r"^144,([\d.]+)"),
]


def check_figures_of_passengers(trained: legato.Trained, ahead: legato.Forecast) -> None:
    """What pages quote of the same training, up to the rounding of other processors."""
    mae, first = trained.scores["model"]["mae"], ahead.values[0, 0, 0]
    for page, pattern in FIGURES_OF_PASSENGERS:
        quoted = re.findall(pattern, (ROOT / page).read_text("utf-8"), re.MULTILINE)
        actual = first if "1961" in pattern or "144" in pattern else mae
        assert np.allclose([float(each) for each in quoted], actual, rtol=0.02), (page, quoted)
        assert quoted, page


def test_every_page_continues_one_that_is_run():
    continued = {continues(page) for page in PAGES} - {None}
    assert continued
    assert continued <= {*BEGINNINGS}


PAGE_THAT_LIES = """
```python
x = 1
```

```python
print(x)
```

```text
2
```
"""


def test_wrong_output_on_a_page_is_detected(tmp_path):
    page = tmp_path / "lies.md"
    page.write_text(PAGE_THAT_LIES)
    with pytest.raises(AssertionError, match=r"lies.md, line 6"):
        run(page)
    page.write_text(PAGE_THAT_LIES.replace("2\n", "1\n"))
    run(page)


def public(cls: type) -> set[str]:
    """The public names that legato gives a class."""
    ours = [base for base in cls.__mro__ if base.__module__.startswith("legato")]
    return {name for base in ours for name in vars(base) if not name.startswith("_")}


def added_arguments() -> set[str]:
    """The arguments of Keras's verbs that Keras does not have."""
    added = set()
    for name in public(legato.Sequential):
        theirs = getattr(keras.Sequential, name, None)
        if callable(theirs):
            mine = inspect.signature(getattr(legato.Sequential, name)).parameters
            added |= set(mine) - set(inspect.signature(theirs).parameters)
    return added


def names_in_code(page: str) -> set[str]:
    """Every word inside backquotes."""
    return {word for code in re.findall(r"`([^`\n]+)`", page) for word in re.findall(r"\w+", code)}


def missing(page: str, names: set[str]) -> set[str]:
    """The names a page of the documentation does not mention in code."""
    return names - names_in_code((DOCS / page).read_text(encoding="utf-8"))


def test_every_added_argument_is_on_the_page_of_state_in_fit():
    arguments = added_arguments()
    assert {"starts", "reset", "validation_state", "advance"} <= arguments
    assert not missing("state-in-fit.md", arguments)
    assert missing("state-in-fit.md", {"a_name_that_is_not_there"})


def test_the_tests_of_the_laws_exist():
    laws = re.findall(r"^\| \(\w\) .*$", (DOCS / "contract.md").read_text("utf-8"), re.MULTILINE)
    assert [law[2:5] for law in laws] == [f"({letter})" for letter in "abcdefghi"]
    for law in laws:
        files = [ROOT / path for path in re.findall(r"`(tests/\S+\.py)`", law)]
        defined = "".join(path.read_text("utf-8") for path in files)
        names = re.findall(r"`(test_\w+)`", law)
        assert names
        assert not [name for name in names if f"def {name}(" not in defined], law


def test_the_paths_that_contributors_are_sent_to_exist():
    page = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    paths = set(re.findall(r"`((?:legato|tests|docs)/[\w./]+)`", page))
    assert len(paths) > 20
    assert not [path for path in paths if not (ROOT / path).exists()]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as MkDocs and GitHub make them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    words = (re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings)
    return {re.sub(r"[-\s]+", "-", each) for each in words}


def broken_links(page: Path) -> list[str]:
    """The links of a page to files of the repository, or to their headings, that lead nowhere."""
    found = []
    for link in re.findall(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"", page.read_text("utf-8")):
        path, _, anchor = "".join(link).partition("#")
        if re.match(r"\w+:", path):
            continue
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append("".join(link))
    return found


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "benchmarks/README.md"])
def test_links_of_pages_outside_the_site_lead_somewhere(page):
    assert broken_links(ROOT / page) == []


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A b\n[x](#a-b) [y](#c) [z](page.md#a-b) [none](no.md) [web](https://a.org)")
    assert broken_links(page) == ["#c", "no.md"]


def notebooks() -> ModuleType:
    """The script that writes the notebooks."""
    spec = importlib.util.spec_from_file_location("notebooks", DOCS / "notebooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", notebooks().PAGES)
def test_a_notebook_is_its_page(name):
    """Its code is that of the page, which runs above, in the same order."""
    page = (DOCS / name).read_text("utf-8")
    written = json.loads((ROOT / "examples" / name).with_suffix(".ipynb").read_text("utf-8"))
    assert written == notebooks().notebook(page), "run python docs/notebooks.py"
    code = ["".join(each["source"]) for each in written["cells"] if each["cell_type"] == "code"]
    assert code == [block.code.rstrip("\n") for block in blocks(page)]
    printed = [each["outputs"][0]["text"] for each in written["cells"] if each.get("outputs")]
    expected = [each.printed for each in blocks(page) if each.printed]
    assert ["".join(each) + "\n" for each in printed] == expected
    text = "".join("".join(e["source"]) for e in written["cells"] if e["cell_type"] == "markdown")
    links = re.findall(r"\]\((\.\./[^)#]+)", text)
    assert links
    assert not [link for link in links if not (ROOT / "examples" / link).exists()]
