"""The native kernel is compiled where possible; legato is installed without it elsewhere."""

import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from legato._recurrent import native_kernel
from legato._recurrent.native import build

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def usual_environment(monkeypatch):
    for name in ("CXX", "LEGATO_NATIVE"):
        monkeypatch.delenv(name, raising=False)


def no_compiler(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def quick_compiler(monkeypatch, folder: Path) -> None:
    """Let the compiler optimize nothing, which takes a third of the time."""
    command = build.compiler()
    path = os.environ["PATH"]
    folder.mkdir()
    (folder / command[0]).write_text(
        f'#!/bin/sh\nPATH={shlex.quote(path)}\nexec {command[0]} "$@" -O0\n'
    )
    (folder / command[0]).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{path}")


def test_a_missing_compiler_is_said(monkeypatch, tmp_path):
    no_compiler(monkeypatch, tmp_path)
    with pytest.raises(
        build.NotBuiltError, match=r"no C\+\+ compiler was found \(looked for c\+\+"
    ):
        build.build(tmp_path / "library.so")
    monkeypatch.setenv("CXX", "ccache special-c++ -m64")
    with pytest.raises(build.NotBuiltError, match=r"looked for ccache\)"):
        build.build(tmp_path / "library.so")


def test_building_can_be_turned_off(monkeypatch, tmp_path):
    monkeypatch.setenv("LEGATO_NATIVE", "OFF")
    with pytest.raises(build.NotBuiltError, match="LEGATO_NATIVE is off"):
        build.build(tmp_path / "library.so")


def test_other_processors_have_none(monkeypatch, tmp_path):
    monkeypatch.setattr(build.platform, "machine", lambda: "riscv64")
    with pytest.raises(build.NotBuiltError, match=r"there is none for \w+ on riscv64"):
        build.build(tmp_path / "library.so")


@pytest.mark.skipif(sys.platform == "win32", reason="the compiler is a shell script")
def test_what_the_compiler_says_is_passed_on(monkeypatch, tmp_path):
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'cannot find <cstdint>'\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", f"{broken} --fast")
    message = r"the compiler failed:(?s:.)*--fast(?s:.)*<cstdint>"
    with pytest.raises(build.NotBuiltError, match=message):
        build.build(tmp_path / "library.so")
    assert not (tmp_path / "library.so").exists()


def test_why_a_library_is_not_used_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "LIBRARY", tmp_path / "library.so")
    with pytest.raises(OSError, match=r"it is not built: install legato again .*, or run python "):
        native_kernel._open_library()
    build.LIBRARY.write_bytes(b"no library")
    with pytest.raises(OSError, match=r"library\.so"):
        native_kernel._open_library()
    monkeypatch.setenv("LEGATO_NATIVE", "off")
    with pytest.raises(OSError, match="environment variable LEGATO_NATIVE is 'off'"):
        native_kernel._open_library()


@pytest.mark.skipif(not build.LIBRARY.exists(), reason="the native kernel is not built")
def test_a_library_of_other_sources_or_another_processor_is_not_used(monkeypatch):
    monkeypatch.setenv("LEGATO_NATIVE", "mmx")
    with pytest.raises(OSError, match="this processor has no kernel 'mmx', which LEGATO_NATIVE"):
        native_kernel._open_library()
    monkeypatch.setattr(build, "sources_version", lambda: "another")
    with pytest.raises(OSError, match="it is built from other sources: run python "):
        native_kernel._open_library()


def time_of_library() -> int | None:
    """When the library in use was written; None if there is none."""
    return build.LIBRARY.stat().st_mtime_ns if build.LIBRARY.exists() else None


def copy_of_sources(folder: Path) -> Path:
    """What a wheel is built from, since building writes the library beside its sources."""
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "legato"):
        source, to = ROOT / name, folder / name
        if source.is_dir():
            shutil.copytree(source, to, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        else:
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, to)
    return folder


def make_wheel(folder: Path) -> tuple[str, list[str]]:
    """Build a wheel as pip does: its name, and the files in it that belong to the native kernel."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(folder)]
    command.append(str(copy_of_sources(folder / "sources")))
    subprocess.run(command, check=True, env=dict(os.environ))
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        names = files.namelist()
    return wheel.name, [name for name in names if name.startswith("legato/_recurrent/native/")]


@pytest.mark.slow
def test_wheels_carry_the_library_where_there_is_a_compiler(monkeypatch, tmp_path):
    pytest.importorskip("hatchling", reason="wheels are built by hatchling")
    library = f"legato/_recurrent/native/{build.LIBRARY.name}"
    try:
        build.compiler()
    except build.NotBuiltError as error:
        pytest.skip(str(error))
    quick_compiler(monkeypatch, tmp_path / "bin")
    before = time_of_library()
    name, files = make_wheel(tmp_path / "with")
    assert library in files
    assert not name.endswith("none-any.whl")
    no_compiler(monkeypatch, tmp_path)
    name, files = make_wheel(tmp_path / "without")
    assert library not in files
    assert name.endswith("py3-none-any.whl")
    assert time_of_library() == before
