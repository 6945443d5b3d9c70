"""Several devices, of one or of several processes, that share the rows of a batch.

XLA partitions a program over a mesh of devices
(https://docs.jax.dev/en/latest/sharded-computation.html): here arrays (rows, …) are split, the
variables' values are whole on each device, and XLA adds up what comes from all rows, such as
gradients. So the numbers are those of one device, but for the order of sums. A function that XLA
cannot look into, such as the native kernel, is split by ``over_rows``.

Each process has data, sample orders and recurrent state of its own rows, whole on each of its
devices before they are split: the rows of a batch are those of process 0, then those of process 1,
and so on. ``per_process`` computes what concerns the rows of a process by themselves. Limits: all
processes have equally many devices.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from legato._errors import InputError, UnsupportedError
from legato._platform.checks import check_count
from legato._platform.joined_sums import Adder, joining_sums
from legato._platform.wording import counted

_PROCESSES, _DEVICES = "processes", "devices"  # the axes of the mesh
_OWN = PartitionSpec(_PROCESSES)  # of arrays whose axis 0 is the row, whole on each own device
_SPLIT = PartitionSpec((_PROCESSES, _DEVICES))  # of such arrays, split over all devices
_WHOLE = PartitionSpec()
_MESH: ContextVar[Mesh | None] = ContextVar("devices that share rows", default=None)
CALLS = threading.RLock()  # two programs that wait for all devices could wait for each other


def mesh_of(devices: int | None = None) -> Mesh | None:
    """The devices of a run; None for a single one.

    Args:
        devices: their number. Default: those of the ``keras.distribution.DataParallel`` that is
            set, else one.

    Raises:
        InputError: there are fewer, it is not a whole number from 1 up, or the distribution leaves
            out a process, or has more devices of one process than of another.
        UnsupportedError: another distribution is set.
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
    known = {f"{each.platform}:{each.id}": each for each in jax.devices()}
    return _by_process([known[name] for name in distribution.device_mesh.devices.ravel()])


def _by_process(devices: list) -> Mesh | None:
    """A mesh with a line of devices for each process; None for a single device.

    Raises:
        InputError: a process has none, or more than another.
    """
    lines: dict[int, list] = {at: [] for at in range(jax.process_count())}
    for each in devices:
        lines[each.process_index].append(each)
    counts = {at: len(line) for at, line in lines.items()}
    if len(set(counts.values())) > 1:
        has = ", ".join(f"process {at} has {count}" for at, count in counts.items())
        raise InputError(
            f"The distribution needs equally many devices of each process; {has}. Leave out "
            "devices= to use all, and give every process the same number."
        )
    return Mesh(np.array(list(lines.values())), (_PROCESSES, _DEVICES)) if devices[1:] else None


def own_devices(mesh: Mesh | None) -> Mesh | None:
    """The devices of this process; None for a single one."""
    if mesh is None or not spans_processes(mesh):
        return mesh
    own = mesh.devices[jax.process_index()]
    return Mesh(own[None], (_PROCESSES, _DEVICES)) if len(own) > 1 else None


def spans_processes(mesh: Mesh | None) -> bool:
    """Whether some of the devices are of other processes."""
    return process_count(mesh) > 1


def process_count(mesh: Mesh | None) -> int:
    """The number of processes that the devices are of."""
    return 1 if mesh is None else mesh.shape[_PROCESSES]


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
    return Mesh(np.array([available[:count]]), (_PROCESSES, _DEVICES)) if count > 1 else None


def check_rows(rows: int, mesh: Mesh | None) -> None:
    """Refuse a number of rows in a batch that the devices cannot share equally.

    Args:
        rows: those of this process.
        mesh: the devices.

    Raises:
        InputError: they do not divide it; the message has the nearest numbers that they do.
    """
    own = 1 if mesh is None else mesh.shape[_DEVICES]
    if rows % own == 0:
        return
    below = rows - rows % own
    nearest = [str(each) for each in (below, below + own) if each]
    fewer = max(count for count in range(1, own) if rows % count == 0)
    several = spans_processes(mesh)
    raise InputError(
        f"A batch of {rows} row{'s' * (rows != 1)} cannot be shared equally by {own} "
        f"devices{' of each process' * several}. Give batch_size={' or '.join(nearest)}, or "
        + (f"{counted(fewer, 'device')} to each process." if several else f"devices={fewer}.")
    )


