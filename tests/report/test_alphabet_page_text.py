"""The sentences of the page on influence and on states."""

import dataclasses

import numpy as np

import legato
from legato import alphabet
from legato.report import _alphabet_page_text


def test_sentences_on_influence_follow_from_the_map(inspections):
    steps, stateful = inspections
    assert _alphabet_page_text.describe_influence(steps) == (
        "All 506 influences between different samples are exactly 0: no prediction depends on "
        "another sample."
    )
    (batch,) = alphabet.find(["batch"])
    together = dataclasses.replace(steps, network=batch)
    assert _alphabet_page_text.describe_influence(together).endswith(
        "though 23 samples are in one batch."
    )
    own = (stateful.influence.matrix.argmax(axis=1) == np.arange(25)).sum()
    assert _alphabet_page_text.describe_influence(stateful) == (
        "All 300 influences of an earlier sample are above 0, all 300 of a later sample are "
        "exactly 0: each prediction depends on everything earlier. Its own sample has the "
        f"largest influence in {own} of 25 predictions."
    )
    matrix = np.eye(3) + np.array([[0, 0, 2], [0, 0, 0], [1, 0, 0]])
    some = dataclasses.replace(stateful, influence=legato.Influence(matrix, (*"ABC",), (*"ABC",)))
    assert _alphabet_page_text.describe_influence(some) == (
        "4 of 6 influences between different samples are exactly 0; above 0 are 1 of 3 of earlier "
        "samples and 1 of 3 of later ones."
    )


def test_sentences_on_states_follow_from_them(inspections):
    h, c = inspections[0].held.values()
    sentences = _alphabet_page_text.describe_states(inspections[0])
    assert f"size of h is {np.abs(h).max():.3f}, that of c {np.abs(c).max():.2f};" in sentences
