"""Influence is the derivative of ``predict``, and exactly zero without a path.

The oracle is ``jax.jacrev`` through a plain Python loop over the batches, each Keras's own pure
``predict_step``.
"""

import signal
from functools import cache, partial

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from cells import BY_NAME, CELLS, FEATURES, inputs, ready, spread

import legato
from legato import InputError, StateError, UnsupportedError, influence, layers
from legato._analysis import influence as influence_module
from legato._analysis import propagation
from legato._analysis.differentiated_step import DifferentiatedStep
from legato._analysis.jacobians import DifferentiatedRun
from legato._analysis.propagation import LARGEST, SMALLEST, Propagation
from legato._recurrent.model_state import ModelState

MASKED = [cell for cell in CELLS if cell.masks]
SAMPLES, STEPS = 7, 2
STARTS = np.array([0, 0, 0, 1, 0, 1, 0], bool)


@cache
def compiled_step(model):
    """Keras's own step of ``predict``: (variables' values, (inputs,)) → (outputs, values after)."""
    return jax.jit(model.predict_step)


def slopes(model, X, batch_size, starts=None):
    """d prediction / d input, (samples, outputs …, samples, inputs …), by a plain loop."""
    memories = model._model_state.memories
    remembered = sum(len(each.variables) for each in memories)
    trainable = [each.value for each in model.trainable_variables]
    step = compiled_step(model)

    def outputs(x):
        own = [each.value for each in model.non_trainable_variables]
        own = own[: len(own) - remembered]
        memory = [value for each in memories for value in each.fresh_values(batch_size)]
        parts = []
        for begin in range(0, len(X), batch_size):
            batch = x[begin : begin + batch_size]
            memory = [value[: len(batch)] for value in memory]
            for each in memories:
                each.set_values(each.fresh_values(len(batch)))
            if starts is not None:
                flags = starts[begin : begin + batch_size]
                memory = [value | flags if value.dtype == bool else value for value in memory]
            part, after = step((trainable, [*own, *memory]), (batch,))
            own, memory = after[: len(own)], after[len(own) :]
            parts.append(part)
        return jnp.concatenate(parts)

    found = np.asarray(jax.jacfwd(outputs)(jnp.asarray(X)), "float64")
    model.reset_states()
    return found


def by_sample(found):
    """Frobenius norms, (samples, samples)."""
    half = found.ndim // 2
    axes = (*range(1, half), *range(half + 1, found.ndim))
    return np.sqrt(np.square(found).sum(axes))


def by_step(found):
    """Frobenius norms, (samples × steps, samples × steps); found (n, t, units, n, t, features)."""
    sizes = np.sqrt(np.square(found).sum((2, 5)))
    return sizes.reshape(sizes.shape[0] * sizes.shape[1], -1)


def assert_same(cell, found, expected):
    """Within the tolerance of the cell's dtype, and zero in the same places."""
    tolerance = (
        {"rtol": 1e-4, "atol": 1e-6} if cell.dtype == "float32" else {"rtol": 0.1, "atol": 0.02}
    )
    np.testing.assert_allclose(found, expected, **tolerance)
    if cell.dtype == "float32":
        np.testing.assert_array_equal(found == 0, expected == 0)


def stateless(features=1, units=3, **options):
    model = legato.Sequential(
        [layers.Input((None, features)), layers.LSTM(units, **options), layers.Dense(2)]
    )
    model.set_weights([spread(np.random.default_rng(4), *each.shape) for each in model.weights])
    return model


# The derivative.


