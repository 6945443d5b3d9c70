"""The environment of tests and their child processes, set by importing this before all else.

Programs are compiled quickly, since most of a test's time is compilation. With
``JAX_DISABLE_MOST_OPTIMIZATIONS=0`` in the environment they are compiled as for users.
"""

import gc
import os
from importlib.metadata import version

gc.set_threshold(500_000)  # imports and tracing make many objects that stay

_ON_ONE_CORE = "--xla_cpu_parallel_codegen_split_count=1"  # tests run side by side
_QUICK = ["--xla_cpu_use_fusion_emitters=false", _ON_ONE_CORE]
_others = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if flag not in _QUICK]

AS_FOR_USERS = {  # variables for a child process
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "0",
    "POLARS_MAX_THREADS": str(os.cpu_count() or 1),
    "XLA_FLAGS": " ".join(_others),
}

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "1")  # of each operation of a program
os.environ.setdefault("JAX_INCLUDE_FULL_TRACEBACKS_IN_LOCATIONS", "0")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # tests run side by side
os.environ.setdefault("POLARS_MAX_THREADS", "1")  # an eighth of the time of small tables
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "4")  # which share the rows of a batch, if asked
os.environ.pop("COLUMNS", None)  # no terminal, no width
_is_quick = os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1") != "0"
if version("jaxlib").startswith("0.10."):  # XLA ends a process at an unknown flag
    os.environ["XLA_FLAGS"] = " ".join([*_others, *(_QUICK if _is_quick else [_ON_ONE_CORE])])
