"""legato: the state of recurrent networks, explicit, correct, fast and portable. Keras 3 on JAX.

The public names are listed in ``__init__.pyi``, each with the module that defines it; that module
is loaded when the name is first used. ``import legato`` loads neither Keras nor JAX, it only
settles that Keras will run on JAX.
"""

import lazy_loader

from legato._platform.backend import choose_jax

__version__ = "0.1.0"

choose_jax()

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _load(name)
