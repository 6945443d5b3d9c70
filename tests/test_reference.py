"""The API reference: every public name is in it, and the examples of the docstrings run.

The pages ``docs/api/*.md`` name what is documented; mkdocstrings makes the rest of the docstrings.
Examples of public names run in an empty namespace, as a reader pastes them; those of private names
in that of their module. Warnings are errors.
"""

import doctest
import functools
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
from serve.serving import config_of, serving

import legato
from legato import layers

ROOT = Path(__file__).parents[1]
API = ROOT / "docs" / "api"
EXAMPLE_ADDRESS = "http://127.0.0.1:8000"  # of a server, in examples
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


WITHOUT_EXAMPLE = {
    "legato.BackendError",  # only an interpreter that began with another backend raises it
    "legato.ProcessError",  # only a process that trains with others raises it
    "legato.MissingError",  # only without a package that the tests have
    "legato.alphabet.LETTERS",  # three constants: their docstrings are those of str and tuple
    "legato.alphabet.NETWORKS",
    "legato.alphabet.QUESTIONS",
}


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


@pytest.fixture(scope="module")
def trained_once():
    """``train``, which trains what several examples train only once."""
    kept: dict[str, Any] = {}

    def once(train, *args, **options):
        key = f"{train.__module__} {args} {options}"
        if key not in kept:
            kept[key] = train(*args, **options)
        return kept[key]

    with pytest.MonkeyPatch.context() as patch:
        for module in (legato, legato.alphabet):
            patch.setattr(module, "train", functools.partial(once, module.train))
        yield


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a server, whose model takes three features and answers two numbers."""
    folder = tmp_path_factory.mktemp("served")
    model = legato.Sequential([layers.Input((None, 3)), layers.GRU(2)])
    model.save(folder / "m.keras")
    with serving(config_of(folder / "m.keras", folder / "m.streams")) as client:
        yield str(client.base_url)


def examples(module: ModuleType, request: pytest.FixtureRequest) -> list[doctest.DocTest]:
    """The examples of a module's docstrings, those of a client with a server to connect to."""
    tests = [test for test in doctest.DocTestFinder().find(module) if test.examples]
    for example in (each for test in tests for each in test.examples):
        if EXAMPLE_ADDRESS in example.source:
            address = request.getfixturevalue("server")
            example.source = example.source.replace(EXAMPLE_ADDRESS, address)
    return tests


@pytest.mark.usefixtures("trained_once")
@pytest.mark.parametrize("name", modules_with_examples())
def test_the_examples_of_a_module_run(name, tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "examples" / "passengers.csv", tmp_path)
    module = importlib.import_module(name)
    tests = examples(module, request)
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
