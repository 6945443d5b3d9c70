"""Build hook: compiles the native kernel when legato is installed, if a C++ compiler is there.

Wheels then carry the library and are for one platform; an editable installation has it beside its
sources. Without a compiler, or if compiling fails, legato is installed without it and says why:
its kernels in JAX compute the same. `LEGATO_NATIVE=off` turns it off, `CXX` names the compiler.
"""

import importlib.util
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = "legato/_recurrent/native"


def _load_build(root: str):
    """The module that compiles, by its path: legato itself is not installed yet."""
    path = Path(root, SOURCES, "build.py")
    spec = importlib.util.spec_from_file_location("legato_native_build", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class NativeKernelHook(BuildHookInterface):
    def dependencies(self) -> list[str]:
        """jax, whose jaxlib has the headers, only where they can be used."""
        build = _load_build(self.root)
        try:
            build.compiler()
        except build.NotBuiltError:
            return []
        return ["jax>=0.10"]

    def initialize(self, version: str, build_data: dict) -> None:
        if self.target_name != "wheel":
            return
        build = _load_build(self.root)
        try:
            library = build.build()
        except build.NotBuiltError as error:
            self.app.display_warning(
                f"legato is installed without its native kernel, and computes in JAX: {error}"
            )
            return
        build_data["artifacts"].append(f"/{SOURCES}/{library.name}")
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
