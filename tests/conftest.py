"""How all tests are run; their fixtures are in ``tests/shared_fixtures.py``."""

import environment  # noqa: F401, I001  to be imported before all else

import os
from collections import defaultdict

import legato  # noqa: F401  chooses the backend, before Keras is imported
import pytest


def pytest_configure(config):
    """Ignore known warnings, and import the fixtures, with Keras and JAX, where tests are run.

    The warnings are NumPy 2's in Keras 3.15's own ``get_weights``, and that of a stateful layer
    that runs backwards.
    """
    for known in (
        "ignore:__array__ implementation doesn't accept:DeprecationWarning",
        "ignore:Layer .* is stateful and runs backwards in time:UserWarning",
    ):
        config.addinivalue_line("filterwarnings", known)
    if config.getoption("dist", "no") == "no":  # else pytest-xdist's workers run the tests
        config.pluginmanager.import_plugin("shared_fixtures")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A worker runs whole modules, so that it alone builds and compiles what their tests share."""
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False  # slow ones first, as sorted below
    return LoadFileScheduling(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """One worker more than processors: some tests wait for processes that they have killed."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark all but ``quick_cases`` of a test as slow, and put modules with slow tests first: at the
    end, one would run alone."""
    cases = defaultdict(list)
    for item in items:
        if item.get_closest_marker("quick_cases"):
            cases[item.nodeid.partition("[")[0]].append(item)
    for of_one_test in cases.values():
        (count,) = of_one_test[0].get_closest_marker("quick_cases").args
        quick = {len(of_one_test) * i // count for i in range(count)}
        for i, item in enumerate(of_one_test):
            if i not in quick:
                item.add_marker("slow")
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
