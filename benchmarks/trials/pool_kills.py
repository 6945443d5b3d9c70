"""Kills of a pool with a file, whose streams are fed, forked, reset, dropped, evicted and restored.

It is compared with a pool in memory to which the same was done.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from trials.kills import FEATURES, LOG_BYTES, Tally, bits_of, killed, make_model, spread

import legato
from legato import InputError, StateError
from legato._streams import log_store

WARM_UP = 30  # changes in memory, after which all is compiled
NAMES = ["ada", "bob", "", "a/../b", "ö🎻", "\ud800", 7, -(2**70), "long" * 99]


def is_there(pool: legato.Streams, name: Any) -> bool:
    """Whether a pool has a stream, which is restored if it was evicted."""
    if name not in pool:
        with suppress(InputError, StateError):
            pool.restore(name)
    return name in pool


def change(pool: legato.Streams, number: int) -> bytes:
    """Make the change of a number to a pool; returns the answers. In memory nothing is evicted."""
    rng = np.random.default_rng(number)
    kind, name, other = rng.integers(12), *(NAMES[at] for at in rng.permutation(len(NAMES))[:2])
    if kind < 6:
        chosen = rng.permutation(len(NAMES))[: rng.integers(1, 5)]
        steps = [() if kind < 4 else (2,) for _ in chosen]
        given = {
            NAMES[at]: spread(rng, *some, FEATURES) for at, some in zip(chosen, steps, strict=True)
        }
        return b"".join(each.tobytes() for each in pool.feed(given).values())
    if not is_there(pool, name):
        return b""
    if kind == 6:
        pool.reset(name)
    elif kind == 7:
        pool.drop(name)
    elif kind == 8:
        pool.fork(name, other)
    elif kind == 9:
        pool.put(other, pool.stream(name).warm(spread(rng, 2, FEATURES)))
    else:
        with suppress(InputError):  # the pool in memory has no folder
            pool.evict(name)
    return b""


def run_pool(connection, folder: Path, first: int, sync: str) -> None:
    """In the child: change a pool without end."""
    log_store.MIN_LOG_BYTES = LOG_BYTES
    model = make_model()
    in_memory = model.streams()
    for number in range(WARM_UP):
        change(in_memory, number)
    connection.send(("begun",))
    pool = model.streams(file=folder / "users.state", folder=folder / "evicted", sync=sync)
    for number in itertools.count(first):
        connection.send(("done", number, change(pool, number)))


def fault_of_pool(pool: legato.Streams, never: legato.Streams) -> tuple[str, str] | None:
    """How a pool differs from one that never stopped: the fault, and where."""
    evicted = pool._evicted
    assert evicted is not None
    for name in {*pool, *evicted.load().names} - {*never}:
        return "different", f"{name!r} came back"
    for name in never:
        if not is_there(pool, name):
            return "lost", f"{name!r} is missing"
        steps, expected = pool.steps(name), never.steps(name)
        if steps != expected:
            how = "lost" if steps < expected else "twice"
            return how, f"{name!r} has {steps} steps instead of {expected}"
        if bits_of(pool.state(name)) != bits_of(never.state(name)):
            return "different", f"the state of {name!r}"
    return None


def kill_pools(kills: int, folder: Path, rng: np.random.Generator) -> Iterator[Tally]:
    """Kill processes that change a pool with a file; yields the tally after each."""
    tally, model = Tally("pool"), make_model()
    never, number, attempt = model.streams(), 0, 0
    home = folder / "pool"
    while tally.trials < kills:
        home.mkdir(exist_ok=True)
        sync = ("off", "close", "feed")[attempt % 3]
        child = killed(tally, rng, run_pool, home, number, sync)
        for _, at, answers in (each for each in child.messages if each[0] == "done"):
            if at != number or answers != change(never, number):
                tally.add("different", f"the answers of change {at}")
            number += 1
            tally.done += 1
        copy = folder / "copy"
        shutil.copytree(home, copy)
        try:
            with model.streams(file=copy / "users.state", folder=copy / "evicted") as pool:
                fault = fault_of_pool(pool, never)
                if fault:  # a change that was not reported
                    change(never, number)
                    number += 1
                    fault = fault_of_pool(pool, never) and fault
        except legato.LegatoError as error:
            fault = "error", str(error)
        shutil.rmtree(copy)
        if fault:
            tally.add(*fault)
            shutil.rmtree(home)
            never, number = model.streams(), number + 1_000_000
        attempt += 1
        yield tally
