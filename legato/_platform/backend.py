"""Selects JAX as Keras's backend before either is loaded, and sets up JAX's compilation cache.

Keras reads ``KERAS_BACKEND`` once, when it is first imported: import legato first and it is JAX.
Compiled programs are kept in the user's cache directory: ``$LEGATO_CACHE_DIR``, else
``$XDG_CACHE_HOME/legato``, else ``~/.cache/legato``. Set ``LEGATO_CACHE_DIR=off`` to keep none. A
cache directory that JAX was already given is left alone.
"""

import os
import sys
from functools import cache
from pathlib import Path

from legato._errors import BackendError, InputError
from legato._platform.program_files import use_program_files


def choose_jax() -> None:
    """Make Keras use JAX.

    Raises:
        BackendError: Keras was imported before legato and runs on another backend.
    """
    keras = sys.modules.get("keras")
    if keras is None:
        os.environ["KERAS_BACKEND"] = "jax"
        return
    backend = keras.config.backend()
    if backend != "jax":
        raise BackendError(
            f"Keras is already running on {backend!r}; legato needs it on 'jax', and a process "
            "cannot change backends. Import legato before keras, or set the environment variable "
            "KERAS_BACKEND=jax."
        )


def cache_directory() -> Path | None:
    """The folder of compiled programs, shared by processes; None if the user switched it off."""
    chosen = os.environ.get("LEGATO_CACHE_DIR")
    if chosen is not None:
        return None if chosen.lower() in ("", "off", "0") else Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "legato"


def device_share_bytes() -> float:
    """The number of bytes up to which data are sent to the device as a whole, not in blocks.

    It is the share ``$LEGATO_DATA_SHARE`` of the device's memory, from 0 to 1; default: a quarter.

    Raises:
        InputError: the variable is not a number from 0 to 1.
    """
    value = os.environ.get("LEGATO_DATA_SHARE", "0.25")
    try:
        share = float(value)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise InputError(
            f"The environment variable LEGATO_DATA_SHARE is {value!r}; a number from 0 to 1 was "
            "expected: the share of the device's memory that data may take as a whole."
        )
    return share * _device_bytes()


@cache
def _device_bytes() -> int:
    """Bytes of the default device's memory; on a CPU, of the machine's."""
    import jax

    statistics = jax.local_devices()[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def set_up_jax() -> None:
    """Set up JAX's compilation cache, and make its calls on the CPU synchronous.

    Asynchronous dispatch to another thread takes half the time of a small call, and a process that
    is interrupted and ends while such a call runs crashes.
    """
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)
    _keep_compiled_programs(jax)


def _keep_compiled_programs(jax) -> None:
    """Put JAX's persistent compilation cache into the user's cache directory."""
    directory = cache_directory()
    if directory is None or getattr(jax.config, "jax_compilation_cache_dir", None) is not None:
        return
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:  # of a read-only home: programs are compiled again in each process
        return
    if not os.access(directory, os.W_OK):
        return
    use_program_files(directory)
    # Keep all programs: small models have many, each compiled in a fraction of a second.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
