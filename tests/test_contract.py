"""The rules of the state contract (``docs/contract.md``) that the laws do not cover.

A test's number is its rule's; rule 1, a state is a value, is in ``tests/recurrent/test_state.py``.
Every comparison is of two ways to do the same, to the bit where they run the same program.
"""

import warnings

import keras
import numpy as np
import pytest
from cells import (
    BY_NAME,
    CARRY,
    FEATURES,
    ROWS,
    STEPS,
    UNITS,
    assert_same_states,
    inputs,
    predict,
    ready,
    spread,
    state_after,
    with_shared_programs,
)

import legato
from legato import State, layers

CELL = BY_NAME["two-layers"]
X = inputs(2 * ROWS + 1, seed=4)  # two full batches and a last, smaller one
y = spread(np.random.default_rng(5), len(X), STEPS, UNITS)
X_VALID, Y_VALID = inputs(ROWS, seed=6), spread(np.random.default_rng(7), ROWS, STEPS, UNITS)


def compiled_model(optimizer="sgd", cell=CELL):
    """A new model; all that are compiled alike run the same programs."""
    model = cell.make()
    model.compile(optimizer, "mse", metrics=["mae"])
    return with_shared_programs(model, "compiled", cell, optimizer)


@pytest.fixture(scope="module")
def _still():
    return compiled_model(keras.optimizers.SGD(0.0))


@pytest.fixture
def still(_still):
    """A compiled model that training does not change, with its state reset."""
    _still.reset_states()
    return _still


# 2. The initial state is the cell's own.


@pytest.mark.parametrize("name", ["warm-initial-state", "learnt-initial-state"])
def test_2_fresh_rows_show_the_cells_own_initial_state(name):
    model = ready(BY_NAME[name])
    ((first,),) = model.initial_states(1).values()
    assert np.all(first != 0)
    predict(model, inputs())
    model.reset_states([1])
    (parts,) = model.states.values()
    np.testing.assert_array_equal(parts[0][1], first[0])
    assert list(next(iter(model.states.fresh.values()))) == [False, True, False]


def test_2_a_learnt_initial_state_is_learnt():
    model = compiled_model("sgd", BY_NAME["learnt-initial-state"])
    before = np.asarray(next(iter(model.initial_states().values()))[0])
    model.fit(X, y, ROWS, verbose=0)
    assert np.all(np.asarray(next(iter(model.initial_states().values()))[0]) != before)


# 3. Any number of rows, at any time.


def test_3_any_number_of_rows(still):
    for rows in (1, 4, 2):
        still.reset_states()
        still.fit(X[:rows], y[:rows], rows, verbose=0)
        assert still.states.rows == rows
        still.reset_states()
        predict(still, X[:rows])
        assert still.states.rows == rows


def test_3_the_default_batch_size_is_keras_own():
    model = legato.Sequential([layers.GRU(UNITS, stateful=True)])  # built by its data
    model.compile("sgd", "mse")
    model.fit(X, y[:, 0], verbose=0)
    assert int(model.optimizer.iterations) == 1
    assert model.states.rows == len(X)


def test_3_a_last_smaller_batch_advances_only_its_rows(still):
    still.predict(X, ROWS, verbose=0)
    whole = state_after(CELL, X[:ROWS], X[ROWS : 2 * ROWS])
    first_row = state_after(CELL, X[6:7], begin=whole.select([0]))
    expected = State.stack([first_row, whole.select([1, 2])])
    assert_same_states(still.states, expected, CELL)
    still.reset_states()
    still.fit(X, y, ROWS, verbose=0)
    assert_same_states(still.states, expected, CELL)


CALLS_OF_TWO = {
    "fit": lambda model: model.fit(X[:2], y[:2], verbose=0),
    "evaluate": lambda model: model.evaluate(X[:2], y[:2], verbose=0),
    "predict": lambda model: model.predict(X[:2], verbose=0),
    "train_on_batch": lambda model: model.train_on_batch(X[:2], y[:2]),
    "test_on_batch": lambda model: model.test_on_batch(X[:2], y[:2]),
    "predict_on_batch": lambda model: model.predict_on_batch(X[:2]),
    "calling": lambda model: model(X[:2]),
}


