"""The house keeps its order: imports go down, public names have one path, the front door is light.

The order is DESIGN's, with the rooms that building it made necessary: ``_backend``, ``_files``,
``_steps`` and ``_packing`` on the ground floor, ``_keras`` (every private name of Keras),
``_memory`` (a layer's state variables); between the state and the model the way of data
(``_data``, ``_feeding``, ``_intake``), of programs (``_engine``, ``_programs``, ``_run``) and of a
verb (``_passes``, ``_training``, ``_watch``, ``_resume``), and ``_saving``; on the model
``_loading``, ``_torch`` and ``_onnx``.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import legato

PACKAGE = Path(legato.__file__).parent
# Rooms that load neither Keras nor JAX; anyone may come in.
GROUND = ["_errors", "_backend", "_files"]
# Sequences as values: laid out, split, scored, read from files.
GROUND += ["_sequences", "_calendar", "_steps", "_packing", "_lanes", "_framing", "_splits"]
GROUND += ["_baselines", "_scores", "_label_scores", "_statistics", "_forecast", "_labelled"]
GROUND += ["_words", "_delimited", "_tables", "_columns", "_row", "_times", "_reading"]
ROOMS = [
    *GROUND,
    "_state",
    "_keras",
    "_memory",
    "layers",
    "_small_call",
    "_program",
    "_data",
    "_feeding",
    "_engine",
    "_programs",
    "_resume",
    "_watch",
    "_run",
    "_passes",
    "_training",
    "_intake",
    "_saving",
    "_packed",
    "_fed",
    "_streamable",
    "_pasts",
    "_onestep",
    "_choosing",
    "_stream_files",
    "_stepper",
    "_trace",
    "_stream",
    "_stream_table",
    "_journal",
    "_together",
    "_streams",
    "_streaming",
    "_explaining",
    "_remembering",
    "_carrying",
    "_model",
    "_numbers",
    "_jacobians",
    "_flow",
    "_influence",
    "_kin",
    "_side_by_side",
    "_replicates",
    "_loading",
    "_task",
    "_network",
    "_walking",
    "_asking",
    "_examining",
    "_trained",
    "_parts",
    "_lessons",
    "_school",
    "_learning",
    "_state_dict",
    "_torch",
    "_onnx",
]
BY_THE_FRONT_DOOR = ["alphabet", "report", "cli", "__main__"]


def imports_of(source: str) -> set[str]:
    """Rooms of legato that a module imports at any depth; ``""`` is the front door."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "legato":
            names = {alias.name for alias in node.names}
            found |= {name if name in ROOMS + BY_THE_FRONT_DOOR else "" for name in names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module.startswith("legato."):
                found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            found |= {([*name, ""])[1] for name in names if name[0] == "legato"}
    return found


def broken_rules(room: str, source: str) -> list[str]:
    """What a room imports and must not."""
    imported = imports_of(source) - {room}
    if room in ROOMS:
        allowed = set(ROOMS[: ROOMS.index(room)])
        return sorted(f"{room} imports {name or 'the front door'}" for name in imported - allowed)
    below = BY_THE_FRONT_DOOR[: BY_THE_FRONT_DOOR.index(room)]
    allowed = {"", "layers", *GROUND, *below}
    return sorted(f"{room} imports {name}" for name in imported - allowed)


def modules() -> list[tuple[str, Path]]:
    """(room, file) for every module of the package but the front door itself."""
    return [
        (path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path)
        for path in sorted(PACKAGE.rglob("*.py"))
        if path != PACKAGE / "__init__.py"
    ]


@pytest.mark.parametrize(("room", "path"), modules(), ids=lambda each: getattr(each, "name", each))
def test_imports_go_down(room, path):
    assert broken_rules(room, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("room", "source", "rule"),
    [
        ("_state", "from legato._model import Model", "_state imports _model"),
        ("_memory", "def f():\n    from legato import layers", "_memory imports layers"),
        ("_engine", "import legato", "_engine imports the front door"),
        ("alphabet", "from legato._engine import Engine", "alphabet imports _engine"),
        ("report", "import legato.cli", "report imports cli"),
    ],
)
def test_a_wrong_import_would_be_seen(room, source, rule):
    assert broken_rules(room, source) == [rule]


def test_public_names_are_sorted_and_all_there():
    assert sorted(legato.__all__) == list(legato.__all__)
    for name in legato.__all__:
        assert getattr(legato, name) is not None
        assert name in dir(legato)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'legato' has no attribute 'Stream_'"):
        _ = legato.Stream_  # pyright: ignore[reportAttributeAccessIssue]


def loaded_after(code: str) -> set[str]:
    """Top-level modules a fresh process has loaded after running some code."""
    show = f"import sys\n{code}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", show], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import legato",
        "import legato.cli",
        "import legato, contextlib\nfrom legato.cli import app\n"
        "with contextlib.suppress(SystemExit):\n    app(['alphabet', '--help'])",
    ],
)
def test_the_front_door_loads_neither_keras_nor_jax(code):
    assert not {"keras", "jax", "numpy", "matplotlib"} & loaded_after(code)


def test_statistics_load_neither_keras_nor_jax_and_scipy_only_when_asked():
    assert not {"keras", "jax", "scipy"} & loaded_after("import legato\nlegato.interval")
    assert not {"keras", "jax"} & loaded_after("import legato\nlegato.compare([1, 2], [3, 4])")


@pytest.mark.parametrize("code", ["legato.frame(range(9))", "print(legato.Lanes([3, 4]))"])
def test_rooms_of_numpy_only_load_neither_keras_nor_jax(code):
    assert not {"keras", "jax", "scipy"} & loaded_after(f"import legato\n{code}")


def test_the_version_is_the_changelogs():
    changelog = (PACKAGE.parent / "CHANGELOG.md").read_text(encoding="utf-8")
    first = next(line for line in changelog.splitlines() if line.startswith("## "))
    assert first.split()[1] == legato.__version__
