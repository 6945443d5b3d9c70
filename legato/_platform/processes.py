"""Joins several processes, which may be on several machines, to train one model.

JAX's distributed runtime computes over the devices of all (with Gloo between CPUs, NCCL between
GPUs). ``ProcessGroup`` is what they agree through and how they notice that one was lost.
"""

import os
import socket
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from fractions import Fraction
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import jax
import keras
import numpy as np

from legato._errors import InputError
from legato._platform.checks import check_count, check_seed
from legato._platform.process_group import ProcessGroup
from legato._platform.process_meeting import meet
from legato._platform.wording import capitalized

Method = TypeVar("Method", bound=Callable)
JOIN_TIMEOUT_S = 60.0
_THREADS = "PJRT_NPROC"  # the environment variable of XLA for the size of its pools of threads
_HEARTBEAT_S = 100  # of JAX, which is the second to notice
_groups: list[ProcessGroup] = []  # none or one


class _AllDevices(keras.distribution.DataParallel):
    """Data parallel over the devices of all processes; each has variables of its own.

    Those of Keras's class are shared between the processes, which then have to set them in step.
    """

    def get_variable_layout(self, variable):
        return None


def join_processes(
    coordinator: str | None = None,
    processes: int | None = None,
    process_id: int | None = None,
    *,
    seed: int | None = None,
    timeout_s: float = JOIN_TIMEOUT_S,
) -> None:
    """Join other processes, on this machine or others, to train one model together.

    Every process calls it first of all, then builds the same model and hands its own rows to
    ``fit`` and ``evaluate``. It does what ``keras.distribution.initialize`` and
    ``set_distribution(DataParallel())`` do, and sets the same random seed in all processes. On one
    machine they share its cores: of four, each of two processes computes on two threads, unless the
    environment variable ``PJRT_NPROC`` says another number. A process that does not come, is lost
    or fails is named by an error in all others.

    Args:
        coordinator: address and port of process 0, such as ``"10.0.0.1:1234"``. Default: the first
            of the environment variable ``KERAS_DISTRIBUTION_JOB_ADDRESSES``.
        processes: how many there are. Default: ``KERAS_DISTRIBUTION_NUM_PROCESSES``.
        process_id: the number of this one, from 0. Default: ``KERAS_DISTRIBUTION_PROCESS_ID``.
        seed: the random seed that ``keras.utils.set_random_seed`` sets in all; that of process 0
            counts. Default: a random one.
        timeout_s: seconds to wait for the others.

    Raises:
        InputError: arguments that do not fit, a port in use, or JAX was used before.
        ProcessError: nobody answers, or a process does not come in time.

    Examples:
        >>> import legato
        >>> legato.join_processes("127.0.0.1:1234", processes=1, process_id=0)  # alone
    """
    host, port = _address(_given("coordinator", coordinator, "JOB_ADDRESSES"))
    count = check_count("processes", _number("processes", processes, "NUM_PROCESSES"))
    index = check_count("process_id", _number("process_id", process_id, "PROCESS_ID"), least=0)
    if index >= count:
        raise InputError(f"process_id is {index} of {count} processes: they count from 0.")
    seed = check_seed(int.from_bytes(os.urandom(4)) if seed is None else seed)
    if count == 1:
        keras.utils.set_random_seed(seed)
        return
    _check_unused()
    group, everybody = meet(host, port, index, count, timeout_s, _about(index, seed))
    _check_versions(group, everybody)
    jax.config.update("jax_enable_recoverability", True)  # the group stops the processes
    jax.config.update("jax_enable_preemption_service", False)  # it keeps SIGTERM from ending them
    jax.distributed.initialize(
        f"{host}:{everybody[0]['port']}",
        count,
        index,
        initialization_timeout=max(int(timeout_s), 10),
        heartbeat_timeout_seconds=_HEARTBEAT_S,
    )
    group.before_leaving = jax.distributed.shutdown  # it fails once process 0 has ended
    _groups.append(group)
    with _sharing_cores(everybody[index], everybody):
        keras.utils.set_random_seed(everybody[0]["seed"])
        keras.distribution.set_distribution(_AllDevices(auto_shard_dataset=False))


def process_group() -> ProcessGroup | None:
    """The processes that JAX runs on; None for a single one.

    The first call waits for all processes, if not legato but Keras or JAX joined them.

    Raises:
        ProcessError: they do not meet.
    """
    if not _groups and jax.process_count() > 1:
        from jax._src import distributed
        from jax.experimental import multihost_utils

        own = _about(jax.process_index(), 0)
        port = int(multihost_utils.broadcast_one_to_all(np.int32(own.get("port", 0))))
        address: Any = distributed.global_state.coordinator_address
        host, count = address.rpartition(":")[0], jax.process_count()
        group, everybody = meet(host, port, jax.process_index(), count, JOIN_TIMEOUT_S, own)
        _check_versions(group, everybody)
        _groups.append(group)
    return _groups[0] if _groups else None