@pytest.mark.parametrize("verb", CALLS_OF_TWO)
def test_3_another_number_of_rows_is_refused_by_name(still, verb):
    predict(still, inputs())
    before = still.states
    with pytest.raises(
        legato.StateError, match=r"remembers 3 rows, but this call has 2.*reset_states.*select"
    ):
        CALLS_OF_TWO[verb](still)
    assert still.states == before
    still.states = before.select([0, 2])
    CALLS_OF_TWO[verb](still)
    still.reset_states()
    CALLS_OF_TWO[verb](still)


@pytest.mark.parametrize("verb", CALLS_OF_TWO)
def test_3_a_fresh_state_fits_any_number_of_rows(still, verb):
    still.states = still.initial_states(ROWS)
    CALLS_OF_TWO[verb](still)
    assert still.states.rows == 2


# 4. fit replays, runs on, or resets before every batch.


def test_4_epochs_are_fits_of_one_epoch():
    together, apart = compiled_model(), compiled_model()
    losses = together.fit(X, y, ROWS, 4, verbose=0).history["loss"]
    alone = []
    for epoch in range(4):
        alone += apart.fit(X, y, ROWS, verbose=0).history["loss"]
        if epoch < 3:
            apart.reset_states()
    assert losses == alone
    assert_same_states(together.states, apart.states)
    for mine, theirs in zip(together.get_weights(), apart.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def replay(model, begin: State, times: int) -> State:
    """The state after predicting the data some times over, from a given state."""
    model.states = begin
    for _ in range(times):
        model.predict(X, ROWS, verbose=0)
    return model.states


@pytest.mark.parametrize("epochs", [1, 3])
def test_4_reset_policies(still, epochs):
    begin = state_after(CELL, inputs(seed=9))
    ends = {}
    for reset in ("epoch", "never", "batch"):
        still.states = begin
        still.fit(X, y, ROWS, epochs, verbose=0, reset=reset)
        ends[reset] = still.states
    assert_same_states(ends["epoch"], replay(still, begin, 1), CELL)
    assert_same_states(ends["never"], replay(still, begin, epochs), CELL)
    last = [state_after(CELL, X[6:7]), state_after(CELL, X[4:5]), state_after(CELL, X[5:6])]
    assert_same_states(ends["batch"], State.stack(last), CELL)


# 6. Validation never touches training state.


def test_6_validation_changes_no_number_of_the_training():
    runs = {}
    for name, options in {
        "without": {},
        "fresh": {"validation_data": (X_VALID, Y_VALID)},
        "continued": {"validation_data": (X_VALID, Y_VALID), "validation_state": "continue"},
        "of other rows": {"validation_data": (X[:5], y[:5]), "validation_batch_size": 5},
    }.items():
        model = compiled_model()
        logs = model.fit(X, y, ROWS, 3, verbose=0, reset="never", **options).history
        runs[name] = (logs["loss"], logs["mae"], model.get_weights(), model.states)
        assert ("val_loss" in logs) == (name != "without")
    for loss, mae, weights, state in runs.values():
        assert (loss, mae) == runs["without"][:2]
        assert all(map(np.array_equal, weights, runs["without"][2]))
        assert_same_states(state, runs["without"][3])


@pytest.mark.usefixtures("optimized")
def test_6_validation_starts_fresh_or_continues():
    logs = {}
    for start in ("fresh", "continue"):
        model = compiled_model()
        logs[start] = model.fit(
            X, y, ROWS, verbose=0, validation_data=(X_VALID, Y_VALID), validation_state=start
        ).history["val_loss"]
    other = compiled_model()
    other.fit(X, y, ROWS, verbose=0)
    went_on = other.evaluate(X_VALID, Y_VALID, ROWS, verbose=0, return_dict=True)["loss"]
    other.reset_states()
    fresh = other.evaluate(X_VALID, Y_VALID, ROWS, verbose=0, return_dict=True)["loss"]
    assert logs == {"fresh": [fresh], "continue": [went_on]}
    assert fresh != went_on


@pytest.mark.parametrize("by_epoch", [False, True])
def test_6_validation_has_starts_of_its_own(by_epoch):
    starts = np.array([True] * ROWS + [False] * (len(X) - 2 * ROWS) + [True] * ROWS)
    callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: None)] * by_epoch
    model, other = compiled_model(), compiled_model()
    given = (X, y, None, starts)
    logs = model.fit(X, y, ROWS, verbose=0, validation_data=given, callbacks=callbacks).history
    other.fit(X, y, ROWS, verbose=0)
    losses = []
    for flags in (starts, None):
        other.reset_states()
        losses.append(other.evaluate(X, y, ROWS, verbose=0, starts=flags))
    assert logs["val_loss"] == [losses[0][0]]
    assert losses[0] != losses[1]


