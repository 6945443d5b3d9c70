"""Compiles the native kernel: `python legato/_recurrent/native/build.py`.

The build hook of the package (`hatch_build.py`) calls it when legato is installed, and it may be
run by hand in a checkout. `recurrence.cpp` is compiled once for each instruction set of the
processor's family, all at the same time, and linked to one library beside the sources. Needed are a
compiler (the environment variable `CXX`, or `c++`, `g++` or `clang++`) and jaxlib, whose headers
describe the calls of XLA. The module imports nothing but the standard library until it compiles, so
that the build hook can load it by its path.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
LIBRARY = FOLDER / "_recurrence.so"

COMMON = (
    "-std=c++17 -O3 -fPIC -fvisibility=hidden -ffp-contract=fast -fno-math-errno -fno-trapping-math"
)
KERNEL = "-fno-exceptions -fno-rtti -Wno-psabi"

# Name of a kernel → floats in a vector, rows and vectors of a tile (the fastest measured), and the
# compiler's options.
X86 = {
    "baseline": (4, 4, 2, ""),
    "avx2": (8, 4, 3, "-mavx2 -mfma"),
    "avx512": (16, 8, 3, "-mavx2 -mfma -mavx512f"),
}
ARM = {"baseline": (4, 4, 4, "")}  # NEON is part of the base of aarch64
KERNELS = {"x86_64": X86, "AMD64": X86, "aarch64": ARM, "arm64": ARM}


class NotBuiltError(Exception):
    """The library cannot be built here; the message says why."""


def sources_version(folder: Path = FOLDER) -> str:
    """A hash of the C++ sources, to tell a library of other sources."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.h"), *folder.glob("*.cpp")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def compiler() -> list[str]:
    """The command of the C++ compiler."""
    if os.environ.get("LEGATO_NATIVE", "").lower() == "off":
        raise NotBuiltError("LEGATO_NATIVE is off")
    if sys.platform not in {"linux", "darwin"} or platform.machine() not in KERNELS:
        raise NotBuiltError(f"there is none for {sys.platform} on {platform.machine()}")
    chosen = shlex.split(os.environ.get("CXX", ""))
    names = [chosen[0]] if chosen else ["c++", "g++", "clang++"]
    for name in names:
        if shutil.which(name):
            return chosen or [name]
    raise NotBuiltError(f"no C++ compiler was found (looked for {', '.join(names)})")


def _run_all(commands: list[list[str]]) -> None:
    """Run commands at the same time; the first that fails is the error."""
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for command in commands
    ]
    outputs = [process.communicate()[0] for process in running]
    for command, process, output in zip(commands, running, outputs, strict=True):
        if process.returncode:
            raise NotBuiltError(f"the compiler failed:\n{shlex.join(command)}\n{output}")


def compile_objects(source: Path, work: Path, options: list[str]) -> list[str]:
    """Compile a C++ source, and the kernels of all instruction sets, into a folder.

    Args:
        source: `calls.cpp`, or a program that calls the kernels itself.
        work: the folder for the object files.
        options: further options of the compiler, such as a folder of headers.

    Returns:
        The object files.
    """
    command = [*compiler(), *COMMON.split(), *options, f"-I{FOLDER}"]
    version = f'-DLEGATO_SOURCES="{sources_version()}"'
    output = ["-c", str(source), "-o", str(work / "calls.o")]
    commands = [[*command, version, *output]]
    for kernel, (vector, rows, vectors, flags) in KERNELS[platform.machine()].items():
        macros = {
            "LEGATO_KERNEL": f"legato_kernel_{kernel}",
            "LEGATO_NAME": f'"{kernel}"',
            "LEGATO_VECTOR": vector,
            "LEGATO_TILE_ROWS": rows,
            "LEGATO_TILE_VECTORS": vectors,
        }
        defines = [f"-D{macro}={value}" for macro, value in macros.items()]
        output = ["-c", str(FOLDER / "recurrence.cpp"), "-o", str(work / f"{kernel}.o")]
        commands.append([*command, *KERNEL.split(), *flags.split(), *defines, *output])
    _run_all(commands)
    return [words[-1] for words in commands]


def link(objects: list[str], output: Path, options: list[str]) -> None:
    """Link objects to a library or a program."""
    _run_all([[*compiler(), *objects, "-o", str(output), "-pthread", *options]])


def build(library: Path = LIBRARY) -> Path:
    """Compile and link the library; raises NotBuiltError with the reason."""
    compiler()  # if there is none, that is the reason
    try:
        from jax.ffi import include_dir
    except ImportError as error:
        raise NotBuiltError(f"jax is not installed: {error}") from error
    with tempfile.TemporaryDirectory() as name:
        made = Path(name, library.name)
        headers = ["-isystem", include_dir()]  # of the calls of XLA
        link(compile_objects(FOLDER / "calls.cpp", Path(name), headers), made, ["-shared"])
        _strip(made)
        partial = library.with_suffix(".partial")
        shutil.copyfile(made, partial)
        os.replace(partial, library)
    return library


def _strip(library: Path) -> None:
    """Drop the symbols that nobody looks up, where `strip` is installed."""
    if sys.platform == "linux" and shutil.which("strip"):
        subprocess.run(["strip", "--strip-unneeded", str(library)], check=False)


if __name__ == "__main__":
    try:
        print(f"built {build()}")
    except NotBuiltError as error:
        sys.exit(f"legato's native kernel was not built: {error}")
