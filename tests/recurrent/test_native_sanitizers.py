"""The native kernel under sanitizers: no bad access, no undefined behaviour, no data race."""

import subprocess
from pathlib import Path

import pytest

from legato._recurrent.native import build

DRIVER = Path(__file__).parent / "native_driver.cpp"


@pytest.mark.slow
@pytest.mark.parametrize("sanitizers", ["address,undefined", "thread"])
def test_sanitizers_find_nothing(sanitizers, tmp_path):
    options = f"-O1 -g1 -fsanitize={sanitizers} -fno-sanitize-recover=all"
    program = tmp_path / "driver"
    try:
        build.link(build.compile_objects(DRIVER, tmp_path, options), program, options)
    except build.NotBuiltError as error:
        if "compiler failed" in str(error) and "cannot find" not in str(error):
            raise
        pytest.skip(f"not here: {error}")
    finished = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stdout) == (0, "ok\n"), finished.stderr
