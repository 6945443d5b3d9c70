"""States are values (``docs/contract.md``): immutable, and sharing nothing with their model.

They pass through JAX, are selected, stacked and repeated by rows, compared and measured.
"""

import contextlib
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import BY_NAME, FEATURES, ROWS, STEPS, UNITS, inputs, predict, ready, spread, state_after
from damage import assert_flips_refused, flips_accepted, rewrite_as_version_1

import legato
from legato import State

CELL = BY_NAME["two-layers"]


def test_a_state_cannot_be_changed():
    state = state_after(CELL, inputs())
    with pytest.raises(AttributeError, match="A State is immutable"):
        state.rows = 5
    with pytest.raises(TypeError):
        state["lstm"] = ()
    with pytest.raises(TypeError):
        state.fresh["lstm"] = ()
    with pytest.raises(TypeError, match="assignment"):
        next(iter(state.values()))[0] = 0


def test_a_state_shares_no_memory_with_the_arrays_it_was_made_of():
    part = np.ones((16, 64), "float32")
    state = State({"lstm": (part,)})
    part[:] = 0
    assert (np.asarray(state["lstm"][0]) == 1).all()


def test_states_of_a_new_number_of_rows_are_set_without_compiling(compiled):
    model = ready(CELL)
    state = State(
        {
            path: [np.ones((29, *part.shape[1:]), "float32") for part in parts]
            for path, parts in model.states.items()
        }
    )
    compiled.count = 0  # the model may have been built here
    model.states = state
    assert compiled.count == 0
    assert model.states == state


def test_training_on_leaves_an_earlier_state_as_it_was():
    model = CELL.make()
    model.compile("adam", "mse")
    y = spread(np.random.default_rng(5), ROWS, STEPS, UNITS)
    predict(model, inputs())
    state = model.states
    copy = jax.tree.map(np.array, state)
    model.fit(inputs(seed=2), y, ROWS, 2, verbose=0)
    model.train_on_batch(inputs(), y)
    model.reset_states()
    assert jax.tree.all(jax.tree.map(np.array_equal, state, copy))
    model.states = state
    assert model.states == state


def test_a_state_passes_through_jax():
    state = state_after(CELL, inputs())
    assert jax.jit(lambda each: each)(state) == state
    doubled = jax.jit(lambda each: jax.tree.map(lambda part: part + part, each))(state)
    path = next(iter(state))
    np.testing.assert_array_equal(doubled[path][0], 2 * state[path][0])
    last, seen = jax.lax.scan(lambda carry, _: (carry, carry), state, length=2)
    assert last == state
    assert seen[path][0].shape == (2, ROWS, UNITS)
    assert jax.vmap(lambda each: each)(state) == state
    shapes = jax.eval_shape(lambda each: each.repeat(2), state)
    assert isinstance(shapes, State)
    assert shapes.rows == 2 * ROWS
    assert jax.tree.unflatten(jax.tree.structure(state), jax.tree.leaves(state)) == state


def test_rows_are_selected_stacked_and_repeated():
    state = state_after(CELL, inputs())
    path = next(iter(state))
    values = np.asarray(state[path][0])
    np.testing.assert_array_equal(state.select([2, 0])[path][0], values[[2, 0]])
    np.testing.assert_array_equal(state.select(slice(1, 3))[path][0], values[1:3])
    np.testing.assert_array_equal(state.select([True, False, True])[path][0], values[[0, 2]])
    np.testing.assert_array_equal(state.repeat(2)[path][0], values[[0, 0, 1, 1, 2, 2]])
    assert State.stack([state.select([row]) for row in range(ROWS)]) == state
    assert state.select([0]).rows == 1
    assert state.select([]).rows == 0
    assert state.select(2) == state.select([2])


def test_states_are_compared_and_measured():
    state, other = state_after(CELL, inputs()), state_after(CELL, inputs(seed=1))
    assert state == state_after(CELL, inputs())
    assert state != other
    assert state != "a state"
    assert state != state.select([0])
    assert not state.allclose(other)
    assert state.allclose(jax.tree.map(lambda part: part + 1e-8 if part.ndim > 1 else part, state))
    assert state.nbytes == 4 * ROWS * UNITS * 3  # float32: the LSTM's h and c, the GRU's h
    assert repr(state).startswith("State(rows=3, ")


def test_a_state_is_never_pickled(tmp_path):
    state = state_after(CELL, inputs())
    with pytest.raises(TypeError, match=r"never pickled: use state\.save"):
        pickle.dumps(state)
    state.save(tmp_path / "a.state")
    assert State.load(tmp_path / "a.state") == state


def test_one_state_continues_in_several_ways():
    model = ready(CELL)
    predict(model, inputs(1))
    model.states = model.states.repeat(ROWS)
    outputs = predict(model, inputs(seed=3))
    for row in range(ROWS):
        model.states = state_after(CELL, inputs(1))
        np.testing.assert_allclose(
            predict(model, inputs(seed=3)[[row]])[0], outputs[row], **CELL.tolerance
        )


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, lambda call: jax.grad(_summed(call))])
def test_a_call_inside_a_transformation_leaves_the_state_valid(transform):
    model = ready(CELL)
    predict(model, inputs())
    before = model.states
    with contextlib.suppress(legato.LegatoError):  # an error, or done without carrying state on
        transform(lambda x: model(x.reshape(-1, STEPS, FEATURES)))(jnp.asarray(inputs()))
    assert model.states.rows == before.rows
    assert np.isfinite(predict(model, inputs())).all()


def _summed(call):
    return lambda x: call(x).sum()


# Damaged files.


def test_a_flipped_bit_anywhere_in_a_state_file_is_refused(tmp_path):
    path = tmp_path / "a.state"
    state_after(CELL, inputs()).save(path)
    assert_flips_refused(path, lambda: State.load(path))


def test_state_files_of_version_1_are_read(tmp_path):
    path, state = tmp_path / "a.state", state_after(CELL, inputs())
    state.save(path)
    rewrite_as_version_1(path)
    assert State.load(path) == state
    whole = path.read_bytes()
    at = whole.index(b'"paths":"')
    paths = range(8 * at, 8 * (whole.index(b'"]"', at) + 3))  # not covered by their checksum
    accepted = flips_accepted(path, lambda: State.load(path))
    assert [bit for bit in accepted if bit not in paths] == []


@pytest.mark.parametrize(
    "paths", ['["a", "a", "b"]', '["a"]', '["a", "b", "c"]', '["a", 1]', "7", "[" * 100_000, "{"]
)
def test_layers_that_do_not_fit_the_arrays_of_a_state_file_are_refused(paths, tmp_path):
    path = tmp_path / "a.state"
    State({"a": (np.ones((2, 3)),), "b": (np.ones((2, 1)),)}).save(path)
    rewrite_as_version_1(path, paths=paths)
    with pytest.raises(legato.StateError, match=r"a\.state is not a whole state file"):
        State.load(path)
