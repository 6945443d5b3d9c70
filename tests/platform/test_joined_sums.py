"""Sums over rows that are joined are those of one device, and need few all-reduces.

The devices are made of the processor (``tests/environment.py``).
"""

import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from legato._platform.joined_sums import Adder, all_reduced, joining_sums

ROWS = STEPS = UNITS = 4  # all alike, so that sizes do not tell which axis is that of rows
SPLIT = PartitionSpec("devices")


def drawn(*shape: int) -> np.ndarray:
    """Numbers that are all different."""
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("float32")


def gradients(weights, rows):
    """Of a dense layer on sequences, whose time steps are merged with the rows."""
    (x,) = rows

    def loss(weights):
        kernel, bias = weights
        flat = jnp.transpose(x, (0, 2, 1)).reshape(-1, STEPS) @ kernel + bias
        return jnp.square(flat.reshape(ROWS, UNITS, -1)).mean()

    return jax.value_and_grad(loss)(weights)


def normalized(weights, rows):
    """A mean, a variance that needs it, and a sum that needs both."""
    (x,) = rows
    mean = x.mean(0)
    deviation = jnp.sqrt(jnp.square(x - mean).mean(0))
    return ((x - mean) / deviation * weights[1]).max(1).sum(), mean


def embedded(weights, rows):
    """The gradient of a table, from which rows are taken, beside sums of two types."""
    (x,) = rows
    labels = jnp.abs(x[:, :, 0] * 10).astype(int) % UNITS

    def loss(table):
        taken = jnp.take(table, labels, axis=0)
        return (jnp.where(labels[..., None] > 1, taken, 0) * x).sum()

    return jax.grad(loss)(weights[0]), labels.sum(), x.sum((0, 2))


def unknown(weights, rows):
    """Sums that are left to XLA: one in a loop, and one of sorted rows."""
    (x,) = rows
    last, _ = jax.lax.scan(lambda total, each: (total + each.sum(), None), 0.0, x.swapaxes(0, 1))
    return last * weights[0], jnp.sort(x, axis=0)[1:].sum()


ALL_REDUCES = {"gradients": 1, "normalized": 3, "embedded": 2, "unknown": None}


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    """Two devices."""
    return Mesh(np.array(jax.devices()[:2]), ("devices",))


def arguments(mesh: Mesh) -> tuple:
    """Weights, whole on each device, and rows, split over them."""
    weights = drawn(UNITS, UNITS), drawn(UNITS)
    rows = (drawn(ROWS, STEPS, UNITS),)
    return (
        jax.device_put(weights, NamedSharding(mesh, PartitionSpec())),
        jax.device_put(rows, NamedSharding(mesh, SPLIT)),
    )


def all_reduces(program) -> int:
    """How many arrays a compiled program adds up over the devices."""
    lines = re.findall(r" = (.*) all-reduce\(", program.as_text())
    return sum(line.count("[") for line in lines)


@pytest.mark.parametrize(("name", "expected"), ALL_REDUCES.items())
def test_joined_sums_are_those_of_one_device(name: str, expected: int | None, mesh):
    function: Callable = globals()[name]
    weights, rows = arguments(mesh)
    program = jax.jit(joining_sums(function, mesh, SPLIT)).lower(weights, rows).compile()
    if expected is not None:
        assert all_reduces(program) == expected
    found, one = program(weights, rows), function(*jax.device_get((weights, rows)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, one)


def test_a_result_that_is_an_argument_stays_that_object(mesh):
    same = []

    @jax.jit
    def run(weights, rows):
        joined = joining_sums(lambda weights, rows: (weights, rows[0].sum()), mesh, SPLIT)
        (first, second), _ = joined(weights, rows)
        same.extend([first is weights[0], second is weights[1]])

    run(*arguments(mesh))
    assert same == [True, True]


def test_a_function_with_effects_is_called_as_it_is(mesh, capfd):
    def printing(weights, rows):
        jax.debug.print("rows {}", rows[0].shape[0])
        return rows[0].sum()

    weights, rows = arguments(mesh)
    total = jax.jit(joining_sums(printing, mesh, SPLIT))(weights, rows)
    np.testing.assert_allclose(total, np.sum(rows[0]), rtol=1e-5)
    jax.effects_barrier()
    assert "rows 4" in capfd.readouterr().out


@pytest.mark.parametrize(("dtypes", "expected"), [({"float32", "int32"}, [4]), ({"float32"}, [])])
def test_an_adder_adds_up_all_sums_or_none(dtypes, expected, mesh):
    calls = []

    def add(arrays, axes):
        calls.append(len(arrays))
        return all_reduced(arrays, axes)

    joined = joining_sums(embedded, mesh, SPLIT, Adder(add, frozenset(dtypes)))
    jax.make_jaxpr(joined)(*arguments(mesh))
    assert calls == expected
