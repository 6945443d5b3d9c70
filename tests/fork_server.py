"""What the fork server of ``tests/forked.py`` imports before it forks.

Garbage is not searched for meanwhile, a quarter of the time, nor later among what was imported: a
search in a child process would copy the memory that it shares with the others. Children compile in
shared contexts, as all tests do (``shared_contexts.py``).
"""

import environment  # noqa: F401, I001  as for all tests: garbage is rarely searched for

import gc
import os

# This folder was put first, for the server to find this module.
_, _, others = os.environ.pop("PYTHONPATH").partition(os.pathsep)
if others:
    os.environ["PYTHONPATH"] = others

gc.disable()

import keras  # noqa: E402, F401
from shared_contexts import share_contexts  # noqa: E402

import legato  # noqa: E402, F401  # whose modules are not: they read a child's environment

share_contexts()
gc.enable()
gc.freeze()
