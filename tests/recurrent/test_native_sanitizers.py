"""The native kernel under sanitizers, and that these find something."""

import native_sanitizers
import pytest
from native_sanitizers import SANITIZERS, NotHereError, build, check


def found_by(sanitizers: str) -> str:
    """What sanitizers found; the test is skipped where the compiler has none."""
    try:
        return check(sanitizers)
    except NotHereError as error:
        pytest.skip(f"not here: {error}")


@pytest.mark.slow
@pytest.mark.parametrize("sanitizers", SANITIZERS)
def test_sanitizers_find_nothing(sanitizers):
    assert found_by(sanitizers) == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "finding"),
    [
        ("int main() { int a[2] = {}; return a[__builtin_popcount(7)]; }", "stack-buffer-overflow"),
        ("int main() { return 1; }", "status 1"),
        ("int main() { return missing; }", "compiler failed"),
    ],
)
def test_a_fault_is_found(code, finding, tmp_path, monkeypatch):
    (tmp_path / "native_driver.cpp").write_text(code)
    monkeypatch.setattr(native_sanitizers, "HERE", tmp_path)
    no_kernels = {machine: {} for machine in build.KERNELS}  # which take seconds to compile
    monkeypatch.setattr(build, "KERNELS", no_kernels)
    assert finding in found_by("address")
