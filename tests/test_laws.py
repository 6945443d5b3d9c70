"""The laws of the state contract (``docs/contract.md``), over every cell of ``tests/cells.py``.

Each law compares two computations of one number: a slow, obvious one (a row alone, a step at a
time, a Python loop over Keras's own ``train_step``, a process that never stopped) and legato's.
The letters are those of the contract. Law (g) is tested in ``tests/analysis/test_replicates.py``.
"""

import itertools
from functools import partial
from pathlib import Path

import jax
import keras
import numpy as np
import pytest
from cells import (
    BY_NAME,
    CELLS,
    FEATURES,
    ROWS,
    STEPS,
    assert_same_states,
    inputs,
    predict,
    ready,
    spread,
)
from forked import forked
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import legato

MASKED = [cell for cell in CELLS if cell.masks]
PIECES = (1, 2, 4)  # each other length is another program to compile
CUTTINGS = [
    pieces
    for count in range(2, STEPS + 1)
    for pieces in itertools.product(PIECES, repeat=count)
    if sum(pieces) == STEPS
]
few_examples = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # they are reset in the tests
)


def carried(cell, outputs):
    """The part of the outputs that depends on the past only."""
    return outputs[..., : cell.carried]


def assert_close(cell, one, other):
    np.testing.assert_allclose(one, other, **cell.tolerance)


# (a) A whole sequence = any cutting of it, state carried = one step at a time.


@few_examples
@given(pieces=st.sampled_from(CUTTINGS))
def test_a_whole_sequence_is_any_cutting_of_it(cell, model, pieces):
    X = inputs()
    model.reset_states()
    whole = predict(model, X)
    after = model.states
    model.reset_states()
    ends = np.cumsum(pieces)
    parts = [predict(model, X[:, end - n : end]) for end, n in zip(ends, pieces, strict=True)]
    assert_close(cell, carried(cell, np.concatenate(parts, axis=1)), carried(cell, whole))
    assert_same_states(model.states, after, cell)


def test_a_one_step_at_a_time(cell, model):
    X = inputs()
    whole = predict(model, X)
    after = model.states
    model.reset_states()
    steps = [np.asarray(model(X[:, t : t + 1])) for t in range(STEPS)]
    assert_close(cell, carried(cell, np.concatenate(steps, axis=1)), carried(cell, whole))
    assert_same_states(model.states, after, cell)


# (b) Rows together = each row alone. (i) A row in a batch of many = the row alone.


@few_examples
@given(chosen=st.lists(st.integers(0, 4), min_size=ROWS, max_size=ROWS))
def test_b_i_rows_together_are_each_row_alone(cell, model, chosen):
    pasts, X = inputs(5, seed=1), inputs(5, seed=2)
    model.reset_states()
    predict(model, pasts[chosen])
    together = predict(model, X[chosen])
    after = model.states
    for at, row in enumerate(chosen):
        model.reset_states()
        predict(model, pasts[row : row + 1])
        alone = predict(model, X[row : row + 1])
        assert_close(cell, together[at], alone[0])
        assert_same_states(after.select([at]), model.states, cell)


def test_i_a_row_alone_continues_from_its_state_in_a_batch(cell, model):
    predict(model, inputs(seed=1))
    states = model.states
    expected = predict(model, inputs(seed=2))
    for row in range(ROWS):
        model.states = states.select([row])
        assert_close(cell, predict(model, inputs(seed=2)[[row]])[0], expected[row])


# (c) Reset at t = a fresh start at t.

STARTS = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 1], [1, 0, 0]], bool)  # (batches, rows)


def lanes_one_by_one(model, lanes):
    """Outputs (batches, rows, steps, units) and last states, rows alone, reset by ``STARTS``."""
    outputs, states = [], []
    for row in range(ROWS):
        model.reset_states()
        for batch, X in enumerate(lanes):
            if STARTS[batch, row]:
                model.reset_states()
            outputs.append(predict(model, X[row : row + 1])[0])
        states.append(model.states)
    outputs = np.stack(outputs).reshape(ROWS, len(lanes), *outputs[0].shape)
    return outputs.swapaxes(0, 1), legato.State.stack(states)


def test_c_reset_is_a_fresh_start(cell, model):
    lanes = [inputs(seed=seed) for seed in range(len(STARTS))]
    expected, states = lanes_one_by_one(model, lanes)

    model.reset_states()
    together = model.predict(np.concatenate(lanes), ROWS, verbose=0, starts=STARTS.reshape(-1))
    assert_close(cell, together.reshape(expected.shape), expected)
    assert_same_states(model.states, states, cell)

    model.reset_states()
    for batch, X in enumerate(lanes):
        if model.states.rows:
            model.reset_states(np.flatnonzero(STARTS[batch]))
        assert_close(cell, predict(model, X), expected[batch])
    assert_same_states(model.states, states, cell)


# (d) Masked or padded steps change nothing.