def test_6_a_validation_split_is_the_last_samples():
    split, apart = compiled_model(), compiled_model()
    logs = split.fit(X, y, ROWS, 2, verbose=0, validation_split=0.4).history
    other = apart.fit(X[:4], y[:4], ROWS, 2, verbose=0, validation_data=(X[4:], y[4:])).history
    assert logs == other


# 7. Every verb carries and advances; advance=False does not.

VERBS = {
    "predict": lambda model, **how: model.predict(X[:ROWS], verbose=0, **how),
    "predict_on_batch": lambda model, **how: model.predict_on_batch(X[:ROWS], **how),
    "evaluate": lambda model, **how: model.evaluate(X[:ROWS], y[:ROWS], verbose=0, **how),
    "test_on_batch": lambda model, **how: model.test_on_batch(X[:ROWS], y[:ROWS], **how),
    "train_on_batch": lambda model: model.train_on_batch(X[:ROWS], y[:ROWS]),
    "fit": lambda model: model.fit(X[:ROWS], y[:ROWS], verbose=0).history["loss"],
    "calling": lambda model: np.asarray(model(X[:ROWS])),
}


@pytest.mark.parametrize("verb", VERBS)
def test_7_verbs_advance_the_state(still, verb):
    for begin in (state_after(CELL, inputs(seed=8)), state_after(CELL, inputs(seed=9))):
        still.states = begin
        VERBS[verb](still)
        assert_same_states(still.states, state_after(CELL, X[:ROWS], begin=begin), CELL)


@pytest.mark.parametrize("verb", ["predict", "predict_on_batch", "evaluate", "test_on_batch"])
def test_7_verbs_can_leave_the_state_as_it_was(still, verb):
    for begin in (still.states, state_after(CELL, inputs(seed=8))):
        still.states = begin
        before = still.states
        looked = VERBS[verb](still, advance=False)
        assert still.states == before
        np.testing.assert_array_equal(VERBS[verb](still), looked)
        assert still.states != before


# 9. Order matters. 10. Backward layers cannot carry.


def test_9_stateful_data_is_not_shuffled(still):
    with pytest.raises(legato.InputError, match="shuffle=True with a stateful layer"):
        still.fit(X, y, ROWS, verbose=0, shuffle=True)
    default = compiled_model().fit(X, y, ROWS, 2, verbose=0).history
    assert default == compiled_model().fit(X, y, ROWS, 2, verbose=0, shuffle=False).history


def test_9_batches_that_all_start_afresh_may_be_shuffled():
    runs = []
    for stateful in (True, False):
        keras.utils.set_random_seed(3)
        model = CELL.make()
        for layer in model.layers[:2]:
            layer.stateful = stateful
        model.compile("sgd", "mse")
        np.random.seed(4)
        how = {"reset": "batch"} if stateful else {}
        runs.append(model.fit(X, y, ROWS, 3, verbose=0, shuffle=True, **how).history["loss"])
    np.testing.assert_allclose(*runs, rtol=1e-6)


def test_10_a_stateful_bidirectional_warns_once():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        model = legato.Sequential([layers.Bidirectional(layers.GRU(UNITS, **CARRY))])
        predict(model, inputs())
        model.compile("sgd", "mse")
        model.fit(inputs(), np.ones((ROWS, STEPS, 2 * UNITS)), ROWS, verbose=0)
    messages = [str(each.message) for each in seen if "backwards in time" in str(each.message)]
    assert len(messages) == 1
    assert len(model.states) == 1
    assert "forward" in next(iter(model.states))


# 12. States by name, nested models included.


def named_model():
    first = keras.Input((None, FEATURES), name="signal")
    block = legato.Sequential([layers.GRU(UNITS, name="low", **CARRY)], name="block")
    x = layers.LSTM(UNITS, name="high", **CARRY)(block(first))
    return legato.Model(first, x, name="whole")


