"""The API reference: every public name is in it, and the examples of the docstrings run.

The pages ``docs/api/*.md`` name what is documented; mkdocstrings makes the rest of the docstrings.
Examples of public names run in an empty namespace, as a reader pastes them; those of private names
in that of their module. Warnings are errors.
"""

import doctest
import importlib
import inspect
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import pytest

import legato

ROOT = Path(__file__).parents[1]
API = ROOT / "docs" / "api"
ENTRY = re.compile(r"^::: (\S+)$", re.MULTILINE)


def public_names() -> dict[str, Any]:
    """Every public name with its module → what it is. Modules are their names."""
    found = {}
    for module, names in (
        (legato, legato.__all__),
        (legato.report, legato.report.__all__),
        (legato.alphabet, [n for n in vars(legato.alphabet) if not n.startswith("_")]),
    ):
        objects = {f"{module.__name__}.{name}": getattr(module, name) for name in names}
        found |= {n: each for n, each in objects.items() if not isinstance(each, ModuleType)}
    return found | {"legato.layers.adopt": legato.layers.adopt}


PUBLIC = public_names()


def entries() -> list[str]:
    """The names that the pages document, in order."""
    return [name for page in sorted(API.glob("*.md")) for name in ENTRY.findall(page.read_text())]


def test_every_public_name_is_documented_once():
    assert sorted(entries()) == sorted(PUBLIC)


def test_every_public_name_is_in_the_overview():
    page = (API.parent / "api.md").read_text("utf-8")
    linked = re.findall(r"\[`\w+`\]\[([\w.]+)\]", page)
    assert sorted([*linked, "legato.layers.adopt"]) == sorted(PUBLIC)


TAKE_OPTIONS = ("legato.train", "legato.plan")


def callables() -> Iterator[tuple[str, Any]]:
    """Public functions, and public methods of public classes, with their names."""
    for name, each in PUBLIC.items():
        if inspect.isclass(each):
            yield name, each
            for base in each.__mro__:
                if base.__module__.startswith("legato"):
                    for attribute, value in vars(base).items():
                        if not attribute.startswith("_") and inspect.isroutine(value):
                            yield f"{name}.{attribute}", getattr(each, attribute)
        elif callable(each):
            yield name, each


def without_docstring() -> list[str]:
    return [name for name, each in callables() if not inspect.getdoc(each)]


def test_every_public_function_and_method_has_a_docstring():
    assert without_docstring() == []


# What only calls make, or what takes long: their examples are those of the calls, and of the pages.
WITHOUT_EXAMPLE = set(
    """
    legato.BackendError legato.InputError legato.MissingError legato.OutputError legato.StateError
    legato.UnsupportedError legato.Diagnostics legato.Forecast legato.Kernels legato.Labelled
    legato.Trained legato.RemoteModel legato.RemoteStream legato.RemoteStreams
    legato.report.answer_facts legato.report.facts legato.report.figure
    legato.report.forecast_figure legato.report.print_answer legato.report.print_answers
    legato.report.print_model legato.report.print_plan legato.report.print_scores
    legato.report.print_summary legato.report.table legato.report.write legato.report.write_page
    legato.report.write_trained_page legato.alphabet.Answer legato.alphabet.Found
    legato.alphabet.Group legato.alphabet.LETTERS legato.alphabet.Look legato.alphabet.NETWORKS
    legato.alphabet.Outcome legato.alphabet.QUESTIONS legato.alphabet.Question
    legato.alphabet.answer legato.alphabet.answers legato.alphabet.next_letter_probabilities
    legato.alphabet.plant legato.alphabet.recite legato.alphabet.train legato.alphabet.train_all
    """.split()
)


def test_every_other_public_name_has_an_example():
    without = {name for name, each in PUBLIC.items() if ">>> " not in (inspect.getdoc(each) or "")}
    assert without == WITHOUT_EXAMPLE


def documented_arguments(docstring: str) -> set[str]:
    """The names in the section ``Args:`` of a docstring; several may share a line."""
    section = re.search(r"^Args:\n((?:    .*\n|\n)+)", docstring + "\n", re.MULTILINE)
    lines = re.findall(r"^    (\*{0,2}\w[\w*, ]*):", section[1], re.MULTILINE) if section else []
    return {name.strip(" *") for line in lines for name in line.split(",")}


def test_the_arguments_of_a_docstring_are_found():
    section = "Args:\n    x, y: two.\n        More: of it.\n    **z: all.\n\nReturns:\n    n: one."
    found = documented_arguments(f"Do.\n\n{section}")
    assert found == {"x", "y", "z"}


def test_every_documented_argument_exists():
    wrong = {}
    for name, each in callables():
        documented = documented_arguments(inspect.getdoc(each) or "")
        if documented:
            parameters = set(inspect.signature(each).parameters)
            if name in TAKE_OPTIONS:
                documented -= {"options"}  # the fields of TrainConfig, by keyword
            if unknown := documented - parameters:
                wrong[name] = unknown
    assert wrong == {}


def modules_with_examples() -> list[str]:
    paths = (path for path in (ROOT / "legato").rglob("*.py") if ">>> " in path.read_text("utf-8"))
    names = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths)
    return sorted(name.removesuffix(".__init__") for name in names)


@pytest.mark.parametrize("name", modules_with_examples())
def test_the_examples_of_a_module_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "examples" / "passengers.csv", tmp_path)
    module = importlib.import_module(name)
    tests = [test for test in doctest.DocTestFinder().find(module) if test.examples]
    assert tests
    public = {each.__qualname__ for each in PUBLIC.values() if hasattr(each, "__qualname__")}
    for test in tests:
        keras.utils.clear_session()  # layers are numbered as in a fresh process
        top = test.name.removeprefix(f"{name}.").partition(".")[0]
        test.globs = {} if top in public else dict(vars(module))
        printed: list[str] = []
        assert not doctest.DocTestRunner().run(test, out=printed.append).failed, "".join(printed)


def test_an_example_that_prints_something_else_is_found():
    test = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, None)
    assert doctest.DocTestRunner().run(test, out=lambda _: None).failed == 1