VALID = 4
PADDINGS = {
    "left": [0, 0, 1, 1, 1, 1],
    "right": [1, 1, 1, 1, 0, 0],
    "middle": [1, 1, 0, 0, 1, 1],
    "each-another": [[0, 1, 1, 1, 1, 0], [1, 1, 1, 1, 0, 0], [1, 0, 1, 0, 1, 1]],
}


@pytest.mark.parametrize("cell", MASKED, ids=lambda cell: cell.name)
@pytest.mark.parametrize("padding", PADDINGS)
def test_d_padded_steps_change_nothing(cell, padding):
    model = ready(cell, masked=True)
    valid = np.broadcast_to(np.array(PADDINGS[padding], bool), (ROWS, STEPS))
    X = inputs(steps=VALID)
    padded = np.zeros((ROWS, STEPS, FEATURES), "float32")
    padded[valid] = X.reshape(-1, FEATURES)
    predict(model, inputs(seed=1))
    before = model.states
    expected = predict(model, X)
    after = model.states
    model.states = before
    outputs = predict(model, padded)
    assert_close(cell, outputs[valid].reshape(expected.shape), expected)
    assert_same_states(model.states, after, cell)


@pytest.mark.parametrize("cell", MASKED, ids=lambda cell: cell.name)
def test_d_a_fully_masked_row_keeps_its_state(cell):
    model = ready(cell, masked=True)
    X = inputs(seed=2)
    X[1] = 0.0
    predict(model, inputs(seed=1))
    before = model.states
    predict(model, X)
    assert model.states.select([1]) == before.select([1])  # to the bit
    assert not model.states.select([0, 2]).allclose(before.select([0, 2]), atol=1e-3)


@pytest.mark.parametrize("cell", MASKED, ids=lambda cell: cell.name)
def test_d_a_fresh_row_fully_masked_is_still_at_its_initial_state(cell):
    model = ready(cell, masked=True)
    expected = predict(model, inputs())
    model.reset_states()
    predict(model, np.zeros((ROWS, STEPS, FEATURES), "float32"))
    assert_same_states(model.states, model.initial_states(ROWS), cell)
    assert_close(cell, predict(model, inputs()), expected)


# (e) The compiled run = a plain Python loop over Keras's own train_step.


def python_loop(model, X, y, starts, rows, epochs, reset):
    """Train by the documented rules, a step at a time; returns the logs of each epoch."""
    remembered = sum(len(parts) + 1 for parts in model.states.values())
    fresh_at = set(np.cumsum([len(parts) + 1 for parts in model.states.values()]) - 1)
    step = jax.jit(model.train_step)
    blank = {count: model.initial_states(count) for count in (rows, len(X) % rows or rows)}

    def values(variables):
        return [variable.value for variable in variables]

    model.states = blank[rows]
    own = values(model.non_trainable_variables[:-remembered])
    memory = first = values(model.non_trainable_variables[-remembered:])
    trainable, optimizer = values(model.trainable_variables), values(model.optimizer.variables)
    history = []
    for _ in range(epochs):
        model.reset_metrics()
        metrics = values(model.metrics_variables)
        memory = first if reset == "epoch" else memory
        for begin in range(0, len(X), rows):
            batch = slice(begin, min(begin + rows, len(X)))
            count = batch.stop - batch.start
            model.states = blank[count]  # so that the variables expect this many rows
            flags = starts[batch] | (reset == "batch")
            given = [
                value[:count] | flags if at in fresh_at else value[:count]
                for at, value in enumerate(memory)
            ]
            state = (trainable, [*own, *given], optimizer, metrics)
            logs, state = step(state, (X[batch], y[batch]))
            trainable, moved, optimizer, metrics = state
            own = moved[:-remembered]
            memory = [
                old.at[:count].set(new)
                for old, new in zip(memory, moved[-remembered:], strict=True)
            ]
        history.append({name: float(value) for name, value in logs.items()})
    model.states = blank[rows]
    for variable, value in zip(model.non_trainable_variables[-remembered:], memory, strict=True):
        variable.assign(value)
    for variable, value in zip(model.trainable_variables, trainable, strict=True):
        variable.assign(value)
    return history


def trainable(cell, optimizer=None):
    """A compiled model of the cell, its data (two full batches and one sample more) and targets."""
    model = cell.make()
    X = inputs(2 * ROWS + 1, seed=4)
    y = spread(np.random.default_rng(5), *X.shape[:2], predict(ready(cell), inputs()).shape[-1])
    model.compile(optimizer or keras.optimizers.Adam(0.003), loss="mse", metrics=["mae"])
    return model, X, y


POLICIES = [(cell, "epoch", False) for cell in CELLS] + [
    (BY_NAME["LSTM"], "never", False),
    (BY_NAME["LSTM"], "batch", False),
    (BY_NAME["two-layers"], "epoch", True),
    (BY_NAME["learnt-initial-state"], "never", True),
]