def rows_of_devices(rows: int, mesh: Mesh | None) -> tuple[str, ...]:
    """The rows of a batch that each device computes, in words; none if there is one device.

    Args:
        rows: those of this process.
        mesh: the devices.
    """
    if mesh is None:
        return ()
    each = rows // mesh.shape[_DEVICES]
    ranges = [(at * each, at * each + each - 1) for at in range(mesh.size)]
    several = spans_processes(mesh)
    return tuple(
        f"{f'rows {first} to {last} are' if each > 1 else f'row {first} is'} computed on {device}"
        + f" of process {device.process_index}" * several
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


def _split_of(rows: int, mesh: Mesh) -> PartitionSpec | None:
    """How an axis of rows is split: over all devices, else over the processes, else not at all."""
    if rows % mesh.size == 0:
        return _SPLIT
    return _OWN if spans_processes(mesh) and rows % process_count(mesh) == 0 else None


def split_rows(tree: Any) -> Any:
    """Arrays (rows, …), to be computed on the devices that share them; as they are, if none do."""
    mesh = _MESH.get()
    if mesh is None:
        return tree

    def constrained(each):
        split = _split_of(each.shape[0], mesh)
        if split is None:
            return each
        return jax.lax.with_sharding_constraint(each, NamedSharding(mesh, split))

    return jax.tree.map(constrained, tree)


def in_all_processes(logs: Any, values: Any, memory: Any) -> tuple:
    """The results of a program of several processes, each with a part of them that it can read.

    Args:
        logs, values: arrays; each process has them whole.
        memory: arrays (rows, …); each process has its rows.
    """
    mesh = _MESH.get()
    if mesh is None or not spans_processes(mesh):
        return logs, values, memory
    whole = jax.lax.with_sharding_constraint((logs, values), NamedSharding(mesh, _WHOLE))
    return *whole, split_rows(memory)


def per_process(function: Callable, rows: Any, common: Any = None) -> Any:
    """The results of a function of the rows of one process, for all processes.

    Args:
        function: takes ``rows`` and ``common``; returns arrays (rows, …).
        rows: arrays whose axis 0 is that of rows or samples.
        common: arrays that are the same in all processes.
    """
    mesh = _MESH.get()
    if mesh is None or not spans_processes(mesh):
        return function(rows, common)
    mapped = jax.shard_map(
        function, mesh=mesh, in_specs=(_OWN, _WHOLE), out_specs=_OWN, check_vma=False
    )
    return mapped(rows, common)


def joining_row_sums(function: Callable, rows: int, adder: Adder | None) -> Callable:
    """A function of arrays that are whole, and of arrays (rows, …), with its sums over rows joined
    where several processes compute them; see ``joined_sums``.

    Args:
        function: takes two trees of arrays.
        rows: those of all processes.
        adder: of the processes; None: all-reduces.
    """
    mesh = _MESH.get()
    if mesh is None or not spans_processes(mesh) or _split_of(rows, mesh) != _SPLIT:
        return function
    return joining_sums(function, mesh, _SPLIT, adder)


def all_rows(count: int) -> int:
    """The rows of all processes together, where each has ``count``."""
    return count * process_count(_MESH.get())


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
    splits = {None} if mesh is None else {_split_of(count, mesh) for count in counts}
    split = splits.pop()
    if mesh is None or split is None or splits:
        return function(operands)
    if split != _SPLIT:  # each device of a process computes all rows of the process
        specs = {
            name: PartitionSpec(*[None] * axes[name], *split) if name in axes else _WHOLE
            for name in operands
        }
        mapped = jax.shard_map(
            function, mesh=mesh, in_specs=(specs,), out_specs=split, check_vma=False
        )
        return mapped(operands)
    # A copy of its own for each device, so that gradients are summed outside (``joined_sums``).
    copies = {
        name: each if name in axes else _for_each_device(each, mesh)
        for name, each in operands.items()
    }
    specs = {name: PartitionSpec(*[None] * axes.get(name, 0), *split) for name in operands}

    def of_device(copies):
        return function({name: each if name in axes else each[0] for name, each in copies.items()})

    mapped = jax.shard_map(of_device, mesh=mesh, in_specs=(specs,), out_specs=split, check_vma=True)
    return mapped(copies)


def _for_each_device(array, mesh: Mesh):
    copies = jnp.broadcast_to(array, (mesh.size, *array.shape))
    return jax.lax.with_sharding_constraint(copies, NamedSharding(mesh, _SPLIT))


# Arrays of this process, and arrays of a program.


def on_each(tree: Any, mesh: Mesh) -> Any:
    """The arrays, which are the same in all processes, whole on each of the devices."""
    return _placed(tree, mesh, _WHOLE)


def rows_on_each(tree: Any, mesh: Mesh) -> Any:
    """The arrays (rows, …) of each process, whole on each device of that process."""
    return _placed(tree, mesh, _OWN)


def _placed(tree: Any, mesh: Mesh, spec: PartitionSpec) -> Any:
    sharding = NamedSharding(mesh, spec)
    if not spans_processes(mesh):
        return jax.device_put(own_part(tree), sharding)

    def place(array):
        placed = isinstance(array, jax.Array) and not array.is_fully_addressable
        if placed and array.sharding.is_equivalent_to(sharding, array.ndim):
            return array
        return jax.make_array_from_process_local_data(sharding, np.asarray(own_part(array)))

    return jax.tree.map(place, tree)


def on_first(tree: Any, mesh: Mesh) -> Any:
    """This process's part of the arrays, whole on the first of the devices."""
    if spans_processes(mesh):
        return jax.device_put(own_part(tree), jax.local_devices()[0])
    return jax.device_put(tree, mesh.devices.item(0))


def own_part(tree: Any) -> Any:
    """The part of each array that the devices of this process have, on the host.

    Arrays that this process has as a whole stay as they are.
    """

    def part(array):
        if not isinstance(array, jax.Array) or array.is_fully_addressable:
            return array
        if array.is_fully_replicated:
            return np.asarray(array)
        parts = {each.index[0].start or 0: each.data for each in array.addressable_shards}
        return np.concatenate([np.asarray(parts[begin]) for begin in sorted(parts)])

    return jax.tree.map(part, tree)