@pytest.mark.quick_cases(10)
@pytest.mark.parametrize("batch_size", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_it_is_the_derivative_of_predict(cell, model, batch_size):
    X, whole = inputs(SAMPLES, STEPS), 6  # a smaller last batch is below
    found = influence(model, X[:whole], batch_size=batch_size, steps=True)
    expected = slopes(model, X, batch_size)[:whole, :, :, :whole]  # by the same programs as below
    assert_same(cell, found.matrix, by_step(expected))


@pytest.mark.quick_cases(3)
def test_with_few_outputs_the_reverse_mode_gives_the_same(cell, model):
    X = inputs(SAMPLES, STEPS)
    expected = slopes(model, X, 3, STARTS)[:, :, 1:2]
    found = influence(model, X, batch_size=3, starts=STARTS, outputs=1)
    assert_same(cell, found.matrix, by_sample(expected))


def test_a_second_map_of_the_same_shapes_compiles_nothing(compiled):
    model, X = stateless(FEATURES, stateful=True), inputs(SAMPLES, STEPS)
    first = influence(model, X, batch_size=3).matrix
    again = influence(model, X, batch_size=3).matrix  # compiles what NumPy's arrays need
    compiled.count = 0
    other = influence(model, 2 * X, batch_size=3).matrix
    assert compiled.count == 0
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    model.set_weights([2 * each for each in model.get_weights()])
    assert not np.allclose(first, influence(model, X, batch_size=3).matrix)


def test_blocks_of_any_size_give_the_same(monkeypatch):
    model, X = ready(BY_NAME["GRU"]), inputs(SAMPLES, STEPS)

    def found():
        many = (None, False), (0, False), (0, True)
        return [
            influence(model, X, batch_size=2, outputs=outputs, steps=steps).matrix
            for outputs, steps in many
        ]

    whole = found()
    monkeypatch.setattr("legato._analysis.jacobians.BLOCK_BYTES", 1)
    parts = found()
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.parametrize("columns", [0, 1, 15, 16, 40])
@pytest.mark.parametrize("lanes", [1, 3])
def test_a_product_by_pieces_is_the_product(lanes, columns, monkeypatch, rng):
    monkeypatch.setattr(propagation, "ON_ONE_CORE", 16 * 6)
    left, right = rng.normal(size=(lanes, 3, 2)), rng.normal(size=(lanes, 2, 50))[:, :, :columns]
    out = np.full((lanes, 3, 50), np.nan)
    found = propagation._product(left, right, out[:, :, :columns])
    np.testing.assert_allclose(found, left @ right)
    np.testing.assert_array_equal(found, out[:, :, :columns])


def test_it_agrees_with_finite_differences(rng):
    model, X = stateless(stateful=True), rng.normal(size=(9, 1, 1)).astype("float32")
    found = influence(model, X, batch_size=1).matrix
    for i, j in [(3, 3), (4, 2), (8, 7), (8, 5)]:
        moved = []
        for by in (0.01, -0.01):
            changed = X.copy()
            changed[j] += by
            moved.append(model.predict(changed, batch_size=1, verbose=0, advance=False)[i])
        assert np.linalg.norm(moved[0] - moved[1]) / 0.02 == pytest.approx(found[i, j], rel=0.02)


def test_influence_can_begin_with_a_state():
    model, X = ready(BY_NAME["LSTM"]), inputs(SAMPLES, STEPS)
    whole = influence(model, X, batch_size=1).matrix
    model.predict(X[:4], batch_size=1, verbose=0)
    rest = influence(model, X[4:], batch_size=1, state=model.states).matrix
    np.testing.assert_allclose(rest, whole[4:, 4:], rtol=1e-5)
    assert not np.allclose(rest, influence(model, X[4:], batch_size=1).matrix, rtol=1e-3)


def test_the_model_is_unchanged():
    model, X = ready(BY_NAME["GRU"]), inputs(6)
    model.predict(X[:2], batch_size=2, verbose=0)
    before = model.states
    influence(model, X, batch_size=3)
    assert model.states == before
    with pytest.raises(StateError, match="remembers 2 rows, but this call has 3"):
        influence(model, X, batch_size=3, state=before)
    assert model.states == before
    model.reset_states()
    influence(model, X, batch_size=2, state=before)
    assert model.states.rows == 0


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    ("of", "moment"),
    [(ModelState, "set_state"), (DifferentiatedStep, "_flat_function"), (Propagation, "advance")],
    ids=["beginning", "tracing", "multiplying"],
)
def test_ctrl_c_leaves_the_model_unchanged(of, moment, monkeypatch):
    model, X = ready(BY_NAME["functional-in-Sequential"]), inputs(6)
    model.predict(X, batch_size=1, verbose=0)
    options = {"batch_size": 1, "state": model.states}
    model.predict(X[:2], batch_size=1, verbose=0)
    before, weights = model.states, model.get_weights()
    expected = influence(model, X, **options).matrix
    model.predict_function = None  # programs are traced again
    do = getattr(of, moment)

    def interrupted(*given):
        done = do(*given)
        signal.raise_signal(signal.SIGINT)
        return done

    with monkeypatch.context() as patched:
        patched.setattr(of, moment, interrupted)
        with pytest.raises(KeyboardInterrupt):
            influence(model, X, **options)
    assert model.states == before
    for weight, its in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, its)
    np.testing.assert_array_equal(influence(model, X, **options).matrix, expected)