@pytest.mark.parametrize(
    ("cell", "reset", "some_start"),
    POLICIES,
    ids=[f"{cell.name}-{reset}{'-starts' * some}" for cell, reset, some in POLICIES],
)
def test_e_the_compiled_run_is_a_python_loop(cell, reset, some_start):
    epochs = 70
    model, X, y = trainable(cell, None if cell.name == "LSTM" else keras.optimizers.SGD(0.003))
    model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables]
    begun = [np.asarray(variable) for variable in variables]
    starts = np.array([0, 0, 1, 0, 1, 0, 1], bool) & some_start
    logs = model.fit(
        X, y, ROWS, epochs, verbose=0, reset=reset, starts=starts if some_start else None
    )
    weights, states = model.get_weights(), model.states
    model.reset_states()
    for variable, value in zip(variables, begun, strict=True):
        variable.assign(value)
    expected = python_loop(model, X, y, starts, ROWS, epochs, reset)
    for name, values in logs.history.items():
        assert_close(cell, values, [each[name] for each in expected])
    for mine, theirs in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=10 * cell.tolerance["atol"])
    assert_same_states(states, model.states, cell)


# (f) Saved and loaded = never stopped, to the bit, in another process too.

TRAVELLERS = ["LSTM", "Bidirectional", "learnt-initial-state", "Sequential-in-functional"]


def test_f_a_loaded_state_continues_to_the_bit(cell, model, tmp_path):
    predict(model, inputs(seed=1))
    model.save_states(tmp_path / "a.state")
    expected = predict(model, inputs(seed=2))
    after = model.states
    model.reset_states()
    model.load_states(tmp_path / "a.state")
    np.testing.assert_array_equal(predict(model, inputs(seed=2)), expected)
    assert model.states == after


def fit_on(model, X, y):
    return model.fit(X, y, ROWS, 2, verbose=0, reset="never").history["loss"]


def continue_training(model, X, y):
    """The next steps of both the process that never stopped and the one that loaded."""
    return [np.asarray(fit_on(model, X, y)), predict(model, X[:ROWS]), *model.get_weights()]


def continue_saved(folder: Path, _):
    """Load weights and states, continue, and save the results."""
    for name in TRAVELLERS:
        model, X, y = trainable(BY_NAME[name], "sgd")
        model.load_weights(folder / f"{name}.weights.h5")
        model.load_states(folder / f"{name}.state")
        np.savez(folder / f"{name}.npz", *continue_training(model, X, y))


def test_f_training_continues_in_another_process_to_the_bit(tmp_path):
    expected = {}
    for name in TRAVELLERS:
        model, X, y = trainable(BY_NAME[name], "sgd")
        fit_on(model, X, y)
        model.save_weights(tmp_path / f"{name}.weights.h5")
        model.save_states(tmp_path / f"{name}.state")
        expected[name] = continue_training(model, X, y)
    with forked(continue_saved, tmp_path) as (process, _):
        process.join()
        assert process.exitcode == 0
    for name, values in expected.items():
        with np.load(tmp_path / f"{name}.npz") as file:
            for mine, theirs in zip(values, file.values(), strict=True):
                np.testing.assert_array_equal(mine, theirs, err_msg=name)


# (h) The same shapes again compile nothing.

EPOCH_CALLBACK = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)
BATCH_CALLBACK = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)


def verbs(model, X, y) -> dict:
    """Every way to use a model, each with the state reset at its end."""
    fit = partial(model.fit, X, y, ROWS, verbose=0)
    return {
        "fit": lambda: fit(epochs=2),
        "fit more epochs": lambda: fit(epochs=5),
        "fit, epoch callback": lambda: fit(epochs=2, callbacks=[EPOCH_CALLBACK]),
        "fit, batch callback": lambda: fit(epochs=2, callbacks=[BATCH_CALLBACK]),
        "fit with validation": lambda: fit(epochs=2, validation_data=(X, y)),
        "evaluate": lambda: model.evaluate(X, y, ROWS, verbose=0),
        "predict": lambda: model.predict(X, ROWS, verbose=0),
        "train_on_batch": lambda: model.train_on_batch(X[:ROWS], y[:ROWS]),
        "test_on_batch": lambda: model.test_on_batch(X[:ROWS], y[:ROWS]),
        "predict_on_batch": lambda: model.predict_on_batch(X[:ROWS]),
        "calling": lambda: model(X[:ROWS]),
    }


@pytest.mark.parametrize("name", ["LSTM", "subclassed", "Bidirectional", "learnt-initial-state"])
def test_h_the_same_shapes_again_compile_nothing(name, compiled):
    model, X, y = trainable(BY_NAME[name], None if name == "LSTM" else "sgd")
    for verb, use in verbs(model, X, y).items():
        before = compiled.count
        use()
        if verb in ("fit more epochs", "fit, epoch callback", "fit, batch callback"):
            assert compiled.count == before, f"{verb}: after fit of two epochs"
        again = compiled.count
        use()  # on the state that the first left
        model.reset_states()
        use()  # from the beginning
        model.reset_states()
        assert compiled.count == again, verb
    assert compiled.count > 0  # the counter counts
