"""Run the native kernel under sanitizers: `python tests/recurrent/native_sanitizers.py`.

They find bad access, undefined behaviour and data races. Needed are the standard library and a C++
compiler alone, so that CI runs it while packages are installed.
"""

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "legato" / "_recurrent" / "native" / "build.py"
SANITIZERS = ("address,undefined", "thread")


def _load(path: Path) -> ModuleType:
    """Load a module by its path: legato itself is not installed yet."""
    spec = importlib.util.spec_from_file_location("native_build", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = _load(BUILD)


class NotHereError(Exception):
    """There is no compiler with these sanitizers."""


def check(sanitizers: str) -> str:
    """Compile the driver with sanitizers, and run it; returns what was found, "" for nothing.

    Raises:
        NotHereError: it cannot be compiled here.
    """
    options = ["-O1", "-g1", f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all"]
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "driver")
        try:
            objects = build.compile_objects(HERE / "native_driver.cpp", Path(folder), options)
            build.link(objects, program, options)
        except build.NotBuiltError as error:
            if "compiler failed" in str(error) and "cannot find" not in str(error):
                return str(error)
            raise NotHereError(str(error)) from None
        finished = subprocess.run([program], capture_output=True, text=True, check=False)
    if (finished.returncode, finished.stdout) == (0, "ok\n"):
        return ""
    return f"status {finished.returncode}: {finished.stdout}{finished.stderr}"


def main() -> int:
    """Print what each of them found; the number of those that found something."""
    failed = 0
    for sanitizers in SANITIZERS:
        try:
            found = check(sanitizers)
        except NotHereError as error:
            print(f"{sanitizers}: not here: {error}")
            continue
        print(f"{sanitizers}: {found or 'nothing found'}")
        failed += bool(found)
    return failed


if __name__ == "__main__":
    sys.exit(main())
