"""Every derivative of a function with a backward pass of its own equals that of plain JAX."""

from dataclasses import dataclass

import jax
import numpy as np
import pytest
from jax import numpy as jnp
from jax.sharding import AbstractMesh, PartitionSpec

from legato._platform import custom_derivatives


@dataclass(frozen=True)
class SineOfProduct:
    """sin(x w) and the sum of x; its backward pass is one that JAX would not make."""

    result_count = 2

    def reference(self, operands):
        x, w = operands["x"], operands["w"]
        return jnp.sin(x @ w) * operands["sign"], x.sum(0)

    def run(self, operands):
        return self.reference(operands)

    def run_and_keep(self, operands):
        return self.reference(operands), (operands["x"] @ operands["w"],)

    def backward(self, operands, kept, cotangents, wanted):
        assert kept[0].shape == cotangents[0].shape
        TAKEN.append(wanted)
        d_product = cotangents[0] * jnp.cos(kept[0]) * operands["sign"]
        found = {
            "x": d_product @ operands["w"].T + cotangents[1],
            "w": operands["x"].T @ d_product,
        }
        return tuple(found[name] for name in wanted)


TAKEN: list[tuple] = []  # what was wanted of each backward pass that was traced
RNG = np.random.default_rng(1)
X, W, DX, DW = (RNG.normal(size=size) for size in ((4, 3), (3, 2), (4, 3), (3, 2)))
SIGN = np.array([1, -1])  # integers have no derivative


def fast(x, w):
    return custom_derivatives.call(SineOfProduct(), {"x": x, "w": w, "sign": SIGN})


def plain(x, w):
    return SineOfProduct().reference({"x": x, "w": w, "sign": SIGN})


def loss_of(function):
    def loss(x, w):
        first, second = function(x, w)
        return (first**3).sum() + (second**2).sum()

    return loss


def gradient(loss):
    return jax.grad(loss, (0, 1))


def along(function):
    return lambda x, w: jax.jvp(function, (x, w), (DX, DW))[1]


def squared_gradient(loss):
    return gradient(lambda x, w: sum((each**2).sum() for each in gradient(loss)(x, w)))


DERIVATIVES = {
    "results": lambda f: f,
    "gradient": lambda f: gradient(loss_of(f)),
    "gradient of one": lambda f: jax.grad(loss_of(f), 1),
    "forward": along,
    "forward of one": lambda f: lambda x, w: jax.jvp(lambda w: f(x, w), (w,), (DW,))[1],
    "forward over reverse": lambda f: along(gradient(loss_of(f))),
    "reverse over reverse": lambda f: squared_gradient(loss_of(f)),
    "reverse over forward": lambda f: gradient(along(loss_of(f))),
    "third": lambda f: along(squared_gradient(loss_of(f))),
    "gradients of many weights": lambda f: (
        lambda x, w: jax.vmap(gradient(loss_of(f)), in_axes=(None, 0))(x, jnp.stack([w, 2 * w]))
    ),
    "Hessian": lambda f: jax.hessian(loss_of(f), 1),
    "Hessian by forward mode": lambda f: jax.jacfwd(jax.jacfwd(loss_of(f), 1), 1),
    "Hessian by reverse mode": lambda f: jax.jacrev(jax.jacrev(loss_of(f), 1), 1),
    "gradient through vmap": lambda f: gradient(
        lambda x, w: jax.vmap(loss_of(f), (2, None))(jnp.stack([x, 2 * x], 2), w).sum()
    ),
    "gradient through two vmaps": lambda f: gradient(
        lambda x, w: jax.vmap(jax.vmap(loss_of(f), (1, None)), (1, 2))(
            jnp.stack([jnp.stack([x, 2 * x], 1), jnp.stack([3 * x, x], 1)], 1), jnp.stack([w, w], 2)
        ).sum()
    ),
    "Hessian through vmap": lambda f: jax.hessian(
        lambda x, w: jax.vmap(loss_of(f), (None, 0))(x, jnp.stack([w, 2 * w])).sum(), 1
    ),
    "recomputed": lambda f: gradient(jax.checkpoint(loss_of(f))),
    "in a scan": lambda f: gradient(
        lambda x, w: jax.lax.scan(lambda c, _: (c + loss_of(f)(x * c, w), None), 1.0, None, 2)[0]
    ),
}


@pytest.mark.quick_cases(9)
@pytest.mark.parametrize("name", DERIVATIVES)
def test_equals_the_derivative_of_plain_jax(name):
    with jax.enable_x64(True):
        x, w = jnp.asarray(X), jnp.asarray(W)
        got, expected = (jax.jit(DERIVATIVES[name](f))(x, w) for f in (fast, plain))
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_without_jit():
    with jax.enable_x64(True):
        got, expected = (gradient(loss_of(f))(jnp.asarray(X), W) for f in (fast, plain))
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_a_gradient_takes_the_own_backward_pass_once_and_asks_only_for_what_is_wanted():
    TAKEN.clear()
    jax.jit(jax.grad(lambda w: loss_of(fast)(X, w))).lower(W)
    assert TAKEN == [("w",)]
    jax.jit(along(fast)).lower(X, W)
    assert TAKEN == [("w",)]


class WithoutReference(SineOfProduct):
    def reference(self, operands):
        raise AssertionError("the reference was traced, which takes longer than all else")

    def run(self, operands):
        return SineOfProduct().reference(operands)

    def run_and_keep(self, operands):
        return SineOfProduct().run_and_keep(operands)


def test_a_gradient_does_not_trace_the_reference():
    def results(x, w):
        operands = {"x": x, "w": w, "sign": SIGN}
        return custom_derivatives.call(WithoutReference(), operands)

    jax.jit(gradient(loss_of(results))).lower(X, W)
    many = jnp.stack([W, 2 * W])
    jax.jit(jax.vmap(gradient(loss_of(results)), (None, 0))).lower(X, many)


def test_gradients_of_what_devices_share_are_summed_over_them():
    mesh, rows, shared = AbstractMesh((2,), ("rows",)), PartitionSpec("rows"), PartitionSpec()

    def traced(function, out_specs):
        inner = jax.shard_map(function, mesh=mesh, in_specs=(rows, shared), out_specs=out_specs)
        return str(jax.make_jaxpr(inner)(X, W))

    for each in (fast, plain):
        # One sum for the gradient of w, which all devices share; none for that of x.
        assert traced(gradient(loss_of(each)), (rows, shared)).count("psum") == 1
        with pytest.raises(ValueError, match="out_specs"):  # they differ from device to device
            traced(each, (shared, shared))
