"""``explain`` tells where state comes from, as influence finds it, and warns of mistakes."""

import doctest

import keras
import numpy as np
import pytest
from cells import FEATURES, inputs, spread

import legato
from legato import InputError, influence, layers
from legato._models import explain


def made(stateful=True):
    model = legato.Sequential([layers.Input((None, FEATURES)), layers.GRU(3, stateful=stateful)])
    model.set_weights([spread(np.random.default_rng(4), *each.shape) for each in model.weights])
    return model


def reached(sources) -> np.ndarray:
    """Which samples' inputs each sample has seen, following what it goes on from."""
    found = np.eye(len(sources), dtype=bool)
    for at, source in enumerate(sources):
        if source is not None:
            found[at] |= found[source]
    return found


def test_the_examples_run():
    keras.utils.clear_session()
    assert doctest.testmod(explain).failed == 0


@pytest.mark.parametrize("stateful", [True, False])
@pytest.mark.parametrize("batch_size", [1, 3, 7])
@pytest.mark.parametrize("starts", [None, [1, 0, 0, 1, 0, 1, 0]])
def test_what_is_carried_is_what_has_influence(stateful, batch_size, starts):
    model, X = made(stateful), inputs(7, 2)
    told = model.explain(X, batch_size, starts=starts)
    found = influence(model, X, batch_size=batch_size, starts=starts)
    np.testing.assert_array_equal(found.matrix > 0, reached(told.sources))


def test_each_sample_is_told_of():
    told = made().explain(inputs(6), 2, starts=[0, 0, 1, 0, 0, 0])
    assert told.sources == (None, None, None, 1, 2, 3)
    assert told.reasons == (
        "fresh: first of the run",
        "fresh: first of the run",
        "reset: start of sequence 2",
        "carried from sample 1",
        "carried from sample 2",
        "carried from sample 3",
    )
    assert told.warnings == ()
    assert set(made(False).explain(inputs(3)).reasons) == {"fresh: stateless"}
    assert set(made().explain(inputs(3), 1, shuffle=True).reasons) == {"drawn at random: shuffled"}
    assert set(made().explain(inputs(3), 1, reset="batch").reasons) == {
        'fresh: every batch is, by reset="batch"'
    }


def test_what_the_model_remembers_is_told_of():
    model = made()
    model.predict(inputs(1), verbose=0)
    told = model.explain(inputs(2), 1)
    assert told.reasons == ("carried: what the model remembers now", "carried from sample 0")
    assert told.sources == (None, 0)


def test_validation_is_told_of():
    told = made().explain(inputs(10), 1, validation_split=0.2)
    assert told.reasons[7:] == (
        "carried from sample 6",
        "fresh: first of the validation",
        "carried from sample 8",
    )
    assert "validation begins at sample 8, in the middle" in told.warnings[0]
    starts = np.isin(np.arange(10), [0, 8])
    assert not made().explain(inputs(10), 1, starts=starts, validation_split=0.2).warnings


def test_later_epochs_are_told_of():
    model, X = made(), inputs(3)
    assert model.explain(X, 1).later == ""
    assert "same state as the first" in model.explain(X, 1, epochs=2).later
    told = model.explain(X, 1, epochs=2, reset="never")
    assert "the one before ended with" in told.later
    assert "every epoch but the first starts warm" in told.warnings[0]
    assert str(told).endswith(f"{told.later}\nWarning: {told.warnings[0]}")


def windows(steps=3):
    series = inputs(1, 9)[0]
    return np.stack([series[at : at + steps] for at in range(len(series) - steps + 1)])


@pytest.mark.parametrize(
    ("stateful", "X", "options", "told"),
    [
        (True, inputs(6), {"batch_size": 2}, "sample 2 goes on from sample 0, not from sample 1"),
        (True, inputs(5), {"batch_size": 2}, "the last batch has 1 samples for 2 rows"),
        (True, inputs(3), {"batch_size": 1, "shuffle": True}, "fit refuses it"),
        (
            True,
            windows(),
            {"batch_size": 1},
            "windows that overlap: each time step is in 3 of them",
        ),
        (False, inputs(3, 1), {}, "a single time step and nothing is carried"),
    ],
)
def test_what_is_nearly_always_a_mistake_is_warned_of(stateful, X, options, told):
    assert any(told in each for each in made(stateful).explain(X, **options).warnings)


@pytest.mark.parametrize(
    ("stateful", "X", "options"),
    [
        (True, inputs(6), {"batch_size": 1}),
        (True, inputs(6), {"batch_size": 6}),
        (True, inputs(5), {"batch_size": 2, "reset": "batch"}),
        (False, windows(), {"batch_size": 5, "shuffle": True}),
    ],
)
def test_what_is_right_is_not(stateful, X, options):
    assert made(stateful).explain(X, **options).warnings == ()


def test_a_long_table_is_cut_when_printed():
    lines = str(made().explain(inputs(1000), 1)).splitlines()
    assert len(lines) == 1 + 30 + 1 + 5
    assert lines[31] == "     …  965 more"
    assert lines[-1] == "   999  carried from sample 998"


def test_nothing_runs():
    model = made()
    model.predict(inputs(2), batch_size=2, verbose=0)
    before = model.states
    model.explain(inputs(4), 1)
    assert model.states == before


@pytest.mark.parametrize(
    ("X", "options", "told"),
    [
        (inputs(), {"epochs": 0}, "epochs is 0; a whole number"),
        (inputs(), {"reset": "typo"}, "reset is 'typo'; one of 'epoch', 'batch', 'never' was"),
        (inputs(), {"shuffle": "typo"}, "shuffle is 'typo'; one of None, False, True, 'batch' was"),
        (inputs(), {"validation_split": 1.0}, "validation_split is 1.0; a number from 0 to below"),
        (inputs(), {"starts": [True]}, "differ in their number of samples"),
        (iter([inputs()]), {}, "hands out batches"),
    ],
)
def test_bad_input_is_told(X, options, told):
    with pytest.raises(InputError, match=told):
        made().explain(X, **options)
