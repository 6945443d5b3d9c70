"""``explain`` gives the origin of each sample's state, as influence does, and warns of mistakes."""

import numpy as np
import pytest
from cells import FEATURES, inputs, spread

import legato
from legato import InputError, influence, layers


def made(stateful=True):
    model = legato.Sequential([layers.Input((None, FEATURES)), layers.GRU(3, stateful=stateful)])
    model.set_weights([spread(np.random.default_rng(4), *each.shape) for each in model.weights])
    return model


def influencing(sources) -> np.ndarray:
    """The samples whose inputs influence each sample, by following the sources of state."""
    found = np.eye(len(sources), dtype=bool)
    for at, source in enumerate(sources):
        if source is not None:
            found[at] |= found[source]
    return found


@pytest.mark.quick_cases(6)
@pytest.mark.parametrize("stateful", [True, False])
@pytest.mark.parametrize("batch_size", [1, 3, 7])
@pytest.mark.parametrize("starts", [None, [1, 0, 0, 1, 0, 1, 0]])
def test_state_is_carried_where_there_is_influence(stateful, batch_size, starts):
    model, X = made(stateful), inputs(7, 2)
    explained = model.explain(X, batch_size, starts=starts)
    found = influence(model, X, batch_size=batch_size, starts=starts)
    np.testing.assert_array_equal(found.matrix > 0, influencing(explained.sources))


def test_each_sample_has_a_reason():
    explained = made().explain(inputs(6), 2, starts=[0, 0, 1, 0, 0, 0])
    assert explained.sources == (None, None, None, 1, 2, 3)
    assert explained.reasons == (
        "fresh: first of the run",
        "fresh: first of the run",
        "reset: start of sequence 2",
        "carried from sample 1",
        "carried from sample 2",
        "carried from sample 3",
    )
    assert explained.warnings == ()
    assert set(made(False).explain(inputs(3)).reasons) == {"fresh: stateless"}
    assert set(made().explain(inputs(3), 1, shuffle=True).reasons) == {"drawn at random: shuffled"}
    assert set(made().explain(inputs(3), 1, reset="batch").reasons) == {
        'fresh: every batch is, by reset="batch"'
    }


def test_the_current_state_of_the_model_is_a_source():
    model = made()
    model.predict(inputs(1), verbose=0)
    explained = model.explain(inputs(2), 1)
    assert explained.reasons == ("carried: what the model remembers now", "carried from sample 0")
    assert explained.sources == (None, 0)


def test_validation_samples_have_reasons():
    explained = made().explain(inputs(10), 1, validation_split=0.2)
    assert explained.reasons[7:] == (
        "carried from sample 6",
        "fresh: first of the validation",
        "carried from sample 8",
    )
    assert "validation begins at sample 8, in the middle" in explained.warnings[0]
    starts = np.isin(np.arange(10), [0, 8])
    assert not made().explain(inputs(10), 1, starts=starts, validation_split=0.2).warnings


def test_later_epochs_are_described():
    model, X = made(), inputs(3)
    assert model.explain(X, 1).later == ""
    assert "same state as the first" in model.explain(X, 1, epochs=2).later
    explained = model.explain(X, 1, epochs=2, reset="never")
    assert "the one before ended with" in explained.later
    assert "every epoch but the first starts warm" in explained.warnings[0]
    assert str(explained).endswith(f"{explained.later}\nWarning: {explained.warnings[0]}")


def windows(steps=3):
    series = inputs(1, 9)[0]
    return np.stack([series[at : at + steps] for at in range(len(series) - steps + 1)])


@pytest.mark.parametrize(
    ("stateful", "X", "options", "message"),
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
def test_likely_mistakes_are_warned_of(stateful, X, options, message):
    assert any(message in each for each in made(stateful).explain(X, **options).warnings)


@pytest.mark.parametrize(
    ("stateful", "X", "options"),
    [
        (True, inputs(6), {"batch_size": 1}),
        (True, inputs(6), {"batch_size": 6}),
        (True, inputs(5), {"batch_size": 2, "reset": "batch"}),
        (False, windows(), {"batch_size": 5, "shuffle": True}),
    ],
)
def test_correct_use_is_not_warned_of(stateful, X, options):
    assert made(stateful).explain(X, **options).warnings == ()


def test_a_long_table_is_cut_when_printed():
    lines = str(made().explain(inputs(1000), 1)).splitlines()
    assert len(lines) == 1 + 30 + 1 + 5
    assert lines[31] == "     …  965 more"
    assert lines[-1] == "   999  carried from sample 998"


def test_explain_runs_no_model():
    model = made()
    model.predict(inputs(2), batch_size=2, verbose=0)
    before = model.states
    model.explain(inputs(4), 1)
    assert model.states == before


@pytest.mark.parametrize(
    ("X", "options", "message"),
    [
        (inputs(), {"epochs": 0}, "epochs is 0; a whole number"),
        (inputs(), {"reset": "typo"}, "reset is 'typo'; one of 'epoch', 'batch', 'never' was"),
        (inputs(), {"shuffle": "typo"}, "shuffle is 'typo'; one of None, False, True, 'batch' was"),
        (inputs(), {"validation_split": 1.0}, "validation_split is 1.0; a number from 0 to below"),
        (inputs(), {"starts": [True]}, "differ in their number of samples"),
        (iter([inputs()]), {}, "yields batches"),
    ],
)
def test_invalid_input_is_refused(X, options, message):
    with pytest.raises(InputError, match=message):
        made().explain(X, **options)