def test_12_states_by_name():
    model = named_model()
    predict(model, inputs())
    assert list(model.states) == ["block/low", "high"]
    assert [part.shape for part in model.states["high"]] == [(ROWS, UNITS)] * 2
    with pytest.raises(KeyError, match="'hihg'; this state has block/low, high"):
        _ = model.states["hihg"]
    model.reset_states([0])
    assert all(list(flags) == [True, False, False] for flags in model.states.fresh.values())
    model.reset_states(np.array([False, True, False]))
    assert all(list(flags) == [True, True, False] for flags in model.states.fresh.values())
    model.reset_states()
    assert model.states.rows == 0


def test_12_state_variables_have_names_of_their_own():
    remembered = [each.path for each in named_model().non_trainable_variables[-5:]]
    assert remembered == [
        *("block/low/state_0", "block/low/fresh"),
        *("high/state_0", "high/state_1", "high/fresh"),
    ]


@pytest.mark.parametrize("use", [predict, lambda model, x: np.asarray(model(x))])
def test_12_a_model_that_grows_carries_its_new_layer(use):
    model = legato.Sequential([keras.Input((None, FEATURES)), layers.LSTM(UNITS, **CARRY)])
    use(model, inputs())
    model.add(layers.GRU(UNITS + 1, stateful=True))
    model.reset_states()
    assert use(model, inputs()).shape == (ROWS, UNITS + 1)
    assert len(model.states) == 2
    assert model.states.rows == ROWS


def test_12_states_are_saved_and_loaded_by_name(tmp_path):
    model, other = named_model(), named_model()
    other.set_weights(model.get_weights())
    predict(model, inputs())
    model.save_states(tmp_path / "whole.state")
    predict(other, inputs(5))
    other.load_states(tmp_path / "whole.state")
    assert other.states == model.states
    np.testing.assert_array_equal(predict(other, inputs()), predict(model, inputs()))


# Single layers of a model, reset or run.


@pytest.mark.parametrize("verb", [predict, lambda model, x: np.asarray(model(x))])
@pytest.mark.parametrize("at", [0, 1])
def test_one_layer_is_reset_and_the_others_continue(verb, at):
    model = ready(CELL)
    predict(model, inputs(seed=1))
    (path, initial), before = list(model.initial_states(ROWS).items())[at], model.states
    model.states = State(dict(before) | {path: initial})
    expected = verb(model, inputs())
    model.states = before
    model.layers[at].reset_state()
    assert model.states.rows == ROWS
    assert list(map(all, model.states.fresh.values())) == [each == path for each in before]
    np.testing.assert_array_equal(verb(model, inputs()), expected)


@pytest.mark.parametrize("name", ["LSTM", "GRU", "StackedRNNCells", "warm-initial-state"])
def test_a_layer_is_given_a_state(name):
    model = ready(BY_NAME[name])
    (layer,) = model.layers
    before, (path,) = state_after(BY_NAME[name], inputs(seed=1)), model.states
    for rows in (1, 2):
        model.reset_states()
        predict(model, inputs(rows))
        layer.reset_state(states=[np.asarray(part) for part in before[path]])
        assert model.states == before
    layer.reset_state()
    assert model.states.rows == 0


def test_a_layer_refuses_a_state_that_does_not_fit():
    layer = layers.GRU(UNITS, stateful=True)
    with pytest.raises(legato.StateError, match="not built yet, or it is not stateful"):
        layer.reset_state(states=np.ones((2, UNITS)))
    layer(inputs(2))
    before = np.asarray(layer.states[0])
    for wrong in (np.ones((2, 5)), [np.ones((2, UNITS))] * 2, []):
        with pytest.raises(legato.StateError, match=r"given a state of shapes .*'rows', 4"):
            layer.reset_state(states=wrong)
    np.testing.assert_array_equal(layer.states[0], before)
    layer.reset_state(states=np.ones((3, UNITS)))  # one array, other rows
    assert layer(inputs(3)).shape == (3, UNITS)


def test_a_value_assigned_to_a_state_variable_is_used_even_by_a_fresh_row():
    model = ready(BY_NAME["LSTM"])
    (path,) = model.states
    predict(model, inputs(seed=1))
    model.reset_states([0])
    h, c = model.states[path]
    model.layers[-1].states[0].assign(h + 1.0)
    assert not model.states.fresh[path].any()
    for mine, expected in zip(model.states[path], (h + 1.0, c), strict=True):
        np.testing.assert_array_equal(mine, expected)


@pytest.mark.parametrize("none", [np.zeros(ROWS, bool), [False] * ROWS, [], np.flatnonzero([])])
def test_an_empty_selection_of_rows_resets_nothing(none):
    model = ready(CELL)
    predict(model, inputs())
    before = model.states
    model.reset_states(none)
    assert model.states == before


