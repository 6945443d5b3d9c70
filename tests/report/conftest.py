"""Outcomes of all networks, and inspections of two, for all tests of the report."""

import pytest
from alphabet_outcomes import outcome

from legato import alphabet


@pytest.fixture(scope="session")
def outcomes():
    return [outcome(network, seed) for network in alphabet.NETWORKS for seed in (1, 2, 3)]


@pytest.fixture(scope="session")
def inspections():
    """Inspections of two untrained networks, one stateful and one stateless."""
    alphabet.plant(7)
    return [alphabet.look(each.build(), each) for each in alphabet.find(["steps", "stateful"])]
