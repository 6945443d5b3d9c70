"""Several devices that share the rows of a batch, with the weights on each.

XLA partitions a program over a mesh of devices
(https://docs.jax.dev/en/latest/sharded-computation.html): here arrays (rows, …) are split, data and
the variables' values are whole on each device, and XLA adds up what comes from all rows, such as
gradients. So the numbers are those of one device, but for the order of sums. A function that XLA
cannot look into, such as the native kernel, is split by ``over_rows``. Limits: devices of other
processes are refused.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import keras
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from legato._errors import InputError, UnsupportedError
from legato._platform.checks import check_count

_ROWS = "rows"  # the axis of the mesh
_MESH: ContextVar[Mesh | None] = ContextVar("devices that share rows", default=None)
CALLS = threading.RLock()  # two programs that wait for all devices could wait for each other


def mesh_of(devices: int | None = None) -> Mesh | None:
    """The devices of a run; None for a single one.

    Args:
        devices: their number. Default: those of the ``keras.distribution.DataParallel`` that is
            set, else one.

    Raises:
        InputError: there are fewer, or it is not a whole number from 1 up.
        UnsupportedError: another distribution is set, or some devices are of other processes.
    """
    if devices is not None:
        return _first_devices(check_count("devices", devices))
    distribution = keras.distribution.distribution()
    if distribution is None:
        return None
    if not isinstance(distribution, keras.distribution.DataParallel):
        raise UnsupportedError(
            f"A keras.distribution.{type(distribution).__name__} is set; legato splits the rows of "
            "a batch over devices, which is keras.distribution.DataParallel. Unset it with "
            "keras.distribution.set_distribution(None)."
        )
    if jax.process_count() > 1:
        raise UnsupportedError(
            f"The distribution has devices of {jax.process_count()} processes; legato runs on "
            "those of one so far."
        )
    known = {f"{each.platform}:{each.id}": each for each in jax.devices()}
    chosen = [known[name] for name in distribution.device_mesh.devices.ravel()]
    return Mesh(np.array(chosen), (_ROWS,)) if len(chosen) > 1 else None


def _first_devices(count: int) -> Mesh | None:
    available = jax.local_devices()
    if count > len(available):
        more = ""
        if available[0].platform == "cpu":
            more = (
                f" Of a CPU, JAX makes as many as you say before it is first used: set the "
                f"environment variable JAX_NUM_CPU_DEVICES={count}, or jax.config.update("
                f'"jax_num_cpu_devices", {count}).'
            )
        raise InputError(
            f"devices is {count}, and JAX has {len(available)} here: "
            f"{', '.join(map(str, available[:8]))}.{more}"
        )
    return Mesh(np.array(available[:count]), (_ROWS,)) if count > 1 else None


def check_rows(rows: int, mesh: Mesh | None) -> None:
    """Refuse a number of rows in a batch that the devices cannot share equally.

    Raises:
        InputError: they do not divide it; the message has the nearest numbers that they do.
    """
    if mesh is None or rows % mesh.size == 0:
        return
    below = rows - rows % mesh.size
    nearest = [str(each) for each in (below, below + mesh.size) if each]
    fewer = max(count for count in range(1, mesh.size) if rows % count == 0)
    raise InputError(
        f"A batch of {rows} row{'s' * (rows != 1)} cannot be shared equally by {mesh.size} "
        f"devices. Give batch_size={' or '.join(nearest)}, or devices={fewer}."
    )


def rows_of_devices(rows: int, mesh: Mesh | None) -> tuple[str, ...]:
    """The rows of a batch that each device computes, in words; none if there is one device."""
    if mesh is None:
        return ()
    each = rows // mesh.size
    ranges = [(at * each, at * each + each - 1) for at in range(mesh.size)]
    return tuple(
        f"{f'rows {first} to {last} are' if each > 1 else f'row {first} is'} computed on {device}"
        for (first, last), device in zip(ranges, mesh.devices.flat, strict=True)
    )


@contextmanager
def sharing_rows(mesh: Mesh | None):
    """A context for tracing, in which ``split_rows`` and ``over_rows`` split over these devices."""
    token = _MESH.set(mesh)
    try:
        yield
    finally:
        _MESH.reset(token)


def split_rows(tree: Any) -> Any:
    """Arrays (rows, …), to be computed on the devices that share them; as they are, if none do."""
    mesh = _MESH.get()
    if mesh is None:
        return tree
    split = NamedSharding(mesh, PartitionSpec(_ROWS))

    def constrained(each):
        if each.shape[0] % mesh.size:
            return each
        return jax.lax.with_sharding_constraint(each, split)

    return jax.tree.map(constrained, tree)


def over_rows(
    function: Callable[[dict], Sequence], operands: dict[str, Any], axes: Mapping[str, int]
) -> Sequence:
    """The results of a function that XLA cannot look into, each device computing its rows.

    Args:
        function: takes arrays by name; returns arrays (rows, …).
        operands: the arrays.
        axes: the axis of the rows of each array that has one.
    """
    mesh = _MESH.get()
    counts = {operands[name].shape[axis] for name, axis in axes.items() if name in operands}
    if mesh is None or any(count % mesh.size for count in counts):
        return function(operands)
    split = {
        name: PartitionSpec(*[None] * axes[name], _ROWS) if name in axes else PartitionSpec()
        for name in operands
    }
    mapped = jax.shard_map(function, mesh=mesh, in_specs=(split,), out_specs=PartitionSpec(_ROWS))
    return mapped(operands)


def on_each(tree: Any, mesh: Mesh) -> Any:
    """The arrays, whole on each of the devices."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def on_first(tree: Any, mesh: Mesh) -> Any:
    """The arrays, whole on the first of the devices."""
    return jax.device_put(tree, mesh.devices.item(0))
