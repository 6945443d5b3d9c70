"""What the fork server of ``tests/forked.py`` imports before it forks.

Garbage is not searched for meanwhile, a quarter of the time, nor later among what was imported: a
search in a child process would copy the memory that it shares with the others.
"""

import gc
import os
from importlib import import_module

# This folder was put first, for the server to find this module.
_, _, others = os.environ.pop("PYTHONPATH").partition(os.pathsep)
if others:
    os.environ["PYTHONPATH"] = others

_IMPORTED = (
    "keras",
    "legato._forecasting.train",
    "legato._serve.server",
    "legato.alphabet",
    "legato.cli",
)

gc.disable()
for _name in _IMPORTED:
    import_module(_name)
import_module("shared_contexts").share_contexts()
gc.set_threshold(500_000)  # as in environment.py
gc.enable()
gc.freeze()
