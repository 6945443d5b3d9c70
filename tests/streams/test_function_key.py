"""Keys of functions: different whenever the function would compile to a different program."""

import functools
import importlib
import io
import os
import random
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import legato
from legato import layers
from legato._streams.function_key import function_key

CELL = """
def helper(x):
    return x * HELPED
class Scale:
    by = 1.0
    def __init__(self):
        self.own = [1.0]
    def __call__(self, x):
        return x * self.by * self.own[0]
    def scaled(self, x):
        return self(x)
"""


@pytest.fixture
def cell():
    """The globals of a notebook, in which cells of code are run."""
    scope = {"__name__": "__main__", "jnp": jnp, "np": np, "HELPED": 1.0}
    exec(CELL, scope)
    return scope


def run(scope: dict, source: str):
    exec(source, scope)


@pytest.mark.parametrize(
    ("function", "change"),
    [
        ("lambda x: x * FACTOR", "FACTOR = 2.0"),
        ("lambda x: x * FACTOR", "FACTOR = -0.0"),
        ("lambda x: (lambda y: y * FACTOR)(x)", "FACTOR = 2.0"),
        ("lambda x: [y * FACTOR for y in x]", "FACTOR = 2.0"),
        ("lambda x: x * TABLE[0]", "TABLE[0] = 2.0"),
        ("lambda x: x * TABLE[0]", "TABLE = [2.0]"),
        ("lambda x: x * DICT['a'][0]", "DICT['a'][0] = 2.0"),
        ("lambda x: x * ARRAY", "ARRAY[0] = 2.0"),
        ("lambda x: x * ARRAY", "ARRAY = ARRAY.astype('float16')"),
        ("lambda x: x * DEVICE", "DEVICE = DEVICE.at[0].set(2.0)"),
        ("DICT.get", "DICT['b'] = 2.0"),
        ("lambda x: helper(x)", "HELPED = 2.0"),
        ("lambda x: helper(x)", "def helper(x): return x + 2"),
        ("jax_vmapped", "HELPED = 2.0"),
        ("lambda x: jax_vmapped(x)", "HELPED = 2.0"),
        ("with_default", "with_default.__kwdefaults__ = {'factor': 2.0}"),
        ("with_default", "with_default.__kwdefaults__['factor'] = 2.0"),
        ("with_default", "with_default.__defaults__ = (2.0,)"),
        ("functools.partial(helper)", "HELPED = 2.0"),
        ("functools.partial(with_default, factor=FACTOR)", "FACTOR = 2.0"),
        ("scale", "scale.own[0] = 2.0"),
        ("scale", "Scale.by = 2.0"),
        ("scale.scaled", "scale.own = [2.0]"),
        ("scale.scaled", "Scale.__call__ = lambda self, x: x + 2"),
        ("lambda x: x * settings.factor", "settings.factor = 2.0"),
        ("(lambda held: lambda x: x * held.factor)(settings)", "settings.factor = 2.0"),
        ("lambda x: x * getattr(settings, 'factor')", "settings.factor = 2.0"),
        ("lambda x: x * vars(settings)['factor']", "settings.factor = 2.0"),
        ("lambda x: x * globals()['FACTOR']", "FACTOR = 2.0"),
        ("lambda x, held=settings: x * held.factor", "settings.factor = 2.0"),
        ("lambda x, *, held=settings: x * held.factor", "settings.factor = 2.0"),
    ],
)
def test_every_value_a_function_reads_changes_its_key(cell, function, change):
    settings = types.ModuleType("settings")
    settings.factor = 1.0
    cell |= {"FACTOR": 0.0, "TABLE": [1.0], "DICT": {"a": [1.0]}, "ARRAY": np.ones(3)}
    cell |= {"DEVICE": jnp.ones(3), "settings": settings, "functools": functools}
    cell |= {"jax_vmapped": jax.vmap(cell["helper"]), "scale": cell["Scale"]()}
    run(cell, "def with_default(x, other=1.0, *, factor=1.0): return x * other * factor")
    before = function_key(eval(function, cell))
    assert before is not None
    assert function_key(eval(function, cell)) == before
    assert hash(function_key(eval(function, cell))) == hash(before)
    run(cell, "UNREAD = 3")
    assert function_key(eval(function, cell)) == before
    run(cell, change)
    assert function_key(eval(function, cell)) not in (before, None)


def test_closures_are_read_too():
    def by(factor, held):
        def scaled(x):
            return x * factor * held[0] + later

        key = function_key(scaled)
        later = 0
        return key

    assert by(1.0, [1.0]) == by(1.0, [1.0])
    assert by(1.0, [1.0]) != by(2.0, [1.0])
    assert by(1.0, [1.0]) != by(1.0, [2.0])


@pytest.mark.parametrize(
    "hidden", [random.Random(0), np.random.default_rng(0), iter([1, 2]), io.StringIO()]
)
def test_a_value_that_may_change_unnoticed_gives_no_key(hidden):
    assert function_key(lambda x: (x, hidden)) is None


