"""Imports Keras without the modules that a command does not need: in half of the time.

Keras imports matplotlib, pandas and scikit-learn in case they are there, and two modules of JAX
that it uses for attention on TPUs and for solving sparse systems, of which the second needs SciPy.
The former three are hidden meanwhile. In the place of the latter are stand-ins, which import the
module when they are first used.
"""

import gc
import importlib
import sys
from types import ModuleType
from typing import Any

_HIDDEN = ("matplotlib", "pandas", "sklearn")
_LATER = {  # a module: the modules in it that are imported from it
    "jax.experimental.pallas.ops.tpu.splash_attention": (
        "splash_attention_kernel",
        "splash_attention_mask",
    ),
    "jax.experimental.sparse.linalg": (),
}


class _Later(ModuleType):
    """Stands for a module until it is used: its attributes are those of the real one."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked by whoever looks through all modules
            raise AttributeError(name)
        _remove_stand_ins()  # Keras is still being imported, and uses it
        return getattr(importlib.import_module(self.__name__), name)


def _put_stand_ins() -> None:
    for name, parts in _LATER.items():
        if name not in sys.modules:
            sys.modules[name] = module = _Later(name)
            for part in parts:
                setattr(module, part, _Later(f"{name}.{part}"))


def _remove_stand_ins() -> None:
    for name in _LATER:
        if isinstance(sys.modules.get(name), _Later):
            del sys.modules[name]


def import_keras_alone() -> None:
    """Import Keras without the modules that a command does not need from it.

    They may be imported later. Where Keras is loaded already nothing changes, and a module that is
    loaded stays. Garbage is not searched for meanwhile, nor later among what was imported.
    """
    if "keras" in sys.modules:
        return
    collects = gc.isenabled()
    gc.disable()
    hidden = [name for name in _HIDDEN if name not in sys.modules]
    modules: dict = sys.modules
    modules.update(dict.fromkeys(hidden))  # None: importing it raises an ImportError
    _put_stand_ins()
    try:
        import keras  # noqa: F401
    finally:
        _remove_stand_ins()
        for name in hidden:
            del modules[name]
        gc.freeze()
        if collects:
            gc.enable()