# Exact zeros.


@pytest.mark.parametrize("batch_size", [1, 2, 5, 6])
def test_without_state_each_prediction_depends_on_its_own_sample(batch_size):
    found = influence(stateless(FEATURES), inputs(6), batch_size=batch_size)
    np.testing.assert_array_equal(found.matrix > 0, np.eye(6, dtype=bool))
    assert not found.reach().any()


def test_the_fourth_network_has_no_influence_between_the_samples_of_its_batch():
    letters = np.arange(25, dtype="float32").reshape(25, 1, 1) / 26
    found = influence(stateless(units=16), letters, batch_size=25)
    np.testing.assert_array_equal(found.matrix > 0, np.eye(25, dtype=bool))


def test_carried_state_influences_all_later_samples_of_its_row():
    model, X = stateless(FEATURES, stateful=True), inputs(6)
    found = influence(model, X, batch_size=1)
    np.testing.assert_array_equal(found.matrix > 0, np.tri(6, dtype=bool))
    found = influence(model, X, batch_size=2)
    lane = np.arange(6) % 2
    np.testing.assert_array_equal(found.matrix > 0, np.tri(6, dtype=bool) & (lane[:, None] == lane))


@pytest.mark.parametrize("outputs", [None, 0])
def test_starts_make_the_matrix_block_diagonal(outputs):
    starts = np.isin(np.arange(30), [0, 4, 17])
    model = stateless(FEATURES, stateful=True)
    found = influence(model, inputs(30), batch_size=1, starts=starts, outputs=outputs)
    sequence = starts.cumsum()
    expected = np.tri(30, dtype=bool) & (sequence[:, None] == sequence)
    np.testing.assert_array_equal(found.matrix > 0, expected)


@pytest.mark.quick_cases(6)
@pytest.mark.parametrize("cell", MASKED, ids=lambda cell: cell.name)
def test_a_masked_step_has_no_influence(cell):
    model, X = ready(cell, masked=True), inputs(4, 3)
    X[1, 2] = X[2, 0] = X[3] = 0.0
    found = influence(model, X, batch_size=1, steps=True)
    masked = (X == 0).all(axis=2).reshape(-1)
    assert masked.sum() == 5
    assert not found.matrix[:, masked].any()
    if cell.carried is None:
        np.testing.assert_array_equal(found.matrix[~masked][:, ~masked] > 0, np.tri(7, dtype=bool))