def test_modules_in_a_container_give_no_key():
    """Their attributes are not looked for."""
    settings = types.ModuleType("settings")
    assert function_key(lambda x: x * settings) is not None
    assert function_key(lambda x: x * {"one": settings}["one"].factor) is not None
    held = {"one": settings}
    assert function_key(lambda x: x * held["one"].factor) is None


@pytest.mark.parametrize(
    ("folder", "is_installed"),
    [("site-packages", True), ("dist-packages", True), ("my-site-packages", False), ("src", False)],
)
def test_modules_are_constant_where_packages_are_installed(
    folder, is_installed, tmp_path, monkeypatch
):
    """Also in a folder of another environment, of the user's own, or of the system."""
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "scales.py").write_text("NEXT = iter([1])\ndef by(x): return x * 2\n")
    monkeypatch.syspath_prepend(tmp_path / folder)
    monkeypatch.delitem(sys.modules, "scales", raising=False)
    scales = importlib.import_module("scales")
    assert function_key(scales.by) is not None
    changing = function_key(lambda x: x * next(scales.NEXT))
    assert (changing is not None) == is_installed


IMPORTED = [
    "from . import settings as held",
    "from .. import settings as held",
    "import scaling.settings as held",
    "import scaling; held = scaling.settings",
    "import importlib; held = importlib.import_module('scaling.settings')",
    "from ..settings import factor; held = SimpleNamespace(factor=factor)",
]


@pytest.mark.parametrize("line", IMPORTED)
def test_modules_that_a_function_imports_are_read_too(line, tmp_path, monkeypatch):
    inner = tmp_path / "scaling" / "inner"
    inner.mkdir(parents=True)
    for folder in (inner, inner.parent):
        (folder / "__init__.py").touch()
        (folder / "settings.py").write_text("factor = 1.0")
    code = f"from types import SimpleNamespace\ndef by(x):\n  {line}\n  return x * held.factor"
    (inner / "scales.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [each for each in sys.modules if each.partition(".")[0] == "scaling"]:
        monkeypatch.delitem(sys.modules, name)
    importlib.invalidate_caches()
    importlib.import_module("scaling.settings")
    by = importlib.import_module("scaling.inner.scales").by
    assert by(1.0) == 1.0
    before = function_key(by)
    assert before is not None
    assert function_key(by) == before
    for name in ("scaling.settings", "scaling.inner.settings"):
        importlib.import_module(name).factor = 2.0
    assert by(1.0) == 2.0
    assert function_key(by) != before


PACKAGES_ELSEWHERE = """
    import sys
    import jax.numpy as jnp, keras, numpy as np
    from legato._streams import function_key as found

    assert not any(each in np.__file__ for each in found._FOLDERS)
    for function in (lambda x: np.ones(2) * x, lambda x: jnp.ones(2) * x, keras.ops.relu):
        assert found.function_key(function) is not None
"""


def test_packages_may_be_installed_in_any_folder(tmp_path):
    """As by ``pip install --target``."""
    os.symlink(Path(np.__file__).parents[1], tmp_path / "packages")
    paths = os.pathsep.join([str(tmp_path / "packages"), str(Path(legato.__file__).parents[1])])
    code = textwrap.dedent(PACKAGES_ELSEWHERE)
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": paths}, check=True)


def test_a_function_that_refers_to_itself():
    def again(x):
        return again(x - 1) if x else x

    assert function_key(again) == function_key(again) is not None


@pytest.fixture(scope="module")
def stream():
    model = legato.Sequential([layers.Input((None, 1)), layers.SimpleRNN(1)])
    model.set_weights([np.full(w.shape, 0.5) for w in model.get_weights()])
    return model.stream().warm([[0.3]])


def test_generate_follows_a_global_that_is_rebound(stream, cell, compiled):
    for factor in (1.0, 2.0, 1.0):
        cell["FACTOR"] = factor
        choose = eval("lambda answer: answer * FACTOR", cell)
        expected = stream.answer * factor
        np.testing.assert_allclose(stream.fork().generate(1, choose)[0], expected, 1e-6)
    before = compiled.count
    stream.fork().generate(1, eval("lambda answer: answer * FACTOR", cell))
    assert compiled.count == before


def test_generate_does_not_reuse_a_program_whose_function_may_have_changed(stream):
    class Counting(random.Random):
        factor = 0.0

        def __call__(self, answer):
            return answer * self.factor

    choose = Counting()
    for choose.factor in (1.0, 2.0):
        expected = stream.answer * choose.factor
        np.testing.assert_allclose(stream.fork().generate(1, choose)[0], expected, 1e-6)


def test_a_subclass_of_the_sampler_has_its_own_program():
    model = legato.Sequential([layers.Input((None, 3)), layers.GRU(3), layers.Softmax()])
    stream = model.stream().warm(np.ones((2, 3)))

    class Last(legato.sample):
        def __call__(self, answer, numbers, step):
            return jnp.int32(2)

    stream.fork().generate(4, legato.sample(1.0, 1))
    np.testing.assert_array_equal(stream.fork().generate(4, Last(1.0, 1)), [2] * 4)
