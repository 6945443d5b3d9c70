"""Fixtures of all tests: one seed, and the cells of ``tests/cells.py``.

A test with the fixture ``cell`` runs once for every line of that list; the fixture ``model`` is the
cell's model, built once in a process, with its state reset. Tests that train build their own model
(``cell.make()``).
"""

import gc
import os
import random
import signal

import jax
import keras
import numpy as np
import pytest
from cells import CELLS, Counter, ready
from initial_weights import draw_with_one_program
from interrupting import sigint_handled_by
from shared_contexts import share_contexts

SEED = 20_160_815
MAX_PROGRAMS = 3000  # kept in a process; each takes about ten mappings of 65,530
draw_with_one_program()
share_contexts()


@pytest.fixture(autouse=True)
def _seeded():
    """Every test starts from the same random numbers, whatever ran before it."""
    random.seed(SEED)
    np.random.seed(SEED)
    keras.utils.set_random_seed(SEED)


@pytest.fixture(autouse=True, scope="module")
def _collected_once(_programs):
    """What a module leaves behind, mostly compiled programs, is not searched for garbage again.

    Many programs at a time would take more memory mappings than Linux allows a process.
    """
    yield
    if _programs.count > MAX_PROGRAMS:
        jax.clear_caches()
        _programs.count = 0
    gc.collect()
    gc.freeze()


@pytest.fixture
def optimized(monkeypatch):
    """Programs are compiled with all optimizations, as for users: for equality to the bit."""
    monkeypatch.setattr("cells._FIRST", {})  # models of other tests, whose programs would be used
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    less = os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] != "0"
    jax.config.update("jax_disable_most_optimizations", less)


@pytest.fixture
def interruptible():
    """SIGINT interrupts, here and in child processes, also if pytest was started without."""
    with sigint_handled_by(signal.default_int_handler):
        yield


@pytest.fixture
def rng():
    """NumPy's generator, for data."""
    return np.random.default_rng(SEED)


@pytest.fixture(params=CELLS, ids=lambda cell: cell.name)
def cell(request):
    """Each cell of the list."""
    return request.param


@pytest.fixture
def model(cell):
    """The cell's model with its state reset; not to be trained."""
    return ready(cell)


@pytest.fixture(scope="session")
def _counter():
    return Counter()


@pytest.fixture(scope="session")
def _programs():
    return Counter()


@pytest.fixture
def compiled(_counter):
    """A counter of the programs XLA has compiled since the test began (``compiled.count``)."""
    _counter.count = _counter.new = 0
    return _counter
