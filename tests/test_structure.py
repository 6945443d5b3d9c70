"""The folders import downwards, public names have one definition, ``import legato`` stays light."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from loading import loaded_after

import legato

PACKAGE = Path(legato.__file__).parent
PROJECT = PACKAGE.parent


def lint_imports(project: Path) -> subprocess.CompletedProcess:
    """Run import-linter with the contracts of ``pyproject.toml`` on a checkout."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(project)}
    return subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, check=False
    )


def test_imports_go_down():
    done = lint_imports(PROJECT)
    assert done.returncode == 0, done.stdout


WRONG = [
    ("_recurrent/state.py", "from legato._models.model import Model", "legato._recurrent.state"),
    (
        "_recurrent/layer_memory.py",
        "def f():\n    from legato import layers",
        "legato._recurrent.layer_memory",
    ),
    ("_execution/run.py", "import legato", "legato._execution.run -> legato (l."),
    (
        "alphabet/_networks.py",
        "from legato._recurrent.model_state import ModelState",
        "legato.alphabet._networks -> legato._recurrent.model_state",
    ),
    ("alphabet/_training.py", "import legato.cli", "legato.alphabet._training -> legato.cli"),
    ("_series/lanes.py", "import keras", "legato._series.lanes -> keras"),
    (
        "_series/windows.py",
        "from legato._recurrent import state",
        "legato._series.windows -> legato._recurrent.state",
    ),
]


def test_a_wrong_import_is_reported(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "legato")
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    for module, source, _ in WRONG:
        path = tmp_path / "legato" / module
        path.write_text(f"{path.read_text(encoding='utf-8')}\n\n{source}\n", encoding="utf-8")
    done = lint_imports(tmp_path)
    reported = " ".join(done.stdout.split())
    assert done.returncode == 1
    assert "4 broken" in reported
    assert [seen for *_, seen in WRONG if seen not in reported] == []


def test_no_two_modules_have_one_name():
    names = Counter(path.stem.strip("_") for path in PACKAGE.rglob("*.py"))
    allowed = {"init", "main"}
    assert [name for name, count in names.items() if count > 1 and name not in allowed] == []


def test_public_names_are_sorted_and_defined():
    assert sorted(legato.__all__) == list(legato.__all__)
    for name in legato.__all__:
        assert getattr(legato, name) is not None
        assert name in dir(legato)


def test_a_missing_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'legato' has no attribute 'Stream_'"):
        _ = legato.Stream_


@pytest.mark.parametrize(
    "code",
    [
        "import legato",
        "import legato.cli",
        "import legato, contextlib\nfrom legato.cli import app\n"
        "with contextlib.suppress(SystemExit):\n    app(['alphabet', '--help'])",
    ],
)
def test_importing_legato_and_its_help_loads_neither_keras_nor_jax(code):
    assert not {"keras", "jax", "numpy", "matplotlib"} & loaded_after(code)


def test_a_command_loads_keras_without_what_it_does_not_need():
    loaded = loaded_after(
        "from legato._platform.keras_import import import_keras_alone\n"
        "import_keras_alone()\n"
        "from legato import load_model, report\n"
        "report.print_table"
    )
    assert "keras" in loaded
    assert not {"matplotlib", "pandas", "sklearn", "jinja2", "scipy"} & loaded


LATER = """
from legato._platform.keras_import import import_keras_alone
import_keras_alone()
import sys
assert not any("splash" in name or name == "jax.experimental.sparse.linalg" for name in sys.modules)
import keras
from legato import report
report.forecast_figure
from keras.src.backend.jax import nn
from jax.experimental import sparse
first = sparse.linalg.spsolve, nn.splash_attention_kernel.SegmentIds
import jax.experimental.sparse.linalg
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel
assert first == (jax.experimental.sparse.linalg.spsolve, splash_attention_kernel.SegmentIds)
assert nn.splash_attention_mask.CausalMask((2, 2)).shape == (2, 2)
"""


def test_what_was_left_out_is_loaded_when_it_is_used():
    assert {"matplotlib", "keras", "scipy"} <= loaded_after(LATER)
    during_the_import = "from legato._platform import keras_import\nkeras_import._put_stand_ins()\n"
    used = "from jax.experimental.sparse import linalg\nlinalg.spsolve"
    assert "scipy" in loaded_after(during_the_import + used)


def test_statistics_load_neither_keras_nor_jax_and_scipy_only_when_needed():
    assert not {"keras", "jax", "scipy"} & loaded_after("import legato\nlegato.interval")
    assert not {"keras", "jax"} & loaded_after("import legato\nlegato.compare([1, 2], [3, 4])")


@pytest.mark.parametrize("code", ["legato.frame(range(9))", "print(legato.Lanes([3, 4]))"])
def test_framing_and_lanes_load_neither_keras_nor_jax(code):
    assert not {"keras", "jax", "scipy"} & loaded_after(f"import legato\n{code}")


def test_the_version_is_that_of_the_changelog():
    changelog = (PACKAGE.parent / "CHANGELOG.md").read_text(encoding="utf-8")
    first = next(line for line in changelog.splitlines() if line.startswith("## "))
    assert first.split()[1] == legato.__version__
