"""The native kernel equals Keras's cells, forward and backward, whatever the sizes and threads."""

from functools import cache, partial
from typing import NamedTuple

import jax
import keras
import numpy as np
import pytest
from jax import numpy as jnp

from legato._recurrent import native_kernel

REASON = native_kernel.unavailable()
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"the native kernel: {REASON}")

CELLS = {
    "lstm": (keras.layers.LSTMCell, {}),
    "gru": (keras.layers.GRUCell, {}),
    "gru_reset_before": (keras.layers.GRUCell, {"reset_after": False}),
    "simple_rnn": (keras.layers.SimpleRNNCell, {}),
}
# rows, steps, features, units: parts of vectors and of tiles, more than one block of everything
SIZES = [(3, 9, 5, 13), (31, 5, 1, 50), (1, 1, 1, 1), (1, 19, 7, 64), (40, 11, 17, 33)]
FORWARD, GRADIENT = 1e-6, 1e-5  # of the largest element


class Case(NamedTuple):
    """Arrays of one call in float32, and what a loss weighs the results with."""

    x: np.ndarray
    states: tuple[np.ndarray, ...]
    weights: list[np.ndarray]  # W, U, b, as the Keras cell has them; no b if without
    mask: np.ndarray | None
    recurrent_scale: np.ndarray | None
    d_hidden: np.ndarray
    d_states: tuple[np.ndarray, ...]


def make_cell(name: str, units: int, **options):
    """A cell whose own weights are not used, and take no programs to draw."""
    make, more = CELLS[name]
    zeros = {"kernel_initializer": "zeros", "recurrent_initializer": "zeros"}
    return make(units, dtype="float64", **zeros, **more, **options)


@cache
def make_case(name: str, sizes: tuple, masked=False, scaled=False, bias=True) -> Case:
    rows, steps, features, units = sizes
    rng = np.random.default_rng([*sizes, masked, scaled])
    kind = native_kernel.CELLS[name]

    def draw(*shape, scale=1.0):
        return rng.normal(size=shape, scale=scale).astype(np.float32)

    columns = kind.gates * units
    weights = [draw(inputs, columns, scale=max(inputs, 1) ** -0.5) for inputs in (features, units)]
    if bias:
        weights.append(draw(*((2, columns) if name == "gru" else (columns,))))
    return Case(
        draw(rows, steps, features),
        tuple(draw(rows, units) for _ in range(kind.states)),
        weights,
        rng.random((rows, steps)) < 0.6 if masked else None,
        2.0 * (rng.random((kind.gates, rows, units)) < 0.5).astype(np.float32) if scaled else None,
        draw(rows, steps, units),
        tuple(draw(rows, units) for _ in range(kind.states)),
    )


def keras_run(cell, case: Case, x, states, weights):
    """The hidden states and the final states, by Keras's cell in float64."""

    def step(states, inputs):
        x, valid = inputs
        if case.recurrent_scale is not None:
            cell._recurrent_dropout_mask = list(case.recurrent_scale)
            if not isinstance(cell, keras.layers.SimpleRNNCell):
                assert cell.implementation == 1  # which has a mask for every gate
            else:
                cell._recurrent_dropout_mask = cell._recurrent_dropout_mask[0]
        (_, moved), *_ = cell.stateless_call(weights, others, x, list(states), training=True)
        states = tuple(
            jnp.where(valid[:, None], new, old) for new, old in zip(moved, states, strict=True)
        )
        return states, states[0]

    others = [variable.value for variable in cell.non_trainable_variables]
    mask = np.ones(x.shape[:2], bool) if case.mask is None else case.mask
    states, hidden = jax.lax.scan(step, states, (jnp.swapaxes(x, 0, 1), jnp.asarray(mask).T))
    return jnp.swapaxes(hidden, 0, 1), states