@pytest.mark.parametrize("factor", [1 / 128, 128])
def test_underflow_and_overflow_are_neither_zero_nor_infinite(factor):
    model = legato.Sequential(
        [layers.Input((1, 1)), layers.SimpleRNN(1, activation=None, stateful=True)]
    )
    model.set_weights([np.array([[3.0]]), np.array([[factor]]), np.array([0.0])])
    found = influence(model, np.zeros((200, 1, 1)), batch_size=1).matrix
    back = np.subtract.outer(np.arange(200), np.arange(200))
    with np.errstate(over="ignore"):
        expected = 3 * float(factor) ** np.maximum(back, 0)
    expected = np.where(back < 0, 0.0, expected.clip(SMALLEST, LARGEST))
    np.testing.assert_array_equal(found, expected)
    assert found[-1, 0] == (SMALLEST if factor < 1 else LARGEST)


def test_decay_within_a_sample_is_warned_of():
    model = stateless(units=2, return_sequences=True)
    with pytest.warns(UserWarning, match="Within sample 0 influence falls below 1e-30"):
        found = influence(model, np.ones((1, 400, 1)), steps=True).matrix
    cut = stateless(units=2, return_sequences=True, stateful=True)
    fully = influence(cut, np.ones((400, 1, 1)), batch_size=1).matrix
    assert found[-1, 0] == 0 < fully[-1, 0]
    np.testing.assert_allclose(found, fully, rtol=1e-4, atol=1e-36)


class Centred(legato.Model):
    """Subtracts the mean of its batch from every row."""

    def __init__(self):
        super().__init__()
        self.memory = layers.GRU(3, stateful=True)

    def call(self, x):
        carried = self.memory(x)
        return carried - keras.ops.mean(carried, axis=0)


@pytest.mark.parametrize("outputs", [None, 1])
def test_rows_that_mix_are_taken_into_account(outputs):
    model, X = Centred(), inputs(SAMPLES, STEPS)
    model.predict(X, verbose=0, advance=False)
    expected = slopes(model, X, 3)
    if outputs is not None:
        expected = expected[:, outputs : outputs + 1]
    found = influence(model, X, batch_size=3, outputs=outputs)
    assert_same(BY_NAME["GRU"], found.matrix, by_sample(expected))
    assert found.matrix[0, 1] > 0


def test_several_inputs_and_outputs_are_combined(rng):
    one, other = keras.Input((None, 2), name="one"), keras.Input((None, 1), name="other")
    carried = layers.GRU(3, stateful=True, return_sequences=True)(one)
    both = layers.Concatenate()([carried, other])
    model = legato.Model([one, other], [layers.Dense(2)(both), carried])
    X = [rng.normal(size=(5, 2, n)).astype("float32") for n in (2, 1)]
    found = influence(model, X, batch_size=1, steps=True).matrix
    alone = influence(legato.Model(one, carried), X[0], batch_size=1, steps=True).matrix
    assert found.shape == (10, 10)
    np.testing.assert_array_equal(found > 0, alone > 0)
    assert (found >= alone * (1 - 1e-5)).all()


# Results.


def test_reach_and_table_give_how_far_back_a_prediction_depends():
    matrix = np.array([[2.0, 0, 0], [0.5, 4, 0], [0.1, 3, 4]])
    found = legato.Influence(matrix, ("A", "B", "C"), ("A", "B", "C"))
    assert found.reach().tolist() == [0, 1, 2]
    assert found.reach(0.5).tolist() == [0, 0, 1]
    assert found.table()[2] == {
        "prediction": "C",
        "own": 4.0,
        "earlier": pytest.approx(np.hypot(0.1, 3)),
        "reach": 2,
    }
    with pytest.raises(ValueError, match="read-only"):
        found.matrix[0, 0] = 1


def test_rows_and_columns_have_names():
    model, X = stateless(FEATURES), inputs(2, 3)
    found = influence(model, X, names="AB")
    assert found.predictions == found.inputs == ("A", "B")
    found = influence(model, X, names="AB", steps=True)
    assert found.predictions == ("A", "B")
    assert found.inputs == ("A:0", "A:1", "A:2", "B:0", "B:1", "B:2")
    assert found.own.tolist() == [2, 5]
    assert influence(model, X[:1], steps=True).inputs == ("0", "1", "2")


# Errors.


