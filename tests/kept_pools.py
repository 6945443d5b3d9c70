"""Pools kept in a file: operations on them, copies as a kill leaves them, and comparisons."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from cells import FEATURES, assert_same_states, set_weights, spread

import legato
from legato import layers

NAMES = ["ada", "bob", "", "a/../b", "ö🎻", "\ud800", 7, -(2**70), "long" * 999]


def made(units: int = 4, seed: int = 3):
    model = legato.Sequential(
        [layers.Input((None, FEATURES)), layers.LSTM(units), layers.Dense(2, activation="softmax")]
    )
    set_weights(model, seed)
    return model


def log_of(file: Path) -> Path:
    return Path(f"{file}.log")


def apply_event(pool, number: int) -> bytes:
    """Apply one of the operations on a pool, the same for the same number; return its outputs."""
    rng = np.random.default_rng(number)
    there = list(pool)
    some = there[rng.integers(len(there))] if there else None
    kind = rng.integers(10)
    if kind == 0 and some is not None:
        pool.reset(some)
    elif kind == 1 and some is not None:
        pool.drop(some)
    elif kind == 2 and some is not None:
        pool.fork(some, NAMES[rng.integers(len(NAMES))])
    elif kind == 3 and some is not None:
        pool.put("put", pool.stream(some).warm(spread(rng, 2, FEATURES)))
    else:
        chosen = rng.permutation(len(NAMES))[: rng.integers(1, len(NAMES))]
        steps = [() if kind < 8 else (rng.integers(1, 4),) for _ in chosen]
        steps_by_name = {
            NAMES[at]: spread(rng, *count, FEATURES)
            for at, count in zip(chosen, steps, strict=True)
        }
        return b"".join(each.tobytes() for each in pool.feed(steps_by_name).values())
    return b""


def pool_in_memory(model, numbers):
    """A pool in memory after some of the operations."""
    pool = model.streams()
    for number in numbers:
        apply_event(pool, number)
    return pool


def assert_same(one, other):
    assert list(one) == list(other)  # in the order in which they began
    for name in one:
        assert one.steps(name) == other.steps(name)
        assert_same_states(one.state(name), other.state(name))


def copy_as_killed(file: Path, folder: str) -> Path:
    """Copy the files as a kill now would leave them."""
    copy = file.parent / folder / file.name
    copy.parent.mkdir()
    for path in (file, log_of(file)):
        if path.exists():
            shutil.copy(path, copy.parent)
    return copy


def refusal_of(model, file: Path, error=legato.StateError, **options) -> str:
    """The error's message; a refused file is neither altered nor locked."""
    paths = [path for path in (file, log_of(file)) if path.is_file()]
    before = [path.read_bytes() for path in paths]
    for _ in range(2):
        with pytest.raises(error) as raised:
            model.streams(file=file, **options)
    assert [path.read_bytes() for path in paths] == before
    assert log_of(file).exists() == (log_of(file) in paths)
    return str(raised.value)