def keras_results(name: str, case: Case):
    """Keras's results in float64: hidden, final states; dx, d_states, dW, dU, db."""
    with jax.enable_x64(True):
        case = jax.tree.map(
            lambda array: jnp.asarray(array, None if array.dtype == bool else jnp.float64), case
        )
        dropout = {} if case.recurrent_scale is None else {"recurrent_dropout": 0.5}
        units = case.states[0].shape[-1]
        cell = make_cell(name, units, use_bias=len(case.weights) == 3, **dropout)
        cell.build((None, case.x.shape[-1]))

        @jax.jit
        def run(arrays, cotangents):
            results, pull = jax.vjp(partial(keras_run, cell, case), *arrays)
            dx, d_states, d_weights = pull(cotangents)
            return *results, dx, d_states, *d_weights

        cotangents = case.d_hidden, case.d_states
        return jax.tree.map(np.asarray, run((case.x, case.states, case.weights), cotangents))


@cache
def expected(name: str, sizes: tuple, **options):
    """Keras's results of a case."""
    return keras_results(name, make_case(name, sizes, **options))


@partial(jax.jit, static_argnames=("name", "threads", "needs_dx"))
def native_run(case: Case, *, name: str, threads: int = 0, needs_dx: bool = True):
    weights = [*case.weights, None][:3]
    hidden, states, residuals = native_kernel.forward(
        name,
        case.x,
        case.states,
        *weights,
        case.mask,
        case.recurrent_scale,
        keep=True,
        threads=threads,
    )
    gradients = native_kernel.backward(
        name, residuals, case.d_hidden, case.d_states, needs_dx=needs_dx, threads=threads
    )
    return hidden, states, *gradients[: None if weights[2] is not None else -1]


@partial(jax.jit, static_argnames=("name", "sequences"))
def native_forward(case: Case, *, name: str, sequences: bool = True):
    weights = [*case.weights, None][:3]
    hidden, states, residuals = native_kernel.forward(
        name,
        case.x,
        case.states,
        *weights,
        case.mask,
        case.recurrent_scale,
        keep=False,
        sequences=sequences,
    )
    assert residuals is None
    return hidden, states


def assert_near(found, wanted) -> None:
    """Forward results and gradients are near, relative to the largest element of each array."""
    paths = jax.tree.leaves_with_path(wanted)
    for (path, want), got in zip(paths, jax.tree.leaves(found), strict=True):
        tolerance = FORWARD if path[0].idx < 2 else GRADIENT
        largest = np.abs(want).max(initial=1e-3)
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * largest, err_msg=str(path))


def assert_same_bits(first, second) -> None:
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


@pytest.fixture(params=native_kernel.instruction_sets() if REASON is None else [])
def instructions(request):
    """Each instruction set of this processor."""
    usual = native_kernel.instruction_set()
    native_kernel.use_instruction_set(request.param)
    yield request.param
    native_kernel.use_instruction_set(usual)


@pytest.mark.quick_cases(20)
@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_results_and_gradients_are_those_of_keras(name, sizes, instructions):
    case = make_case(name, sizes)
    found = native_run(case, name=name)
    assert_near(found, expected(name, sizes))
    assert_same_bits(native_forward(case, name=name), found[:2])


@pytest.mark.quick_cases(10)
@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize(
    "options",
    [{"masked": True}, {"scaled": True}, {"masked": True, "scaled": True, "bias": False}],
    ids=str,
)
def test_masks_and_recurrent_dropout_are_those_of_keras(name, options, instructions):
    sizes = (9, 11, 6, 21)
    case = make_case(name, sizes, **options)
    found = native_run(case, name=name)
    assert_near(found, expected(name, sizes, **options))
    assert_same_bits(native_forward(case, name=name), found[:2])


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("sizes", [(37, 30, 24, 48), (5, 60, 5, 130)])  # threads share both
def test_numbers_do_not_depend_on_threads_or_rows(name, sizes, instructions):
    case = make_case(name, sizes, masked=True)
    one = native_run(case, name=name, threads=1)
    for threads in (1, 2, 0, 0):
        assert_same_bits(native_run(case, name=name, threads=threads), one)
    some = case._replace(
        x=case.x[:3],
        states=tuple(state[:3] for state in case.states),
        mask=case.mask[:3],
        d_hidden=case.d_hidden[:3],
        d_states=tuple(state[:3] for state in case.d_states),
    )
    hidden, states, dx, d_states, *_ = native_run(some, name=name)
    rows = jax.tree.map(lambda array: array[:3], (one[0], one[1], one[2], one[3]))
    assert_same_bits((hidden, states, dx, d_states), rows)