def check_agreed(group: ProcessGroup, facts: dict[str, Any]) -> None:
    """Refuse processes that differ.

    Args:
        group: the processes.
        facts: in words what must be the same in all, by the words of a message.

    Raises:
        InputError: one differs from process 0; the message has both.
        ProcessError: one has gone.
    """
    first, *others = group.gather(", ".join(facts), facts)
    for index, other in enumerate(others, 1):
        for name in [*first, *other]:
            if first.get(name) != other.get(name):
                raise group.as_shared(
                    InputError(
                        f"The processes differ in {name}: process 0 on {group.hosts[0]} has "
                        f"{first.get(name)}, {group.named(index)} {other.get(name)}. Each process "
                        "must make the same calls with the same model, and give equally many rows."
                    )
                )


def telling_processes(method: Method) -> Method:
    """Decorate a method in which processes wait for each other: they are told if it fails."""

    @wraps(method)
    def run(*args, **kwargs):
        try:
            return method(*args, **kwargs)
        except BaseException as error:
            together = _groups and kwargs.get("devices") is None
            if together and keras.distribution.distribution() is not None:
                _groups[0].fail(error)
            raise

    return cast("Method", run)


def _about(index: int, seed: int) -> dict:
    """What others shall know of a process: versions, cores; of process 0 a free port, the seed."""
    ours = sys.modules["legato"].__version__
    about = {"versions": f"legato {ours}, JAX {jax.__version__}", "seed": seed, **_cores()}
    return about if index else about | {"port": _free_port()}


def machine() -> str:
    """What tells this machine from others until it is started again."""
    if sys.platform != "linux":
        return socket.gethostname()
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _cores() -> dict:
    """The machine, and the cores of it that this process may use."""
    linux = sys.platform == "linux"
    cores = sorted(os.sched_getaffinity(0)) if linux else list(range(os.cpu_count() or 1))
    return {"machine": machine(), "cores": cores}


@contextmanager
def _sharing_cores(own: dict, everybody: list[dict]):
    """A context in which JAX makes its devices with as many threads as this process's share of the
    cores of its machine: with more, the processes interrupt each other.

    A number of threads that the user set in the environment variable stays.
    """
    users = Counter(
        core for each in everybody if each["machine"] == own["machine"] for core in each["cores"]
    )
    share = sum(Fraction(1, users[core]) for core in own["cores"])
    if _THREADS in os.environ:
        yield
        return
    os.environ[_THREADS] = str(max(int(share), 1))
    try:
        yield
    finally:
        del os.environ[_THREADS]


def _free_port() -> int:
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


def _check_versions(group: ProcessGroup, everybody: list[dict]) -> None:
    for index, about in enumerate(everybody):
        if about["versions"] != everybody[0]["versions"]:
            raise InputError(
                f"{capitalized(group.named(index))} has {about['versions']}, process 0 "
                f"{everybody[0]['versions']}. Install the same versions on all machines."
            )


def _check_unused() -> None:
    """Refuse to join once JAX has made its devices.

    Raises:
        InputError: it has, or the processes are joined already.
    """
    from jax._src import xla_bridge

    if jax.distributed.is_initialized():
        raise InputError("The processes are joined already; join_processes is called once.")
    if xla_bridge.backends_are_initialized():
        raise InputError(
            "JAX was used before join_processes, and has its devices. Call it first, before any "
            "model or array of JAX is made."
        )


def _given(name: str, value, variable: str):
    """An argument, or the environment variable of Keras.

    Raises:
        InputError: there is neither.
    """
    variable = f"KERAS_DISTRIBUTION_{variable}"
    value = os.environ.get(variable) if value is None else value
    if value is None:
        raise InputError(
            f"{name} is missing: give it, start the script by legato run, or set the environment "
            f"variable {variable}."
        )
    return value


def _number(name: str, value, variable: str):
    value = _given(name, value, variable)
    return int(value) if isinstance(value, str) and value.isdigit() else value


def _address(coordinator) -> tuple[str, int]:
    """Host and port.

    Raises:
        InputError: it has no port.
    """
    first = str(coordinator).split(",", maxsplit=1)[0]
    host, _, port = first.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise InputError(
            f"coordinator is {coordinator!r}; host:port of process 0 was expected, such as "
            '"10.0.0.1:1234".'
        )
    return host.strip("[]"), int(port)