def counting():
    return legato.Sequential(
        [layers.Input((None,), dtype="int32"), layers.Embedding(5, 2), layers.LSTM(2)]
    )


class Noting(keras.layers.Layer):
    """Counts how often it is called."""

    def build(self, _):
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, name="count")

    def call(self, x):
        self.count.assign(self.count + 1)
        return x


@pytest.mark.parametrize(
    ("make", "X", "options", "message"),
    [
        (
            lambda: keras.Sequential,
            inputs(),
            {},
            "legato.Model or legato.Sequential was expected, and type",
        ),
        (
            counting,
            np.ones((3, 2), int),
            {},
            "embeds integers, and a prediction has no derivative",
        ),
        (
            partial(stateless, FEATURES),
            iter([inputs()]),
            {},
            "yields batches; arrays were expected",
        ),
        (
            partial(stateless, FEATURES),
            inputs(),
            {"outputs": 2},
            r"outputs=2 .* \('samples', 2\), has no such",
        ),
        (partial(stateless, FEATURES), inputs(), {"outputs": [0]}, r"outputs=\[0\] .* no such"),
        (partial(stateless, FEATURES), inputs(), {"outputs": 0.5}, r"outputs=0.5 .* no such"),
        (partial(stateless, FEATURES), inputs(), {"names": "AB"}, "2 names came for 3 samples"),
        (
            partial(stateless, FEATURES),
            inputs(),
            {"batch_size": 0},
            "a whole number of at least 1 was expected",
        ),
        (
            lambda: legato.Sequential([layers.Input((3,)), layers.Dense(1)]),
            inputs()[:, 0],
            {"steps": True},
            r"shapes \[\(3,\)\]; \(time steps, features\) was expected",
        ),
    ],
)
def test_invalid_input_is_refused(make, X, options, message):
    with pytest.raises(InputError, match=message):
        influence(make(), X, **options)


def test_integers_are_converted_to_floats():
    model, X = stateless(), np.arange(6).reshape(3, 2, 1)
    expected = influence(model, X.astype("float32")).matrix
    np.testing.assert_array_equal(influence(model, X).matrix, expected)


def test_a_derivative_that_is_not_finite_is_an_error():
    model = legato.Sequential([layers.Input((1, 1)), layers.Lambda(keras.ops.sqrt), layers.GRU(1)])
    with pytest.raises(InputError, match="outputs for samples 0 to 2 is not finite"):
        influence(model, np.zeros((3, 1, 1)))


def test_other_carried_variables_are_refused():
    model = legato.Sequential([layers.Input((1, 1)), Noting(), layers.GRU(1)])
    with pytest.raises(UnsupportedError, match=r"variable '.*count', which is no recur"):
        influence(model, np.zeros((3, 1, 1)))


def test_too_large_a_map_is_refused_with_its_cost(monkeypatch):
    monkeypatch.setattr(influence_module, "MAX_BYTES", 50_000)
    model = stateless(stateful=True)
    with pytest.raises(InputError, match=r"100 samples .* GiB, and about [\d.]+ s; .*X\[:\d+\]\."):
        influence(model, np.ones((100, 1, 1)), batch_size=1)
    with pytest.raises(InputError, match="or leave out steps=True"):
        influence(model, np.ones((100, 3, 1)), batch_size=1, steps=True)


def test_too_large_a_batch_is_refused_before_its_jacobian_is_computed(monkeypatch):
    monkeypatch.setattr(influence_module, "MAX_BYTES", 50_000)
    monkeypatch.setattr(DifferentiatedRun, "jacobians", None)
    refusal = r"Jacobian of a batch .* 200 rows with 6 .* smaller batch_size"
    with pytest.raises(InputError, match=refusal):
        influence(stateless(stateful=True), np.ones((400, 1, 1)), batch_size=200)


def test_progress_goes_to_standard_error(capsys):
    influence(stateless(), np.ones((3, 1, 1)), verbose=1)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "steps/s" in printed.err