def test_resetting_rows_without_a_state_is_an_error():
    for model in (legato.Sequential([layers.GRU(UNITS, stateful=True)]), named_model()):
        model.reset_states()
        model.reset_states(np.flatnonzero([]))
        with pytest.raises(legato.StateError, match="remembers none yet: every row still starts"):
            model.reset_states([0])


def test_layers_with_states_of_different_rows_are_named():
    model = named_model()
    block = model.get_layer("block")
    predict(model, inputs())
    block.reset_states()
    predict(block, inputs(2))
    for use in (lambda: model.states, lambda: predict(model, inputs()), lambda: predict(model, X)):
        with pytest.raises(legato.StateError, match="different numbers of rows: block/low 2"):
            use()
    model.reset_states()
    assert predict(model, X).shape == (len(X), STEPS, UNITS)


# Stateful layers in models that cannot carry their state.


@pytest.mark.parametrize("verb", ["fit", "predict"])
def test_a_plain_keras_model_cannot_carry(verb):
    model = keras.Sequential([keras.Input((STEPS, FEATURES)), layers.LSTM(UNITS, **CARRY)])
    model.compile("sgd", "mse")
    use = {"fit": lambda: model.fit(X, y, verbose=0), "predict": lambda: model.predict(X)}
    with pytest.raises(legato.StateError, match=r"does not carry state.*Use legato\.Model"):
        use[verb]()


# Reports of users.


def test_long_samples_in_training_one_step_live():
    model = legato.Sequential([layers.LSTM(UNITS, stateful=True)])
    whole = model.predict(X[:1], verbose=0)
    model.reset_states()
    for step in range(X.shape[1]):
        last = model.predict(X[:1, step : step + 1], verbose=0)
    np.testing.assert_allclose(last, whole, rtol=1e-5, atol=1e-6)


def test_a_sequential_is_a_model():
    assert isinstance(legato.Sequential(), legato.Model)


def test_a_stateful_layer_distributed_over_time_is_refused():
    inner = layers.LSTM(UNITS, stateful=True)
    with pytest.raises(legato.InputError, match="distributes a stateful layer over time"):
        legato.Sequential([layers.TimeDistributed(inner)])


def test_states_of_twins_stack():
    twins = [legato.Sequential([layers.GRU(UNITS, stateful=True)]) for _ in range(2)]
    for twin in twins:
        twin.predict(X[:2], verbose=0)
    assert State.stack([twin.states for twin in twins]).rows == 4


def test_invalid_validation_data_are_refused_before_training():
    model = legato.Sequential([layers.GRU(UNITS)])
    model.compile("sgd", "mse")
    y_ = np.ones((len(X), UNITS))
    with pytest.raises(legato.InputError, match="features"):
        model.fit(X, y_, validation_data=(X[:, :, :1], y_), verbose=0)
    assert int(model.optimizer.iterations) == 0


def test_a_repeated_prediction_is_the_same_and_checks_as_much():
    """The second prediction of a shape takes a shorter path; its results must be equal."""
    model, careful = [legato.Sequential([layers.GRU(UNITS, stateful=True)]) for _ in range(2)]
    batches = [np.random.rand(3, 4, 3) for _ in range(4)]
    careful.predict(batches[0], verbose=0)
    model.predict(batches[0], verbose=0)
    for mine, theirs in zip(model.weights, careful.weights, strict=True):
        theirs.assign(mine.value)
    careful.reset_states()
    model.reset_states()
    for at, batch in enumerate(batches):
        advance = at != 2
        mine = model.predict(batch, verbose=0, advance=advance)
        theirs = careful.predict(batch, starts=np.zeros(3), verbose=0, advance=advance)
        np.testing.assert_array_equal(mine, theirs)
        mine += 1  # the caller's copy
    for mine, theirs in zip(model.states.values(), careful.states.values(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    before = model.states
    bad = batches[0].copy()
    bad[1, 0, 2] = np.nan
    with pytest.raises(legato.InputError, match=r"x\[1, 0, 2\] is nan"):
        model.predict(bad, verbose=0)
    assert model.states == before
    with pytest.raises(legato.StateError, match="remembers 3 rows, but this call has 2"):
        model.predict(batches[0][:2], verbose=0)
