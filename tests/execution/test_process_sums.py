"""Sums in shared memory: never beside sums of XLA, since one process might wait in each.

The devices are made of the processor (``tests/environment.py``). No memory is shared here, so a
program that would add up in it fails.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from legato._execution import process_sums
from legato._platform.joined_sums import joining_sums
from legato._recurrent import native_kernel

SPLIT = PartitionSpec("devices")


def of_the_mean(weight, rows):
    """Its derivative with respect to the outputs is one number, which XLA spreads over the rows."""
    (x,) = rows

    def loss(kernel_and_bias):
        kernel, bias = kernel_and_bias
        return jnp.square((x @ kernel + bias).mean(0)).sum()

    return jax.grad(loss)((weight, weight[0]))


def sorted_rows(weight, rows):
    """Sums of rows, some of which are on another device."""
    (x,) = rows
    return (x @ weight).sum(0), jnp.sort(x, axis=0)[:3].sum(), jnp.roll(x, 1, axis=0)[1:].sum()


def in_a_loop(weight, rows):
    """A sum over rows that comes in each step of a loop, beside one that comes once."""
    (x,) = rows
    last, _ = jax.lax.scan(lambda total, each: (total + each.sum(), None), 0.0, x.T)
    return last, (x @ weight).sum(0)


def of_all(weight, rows):
    """Its sums are all joined."""
    (x,) = rows
    return jax.grad(lambda weight: jnp.square(x @ weight).mean())(weight)


@pytest.mark.skipif(native_kernel.unavailable() is not None, reason="no native library")
@pytest.mark.parametrize("function", [of_the_mean, sorted_rows, in_a_loop, of_all])
def test_a_program_with_sums_of_xla_adds_up_nothing_in_shared_memory(function, monkeypatch):
    monkeypatch.setattr(process_sums, "_shared", [True])
    mesh = Mesh(np.array(jax.devices()[:2]), ("devices",))
    drawn = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
    weight = jax.device_put(drawn[:4], NamedSharding(mesh, PartitionSpec()))
    rows = (jax.device_put(drawn[4:], NamedSharding(mesh, SPLIT)),)

    def run(weight, rows):
        return joining_sums(function, mesh, SPLIT, process_sums.process_adder())(weight, rows)

    program = process_sums.jit_with_sums(run)
    if function is of_all:
        with pytest.raises(jax.errors.JaxRuntimeError, match="no memory is shared"):
            jax.block_until_ready(program(weight, rows))
        return
    one = function(drawn[:4], (drawn[4:],))
    for found in (program(weight, rows), program(weight, rows)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-5, 1e-6), found, one)


def test_where_the_system_gives_no_memory_gloo_adds_up(monkeypatch):
    class Alone:
        index, count = 0, 1

        def gather(self, what, facts):
            return [facts]

    def refused(name):
        raise PermissionError("memfd_create")

    monkeypatch.setattr(process_sums.os, "memfd_create", refused, raising=False)
    monkeypatch.setattr(process_sums, "_shared", [])
    monkeypatch.setattr(process_sums.jax, "local_device_count", lambda: 1)
    process_sums.share_sums(Alone())
    assert not process_sums.are_shared()