@pytest.mark.parametrize("name", CELLS)
def test_hidden_states_of_all_steps_are_left_out_where_they_are_not_wanted(name):
    case = make_case(name, SIZES[0], masked=True)
    hidden, states = native_forward(case, name=name, sequences=False)
    assert hidden is None
    assert_same_bits(states, native_forward(case, name=name)[1])


@pytest.mark.parametrize("name", CELLS)
def test_derivatives_of_the_final_states_alone_need_no_others(name):
    case = make_case(name, SIZES[0], masked=True)
    zero = native_run(case._replace(d_hidden=np.zeros_like(case.d_hidden)), name=name)
    assert_same_bits(native_run(case._replace(d_hidden=None), name=name), zero)


@pytest.mark.parametrize("name", CELLS)
def test_dx_is_left_out_where_it_is_not_wanted(name):
    case = make_case(name, SIZES[0])
    full, part = native_run(case, name=name), native_run(case, name=name, needs_dx=False)
    assert part[2] is None
    assert_same_bits(part[3:], full[3:])


@pytest.mark.parametrize("name", CELLS)
def test_bad_numbers_spread_as_in_keras(name, instructions):
    sizes = (6, 4, 3, 13)
    x = make_case(name, sizes).x.copy()
    x[0, 1, 0], x[1, 2, 1], x[2, 0, 2], x[3, 1, 0] = np.nan, np.inf, -np.inf, 1e30
    case = make_case(name, sizes)._replace(x=x)
    found, wanted = native_run(case, name=name), keras_results(name, case)
    for got, want in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_activations_are_accurate_and_right_at_the_edges(instructions):
    """A cell of one unit without a past is its activation; all of a wide range, tails too."""
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.normal(size=2000) * 10.0 ** rng.uniform(-8, 1.9, 2000), [0.0]])
    z = np.concatenate([z, [np.inf, -np.inf, np.nan, 88.0, -88.0, 3e38, -3e38]]).astype(np.float32)
    zeros = np.zeros((z.size, 1), np.float32)
    weights = np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32), np.zeros(1, np.float32)
    hidden, *_ = native_kernel.forward(
        "simple_rnn", z[:, None, None], (zeros,), *weights, keep=False
    )
    found, wanted = np.asarray(hidden)[:, 0, 0], np.tanh(z.astype(np.float64))
    assert np.array_equal(np.isnan(found), np.isnan(z))
    finite = ~np.isnan(z)
    np.testing.assert_allclose(found[finite], wanted[finite], rtol=4e-7, atol=0)
    # c = sigmoid(z) * 1 with c0 = 1 and no input gate to speak of
    W = np.array([[0, 1, 0, 0]], np.float32)
    b = np.array([-np.inf, 0, 0, 0], np.float32)
    real = z[np.isfinite(z)]  # else 0 * inf at the other gates
    states = zeros[: real.size], 1 + zeros[: real.size]
    U = np.zeros((1, 4), np.float32)
    _, (_, c), _ = native_kernel.forward("lstm", real[:, None, None], states, W, U, b, keep=False)
    with np.errstate(over="ignore"):
        wanted = 1 / (1 + np.exp(-real.astype(np.float64)))
    np.testing.assert_allclose(np.asarray(c)[:, 0], wanted, rtol=5e-7, atol=1e-37)


@pytest.mark.parametrize("sizes", [(0, 3, 2, 4), (2, 0, 2, 4), (2, 3, 0, 4)], ids=str)
def test_nothing_is_something_too(sizes):
    case = make_case("lstm", sizes)
    assert_near(native_run(case, name="lstm"), expected("lstm", sizes))


def test_calls_may_be_mapped_scanned_and_donated():
    case = make_case("lstm", SIZES[0])
    once = native_run(case, name="lstm")

    def again(arrays):
        return native_run(Case(*arrays), name="lstm")

    two = jax.tree.map(lambda array: jnp.stack([array, array]), tuple(case))
    both = jax.tree.map(lambda array: np.stack([array, array]), once)
    assert_same_bits(jax.vmap(again)(two), both)
    assert_same_bits(jax.lax.map(again, two), both)
    donated = jax.jit(again, donate_argnums=0)
    arrays = jax.tree.map(jnp.array, tuple(case))
    assert_same_bits(donated(arrays), once)
